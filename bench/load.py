"""load - one round: mailgen sends through a server to mailsink"""

import json
import select
import subprocess
import time
from pathlib import Path

from servers import HOST

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
    """A mailsink that expects the messages of one round."""

    def __init__(self, options, server):
        self.ids = options.directory / "arrived"
        command = [options.tools / "mailsink", "-t", options.tls, "-C", options.certs.cert,
                   "-K", options.certs.key, "-n", options.messages, "-k", options.recipients,
                   "-o", self.ids, f"{HOST}:{server.sink_port}"]
        self.process = subprocess.Popen([str(word) for word in command],
                                        stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("listening"):
            self.process.wait()
            raise RuntimeError("mailsink does not start")

    def wait_complete(self, timeout_s):
        select.select([self.process.stdout], [], [], timeout_s)

    def finish(self):
        """Its last report, and how often each number arrived."""
        self.process.terminate()
        output, _ = self.process.communicate()
        counts = (line.split() for line in self.ids.read_text().splitlines())
        return json.loads(output.splitlines()[-1]), {int(n): int(count) for n, count in counts}

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def generate(options, server, first_id):
    """Returns the report of mailgen, and the numbers that got 250."""
    ids = options.directory / "accepted"
    command = [options.tools / "mailgen", "-t", options.tls, "-A", options.certs.ca,
               "-c", options.connections, "-m", options.messages, "-f", first_id,
               "-s", options.size, "-k", options.recipients, "-w", int(options.wait), "-o", ids]
    if options.reconnect:
        command.append("-r")
    if options.no_pipelining:
        command.append("-P")
    command.append(f"{HOST}:{server.port}")
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                            check=False)
    if not result.stdout:
        raise RuntimeError(f"mailgen could not send to {server.name}")
    return json.loads(result.stdout), [int(line) for line in ids.read_text().splitlines()]


def run_round(options, server, number):
    """Returns what was measured while one load went through the server."""
    sink = Sink(options, server)
    try:
        cpu_before = server.cpu_seconds()
        sent, accepted = generate(options, server, 1 + number * options.messages)
        sink.wait_complete(options.wait)
        time.sleep(SETTLE_S)
        cpu = server.cpu_seconds() - cpu_before
        arrived, counts = sink.finish()
    finally:
        sink.kill()
    seconds = arrived["last"] - sent["first_send"]
    tools_cpu = sent["cpu_seconds"] + arrived["cpu_seconds"]
    return {
        "round": number,
        "server": server.name,
        "messages_per_second": arrived["messages"] / seconds if arrived["messages"] else 0.0,
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
