"""Deliveries: what peers answer, and what becomes of the message and of each recipient."""

import email
import email.policy
import random
import re
import threading
import time

import pytest

from clients import HOST, relay, submit, text
from peer import DROP, HANG
from server import PATIENCE_S

SENDER = "alice@vm1.vm"
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}


def by_address(**answers):
    """Answers to RCPT by the local part: by_address(b="450 4.2.0 later")."""
    return lambda session, argument: answers.get(argument.partition("<")[2].partition("@")[0])


def route(*peers, attributes="tls=none"):
    return "* relay:" + ", ".join(f"{HOST}:{peer.port}" for peer in peers) + f" {attributes}\n"


# ---- each recipient has its own fate ----

def test_three_recipients_three_fates(site):
    peer = site.peer(replies={"RCPT": by_address(b="450 4.2.1 mailbox busy",
                                                 c="550 5.1.1 no such user")})
    hub = site.hub(route(peer))
    message_id = relay(hub, SENDER, ["a@vm2.vm", "b@vm2.vm", "c@vm2.vm"])
    line = hub.delivered("a@vm2.vm", message_id, "sent")
    assert ", dsn=2.0.0, status=sent (250 2.0.0 Ok: taken)" in line
    line = hub.delivered("b@vm2.vm", message_id, "deferred")
    assert ", dsn=4.2.1, status=deferred (450 4.2.1 mailbox busy)" in line
    line = hub.delivered("c@vm2.vm", message_id, "bounced")
    assert ", dsn=5.1.1, status=bounced (550 5.1.1 no such user)" in line

    original, notification = peer.wait_for_messages(2)
    assert (original.sender, original.recipients) == (SENDER, ["a@vm2.vm"])
    assert (notification.sender, notification.recipients) == ("", [SENDER])
    hub.stop()
    (message,) = hub.queue()
    (state,) = message["recipients"]
    assert (state["address"], state["status"], state["attempts"]) == ("b@vm2.vm", "deferred", 1)
    assert (state["enhanced_status"], state["reason"]) == ("4.2.1", "mailbox busy")
    (message,) = hub.queue("show", message_id)
    assert [state["status"] for state in message["recipients"]] == [
        "delivered", "deferred", "bounced"]


def test_recipient_limit_of_a_transaction(site):
    peer = site.peer()
    hub = site.hub(route(peer), default_destination_recipient_limit=10)
    recipients = [f"user{i}@vm2.vm" for i in range(25)]
    hub.removed(relay(hub, SENDER, recipients))
    assert sorted(len(m.recipients) for m in peer.messages) == [5, 10, 10]
    assert sorted(r for m in peer.messages for r in m.recipients) == sorted(recipients)


@pytest.mark.parametrize("stage, reply, status, dsn", [
    ("MAIL", "451 4.3.0 not now", "deferred", "4.3.0"),
    ("MAIL", "550 5.7.1 not you", "bounced", "5.7.1"),
    ("RCPT", "452 4.5.3 too many", "deferred", "4.5.3"),
    ("DATA", "451 4.3.0 not now", "deferred", "4.3.0"),
    ("DATA", "554 5.7.1 never", "bounced", "5.7.1"),
    ("END", "451 4.7.1 greylisted", "deferred", "4.7.1"),
    ("END", "552 5.3.4 too big", "bounced", "5.3.4"),
    ("END", "550 no enhanced status code", "bounced", "5.0.0"),
    ("RCPT", "421 4.3.2 going down", "deferred", "4.3.2"),
    ("END", "421 4.3.2 going down", "deferred", "4.3.2"),
    ("GREETING", "421 4.3.2 too busy", "deferred", "4.3.2"),
    ("GREETING", "554 5.7.1 go away", "deferred", "4.7.1"),
    ("GREETING", "nonsense", "deferred", "4.5.0"),
    ("GREETING", DROP, "deferred", "4.4.2"),
    ("EHLO", DROP, "deferred", "4.4.2"),
    ("MAIL", DROP, "deferred", "4.4.2"),
    ("RCPT", DROP, "deferred", "4.4.2"),
    ("DATA", DROP, "deferred", "4.4.2"),
    ("BODY", DROP, "deferred", "4.4.2"),
    ("END", DROP, "deferred", "4.4.2"),
    ("RCPT", "250-never\r\n251 ending\r\n", "deferred", "4."),
    ("RCPT", "999 what", "deferred", "4.5.0"),
    pytest.param("RCPT", "250 " + "x" * 100000, "deferred", "4.", id="a very long line"),
    ("RCPT", b"550 5.1.1 control \x1b[31m bytes \xff\r\n", "bounced", "5.1.1"),
])
def test_replies_at_each_stage(shared_site, stage, reply, status, dsn):
    peer = shared_site.peer(replies={stage: reply})
    hub = shared_site.hub(f"vm2.vm relay:{HOST}:{peer.port} tls=none\n* discard:\n")
    message_id = relay(hub, SENDER, "b@vm2.vm")
    line = hub.delivered("b@vm2.vm", message_id, status)
    assert f", dsn={dsn}" in line
    assert f"relay={HOST}[{HOST}]:{peer.port}, " in line
    assert not re.search(r"[^ -~]", line)
    assert peer.messages == []
    if status == "bounced":
        hub.delivered(SENDER)
    hub.stop()
    waiting = [message["id"] for message in hub.queue()]
    assert (message_id in waiting) == (status == "deferred")


# ---- notifications ----

def test_the_bounce(site, certs):
    """It lies in the sender's mailbox, and mail programs can read it."""
    peer = site.peer(replies={"RCPT": by_address(bob="550 5.1.1 no bob here",
                                                 eve="554-no eve\r\n554 either")})
    hub = site.hub()
    edge = site.edge("vm1.vm", f"* relay:{HOST}:{hub.port()} tls=verify\n")
    hub.write("ts", f"vm1.vm relay:{HOST}:{edge.port()} tls=verify\n"
                    f"vm2.vm relay:{HOST}:{peer.port} tls=none\n")
    hub.wait_for("ts has changed and was taken up")
    original = text("bob@vm2.vm", "where are you?") + "schöne Grüße\r\n".encode()
    message_id = submit(certs, edge, SENDER, ["bob@vm2.vm", "eve@vm2.vm"], original)
    edge.delivered(SENDER)

    (stored,) = edge.mailbox(SENDER)
    assert stored.startswith(b"Return-Path: <>\n")
    report = email.message_from_bytes(stored, policy=email.policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["From"].addresses[0].addr_spec == "MAILER-DAEMON@mta.vm.vm"
    assert report["To"] == SENDER
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["Message-ID"] and report["Date"] and report["MIME-Version"] == "1.0"
    assert not report.defects
    people, machines, returned = report.iter_parts()
    assert people.get_content_type() == "text/plain"
    said = people.get_content()
    assert "<bob@vm2.vm>" in said and "no bob here" in said and "<eve@vm2.vm>" in said
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content()["Subject"] == "where are you?"
    assert "schöne Grüße".encode() in stored

    assert machines.get_content_type() == "message/delivery-status"
    whole, first, second = machines.get_payload()
    assert whole["Reporting-MTA"] == "dns; mta.vm.vm"
    assert whole["Arrival-Date"]
    hub_id = re.search(f"{message_id}: .*queued as (\\w+)", edge.server.log())[1]
    assert whole["X-Posthouse-Queue-ID"] == hub_id
    for fields, user, status, reply in ((first, "bob", "5.1.1", "550 5.1.1 no bob here"),
                                        (second, "eve", "5.0.0", "554 no eve either")):
        assert fields["Final-Recipient"] == f"rfc822; {user}@vm2.vm"
        assert (fields["Action"], fields["Status"]) == ("failed", status)
        assert fields["Remote-MTA"] == f"dns; {HOST}"
        assert fields["Diagnostic-Code"] == f"smtp; {reply}"


def test_large_messages_are_returned_as_headers(site):
    peer = site.peer(replies={"END": ["552 5.3.4 too big"]})
    hub = site.hub(route(peer), **QUICK)
    relay(hub, SENDER, "b@vm2.vm", text("b@vm2.vm", "large") + b"0123456789\r\n" * 20000)
    (bounce,) = peer.wait_for_messages(1)
    report = email.message_from_bytes(bounce.body, policy=email.policy.default)
    returned = list(report.iter_parts())[2]
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Subject: large" in returned.get_content()
    assert len(bounce.body) < 5000


def test_expired_mail_is_returned(site):
    peer = site.peer(replies={"RCPT": by_address(b="450 4.2.0 never today")})
    hub = site.hub(route(peer), maximal_queue_lifetime="0", **QUICK)
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "bounced")
    assert ", dsn=4.2.0, status=bounced (450 4.2.0 never today)" in line
    (bounce,) = peer.wait_for_messages(1)
    report = email.message_from_bytes(bounce.body, policy=email.policy.default)
    fields = list(report.iter_parts())[1].get_payload()[1]
    assert (fields["Action"], fields["Status"]) == ("failed", "4.2.0")


# ---- later, and elsewhere ----

def test_mail_goes_out_when_the_peer_comes_back(site):
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n", **QUICK)
    ids = [relay(hub, SENDER, "b@vm2.vm", text("b@vm2.vm", f"no {i}")) for i in range(3)]
    line = hub.delivered("b@vm2.vm", ids[0], "deferred")
    assert ", dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:" in line
    assert "Connection refused" in line
    peer = site.peer(port=port)
    for message_id in ids:
        hub.removed(message_id)
    assert len(peer.messages) == 3


def test_it_waits_between_attempts(site):
    """Two attempts are at least the minimal back-off apart."""
    times = []
    peer = site.peer(replies={"MAIL": lambda session, argument: (
        times.append(time.monotonic()) or (len(times) < 3 and "451 4.3.0 not yet" or None))})
    hub = site.hub(route(peer), **QUICK)
    hub.removed(relay(hub, SENDER, "b@vm2.vm"))
    first, second, third = times
    assert second - first > 0.85 and third - second > 0.85  # a second, less the jitter


def test_what_waited_is_sent_after_a_restart(site):
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n", **QUICK)
    message_id = relay(hub, SENDER, "b@vm2.vm")
    hub.delivered("b@vm2.vm", message_id, "deferred")
    hub.stop()
    peer = site.peer(port=port)
    hub.start()
    hub.removed(message_id)
    assert len(peer.messages) == 1


def test_order_of_next_hops(site):
    """The first that answers gets all; which one that was is remembered for a while."""
    port = site.port()
    second, third = site.peer(), site.peer()
    hub = site.hub(f"* relay:{HOST}:{port}, {HOST}:{second.port}, {HOST}:{third.port} tls=none\n",
                   workers=1)
    for i in range(3):
        hub.removed(relay(hub, SENDER, "b@vm2.vm", text("b@vm2.vm", f"no {i}")))
    assert (len(second.messages), len(third.messages)) == (3, 0)


@pytest.mark.parametrize("replies", [
    {"GREETING": "421 4.3.2 too busy"}, {"GREETING": "554 5.7.1 go away"}, {"GREETING": DROP},
    {"EHLO": "451 4.3.0 no", "HELO": "451 4.3.0 no"}, {"EHLO": DROP},
    {"GREETING": "garbage"},
])
def test_failover(site, replies):
    bad, good = site.peer(replies=replies), site.peer()
    hub = site.hub(route(bad, good))
    hub.removed(relay(hub, SENDER, "b@vm2.vm"))
    assert (len(bad.messages), len(good.messages)) == (0, 1)
    assert len(bad.sessions) == 1


def test_failover_by_tls(site):
    """A next hop that cannot be verified is passed by, as one that is down."""
    bad, good = site.peer(tls="starttls", certificate="wrong"), site.peer(tls="starttls")
    hub = site.hub(route(bad, good, attributes="tls=verify"))
    hub.removed(relay(hub, SENDER, "b@vm2.vm"))
    assert (len(bad.messages), len(good.messages)) == (0, 1)


def test_a_final_no_is_final(site):
    """The second next hop is not asked for what the first one has refused."""
    first, second = site.peer(replies={"RCPT": "550 5.1.1 nobody"}), site.peer()
    hub = site.hub(route(first, second).replace("*", "vm2.vm") + "* discard:\n")
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "bounced")
    assert second.sessions == []


def test_a_hanging_peer_does_not_delay_others(site):
    hanging, good = site.peer(replies={"END": HANG}), site.peer()
    hub = site.hub(f"vm2.vm relay:{HOST}:{hanging.port} tls=none\n"
                   f"vm3.vm relay:{HOST}:{good.port} tls=none\n")
    relay(hub, SENDER, ["a@vm2.vm", "b@vm3.vm"])
    relay(hub, SENDER, "b@vm3.vm")
    good.wait_for_messages(2)
    hanging.close()
    hub.delivered("a@vm2.vm", status="deferred")


# ---- servers of other kinds ----

def test_data_that_nobody_should_have_accepted(site):
    """RFC 2920 section 3.1: 354 behind refused recipients is answered by an empty message."""
    peer = site.peer(replies={"RCPT": "550 5.1.1 nobody", "DATA": "354 go on"})
    hub = site.hub(route(peer).replace("*", "vm2.vm") + "* discard:\n", workers=1)
    for _ in range(2):
        message_id = relay(hub, SENDER, ["a@vm2.vm", "b@vm2.vm"])
        hub.removed(message_id)
    assert [(m.recipients, m.body) for m in peer.messages] == [([], b""), ([], b"")]
    assert len(peer.sessions) == 1


def test_helo_where_ehlo_is_unknown(site):
    peer = site.peer(replies={"EHLO": "500 5.5.1 what?"})
    hub = site.hub(route(peer))
    hub.removed(relay(hub, SENDER, "b@vm2.vm"))
    (session,) = peer.sessions
    assert session.commands[:3] == ["EHLO mta.vm.vm", "HELO mta.vm.vm", f"MAIL FROM:<{SENDER}>"]


def test_without_pipelining(site):
    """Each command waits for the reply before it; the peer would notice two in one packet."""
    surprises = []

    def check(session, argument):
        if session.has_more():
            surprises.append(session.commands[-1])

    replies = {stage: check for stage in ("EHLO", "MAIL", "RCPT", "DATA")}
    peer = site.peer(extensions=["SIZE 10000"], replies=replies)
    hub = site.hub(route(peer), workers=1)
    for _ in range(2):
        hub.removed(relay(hub, SENDER, ["a@vm2.vm", "b@vm2.vm"]))
    assert surprises == []
    assert len(peer.messages) == 2

    peer = site.peer(replies=replies)
    hub = site.hub(route(peer))
    hub.removed(relay(hub, SENDER, ["a@vm2.vm", "b@vm2.vm"]))
    assert surprises == [f"MAIL FROM:<{SENDER}> SIZE={len(peer.messages[0].body)}",
                         "RCPT TO:<a@vm2.vm>", "RCPT TO:<b@vm2.vm>"]


def test_size_limit_of_the_peer(site):
    peer = site.peer(extensions=["SIZE 1000"])
    hub = site.hub(route(peer).replace("*", "vm2.vm") + "* discard:\n")
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm", text("b@vm2.vm") + b"x" * 900 +
                                           b"\r\n"), "bounced")
    assert ", dsn=5.3.4, status=bounced (not sent: message size " in line
    assert peer.messages == []


def test_peer_that_closes_idle_connections(site):
    """The next message goes out by a new connection at once, and counts no failed attempt."""
    for goodbye in ("", "421 4.4.2 idle for too long"):
        peer = site.peer()
        hub = site.hub(route(peer), workers=1)
        for i in range(3):
            message_id = relay(hub, SENDER, "b@vm2.vm", text("b@vm2.vm", f"no {i}"))
            hub.removed(message_id)
            (connection,) = [s for s in peer.sessions if s.is_open()]
            connection.end(goodbye)
        assert len(peer.messages) == 3 and len(peer.sessions) == 3
        assert "status=deferred" not in hub.server.log()


def test_several_messages_over_one_connection_after_a_refusal(site):
    """RSET, or a new MAIL, whatever went before."""
    peer = site.peer(replies={"RCPT": by_address(bad="550 5.1.1 no"),
                              "END": ["250 2.0.0 Ok", "451 4.3.0 no", "250 2.0.0 Ok"]})
    hub = site.hub(route(peer).replace("*", "vm2.vm") + "* discard:\n", workers=1)
    for local_part, status in (("a", "sent"), ("bad", "bounced"), ("b", "deferred"),
                               ("bad", "bounced"), ("c", "sent")):
        address = f"{local_part}@vm2.vm"
        hub.delivered(address, relay(hub, SENDER, address), status)
    assert [m.recipients for m in peer.messages] == [["a@vm2.vm"], ["c@vm2.vm"]]
    (session,) = peer.sessions


def test_parked_mail_does_not_claim_an_attempt(site):
    """What comes while a lane backs off is deferred untried: no relay, no count, no ledger row."""
    peer = site.peer()
    hub = site.hub(route(peer), minimal_backoff_time="1h", workers="1")
    peer.close()
    first = relay(hub, SENDER, "a@vm2.vm")
    assert f"relay={HOST}[{HOST}]:{peer.port}, " in hub.delivered("a@vm2.vm", first, "deferred")
    assert hub.waiting("a@vm2.vm")["attempts"] == 1
    second = relay(hub, SENDER, "b@vm2.vm")
    line = hub.delivered("b@vm2.vm", second, "deferred")
    assert ", relay=none, " in line
    assert "(delivery temporarily suspended: connect to " in line
    assert hub.waiting("b@vm2.vm")["attempts"] == 0
    assert len(hub.ledger("a@vm2.vm")) == 1 and hub.ledger("b@vm2.vm") == []


def test_probes_do_not_count(site):
    """One message carries them all: its own back-off must not outrun that of the next hop."""
    is_back, may_go = threading.Event(), threading.Event()
    refusals = ["421 4.3.2 not now"] * 5

    def greeting(_session, _argument):
        if refusals:
            return refusals.pop()
        is_back.set()
        assert may_go.wait(PATIENCE_S)
        return None

    peer = site.peer(replies={"GREETING": greeting})
    hub = site.hub(route(peer), minimal_backoff_time="1s", maximal_backoff_time="2h", workers="1")
    message_id = relay(hub, SENDER, "a@vm2.vm")
    assert is_back.wait(PATIENCE_S)
    assert hub.waiting("a@vm2.vm", "active")["attempts"] == 1
    assert len(hub.ledger("a@vm2.vm")) == 5
    may_go.set()
    hub.removed(message_id)
    assert len(peer.messages) == 1


@pytest.mark.parametrize("extensions,concurrency", [
    (("PIPELINING", "SIZE 52428800", "8BITMIME"), 20),
    (("PIPELINING", "SIZE 52428800", "8BITMIME"), 1),
    (("PIPELINING", "SIZE 52428800", "8BITMIME", "CHUNKING"), 20),
    (("PIPELINING", "SIZE 52428800", "8BITMIME", "CHUNKING"), 1),
], ids=["data", "data, in flight", "bdat", "bdat, in flight"])
def test_a_peer_that_fails_at_random(site, extensions, concurrency):
    """At every stage it may drop the connection or say 4xx; yet it takes each message once."""
    chance = random.Random()
    failures = {
        "GREETING": [DROP, "421 4.3.2 busy"], "EHLO": [DROP, "421 4.3.2 busy"],
        "STARTTLS": [DROP, "454 4.7.0 no"], "HANDSHAKE": [DROP], "MAIL": [DROP, "451 4.3.0 no"],
        "RCPT": [DROP, "450 4.2.0 no"], "DATA": [DROP, "451 4.3.0 no", "421 4.3.2 bye"],
        "BODY": [DROP], "BDAT": [DROP, "452 4.3.1 full"], "END": [DROP, "451 4.3.0 no", "421 4.3.2 bye"],
    }

    def fail_sometimes(answers):
        return lambda session, argument: chance.choice(answers) if chance.random() < 0.1 else None

    peer = site.peer(tls="starttls", extensions=extensions,
                     replies={stage: fail_sometimes(answers)
                              for stage, answers in failures.items()})
    hub = site.hub(route(peer, attributes="tls=encrypt"), workers=1,
                   default_destination_concurrency_limit=concurrency, **QUICK)
    ids = [relay(hub, SENDER, ["a@vm2.vm", "b@vm2.vm", "c@vm2.vm"],
                 text("a@vm2.vm", f"no {i}") + (b"0123456789\r\n" * 20000 if i % 4 == 0 else b""))
           for i in range(8)]
    for message_id in ids:
        hub.removed(message_id)
    hub.stop()
    assert hub.queue() == [] and hub.bodies() == []
    taken = [(re.search(rb"\sid (\w+);", m.body)[1].decode(), recipient)
             for m in peer.messages for recipient in m.recipients]
    assert sorted(taken) == sorted((i, f"{name}@vm2.vm") for i in ids for name in "abc")
    assert "status=bounced" not in hub.server.log()
