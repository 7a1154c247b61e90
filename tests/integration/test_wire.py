"""What is on the wire: lines that end in CRLF, stuffed dots, and each message byte for byte.

On a hub one Received header comes in front, and nothing else is touched.
"""

import hashlib
import re

import pytest

from clients import HOST, connect, relay, stuffed, transact_as_is
from mails import HEADER, MAILS, SIGNED, random_mail, with_lines

ALICE, BOB, CAROL = "alice@vm1.vm", "bob@vm2.vm", "carol@vm3.vm"

BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
RECEIVED = re.compile(rb"Received: from [^\r\n]+\r\n(?:\t[^\r\n]+\r\n)+")

EACH = {**MAILS, **{f"random {seed}": random_mail(seed, 300 * 4 ** seed) for seed in range(6)}}

LARGE = with_lines(40 * 1024 * 1024)


def check_carried(body, mail):
    """One header in front, and then what it was."""
    assert body.endswith(mail)
    front = body[:len(body) - len(mail)]
    assert RECEIVED.fullmatch(front) and front.count(b"Received:") == 1, front


def send(host, recipients, mail):
    """In the clear, as another server would."""
    with connect(None, host.port(), "none") as client:
        return transact_as_is(client, ALICE, recipients, mail)


@pytest.fixture(scope="module", params=["DATA", "BDAT"])
def peer(request, shared_site):
    """It takes mail in this way."""
    chunking = ["CHUNKING"] if request.param == "BDAT" else []
    peer = shared_site.peer(extensions=["PIPELINING", "8BITMIME", *chunking])
    peer.way = request.param
    return peer


@pytest.fixture(scope="module")
def hub(shared_site, peer):
    return shared_site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")


# ---- a hub ----

@pytest.mark.parametrize("name", EACH)
def test_hub_touches_nothing(hub, peer, name):
    """And what it says is nothing but lines, even in the clear bytes that cross the network."""
    before = len(peer.messages)
    send(hub, [BOB], EACH[name])
    message = peer.wait_for_messages(before + 1)[-1]
    check_carried(message.body, EACH[name])
    wire = bytes(message.session.wire)
    assert not BARE.search(wire)
    if peer.way == "DATA":
        assert stuffed(message.body) in wire


def test_signatures_still_hold(hub, peer):
    """All that a signature may cover comes out as it went in: names, order, folding, blanks."""
    before = len(peer.messages)
    send(hub, [BOB, CAROL], SIGNED)
    body = peer.wait_for_messages(before + 1)[-1].body
    front = RECEIVED.match(body)
    assert hashlib.sha256(body[front.end():]).digest() == hashlib.sha256(SIGNED).digest()


def test_messages_behind_one_another(hub, peer):
    """Over few connections: none begins or ends with a piece of another."""
    before = len(peer.messages)
    with connect(None, hub.port(), "none") as client:
        for mail in EACH.values():
            transact_as_is(client, ALICE, [BOB], mail)
    arrived = [message.body for message in peer.wait_for_messages(before + len(EACH))[before:]]
    verbs = {command.partition(" ")[0] for session in peer.sessions for command in session.commands}
    assert verbs & {"DATA", "BDAT"} == {peer.way}
    for name, mail in EACH.items():
        found = [body for body in arrived
                 if body.endswith(mail) and RECEIVED.fullmatch(body[:len(body) - len(mail)])]
        assert len(found) == 1, name


def test_from_the_queue(site):
    """Bytes that were stored, in rows and in files, and are read by another process."""
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n")
    for number, mail in enumerate(EACH.values()):
        send(hub, [f"u{number}@vm2.vm"], mail)
    assert hub.bodies()
    hub.stop()
    peer = site.peer()
    hub.write("ts", f"* relay:{HOST}:{peer.port} tls=none\n")
    hub.start()
    assert hub.command("queue", "retry", "--all").returncode == 0
    for message in peer.wait_for_messages(len(EACH)):
        number = int(message.recipients[0][1:].partition("@")[0])
        check_carried(message.body, list(EACH.values())[number])
    assert not BARE.search(peer.wire())


# ---- all the way ----

@pytest.fixture(scope="module")
def fleet(shared_site):
    """alice's edge, bob's edge, and a hub between them."""
    bob_edge = shared_site.edge("vm2.vm")
    hub = shared_site.hub(f"vm2.vm relay:{HOST}:{bob_edge.port('smtp')} tls=verify\n")
    alice_edge = shared_site.edge(
        "vm1.vm", f"vm2.vm relay-smtps:{HOST}:{hub.port('smtps')} tls=verify\n")
    return alice_edge, hub, bob_edge


def in_mailbox(fleet, certs, mail):
    """What bob finds of what alice has sent, with the line ends of the wire."""
    alice_edge, hub, bob_edge = fleet
    with connect(certs, alice_edge.port("submission"), user=ALICE) as client:
        message_id = transact_as_is(client, ALICE, [BOB], mail)
    for host in (alice_edge, hub):
        line = host.delivered(BOB, message_id)
        message_id = re.search(r"queued as (\w+)\)", line)[1]
    bob_edge.delivered(BOB, message_id)
    (found,) = [m for m in bob_edge.mailbox(BOB) if b"id " + message_id.encode() in m]
    return found.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("name", [name for name, mail in EACH.items() if mail.startswith(HEADER)])
def test_edge_to_edge(fleet, certs, name):
    found = in_mailbox(fleet, certs, EACH[name])
    assert found.endswith(EACH[name])
    assert found[:len(found) - len(EACH[name])].count(b"\r\nReceived: from ") == 3


def test_forty_mebibytes(fleet, certs):
    found = in_mailbox(fleet, certs, LARGE)
    assert len(found) > len(LARGE) and found.endswith(LARGE)


# ---- loops ----

def circle(site, mailbox, **parameters):
    """Two hubs, each the other's next hop for all but vm1.vm; what one refuses the other reports."""
    routes = "vm1.vm relay:{host}:{mailbox} tls=none\n* relay:{host}:{other} tls=none\n"
    parameters = {"hopcount_limit": 10, **parameters}
    first = site.hub(myhostname="first.vm", **parameters)
    second = site.hub(routes.format(host=HOST, mailbox=mailbox.port, other=first.port()),
                      myhostname="second.vm", **parameters)
    first.write("ts", routes.format(host=HOST, mailbox=mailbox.port, other=second.port()))
    first.wait_for("ts has changed and was taken up")
    return first, second


def check_ended(hubs, patterns):
    """Nothing is left in the queues, and the logs have each pattern that often."""
    assert not any(hub.queue() for hub in hubs)
    for hub in hubs:
        hub.stop()
    logs = "\n".join(hub.server.log() for hub in hubs)
    for pattern, wanted in patterns.items():
        assert len(re.findall(pattern, logs)) == wanted, logs


def test_a_loop_ends_with_one_report(site):
    """Taken with none to ten Received headers, and then refused."""
    mailbox = site.peer()
    hubs = circle(site, mailbox)
    relay(hubs[0], ALICE, BOB)
    (report,) = mailbox.wait_for_messages(1)
    assert (report.sender, report.recipients) == ("", [ALICE])
    assert b"too many hops" in report.body
    line = hubs[0].delivered(ALICE)
    hubs[0].removed(re.search(r"(\w+): to=", line)[1])
    check_ended(hubs, {r": from=<alice@vm1\.vm>": 11, r": from=<>": 1,
                       "sender non-delivery notification": 1})
    assert len(mailbox.messages) == 1


def test_a_loop_of_reports_ends(site):
    """The report goes round as well, and what the postmaster is told of that; then it is over."""
    hubs = circle(site, site.peer(), **{"2bounce_notice_recipient": "postmaster@vm2.vm"})
    relay(hubs[0], CAROL, BOB)
    line = hubs[0].wait_for("DROPPED")
    hubs[0].removed(re.search(r"(\w+): to=<postmaster@vm2\.vm>", line)[1])
    check_ended(hubs, {r": from=<carol@vm3\.vm>": 11, r": from=<>": 22,
                       "sender non-delivery notification": 1,
                       "postmaster non-delivery notification": 1, "DROPPED": 1})
