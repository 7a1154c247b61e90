"""A machine with accounts of its own, for how-tos whose users are the system's."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLONE_NEWNS = 0x20000


def run(*command):
    subprocess.run(command, check=True)


class Machine:
    """
    A mount namespace in which /etc/passwd and /etc/group have these users, with homes that only
    they may enter. All of it goes with the process of the test. For root alone.
    """

    def __init__(self, directory, users):
        if os.geteuid() != 0:
            pytest.skip("only root can make accounts, if but for a test")
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) < 0:
            pytest.skip("needs a mount namespace, which may not be made here (unshare -m): " +
                        os.strerror(ctypes.get_errno()))
        try:
            run("mount", "--make-rprivate", "/")
        except subprocess.CalledProcessError:
            pytest.skip("needs a mount namespace, and may not mount here")
        self.directory, self.uids, self._mounted = directory, {}, []
        (directory / "home").mkdir()
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for uid, user in enumerate(users, 61001):
            home = directory / "home" / user
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
            self.uids[user] = uid
            passwd += f"{user}:x:{uid}:{uid}::{home}:/bin/sh\n"
            group += f"{user}:x:{uid}:\n"
        self._put("/etc/passwd", passwd)
        self._put("/etc/group", group)

    def _put(self, path, text):
        new = self.directory / path.replace("/", "_")
        new.write_text(text)
        self._mount(new, path)

    def _mount(self, what, where):
        run("mount", "--bind", str(what), where)
        self._mounted.append(where)

    def close(self):
        """Only this process sees it, which may have another test to run."""
        for path in self._mounted:
            run("umount", "-l", path)

    def install(self, posthouse_bin):
        """sendmail, and mailq and newaliases by the links that lead to it, are posthouse's."""
        if not shutil.which("mail") or not os.path.exists("/usr/sbin/sendmail"):
            pytest.skip("needs a mail command, and a sendmail to put ours in its place")
        self._mount(posthouse_bin, os.path.realpath("/usr/sbin/sendmail"))

    def home(self, user):
        return self.directory / "home" / user

    def shell(self, user, command, **environment):
        """What a user types; user None: root."""
        options = {}
        if user:
            options = {"user": self.uids[user], "group": self.uids[user], "extra_groups": []}
        return subprocess.run(["/bin/sh", "-c", command], check=False, encoding="utf-8",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, cwd="/",
                              env={**os.environ, "HOME": str(self.home(user)) if user else "/root",
                                   "USER": user or "root", "LOGNAME": user or "root",
                                   **environment}, **options)

    def new_mail(self, user, folder="Maildir"):
        """What lies in a Maildir, oldest first; nothing where there is none yet."""
        new = self.home(user) / folder / "new"
        paths = sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns) \
            if new.exists() else []
        return [path.read_text(encoding="utf-8") for path in paths]
