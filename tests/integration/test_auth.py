"""AUTH as a server: mechanisms, who is offered them, and those who guess."""

import base64
import hashlib
import hmac
import os
import re
import shutil
import smtplib
import socket
import ssl
import struct

import pytest

from clients import HOST, connect, curl, relay, swaks, text, tls_context, transact
from sasl_server import can_export, tls_exporter
from server import PATIENCE_S

ALICE, TEST1 = "alice@vm1.vm", "test1@vm1.vm"
EVERYTHING = "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"
PLUS = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"


def scram_secret(name, password, iterations=4096):
    """As Dovecot and we store it."""
    digest = name[6:].replace("-", "").lower()
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client_key = hmac.new(salted, b"Client Key", digest).digest()
    keys = [salt, hashlib.new(digest, client_key).digest(),
            hmac.new(salted, b"Server Key", digest).digest()]
    return f"{{{name}}}{iterations}," + ",".join(base64.b64encode(k).decode() for k in keys)


class Tls:
    """What sasl_server.tls_exporter() asks for."""

    def __init__(self, client):
        self.tls = client.sock


def scram(client, name, user, password, binding=None, flag="n"):
    """The code of the answer; the server must have proved itself before it is 235."""
    digest = name[6:].replace("-PLUS", "").replace("-", "").lower()
    flag = "p=tls-exporter" if binding is not None else flag
    nonce = base64.b64encode(os.urandom(12)).decode()
    bare = f"n={user},r={nonce}"
    code, reply = client.docmd(
        "AUTH", f"{name} " + base64.b64encode(f"{flag},,{bare}".encode()).decode())
    if code != 334:
        return code
    first = base64.b64decode(reply).decode()
    fields = dict(field.split("=", 1) for field in first.split(","))
    assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields["s"]),
                                 int(fields["i"]))

    def sign(key, message):
        return hmac.new(key, message.encode(), digest).digest()

    bound = base64.b64encode(f"{flag},,".encode() + (binding or b"")).decode()
    without_proof = f"c={bound},r={fields['r']}"
    key = sign(salted, "Client Key")
    message = f"{bare},{first},{without_proof}"
    signature = sign(hashlib.new(digest, key).digest(), message)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    code, reply = client.docmd(base64.b64encode(f"{without_proof},p={proof}".encode()).decode())
    if code != 334:
        return code
    assert base64.b64decode(reply).decode() == "v=" + base64.b64encode(
        sign(sign(salted, "Server Key"), message)).decode()
    return client.docmd("")[0]


@pytest.fixture(scope="module")
def edge(shared_site):
    return shared_site.edge(smtpd_sasl_local_domain="$mydomain")


def offered(client):
    return client.esmtp_features.get("auth", "").strip()


def test_what_is_offered(edge, certs):
    with connect(certs, edge.port("submission"), tls="none") as client:
        assert not client.has_extn("auth")
        assert client.docmd("AUTH PLAIN AGEAYg==")[0] == 530
    with connect(certs, edge.port("submission")) as client:
        assert offered(client) in (PLUS, EVERYTHING)
        assert offered(client) == PLUS or client.sock.version() != "TLSv1.3"
    with connect(certs, edge.port("smtps"), "implicit") as client:
        assert offered(client) in (PLUS, EVERYTHING)


def test_tls_1_2_has_nothing_to_bind_to(edge, certs):
    context = tls_context(certs)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with smtplib.SMTP_SSL(HOST, edge.port("smtps"), "client.example", timeout=PATIENCE_S,
                          context=context) as client:
        client.ehlo()
        assert client.sock.version() == "TLSv1.2"
        assert offered(client) == EVERYTHING
        assert client.docmd("AUTH SCRAM-SHA-256-PLUS =")[0] == 504
        assert scram(client, "SCRAM-SHA-256", ALICE, "alice", flag="y") == 235


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("user", [ALICE, "alice"])
def test_smtplib(edge, certs, mechanism, user):
    mark = edge.server.mark()
    with connect(certs, edge.port("submission")) as client:
        client.user, client.password = user, "alice"
        method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
        assert client.auth(mechanism, method, initial_response_ok=mechanism == "PLAIN")[0] == 235
        message_id = transact(client, ALICE, TEST1, text(TEST1))
    edge.wait_for(f"{message_id}: client=.*, sasl_method={mechanism}, sasl_username={ALICE}$",
                  since=mark)


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram(edge, certs, name):
    mark = edge.server.mark()
    with connect(certs, edge.port("submission")) as client:
        assert scram(client, name, ALICE, "wrong") == 535
        edge.wait_for(f"SASL {name} authentication failed: .*, sasl_username={ALICE}", since=mark)
        assert scram(client, name, "nobody@vm1.vm", "alice") == 535
        edge.wait_for(f"SASL {name} authentication failed: .*, sasl_username=nobody@vm1.vm",
                      since=mark)
        # An offer that was taken away on the way (RFC 5802 section 6).
        if "PLUS" in offered(client):
            assert scram(client, name, ALICE, "alice", flag="y") == 535
        assert scram(client, name, "alice", "alice") == 235
        transact(client, ALICE, TEST1, text(TEST1))


@pytest.mark.skipif(not can_export(), reason="this Python's OpenSSL does not tell tls-exporter")
@pytest.mark.parametrize("name", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_scram_plus(edge, certs, name):
    with connect(certs, edge.port("submission")) as client:
        binding = tls_exporter(Tls(client))
        assert name in offered(client).split()
        assert scram(client, name, ALICE, "alice", bytes(32)) == 535
        assert scram(client, name, ALICE, "wrong", binding) == 535
        assert scram(client, name, ALICE, "alice", binding) == 235


@pytest.mark.parametrize("arguments", [["PLAIN"], ["LOGIN"], ["CRAM-MD5"]])
def test_swaks(edge, arguments):
    if not shutil.which("swaks"):
        pytest.skip("swaks is not installed")
    got = swaks(edge, "submission", "--tls", "--auth", *arguments, "--auth-user", ALICE,
                "--auth-password", "alice", "--from", ALICE, "--to", TEST1)
    if "Auth not attempted" in got.stdout or "NO_SUCH_MODULE" in got.stdout:
        pytest.skip("swaks lacks a module for it")
    assert got.returncode == 0, got.stdout


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_curl(edge, certs, mechanism):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    got = curl(certs, f"smtp://{HOST}:{edge.port('submission')}/client.example", text(TEST1),
               "--ssl-reqd", "--user", f"{ALICE}:alice", "--login-options", f"AUTH={mechanism}",
               "--mail-from", ALICE, "--mail-rcpt", TEST1)
    assert got.returncode == 0, got.stderr.decode()
    assert f"AUTH {mechanism}".encode() in got.stderr


def test_curl_with_sasl_ir(edge, certs):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    for mechanism in ("PLAIN", "LOGIN"):
        got = curl(certs, f"smtps://{HOST}:{edge.port('smtps')}/client.example", text(TEST1),
                   "--sasl-ir", "--user", f"{ALICE}:alice", "--login-options",
                   f"AUTH={mechanism}", "--mail-from", ALICE, "--mail-rcpt", TEST1)
        assert got.returncode == 0, got.stderr.decode()


def test_the_stored_password_decides(site, certs):
    site_users = f"{ALICE}:{scram_secret('SCRAM-SHA-256', 'alice')}\n"
    edge = site.edge(users=site_users, smtpd_sasl_mechanism_filter="!scram-sha-256-plus, static:all",
                     broken_sasl_auth_clients="yes")
    with connect(certs, edge.port("submission")) as client:
        assert b"AUTH SCRAM-SHA-256 PLAIN LOGIN\n" in client.ehlo()[1] + b"\n"
        assert b"AUTH=SCRAM-SHA-256 PLAIN LOGIN" in client.ehlo_resp
        assert client.docmd("AUTH CRAM-MD5")[0] == 504
        # No offer of -PLUS: who could bind and heard of none is right.
        assert scram(client, "SCRAM-SHA-256", ALICE, "alice", flag="y") == 235
    with connect(certs, edge.port("submission"), user=ALICE):
        pass


def test_without_plaintext_and_without_auth(site, certs):
    edge = site.edge(smtpd_sasl_tls_security_options="noanonymous, noplaintext")
    with connect(certs, edge.port("submission")) as client:
        assert not {"PLAIN", "LOGIN"} & set(offered(client).split())
        assert client.docmd("AUTH PLAIN AGEAYg==")[0] == 504
    listen = f"smtp://{HOST}:{site.port()}"
    edge = site.edge(smtpd_sasl_auth_enable="no", listen=listen)
    with connect(certs, edge.port("smtp")) as client:
        assert not client.has_extn("auth")
        assert client.docmd("AUTH PLAIN AGEAYg==")[0] == 503


def test_in_the_clear(site, certs):
    """Where the operator wants it; and then not the password itself."""
    edge = site.edge(smtpd_tls_auth_only="no", smtpd_sasl_security_options="noplaintext",
                     smtpd_sasl_tls_security_options="noanonymous")
    with connect(certs, edge.port("smtp"), tls="none") as client:
        assert offered(client) == "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"
        assert client.docmd("AUTH PLAIN AGEAYg==")[0] == 504
        assert scram(client, "SCRAM-SHA-256", ALICE, "alice") == 235
    with connect(certs, edge.port("smtp")) as client:
        assert offered(client) in (PLUS, EVERYTHING)


def test_login_by_certificate(site, certs):
    edge = site.edge(smtpd_tls_ask_ccert="yes", smtpd_sasl_mechanism_filter="external, plain")
    with connect(certs, edge.port("submission")) as client:
        assert offered(client) == "PLAIN"
    with connect(certs, edge.port("submission"), certificate="edge") as client:
        assert "EXTERNAL" in offered(client)  # it has a name, though no account has it
        assert client.docmd("AUTH EXTERNAL =")[0] == 535
    with connect(certs, edge.port("submission"), certificate="person") as client:
        assert offered(client) == "PLAIN EXTERNAL"
        bob = base64.b64encode(b"bob@vm1.vm").decode()
        assert client.docmd(f"AUTH EXTERNAL {bob}")[0] == 535
        assert client.docmd("AUTH EXTERNAL")[0] == 334
        assert client.docmd("")[0] == 235
        message_id = transact(client, ALICE, TEST1, text(TEST1))
        assert client.mail(TEST1)[0] == 553
    edge.wait_for(f"{message_id}: client=.*, sasl_method=EXTERNAL, sasl_username={ALICE}")
    with connect(certs, edge.port("submission"), certificate="stranger") as client:
        assert offered(client) == "PLAIN"


def guess(client, user, password):
    token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    return client.docmd("AUTH", f"PLAIN {token}")


def test_who_guesses_waits(site, certs):
    """The waiting itself is tested with a clock of its own; here, that it is there, and for whom."""
    edge = site.edge(smtpd_sasl_failure_delay_limit="60s")
    with connect(certs, edge.port("submission"), user=ALICE):
        pass
    mark = edge.server.mark()
    with connect(certs, edge.port("submission")) as client:
        for _ in range(4):
            assert guess(client, TEST1, "wrong") == (535, b"5.7.8 Error: authentication failed")
    pattern = r"warning: unknown\[127\.0\.0\.1\]: SASL PLAIN authentication failed: .*, " \
              f"sasl_username={TEST1}"
    edge.wait_for(pattern, since=mark)
    assert len(re.findall(pattern, edge.server.log())) == 4
    # More of them wait, one behind the other, and one that gives up leaves nothing behind.
    token = base64.b64encode(f"\0{TEST1}\0wrong".encode()).decode()
    waiting = [connect(certs, edge.port("submission")) for _ in range(20)]
    for client in waiting:
        client.putcmd("AUTH", f"PLAIN {token}")
    waiting.pop(3).close()
    edge.wait_for(r"unknown\[127\.0\.0\.1\]: SASL PLAIN login waits \d+s after failures, "
                  f"sasl_username={TEST1}", since=mark)
    # Who is known here does not wait for the others behind this address.
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        transact(client, ALICE, TEST1, text(TEST1))
    edge.stop()  # which does not wait for them
    replies = [client.getreply() for client in waiting]
    assert replies[-1] == (454, b"4.7.0 Error: ended before it was judged")
    assert {code for code, _ in replies} <= {535, 454}


@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_waits_and_leaves(site, certs, how):
    """Its session goes at once, and with it its place among the connections of its address."""
    edge = site.edge(smtpd_sasl_failure_delay_limit="60s")
    with connect(certs, edge.port("submission")) as client:
        for _ in range(4):
            guess(client, TEST1, "wrong")
    clients = [connect(certs, edge.port("submission")) for _ in range(40)]
    tokens = [base64.b64encode(f"\0{user}\0wrong".encode()).decode()
              for user in ("guess@vm1.vm", "last@vm1.vm")]
    for client in clients[:-1]:
        client.send(f"AUTH PLAIN {tokens[0]}\r\n")
    edge.wait_for(r"SASL PLAIN login waits [1-9]\ds")
    last = clients[-1]
    # A second attempt, that is there already when it leaves, does not wait either.
    last.send(f"AUTH PLAIN {tokens[1]}\r\nNOOP\r\nAUTH PLAIN {tokens[1]}\r\n")
    edge.wait_for(r"SASL PLAIN login waits [1-9]\ds .*sasl_username=last@vm1\.vm")
    mark = edge.server.mark()
    if how == "reset":
        last.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    last.close()
    edge.wait_for("Error: ended before it was judged, sasl_username=last@vm1.vm", since=mark)
    edge.wait_for("disconnect from ", since=mark)
    edge.stop()
    for client in clients:
        client.close()


def test_our_own_client(site, certs):
    """An edge that sends through another by its users' submission, bound to its TLS session."""
    server = site.edge(smtpd_sasl_local_domain="vm1.vm", users=f"{ALICE}:"
                       + scram_secret("SCRAM-SHA-256", "a secret") + "\n" + f"{TEST1}:"
                       + scram_secret("SCRAM-SHA-256", "test1") + "\n")
    port = server.port("submission")
    hub = site.hub(f"* relay:[{HOST}]:{port} tls=verify match=hub.example\n",
                   {"passwords": f"[{HOST}]:{port} alice:a secret\n"},
                   smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:passwords")
    hub.delivered(TEST1, relay(hub, ALICE, TEST1))
    line = hub.wait_for("logged in to ")
    assert re.search(r"by SCRAM-SHA-256(-PLUS)?, sasl_username=alice", line)
    server.wait_for(rf"client=.*, sasl_method=SCRAM-SHA-256(-PLUS)?, sasl_username={ALICE}")
    assert "SCRAM-SHA-256-PLUS" in line or not can_export()


def test_a_wrong_password_of_ours(site, certs):
    server = site.edge(users=f"{ALICE}:{scram_secret('SCRAM-SHA-256', 'right')}\n")
    port = server.port("submission")
    hub = site.hub(f"* relay:[{HOST}]:{port} tls=verify match=hub.example\n",
                   {"passwords": f"[{HOST}]:{port} {ALICE}:wrong\n"},
                   smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:passwords")
    relay(hub, ALICE, TEST1)
    hub.wait_for(r"SASL authentication failed; server .* said: 535 .*sasl_username=alice@vm1\.vm")


def test_lines(edge, certs):
    """RFC 4954: '*', '=', what is no base64, what is too long, and the end of a session amid all."""
    with connect(certs, edge.port("submission")) as client:
        assert client.docmd("AUTH LOGIN")[0] == 334
        assert client.docmd("*") == (501, b"5.7.0 Authentication aborted")
        assert client.docmd("AUTH PLAIN =")[0] == 501
        assert client.docmd("AUTH CRAM-MD5 YQ==")[0] == 501
        assert client.docmd("AUTH PLAIN !!!!")[0] == 501
        assert client.docmd("AUTH SCRAM-SHA-256")[0] == 334
        assert client.docmd("A" * 12284)[0] == 501
        assert client.docmd("AUTH SCRAM-SHA-256")[0] == 334
        assert client.docmd("A" * 13000)[0] == 500
        assert client.docmd("NOOP")[0] == 250
        assert client.login(ALICE, "alice")[0] == 235
        assert client.docmd("AUTH PLAIN")[0] == 503
    with connect(certs, edge.port("submission")) as client:
        assert client.docmd("AUTH SCRAM-SHA-256")[0] == 334
        client.close()
    with connect(certs, edge.port("submission")) as client, \
            pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("nobody", "nothing")
