#!/usr/bin/env python3
"""test_tools MAILGEN MAILSINK - do the tools of the benchmarks count rightly?

mailgen into mailsink in each TLS mode, and what they say when a server does
harm to the mail: a small one in this file does so on purpose.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
from load import Certificates  # noqa: E402
from servers import HOST  # noqa: E402

TOOLS = argparse.Namespace()


class Sink:
    """A running mailsink."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([TOOLS.mailsink, *arguments, f"{HOST}:0"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def report(self):
        self.process.terminate()
        output, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise RuntimeError(f"mailsink exits with {self.process.returncode}")
        return json.loads(output.splitlines()[-1])


def mailgen(port, *arguments):
    """Returns its exit status and report."""
    result = subprocess.run([TOOLS.mailgen, *arguments, f"{HOST}:{port}"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            check=False)
    return result.returncode, json.loads(result.stdout)


def smtp(port, *messages):
    """Sends (number in the envelope, content) with no checks at all."""
    with socket.create_connection((HOST, port)) as connection, \
            connection.makefile("rwb", buffering=0) as wire:
        wire.readline()
        for number, content in messages:
            for line in (f"MAIL FROM:<from-{number}@x.test>", f"RCPT TO:<to-{number}-0@x.test>",
                         "DATA", f"{content}\r\n." if content else "."):
                wire.write(f"{line}\r\n".encode())
                wire.readline()


def smtp_chunks(port, *messages):
    """Sends (number in the envelope, chunks); returns the last reply to each message."""
    replies = []
    with socket.create_connection((HOST, port)) as connection, \
            connection.makefile("rwb", buffering=0) as wire:
        wire.readline()
        for number, chunks in messages:
            wire.write(f"MAIL FROM:<from-{number}@x.test>\r\n"
                       f"RCPT TO:<to-{number}-0@x.test>\r\n".encode())
            for n, chunk in enumerate(chunks, 1):
                last = " LAST" if n == len(chunks) else ""
                wire.write(f"BDAT {len(chunk)}{last}\r\n{chunk}".encode())
            replies.append([wire.readline() for _ in range(2 + len(chunks))][-1][:3])
    return replies


def content(number, body, total=None):
    """What mailgen would send, or else with another sum."""
    body = f"\r\n{body}\r\n"
    total = sum(body.replace("\r\n..", "\r\n.").encode()) if total is None else total
    return f"Received: by hub\r\nX-Bench-Id: {number}\r\nX-Bench-Sum: {total}\r\n{body[:-2]}"


class RefusingServer:
    """Refuses every second recipient; one connection at a time."""

    def __init__(self):
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.recipients = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rwb", buffering=0) as wire:
                wire.write(b"220 hello\r\n")
                while line := wire.readline():
                    reply = b"250 ok"
                    if line.startswith(b"RCPT"):
                        self.recipients.append(line.decode().rstrip())
                        reply = b"550 no" if len(self.recipients) % 2 else reply
                    elif line.startswith(b"DATA"):
                        wire.write(b"354 go\r\n")
                        while wire.readline() != b".\r\n":
                            pass
                    wire.write(reply + b"\r\n")


class Pair(unittest.TestCase):
    """mailgen straight into mailsink."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.certs = Certificates(Path(cls.temporary.name) / "certs")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def send(self, tls, sink_arguments=(), generator_arguments=(), messages=300):
        certs = ("-C", self.certs.cert, "-K", self.certs.key)
        with Sink("-t", tls, *certs, "-n", str(messages), *sink_arguments) as sink:
            status, sent = mailgen(sink.port, "-t", tls, "-A", self.certs.ca, "-w", "30",
                                   "-m", str(messages), *generator_arguments)
            arrived = sink.report()
        self.assertEqual(status, 0)
        self.assertEqual(sent["accepted"], messages)
        for name, want in (("messages", messages), ("distinct", messages), ("missing", 0),
                           ("doubled", 0), ("mangled", 0), ("unnumbered", 0), ("broken", 0),
                           ("clear", messages if tls == "none" else 0)):
            self.assertEqual(arrived[name], want, name)
        return sent

    def test_modes(self):
        for tls in ("none", "starttls", "implicit"):
            for options in ((), ("-P",), ("-r", "-c", "3"), ("-s", "700000", "-c", "3")):
                with self.subTest(tls=tls, options=options):
                    self.assertEqual(self.send(tls, (), options)["tls"] == "", tls == "none")

    def test_several_recipients(self):
        self.send("implicit", ("-k", "7"), ("-k", "7"))
        self.send("none", ("-k", "7"), ("-k", "7", "-P"))

    def test_several_domains(self):
        """Each message has one, in turn."""
        self.send("none", (), ("-D", "3", "-P"), messages=7)
        server = RefusingServer()
        mailgen(server.port, "-D", "3", "-m", "4", "-c", "1", "-f", "5")
        self.assertEqual(server.recipients, [f"RCPT TO:<to-{n}-0@n-{n % 3}.bench.test>"
                                             for n in (5, 6, 7, 8)])

    def test_smallest_message(self):
        self.send("none", (), ("-s", "1"))

    def test_delay(self):
        sent = self.send("starttls", ("-D", "50"), ("-c", "10"), messages=20)
        self.assertGreaterEqual(sent["p50_ms"], 50)

    def test_rate(self):
        """Whoever is slower than asked to be would hide how long mail is on its way."""
        sent = self.send("none", (), ("-R", "100", "-c", "3"), messages=21)
        self.assertLessEqual(sent["per_second"], 105)  # the last one after 20 of 21 intervals

    def test_progress_and_latency(self):
        with Sink("-n", "20", "-i", "5") as sink:
            mailgen(sink.port, "-m", "20")
            sink.process.terminate()
            events = [json.loads(line) for line in sink.process.communicate()[0].splitlines()]
        self.assertEqual([e["messages"] for e in events if e["event"] == "progress"],
                         [5, 10, 15, 20])
        self.assertTrue(0 < events[-1]["p50_ms"] <= events[-1]["p99_ms"] <= events[-1]["max_ms"])

    def test_deferring(self):
        with Sink("-T") as sink:
            status, sent = mailgen(sink.port, "-m", "7", "-c", "1")
            self.assertEqual((status, sent["accepted"], sent["refused"]), (1, 0, 7))
            report = sink.report()
        self.assertEqual((report["messages"], report["deferred"]), (0, 7))

    def test_client_that_does_not_wait(self):
        """It goes away while its reply is delayed."""
        with Sink("-D", "200") as sink:
            with socket.create_connection((HOST, sink.port)) as connection:
                connection.sendall(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\n")
            self.assertEqual(mailgen(sink.port, "-m", "1", "-c", "1")[0], 0)
            self.assertEqual(sink.report()["messages"], 1)

    def test_unknown_ca_is_refused(self):
        other = Certificates(Path(self.temporary.name) / "other")
        with Sink("-t", "implicit", "-C", other.cert, "-K", other.key) as sink:
            status, sent = mailgen(sink.port, "-t", "implicit", "-A", self.certs.ca, "-m", "3")
        self.assertEqual((status, sent["accepted"]), (1, 0))


class Harm(unittest.TestCase):
    """What a server could do wrong."""

    def check(self, sent, **want):
        with Sink("-n", "2") as sink:
            smtp(sink.port, *sent)
            report = sink.report()
        self.assertEqual({name: report[name] for name in want}, want)

    def test_good(self):
        self.check([(1, content(1, "a\r\n..b")), (2, content(2, ""))],
                   distinct=2, missing=0, doubled=0, mangled=0)

    def test_chunks(self):
        """BDAT stuffs no dots, and chunks end anywhere."""
        texts = [content(n, "a\r\n..b", sum(b"\r\na\r\n..b\r\n")) + "\r\n"
                 for n in range(1, 1000)]
        size = len(texts[0])
        cuts = [(), (10,), (size - 1,), *((n, n + 1) for n in range(1, size - 1))]
        messages = []
        for number, (text, cut) in enumerate(zip(texts, cuts), 1):
            edges = (0, *cut, len(text))
            messages.append((number, [text[a:b] for a, b in zip(edges, edges[1:])]))
        with Sink("-n", str(len(cuts))) as sink:
            replies = smtp_chunks(sink.port, *messages, (1, ["x"]))
            self.assertEqual(replies, [b"250"] * (len(cuts) + 1))
            report = sink.report()
        for name, want in (("distinct", len(cuts)), ("mangled", 0), ("unnumbered", 1),
                           ("chunked", len(cuts) + 1)):
            self.assertEqual(report[name], want, name)

    def test_changed_chunk(self):
        with Sink("-n", "1") as sink:
            smtp_chunks(sink.port, (1, [content(1, "ab", sum(b"\r\naa\r\n")) + "\r\n"]))
            self.assertEqual(sink.report()["mangled"], 1)

    def test_extensions(self):
        for arguments, want in (((), {"CHUNKING", "PIPELINING"}), (("-X", "chunking"),
                                {"PIPELINING"}), (("-X", "pipelining"), {"CHUNKING"})):
            with self.subTest(arguments), Sink(*arguments) as sink, \
                    socket.create_connection((HOST, sink.port)) as connection:
                connection.sendall(b"EHLO x\r\nQUIT\r\n")
                said = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
                self.assertEqual({word for word in ("CHUNKING", "PIPELINING") if word in said},
                                 want)

    def test_doubled_and_missing(self):
        self.check([(1, content(1, "a"))] * 2, distinct=1, missing=1, doubled=1, mangled=0)

    def test_changed(self):
        self.check([(1, content(1, "ab", sum(b"\r\naa\r\n"))), (2, content(2, "a"))], mangled=1)

    def test_cut(self):
        self.check([(1, content(1, "a", sum(b"\r\na\r\nb\r\n")))], mangled=1, missing=1)

    def test_content_of_another(self):
        self.check([(1, content(2, "a")), (2, content(1, "a"))], mangled=2, missing=0)

    def test_foreign(self):
        self.check([(1, "Subject: hello\r\n\r\nworld"), (1, ""), (1, "no header")],
                   messages=3, unnumbered=3)

    def test_refused(self):
        with self.subTest("every second one"):
            status, sent = mailgen(RefusingServer().port, "-m", "10", "-c", "1")
            self.assertEqual((status, sent["accepted"], sent["refused"]), (1, 5, 5))

    def test_hanging(self):
        for stage in ("connect", "mail", "dot"):
            with self.subTest(stage), Sink("-H", stage) as sink:
                status, sent = mailgen(sink.port, "-m", "10", "-w", "1")
                self.assertEqual((status, sent["accepted"], sent["stalled"]), (1, 0, True))
                self.assertEqual(sink.report()["messages"], 0)


if __name__ == "__main__":
    TOOLS.mailgen, TOOLS.mailsink = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
