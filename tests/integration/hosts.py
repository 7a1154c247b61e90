"""Hubs and edges under test, each in a directory of its own, and the peers around them.

A Site belongs to one test, or to one module: what it has started it stops, and
then it looks whether all have ended well.
"""

import json
import os
import socket
import sqlite3
import subprocess
import time

from dns_stub import DnsStub
from peer import Peer
from server import PATIENCE_S, Server

USERS = {"vm1.vm": ("alice", "test1"), "vm2.vm": ("bob", "test2"), "vm3.vm": ("alpha", "beta")}


class Host:
    def __init__(self, posthouse_bin, directory, parameters, files):
        directory.mkdir()
        self.directory = directory
        self.config = directory / "posthouse.conf"
        self.server = None
        self.servers = []  # one for each start
        self._bin = posthouse_bin
        for name, text in files.items():
            self.write(name, text)
        self.configure(**parameters)

    def write(self, name, text):
        """Make or replace a file at once, as a careful operator does."""
        new = self.directory / (name + ".new")
        new.touch(mode=0o600)
        new.write_text(text)
        new.rename(self.directory / name)

    def change(self, **parameters):
        """Configure the same but for these; None: left out."""
        merged = {**self.parameters, **parameters}
        self.configure(**{name: value for name, value in merged.items() if value is not None})

    def configure(self, **parameters):
        self.parameters = parameters
        self.write(self.config.name,
                   "".join(f"{name} = {value}\n" for name, value in parameters.items()))

    # ---- the process ----

    def start(self):
        self.server = Server([self._bin, "-c", str(self.config), "run"])
        self.servers.append(self.server)
        return self

    def stop(self):
        """Ends it as an operator does. Sanitizers speak at the end, so that is checked here."""
        code = self.server.stop()
        assert code == 0, f"{self.directory.name} ended with {code}\n{self.server.log()}"
        assert not self.server.complaints(), "\n".join(self.server.complaints())

    def kill(self):
        self.server.kill()
        assert not self.server.complaints(), "\n".join(self.server.complaints())

    def is_running(self):
        return self.server is not None and self.server.process.poll() is None

    def port(self, service="smtp"):
        return self.server.port(service)

    def wait_for(self, pattern, since=0):
        return self.server.wait_for(pattern, since)

    def delivered(self, recipient, message_id="", status="sent"):
        """Wait until the log says what became of a recipient; returns that line."""
        return self.wait_for(f"{message_id}: to=<{recipient}>.* status={status} ")

    def removed(self, message_id):
        """Wait until a message has left the queue."""
        return self.wait_for(f" {message_id}: removed$")

    # ---- what it has ----

    def command(self, *arguments):
        return subprocess.run([self._bin, "-c", str(self.config), *arguments], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE_S)

    def queue(self, *arguments):
        """What `queue list` shows, or `queue show ID` when arguments are ("show", ID)."""
        got = self.command("queue", *(arguments[:1] or ("list",)), "--json", *arguments[1:])
        assert got.returncode == 0, got.stderr
        return [json.loads(line) for line in got.stdout.splitlines()]

    def waiting(self, recipient, status="deferred"):
        """The state of a recipient, once it is that: the log is a little ahead of the queue."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            states = [state for message in self.queue() for state in message["recipients"]
                      if state["address"] == recipient and state["status"] == status]
            if states:
                return states[0]
            assert time.monotonic() < deadline, f"{recipient} does not become {status}"

    def ledger(self, recipient):
        """The rows of the TLS ledger for a recipient, oldest first."""
        connection = self.database()
        connection.row_factory = sqlite3.Row
        rows = connection.execute("select * from ledger where recipient = ? order by row",
                                  (recipient,)).fetchall()
        connection.close()
        return [dict(row) for row in rows]

    def database(self):
        return sqlite3.connect(f"file:{self.directory}/queue/queue.db?mode=ro", uri=True)

    def bodies(self):
        """The files that hold large messages."""
        folder = self.directory / "queue" / "bodies"
        return [path for path in folder.rglob("*") if path.is_file()]

    def mailbox(self, user):
        """The messages in a user's Maildir."""
        name, _, domain = user.partition("@")
        folder = self.directory / "vhosts" / domain / name
        return [path.read_bytes() for path in sorted((folder / "new").iterdir())]


class Site:
    def __init__(self, directory, posthouse_bin, certs):
        self.directory, self.certs = directory, certs
        self.hosts = []
        self._bin = posthouse_bin
        self._others = []  # peers and the like
        self._sockets = []

    def port(self, host="127.0.0.1", port=0):
        """A port that stays ours: bound, so that nobody else gets it, and not listening."""
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._sockets.append(s)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, port))
        return s.getsockname()[1]

    def host(self, parameters, files):
        defaults = {
            "queue_directory": "queue",
            "run_directory": "run",
            "workers": 2,
            "smtpd_tls_cert_file": f"{self.certs}/hub.pem",
            "smtpd_tls_key_file": f"{self.certs}/hub.key",
            "smtpd_tls_CAfile": f"{self.certs}/ca.pem",
            "transport_maps": "hash:ts",
        }
        if os.geteuid() == 0:
            defaults["user"] = "root"
        name = f"host{len(self.hosts)}"
        host = Host(self._bin, self.directory / name, {**defaults, **parameters}, files)
        self.hosts.append(host)
        return host

    def hub(self, routes="", files=None, **parameters):
        """A running hub; routes is the text of its transport map, files are others by name."""
        defaults = {
            "mode": "hub",
            "myhostname": "mta.vm.vm",
            "listen": f"smtp://127.0.0.1:{self.port()} smtps://127.0.0.1:{self.port()}",
            "relay_domains": "vm1.vm, vm2.vm, vm3.vm, example",
        }
        return self.host({**defaults, **parameters}, {"ts": routes, **(files or {})}).start()

    def edge(self, domain="vm1.vm", routes="", users=None, **parameters):
        """A running edge with the users of the how-to, each with the own name as password."""
        services = ("smtp", "smtps", "submission", "submissions")
        defaults = {
            "mode": "edge",
            "myhostname": f"mta{domain[2:-3]}.{domain}",
            "mydomain": domain,
            "listen": " ".join(f"{service}://127.0.0.1:{self.port()}" for service in services),
            "smtpd_sasl_failure_delay_limit": "0",  # tests fail to log in more often than people
            "virtual_mailbox_base": "vhosts",
            "virtual_mailbox_maps": "hash:vusers",
        }
        names = USERS[domain]
        return self.host({**defaults, **parameters}, {
            "ts": routes,
            "users": users or "".join(f"{name}@{domain}:{{PLAIN}}{name}::::::\n" for name in names),
            "vusers": "".join(f"{name}@{domain} {domain}/{name}/\n" for name in names),
        }).start()

    def peer(self, tls="none", certificate="hub", **options):
        path = self.certs / certificate if tls != "none" else None
        peer = Peer(tls=tls, certificate=path, **options)
        self._others.append(peer)
        return peer

    def dns(self, records, **options):
        stub = DnsStub(records, **options)
        self._others.append(stub)
        return stub

    def close(self):
        """Everything ends, in order; then the first that has not ended well is an error."""
        try:
            for host in self.hosts:
                if host.is_running():
                    host.stop()
        finally:
            for host in self.hosts:
                if host.is_running():
                    host.server.kill()
            for other in self._others:
                other.close()
            for s in self._sockets:
                s.close()
