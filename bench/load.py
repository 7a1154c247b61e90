"""load - one round: mailgen sends through a server to mailsink"""

import json
import os
import select
import socket
import subprocess
import time
from pathlib import Path

from servers import HOST, START_S

SETTLE_S = 1  # after the last arrival: the queue is tidied up, and the CPU time of that counts


class Certificates:
    """A throwaway CA and one certificate for hub and sink, ECDSA P-256."""

    def __init__(self, directory):
        directory.mkdir()
        self.ca, self.cert, self.key = (
            str(directory / name) for name in ("ca.pem", "hub.pem", "hub.key"))
        ca_key, request, extensions = (
            str(directory / name) for name in ("ca.key", "hub.csr", "hub.ext"))
        Path(extensions).write_text(f"subjectAltName=DNS:hub.test,IP:{HOST}\n")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self.openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", self.ca,
                     "-days", "2", "-subj", "/CN=benchmark CA")
        self.openssl("req", *new_key, "-keyout", self.key, "-out", request,
                     "-subj", "/CN=hub.test")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key,
                     "-CAcreateserial", "-out", self.cert, "-days", "2", "-extfile", extensions)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Sink:
    """A mailsink; more arguments make it a bad one."""

    def __init__(self, options, port, *arguments):
        self.ids = options.directory / f"arrived-{port}"
        command = [*options.sink_prefix, options.tools / "mailsink", "-t", options.tls,
                   "-C", options.certs.cert, "-K", options.certs.key, "-o", self.ids,
                   *options.sink_arguments, *arguments, f"{options.sink_host}:{port}"]
        self.process = subprocess.Popen([str(word) for word in command],
                                        stdout=subprocess.PIPE)
        self.unread = b""
        self.progress = []  # (messages, seconds on the monotonic clock)
        if not (self.read_line(START_S) or "").startswith("listening"):
            self.kill()
            raise RuntimeError("mailsink does not start")

    def read_line(self, timeout_s):
        """None at the end, or when nothing came for too long."""
        output = self.process.stdout.fileno()
        while b"\n" not in self.unread:
            if not select.select([output], [], [], timeout_s)[0]:
                return None
            piece = os.read(output, 65536)
            if not piece:
                return None
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode()

    def wait_complete(self, timeout_s):
        """Until all that was expected is there, or nothing was said for so long."""
        while (line := self.read_line(timeout_s)) is not None:
            event = json.loads(line)
            if event["event"] == "complete":
                return
            self.progress.append((event["messages"], event["at"]))

    def finish(self):
        """Its last report."""
        self.process.terminate()
        last = "{}"
        while (line := self.read_line(None)) is not None:
            last = line
        self.process.wait()
        return json.loads(last)

    def counts(self):
        """How often each number has arrived; after finish()."""
        return {int(number): int(count) for number, count, *_ in self.lines()}

    def arrivals(self):
        """When each number has come first, with -a; after finish()."""
        return {int(number): float(seconds) for number, _, seconds in self.lines()}

    def lines(self):
        return (line.split() for line in self.ids.read_text().splitlines())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Mute:
    """
    Nobody ever accepts. The queue of connections to accept has room for one, and that is
    taken, so not even the kernel answers.
    """

    def __init__(self, host, port):
        self.listener = socket.socket()
        self.listener.bind((host, port))
        self.listener.listen(0)
        self.first = socket.create_connection((host, port))

    def kill(self):
        self.first.close()
        self.listener.close()


def run_tool(options, name, *arguments):
    """Returns its report."""
    result = subprocess.run([str(word) for word in (options.tools / name, *arguments)],
                            stdout=subprocess.PIPE, text=True, check=False)
    if not result.stdout:
        raise RuntimeError(f"{name} has failed")
    return json.loads(result.stdout)


def generate(options, server, first_id, *arguments):
    """Returns the report of mailgen, and when each number has got 250."""
    ids = options.directory / "accepted"
    report = run_tool(
        options, "mailgen", "-t", options.tls, "-A", options.certs.ca,
        "-c", options.connections, "-m", options.messages, "-f", first_id,
        "-s", options.size, "-k", options.recipients, "-w", int(options.wait), "-o", ids,
        *(["-r"] if options.reconnect else []), *(["-P"] if options.no_pipelining else []),
        *arguments, f"{HOST}:{server.port}")
    accepted = (line.split() for line in ids.read_text().splitlines())
    return report, {int(number): float(seconds) for number, seconds in accepted}


def run_round(options, server, number):
    """Returns what was measured while one load went through the server."""
    sink = Sink(options, server.sink_port, "-n", options.messages, "-k", options.recipients)
    try:
        cpu_before = server.cpu_seconds()
        sent, accepted = generate(options, server, 1 + number * options.messages)
        sink.wait_complete(options.wait)
        time.sleep(SETTLE_S)
        cpu = server.cpu_seconds() - cpu_before
        arrived, counts = sink.finish(), sink.counts()
    finally:
        sink.kill()
    seconds = arrived["last"] - sent["first_send"]
    arrival_s = arrived["last"] - arrived["first"]
    tools_cpu = sent["cpu_seconds"] + arrived["cpu_seconds"]
    return {
        "round": number,
        "server": server.name,
        "messages_per_second": arrived["messages"] / seconds if arrived["messages"] else 0.0,
        "arrivals_per_second": (arrived["messages"] - 1) / arrival_s if arrival_s else 0.0,
        "first_arrival_s": arrived["first"] - sent["first_send"],
        "connections": arrived["connections"],
        "chunked": arrived["chunked"],
        "cpu_ms": 1e3 * cpu / options.messages,
        "tools_cpu_ms": 1e3 * tools_cpu / options.messages,
        "p50_ms": sent["p50_ms"],
        "p99_ms": sent["p99_ms"],
        "tls": sent["tls"],
        "refused": options.messages - len(accepted),
        "lost": sum(counts.get(n, 0) < options.recipients for n in accepted),
        "doubled": arrived["doubled"],
        "mangled": arrived["mangled"] + arrived["unnumbered"],
        "clear": 0 if options.tls == "none" else arrived["clear"],
    }
