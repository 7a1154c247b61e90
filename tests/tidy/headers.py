#!/usr/bin/env python3
"""headers.py ROOT BUILD - does each header compile with nothing included before it?

Uses the compiler and flags with which a source of the same folder is built.
Each header is included twice, which also shows that it guards itself.
"""

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tree import sources


def flags_of(command):
    """The compiler call without its input and outputs."""
    arguments = iter(shlex.split(command))
    flags = []
    for argument in arguments:
        if argument in ("-o", "-c", "-MF", "-MQ"):
            next(arguments)
        elif argument != "-MD":
            flags.append(argument)
    return flags


def flags_by_folder(root, build):
    """Flags of one source of each top folder."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = Path(os.path.normpath(Path(entry["directory"], entry["file"])))
        if source.is_relative_to(root):
            found.setdefault(source.relative_to(root).parts[0], flags_of(entry["command"]))
    return found


def complaints(flags, header, build):
    """What the compiler says; a function not declared is only a warning to gcc 12."""
    code = f'#include "{header}"\n#include "{header}"\nextern int not_empty;\n'
    result = subprocess.run([*flags, "-Werror", "-fsyntax-only", "-x", "c", "-"], cwd=build,
                            input=code, text=True, capture_output=True)
    return f"{header}:\n{result.stderr}" if result.returncode else ""


def main():
    root, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    flags = flags_by_folder(root, build)
    any_flags = next(iter(flags.values()))  # for a folder that has no source yet
    headers = sources(root, ".h")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(
            lambda h: complaints(flags.get(h.parts[0], any_flags), h, build), headers)
        text = "".join(found)
    print(text or f"{len(headers)} headers compile alone")
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main())
