"""local - the servers of hub_compare as final destinations, and what lies in their mailboxes

Instead of a sink there are Maildirs. A mail has arrived when it got its name in
new/, which its status-change time says; it is read when the clock has stopped.
"""

import os
import re
import shutil
import time
from pathlib import Path

from load import SETTLE_S, generate
from servers import DOMAIN, HOST, Postfix, Posthouse

POLL_S = 0.1


class Mailboxes:
    """Maildirs that take turns, each that of all addresses of a domain."""

    def __init__(self, base, count, owner=None):
        self.base, self.count = base, count
        self.seen = set()
        base.mkdir(mode=0o755)
        if owner:
            shutil.chown(base, *owner)

    def domains(self):
        return [f"n-{box}.{DOMAIN}" for box in range(self.count)]

    def write_maps(self, directory):
        """For both servers."""
        for name, value in (("domains", "box{}"), ("boxes", "box{}/")):
            at = "" if name == "domains" else "@"
            (directory / name).write_text("".join(
                f"{at}{domain} {value.format(box)}\n"
                for box, domain in enumerate(self.domains())))

    def files(self):
        """Those of this round: others stay, as ext4 is slow to make files where it just removed some."""
        for box in range(self.count):
            try:
                yield from (entry for entry in os.scandir(self.base / f"box{box}" / "new")
                            if entry.name not in self.seen)
            except FileNotFoundError:
                pass

    def wait(self, wanted, timeout_s):
        """Until so many are there, or no more came for so long."""
        before, deadline = -1, time.monotonic() + timeout_s
        while True:
            now = sum(1 for _ in self.files())
            if now >= wanted or time.monotonic() > deadline:
                return
            if now != before:
                before, deadline = now, time.monotonic() + timeout_s
            time.sleep(POLL_S)

    def read(self):
        """What has arrived: {number: count}, how many are mangled, and when the last one came."""
        counts, mangled, last = {}, 0, 0.0
        skew = time.time() - time.monotonic()
        for entry in list(self.files()):
            text = Path(entry.path).read_bytes()
            number = re.search(rb"^X-Bench-Id: (\d+)$", text, re.M)
            total = re.search(rb"^X-Bench-Sum: (\d+)$", text, re.M)
            header, _, body = text.partition(b"\n\n")
            body = b"\r\n" + body.replace(b"\n", b"\r\n")
            last = max(last, entry.stat().st_ctime - skew)
            if not (number and total and header) or sum(body) != int(total[1]):
                mangled += 1
            else:
                counts[int(number[1])] = counts.get(int(number[1]), 0) + 1
            self.seen.add(entry.name)
        return counts, mangled, last


class LocalPosthouse(Posthouse):
    """build/posthouse in mode edge, delivering as the account that it runs under."""

    name = "posthouse-local"
    owner = None

    def __init__(self, options, group):
        super().__init__(options, group)
        self.boxes = Mailboxes(self.directory / "mail", options.mailboxes, self.owner)

    def owner_lines(self):
        """Of the configuration."""
        return ""

    def start(self):
        self.boxes.write_maps(self.directory)
        user = "root" if os.geteuid() == 0 else ""
        level = "none" if self.tls == "none" else "encrypt"
        listener = "smtps" if self.tls == "implicit" else "smtp"
        self.config.write_text(f"""\
mode = edge
myhostname = edge.test
mydomain = bench.test
listen = {listener}://{HOST}:{self.port}
user = {user}
queue_directory = {self.directory}/queue
run_directory = {self.directory}/run
log_destination = file:{self.log}
virtual_mailbox_base = {self.boxes.base}
virtual_mailbox_domains = hash:{self.directory}/domains
virtual_mailbox_maps = hash:{self.directory}/boxes
smtpd_sasl_passdb = passwd-file:{self.directory}/users
smtpd_tls_security_level = {level}
smtpd_tls_cert_file = {self.certs.cert}
smtpd_tls_key_file = {self.certs.key}
{self.owner_lines()}
{self.extra}
""")
        users = self.directory / "users"
        users.touch(mode=0o600)
        for name in ("queue", "run"):
            (self.directory / name).mkdir(exist_ok=True)
        self.launch([str(self.binary), "-c", str(self.config), "run"])


class CarriedPosthouse(LocalPosthouse):
    """The same with mailboxes of another account: its carrier writes them."""

    name = "posthouse-carried"
    owner = ("nobody", "nogroup")

    @staticmethod
    def problem(options):
        return Posthouse.problem(options) or (
            None if os.geteuid() == 0 else "only root can write mailboxes of others")

    def owner_lines(self):
        stat = os.stat(self.boxes.base)
        return (f"virtual_uid_maps = static:{stat.st_uid}\n"
                f"virtual_gid_maps = static:{stat.st_gid}")


class LocalPostfix(Postfix):
    """Postfix with virtual(8)."""

    name = "postfix-local"
    MASTER = Postfix.MASTER + "virtual    unix  - n n - -    virtual\n"

    def __init__(self, options, group):
        super().__init__(options, group)
        self.boxes = Mailboxes(self.directory / "mail", options.mailboxes, ("postfix", "postfix"))

    def main_cf(self, data):
        self.boxes.write_maps(self.directory)
        stat = os.stat(self.boxes.base)
        return super().main_cf(data) + f"""
virtual_mailbox_domains = texthash:{self.directory}/domains
virtual_mailbox_base = {self.boxes.base}
virtual_mailbox_maps = texthash:{self.directory}/boxes
virtual_uid_maps = static:{stat.st_uid}
virtual_gid_maps = static:{stat.st_gid}
virtual_mailbox_limit = 0
virtual_destination_concurrency_limit = 20
"""

    def start(self):
        self.next_hops = {}
        super().start()


def run_local_round(options, server, number):
    """As run_round(), for a server that has mailboxes."""
    cpu_before = server.cpu_seconds()
    sent, accepted = generate(options, server, 1 + number * options.messages,
                              "-D", options.mailboxes)
    server.boxes.wait(len(accepted), options.wait)
    time.sleep(SETTLE_S)
    cpu = server.cpu_seconds() - cpu_before
    counts, mangled, last = server.boxes.read()
    seconds = last - sent["first_send"]
    arrived = sum(counts.values()) + mangled
    return {
        "round": number,
        "server": server.name,
        "messages_per_second": arrived / seconds if arrived else 0.0,
        "cpu_ms": 1e3 * cpu / options.messages,
        "tools_cpu_ms": 1e3 * sent["cpu_seconds"] / options.messages,
        "p50_ms": sent["p50_ms"],
        "p99_ms": sent["p99_ms"],
        "refused": options.messages - len(accepted),
        "lost": sum(n not in counts for n in accepted),
        "doubled": sum(count - 1 for count in counts.values()),
        "mangled": mangled,
        "clear": 0,
    }
