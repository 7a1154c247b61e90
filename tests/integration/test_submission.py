"""What users' programs leave undone in a header, and what is none of our business (RFC 6409)."""

import base64
import email
import email.utils
import os
import re
import smtplib

import pytest

from clients import HOST, connect, swaks, tls_context, transact_as_is
from mails import MAILS
from server import PATIENCE_S
from test_postfix import POSTFIX, Postfix

ALICE, BOB = "alice@vm1.vm", "bob@vm2.vm"
OWN = r"Message-ID: <\d{14}\.QUEUED@mta1\.vm1\.vm>\r\nDate: \w{3}, \d\d \w{3} \d{4} [^\r]*\r\n"


@pytest.fixture(scope="module")
def sink(shared_site):
    return shared_site.peer()


@pytest.fixture(scope="module")
def edge(shared_site, sink):
    return shared_site.edge(routes=f"* relay:{HOST}:{sink.port} tls=none\n",
                            mynetworks="127.0.0.0/8")


def behind_trace(message):
    """What the client has sent, or what became of it: without our own field."""
    return re.sub(rb"^Received:.*\r\n(\t.*\r\n)*", b"", message.body, count=1)


def arrived(sink, message_id):
    sink.wait("the message", lambda: any(message_id.encode() in m.body for m in sink.messages))
    (message,) = [m for m in sink.messages if b" id " + message_id.encode() in m.body]
    return behind_trace(message)


def submitted(edge, sink, certs, message):
    """What becomes of a message that alice sends; and its ID."""
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        message_id = transact_as_is(client, ALICE, [BOB], message)
    return arrived(sink, message_id), message_id


CASES = {
    "nothing is there": (b"Subject: x\r\n\r\nhello\r\n",
                         "Subject: x\r\nOWNFrom: alice@vm1.vm\r\n\r\nhello\r\n"),
    "no header": (b"\r\nhello\r\n", "OWNFrom: alice@vm1.vm\r\n\r\nhello\r\n"),
    "a header that is none": (b"hello you: there\r\n",
                              "OWNFrom: alice@vm1.vm\r\n\r\nhello you: there\r\n"),
    "bare addresses": (b"From: Alice <alice>\r\nTo: bob,\r\n carol@z, D. <d>\r\n\r\n",
                       "From: Alice <alice@vm1.vm>\r\nTo: bob@vm1.vm,\r\n carol@z, "
                       "D. <d@vm1.vm>\r\nOWN\r\n"),
    "blind copies": (b"From: alice@vm1.vm\r\nBcc: secret@vm2.vm,\r\n more@vm2.vm\r\n\r\nx\r\n",
                     "From: alice@vm1.vm\r\nOWN\r\nx\r\n"),
    "resent": (b"From: carol@z\r\nDate: x\r\nResent-To: bob\r\nResent-Bcc: secret@z\r\n\r\n",
               "From: carol@z\r\nDate: x\r\nResent-To: bob@vm1.vm\r\nResent-OWN"
               "Resent-From: alice@vm1.vm\r\n\r\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing(edge, sink, certs, name):
    message, wanted = CASES[name]
    found, message_id = submitted(edge, sink, certs, message)
    own = OWN.replace("QUEUED", message_id)
    if "Resent-OWN" in wanted:
        own = own.replace("Date:", "Resent-Date:")
    assert re.fullmatch(re.escape(wanted).replace("OWN", own), found.decode()), found


COMPLETE = (b"From: =?utf-8?Q?J=C3=BCrgen?= <alice@vm1.vm>\r\nDATE:  Sat, 1 Nov 25 7:0 GMT \r\n"
            b"message-id:<x@y>\r\nTo:\"a, b\"\r\n\t <bob@vm2.vm> (x)\r\nX-Odd:\r\n \r\n")


def test_complete_mail_is_not_touched(edge, sink, certs):
    """Byte for byte: signatures of it stay good."""
    for name, body in MAILS.items():
        message = COMPLETE + b"X-Name: " + name.encode() + b"\r\n\r\nBcc: x\r\n" + body
        found, _ = submitted(edge, sink, certs, message)
        assert found == message, name


INCOMPLETE = (b"subject: x\r\nTo: bob, carol\r\nBcc: secret@vm2.vm\r\nReturn-Path: <a@b>\r\n"
              b"Resent-To: d\r\nno header here\r\nBcc: e\r\n")


def test_relayed_mail_is_not_touched(site, certs, edge, sink):
    """Neither on a hub, nor on an edge from whoever has not logged in, trusted or not."""
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", relay_domains="vm2.vm")
    for message in (INCOMPLETE, b"\r\nno header\r\n", b"", b"no header\r\n"):
        for host, next_hop in ((hub, peer), (edge, sink)):
            with connect(certs, host.port(), "none") as client:
                message_id = transact_as_is(client, "x@elsewhere.example", [BOB], message)
            assert arrived(next_hop, message_id) == message


def test_mail_from_outside_to_a_mailbox_is_not_completed(site, certs):
    """But the empty line behind the header is there in the mailbox, where readers look for it."""
    edge = site.edge()
    with connect(certs, edge.port(), "none") as client:
        message_id = transact_as_is(client, "x@elsewhere.example", [ALICE], INCOMPLETE)
    edge.delivered(ALICE, message_id)
    (message,) = edge.mailbox(ALICE)
    separated = INCOMPLETE.replace(b"no header here", b"\r\nno header here")
    assert message.endswith(separated.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks_split_anywhere(edge, sink, certs, size):
    message = b"To: bob\r\nBcc: a@b,\r\n c@d\r\nFrom: Alice\r\n <alice>\r\n\r\nBcc: in the body\r\n"
    with connect(certs, edge.port("submissions"), "implicit", user=ALICE) as client:
        assert client.mail(ALICE)[0] == 250
        assert client.rcpt(BOB)[0] == 250
        for at in range(0, len(message), size):
            piece = message[at:at + size]
            last = " LAST" if at + size >= len(message) else ""
            client.send(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
            code, reply = client.getreply()
            assert code == 250, reply
    found = arrived(sink, reply.decode().split()[-1]).decode()
    assert re.fullmatch("To: bob@vm1.vm\r\nFrom: Alice\r\n <alice@vm1.vm>\r\n" +
                        OWN.replace("QUEUED", r"\w+") + "\r\nBcc: in the body\r\n", found)


def test_a_header_beyond_all_measure(edge, sink, certs):
    """A megabyte of addresses passes; Bcc of that size goes; the rest is completed."""
    many = b"".join(b" user%d,\r\n" % i for i in range(80000))
    message = b"To: bob\r\nCc:" + many + b" z\r\nBcc:" + many + b" z\r\nX: y\r\n\r\nbody\r\n"
    found, _ = submitted(edge, sink, certs, message)
    assert found.startswith(b"To: bob@vm1.vm\r\nCc:" + many + b" z\r\nX: y\r\nMessage-ID: <")
    assert found.endswith(b"\r\nFrom: alice@vm1.vm\r\n\r\nbody\r\n")


def test_swaks(edge, sink, certs):
    got = swaks(edge, "submission", "--tls", "--tls-ca-path", str(certs / "ca.pem"), "--auth",
                "PLAIN", "--auth-user", ALICE, "--auth-password", "alice", "--from", ALICE,
                "--to", BOB, "--data", "Subject: from swaks\\nTo: bob\\nBcc: carol\\n\\nhello\\n")
    assert got.returncode == 0, got.stdout
    message_id = re.search(r"queued as (\w+)", got.stdout)[1]
    found = arrived(sink, message_id)
    assert found.startswith(b"Subject: from swaks\r\nTo: bob@vm1.vm\r\nMessage-ID: ")
    assert b"carol" not in found


def test_international_mail(site, certs):
    """What we add is UTF-8 where the sender is."""
    user = "j\u00fcrgen@vm2.vm"
    edge = site.edge("vm2.vm", users=f"{user}:{{PLAIN}}j::::::\n",
                     virtual_mailbox_maps=f"inline:{{ {user} = vm2.vm/j/ }}")
    login = base64.b64encode(f"\0{user}\0j".encode()).decode()
    with smtplib.SMTP_SSL(HOST, edge.port("submissions"), "c.example", timeout=PATIENCE_S,
                          context=tls_context(certs)) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        assert client.docmd("AUTH PLAIN", login)[0] == 235
        assert client.docmd(f"MAIL FROM:<{user}> SMTPUTF8")[0] == 250
        assert client.docmd(f"RCPT TO:<{user}>")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send("To: j\u00fcrgen\r\n\r\nhello\r\n.\r\n".encode())
        assert client.getreply()[0] == 250
    edge.delivered(user)
    (message,) = edge.mailbox("j@vm2.vm")
    assert f"\nTo: {user}\nMessage-ID: ".encode() in message
    assert message.endswith(f"\nFrom: {user}\n\nhello\n".encode())


# ---- beside a real Postfix, which does the same with local_header_rewrite_clients ----

HEADERS = [
    b"Subject: nothing\r\n",
    b"",
    b"From: alice\r\nTo: bob\r\n",
    b"From: Alice A <alice>\r\nTo: Bob B <bob>, carol@z.example, (x) d (y)\r\nCc: e,\r\n f\r\n",
    b"Date:\r\nFrom: a@b\r\nMessage-ID: <1@2>\r\n",
    b"From: a@b\r\nDate: nonsense\r\n",
    b"To: \"bob b\", \"a@b\"@c.example, \"q\" <r>\r\n",
    b"To: team: a, b@c.example;, undisclosed-recipients:;\r\n",
    b"To: undisclosed-recipients:;\r\nSender: s\r\nReply-To: r\r\nErrors-To: e\r\n",
    b"From: =?utf-8?Q?J=C3=BCrgen?= <j>\r\nTo: x\r\n",
    b"To: bob\r\nBcc: carol, dave@x\r\nSubject: s\r\n",
    b"Return-Path: <a@b>\r\nContent-Length: 3\r\nX-Mailer: m\r\nTo: bob\r\n",
    b"From: c@d\r\nResent-To: bob\r\n",
    b"From: c@d\r\nResent-From: bob\r\nResent-Bcc: x\r\nResent-Sender: y\r\n",
    b"Resent-Date: x\r\nResent-Message-ID: <y@z>\r\nTo: a\r\n",
    b"To: <@route.example:bob@x.example>, <bob>, a@[10.0.0.1]\r\n",
    b"From alice Sat Nov 21\r\nTo: bob\r\n",
    b"Mail-Followup-To: a\r\nReturn-Receipt-To: b\r\nApparently-To: c\r\nX-To: d\r\n",
]
WITH_ADDRESSES = {"from", "to", "cc", "sender", "reply-to", "errors-to", "resent-from", "resent-to",
                  "resent-sender", "mail-followup-to", "return-receipt-to", "apparently-to"}
MADE = {"message-id", "date", "resent-message-id", "resent-date"}


def essence(message, given):
    """The fields in order, addresses as they are understood, and what was made as that."""
    fields = []
    for name, value in email.message_from_bytes(message).items():
        name, value = name.lower(), str(value)
        if name == "received":
            continue
        if name in WITH_ADDRESSES:
            value = email.utils.getaddresses([re.sub(r"\r?\n", "", value)])
        elif name in MADE and name not in given.lower():
            value = "made"
        else:
            value = value.strip()
        fields.append((name, value))
    return fields


@pytest.mark.skipif(not POSTFIX or os.geteuid() != 0, reason="no postfix, or not root")
def test_as_postfix_does(site, certs, edge, sink, open_path):
    peer = site.peer()
    postfix = Postfix(site, open_path, f"smtp:[{HOST}]:{peer.port}",
                      "local_header_rewrite_clients = permit_mynetworks\nmyorigin = vm1.vm\n"
                      "smtp_tls_security_level = none\n")
    try:
        for header in HEADERS:
            message = header + b"\r\nbody\r\n"
            with smtplib.SMTP(HOST, postfix.smtp, "c.example", timeout=PATIENCE_S) as client:
                client.ehlo()
                message_id = transact_as_is(client, ALICE, ["x@vm1.vm"], message)
            theirs = arrived(peer, message_id)
            ours, _ = submitted(edge, sink, certs, message)
            given = header.decode()
            assert essence(ours, given) == essence(theirs, given), (header, ours, theirs)
    finally:
        postfix.close()
