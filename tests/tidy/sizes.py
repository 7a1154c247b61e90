#!/usr/bin/env python3
"""sizes.py ROOT - lists files that grow too long; fails above the hard limit

A long file usually holds a second idea that wants a file of its own. Some
room is left between the two limits, so that it can be found in peace.
"""

import sys
from pathlib import Path

from tree import sources

LONG = 800
TOO_LONG = 1000


def main():
    root = Path(sys.argv[1])
    worst = 0
    for path in sources(root, ".c", ".h", ".py"):
        lines = (root / path).read_text(encoding="utf-8").count("\n")
        if lines > LONG:
            kind = "error" if lines > TOO_LONG else "warning"
            print(f"{path}: {kind}: {lines} lines; look for the second idea")
        worst = max(worst, lines)
    return 1 if worst > TOO_LONG else 0


if __name__ == "__main__":
    sys.exit(main())
