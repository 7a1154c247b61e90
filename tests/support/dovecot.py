"""A real Dovecot beside the servers under test: in a directory of its own, on ports of the test.

As root it runs as its packages would have it, with accounts of its own; else, or when asked
to, all of it is one account. Its log is collected like a server's, so tests wait for lines.
"""

import contextlib
import grp
import imaplib
import os
import poplib
import pwd
import shutil
import signal
import ssl

from server import PATIENCE_S, Process

PATH = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
DOVECOT = shutil.which("dovecot", path=PATH)
DOVEADM = shutil.which("doveadm", path=PATH)
LIBRARIES = "/usr/lib/dovecot"


def why_not(*parts):
    """What is missing for a test, for skipif; "" when all is there. parts: imap, pop3, lmtp."""
    if not DOVECOT:
        return "dovecot is not installed"
    missing = [part for part in parts if not os.path.exists(f"{LIBRARIES}/{part}")]
    return f"dovecot is installed without {', '.join(missing)}" if missing else ""


def has_sqlite():
    return os.path.exists(f"{LIBRARIES}/modules/libdriver_sqlite.so")


class Account:
    """Somebody: by default who runs the test, or as root one that can do nothing."""

    def __init__(self, name=None):
        if name is None:
            name = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid = name, entry.pw_uid, entry.pw_gid
        self.group = grp.getgrgid(entry.pw_gid).gr_name

    def give(self, path, mode=None):
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
        if mode is not None:
            os.chmod(path, mode)


# Put behind the configuration of a test.
PRIVATE = """
base_dir = {directory}/run
state_dir = {directory}/state
instance_name = {directory}
log_path = /dev/stderr
info_log_path = /dev/stderr
shutdown_clients = yes
"""

# Nobody but root can change accounts or directories.
UNPRIVILEGED = """
default_internal_user = {account}
default_internal_group = {group}
default_login_user = {account}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
service pop3-login {{
  chroot =
}}
"""


class Dovecot(Process):
    """
    Runs until stop(). directory must be one that all accounts may enter, with a short name,
    for the sockets in it. as_root: false takes the account of the test even if root runs it.
    """

    def __init__(self, directory, configuration, ports=None, as_root=True):
        directory.mkdir(exist_ok=True)
        self.directory, self.ports = directory, ports or {}
        self.config = directory / "dovecot.conf"
        options = {}
        configuration += PRIVATE.format(directory=directory)
        if os.geteuid() != 0 or not as_root:
            account = Account()
            configuration += UNPRIVILEGED.format(account=account.name, group=account.group)
            if os.geteuid() == 0:
                options = {"user": account.uid, "group": account.gid, "extra_groups": []}
                account.give(directory)
        self.write_config(configuration)
        super().__init__([DOVECOT, "-F", "-c", self.config], "starting up",
                         start_new_session=True, **options)

    def write_config(self, text):
        self.config.write_text(text)
        self.config.chmod(0o644)

    def stop(self, number=signal.SIGKILL):
        """
        Ends all of it. Asked in order it takes seconds, and nothing is lost by this: its
        processes are a group of their own, and what they would tidy up goes with the directory.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait()
        self._reader.join()

    # ---- reading ----

    def imap(self, certs, user=None, password=None, host="127.0.0.1"):
        """An IMAPS session; logged in when there is a user, whose name is the password."""
        client = imaplib.IMAP4_SSL(host, self.ports["imaps"], timeout=PATIENCE_S,
                                   ssl_context=context(certs))
        if user:
            client.login(user, password or user.partition("@")[0])
        return client

    def pop3(self, certs, user=None, password=None, host="127.0.0.1"):
        client = poplib.POP3_SSL(host, self.ports["pop3s"], timeout=PATIENCE_S,
                                 context=context(certs))
        if user:
            client.user(user)
            client.pass_(password or user.partition("@")[0])
        return client


def context(certs):
    return ssl.create_default_context(cafile=certs / "ca.pem")


def retrieve(client, number=1):
    """A message by POP3, with CRLF."""
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])


def pop3_messages(dovecot, certs, user, password=None):
    """All messages of a user, oldest first."""
    with contextlib.closing(dovecot.pop3(certs, user, password)) as client:
        count = client.stat()[0]
        return [retrieve(client, number + 1) for number in range(count)]


def imap_messages(dovecot, certs, user, password=None, mailbox="INBOX"):
    with dovecot.imap(certs, user, password) as client:
        client.select(mailbox, readonly=True)
        found = client.search(None, "ALL")[1][0].split()
        return [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in found]
