"""The log, in the forms of Postfix's maillog: by regular expression, and as pflogsumm counts it."""

import re
import shutil
import subprocess

import pytest

from clients import HOST, connect, text, transact
from server import PATIENCE_S

SENDER = "alice@vm1.vm"

STAMP = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mta\.vm\.vm "
ID = r"(?P<id>[0-9A-F]+)"
CLIENT = r"unknown\[127\.0\.0\.1\]"
RELAY = r"127\.0\.0\.1\[127\.0\.0\.1\]:\d+"
SECONDS = r"\d+(\.\d{1,2})?"
DELAYS = rf"delay={SECONDS}, delays={SECONDS}/{SECONDS}/{SECONDS}/{SECONDS}"
CIPHER = r"TLSv1\.3 with cipher TLS_[A-Z0-9_]+ \((128/128|256/256) bits\)"

# Every line of the log must be one of these, whole, and each of these must be there.
FORMS = {
    "ready": r"posthouse\[\d+\]: ready: mode=hub version=[\d.]+ listen=[a-z0-9:/,.\[\]]+",
    "warning": r"posthouse\[\d+\]: warning: .*",
    "connect": rf"posthouse/smtpd\[\d+\]: connect from {CLIENT}",
    "tls in": rf"posthouse/smtpd\[\d+\]: Anonymous TLS connection established from {CLIENT}: "
              rf"{CIPHER}",
    "client": rf"posthouse/smtpd\[\d+\]: {ID}: client={CLIENT}",
    "disconnect": rf"posthouse/smtpd\[\d+\]: disconnect from {CLIENT}( [a-z]+=\d+(/\d+)?)* "
                  r"commands=\d+(/\d+)?",
    "lost": rf"posthouse/smtpd\[\d+\]: lost connection after [A-Za-z ]+ from {CLIENT}",
    "reject": rf"posthouse/smtpd\[\d+\]: (NOQUEUE|[0-9A-F]+): reject: RCPT from {CLIENT}: "
              r"554 5\.7\.1 <x@elsewhere\.example>: Relay access denied; from=<alice@vm1\.vm> "
              r"to=<x@elsewhere\.example> proto=ESMTP helo=<client\.example>",
    "active": rf"posthouse/qmgr\[\d+\]: {ID}: from=<[^>]*>, size=\d+, nrcpt=\d+ \(queue active\)",
    "tls out": rf"posthouse/smtp\[\d+\]: Verified TLS connection established to {RELAY}: {CIPHER}",
    "sent": rf"posthouse/smtp\[\d+\]: {ID}: to=<a@vm2\.vm>, relay={RELAY}, {DELAYS}, "
            r"tls=verify:TLSv1\.3:verified, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: taken\)",
    "bounced": rf"posthouse/smtp\[\d+\]: {ID}: to=<b@vm2\.vm>, relay={RELAY}, {DELAYS}, "
               r"tls=verify:TLSv1\.3:verified, dsn=5\.1\.1, status=bounced \(550 5\.1\.1 nobody\)",
    "deferred": rf"posthouse/smtp\[\d+\]: {ID}: to=<c@vm2\.vm>, relay={RELAY}, {DELAYS}, "
                r"tls=verify:TLSv1\.3:verified, dsn=4\.2\.1, status=deferred \(450 4\.2\.1 busy\)",
    "no connection": rf"posthouse/smtp\[\d+\]: {ID}: to=<d@vm3\.vm>, relay={RELAY}, {DELAYS}, "
                     rf"tls=encrypt, dsn=4\.4\.1, status=deferred "
                     rf"\(connect to {RELAY}: Connection refused\)",
    "in the clear": rf"posthouse/smtp\[\d+\]: {ID}: to=<(alice|e)@vm1\.vm>, relay={RELAY}, "
                    rf"{DELAYS}, tls=none:clear, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: taken\)",
    "error": rf"posthouse/error\[\d+\]: {ID}: to=<f@example>, relay=none, {DELAYS}, "
             r"dsn=5\.7\.1, status=bounced \(closed\)",
    "notification": rf"posthouse/bounce\[\d+\]: {ID}: sender non-delivery notification: [0-9A-F]+",
    "removed": rf"posthouse/qmgr\[\d+\]: {ID}: removed",
    "ledger": r"posthouse\[\d+\]: ledger: head=\d+:[0-9a-f]{64}",
    "stopping": r"posthouse\[\d+\]: Terminated: stopping",
    "stopped": r"posthouse\[\d+\]: stopped",
}


@pytest.fixture(scope="module")
def day(shared_site, certs):
    """A hub that has seen something of everything, and has ended."""
    answers = {"b": "550 5.1.1 nobody", "c": "450 4.2.1 busy"}
    secure = shared_site.peer(tls="starttls", replies={
        "RCPT": lambda session, argument: answers.get(argument.partition("<")[2][:1])})
    clear = shared_site.peer()
    hub = shared_site.hub(f"vm1.vm relay:{HOST}:{clear.port} tls=none\n"
                          f"vm2.vm relay:{HOST}:{secure.port} tls=verify\n"
                          f"vm3.vm relay:{HOST}:{shared_site.port()}\n"
                          "example error:5.7.1 closed\n", workers=1)
    with connect(certs, hub.port(), "none") as client:
        client.mail(SENDER)
        assert client.rcpt("x@elsewhere.example")[0] == 554
        client.rset()
        hub.ids = [transact(client, SENDER, recipients, text("x")) for recipients in (
            ["a@vm2.vm", "b@vm2.vm", "c@vm2.vm"], ["d@vm3.vm"], ["e@vm1.vm"], ["f@example"])]
    with connect(certs, hub.port()) as client:
        hub.ids.append(transact(client, SENDER, ["a@vm2.vm"], text("x")))
    with connect(certs, hub.port(), "none") as client:
        client.mail(SENDER)
        client.sock.close()
        client.sock = client.file = None
    hub.wait_for("lost connection after")
    for recipient, status in (("c@vm2.vm", "deferred"), ("d@vm3.vm", "deferred")):
        hub.delivered(recipient, status=status)
    for message_id in hub.ids[2:]:
        hub.removed(message_id)
    for message_id in (hub.ids[0], hub.ids[3]):
        note = hub.wait_for(f"{message_id}: sender non-delivery notification").split()[-1]
        hub.removed(note)
    hub.stop()
    return hub


def test_every_line_has_a_known_form(day):
    seen = set()
    for line in day.server.lines:
        names = [name for name, form in FORMS.items() if re.fullmatch(STAMP + form, line)]
        assert len(names) == 1, line
        seen.update(names)
    assert seen >= set(FORMS) - {"warning"}


def test_life_of_a_message(day):
    """Its lines, in order."""
    message_id = day.ids[2]
    lines = [line.partition("]: ")[2] for line in day.server.lines if f" {message_id}: " in line]
    for line, start in zip(lines, ("client=", "from=<alice@vm1.vm>", "to=<e@vm1.vm>", "removed")):
        assert line.startswith(f"{message_id}: {start}")
    assert len(lines) == 4


def test_summary_of_a_connection(day):
    """How many of each command, good and all of them, as Postfix has it."""
    line = next(line for line in day.server.lines if "disconnect from" in line)
    assert line.endswith("disconnect from unknown[127.0.0.1] ehlo=1 mail=5 rcpt=6/7 data=4 rset=1 "
                         "quit=1 commands=18/19")


@pytest.mark.skipif(not shutil.which("pflogsumm", path="/usr/sbin:/usr/bin"),
                    reason="pflogsumm is not installed")
def test_pflogsumm_counts_right(day):
    # Releases from before Postfix 3.11 do not know its field tls=, and pass over such lines.
    log = re.sub(r", tls=[^,]+, dsn=", ", dsn=", day.server.log()) + "\n"
    got = subprocess.run(["pflogsumm", "--syslog_name", "posthouse", "-"], input=log, check=True,
                         encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=PATIENCE_S)
    assert got.stderr == ""
    totals = got.stdout.partition("Grand Totals")[2].partition("Per-Hour")[0]
    size = sum(int(re.search(f"{i}: from=.* size=(\\d+)", log)[1]) for i in day.ids)
    for total in ("5 received", "5 delivered", "2 deferred (2 deferrals)", "2 bounced",
                  "1 rejected (16%)", f"{size} bytes received", "1 senders", "3 recipients"):
        assert f" {total} " in " ".join(totals.split()) + " ", totals
    for detail in ("1 4.2.1 busy", "1 5.1.1 nobody", "Relay access denied (total: 1)"):
        assert detail in " ".join(got.stdout.split()), got.stdout
