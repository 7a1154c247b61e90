"""An edge and the people who use it: who may log in, who may send, and what is refused."""

import base64
import re
import shutil
import smtplib
import socket
import subprocess

import pytest

from clients import (HOST, connect, curl, relay, s_client, submit, swaks, text, tls_context,
                     transact)
from server import PATIENCE_S

ALICE, TEST1, BOB = "alice@vm1.vm", "test1@vm1.vm", "bob@vm2.vm"


@pytest.fixture(scope="module")
def next_hop(shared_site):
    return shared_site.peer(tls="starttls")


@pytest.fixture(scope="module")
def edge(shared_site, next_hop):
    return shared_site.edge(routes=f"vm2.vm relay:{HOST}:{next_hop.port} tls=verify\n",
                            message_size_limit=100000)


def refused(client, *commands):
    """The code and text of the last command's reply."""
    for command in commands:
        code, reply = client.docmd(command)
    return code, reply.decode()


# ---- logging in ----

@pytest.mark.parametrize("service, tls", [
    ("submission", "starttls"), ("submissions", "implicit"), ("smtps", "implicit"),
    ("smtp", "starttls"),
])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_login_and_send(edge, certs, service, tls, mechanism):
    subject = f"{service} {mechanism}"
    with connect(certs, edge.port(service), tls) as client:
        assert client.has_extn("auth")
        client.user, client.password = ALICE, "alice"
        method = getattr(client, f"auth_{mechanism.lower()}")
        assert client.auth(mechanism, method)[0] == 235
        message_id = transact(client, ALICE, TEST1, text(TEST1, subject))
    edge.delivered(TEST1, message_id)
    assert any(f"Subject: {subject}\n".encode() in m for m in edge.mailbox(TEST1))
    line = edge.wait_for(f"{message_id}: client=")
    assert f", sasl_method={mechanism}, sasl_username={ALICE}" in line


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("user, password", [
    (ALICE, "wrong"), (ALICE, ""), ("nobody@vm1.vm", "alice"), ("alice", "alice"), ("", ""),
])
def test_bad_login(edge, certs, mechanism, user, password):
    with connect(certs, edge.port("submission")) as client:
        client.user, client.password = user, password
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        assert caught.value.smtp_code in (535, 501)
        assert refused(client, f"MAIL FROM:<{ALICE}>")[0] == 530
    assert "wrong" not in edge.server.log()


def test_passwords_are_not_logged(edge, certs):
    with connect(certs, edge.port("submission")) as client:
        mark = edge.server.mark()
        token = base64.b64encode(b"\0alice@vm1.vm\0hunter2").decode()
        assert client.docmd("AUTH", f"PLAIN {token}")[0] == 535
        edge.wait_for("SASL PLAIN authentication failed: .*sasl_username=alice@vm1.vm", since=mark)
    assert "hunter2" not in edge.server.log() and token not in edge.server.log()


def test_no_login_in_the_clear(edge, certs):
    for service in ("smtp", "submission"):
        with connect(certs, edge.port(service), "none") as client:
            assert not client.has_extn("auth")
            token = base64.b64encode(b"\0alice@vm1.vm\0alice").decode()
            code, _ = client.docmd("AUTH", f"PLAIN {token}")
            assert code in (503, 530, 538), service


def test_submission_requires_tls_then_login(edge, certs):
    with connect(certs, edge.port("submission"), "none") as client:
        assert refused(client, f"MAIL FROM:<{ALICE}>") == (
            530, "5.7.0 Must issue a STARTTLS command first")
    for service, tls in (("submission", "starttls"), ("submissions", "implicit")):
        with connect(certs, edge.port(service), tls) as client:
            code, reply = refused(client, f"MAIL FROM:<{ALICE}>")
            assert (code, reply) == (530, "5.7.0 Authentication required"), service


# ---- the how-to ----

def test_piped_dialogue_of_the_howto(edge, certs):
    """
    Everything ahead of the replies, bare addresses, and no line between header
    and body: the header is completed.
    """
    said = s_client(certs, edge.port("smtps"), [
        "ehlo mta1", "auth login", "YWxpY2VAdm0xLnZt", "YWxpY2U=", "mail from: alice",
        "rcpt to: test1", "data", "from: alice", "to: test1",
        "subject: alice to test1 on mta1", "alice say hello to test1", ".", "quit"])
    codes = [line[:3] for line in said.splitlines() if line[3:4] != "-"]
    assert codes == ["220", "250", "334", "334", "235", "250", "250", "354", "250", "221"]
    message_id = said.split("queued as ")[1].split()[0]
    edge.delivered(TEST1, message_id)
    (message,) = [m for m in edge.mailbox(TEST1) if message_id.encode() in m]
    header, _, body = message.partition(b"\n\n")
    completed = re.search(rb"\nfrom: alice@vm1.vm\nto: test1@vm1.vm\n"
                          rb"subject: alice to test1 on mta1\n"
                          rb"Message-ID: <\d{14}\.(\w+)@\S+>\nDate: \w{3}, .*$", header)
    assert completed and completed[1].decode() == message_id
    assert body == b"alice say hello to test1\n"
    assert header.startswith(b"Return-Path: <alice@vm1.vm>\nX-Original-To: test1\n"
                             b"Delivered-To: test1@vm1.vm\n")


def test_piped_dialogue_with_starttls_to_another_domain(edge, next_hop, certs):
    said = s_client(certs, edge.port("submission"), [
        "ehlo mta1", "auth login", "YWxpY2VAdm0xLnZt", "YWxpY2U=", "mail from: alice",
        "rcpt to: bob@vm2.vm", "data", "from: alice", "to: bob@vm2.vm",
        "subject: alice to bob", "alice say hello to bob", ".", "quit"], "-starttls", "smtp")
    message_id = said.split("queued as ")[1].split()[0]
    edge.delivered(BOB, message_id)
    (message,) = [m for m in next_hop.messages if message_id.encode() in m.body]
    assert message.sender == ALICE
    assert message.recipients == [BOB]
    assert message.session.tls is not None


@pytest.mark.parametrize("recipient, code", [("bob@vm2.vm", "553"), ("test1", "553")])
def test_howto_dialogues_that_must_fail(edge, certs, recipient, code):
    """Its last two: nobody logs in, and alice's name is used for vm2.vm, and for vm1.vm itself."""
    said = s_client(certs, edge.port("smtps"), [
        "ehlo mta1", "mail from: alice", f"rcpt to: {recipient}", "data", "from: alice",
        f"to: {recipient}", "subject: without auth", "without auth", ".", "quit"])
    assert f"\n{code} 5.7.1 <{ALICE}>: Sender address rejected" in said
    assert "queued as" not in said


# ---- programs of others ----

def test_curl(edge, certs):
    for url, extra in ((f"smtp://{HOST}:{edge.port('submission')}", ["--ssl-reqd"]),
                       (f"smtps://{HOST}:{edge.port('submissions')}", [])):
        got = curl(certs, url, text(TEST1, "from curl"), "--user", f"{ALICE}:alice",
                   "--mail-from", ALICE, "--mail-rcpt", TEST1, *extra)
        assert got.returncode == 0, got.stderr
        edge.delivered(TEST1, re.search(rb"queued as (\w+)", got.stderr)[1].decode())


@pytest.mark.parametrize("service, tls", [("submission", "--tls"), ("submissions", "--tlsc")])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(edge, service, tls, mechanism):
    got = swaks(edge, service, tls, "--auth", mechanism, "--auth-user", ALICE,
                "--auth-password", "alice", "--from", ALICE, "--to", TEST1)
    assert got.returncode == 0, got.stdout
    edge.delivered(TEST1, re.search(r"250 2\.0\.0 Ok: queued as (\w+)", got.stdout)[1])


# ---- who may send what ----

def test_sender_that_the_login_does_not_own(edge, certs):
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        for sender in (TEST1, "alice@vm2.vm", "nobody@vm1.vm"):
            assert refused(client, f"MAIL FROM:<{sender}>") == (
                553, f"5.7.1 <{sender}>: Sender address rejected: not owned by user {ALICE}")
        assert client.mail("Alice@VM1.vm")[0] == 250  # case does not matter


def test_local_sender_without_login(edge, certs):
    with connect(certs, edge.port("smtp"), "none") as client:
        for sender in (ALICE, "nobody@vm1.vm", "alice"):
            code, reply = refused(client, f"MAIL FROM:<{sender}>")
            assert code == 553, sender
            assert reply.startswith("5.7.1 ") and "not logged in" in reply


def test_recipients_without_login(edge, certs):
    with connect(certs, edge.port("smtp"), "none") as client:
        assert client.mail("stranger@elsewhere.example")[0] == 250
        code, reply = client.rcpt("nobody@vm1.vm")
        assert code == 550 and reply.startswith(b"5.1.1 <nobody@vm1.vm>: ")
        for recipient in (BOB, "someone@elsewhere.example", "bob%vm2.vm@elsewhere.example"):
            code, reply = client.rcpt(recipient)
            assert (code, reply.decode()) == (554, f"5.7.1 <{recipient}>: Relay access denied")
        assert client.rcpt(TEST1)[0] == 250


def test_mail_from_outside(edge):
    for sender in ("stranger@elsewhere.example", ""):
        message_id = relay(edge, sender, TEST1, text(TEST1, "from outside", sender))
        edge.delivered(TEST1, message_id)


def test_a_user_writes_to_nobody(edge, certs):
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        assert client.mail(ALICE)[0] == 250
        assert client.rcpt("nobody@vm1.vm")[0] == 550
        assert client.rcpt("NOBODY")[0] == 550
        assert client.rcpt("Test1")[0] == 250


# ---- limits and faults ----

def test_message_size_limit(edge, certs):
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        assert client.esmtp_features["size"] == "100000"
        code, reply = refused(client, f"MAIL FROM:<{ALICE}> SIZE=100001")
        assert (code, reply) == (552, "5.3.4 Message size exceeds fixed limit")
        client.mail(ALICE)
        client.rcpt(TEST1)
        code, reply = client.data(text(TEST1) + b"x" * 70 + b"\r\n" + b"0123456789\r\n" * 9000)
        assert (code, reply) == (552, b"5.3.4 Error: message file too big")
        transact(client, ALICE, TEST1, text(TEST1, "behind it"))


@pytest.mark.parametrize("fault, text_of_fault", [
    (b"bare\nLF\r\n", b"bare <LF>"), (b"bare\rCR\r\n", b"bare <CR>"), (b"a NUL\0\r\n", b"NUL"),
    (b"smuggled\n.\r\nMAIL FROM:<alice@vm1.vm>\r\n", b"bare <LF>"),
    (b"smuggled\r\n.\nMAIL FROM:<alice@vm1.vm>\r\n", b"bare <LF>"),
    (b"smuggled\r\n.\rMAIL FROM:<alice@vm1.vm>\r\n", b"bare <CR>"),
])
def test_faults_of_the_message(edge, certs, fault, text_of_fault):
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        client.mail(ALICE)
        client.rcpt(TEST1)
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: bad\r\n\r\n" + fault + b"\r\n.\r\n")
        code, reply = client.getreply()
        assert code == 550 and text_of_fault in reply
        assert client.noop()[0] == 250  # one message, one reply


def test_commands_behind_starttls_are_dropped(edge, certs):
    """What was sent in the clear must not be obeyed as if it had come over TLS."""
    with socket.create_connection((HOST, edge.port("smtp")), PATIENCE_S) as s:
        lines = s.makefile("rb")
        assert lines.readline().startswith(b"220 ")
        s.sendall(b"EHLO client.example\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        s.sendall(b"STARTTLS\r\nMAIL FROM:<evil@elsewhere.example>\r\nRCPT TO:<test1>\r\n")
        assert lines.readline().startswith(b"220 ")
        with tls_context(certs).wrap_socket(s, server_hostname=HOST) as tls:
            lines = tls.makefile("rb")
            tls.sendall(b"NOOP\r\nRCPT TO:<test1>\r\nQUIT\r\n")
            assert [line[:3] for line in lines] == [b"250", b"503", b"221"]


# ---- the password file ----

def openssl_passwd(option):
    return subprocess.run(["openssl", "passwd", option, "secret"], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()


def doveadm_pw(scheme):
    return subprocess.run(["doveadm", "pw", "-s", scheme, "-p", "secret"], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()


def users_of_all_schemes():
    users = {
        "plain": "{PLAIN}secret", "lower": "{plain}secret", "clear": "{CLEARTEXT}secret",
        "sha512": "{SHA512-CRYPT}" + openssl_passwd("-6"),
        "sha256": "{SHA256-CRYPT}" + openssl_passwd("-5"),
        "md5": "{MD5-CRYPT}" + openssl_passwd("-1"),
        "crypt": "{CRYPT}" + openssl_passwd("-6"), "bare": openssl_passwd("-5"),
    }
    if shutil.which("doveadm"):
        for scheme in ("SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "PLAIN", "CRYPT"):
            users["dovecot-" + scheme.lower()] = doveadm_pw(scheme)
    return users


def can_login(edge, certs, user, password):
    with connect(certs, edge.port("submissions"), "implicit") as client:
        try:
            client.login(user, password)
            return True
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535
            return False


def test_schemes_of_the_password_file(site, certs):
    users = users_of_all_schemes()
    edge = site.edge(virtual_mailbox_maps="", users="# how people log in\n\n" + "".join(
        f"{name}@vm1.vm:{password}:5000:5000::/home/{name}::\n"
        for name, password in users.items()))
    for name in users:
        assert can_login(edge, certs, f"{name}@vm1.vm", "secret"), name
        assert not can_login(edge, certs, f"{name}@vm1.vm", "Secret"), name
        assert not can_login(edge, certs, f"{name}@vm1.vm", users[name]), name
    assert can_login(edge, certs, "PLAIN@VM1.VM", "secret")


def test_changed_password_file(site, certs):
    edge = site.edge()
    assert not can_login(edge, certs, ALICE, "new")
    mark = edge.server.mark()
    edge.write("users", "alice@vm1.vm:{PLAIN}new::::::\n")
    edge.wait_for("smtpd_sasl_passdb: has changed and was taken up", since=mark)
    assert can_login(edge, certs, ALICE, "new")
    assert not can_login(edge, certs, ALICE, "alice")
    assert not can_login(edge, certs, TEST1, "test1")

    mark = edge.server.mark()
    edge.write("users", "alice@vm1.vm:{PLAIN}newer::::::\ntest1@vm1.vm:{ROT13}grfg1\n")
    line = edge.wait_for("smtpd_sasl_passdb: .*ROT13", since=mark)
    assert "error: " in line and "users:2: " in line
    assert can_login(edge, certs, ALICE, "new")


def test_users_without_mailbox_map(site, certs):
    """Each user of the password file has domain/local-part/."""
    edge = site.edge(virtual_mailbox_maps="")
    edge.delivered(TEST1, submit(certs, edge, ALICE, TEST1))
    assert len(edge.mailbox(TEST1)) == 1
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        client.mail(ALICE)
        assert client.rcpt("nobody@vm1.vm")[0] == 550
