"""Sessions of clients who are quick, slow, rude or gone, and what TLS a server takes."""

import contextlib
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from clients import HOST, connect, text, transact
from server import PATIENCE_S

SENDER, RECIPIENT = "alice@vm1.vm", "a@vm2.vm"


@pytest.fixture(scope="module")
def sink(shared_site):
    return shared_site.peer()


@pytest.fixture(scope="module")
def hub(shared_site, sink):
    return shared_site.hub(f"* relay:{HOST}:{sink.port} tls=none\n")


def replies(said):
    """The codes of whole replies in what a server said."""
    return [line[:3].decode() for line in said.split(b"\r\n") if line[3:4] == b" "]


def read_all(s):
    return b"".join(iter(lambda: s.recv(65536), b""))


# ---- how bytes come ----

def test_many_messages_in_one_write(hub, sink):
    """All ahead of the replies, and the connection half closed behind them."""
    before, count = len(sink.messages), 50
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.sendall(b"EHLO client.example\r\n" + b"".join(
            b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: %d\r\n\r\n..%d\r\n.\r\n" % (
                SENDER.encode(), RECIPIENT.encode(), i, i) for i in range(count)) + b"QUIT\r\n")
        s.shutdown(socket.SHUT_WR)
        said = read_all(s)
    assert replies(said) == ["220", "250"] + ["250", "250", "354", "250"] * count + ["221"]
    sink.wait_for_messages(before + count)
    ids = set(re.findall(rb"queued as (\w+)", said))
    assert len(ids) == count
    got = [m.body for m in sink.messages[before:]]
    assert sorted(int(re.search(rb"\r\n\r\n\.(\d+)\r\n$", body)[1]) for body in got) == list(
        range(count))


def test_byte_by_byte(hub, sink):
    before = len(sink.messages)
    dialogue = (f"EHLO client.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\n"
                "DATA\r\nSubject: slow\r\n\r\n..\r\n.x\r\n.\r\nQUIT\r\n").encode()
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(dialogue)):
            s.sendall(dialogue[i:i + 1])
        assert replies(read_all(s)) == ["220", "250", "250", "250", "354", "250", "221"]
    assert sink.wait_for_messages(before + 1)[-1].body.endswith(b"\r\n\r\n.\r\nx\r\n")


def test_gone_before_the_reply(hub, sink):
    """Behind the final dot the message is ours, whether or not anybody waits for the 250."""
    before = len(sink.messages)
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.sendall(f"EHLO client.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\n"
                  "DATA\r\nSubject: gone\r\n\r\ngone\r\n.\r\n".encode())
    assert sink.wait_for_messages(before + 1)[-1].body.endswith(b"gone\r\n")


@pytest.mark.parametrize("size", [100, 300000])
def test_gone_in_the_message(site, size):
    """Without its final dot a message is none; nothing of it stays."""
    hub = site.hub("* discard:\n")
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.sendall(f"EHLO client.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\n"
                  "DATA\r\nSubject: half\r\n\r\n".encode() + b"0123456789\r\n" * (size // 12))
    hub.wait_for("lost connection after DATA from ")
    hub.stop()
    assert hub.queue() == []
    assert hub.bodies() == []
    assert "queue active" not in hub.server.log()


# ---- limits ----

def test_silence_ends_a_session(site):
    hub = site.hub(smtpd_timeout="1s")
    with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
        s.sendall(b"EHLO client.example\r\nMAIL FR")
        assert read_all(s).endswith(b"\r\n421 4.4.2 Error: timeout exceeded\r\n")
    hub.wait_for("timeout after EHLO from unknown")


def test_connections_of_one_client(site):
    hub = site.hub(smtpd_client_connection_count_limit=3, workers=2)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(site.certs, hub.port(), "none"))
        with socket.create_connection((HOST, hub.port()), PATIENCE_S) as s:
            assert read_all(s).startswith(b"421 4.7.0 ")
    hub.wait_for("warning: Connection concurrency limit exceeded: 3 from ")


def test_recipient_limit(site, certs):
    hub = site.hub("* discard:\n", smtpd_recipient_limit=3)
    with connect(certs, hub.port(), "none") as client:
        client.mail(SENDER)
        codes = [client.rcpt(f"a{i}@vm2.vm")[0] for i in range(5)]
        assert codes == [250, 250, 250, 452, 452]
        assert client.data(text(RECIPIENT))[0] == 250


def test_very_long_lines(hub, certs):
    with connect(certs, hub.port(), "none") as client:
        assert client.docmd("NOOP " + "x" * 1000000)[0] == 500
        assert client.noop()[0] == 250


def test_many_errors_end_a_session(hub, certs):
    with connect(certs, hub.port(), "none") as client:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            for _ in range(1000):
                assert client.docmd("NONSENSE")[0] in (500, 421)


# ---- TLS of the server ----

@pytest.mark.parametrize("level, is_offered, code", [
    ("none", False, 250), ("may", True, 250), ("encrypt", True, 530)])
def test_server_levels(site, certs, level, is_offered, code):
    hub = site.hub("* discard:\n", smtpd_tls_security_level=level)
    with connect(certs, hub.port(), "none") as client:
        assert client.has_extn("starttls") == is_offered
        assert client.docmd(f"MAIL FROM:<{SENDER}>")[0] == code
        if not is_offered:
            assert client.docmd("STARTTLS")[0] in (502, 503)
    with connect(certs, hub.port("smtps"), "implicit") as client:
        assert not client.has_extn("starttls")
        assert client.docmd("STARTTLS")[0] in (502, 503, 554)
        transact(client, SENDER, RECIPIENT, text(RECIPIENT))


def handshake(host, *arguments):
    """openssl s_client with settings of its own; returns what it printed."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{host.port('smtps')}", *arguments],
        stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace", check=False, timeout=PATIENCE_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


@pytest.mark.parametrize("arguments, protocol", [
    (["-tls1_3"], "TLSv1.3"), (["-tls1_2"], "TLSv1.2"),
    (["-tls1_2", "-groups", "P-256"], "TLSv1.2"), (["-tls1_3", "-groups", "P-384"], "TLSv1.3"),
    (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "TLSv1.3"),
])
def test_tls_that_is_taken(hub, arguments, protocol):
    mark = hub.server.mark()
    assert f"New, {protocol}, Cipher is " in handshake(hub, *arguments)
    hub.wait_for(f"TLS connection established from .*: {protocol} with cipher ", since=mark)


@pytest.mark.parametrize("arguments", [
    ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "NULL:eNULL:aNULL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"],
])
def test_tls_that_is_refused(hub, arguments):
    mark = hub.server.mark()
    assert "Cipher is (NONE)" in handshake(hub, *arguments)
    hub.wait_for("SSL_accept error from unknown", since=mark)


def test_clear_text_on_a_tls_port(hub):
    """A reply would be read by nobody; but the log says what came."""
    mark = hub.server.mark()
    with socket.create_connection((HOST, hub.port("smtps")), PATIENCE_S) as s:
        s.sendall(b"EHLO client.example\r\n")
        read_all(s)
    assert '"EHLO client.example"' in hub.wait_for("SSL_accept error from unknown", since=mark)


def test_sessions_are_resumed(hub, certs):
    """Tickets are given, and taken on another connection, whichever worker has it."""
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for i in range(6):
        with socket.create_connection((HOST, hub.port("smtps")), PATIENCE_S) as s:
            with context.wrap_socket(s, server_hostname=HOST, session=session) as tls:
                assert tls.recv(3) == b"220"
                assert tls.session_reused == (i > 0)
                session = tls.session
