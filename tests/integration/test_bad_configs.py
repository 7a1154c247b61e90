"""Every FILE.conf of bad_configs/ gets exactly the messages of FILE.expected."""

import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "bad_configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.conf"))


@pytest.fixture
def folder(tmp_path):
    """A copy, with the permissions that a careful operator would give."""
    copy = tmp_path / "etc"
    shutil.copytree(FOLDER, copy)
    for path in copy.iterdir():
        path.chmod(0o600 if path.suffix == ".users" else 0o644)
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_bad_config(posthouse, folder, name):
    got = posthouse("check", config=name + ".conf", cwd=folder)
    # Absolute paths in messages begin where the copy happens to be.
    lines = got.stdout.replace(str(folder) + "/", "./")
    assert lines == (FOLDER / (name + ".expected")).read_text()
    assert got.stderr == ""
    assert got.returncode == 1


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_run(posthouse, folder, name):
    """The same errors stop a start, before anything is opened or made."""
    before = sorted(folder.iterdir())
    checked = posthouse("check", config=name + ".conf", cwd=folder).stdout
    errors = [line for line in checked.splitlines() if ": error: " in line]
    got = posthouse("run", config=name + ".conf", cwd=folder)
    assert got.stderr.splitlines() == ["posthouse: " + line for line in errors]
    assert got.returncode == 78
    assert sorted(folder.iterdir()) == before
