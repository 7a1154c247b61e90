"""tree - the files of the project, without hidden folders and build directories"""

import os
from pathlib import Path


def is_skipped(folder):
    return folder.name.startswith((".", "__")) or (folder / "meson-info").is_dir()


def sources(root, *suffixes):
    """Paths relative to root, sorted, of the files with one of the suffixes."""
    found = []
    for where, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not is_skipped(Path(where, f))]
        found += [Path(where, f).relative_to(root) for f in files if f.endswith(suffixes)]
    return sorted(found)
