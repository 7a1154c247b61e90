"""The files of examples/, with the directories, ports and accounts of a test in their place.

They are run as they stand otherwise, so that they stay true.
"""

import os
import shutil
from pathlib import Path

from dovecot import Account, Dovecot
from hosts import Host

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Example:
    """
    A directory of examples/ set up under another, which all accounts may enter: etc, vhosts,
    and run for Dovecot. Nobody but the account owns mail; it stands for posthouse and vmail.
    """

    def __init__(self, name, directory, certs, domain="vm1.vm"):
        self.source, self.directory, self.domain = EXAMPLES / name, directory, domain
        self.account, self.etc = Account(), directory / "etc"
        self.etc.mkdir()
        self.vhosts = directory / "vhosts"
        self.vhosts.mkdir()
        self.account.give(self.vhosts, 0o700)
        for new, old in (("mta1.crt", "hub.pem"), ("mta1.key", "hub.key"), ("ca.crt", "ca.pem")):
            shutil.copy(certs / old, self.etc / new)
            self.share(self.etc / new)
        self.replacements = {
            "172.16.108.100": None, "/etc/posthouse": self.etc, "/etc/dovecot": self.etc,
            "/var/mail/vhosts": self.vhosts, "/run/dovecot/": f"{directory}/dovecot/run/",
        }

    def share(self, path, group=None):
        """For root and a group, by default of the account, as the documentation says."""
        if os.geteuid() == 0:
            shutil.chown(path, 0, group or self.account.gid)
        path.chmod(0o640)

    def text(self, file, **replacements):
        """A file with what is other here. Keyword arguments must have their place in it."""
        text = (self.source / file).read_text()
        for old, new in self.replacements.items():
            text = text.replace(old, str(new))
        for new in replacements.values():
            assert new[0] in text, new[0]
            text = text.replace(new[0], str(new[1]))
        return text.replace("vm1.vm", self.domain)

    def put(self, file, text=None, group=None):
        """A file of the directory into etc, for a group, by default of the account."""
        path = self.etc / (file + ".new")
        path.touch(mode=0o600)
        path.write_text(text if text is not None else self.text(file))
        self.share(path, group)
        path.rename(self.etc / file)

    def dovecot(self, site, as_root=True, more=""):
        """Running; more is put behind its configuration."""
        ports = {"imaps": site.port(), "pop3s": site.port()}
        name, group = self.account.name, self.account.group
        text = self.text("dovecot.conf", imaps=("port = 993", f"port = {ports['imaps']}"),
                         pop3s=("port = 995", f"port = {ports['pop3s']}"))
        for account in ("posthouse", "vmail"):
            text = text.replace(f"uid={account} gid={account}", f"uid={name} gid={group}")
        text = text.replace("user = posthouse", f"user = {name}")
        if as_root and os.geteuid() == 0:
            text = text.replace("extra_groups = posthouse", f"extra_groups = {group}")
        else:
            text = text.replace("extra_groups = posthouse", "")
        return Dovecot(self.directory / "dovecot", text + "listen = 127.0.0.1\n" + more, ports,
                       as_root)

    def edge(self, site, posthouse_bin, next_hop, **parameters):
        """A running edge; the ports are those of the services in `listen`."""
        services = ("smtp", "smtps", "submission")
        self.replacements["172.16.108.100"] = f"[127.0.0.1]:{next_hop}"
        text = self.text("posthouse.conf",
                         user=("user = posthouse", f"user = {self.account.name}"
                               if os.geteuid() == 0 else "user ="))
        added = {
            "listen": " ".join(f"{service}://127.0.0.1:{site.port()}" for service in services),
            "queue_directory": self.directory / "queue", "run_directory": self.directory / "prun",
            "workers": 2, **parameters,
        }
        host = ExampleEdge(posthouse_bin, self, text, added)
        site.hosts.append(host)
        return host.start()


class ExampleEdge(Host):
    def __init__(self, posthouse_bin, example, text, added):
        self._text, self._example = text, example
        super().__init__(posthouse_bin, example.directory / "host", added, {})

    def configure(self, **parameters):
        self.parameters = parameters
        self.write(self.config.name, self._text + "".join(
            f"{name} = {value}\n" for name, value in parameters.items()))
        self._example.share(self.config)

    def mailbox(self, user):
        name, _, domain = user.partition("@")
        folder = self._example.vhosts / domain / name
        return [path.read_bytes() for path in sorted((folder / "new").iterdir())]
