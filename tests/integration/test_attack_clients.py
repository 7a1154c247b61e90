"""Clients that mean harm, or do not know what they do: the server lives, and serves the others."""

import resource
import socket
import ssl
import struct

import pytest

from clients import HOST, connect, tls_context, transact, text
from server import PATIENCE_S

SERVICES = ("smtp", "smtps", "submission", "submissions")
ALICE, TEST1 = "alice@vm1.vm", "test1@vm1.vm"

STAGES = {
    "connect": b"",
    "ehlo": b"EHLO x\r\n",
    "half a command": b"EHLO x\r\nMAIL FROM:<a@vm",
    "starttls": b"EHLO x\r\nSTARTTLS\r\n",
    "half a hello of TLS": b"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01\x02\x00\x01",
    "auth": b"EHLO x\r\nAUTH PLAIN\r\n",
    "mail": b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\n",
    "rcpt": b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\n",
    "data": b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\nDATA\r\n",
    "half a message":
        b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\nDATA\r\nSubject: x\r\n\r\nab",
    "half a large message":
        b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\nDATA\r\n" +
        b"0123456789\r\n" * 50000,
    "half a dot":
        b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\nDATA\r\nx\r\n.\r",
}

GARBAGE = {
    "zeros": bytes(100000),
    "line without end": b"A" * 1000000,
    "lines": b"\n" * 5000,
    "carriage returns": b"\r" * 5000,
    "high bytes": bytes(range(128, 256)) * 1000,
    "http": b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n",
    "hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "huge record": b"\x16\x03\x01\xff\xff" + b"\xff" * 70000,
    "record of no bytes": b"\x16\x03\x03\x00\x00" * 1000,
    "alerts": b"\x15\x03\x03\x00\x02\x01\x00" * 1000,
    "starttls and lines": b"EHLO x\r\nSTARTTLS\r\nEHLO y\r\nMAIL FROM:<a@b>\r\n",
    "starttls and zeros": b"EHLO x\r\nSTARTTLS\r\n" + bytes(1000),
    "base64 without end": b"EHLO x\r\nAUTH PLAIN " + b"A" * 100000,
    "auth for ever": b"EHLO x\r\n" + b"AUTH LOGIN\r\nAAAA\r\nAAAA\r\n" * 200,
    "noop for ever": b"NOOP\r\n" * 10000,
    "rset for ever": b"RSET\r\n" * 10000,
    "mail for ever": b"EHLO x\r\n" + b"MAIL FROM:<a@vm2.vm>\r\nRSET\r\n" * 5000,
    "recipients for ever":
        b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\n" + b"RCPT TO:<alice@vm1.vm>\r\n" * 5000,
    "all at once, and garbage":
        b"EHLO x\r\nMAIL FROM:<a@vm2.vm>\r\nRCPT TO:<alice@vm1.vm>\r\nDATA\r\nx\r\n.\r\n\x00\xff" * 50,
}


@pytest.fixture(scope="module")
def edge(shared_site):
    return shared_site.edge(smtpd_client_connection_count_limit=0)


def dial(edge, service="smtp"):
    return socket.create_connection((HOST, edge.port(service)), PATIENCE_S)


def reset(connection):
    """Vanish: the server's kernel learns of it by a reset, and not in order."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection):
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def still_serves(edge, certs):
    for service, tls in (("submission", "starttls"), ("submissions", "implicit")):
        with connect(certs, edge.port(service), tls, user=ALICE) as client:
            message_id = transact(client, ALICE, TEST1, text(TEST1))
        edge.removed(message_id)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("stage", STAGES)
def test_vanish(edge, certs, stage, end):
    """Without waiting for replies, and after the first one."""
    for waits in (False, True):
        for _ in range(5):
            connection = dial(edge)
            if waits:
                connection.recv(100)
            connection.sendall(STAGES[stage])
            if waits and b"\r\n" in STAGES[stage]:
                connection.recv(100)
            if end == "reset":
                reset(connection)
            else:
                connection.close()
    still_serves(edge, certs)


@pytest.mark.parametrize("stage", [s for s in STAGES if b"STARTTLS" not in STAGES[s]])
def test_vanish_inside_tls(edge, certs, stage):
    for farewell in (False, True):
        connection = dial(edge, "smtps")
        client = tls_context(certs).wrap_socket(connection, server_hostname=HOST)
        client.sendall(STAGES[stage])
        if farewell:
            client.close()
        else:
            reset(client)
    still_serves(edge, certs)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage(edge, certs, service, kind):
    """Each ends with the connection closed by the server, or half-closed by us and then by it."""
    connection = dial(edge, service)
    try:
        connection.sendall(GARBAGE[kind])
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has hung up in the middle of it
    reply = read_all(connection)
    connection.close()
    if service in ("smtp", "submission") and reply:
        assert reply.startswith(b"220 ")
    still_serves(edge, certs)


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_inside_tls(edge, certs, kind):
    client = tls_context(certs).wrap_socket(dial(edge, "smtps"), server_hostname=HOST)
    try:
        client.sendall(GARBAGE[kind])
        client.sendall(b"\r\n.\r\nQUIT\r\n")
        while client.recv(65536):
            pass
    except (OSError, ssl.SSLError):
        pass
    client.close()
    still_serves(edge, certs)


def test_nothing_behind_starttls(edge, certs):
    """What was sent in the clear behind STARTTLS is not served inside of TLS."""
    connection = dial(edge)
    connection.recv(100)
    connection.sendall(b"EHLO x\r\nSTARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@vm2.vm>\r\n")
    data = b""
    while b"\r\n220 " not in data:
        data += connection.recv(4096)
    assert data.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    try:
        client = tls_context(certs).wrap_socket(connection, server_hostname=HOST)
    except OSError:
        return  # the clear lines were taken for TLS, and that was that
    client.sendall(b"RCPT TO:<alice@vm1.vm>\r\nNOOP\r\n")
    reply = b""
    while reply.count(b"\r\n") < 2:
        reply += client.recv(4096)
    assert reply.startswith(b"503 ") and b"\r\n250 " in reply
    client.close()


def test_a_thousand_connections(edge, certs):
    """Idle ones, and others in the middle of a handshake or a message, beside one that works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2500:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    starts = list(STAGES.values())
    connections = []
    for i in range(1000):
        connection = dial(edge, SERVICES[i % 4])
        connection.sendall(starts[i // 4 % len(starts)][:2000])
        connections.append(connection)
    still_serves(edge, certs)
    for i, connection in enumerate(connections):
        reset(connection) if i % 2 else connection.close()
    still_serves(edge, certs)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connection_limit(site, certs):
    edge = site.edge(smtpd_client_connection_count_limit=3)
    held = [dial(edge) for _ in range(3)]
    for connection in held:
        assert connection.recv(100).startswith(b"220 ")
    with dial(edge) as one_more:
        assert read_all(one_more).startswith(b"421 4.7.0 ")
    with dial(edge, "smtps") as one_more:
        assert read_all(one_more) == b""
    edge.wait_for(r"limit exceeded: 3 from unknown\[127.0.0.1\] for service smtps")
    for connection in held:
        mark = edge.server.mark()
        reset(connection)
        edge.wait_for(r"disconnect from unknown\[127.0.0.1\] commands=0/0", since=mark)
    still_serves(edge, certs)


ADDRESSES = [
    # address, code
    ('"a b"@example', 250),
    ('"a\\"b"@example', 250),
    ('"a@b"@example', 554),  # a route, for some
    ("a" * 64 + "@example", 250),
    ("a" * 64 + "@" + "b" * 60 + ".example", 250),
    ("a@" + ".".join(["b" * 60] * 5) + ".example", 501),
    ("a" * 600 + "@example", 501),
    ("\u00fc@example", 553),
    ("a@\u00fc.example", 553),
    ("a\x01b@example", 500),
    ('"a\x01b"@example', 500),
    ('"a\x7fb"@example', 500),
    ("a\x00b@example", 500),
    ('"a\tb"@example', 501),
    ("a..b@example", 250),
    ("a@[127.0.0.1]", 554),
    ("a@-example", 554),
    ("a@example..example", 501),
    ("../../etc/passwd@example", 250),
    ("|/bin/sh@example", 250),
    ("a%b@example", 554),
    ("b!a@example", 554),
    ("a@b@example", 501),
    ("<a@example", 501),
    ("a@example> SIZE=1", 555),
]


@pytest.mark.parametrize("address, code", ADDRESSES)
def test_addresses(site, address, code):
    """Strange ones are taken or refused, and those that are taken arrive as they were."""
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", relay_domains="example, .example")
    with socket.create_connection((HOST, hub.port("smtp")), PATIENCE_S) as connection:
        stream = connection.makefile("rwb")
        stream.readline()
        for command in (b"HELO x", b"MAIL FROM:<a@vm1.vm>"):
            stream.write(command + b"\r\n")
            stream.flush()
            assert stream.readline().startswith(b"250 ")
        stream.write(b"RCPT TO:<" + address.encode() + b">\r\n")
        stream.flush()
        reply = stream.readline()
        assert reply.startswith(str(code).encode()), reply
        assert all(32 <= byte < 127 for byte in reply[:-2])
        if code == 250:
            stream.write(b"DATA\r\n")
            stream.flush()
            assert stream.readline().startswith(b"354 ")
            stream.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
            stream.flush()
            assert stream.readline().startswith(b"250 ")
            (message,) = peer.wait_for_messages(1)
            sent = [line for line in message.session.commands if line.startswith("RCPT")]
            assert sent == [f"RCPT TO:<{address}>"]
