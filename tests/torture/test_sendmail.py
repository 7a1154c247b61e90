"""What sendmail has answered with 0 is there when the power is back, whole, and once.

It is killed at each of its writes, or not at all; then the power fails, and a server that starts
afterwards delivers what is left.
"""

import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import places
from powercut import Disk

HERE = Path(__file__).resolve().parent
PATIENCE_S = 60
CUTS = 12  # of those that were not killed
# So that it is content to leave the message in the drop directory, as it does for other accounts.
BROKEN = "no_such_parameter = 1\n"


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certs")
    subprocess.run([HERE.parent / "support" / "make-certs.sh", directory], check=True)
    for key in directory.glob("*.key"):
        key.chmod(0o600)
    return directory


class Host:
    """An edge whose queue and mailboxes are on the disk that loses power."""

    def __init__(self, directory, certs, journal):
        self.place = places.edge(directory, os.environ["POSTHOUSE_BIN"], certs, 1)[0]
        self._sendmail = directory / "sendmail"
        self._sendmail.symlink_to(os.environ["POSTHOUSE_BIN"])
        self._journal = journal
        self._log = directory / "log"
        self.settle()

    def send(self, text, fatal, more):
        """Returns its exit code, and the power is back after it has failed."""
        self.place.configure(more)
        disk = Disk(self.place.directory / "disk", os.environ["POWERCUT_SO"], self._journal)
        command = [self._sendmail, "-C", self.place.run_command[2], "-i", "box1@vm1.vm"]
        got = subprocess.run(command, check=False, input=text, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=PATIENCE_S,
                             env={**os.environ, **disk.environment(0, "", ("", fatal))})
        assert got.returncode in (0, -signal.SIGKILL), got.stderr
        disk.cut(random.Random(f"{fatal} {len(text)}"))
        self.place.configure()
        return got.returncode

    def settle(self):
        """With a server that has all it wants: until nothing waits."""
        while True:
            with open(self._log, "wb") as log:
                server = subprocess.Popen(self.place.run_command, stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log)
            try:
                self._wait(server, lambda: b": ready: " in self._log.read_bytes())
                self._wait(server, self._is_empty)
                server.send_signal(signal.SIGTERM)
                assert server.wait(PATIENCE_S) == 0
            finally:
                server.kill()
                server.wait()
            if self._is_empty():
                return

    def _wait(self, server, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert server.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.002)

    def _is_empty(self):
        drop = self.place.queue / "maildrop"
        if any(path.is_file() for path in drop.rglob("[!.]*")):
            return False
        connection = sqlite3.connect(f"file:{self.place.queue}/queue.db?mode=ro", uri=True)
        try:
            return connection.execute("select count(*) from q_message").fetchone()[0] == 0
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()

    def take_mails(self):
        """What the box has got since."""
        found = []
        for path in map(Path, self.place.mails()):
            found.append(path.read_bytes())
            path.unlink()
        return found


def message(number, lines):
    return b"Subject: %d\n\n" % number + b"%060d\n" % number * lines


def check(host, number, lines, fatal, more):
    """Returns whether it was killed."""
    text = message(number, lines)
    code = host.send(text, fatal, more)
    host.settle()
    mails = host.take_mails()
    assert len(mails) == 1 if code == 0 else len(mails) <= 1, (number, lines, fatal)
    for mail in mails:
        assert mail.endswith(text.partition(b"\n\n")[2]), (number, lines, fatal)
    return code != 0


@pytest.mark.parametrize("more, journal, step", [(BROKEN, True, 1), ("", False, 7)],
                         ids=["into the drop directory", "into the queue"])
def test_power(tmp_path, certs, more, journal, step):
    host = Host(tmp_path / "host", certs, journal)
    number, kills = 0, 0
    try:
        for lines in (3, 5000):
            fatal = 1
            while check(host, number, lines, fatal, more):
                fatal += step
                number += 1
                kills += 1
        assert kills > 4
        for number in range(number + 1, number + 1 + CUTS):
            check(host, number, number * 10, 0, more)
    finally:
        host.place.close()
