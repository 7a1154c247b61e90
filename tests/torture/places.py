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
        self._holder = socket.socket()  # keeps the port ours while no server runs
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port = self._holder.getsockname()[1]
        config = directory / "posthouse.conf"
        parameters["listen"] = f"smtp://127.0.0.1:{self.port}"
        config.write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()))
        for name, text in files.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o600)
        self.base_command = [str(posthouse), "-c", str(config)]

    def mails(self):
        """What lies in the mailboxes: path -> recipient."""
        return {str(path): f"{path.parent.parent.name}@vm1.vm"
                for path in (self.directory / "disk" / "vhosts").glob("vm1.vm/*/*/new/*")}

    def close(self):
        self._holder.close()


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
    }, {"ts": f"* relay:127.0.0.1:{sink_port} tls=encrypt\n"})
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
        "ts": f"* relay:127.0.0.1:{sink_port} tls=encrypt\n",
        "users": "alice@vm1.vm:{PLAIN}alice::::::\n",
        "vusers": "".join(f"box{i}@vm1.vm vm1.vm/{i}/box{i}/\n" for i in range(BOXES)),
    })

    def address_of(rng, kind, number, i):
        if rng.random() < 0.6:
            return f"box{rng.randrange(BOXES)}@vm1.vm"
        return f"{kind}.{number}.{i}@vm2.vm"

    return place, lambda rng, number: relay(address_of, rng, number)
