"""measure - CPU time and memory of all processes of one server

With cgroup v2 (a plain directory below our own group) the kernel adds up
the CPU time of every process, also of those that come and go; nothing is
missed and looking costs nothing. Where we may not make one, the tree below
the server's first process is summed up from /proc: a parent's times hold
those of the children it has waited for, so only helpers that nobody waits for
are missed. Kernel threads (journal, write-back) are nobody's in either way.
"""

import os
import threading
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cgroup2_root():
    """Where cgroup v2 is mounted, or None."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(mount_point)
    return None


def own_group():
    """The directory of the cgroup that we are in, or None."""
    root = cgroup2_root()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if root and line.startswith("0::/"):
            return root / line[len("0::/"):]
    return None


class Cgroup:
    """The processes of a cgroup of their own."""

    how = "cgroup v2"

    def __init__(self, name):
        parent = own_group()
        if parent is None:
            raise OSError("no cgroup v2 here")
        self.first = None
        self.path = parent / f"{name}-{os.getpid()}"
        self.path.mkdir()
        try:
            self.cpu_seconds()
        except OSError:
            self.path.rmdir()
            raise

    def enter(self):
        """Runs in a child before it becomes the server."""
        (self.path / "cgroup.procs").write_text("0")

    def cpu_seconds(self):
        for line in (self.path / "cpu.stat").read_text().splitlines():
            name, value = line.split()
            if name == "usage_usec":
                return int(value) / 1e6
        raise OSError(f"{self.path}/cpu.stat has no usage_usec")

    def pids(self):
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def remove(self):
        for _ in range(50):  # the last process may still be on its way out
            try:
                return self.path.rmdir()
            except OSError:
                time.sleep(0.1)
        return self.path.rmdir()


def stat_fields(pid):
    """The fields of /proc/PID/stat behind the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class ProcessTree:
    """The processes below the first one, which the caller names."""

    how = "/proc"

    def __init__(self):
        self.first = None  # whoever starts it sets this

    def enter(self):
        pass

    def pids(self):
        children = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    children.setdefault(int(stat_fields(entry.name)[1]), []).append(int(entry.name))
                except (OSError, IndexError):
                    pass  # it has just ended
        found = [self.first] if Path(f"/proc/{self.first}").exists() else []
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids():
            try:
                ticks += sum(int(field) for field in stat_fields(pid)[11:15])
            except OSError:
                pass
        return ticks / TICK

    def remove(self):
        pass


def pss_bytes(pid):
    """Memory of a process, its part of what it shares with others included; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


class MemorySampler(threading.Thread):
    """The most memory and processes that a server was seen with."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.stopping = threading.Event()
        self.most_bytes = 0
        self.most_processes = 0

    def run(self):
        while not self.stopping.wait(0.2):
            pids = self.server.pids()
            self.most_bytes = max(self.most_bytes, sum(pss_bytes(pid) for pid in pids))
            self.most_processes = max(self.most_processes, len(pids))

    def stop(self):
        self.stopping.set()
        self.join()
