#!/usr/bin/env python3
"""layers.py ROOT - does each file include only what its folder may?

The tables below are the architecture. A folder may include itself and what
its row names, and a row names only folders above it, so that the folders
cannot form a cycle; cycles of headers inside of a folder are looked for too.
Prints FILE:LINE: TEXT for each violation.
"""

import re
import sys
from pathlib import Path

from tree import sources

# folder: (purpose, what it may include: folders, or single headers of one)
FOLDERS = {
    "base": ("bytes and strings, memory, errors, log sink, clock: libc only", []),
    "net": ("event loops, timers, sockets, streams, DNS", ["base"]),
    "smtp": ("the protocol, with no I/O", ["base"]),
    "sasl": ("mechanisms of AUTH", ["base"]),
    "certs": ("our keys and certificates, and whom we trust", ["base"]),
    "maps": ("lookup tables", ["base"]),
    "queue": ("accepted messages on disk; of smtp only its value types",
              ["base", "smtp/address.h", "smtp/dsn.h", "smtp/status.h"]),
    "tls": ("TLS policy, and streams turned into TLS streams", ["base", "net", "certs"]),
    "transport": ("recipient to next hops and TLS policy",
                  ["base", "net", "smtp", "maps", "tls"]),
    "mta": ("what both modes share",
            ["base", "net", "smtp", "sasl", "certs", "maps", "queue", "tls", "transport"]),
    "edge": ("AUTH, submission, local mailboxes; never hub",
             ["base", "net", "smtp", "sasl", "certs", "maps", "queue", "tls", "transport", "mta"]),
    "hub": ("whom it relays for; never edge",
            ["base", "net", "smtp", "sasl", "certs", "maps", "queue", "tls", "transport", "mta"]),
    "config": ("one file to the options of each module",
               ["base", "net", "smtp", "sasl", "certs", "maps", "queue", "tls", "transport", "mta",
                "edge", "hub"]),
    "control": ("the socket by which commands reach the running server", ["base", "net"]),
    "cli": ("main(), subcommands, wiring",
            ["base", "net", "smtp", "sasl", "certs", "maps", "queue", "tls", "transport", "mta",
             "edge", "hub", "config", "control"]),
}

# These may include everything and nobody includes them, but unit tests tests/support/.
EXEMPT = ["tests", "bench", "tools", "docs"]

# Libraries stay behind the folder that wraps them: in its .c files, never in a header.
LIBRARIES = {
    r"sqlite3\.h": ["queue", "maps"],
    r"ares(_\w+)?\.h": ["net"],
    r"uv\.h": ["net"],
    # The ledger's chain takes its digest from the library that is there anyway.
    r"wolfssl/wolfcrypt/sha256\.h": ["queue", "tls", "certs"],
    # Stored passwords: digests, SCRAM's keys, CRAM-MD5's contexts.
    r"wolfssl/(options|wolfcrypt/(hash|hmac|md5|pwdbased))\.h": ["edge", "queue", "tls", "certs"],
    r"wolfssl/(?!options\.h|wolfcrypt/(sha256|hash|hmac|md5|pwdbased)\.h).*": ["tls", "certs"],
    r"(crypt|argon2)\.h": ["edge"],
    r"idn2\.h": ["smtp"],
    r"gsasl\.h": ["sasl"],
    r"(xxhash|jansson)\.h": [folder for folder in FOLDERS if folder != "base"],
}

INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')


def includes(path):
    """(line number, what is included) for each include of a file."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1)


def check_table():
    """Rows may only name folders above them."""
    above = set()
    for folder, (_, allowed) in FOLDERS.items():
        for name in allowed:
            if name.split("/")[0] not in above:
                yield f"layers.py: the row of {folder} names {name}, which is not above it"
        above.add(folder)


def check_library(path, target):
    """An error text, or None."""
    if path.name.startswith("test_"):
        return None
    for pattern, folders in LIBRARIES.items():
        if not re.fullmatch(pattern, target):
            continue
        if path.parts[0] not in folders:
            return f"only {', '.join(f + '/' for f in folders)} may include <{target}>"
        if path.suffix == ".h":
            return f"<{target}> must not appear in a header"
    return None


def check_include(root, path, target):
    """An error text, or None."""
    folder, target_folder = path.parts[0], target.split("/")[0]
    if target_folder in FOLDERS:
        allowed = FOLDERS[folder][1]
        if target_folder != folder and target_folder not in allowed and target not in allowed:
            return f"{folder}/ may not include \"{target}\""
        return None
    if target.startswith("tests/support/") and path.name.startswith("test"):
        return None
    if target_folder in EXEMPT and "/" in target:
        return f"\"{target}\" is for tests and tools only"
    if (root / path.parent / target).exists():
        return f"\"{target}\": includes are root-relative: \"{path.parent}/{target}\""
    return check_library(path, target)


def find_cycle(graph):
    """A list of headers that include each other in a circle, or None."""
    done = set()

    def visit(header, trail):
        if header in trail:
            return trail[trail.index(header):] + [header]
        if header in done:
            return None
        for target in graph.get(header, []):
            cycle = visit(target, trail + [header])
            if cycle:
                return cycle
        done.add(header)
        return None

    for header in graph:
        cycle = visit(header, [])
        if cycle:
            return cycle
    return None


def check(root):
    """All violations, as text."""
    errors = list(check_table())
    graph = {}
    for path in sources(root, ".c", ".h"):
        if path.parts[0] in EXEMPT:
            continue
        if path.parts[0] not in FOLDERS:
            errors.append(f"{path}: its folder is not in the table of layers.py")
            continue
        found = list(includes(root / path))
        for number, target in found:
            error = check_include(root, path, target)
            if error:
                errors.append(f"{path}:{number}: {error}")
        if path.suffix == ".h":
            graph[str(path)] = [target for _, target in found]
    cycle = find_cycle(graph)
    if cycle:
        errors.append("headers include each other: " + " -> ".join(cycle))
    return errors


def main():
    errors = check(Path(sys.argv[1]))
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
