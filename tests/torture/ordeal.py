"""One server under torture: an ordeal is a row of lives, each of which ends by a kill.

After each end the remains are looked at, and the accounts are checked. At the very end the
server may live until its queue is empty, ends in peace, and everything must have its fate.
"""

import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from book import Violation
from remains import Remains

PATIENCE_S = 120
PAUSE_US = 1500  # of a sync, at most, with the layer: as on a slow disk

# How a life ends, and how often.
ENDS = {"load": 10, "burst": 3, "start": 4, "stop": 3, "peace": 4, "action": 4, "idle": 1, "away": 2,
        "log": 1, "swell": 1, "write": 6}
CHORES_S = 0.99  # without work, and soon the queue merges its log; queue/thread.c


class Ordeal:
    """disk: a powercut.Disk, or None where only the process dies; lie: see powercut.c."""

    def __init__(self, place, sink, senders, operators, book, seed, disk=None, lie=""):
        self._place, self._sink, self._senders, self._book = place, sink, senders, book
        self._operators = operators
        self._disk, self._lie = disk, lie
        self._rng = random.Random(seed)
        self._log = place.directory / "log"
        self._process = None
        self._fatal = ("", 0)  # the write that it dies of
        self._hurried = False  # by a second signal
        self._start_s, self._stop_s = 0.1, 0.1  # what that takes, roughly
        self.kills, self.stops, self.cuts = 0, 0, 0
        self.what = "start"  # for the report of a failure

    # ---- the process ----

    def _start(self):
        environment = dict(os.environ)
        if self._disk:
            environment.update(self._disk.environment(PAUSE_US, self._lie, self._fatal))
        self._book.next_life()
        self._place.configure()  # an operator may have spoilt it
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._place.run_command, stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, env=environment)
        self._senders.resume()

    def _wait(self, what, condition, patience_s=PATIENCE_S):
        """Until it holds; the server must not end meanwhile."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if self._process.poll() is not None:
                if self._fatal[1] and self._process.returncode == -signal.SIGKILL:
                    return
                raise Violation(f"waiting for {what}: the server has ended by itself, with "
                                f"{self._process.returncode}: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise Violation(f"waiting for {what}: it does not happen")
            time.sleep(0.002)

    def _log_tail(self):
        return self._log.read_bytes()[-3000:].decode("utf-8", "replace")

    def _is_ready(self):
        with open(self._log, "rb") as log:
            log.seek(self._log_start)
            return b": ready: " in log.read()

    def _wait_until_ready(self):
        since = time.monotonic()
        self._wait("ready", self._is_ready)
        self._start_s = time.monotonic() - since
        is_steady = not self._fatal[1]
        self._senders.expect(self._book.life if is_steady else 0)
        self._operators.resume(self._process, is_steady)

    def _unsettle(self):
        """The server is about to end."""
        self._senders.expect(0)
        self._operators.unsettle()

    def _calm_down(self):
        self._senders.pause()
        self._operators.pause()

    def _wait_for_mail(self, count):
        wanted = self._book.accepted + count
        self._wait(f"{count} messages", lambda: self._book.accepted >= wanted)

    def _kill(self):
        """Returns whether that was what ended it."""
        self._unsettle()
        self._senders.pause()
        self._process.kill()
        code = self._process.wait()
        self._operators.settle(self._rng.random() < 0.5)
        if code not in (0, -signal.SIGKILL):
            raise Violation(f"the server has ended by itself, with {code}: {self._log_tail()}")
        self._sink.settle()
        self._senders.settle()
        self.kills += code != 0
        self.stops += code == 0
        return code != 0

    # ---- how it ends ----

    def _soon(self, seconds):
        """Some moment within that time; often a very early one."""
        time.sleep(seconds * self._rng.random() ** 3)

    def _end_by_load(self):
        self._wait_for_mail(self._rng.randrange(1, 60))
        self._soon(0.1)

    def _end_by_burst(self):
        self._wait_for_mail(self._rng.randrange(100, 300))

    def _end_by_stop(self):
        self._wait_for_mail(self._rng.randrange(1, 20))
        self._unsettle()
        self._process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        try:
            self._process.wait(self._stop_s * self._rng.random() * 1.3)
        except subprocess.TimeoutExpired:
            self._stop_s = max(self._stop_s, min(time.monotonic() - since, 1) * 1.1)

    def _end_by_peace(self):
        """A stop that nobody cuts short; but the operator may be in a hurry."""
        self._wait_for_mail(self._rng.randrange(1, 60))
        self._unsettle()
        self._process.send_signal(signal.SIGTERM)
        if self._rng.random() < 0.4:
            self._soon(0.1)
            self._hurried = self._process.poll() is None
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise Violation(f"the server does not stop: {self._log_tail()}") from error

    def _end_by_action(self):
        self._wait_for_mail(self._rng.randrange(1, 30))
        self._operators.pause()

        def end(command):
            self._soon(0.05)
            self._unsettle()
            if self._rng.random() < 0.5:
                command.kill()  # else it goes on: by itself, if it may
            self._process.kill()

        self._operators.act(end)

    def _end_by_idle(self):
        """While the queue does what it does when it has nothing to do."""
        self._wait_for_mail(self._rng.randrange(20, 60))
        self._calm_down()
        time.sleep(CHORES_S + self._rng.random() / 10)

    def _end_by_away(self):
        """The next hop goes, and comes back."""
        self._sink.shut()
        self._wait_for_mail(self._rng.randrange(1, 40))
        self._sink.open()
        self._soon(2)

    def _end_by_log(self):
        """A reader keeps the log from being merged, so that it grows; then it is, as a whole."""
        reader = self._read_database()
        reader.execute("begin")
        reader.execute("select count(*) from q_ledger").fetchone()
        with self._senders.fat():
            self._wait_for_mail(self._rng.randrange(100, 250))
        reader.close()
        if self._rng.random() < 0.5:
            self._calm_down()
            time.sleep(CHORES_S)
        self._soon(0.3)

    def _end_by_swell(self):
        """The database has become large, and is made small again."""
        self._sink.shut()
        with self._senders.fat():
            self._wait_for_mail(self._rng.randrange(180, 250))
        self._calm_down()
        self._sink.open()
        self._operators.release_all()
        self._wait("the queue to be empty", self._is_empty)
        time.sleep(CHORES_S + self._rng.random() / 10)

    def _end_by_write(self):
        """In the midst of a commit, of merging the log, or of a delivery: powercut.c decides."""
        self._wait_for_mail(self._rng.randrange(20, 60))
        self._calm_down()
        time.sleep(CHORES_S)
        self._soon(0.3)

    def _draw_fatal(self):
        """The database itself is only written to when the log is merged."""
        name, most = self._rng.choice((("queue.db", 200), ("queue.db-wal", 2000), ("", 4000)))
        return name, int(most ** self._rng.random())

    def live(self, is_first):
        """One life, up to a kill."""
        end = self._rng.choices(list(ENDS), ENDS.values())[0]
        self.what = f"end by {end}"
        self._fatal, self._hurried = ("", 0), False
        if end == "write" and self._disk:
            self._fatal = self._draw_fatal()
            self.what += f" {self._fatal}"
        self._start()
        if end == "start" or is_first and self._rng.random() < 0.7:
            self._soon(self._start_s * 1.5)
        else:
            self._wait_until_ready()
            getattr(self, f"_end_by_{end}")()
        self._bury(self._kill())

    # ---- what is left ----

    def _bury(self, killed):
        """Where there is a layer, the power fails as well, or it may later."""
        if self._disk and killed and self._rng.random() < 0.7:
            self.what += ", " + self._disk.cut(self._rng)
            self.cuts += 1
        elif self._disk:
            self._disk.collect()
        self._look(killed)
        self._sink.open()

    def _look(self, killed):
        remains = Remains(self._place.queue, self._place.directory / "copy")
        self._book.find_in_boxes(self._place.mails(), lambda path: Path(path).read_bytes())
        self._book.check(remains, killed, self._is_ready(), self._hurried)
        return remains

    def _read_database(self):
        return sqlite3.connect(f"file:{self._place.queue}/queue.db?mode=ro", uri=True)

    def _is_empty(self):
        connection = self._read_database()
        count = connection.execute("select count(*) from q_message").fetchone()[0]
        connection.close()
        return count == 0

    def finish(self):
        """All that waits may go; and with the power failing once more, it must have arrived."""
        self.what = "the end"
        self._senders.finish()
        self._sink.is_moody = False
        if self._disk:
            self._drain()
            self._kill()
            self.what += ", " + self._disk.cut(self._rng)
            self._look(True)
        self._drain()
        self._unsettle()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE_S)
        if code != 0:
            raise Violation(f"the server ends with {code}: {self._log_tail()}")
        self._sink.settle()
        self._senders.settle()
        self._look(False).check_is_empty()
        if self._book.open:
            raise Violation(f"without a fate: {list(self._book.open)[:5]}")

    def _drain(self):
        self._fatal, self._hurried = ("", 0), False
        self._start()
        self._wait_until_ready()
        self._operators.pause()
        self._operators.release_all()
        self._wait("the queue to be empty", self._is_empty)

    def abort(self):
        """After a failure: only our own processes and threads end."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._operators.finish()
        try:
            self._senders.finish()
        except TimeoutError:
            pass  # they end with us
