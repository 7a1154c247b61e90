"""A server under test: started, watched by its log, and stopped, all by its process id.

Its log goes to standard output or error, from where a thread collects the lines. Tests
wait for a line, never for time; a wait that takes too long fails with the log.
"""

import re
import signal
import subprocess
import threading
import time

PATIENCE_S = 60  # a loaded machine with sanitizers; nothing waits that long when all is well

LISTENER = re.compile(r"(\w+)://(\[[^]]*\]|[0-9.]+):(\d+)")


class Process:
    """ready: a pattern of the line that it logs when it is there for clients."""

    def __init__(self, command, ready, **options):
        self.lines = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, encoding="utf-8",
                                        errors="replace", **options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready_line = self.wait_for(ready)

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def mark(self):
        """A place in the log, for wait_for(since=...)."""
        with self._news:
            return len(self.lines)

    def wait_for(self, pattern, since=0):
        """The first line that the pattern is found in, which may be there already."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while True:
                for line in self.lines[since:]:
                    if re.search(pattern, line):
                        return line
                since = max(since, len(self.lines))
                left = deadline - time.monotonic()
                if self._ended or left <= 0 or not self._news.wait(left):
                    why = "the server has ended" if self._ended else "it did not come"
                    raise AssertionError(f"no line with {pattern!r}: {why}\n" +
                                         "\n".join(self.lines))

    def log(self):
        with self._news:
            return "\n".join(self.lines)

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Ask it to end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server does not stop\n" + self.log()) from None
        self._reader.join()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()


class Server(Process):
    """posthouse run."""

    def __init__(self, command, **options):
        super().__init__(command, r" posthouse\[\d+\]: ready: ", **options)
        # (service, host, port) of each listener, as it was bound
        self.listeners = [(service, host.strip("[]"), int(port))
                          for service, host, port in LISTENER.findall(self.ready_line)]

    def port(self, service, index=0):
        """The port of the first listener of a service, or of a later one."""
        return [port for name, _, port in self.listeners if name == service][index]

    def complaints(self):
        """What sanitizers and assertions have printed; they share standard error with the log."""
        bad = re.compile(r"runtime error:|Sanitizer|Assertion|^==\d+==")
        with self._news:
            first = next((i for i, line in enumerate(self.lines) if bad.search(line)), None)
            return [] if first is None else self.lines[first:first + 60]
