"""What a power cut may take, and what it may not: the model itself, on a program of a few lines."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from powercut import Disk, Unexplained

CUTS = 20
PREAMBLE = """
import os
def put(name, data, sync=True, at=0):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, data, at)
    if sync:
        os.fsync(fd)
    os.close(fd)
def sync(name):
    fd = os.open(name, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
"""


def run(disk, text, lie=""):
    subprocess.run([sys.executable, "-c", PREAMBLE + text], check=True, cwd=disk.directory,
                   env={**os.environ, **disk.environment(0, lie)}, timeout=60)


def outcomes(tmp_path, *texts, lie="", before=None, journal=False):
    """What may be left of what programs do, one after another: name -> contents, for each cut."""
    left = []
    for seed in range(CUTS):
        top = tmp_path / str(seed)
        (top / "disk").mkdir(parents=True)
        for name, data in (before or {}).items():
            (top / "disk" / name).write_bytes(data)
        disk = Disk(top / "disk", os.environ["POWERCUT_SO"], journal)
        for text in texts:
            run(disk, text, lie)
            disk.collect()
        disk.cut(random.Random(seed))
        left.append({str(path.relative_to(top / "disk")): path.read_bytes()
                     for path in (top / "disk").rglob("*") if path.is_file()})
    return left


def test_synced_stays(tmp_path):
    for left in outcomes(tmp_path, "put('a', b'x' * 5000); sync('.')"):
        assert left == {"a": b"x" * 5000}


def test_name_needs_its_directory(tmp_path):
    left = outcomes(tmp_path, "put('a', b'x' * 5000)")
    assert {} in left and {"a": b"x" * 5000} in left
    assert all(files in ({}, {"a": b"x" * 5000}) for files in left)


def test_one_for_the_whole_file_system(tmp_path):
    libc = "import ctypes; libc = ctypes.CDLL(None)"
    for left in outcomes(tmp_path, f"{libc}; os.mkdir('d'); put('d/a', b'x' * 5000, sync=False);"
                         "libc.syncfs(os.open('.', os.O_RDONLY)); put('b', b'y')"):
        assert left["d/a"] == b"x" * 5000


def test_what_comes_after_a_sync_of_all_is_not_synced(tmp_path):
    libc = "import ctypes; libc = ctypes.CDLL(None)"
    left = outcomes(tmp_path, f"{libc}; libc.syncfs(os.open('.', os.O_RDONLY)); put('c', b'y')")
    assert {} in left and {"c": b"y"} in left


def test_directory_needs_its_own(tmp_path):
    left = outcomes(tmp_path, "os.mkdir('d'); put('d/a', b'x'); sync('d')")
    assert {} in left and {"d/a": b"x"} in left


def test_bytes_need_their_sync(tmp_path):
    left = outcomes(tmp_path, "put('a', b'new' * 3000, sync=False)", before={"a": b"old" * 3000})
    states = [files["a"] for files in left]
    assert b"old" * 3000 in states and b"new" * 3000 in states
    assert any(b"old" in s and b"new" in s for s in states)
    assert all(set(s) <= set(b"oldnew") and len(s) == 9000 for s in states)


def test_size_needs_its_sync(tmp_path):
    left = outcomes(tmp_path, "put('a', b'x' * 6000, sync=False, at=2000);"
                    "fd = os.open('a', os.O_RDWR); os.ftruncate(fd, 4000)",
                    before={"a": b"o" * 2000})
    assert {len(files["a"]) for files in left} == {2000, 4000, 8000}
    for files in left:
        assert set(files["a"][2000:]) <= {0, ord("x")} and files["a"][:2000] == b"o" * 2000


def test_rename_keeps_one_name(tmp_path):
    left = outcomes(tmp_path, "os.mkdir('t'); os.mkdir('n'); sync('.'); put('t/a', b'x');"
                    "sync('t'); os.rename('t/a', 'n/b')")
    assert {"t/a": b"x"} in left and {"n/b": b"x"} in left
    assert all(files for files in left)


def test_renamed_and_synced_stays(tmp_path):
    for left in outcomes(tmp_path, "os.mkdir('t'); os.mkdir('n'); sync('.'); put('t/a', b'x');"
                         "os.rename('t/a', 'n/b'); sync('n')"):
        assert left["n/b"] == b"x"


def test_a_journal_keeps_names_with_a_file(tmp_path):
    text = "put('a', b'x'); os.rename('a', 'b'); sync('b')"
    for left in outcomes(tmp_path / "journal", text, journal=True):
        assert left == {"b": b"x"}
    assert {} in outcomes(tmp_path / "posix", text)
    left = outcomes(tmp_path / "no-sync", "put('a', b'x'); os.rename('a', 'b')", journal=True)
    assert {"a": b"x"} in left and {"b": b"x"} in left


def test_removed_may_come_back(tmp_path):
    left = outcomes(tmp_path, "os.unlink('a')", before={"a": b"x"})
    assert {} in left and {"a": b"x"} in left


def test_what_a_dead_process_left_is_not_synced(tmp_path):
    left = outcomes(tmp_path, "put('a', b'x')", "put('b', b'y')")
    assert {} in left and {"b": b"y"} in left and {"a": b"x", "b": b"y"} in left


@pytest.mark.parametrize("lie", ["file", "directory"])
def test_lies(tmp_path, lie):
    left = outcomes(tmp_path, "put('a', b'x'); sync('.')", lie=lie)
    assert any(files != {"a": b"x"} for files in left)


def test_bypass_is_noticed(tmp_path):
    """Python's own files write as the others do; a child without the layer does not."""
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", os.environ["POWERCUT_SO"])
    run(disk, "put('a', b'x'); os.environ.pop('LD_PRELOAD'); os.system('echo y >>a')")
    with pytest.raises(Unexplained):
        disk.cut(random.Random(0))
    assert Path(disk.directory / "a").read_bytes() == b"xy\n"
