"""Fixtures of the integration tests: the program itself, a place for it, certificates.

meson runs these tests with POSTHOUSE_BIN; by hand:
    POSTHOUSE_BIN=build/posthouse pytest tests/integration
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parent / "support"
sys.path.insert(0, str(SUPPORT))

from hosts import Site  # noqa: E402
from server import Server  # noqa: E402


@pytest.fixture(scope="session")
def posthouse_bin():
    path = os.environ.get("POSTHOUSE_BIN")
    if not path:
        pytest.exit("POSTHOUSE_BIN must name the posthouse program", returncode=2)
    return str(Path(path).resolve())


@pytest.fixture
def posthouse(posthouse_bin):
    """Run a command to its end: posthouse("check", config=FILE) -> CompletedProcess."""

    def run(*arguments, config=None, **options):
        command = [posthouse_bin]
        if config is not None:
            command += ["-c", str(config)]
        options.setdefault("timeout", 60)
        options.setdefault("encoding", "utf-8")
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(command + [str(argument) for argument in arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    return run


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """A directory of throwaway certificates; tests/support/make-certs.sh lists them."""
    directory = tmp_path_factory.mktemp("certs")
    subprocess.run([SUPPORT / "make-certs.sh", directory], check=True)
    for key in directory.glob("*.key"):
        key.chmod(0o600)
    return directory


@pytest.fixture
def serve(posthouse_bin):
    """Start servers: serve(FILE) -> Server. Those that a test leaves are killed."""
    servers = []

    def start(config, **options):
        server = Server([posthouse_bin, "-c", str(config), "run"], **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()
        assert not server.complaints(), "\n".join(server.complaints())


@pytest.fixture
def open_path():
    """As tmp_path, but every account may enter; pytest keeps its own closed, and closes it again."""
    with tempfile.TemporaryDirectory(prefix="posthouse-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def site(tmp_path, posthouse_bin, certs):
    """A place for hubs, edges and peers, that ends with the test."""
    site = Site(tmp_path, posthouse_bin, certs)
    yield site
    site.close()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory, posthouse_bin, certs):
    """The same for all tests of a file, which must not get into each other's way."""
    site = Site(tmp_path_factory.mktemp("site"), posthouse_bin, certs)
    yield site
    site.close()
