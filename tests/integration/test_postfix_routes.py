"""Routes as Postfix has them: the same maps and addresses, for its own daemon and for our resolver.

Worlds are generated: maps with some settings around them, and addresses that meet their keys
often. For each there are services of Postfix's trivial-rewrite, each with the settings of its
world, which are asked over their sockets in the protocol of Postfix's own daemons.

What may differ is what the contract says (section 4), by rule:
- domains that the host delivers for itself have no ".parent", "*" or static: (so Postfix is asked
  with maps that have none of these);
- relayhost is relay: where it names no transport (so Postfix's default_transport says that);
- error: is 5.X.Y and retry: 4.X.Y, whatever the line has.
Patterns get whole addresses (transport(5)); here none matches "*", which Postfix tries by accident.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from server import PATIENCE_S, Process

POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
POSTMAP = shutil.which("postmap", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))

pytestmark = pytest.mark.skipif(not POSTFIX, reason="postfix is not installed")

SEED = 20261121
WORLDS = 60
ADDRESSES = 15
FILES = 30

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
maillog_file = /dev/stdout
myhostname = neighbour.vm9.vm
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relay_domains =
"""

MASTER_CF = """\
postlog    unix-dgram n - n - 1 postlogd
"""

LABELS = ["a", "b", "A", "vm"]
LOCAL_DOMAINS = ["a.vm", "vm"]
LOCAL_PARTS = ["a", "b", "A", "a+b", "a-b", "A+B-a", "+a", "owner-a", "a-request", "Postmaster+a",
               "mailer-daemon-a", "a.b", "a%b.vm", "vm!a", "\u00fc", '"a"', '"a+b"', '"\\a"',
               '"a b"', '"a@b.vm"', '"a b+vm"', '".a"']
HOPS = ["[h]", "h", "h:26", "[Hub.Example]:587", "10.0.0.1", "[10.0.0.1]:26", "[::1]", "[ipv6:::1]",
        "[h], i", "[h],[i]:26", "h i  [j]", "HUB.example:smtp"]
BASES = ["smtp", "smtp:[hub]", "relay:hub.example", "error:5.7.1 closed", "relay-smtps",
         "lmtp:unix:/run/lmtp", "retry:later", "discard:"]
RELAYHOSTS = ["", "", "[hub]:26", "hub.example", "[h], [i]"]


# ---- worlds ----

class World:
    def __init__(self, rng):
        self.rng = rng
        self.relayhost = rng.choice(RELAYHOSTS)
        self.default_transport = rng.choice(BASES)
        self.delimiter = rng.choice(["", "+", "-", "+-"])
        self.base = "relay" if self.relayhost else self.default_transport.partition(":")[0]
        self.maps = [self.table() for _ in range(rng.choice([1, 1, 2]))]
        self.patterns = self.regexps() if rng.random() < 0.3 else []
        self.static = self.value() if rng.random() < 0.15 else None
        self.is_static_first = rng.random() < 0.5
        self.files = []  # that Postfix has to compile
        self.addresses = [self.address() for _ in range(ADDRESSES)]

    def domain(self):
        return ".".join(self.rng.choice(LABELS) for _ in range(self.rng.randint(1, 4)))

    def address(self):
        """Most are close to a key."""
        key = self.rng.choice([key for table in self.maps for key, _ in table])
        local, at, domain = key.rpartition("@")
        if domain == "*" or self.rng.random() < 0.2:
            domain = self.address_domain()
        if domain.startswith("."):
            domain = self.rng.choice(LABELS) + domain
        if not at or self.rng.random() < 0.1:
            local = self.rng.choice(LOCAL_PARTS)
        elif self.rng.random() < 0.5:
            local = f"{local[:-1]}+x\"" if local.startswith('"') else (
                local + self.rng.choice(["+x", "-x", "+x-y"]))
        return f"{local}@{domain}"

    def address_domain(self):
        if self.rng.random() < 0.05:
            return self.rng.choice(["[192.0.2.1]", "[IPv6:2001:db8::1]"])
        return self.domain() + ("." if self.rng.random() < 0.05 else "")

    def key(self):
        kind = self.rng.random()
        if kind < 0.08:
            return "*"
        if kind < 0.12:
            return self.rng.choice(["[192.0.2.1]", "[IPv6:2001:db8::1]"])
        if kind < 0.45:
            local = self.rng.choice(LOCAL_PARTS)
            return f"{local}@{self.domain()}"
        return ("." if kind < 0.75 else "") + self.domain()

    def nexthop(self, transport):
        """What may stand behind it; without a transport, behind that of the base."""
        transport = transport or self.base
        if self.rng.random() < 0.25:
            return ""
        if transport in ("error", "retry"):
            return self.rng.choice(["no", "5.1.1 gone", "4.2.1 busy: really", "5.7.1", "5.1 x"])
        if transport == "discard":
            return "spam trap"
        if transport == "lmtp" and self.rng.random() < 0.6:
            return self.rng.choice(["unix:/run/lmtp", "unix:private/lmtp", "inet:[h]:24", "inet:h"])
        return self.rng.choice(HOPS)

    def value(self):
        transport = self.rng.choice(["relay", "relay", "relay-smtps", "smtp", "lmtp", "virtual",
                                     "local", "error", "retry", "discard", "", ""])
        nexthop = self.nexthop(transport)
        return transport + (":" if nexthop or not transport or self.rng.random() < 0.8 else "") + (
            nexthop)

    def table(self):
        return [(self.key(), self.value()) for _ in range(self.rng.randint(1, 12))]

    def regexps(self):
        return [(self.rng.choice([r"/^a@/", r"/\.b@?/", r"/^b@b\.vm$/", r"/@vm$/", r"/^vm$/",
                                  r"!/[*a]/", r"/^[^@]*\+/"]), self.value())
                for _ in range(self.rng.randint(1, 3))]

    # ---- as files and settings ----

    def write(self, folder, is_local):
        """Writes the maps; returns the parameter. is_local: what counts for domains of this host."""
        specs = []
        for i, table in enumerate(self.maps):
            path = folder / f"ts{i}{'-local' if is_local else ''}"
            lines = [(k, v) for k, v in table if not is_local or not k.startswith((".", "*"))]
            path.write_text("".join(f"{key}\t{value}\n" for key, value in lines))
            self.files.append(path)
            specs.append(f"hash:{path}")
        if self.patterns:
            path = folder / "regexp"
            path.write_text("".join(f"{key}\t{value}\n" for key, value in self.patterns))
            specs.append(f"regexp:{path}")
        if self.static and not is_local:
            spec = f"static:{{{self.static}}}"
            specs = [spec, *specs] if self.is_static_first else [*specs, spec]
        return ", ".join(specs)

    def request(self, folder):
        return {
            "transport_maps": self.write(folder, False), "directory": str(folder),
            "relayhost": self.relayhost, "default_transport": self.default_transport,
            "recipient_delimiter": self.delimiter, "local": LOCAL_DOMAINS,
            "addresses": self.addresses}

    def postfix_settings(self, folder, is_local):
        return {
            "transport_maps": self.write(folder, is_local), "relayhost": self.relayhost,
            "default_transport": "relay" if self.relayhost else self.default_transport,
            "recipient_delimiter": self.delimiter,
            "virtual_mailbox_domains": " ".join(LOCAL_DOMAINS) if is_local else ""}


def domain_of(address):
    return address.rpartition("@")[2].rstrip(".")


def is_local(address):
    return domain_of(address).lower() in LOCAL_DOMAINS


def unquoted(address):
    """As Postfix's daemons pass addresses to each other."""
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return f"{local}@{domain}"


# ---- Postfix ----

class Rewrite:
    """A connection to a trivial-rewrite."""

    def __init__(self, path):
        self._path = path
        self._connect()

    def _connect(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        folder = os.open(self._path.parent, os.O_PATH)
        self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        os.close(folder)
        self._input = b""
        assert self._read() == [("protocol", "trivial_rewrite_protocol")]

    def close(self):
        self._socket.close()

    def _read(self):
        """Attributes: names and values, and then an empty name."""
        attributes = []
        while name := self._read_word():
            attributes.append((name, self._read_word()))
        return attributes

    def _read_word(self):
        while b"\0" not in self._input:
            data = self._socket.recv(65536)
            assert data, "trivial-rewrite has hung up"
            self._input += data
        word, _, self._input = self._input.partition(b"\0")
        return word.decode()

    def resolve(self, address):
        request = ("request", "resolve", "sender", "", "address", address, "")
        self._socket.sendall("".join(word + "\0" for word in request).encode())
        answer = self._read()
        if answer[0] != ("flags", "0"):  # it asks for another connection
            self.close()
            self._connect()
        return dict(answer[1:])


class Postfix(Process):
    def __init__(self, directory, services):
        """services: settings by name."""
        for name in ("etc", "spool", "data"):
            (directory / name).mkdir()
        shutil.chown(directory / "data", "postfix", "postfix")
        self._config, self._spool = directory / "etc", directory / "spool"
        master = MASTER_CF
        for name, settings in services.items():
            master += f"{name} unix - - n - 1 trivial-rewrite\n"
            for parameter, value in settings.items():
                master += f"  -o {{ {parameter} = {value} }}\n"
        (self._config / "main.cf").write_text(MAIN_CF.format(directory=directory))
        (self._config / "master.cf").write_text(master)
        super().__init__([POSTFIX, "-c", self._config, "start-fg"], "daemon started",
                         start_new_session=True)

    def rewrite(self, name):
        return Rewrite(self._spool / "private" / name)

    def close(self):
        subprocess.run([POSTFIX, "-c", self._config, "stop"], check=True, timeout=PATIENCE_S)
        self.process.wait(PATIENCE_S)
        self._reader.join()


def compile_maps(directory, paths):
    """All at once; it warns of keys that are there twice, of which the first counts."""
    (directory / "postmap").mkdir()
    (directory / "postmap" / "main.cf").write_text("compatibility_level = 3.6\n")
    subprocess.run([POSTMAP, "-c", directory / "postmap",
                    *(f"hash:{path}" for path in sorted(set(paths)))],
                   check=True, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)


def ask_postfix(directory, folders, worlds):
    """Their answers, a list for each world."""
    services = {}
    for i, (world, folder) in enumerate(zip(worlds, folders)):
        services[f"w{i}"] = world.postfix_settings(folder, False)
        services[f"w{i}-local"] = world.postfix_settings(folder, True)
    compile_maps(directory, [path for world in worlds for path in world.files])
    postfix = Postfix(directory, services)
    try:
        found = []
        for i, world in enumerate(worlds):
            ways = [postfix.rewrite(f"w{i}"), postfix.rewrite(f"w{i}-local")]
            found.append([ways[is_local(a)].resolve(unquoted(a)) for a in world.addresses])
            for way in ways:
                way.close()
        return found
    finally:
        postfix.close()


# ---- the comparison ----

def split_dsn(text, first, default):
    match = re.match(r"[245]\.(\d{1,3}\.\d{1,3})(?:\s+|$)(.*)", text)
    if not match:
        return f"{first}.0.0", text
    return f"{first}.{match[1]}", match[2] or default


def words(text):
    return re.split(r"[,\s]+", text.strip(", "))


def described(theirs, address):
    """What we should say, where that is what they say."""
    transport, nexthop = theirs["transport"], theirs["nexthop"].strip()
    is_domain = nexthop.lower() == domain_of(address).lower()
    if transport in ("error", "retry"):
        first = "5" if transport == "error" else "4"
        return transport, *split_dsn(nexthop, first, "Address is undeliverable")
    if transport == "discard":
        return transport, "2.0.0", "discarded" if is_domain else f"discarded: {nexthop}"
    if transport in ("virtual", "local"):
        return transport, None
    return transport, "the domain" if is_domain else words(nexthop)


def ours_described(ours, address):
    transport = ours["transport"]
    if transport in ("error", "retry", "discard"):
        return transport, ours["enhanced"], ours["text"]
    if transport in ("virtual", "local"):
        return transport, None
    if ours["nexthop"]:
        return transport, words(ours["nexthop"])
    host = domain_of(address).lower().strip("[]").replace("ipv6:", "")
    (hop,) = ours["hops"]
    return transport, "the domain" if hop.rpartition(":")[0].strip("[]") == host else hop


def resolve(posthouse_bin, requests):
    got = subprocess.run([Path(posthouse_bin).parent / "tests" / "support" / "resolve"],
                         input="".join(json.dumps(request) + "\n" for request in requests),
                         encoding="utf-8", check=True, stdout=subprocess.PIPE,
                         timeout=PATIENCE_S)
    return [json.loads(line) for line in got.stdout.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start postfix")
def test_same_routes(open_path, posthouse_bin):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    worlds = [World(rng) for _ in range(WORLDS)]
    folders = [open_path / f"world{i}" for i in range(WORLDS)]
    for folder in folders:
        folder.mkdir()
    ours = resolve(posthouse_bin, [w.request(folder) for w, folder in zip(worlds, folders)])
    theirs = ask_postfix(open_path, folders, worlds)
    differences, seen = [], set()
    for world, our_answers, their_answers in zip(worlds, ours, theirs):
        for address, our, their in zip(world.addresses, our_answers, their_answers):
            want, have = described(their, address), ours_described(our, address)
            seen.add(want[0])
            if want != have:
                differences.append(f"{address}: {have}, Postfix {want} ({their})\n  "
                                   f"{world.maps} {world.patterns} {world.static}\n  "
                                   f"{world.relayhost!r} {world.default_transport!r} "
                                   f"{world.delimiter!r}")
    assert not differences, f"seed {SEED}: {len(differences)}\n" + "\n".join(differences[:10])
    assert seen == {"relay", "relay-smtps", "smtp", "lmtp", "virtual", "local", "error", "retry",
                    "discard"}


# ---- maps alone ----

def table_text(rng):
    """As people write them: comments, continued lines, blanks wherever they may be."""
    text = ""
    for _ in range(rng.randint(1, 15)):
        text += rng.choice(["", "", "# a comment\n", "\n", "   \n", "  # one with blanks\n"])
        key = rng.choice(["a", "A", ".a.vm", "b@vm", "B@VM", '"a b"@vm', "a#b", "*", "x=y", "\u00fc"])
        value = rng.choice(["relay:[h]", "relay:[h], i", "error:5.1.1 gone", "a # b", "x  y\tz",
                            ":", "\u00fc", "\"q\""])
        text += key + rng.choice([" ", "\t", "   "]) + value
        text += rng.choice(["", "", "", "\n  more", "\n# between\n\tmore", "  ", "\n\n   more"])
        text += "\n"
    return text + rng.choice(["", "c relay:[h]"])


def test_same_maps(open_path, posthouse_bin):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    keys = ["a", "A", ".a.vm", "b@vm", "B@vm", '"a b"@vm', "a b@vm", "a#b", "*", "x=y", "x", "c",
            "more", "#", "\u00fc", "nothing"]
    paths = [open_path / f"map{i}" for i in range(FILES)]
    for path in paths:
        path.write_text(table_text(rng))
    compile_maps(open_path, paths)
    ours = resolve(posthouse_bin, [{"map": f"hash:{path}", "keys": keys} for path in paths])
    for path, our in zip(paths, ours):
        got = subprocess.run([POSTMAP, "-c", open_path / "postmap", "-q", "-", f"hash:{path}"],
                             input="".join(key + "\n" for key in keys), encoding="utf-8",
                             stdout=subprocess.PIPE, check=False, timeout=PATIENCE_S)
        theirs = dict(line.split("\t", 1) for line in got.stdout.splitlines())
        assert our == [theirs.get(key) for key in keys], path.read_text()
