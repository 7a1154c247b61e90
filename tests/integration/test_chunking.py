"""BDAT (RFC 3030) by a raw client, binary messages, REQUIRETLS, and extensions switched off."""

import base64
import email
import random
import re
import socket

import pytest

from clients import HOST, tls_context
from server import PATIENCE_S

SENDER, RECIPIENT = "alice@vm1.vm", "a@vm2.vm"
HEADER = b"Subject: chunks\r\nX-Dots: .\r\n\r\n"


class Raw:
    """A client that says just what it is told; replies are whole ones, as text."""

    def __init__(self, port, context=None):
        self._socket = socket.create_connection((HOST, port), PATIENCE_S)
        if context:
            self._socket = context.wrap_socket(self._socket, server_hostname=HOST)
        self._file = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def send(self, *pieces):
        self._socket.sendall(b"".join(p if isinstance(p, bytes) else p.encode() + b"\r\n"
                                      for p in pieces))

    def reply(self):
        lines = []
        while not lines or lines[-1][3:4] == "-":
            line = self._file.readline().decode()
            assert line.endswith("\r\n"), f"the server hung up behind {lines + [line]}"
            lines.append(line[:-2])
        return "\n".join(lines)

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def ask(self, *pieces):
        self.send(*pieces)
        return self.reply()

    def at_end(self):
        return self._file.read() == b""

    def begin(self, parameters="", recipients=(RECIPIENT,)):
        """Up to the message."""
        assert self.ask(f"MAIL FROM:<{SENDER}>{parameters}").startswith("250 ")
        for recipient in recipients:
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250 ")


def greeted(host, service="smtp", context=None):
    raw = Raw(host.port(service), context)
    assert raw.reply().startswith("220 ")
    extensions = raw.ask("EHLO client.example")
    assert extensions.startswith("250")
    raw.extensions = [line[4:] for line in extensions.split("\n")[1:]]
    return raw


def queued(reply):
    found = re.fullmatch(r"250 2\.0\.0 Ok: queued as (\w+)", reply)
    assert found, reply
    return found[1]


def body_of(message):
    """What the client sent, without our own trace header."""
    return message[message.index(b"Subject: "):]


@pytest.fixture(scope="module")
def sink(shared_site):
    return shared_site.peer()


@pytest.fixture(scope="module")
def hub(shared_site, sink):
    return shared_site.hub(f"* relay:{HOST}:{sink.port} tls=none\n", message_size_limit="45M")


def in_chunks(message, rng, most):
    """As BDAT commands with their octets; the last is sometimes empty."""
    while message:
        size = min(rng.randint(1, most), len(message))
        chunk, message = message[:size], message[size:]
        is_last = not message and rng.random() < 0.7
        yield b"BDAT %d%s\r\n" % (size, b" LAST" if is_last else b"") + chunk
        if not message and not is_last:
            yield b"BDAT 0 LAST\r\n"


def test_many_messages_in_chunks_in_one_flight(hub, sink):
    """Chunks end anywhere; what looks like the end, or like commands, is text."""
    rng = random.Random(3030)
    lines = [b".", b"..", b"", b"QUIT", b"RSET", b"x" * 998, b"\xff\xfe", b". ", b"BDAT 5 LAST"]
    before, flight, count, sent = len(sink.messages), b"", 0, []
    for i in range(30):
        message = HEADER + b"%d\r\n" % i + b"".join(
            rng.choice(lines) + b"\r\n" for _ in range(rng.randint(0, 30)))
        chunks = list(in_chunks(message, rng, rng.choice([3, 100, 5000])))
        flight += b"MAIL FROM:<%s> BODY=8BITMIME\r\nRCPT TO:<%s>\r\n" % (
            SENDER.encode(), RECIPIENT.encode()) + b"".join(chunks)
        count += 2 + len(chunks)
        sent.append(message)
    with greeted(hub) as raw:
        raw.send(flight)
        got = raw.replies(count)
        assert all(reply.startswith("250 ") for reply in got)
        assert sum("queued as" in reply for reply in got) == len(sent)
        assert raw.ask("QUIT").startswith("221 ")
    sink.wait_for_messages(before + len(sent))
    assert sorted(body_of(m.body) for m in sink.messages[before:]) == sorted(sent)


def test_40_mib(hub, sink):
    """A large message, in two chunks with the longest of lines; and one octet more than may be."""
    before = len(sink.messages)
    line = b"0123456789abcdef" * 62 + b"\r\n"
    message = HEADER + line * (40 * 1024 * 1024 // len(line))
    half = len(message) // 2
    with greeted(hub) as raw:
        raw.begin(f" SIZE={len(message)}")
        raw.send(f"BDAT {half}", message[:half], f"BDAT {len(message) - half} LAST",
                 message[half:])
        assert raw.reply() == f"250 2.0.0 Ok: {half} octets"
        queued(raw.reply())
        sink.wait_for_messages(before + 1)
        assert body_of(sink.messages[before].body) == message

        raw.begin()
        size = 45 * 1024 * 1024 + 1
        raw.send(f"BDAT {size - 1000}", b"x" * (size - 1000), "BDAT 1000 LAST",
                 b"QUIT\r\n".ljust(1000), "NOOP")
        assert raw.reply().startswith("250 2.0.0 Ok: ")
        assert raw.reply() == "552 5.3.4 Error: message file too big"
        assert raw.reply() == "250 2.0.0 Ok"


def test_line_without_end_is_completed(hub, sink):
    before = len(sink.messages)
    with greeted(hub) as raw:
        raw.begin()
        queued(raw.ask("BDAT 17 LAST", b"Subject: x\r\n\r\n..."))
    assert body_of(sink.wait_for_messages(before + 1)[-1].body) == b"Subject: x\r\n\r\n...\r\n"


@pytest.mark.parametrize("size", [100, 300000])
@pytest.mark.parametrize("is_within", [True, False])
def test_gone_in_the_message(site, size, is_within):
    """Within a chunk, or between two: without its last a message is none; nothing of it stays."""
    hub = site.hub("* discard:\n")
    with greeted(hub) as raw:
        raw.begin()
        raw.send(f"BDAT {size + is_within}", b"x" * size)
        if not is_within:
            raw.reply()
    hub.wait_for("lost connection after BDAT from ")
    hub.stop()
    assert hub.queue() == []
    assert hub.bodies() == []
    assert "queue active" not in hub.server.log()


def test_refused_chunks_are_dropped_in_step(hub):
    with greeted(hub) as raw:
        raw.send("BDAT 300000 LAST", b"QUIT\r\n" * 50000, "NOOP")
        assert raw.replies(2) == ["503 5.5.1 Error: need RCPT command", "250 2.0.0 Ok"]
        raw.begin()
        assert raw.ask("BDAT 3", b"a\nb") == "550 5.5.2 Error: bare <LF> received"
        raw.send("BDAT 300000", b"QUIT\r\n" * 50000, "RSET")
        assert raw.replies(2) == ["550 5.5.2 Error: bare <LF> received", "250 2.0.0 Ok"]
        raw.send("BDAT 99999999999999999999", b"QUIT\r\n" * 50000)
        assert raw.reply() == "501 5.5.4 Syntax: BDAT count [LAST]"
        assert raw.reply().startswith("421 4.7.0 ")
        assert raw.at_end()


def test_slow_chunks(site):
    """All in one write: the client is slow only where the test means it to be."""
    hub = site.hub("* discard:\n", smtpd_timeout="2s")
    with Raw(hub.port()) as raw:
        raw.send("EHLO client.example", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>",
                 "BDAT 1000", b"x")
        raw.replies(4)
        assert raw.reply() == "421 4.4.2 Error: timeout exceeded"
        assert raw.at_end()
    hub.wait_for("timeout after BDAT from ")


def test_loops_end(site):
    """The header is looked at as it comes, however it is cut."""
    hub = site.hub("* discard:\n", hopcount_limit=3)
    header = b"Received: by a\r\n" * 4 + b"\r\n"
    with greeted(hub) as raw:
        raw.begin()
        for i in range(len(header)):
            assert raw.ask("BDAT 1", header[i:i + 1]) == "250 2.0.0 Ok: 1 octets"
        assert raw.ask("BDAT 0 LAST") == "554 5.4.6 Error: too many hops"


# ---- binary messages ----

BINARY = b"Subject: binary\r\n\r\n\x00\r\r\n\n.\n\xff" + bytes(range(256)) * 2000 + b"no end"


@pytest.mark.parametrize("size", [100, len(BINARY)])
def test_binary_message_in_a_mailbox(site, size):
    """Stored as it came, whether it was in memory or in a file."""
    message = BINARY[:size]
    edge = site.edge("vm2.vm")
    with greeted(edge) as raw:
        raw.begin(" BODY=BINARYMIME", ["bob@vm2.vm"])
        assert raw.ask("DATA").startswith("503 5.5.1 ")
        identity = queued(raw.ask(f"BDAT {len(message)} LAST", message))
    edge.delivered("bob@vm2.vm", identity)
    (found,) = edge.mailbox("bob@vm2.vm")
    assert body_of(found) == message


def test_binary_message_of_a_user_is_completed(site, certs):
    """The header of a binary message is lines as any other; its Bcc is nobody's business either."""
    edge = site.edge("vm2.vm")
    body = b"a bare \n, a \r\r\n, Bcc: x\r\n, and no end"
    message = b"Subject: binary\r\nBcc: carol@vm2.vm\r\nTo: bob\r\n\r\n" + body
    with greeted(edge, "submissions", tls_context(certs)) as raw:
        credentials = base64.b64encode(b"\0bob@vm2.vm\0bob").decode()
        assert raw.ask(f"AUTH PLAIN {credentials}").startswith("235 ")
        assert raw.ask("MAIL FROM:<bob@vm2.vm> BODY=BINARYMIME").startswith("250 ")
        assert raw.ask("RCPT TO:<bob@vm2.vm>").startswith("250 ")
        identity = queued(raw.ask(f"BDAT {len(message)} LAST", message))
    edge.delivered("bob@vm2.vm", identity)
    found = body_of(edge.mailbox("bob@vm2.vm")[0])
    header, _, rest = found.partition(b"\r\n\r\n")
    assert rest == body
    assert header.startswith(b"Subject: binary\r\nTo: bob@vm2.vm\r\nMessage-ID: <")
    assert header.endswith(b"\r\nFrom: bob@vm2.vm") and b"\r\nDate: " in header


def test_binary_message_that_nobody_takes(site):
    """Returned (RFC 3030 section 3), by a report that is text."""
    bad_header = b"Subject: bin\nX-Odd: a\x00b\rc\r\n\r\n" + BINARY
    sender, sink = site.peer(), site.peer()
    hub = site.hub(f"vm1.vm relay:{HOST}:{sender.port} tls=none\n"
                   f"vm2.vm relay:{HOST}:{sink.port} tls=none\n")
    with greeted(hub) as raw:
        raw.begin(" BODY=BINARYMIME")
        identity = queued(raw.ask(f"BDAT {len(bad_header)} LAST", bad_header))
    hub.delivered(RECIPIENT, identity, "bounced")
    report = sender.wait_for_messages(1)[0].body
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\0", report) is None
    people, machines, original = email.message_from_bytes(report).get_payload()
    assert "5.6.1" in people.get_payload() and machines.get_payload()[1]["Status"] == "5.6.1"
    assert original.get_content_type() == "text/rfc822-headers"
    assert "X-Odd: a?b" in original.get_payload().replace("\r\n", "\n")
    assert not sink.messages and b"DATA" not in sink.wire()


def test_message_of_lines_that_is_called_binary(hub, sink):
    """Some clients say so of everything: any next hop gets it."""
    before = len(sink.messages)
    message = HEADER + b"\xff\r\n.\r\n"
    with greeted(hub) as raw:
        raw.begin(" BODY=BINARYMIME")
        identity = queued(raw.ask(f"BDAT {len(message)} LAST", message))
    hub.delivered(RECIPIENT, identity)
    assert body_of(sink.messages[before].body) == message
    assert any("BODY=8BITMIME" in line for line in sink.messages[before].session.commands)


# ---- what is kept, and shown ----

def test_parameters_are_kept(site, certs):
    """BODY=BINARYMIME and REQUIRETLS stand in the queue, over a restart too."""
    hub = site.hub("* retry:4.0.0 not today\n")
    with greeted(hub, "smtps", tls_context(certs)) as raw:
        assert "REQUIRETLS" in raw.extensions
        raw.begin(" BODY=BINARYMIME REQUIRETLS")
        identity = queued(raw.ask("BDAT 4 LAST", b"\x00\x01\x02\x03"))
    hub.waiting(RECIPIENT)
    hub.stop()
    hub.start()
    (message,) = hub.queue("show", identity)
    assert message["body_binary"] is True and message["requiretls"] is True
    shown = hub.command("queue", "show", identity).stdout.decode()
    assert "content:  binary" in shown and "(REQUIRETLS)" in shown
    connection = hub.database()
    assert connection.execute("select body_binary, requiretls from messages").fetchall() == [(1, 1)]
    connection.close()


def test_requiretls_is_for_tls(hub):
    with greeted(hub) as raw:
        assert "REQUIRETLS" not in raw.extensions
        assert raw.ask(f"MAIL FROM:<{SENDER}> REQUIRETLS").startswith("530 5.7.10 ")


def test_report_of_requiretls(site, certs):
    """It asks for TLS itself, and returns no more than the header (RFC 8689 section 5)."""
    sender = site.peer(tls="implicit", extensions=("8BITMIME", "REQUIRETLS"))
    hub = site.hub(f"vm1.vm relay-smtps:{HOST}:{sender.port} tls=encrypt\n"
                   "vm2.vm error:5.1.1 nobody here\n")
    with greeted(hub, "smtps", tls_context(certs)) as raw:
        raw.begin(" REQUIRETLS RET=FULL")
        message = HEADER + b"secret\r\n"
        queued(raw.ask(f"BDAT {len(message)} LAST", message))
    report = sender.wait_for_messages(1)[0]
    assert b"Subject: chunks" in report.body and b"secret" not in report.body
    (mail,) = [line for line in report.session.commands if line.startswith("MAIL ")]
    assert mail.startswith("MAIL FROM:<>") and "REQUIRETLS" in mail.split()


# ---- switched off ----

def test_discarded_keywords(site):
    hub = site.hub("* discard:\n", smtpd_recipient_limit=7,
                   smtpd_discard_ehlo_keywords="CHUNKING dsn, silent-discard")
    with greeted(hub) as raw:
        assert raw.extensions == [
            "PIPELINING", "SIZE 52428800", "VRFY", "ETRN", "STARTTLS", "ENHANCEDSTATUSCODES",
            "8BITMIME", "SMTPUTF8", "LIMITS RCPTMAX=7"]
        assert raw.ask(f"MAIL FROM:<{SENDER}> BODY=BINARYMIME").startswith("555 ")
        raw.begin()
        assert raw.ask("BDAT 6 LAST", b"QUIT\r\n").startswith("502 5.5.1 ")
        assert raw.ask("DATA").startswith("354 ")
        queued(raw.ask("."))


# ---- from one of ours to the next ----

@pytest.fixture(scope="module")
def chain(shared_site):
    """A hub, another, and bob's edge: all that goes between them goes by BDAT."""
    edge = shared_site.edge("vm2.vm")
    second = shared_site.hub(f"vm2.vm relay:{HOST}:{edge.port('smtp')} tls=verify\n")
    first = shared_site.hub(f"vm2.vm relay:{HOST}:{second.port()} tls=verify\n")
    return first, second, edge


def across(chain, message, parameters="", service="smtp", context=None):
    """As it lies in bob's mailbox, without what was put in front."""
    first, _, edge = chain
    with greeted(first, service, context) as raw:
        raw.begin(parameters, ["bob@vm2.vm"])
        identity = queued(raw.ask(f"BDAT {len(message)} LAST", message))
    for host in chain[:-1]:
        line = host.delivered("bob@vm2.vm", identity)
        identity = re.search(r"queued as (\w+)\)", line)[1]
    edge.delivered("bob@vm2.vm", identity)
    (found,) = [m for m in edge.mailbox("bob@vm2.vm") if identity.encode() in m]
    return body_of(found)


@pytest.mark.parametrize("label,body", [
    ("dots", b".\r\n..\r\n.\r\n"),
    ("8bit", bytes(range(128, 256)) * 10 + b"\r\n"),
    ("long lines", b"x" * 5000000 + b"\r\n" + b"y" * 2000 + b"\r\n"),
    ("40 MiB", (b"0123456789abcdef" * 62 + b"\r\n") * (40 * 1024 * 1024 // 994)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_text_all_the_way(chain, label, body):
    message = b"Subject: " + label.encode() + b"\r\n\r\n" + body
    assert across(chain, message, " BODY=8BITMIME") == message.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("size", [100, len(BINARY)])
def test_binary_all_the_way(chain, size):
    assert across(chain, BINARY[:size], " BODY=BINARYMIME") == BINARY[:size]


def test_requiretls_all_the_way(chain, certs):
    """And binary beside it."""
    got = across(chain, BINARY[:200], " BODY=BINARYMIME REQUIRETLS", "smtps", tls_context(certs))
    assert got == BINARY[:200]


def test_chunks_were_used(chain):
    """Sessions between ours say so when they end."""
    first, second, edge = chain
    across(chain, HEADER)
    first.stop()
    second.wait_for(r"disconnect from .* mail=\d+ rcpt=\d+ bdat=\d+ .*commands=")
    second.stop()
    edge.wait_for(r"disconnect from .* mail=\d+ rcpt=\d+ bdat=\d+ .*commands=")
    assert " data=" not in second.server.log() + edge.server.log()
