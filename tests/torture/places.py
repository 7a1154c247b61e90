"""The two places of torture: a hub that relays, and an edge that delivers and relays."""

import os
import shutil
import socket
from pathlib import Path

BOXES = 500  # often enough a mail finds none yet
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s"}


class Place:
    """A host's directory: how it is configured, and how it is run."""

    def __init__(self, directory, posthouse, parameters, files):
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "disk" / "vhosts").mkdir(parents=True)
        self.directory = directory
        self.queue = directory / "disk" / "queue"
        self._holders = [hold_port() for _ in range(2)]  # ours while no server listens
        self.ports = [holder.getsockname()[1] for holder in self._holders]
        self._parameters = {**parameters, "listen": f"smtp://127.0.0.1:{self.ports[0]}"}
        self._config = directory / "posthouse.conf"
        self.configure()
        for name, text in files.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o600)
        self._posthouse = str(posthouse)
        self.run_command = [self._posthouse, "-c", str(self._config), "run"]

    def configure(self, more="", **changes):
        """changes: of parameters; more: lines behind them."""
        self._write(self._config, {**self._parameters, **changes}, more)

    @staticmethod
    def _write(path, parameters, more=""):
        new = path.with_suffix(".new")
        new.write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()) + more)
        new.rename(path)

    def command(self, may_act_alone):
        """For an operator; it finds the server, and the queue only if it may act alone."""
        path = self.directory / "command.conf"
        queue = {} if may_act_alone else {"queue_directory": path.name}
        self._write(path, {**self._parameters, **queue})
        return [self._posthouse, "-c", str(path)]

    def configurations(self, rng):
        """Changes as configure() takes them, and whether a running server takes them up."""
        first, second = (f"smtp://127.0.0.1:{port}" for port in self.ports)
        return rng.choice((
            ({"smtpd_timeout": f"{rng.randrange(200, 300)}s"}, True),
            ({"listen": f"{first} {second}"}, True),
            ({"listen": f"{second} {first}", "message_size_limit": "20M"}, True),
            ({"transport_maps": "hash:ts2"}, True),
            ({"default_destination_concurrency_limit": rng.randrange(2, 30)}, True),
            ({"maximal_backoff_time": "1s"}, True),
            ({"more": "smtpd_timeot = 5m\n"}, False),
            ({"queue_directory": "disk/elsewhere"}, False),
            ({"workers": 3}, False),
            ({"smtpd_tls_key_file": "absent.key"}, False),
            ({"smtp_tls_security_level": "may", "transport_maps": "hash:ts3"}, False),
            ({"transport_maps": "hash:absent"}, False),
            ({"more": "message_size_li"}, False),  # as of a file that is being written
        ))

    def mails(self):
        """What lies in the mailboxes: path -> recipient."""
        return {str(path): f"{path.parent.parent.name}@vm1.vm"
                for path in (self.directory / "disk" / "vhosts").glob("vm1.vm/*/*/new/*")}

    def close(self):
        for holder in self._holders:
            holder.close()


def hold_port():
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def parameters(certs, mode):
    chosen = {
        "mode": mode,
        "queue_directory": "disk/queue",
        "run_directory": "run",
        "workers": 2,
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_cert_file": f"{certs}/hub.pem",
        "smtpd_tls_key_file": f"{certs}/hub.key",
        "smtpd_tls_CAfile": f"{certs}/ca.pem",
        "transport_maps": "hash:ts",
        **QUICK,
    }
    if os.geteuid() == 0:
        chosen["user"] = "root"
    return chosen


def routes(sink_port):
    return {
        "ts": f"* relay:127.0.0.1:{sink_port} tls=encrypt\n",
        "ts2": f"* relay:[127.0.0.1]:{sink_port} tls=encrypt\n",
        "ts3": f"* relay:127.0.0.1:{sink_port} tls=may\n",
    }


def relay(address_of, rng, number):
    """The sender, and recipients of whom some are late and some do not exist."""
    if rng.random() < 0.05:  # a notification of somebody's; nobody is told when it fails
        return "", [address_of(rng, "ok", number, 0)]
    count = rng.choice((1, 1, 1, 2, 3, 8))
    kinds = rng.choices(("ok", "late", "no"), (14, 3, 3), k=count)
    recipients = [address_of(rng, kind, number, i) for i, kind in enumerate(kinds)]
    return f"back.{number}@vm3.vm", list(dict.fromkeys(recipients))


def hub(directory, posthouse, certs, sink_port):
    """Returns the place, and who sends to whom there."""
    place = Place(directory, posthouse, {
        **parameters(certs, "hub"),
        "myhostname": "mta.vm.vm",
        "relay_domains": "vm1.vm, vm2.vm, vm3.vm",
    }, routes(sink_port))
    return place, lambda rng, number: relay(
        lambda rng, kind, number, i: f"{kind}.{number}.{i}@vm{1 + i % 2}.vm", rng, number)


def edge(directory, posthouse, certs, sink_port):
    place = Place(directory, posthouse, {
        **parameters(certs, "edge"),
        "myhostname": "mta1.vm1.vm",
        "mydomain": "vm1.vm",
        "mynetworks": "127.0.0.0/8",
        "virtual_mailbox_base": "disk/vhosts",
        "virtual_mailbox_maps": "hash:vusers",
    }, {
        **routes(sink_port),
        "users": "alice@vm1.vm:{PLAIN}alice::::::\n",
        "vusers": "".join(f"box{i}@vm1.vm vm1.vm/{i}/box{i}/\n" for i in range(BOXES)),
    })

    def address_of(rng, kind, number, i):
        if rng.random() < 0.6:
            return f"box{rng.randrange(BOXES)}@vm1.vm"
        return f"{kind}.{number}.{i}@vm2.vm"

    return place, lambda rng, number: relay(address_of, rng, number)
