"""Reports to senders and postmasters, asked for and not, and mail in UTF-8.

What a report says is read with Python's email package, as a mail program would.
"""

import email
import email.policy
import re
import smtplib

from clients import HOST, connect, relay, text
from server import PATIENCE_S

SENDER = "alice@vm1.vm"
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
DSN = ("PIPELINING", "SIZE 52428800", "8BITMIME", "DSN")
UTF8 = DSN + ("SMTPUTF8",)


def by_address(**answers):
    return lambda session, argument: answers.get(argument.partition("<")[2].partition("@")[0])


def routes(**peers):
    """Routes by the first label of the domain: routes(vm2=peer)."""
    return "".join(f"{name}.vm relay:{HOST}:{peer.port} tls=none\n"
                   for name, peer in peers.items())


def ask(host, sender, recipients, mail=(), message=None):
    """Relay with parameters: recipients by address, each with those of its RCPT. Returns the ID."""
    with smtplib.SMTP(HOST, host.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        if "SMTPUTF8" in mail:
            client.command_encoding = "utf-8"
        code, reply = client.mail(sender, list(mail))
        assert code == 250, reply
        for recipient, parameters in recipients.items():
            code, reply = client.rcpt(recipient, list(parameters))
            assert code == 250, reply
        code, reply = client.data(message or text(next(iter(recipients)), sender=sender))
        assert code == 250, reply
        return reply.decode().split()[-1]


class Report:
    """A report as a mail program sees it; whole and recipients are the machines' fields."""

    def __init__(self, body):
        if isinstance(body, str):
            body = body.encode()
        assert all(len(line) <= 998 for line in body.split(b"\r\n"))
        self.raw = body
        self.message = email.message_from_bytes(body, policy=email.policy.default)
        assert not self.message.defects
        assert self.message.get_content_type() == "multipart/report"
        assert self.message["Auto-Submitted"] == "auto-replied"
        people, machines, self.original = self.message.iter_parts()
        assert people.get_content_type() == "text/plain"
        self.said = " ".join(people.get_content().split())
        self.machines = machines
        blocks = (machines.get_payload() if machines.get_content_type() == "message/delivery-status"
                  else self._blocks(machines))
        self.whole, *self.recipients = blocks

    @staticmethod
    def _blocks(part):
        """Python does not know message/global-delivery-status, and takes it for a message."""
        text_of = part.as_bytes().partition(b"\n\n")[2].replace(b"\r\n", b"\n")
        return [email.message_from_bytes(block, policy=email.policy.SMTPUTF8)
                for block in text_of.strip().split(b"\n\n")]


def report_of(message, to=SENDER):
    assert (message.sender, message.recipients) == ("", [to])
    return Report(message.body)


def commands(peer, verb):
    return [line for session in peer.sessions for line in session.commands
            if line.startswith(verb)]


# ---- passing on ----

def test_what_senders_ask_for_is_passed_on(site):
    peer = site.peer(extensions=DSN)
    hub = site.hub(routes(vm2=peer))
    hub.removed(ask(hub, SENDER, {
        "a@vm2.vm": ["NOTIFY=NEVER"],
        "b@vm2.vm": ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;B+2Bb@vm3.vm"],
        "c@vm2.vm": [],
    }, ["RET=HDRS", "ENVID=QQ314159+2B"]))
    (mail,) = commands(peer, "MAIL")
    assert mail.endswith(" RET=HDRS ENVID=QQ314159+2B")
    assert commands(peer, "RCPT") == [
        "RCPT TO:<a@vm2.vm> NOTIFY=NEVER",
        "RCPT TO:<b@vm2.vm> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bb@vm3.vm",
        "RCPT TO:<c@vm2.vm>"]
    assert len(peer.messages) == 1  # the next hop tells of the success


def test_what_senders_ask_for_outlives_a_restart(site):
    port = site.port()
    hub = site.hub(f"* relay:{HOST}:{port} tls=none\n", **QUICK)
    ask(hub, SENDER, {"b@vm2.vm": ["NOTIFY=SUCCESS", "ORCPT=rfc822;x@vm3.vm"]},
        ["RET=FULL", "ENVID=E1"])
    hub.delivered("b@vm2.vm", status="deferred")
    hub.kill()
    peer = site.peer(port=port, extensions=DSN)
    hub.start()
    peer.wait_for_messages(1)
    (mail,) = commands(peer, "MAIL")
    assert mail.endswith(" RET=FULL ENVID=E1")
    assert commands(peer, "RCPT") == [
        "RCPT TO:<b@vm2.vm> NOTIFY=SUCCESS ORCPT=rfc822;x@vm3.vm"]


# ---- failures ----

def test_failure_report_with_what_was_asked_for(site):
    peer = site.peer(replies={"RCPT": by_address(b="550 5.1.1 no such user")})
    home = site.peer(extensions=DSN)
    hub = site.hub(routes(vm2=peer, vm1=home))
    message_id = ask(hub, SENDER, {
        "b@vm2.vm": ["NOTIFY=FAILURE", "ORCPT=rfc822;Bob+2Bold@vm3.vm"]}, ["RET=HDRS", "ENVID=A+2BB"])
    (message,) = home.wait_for_messages(1)
    report = report_of(message)
    assert commands(home, "RCPT") == [f"RCPT TO:<{SENDER}> NOTIFY=NEVER"]
    assert report.message["Subject"] == "Undelivered Mail Returned to Sender"
    assert "There is no mailbox with this address." in report.said
    assert "550 5.1.1 no such user" in report.said
    assert report.whole["Original-Envelope-Id"] == "A+B"
    assert report.whole["X-Posthouse-Queue-ID"] == message_id
    (fields,) = report.recipients
    assert fields["Original-Recipient"] == "rfc822;Bob+old@vm3.vm"
    assert fields["Final-Recipient"] == "rfc822; b@vm2.vm"
    assert (fields["Action"], fields["Status"]) == ("failed", "5.1.1")
    assert fields["Last-Attempt-Date"] and not fields["Will-Retry-Until"]
    assert report.original.get_content_type() == "text/rfc822-headers"
    assert "Subject: a test" in report.original.get_content()


def test_failures_that_nobody_wants_to_hear_of(site):
    peer = site.peer(replies={"RCPT": "550 5.1.1 no such user"})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home))
    message_id = ask(hub, SENDER, {"a@vm2.vm": ["NOTIFY=NEVER"],
                                   "b@vm2.vm": ["NOTIFY=SUCCESS,DELAY"],
                                   "c@vm2.vm": ["NOTIFY=FAILURE"]})
    (message,) = home.wait_for_messages(1)
    (fields,) = report_of(message).recipients
    assert fields["Final-Recipient"] == "rfc822; c@vm2.vm"
    hub.removed(message_id)
    for recipient, notify in (("a", "NEVER"), ("b", "SUCCESS,DELAY")):
        hub.wait_for(f"{message_id}: to=<{recipient}@vm2.vm>: "
                     f"no sender non-delivery notification: NOTIFY={notify}$")


def test_return_full_returns_all_up_to_a_limit(site):
    peer = site.peer(replies={"END": "552 5.2.2 mailbox full"})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home))
    for lines, content_type in ((10, "message/rfc822"), (10000, "text/rfc822-headers")):
        ask(hub, SENDER, {"b@vm2.vm": []}, ["RET=FULL"],
            text("b@vm2.vm") + b"0123456789\r\n" * lines)
        report = report_of(home.wait_for_messages(1 if lines == 10 else 2)[-1])
        assert report.original.get_content_type() == content_type
        assert "The recipient's mailbox is full." in report.said


def test_a_peer_cannot_write_into_a_report(site):
    """Neither a field, nor a part, nor a line that programs choke on."""
    evil = (b"550-5.7.1 x\r\n550-Final-Recipient: rfc822; fake@vm2.vm\r\n550-\xff\x00\x1b[2J\xc3\xbc\r\n"
            + b"".join(b"550-" + b"y" * 400 + b"\r\n" for _ in range(20)) + b"550 end\r\n")
    peer = site.peer(replies={"RCPT": [evil]})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home))
    ask(hub, SENDER, {'"a\\"b>, <c"@vm2.vm': ["ORCPT=rfc822;x+3B+20Action:+20ok"]}, ["ENVID=+2D+2Dx"])
    report = report_of(home.wait_for_messages(1)[0])
    (fields,) = report.recipients
    assert fields["Final-Recipient"] == 'rfc822; "a\\"b>, <c"@vm2.vm'
    assert fields["Original-Recipient"] == "rfc822;x; Action: ok"
    assert fields["Action"] == "failed"
    assert "fake@vm2.vm" in fields["Diagnostic-Code"]
    assert not re.search(rb"[\x00\x1b\xff]", report.raw)
    assert len(report.raw) < 8000


# ---- successes ----

def test_success_in_a_mailbox(site):
    home = site.peer()
    edge = site.edge("vm1.vm", routes(vm3=home))
    ask(edge, "carol@vm3.vm", {SENDER: ["NOTIFY=SUCCESS,FAILURE"], "test1@vm1.vm": []},
        ["ENVID=E2", "RET=FULL"])
    report = report_of(home.wait_for_messages(1)[0], "carol@vm3.vm")
    assert report.message["Subject"] == "Successful Mail Delivery Report"
    (fields,) = report.recipients
    assert fields["Final-Recipient"] == f"rfc822; {SENDER}"
    assert (fields["Action"], fields["Status"]) == ("delivered", "2.0.0")
    assert fields["Remote-MTA"] is None
    assert report.original.get_content_type() == "text/rfc822-headers"  # whatever RET says
    edge.wait_for(": sender delivery status notification: ")


def test_relayed_to_who_does_not_know_dsn(site):
    peer, home = site.peer(), site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home))
    hub.removed(ask(hub, SENDER, {"a@vm2.vm": ["NOTIFY=SUCCESS"], "b@vm2.vm": ["NOTIFY=FAILURE"]}))
    report = report_of(home.wait_for_messages(1)[0])
    (fields,) = report.recipients
    assert (fields["Final-Recipient"], fields["Action"]) == ("rfc822; a@vm2.vm", "relayed")
    assert fields["Remote-MTA"] == f"dns; {HOST}"
    assert "does not send confirmations" in report.said
    assert all(" NOTIFY" not in line for line in commands(peer, "RCPT"))


def test_three_kinds_of_news_of_one_message(site):
    peer = site.peer(replies={"RCPT": by_address(b="550 5.1.1 no", c="450 4.2.1 busy")})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home), delay_warning_time="1s", minimal_backoff_time="2s",
                   maximal_backoff_time="2s")
    message_id = ask(hub, SENDER, {"a@vm2.vm": ["NOTIFY=SUCCESS"], "b@vm2.vm": [], "c@vm2.vm": []})
    home.wait_for_messages(3)
    actions = sorted(report_of(message).recipients[0]["Action"] for message in home.messages)
    assert actions == ["delayed", "failed", "relayed"]
    for kind in ("delivery status", "non-delivery", "delay"):
        hub.wait_for(f"{message_id}: sender {kind} notification: ")


# ---- delays ----

def test_delay_is_told_once(site):
    peer = site.peer(replies={"RCPT": by_address(b="450 4.2.2 full", c="450 4.2.2 full")})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home), delay_warning_time="1s", minimal_backoff_time="2s",
                   maximal_backoff_time="2s", maximal_queue_lifetime="5s")
    ask(hub, SENDER, {"b@vm2.vm": ["NOTIFY=DELAY"], "c@vm2.vm": []}, ["RET=FULL"])
    warning, failure = map(report_of, home.wait_for_messages(2))
    assert warning.message["Subject"] == "Delayed Mail (still being retried)"
    assert "ONLY A WARNING" in warning.said
    assert warning.original.get_content_type() == "text/rfc822-headers"
    for fields in warning.recipients:
        assert (fields["Action"], fields["Status"]) == ("delayed", "4.2.2")
        assert fields["Will-Retry-Until"]
    assert len(warning.recipients) == 2
    (fields,) = failure.recipients  # b did not ask for this one
    assert (fields["Final-Recipient"], fields["Action"]) == ("rfc822; c@vm2.vm", "failed")
    assert "given up" in failure.said
    assert len(home.messages) == 2


# ---- reports that cannot be delivered ----

def test_null_sender_is_never_answered(site):
    peer = site.peer(replies={"RCPT": "550 5.1.1 nobody"})
    home = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=home), myorigin="vm1.vm")
    message_id = relay(hub, "", "b@vm2.vm", text("b@vm2.vm", "a bounce", ""))
    hub.delivered("b@vm2.vm", message_id, "bounced")
    report = report_of(home.wait_for_messages(1)[0], "postmaster@vm1.vm")
    assert report.message["Subject"] == "Postmaster notice: undeliverable report"
    assert report.original.get_content()["Subject"] == "a bounce"
    assert report.recipients[0]["Final-Recipient"] == "rfc822; b@vm2.vm"
    hub.wait_for(f"{message_id}: postmaster non-delivery notification: ")
    hub.stop()
    assert hub.queue() == []


def test_a_bounce_that_bounces_is_told_to_the_postmaster(site):
    peer = site.peer(replies={"RCPT": "550 5.1.1 nobody"})
    office = site.peer()
    hub = site.hub(routes(vm2=peer, vm1=peer, vm3=office),
                   **{"2bounce_notice_recipient": "office@vm3.vm"})
    message_id = relay(hub, SENDER, "b@vm2.vm")
    bounce_id = hub.wait_for(f"{message_id}: sender non-delivery notification: ").split()[-1]
    hub.wait_for(f"{bounce_id}: postmaster non-delivery notification: ")
    report = report_of(office.wait_for_messages(1)[0], "office@vm3.vm")
    assert report.recipients[0]["Final-Recipient"] == f"rfc822; {SENDER}"
    assert report.whole["X-Posthouse-Queue-ID"] == bounce_id


def test_a_notice_that_bounces_is_dropped(site):
    peer = site.peer(replies={"RCPT": "550 5.1.1 nobody"})
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    message_id = relay(hub, SENDER, "b@vm2.vm")
    bounce_id = hub.wait_for(f"{message_id}: sender non-delivery notification: ").split()[-1]
    notice_id = hub.wait_for(f"{bounce_id}: postmaster non-delivery notification: ").split()[-1]
    hub.wait_for(f"{notice_id}: to=<postmaster@vm.vm>: .*DROPPED$")
    hub.removed(notice_id)
    hub.stop()
    assert hub.queue() == []


def test_two_hubs_do_not_tell_each_other_for_ever(site):
    """Each takes the other for the one that has its postmaster, and the other has not."""
    first = site.hub(myorigin="vm1.vm")
    second = site.hub(f"vm2.vm relay:{HOST}:{first.port()} tls=none\nvm1.vm error:5.1.1 nobody\n",
                      myorigin="vm2.vm")
    first.write("ts", f"vm1.vm relay:{HOST}:{second.port()} tls=none\n* error:5.1.1 nobody\n")
    first.wait_for("ts has changed and was taken up")
    message_id = relay(first, "", "b@vm3.vm", text("b@vm3.vm", "a bounce", ""))
    notice_id = first.wait_for(f"{message_id}: postmaster non-delivery notification: ").split()[-1]
    first.removed(notice_id)
    line = second.wait_for("to=<postmaster@vm1.vm>: .*DROPPED$")
    assert "and for a postmaster" in line


def test_no_postmaster_wanted(site):
    peer = site.peer(replies={"RCPT": "550 5.1.1 nobody"})
    hub = site.hub(routes(vm2=peer), **{"2bounce_notice_recipient": ""})
    message_id = relay(hub, "", "b@vm2.vm", text("b@vm2.vm", "a bounce", ""))
    hub.wait_for(f"{message_id}: to=<b@vm2.vm>: .*2bounce_notice_recipient is empty: DROPPED$")
    hub.removed(message_id)


# ---- UTF-8 ----

def utf8_text(recipient, sender):
    return (f"From: {sender}\r\nTo: {recipient}\r\nSubject: Grüße\r\n\r\nhallo\r\n").encode()


def test_utf8_is_passed_on(site):
    peer = site.peer(extensions=UTF8)
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", relay_domains="vm2.vm, bücher.vm")
    sender, recipient = "älice@vm1.vm", "böb@bücher.vm"
    hub.removed(ask(hub, sender, {recipient: ["ORCPT=utf-8;b\\x{F6}b@vm3.vm"]},
                    ["SMTPUTF8", "BODY=8BITMIME"], utf8_text(recipient, sender)))
    (message,) = peer.messages
    assert (message.sender, message.recipients) == (sender, [recipient])
    assert " SMTPUTF8" in commands(peer, "MAIL")[0]
    assert commands(peer, "RCPT")[0].endswith(" ORCPT=utf-8;b\\x{F6}b@vm3.vm")
    assert b" with UTF8SMTP id " in message.body


def test_utf8_to_who_does_not_know_it(site):
    peer, home = site.peer(extensions=DSN), site.peer(extensions=UTF8)
    hub = site.hub(routes(vm2=peer, vm1=home))
    sender = "älice@vm1.vm"
    message_id = ask(hub, sender, {"böb@vm2.vm": ["ORCPT=utf-8;b\\x{F6}b@vm3.vm"]},
                     ["SMTPUTF8", "BODY=8BITMIME"], utf8_text("böb@vm2.vm", sender))
    line = hub.delivered("böb@vm2.vm", message_id, "bounced")
    assert ", dsn=5.6.7, " in line
    report = report_of(home.wait_for_messages(1)[0], sender)
    assert " SMTPUTF8" in commands(home, "MAIL")[0]
    assert report.message.get_param("report-type") == "global-delivery-status"
    assert report.machines.get_content_type() == "message/global-delivery-status"
    assert "Final-Recipient: utf-8; böb@vm2.vm\r\n".encode() in report.raw
    assert "Original-Recipient: utf-8;böb@vm3.vm\r\n".encode() in report.raw
    assert b"Content-Type: message/global\r\n" in report.raw
    assert "is not written in plain ASCII letters" in report.said


def test_ascii_that_was_declared_utf8_goes_anywhere(site):
    peer = site.peer()
    hub = site.hub(routes(vm2=peer))
    hub.removed(ask(hub, SENDER, {"b@vm2.vm": []}, ["SMTPUTF8"]))
    (mail,) = commands(peer, "MAIL")
    assert "SMTPUTF8" not in mail


# ---- from edge to edge ----

def test_success_through_edge_hub_edge(site, certs):
    """Each passes the question on, and the last one answers."""
    hub = site.hub()
    home = site.edge("vm1.vm", f"* relay:{HOST}:{hub.port()} tls=verify\n")
    away = site.edge("vm2.vm", f"* relay:{HOST}:{hub.port()} tls=verify\n")
    hub.write("ts", f"vm1.vm relay:{HOST}:{home.port()} tls=verify\n"
                    f"vm2.vm relay:{HOST}:{away.port()} tls=verify\n")
    hub.wait_for("ts has changed and was taken up")
    with connect(certs, home.port("submission"), user=SENDER) as client:
        client.mail(SENDER, ["ENVID=through"])
        client.rcpt("bob@vm2.vm", ["NOTIFY=SUCCESS", "ORCPT=rfc822;bob@vm2.vm"])
        client.data(text("bob@vm2.vm"))
    home.delivered(SENDER)
    (stored,) = home.mailbox(SENDER)
    report = Report(stored.partition(b"\n")[2].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert report.whole["Reporting-MTA"] == "dns; mta2.vm2.vm"
    assert report.whole["Original-Envelope-Id"] == "through"
    assert report.recipients[0]["Action"] == "delivered"
