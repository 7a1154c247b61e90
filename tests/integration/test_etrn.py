"""ETRN (RFC 1985): a client asks for what waits for a domain, and cannot do harm by it."""

import re
import socket

import pytest

from clients import HOST, relay
from server import PATIENCE_S

SENDER = "alice@vm1.vm"

# Nothing would be tried again within a test but for being asked for.
PATIENT = {"minimal_backoff_time": "1d", "maximal_backoff_time": "1d"}
TRUSTED = {**PATIENT, "mynetworks": "127.0.0.0/8"}
NOT_NOW = {"RCPT": "450 4.2.0 not now"}


def ask(host, *lines):
    """The last line of each reply but those to the greeting, EHLO and QUIT."""
    with socket.create_connection((HOST, host.port()), PATIENCE_S) as s:
        s.sendall("".join(f"{line}\r\n" for line in ("EHLO c.example", *lines, "QUIT")).encode())
        said = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    return [line for line in said.split("\r\n") if line[3:4] == " "][2:-1]


def etrn(host, domain):
    reply = "458 4.3.2 "
    while reply.startswith("458 4.3.2 "):  # the machine is slow: we are to try again
        (reply,) = ask(host, f"ETRN {domain}")
    return reply


def test_what_waits_for_its_own_time(site):
    """Each recipient of the domain, in whatever message, and nobody else's."""
    peer = site.peer(replies=dict(NOT_NOW))
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", **TRUSTED)
    recipients = ["a@vm2.vm", "b@vm2.vm", "a@vm3.vm", "a@sub.vm2.vm"]
    first = relay(hub, SENDER, recipients[:3])
    second = relay(hub, SENDER, [recipients[3]])
    for recipient in recipients:
        hub.waiting(recipient)
    peer.script(RCPT=None)
    assert etrn(hub, "VM2.vm") == "253 2.0.0 OK, 1 pending messages for node <VM2.vm> started"
    (message,) = peer.wait_for_messages(1)
    assert sorted(message.recipients) == ["a@vm2.vm", "b@vm2.vm"]
    hub.delivered("a@vm2.vm", first)
    hub.delivered("b@vm2.vm", first)
    hub.wait_for(r"unknown\[127\.0\.0\.1\]: ETRN VM2\.vm: 1 message waits$")
    assert hub.waiting("a@vm3.vm") and hub.waiting("a@sub.vm2.vm")
    assert etrn(hub, "vm1.vm") == "251 2.0.0 OK, no messages waiting for node <vm1.vm>"
    hub.stop()
    assert {m["id"] for m in hub.queue()} == {first, second}


def test_subdomains(site):
    peer = site.peer(replies=dict(NOT_NOW))
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", **TRUSTED)
    for recipient in ("a@vm2.vm", "a@x.y.vm2.vm", "a@notvm2.vm"):
        relay(hub, SENDER, [recipient])
        hub.waiting(recipient)
    peer.script(RCPT=None)
    assert etrn(hub, "@vm2.vm") == "253 2.0.0 OK, 2 pending messages for node <vm2.vm> started"
    messages = peer.wait_for_messages(2)
    assert sorted(m.recipients[0] for m in messages) == ["a@vm2.vm", "a@x.y.vm2.vm"]
    hub.waiting("a@notvm2.vm")


def test_next_hop_that_was_down(site):
    """One probe, and all that is suspended behind it; without anybody knowing how much that is."""
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n", **PATIENT)
    ids = [relay(hub, SENDER, [f"a{i}@vm2.vm"]) for i in range(20)]
    for i in range(20):
        hub.waiting(f"a{i}@vm2.vm")
    peer = site.peer(port=port)
    assert etrn(hub, "vm2.vm") == "250 2.0.0 Queuing started"
    assert etrn(hub, "vm2.vm") == "250 2.0.0 Queuing started"
    peer.wait_for_messages(20)
    for identity in ids:
        hub.removed(identity)


def test_next_hop_that_was_down_and_we_too(site):
    """After a restart nothing is known of it but what the queue says."""
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n", **PATIENT)
    for i in range(20):
        relay(hub, SENDER, [f"a{i}@vm2.vm"])
    for i in range(20):
        hub.waiting(f"a{i}@vm2.vm")
    hub.stop()
    peer = site.peer(port=port)
    hub.start()
    assert etrn(hub, "vm2.vm") == "250 2.0.0 Queuing started"
    peer.wait_for_messages(20)


def test_next_hop_that_is_still_down(site):
    """It is not asked more often than every ten seconds, and its mail stays where it is."""
    peer = site.peer(replies={"GREETING": "421 4.3.2 not yet"})
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", workers=1, **TRUSTED)
    for i in range(5):
        relay(hub, SENDER, [f"a{i}@vm2.vm"])
        hub.waiting(f"a{i}@vm2.vm")
    before = len(peer.sessions)
    replies = ask(hub, *["ETRN vm2.vm"] * 20)
    assert replies[0] == "253 2.0.0 OK, 5 pending messages for node <vm2.vm> started"
    assert replies[1:] == ["250 2.0.0 Queuing started"] * 19
    peer.wait("a probe", lambda: len(peer.sessions) > before)
    hub.stop()
    assert len(peer.sessions) == before + 1
    assert len(hub.queue()) == 5


def test_who_may_ask(site):
    hub = site.hub("* discard:\n", relay_domains="vm2.vm, .vm3.vm")
    assert etrn(hub, "vm2.vm") == "250 2.0.0 Queuing started"
    assert etrn(hub, "a.vm3.vm") == "250 2.0.0 Queuing started"
    assert ask(hub, "ETRN elsewhere.example", "ETRN sub.vm2.vm", "ETRN #vm2.vm",
               "MAIL FROM:<a@b.example>", "ETRN vm2.vm") == [
        "459 4.7.1 <elsewhere.example>: service unavailable",
        "459 4.7.1 <sub.vm2.vm>: service unavailable",
        "459 4.7.1 Error: queues have no names here",
        "250 2.1.0 Ok",
        "503 5.5.1 Error: MAIL transaction in progress"]


def test_not_by_an_edge(site):
    assert etrn(site.edge("vm1.vm"), "vm1.vm").startswith("502 5.5.1 ")


@pytest.mark.parametrize("keywords", ["etrn", "ETRN silent-discard"])
def test_switched_off(site, keywords):
    hub = site.hub("* discard:\n", smtpd_discard_ehlo_keywords=keywords)
    assert etrn(hub, "vm2.vm").startswith("502 5.5.1 ")


def test_many_domains_in_one_session(site):
    """One behind the other; a second of looking is everybody's before anybody is sent away."""
    hub = site.hub("* discard:\n")
    for reply in ask(hub, *[f"ETRN vm{i}.vm" for i in (1, 2, 3)]):
        assert reply == "250 2.0.0 Queuing started" or reply.startswith("458 4.3.2 ")


def test_client_that_does_not_wait(site):
    """It has asked and gone: what it has asked for is done."""
    peer = site.peer(replies=dict(NOT_NOW))
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", **TRUSTED)
    relay(hub, SENDER, ["a@vm2.vm"])
    hub.waiting("a@vm2.vm")
    peer.script(RCPT=None)
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.sendall(b"EHLO c.example\r\nETRN vm2.vm\r\n")
        assert re.match(rb"220 ", s.recv(4))
    peer.wait_for_messages(1)
