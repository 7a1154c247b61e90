"""What `posthouse explain` predicts is what the wire shows.

Hundreds of random routes, with all transports and levels, whose TLS is decided by the line,
by smtp_tls_policy_maps or by the general level, lead to peers of every kind. One message goes
to all of them at once; before, explain is asked about each. What must happen follows from
its answer and from how the peer is, by the few rules in Prediction; then the peers, the
queue and the ledger are asked what has happened.
"""

import json
import random
import smtplib
import subprocess
from pathlib import Path

import pytest

from clients import HOST
from peer import DROP
from server import PATIENCE_S

ROUTES = 120  # for each general level

NAMES = ("hub.example", "other.example", "listed.example", "signed.example")  # of all peers
SIGNED = "signed.example"  # DNS says so, and has TLSA records for each port

# kind: how such a peer is, and the names that a trusted certificate of it has
PEERS = {
    "good": ({"tls": "starttls"}, {"hub.example", HOST}),
    "wrong name": ({"tls": "starttls", "certificate": "wrong"}, {"other.example"}),
    "stranger": ({"tls": "starttls", "certificate": "stranger"}, set()),
    "expired": ({"tls": "starttls", "certificate": "expired"}, set()),
    "no STARTTLS": ({"tls": "none"}, None),
    "refuses": ({"tls": "starttls", "replies": {"STARTTLS": "454 4.7.0 not now"}}, None),
    "breaks": ({"tls": "starttls", "replies": {"HANDSHAKE": DROP}}, None),
    "implicit": ({"tls": "implicit"}, {"hub.example", HOST}),
    "implicit stranger": ({"tls": "implicit", "certificate": "stranger"}, set()),
    "down": (None, None),
}


UNSENT = ("error:5.1.1 gone", "retry:4.2.1 later", "discard:")


class World:
    """The peers, and what is generated around them."""

    def __init__(self, site, seed):
        self.random = random.Random(seed)
        self.peers = {kind: site.peer(**keywords) for kind, (keywords, _) in PEERS.items()
                      if keywords is not None}
        self.ports = {kind: peer.port for kind, peer in self.peers.items()}
        self.ports["down"] = site.port()
        self.kinds = {port: kind for kind, port in self.ports.items()}
        self.pins = {kind: fingerprint(site.certs, PEERS[kind][0].get("certificate", "hub"))
                     for kind in self.peers if PEERS[kind][0]["tls"] != "none"}
        self.records = {port: self.random.choice(["own", "own", "other", "unusable", "none",
                                                  "fails"]) for port in self.kinds}
        self.dns = site.dns({**{name: [HOST] for name in NAMES}, **self.tlsa()},
                            signed=[SIGNED])
        self.lines, self.policies, self.recipients = [], {}, []
        self.written = {}  # recipient: the next hops as they stand in the map

    def tlsa(self):
        """What DNS has, by name. SERVFAIL is what comes of bad signatures."""
        names = {}
        for port, record in self.records.items():
            pin = self.pins.get(self.kinds[port], "sha256:" + "00" * 32).partition(":")[2]
            data = {"own": bytes([3, 0, 1]) + bytes.fromhex(pin),
                    "other": bytes([3, 0, 1]) + bytes(32),
                    "unusable": bytes([0, 0, 1]) + bytes(32)}.get(record)
            if record != "none":
                names[f"_{port}._tcp.{SIGNED}"] = [data] if data else None
        return names

    # ---- generating ----

    def hop(self, transport, host):
        """Clear SMTP to a port of implicit TLS would have both sides wait for the other."""
        kinds = [kind for kind in self.ports
                 if transport == "relay-smtps" or not kind.startswith("implicit")]
        return f"{host}:{self.ports[self.random.choice(kinds)]}"

    def attributes(self, transport, is_entry=False):
        """Of a line, or an entry of smtp_tls_policy_maps."""
        levels = ["encrypt", "verify", "secure", "fingerprint", "dane", "dane-only"]
        if transport != "relay-smtps" or is_entry:
            levels += ["none", "may", "may"]
        level = self.random.choice(levels)
        words = [level if is_entry else f"tls={level}"]
        if level == "fingerprint":
            words.append("fingerprint=" + "|".join(self.random.sample(
                sorted(set(self.pins.values())), self.random.randint(1, 2))))
        elif level in ("verify", "secure") and self.random.random() < 0.5:
            words.append("match=" + ":".join(self.random.sample(
                ["hub.example", "other.example", ".example", "nexthop", HOST], 2)))
        if self.random.random() < 0.2:
            words.append("protocols=>=TLSv1.3")
        return " ".join(words)

    def value(self):
        """A right-hand side, and its next hops, unless they are not its own."""
        if self.random.random() < 0.1:
            return self.random.choice(UNSENT), ""
        if self.random.random() < 0.1:  # as it would be without the line, but for its TLS
            return self.random.choice([":", f": {self.attributes('relay-smtps')}"]), ""
        transport = self.random.choice(["relay", "relay", "smtp", "relay-smtps"])
        # of one host, as the names of all are in one list
        host = self.random.choice(["hub.example", "[hub.example]", "[other.example]", f"[{HOST}]",
                                   f"[{SIGNED}]", SIGNED])
        hops = ", ".join(self.hop(transport, host) for _ in range(self.random.choice([1, 1, 2])))
        if self.random.random() < 0.3:  # the policy map has it; all next hops would have to agree
            hops = self.hop(transport, self.random.choice(["listed.example", "[listed.example]"]))
            self.policies.setdefault(hops, self.attributes(transport, True))
        own = self.attributes(transport) if self.random.random() < 0.5 else ""
        return f"{transport}:{hops} {own}".rstrip(), hops

    def generate(self):
        for number, line in enumerate(UNSENT):  # of each one, whatever chance has
            self.lines.append(f"unsent{number}.test {line}")
            self.recipients.append(f"u@unsent{number}.test")
            self.written[self.recipients[-1]] = None
        for number in range(ROUTES):
            domain = f"d{number}.test"
            key, recipient = self.random.choice([
                (domain, f"u@{domain}"), (f"u@{domain}", f"u@{domain}"),
                (f".{domain}", f"u@sub.{domain}"), (None, f"u@{domain}")])
            value, self.written[recipient] = self.value() if key else (None, None)
            if key:
                self.lines.append(f"{key} {value}")
            if self.random.random() < 0.2:  # it has the recipient's domain
                parent = self.random.choice([domain, f".{domain}"])
                transport = (value or "").partition(":")[0]
                self.policies[parent] = self.attributes(transport, True)
            self.recipients.append(recipient)

    def maps(self):
        """By name; no key is in both."""
        return {"ts": "# generated\n" + "".join(line + "\n" for line in self.lines[::2]),
                "more": "".join(line + "\n" for line in self.lines[1::2])}

    def policy_map(self):
        return "".join(f"{key} {value}\n" for key, value in self.policies.items())


def fingerprint(certs, name):
    got = subprocess.run(["openssl", "x509", "-in", certs / f"{name}.pem", "-noout",
                          "-fingerprint", "-sha256"], stdout=subprocess.PIPE, check=True,
                         encoding="utf-8")
    return "sha256:" + got.stdout.strip().partition("=")[2].replace(":", "").lower()


class Prediction:
    """What must happen, by what explain has said and by how the peers are."""

    def __init__(self, world, explained):
        self.world, self.explained = world, explained
        self.kind = None  # of the peer that gets it
        self.outcome = {"error": "bounced", "retry": "deferred",
                        "discard": "discarded"}.get(explained["action"])
        if explained["action"] == "relay":
            self.outcome = self.walk()

    def walk(self):
        """Next hops are tried in order until one takes it."""
        for hop in self.explained["next_hops"]:
            self.kind = self.world.kinds[hop["port"]]
            outcome = self.at(hop)
            if outcome:
                return outcome
        self.kind = None
        return "deferred"

    def at(self, hop):
        """What one next hop makes of it; None: it waits."""
        keywords, names = PEERS[self.world.kinds[hop["port"]]]
        mode = self.explained["tls"]["mode"]
        level = self.level_at(hop)
        if keywords is None or level == "waits":
            return None
        if mode == "none":
            return "clear"
        if mode == "implicit" and keywords["tls"] != "implicit":
            return None
        if names is None:  # TLS does not come about
            return "clear" if level == "may" else None
        return "encrypted" if self.is_accepted(level, hop, names) else None

    def level_at(self, hop):
        """RFC 7672 section 2.2; "own" and "other" are levels, too."""
        level, mode = self.explained["tls"]["level"], self.explained["tls"]["mode"]
        if not level.startswith("dane"):
            return level
        record = self.world.records[hop["port"]] if hop["host"] == SIGNED else "none"
        if record in ("own", "other"):
            return record
        if record == "fails" or level == "dane-only":
            return "waits"
        return "encrypt" if record == "unusable" or mode == "implicit" else "may"

    def is_accepted(self, level, hop, names):
        # "hostname" is whom MX names: the hop itself, as nobody has MX records here
        match = [hop["host"] if wanted == "hostname" else wanted
                 for wanted in self.explained["tls"]["match"]]
        if level == "fingerprint":
            return self.world.pins[self.world.kinds[hop["port"]]] in match
        if level in ("verify", "secure"):
            return any(name == wanted or (wanted[0] == "." and name.endswith(wanted))
                       for wanted in match for name in names)
        return level != "other"

    def mode(self):
        """As the ledger has it: of a connection that was made in the clear it says so."""
        return "none" if self.outcome == "clear" else self.explained["tls"]["mode"]


class Wire:
    """What has happened."""

    def __init__(self, world, hub):
        self.world, self.hub = world, hub
        self.deferred = {state["address"] for message in hub.queue()
                         for state in message["recipients"] if state["status"] == "deferred"}
        self.rows = {}
        for recipient in world.recipients:
            self.rows[recipient] = hub.ledger(recipient)
        self.bytes = b"".join(peer.wire() for peer in world.peers.values())
        self.taken = {}  # recipient: [(kind of peer, whether by TLS)]
        for kind, peer in world.peers.items():
            for message in peer.messages:
                for recipient in message.recipients:
                    self.taken.setdefault(recipient, []).append(
                        (kind, message.session.tls is not None))

    def outcome(self, recipient):
        """And which peer has it."""
        if recipient in self.taken:
            ((kind, by_tls),) = self.taken[recipient]
            return "encrypted" if by_tls else "clear", kind
        return "deferred" if recipient in self.deferred else "done", None


def explain(hub, recipients, *arguments, codes=(0,)):
    got = hub.command("explain", "--json", *arguments, *recipients)
    assert got.returncode in codes, got.stderr
    answers = [json.loads(line) for line in got.stdout.splitlines()]
    assert [answer["address"] for answer in answers] == recipients
    return {answer["address"]: answer for answer in answers}


def send(hub, recipients):
    """One message for all, so that everything is tried at once, and once."""
    with smtplib.SMTP(HOST, hub.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        client.mail("")  # nobody wants to hear of what fails
        for recipient in recipients:
            code, reply = client.rcpt(recipient)
            assert code == 250, reply
        code, reply = client.data(b"Subject: test\r\n\r\nsecret\r\n")
        assert code == 250, reply
    message_id = reply.decode().split()[-1]
    for recipient in recipients:
        hub.delivered(recipient, message_id, r"\w+")
    return message_id


def check_ledger(prediction, rows):
    explained = prediction.explained
    if explained["action"] != "relay":
        assert rows == []
        return
    (row,) = rows
    assert row["transport"] == explained["transport"]
    assert row["source"] == explained["source"]
    assert row["tls_level"] == explained["tls"]["level"]
    assert row["tls_mode"] == prediction.mode()
    assert row["status"] == ("deferred" if prediction.outcome == "deferred" else "delivered")
    if prediction.kind:
        assert row["peer"] == f"{HOST}:{prediction.world.ports[prediction.kind]}"
    if prediction.outcome == "encrypted" and explained["tls"]["match"]:
        assert row["tls_verified"] == 1


def check(world, wire, recipient, explained):
    prediction = Prediction(world, explained)
    outcome, kind = wire.outcome(recipient)
    expected = {"bounced": "done", "discarded": "done"}.get(prediction.outcome,
                                                            prediction.outcome)
    assert (outcome, kind) == (expected, prediction.kind)
    if outcome in ("encrypted", "deferred"):
        assert f"<{recipient}>".encode() not in wire.bytes
    check_ledger(prediction, wire.rows[recipient])
    written = world.written[recipient]
    if written:
        assert wire.rows[recipient][0]["next_hop"] == written
        assert [f"{hop['host']}:{hop['port']}" for hop in explained["next_hops"]] == \
            written.replace("[", "").replace("]", "").split(", ")


def check_probe(world, explained):
    """Each next hop by itself: whether mail would go there."""
    prediction = Prediction(world, explained)
    probe = explained["probe"]
    if not explained["next_hops"]:
        assert probe is None
        return
    found = [(one["peer"], one["ok"]) for one in [probe, *probe.get("others", [])]]
    expected = [(None if prediction.level_at(hop) == "waits" else f"{HOST}:{hop['port']}",
                 prediction.at(hop) is not None) for hop in explained["next_hops"]]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


# where mail goes that has no line, and the general level
GENERAL = {
    "relayhost in the clear": {"relayhost": "[hub.example]:{good}",
                               "smtp_tls_security_level": "none"},
    "default transport": {"default_transport": "relay:[other.example]:{wrong name}",
                          "smtp_tls_security_level": "may"},
    "implicit relayhost": {"relayhost": "relay-smtps:[hub.example]:{implicit}"},
    "relayhost with TLS of its own": {"relayhost": "relay:[hub.example]:{stranger} tls=encrypt",
                                      "smtp_tls_security_level": "verify"},
}


@pytest.mark.parametrize("general", GENERAL)
def test_predictions_come_true(site, general):
    world = World(site, f"explain {general}")
    world.generate()
    hub = site.hub(files={**world.maps(), "policies": world.policy_map()},
                   transport_maps="hash:ts, hash:more", smtp_tls_policy_maps="hash:policies",
                   relay_domains=", ".join([".test", *(f"d{n}.test" for n in range(ROUTES))]),
                   resolver=world.dns.address,
                   **{name: value.format(**world.ports)
                      for name, value in GENERAL[general].items()})
    explained = explain(hub, world.recipients)
    probed = explain(hub, world.recipients, "--probe", codes=(0, 1))
    send(hub, world.recipients)
    hub.stop()
    wire = Wire(world, hub)
    for recipient in world.recipients:
        try:
            check(world, wire, recipient, explained[recipient])
            check_probe(world, probed[recipient])
        except (AssertionError, ValueError) as error:
            rows = [{key: row[key] for key in row.keys()} for row in wire.rows[recipient]]
            raise AssertionError(f"{recipient}: {error}\nexplained {explained[recipient]}\n"
                                 f"probe {probed[recipient].get('probe')}\nledger {rows}\n"
                                 f"taken by {wire.taken.get(recipient)}") from error
    outcomes = {Prediction(world, one).outcome for one in explained.values()}
    assert outcomes == {"encrypted", "clear", "deferred", "bounced", "discarded"}


def test_refusals_come_true(site):
    """Nobody is told at RCPT anything else than explain says."""
    edge = site.edge(mynetworks="192.0.2.0/24")
    recipients = ["alice@vm1.vm", "nobody@vm1.vm", "ALICE@VM1.vm", "u@d.test", "u@vm10.vm"]
    explained = explain(edge, recipients, "--from", "someone@d.test")
    with smtplib.SMTP(HOST, edge.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        client.mail("someone@d.test")
        for recipient in recipients:
            code, reply = client.rcpt(recipient)
            error = explained[recipient]["error"]
            assert f"{code} {reply.decode()}" == (error or "250 2.1.5 Ok")


def test_mailboxes_come_true(site):
    edge = site.edge()
    (mailbox,) = [line.split()[1] for line in edge.command("explain", "alice@vm1.vm")
                  .stdout.decode().splitlines() if line.startswith("  mailbox ")]
    message_id = send(edge, ["alice@vm1.vm"])
    edge.removed(message_id)
    (row,) = edge.ledger("alice@vm1.vm")
    explained = explain(edge, ["alice@vm1.vm"])["alice@vm1.vm"]
    assert (row["transport"], row["source"]) == (explained["transport"], explained["source"])
    assert len(list((Path(mailbox) / "new").iterdir())) == 1
