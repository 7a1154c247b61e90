"""What all how-tos need: a place, certificates, hosts with Posthouse, and their Dovecots."""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from dovecot import Account, Dovecot
from hosts import Host
from network import Network

ADDRESS = "192.0.2.25"  # of a how-to with one host that does not say where it is


class Guide:
    """The hosts of one how-to. addresses: theirs, in the order of names."""

    machine = None  # a Machine, where its users are the system's

    owner = None  # uid and gid of mailboxes, where the how-to has an account for them

    def __init__(self, directory, posthouse_bin, site, names=("mail",), addresses=(ADDRESS,)):
        self.directory, self.bin, self.site = directory, posthouse_bin, site
        self.account = Account()
        if os.geteuid() != 0:
            self.owner = None
        self.address = dict(zip(names, addresses))
        self.network = Network(site, addresses)
        self.pki, self.ca = directory / "pki", directory / "pki" / "ca.crt"
        self._dovecots = []
        self._certs("ca", "--out", self.pki)
        self.pki.chmod(0o755)
        for name in names:
            self._certs("issue", "--ca", self.pki, "--out", self.pki, name, f"{name}.example",
                        self.network.address(self.address[name]))
            self.share(self.pki / f"{name}.key")

    def _certs(self, *arguments):
        subprocess.run([self.bin, "certs", *arguments], check=True, stdout=subprocess.DEVNULL)

    @staticmethod
    def share(path):
        """For the account of the server, and for Dovecot's."""
        path.chmod(0o644)

    def at(self, name, service):
        """"ADDRESS:PORT"."""
        return self.network.at(self.address[name], service)

    def where(self, name, service):
        """(ADDRESS, PORT)"""
        address = self.address[name]
        return self.network.address(address), self.network.port(address, service)

    def listen(self, name, **services):
        """services: port="service", as in smtp="smtp"."""
        return " ".join(f"{service}://{self.at(name, port)}" for port, service in services.items())

    def host(self, name, parameters, files):
        """Configured, and not running yet. A parameter None is left out."""
        folder = self.directory / name
        defaults = {
            "user": self.account.name if os.geteuid() == 0 else "",
            "queue_directory": folder / "queue", "run_directory": folder / "run", "workers": 2,
            "smtpd_tls_CAfile": self.ca,
            "smtpd_tls_key_file": self.pki / f"{name}.key",
            "smtpd_tls_cert_file": self.pki / f"{name}.crt",
        }
        merged = {**defaults, **parameters}
        host = Host(self.bin, folder, {key: value for key, value in merged.items()
                                       if value is not None}, files)
        folder.chmod(0o755)
        for file in (*files, host.config.name):
            self.share(folder / file)
        for new in ("queue", "queue/private", "run", *(() if self.owner else ("vhosts",))):
            (folder / new).mkdir()
            self.account.give(folder / new, 0o755)
        self.site.hosts.append(host)
        return host

    def hints(self, main_cf):
        """What check says of a main.cf: {name: hint} of all names that we do not have."""
        file = self.directory / "main.cf"
        file.write_text("mode = edge\n" + main_cf)
        got = subprocess.run([self.bin, "-c", file, "check"], check=False, encoding="utf-8",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        found = re.findall(r"error: unknown parameter (\w+)(?:; (.*))?", got.stdout)
        return dict(found)

    def owners(self):
        """virtual_uid_maps and virtual_gid_maps, as root; else all is the account's own."""
        if not self.owner:
            return {}
        return {"virtual_uid_maps": f"static:{self.owner}",
                "virtual_gid_maps": f"static:{self.owner}"}

    def rewrite(self, host, file, text, parameter):
        """Another version of a map, and wait until it is taken up."""
        if (host.directory / file).read_text() == text:
            return
        mark = host.server.mark()
        host.write(file, text)
        self.share(host.directory / file)
        host.wait_for(f"{parameter}: .*has changed and was taken up", since=mark)

    def dovecot(self, name, configuration, **files):
        """Running, at the ports imap, imaps, pop3 and pop3s, where {…} says so."""
        folder = self.directory / f"d-{name}"
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
            self.share(folder / file)
        ports = {service: self.where(name, service)[1]
                 for service in ("imap", "imaps", "pop3", "pop3s")}
        dovecot = Dovecot(folder, configuration.format(
            address=self.where(name, "smtp")[0], etc=folder, pki=self.pki, name=name,
            host=self.directory / name, uid=self.owner or self.account.uid,
            gid=self.owner or self.account.gid, **ports),
            ports)
        self._dovecots.append(dovecot)
        return dovecot

    def close(self):
        for dovecot in self._dovecots:
            dovecot.stop()
        for host in self.site.hosts:
            if host.is_running():
                host.stop()
        if self.machine:
            self.machine.close()

    def set_up(self):
        """What a how-to does before its first dialogue."""


@contextlib.contextmanager
def followed(guide, *arguments):
    """A Guide that is set up, in a directory that all accounts may enter, and its end."""
    with tempfile.TemporaryDirectory(prefix="posthouse-") as name:
        os.chmod(name, 0o755)
        instance = guide(Path(name), *arguments)
        try:
            instance.set_up()
            yield instance
        finally:
            instance.close()
