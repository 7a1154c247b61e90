#!/usr/bin/env python3
"""format.py ROOT CLANG-FORMAT - is every source laid out as .clang-format says?

Other versions of clang-format lay out some things in other ways, so the test
is skipped (exit code 77) with one that the project does not use.
"""

import re
import subprocess
import sys
from pathlib import Path

from tree import sources

VERSION = "14"


def main():
    root, tool = Path(sys.argv[1]), sys.argv[2]
    answer = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"version (\d+)", answer.stdout)
    if not match or match.group(1) != VERSION:
        print(f"needs clang-format {VERSION}, this is: {answer.stdout.strip()}")
        return 77
    files = sources(root, ".c", ".h")
    return subprocess.run([tool, "--dry-run", "-Werror", *files], cwd=root).returncode


if __name__ == "__main__":
    sys.exit(main())
