"""A running server: starting, signals, changed files, privileges, stopping."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

CONFIG = """\
mode = hub
myhostname = mta.vm.vm
user = {user}
queue_directory = spool
run_directory = run
listen = smtp://127.0.0.1:0 smtps://127.0.0.1:0
relay_domains = vm1.vm, vm2.vm
transport_maps = hash:ts
smtpd_tls_cert_file = {certs}/hub.pem
smtpd_tls_key_file = {certs}/hub.key
smtpd_tls_CAfile = {certs}/ca.pem
smtpd_client_connection_count_limit = 0
workers = 2
"""

MESSAGE = "From: a@vm1.vm\r\nTo: b@vm2.vm\r\nSubject: hello\r\n\r\nhello\r\n"


@pytest.fixture
def free_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


@pytest.fixture
def config(tmp_path, certs, free_port):
    (tmp_path / "ts").write_text(f"* relay:[127.0.0.1]:{free_port}\n")
    path = tmp_path / "hub.conf"
    path.write_text(CONFIG.format(certs=certs, user="root" if os.geteuid() == 0 else ""))
    return path


def send(server, recipients=("b@vm2.vm",)):
    """Returns the ID of the queued message."""
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        client.ehlo("test.example")
        client.mail("a@vm1.vm")
        for recipient in recipients:
            code, text = client.rcpt(recipient)
            assert code == 250, text
        code, text = client.data(MESSAGE)
        assert code == 250, text
    return text.decode().split()[-1]


def test_ready_serve_and_stop(serve, config):
    server = serve(config)
    assert "mode=hub version=0." in server.wait_for("ready: ")
    assert [service for service, _, _ in server.listeners] == ["smtp", "smtps"]
    pid_file = config.parent / "run" / "posthouse.pid"
    assert int(pid_file.read_text()) == server.process.pid
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        assert client.ehlo("test.example")[0] == 250
    assert server.stop() == 0
    assert not pid_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_by_signal_with_an_idle_client(serve, config, number):
    server = serve(config)
    client = smtplib.SMTP("127.0.0.1", server.port("smtp"))
    client.ehlo("test.example")
    assert server.stop(number) == 0
    client.close()


def test_both_families(serve, config):
    config.write_text(config.read_text().replace(
        "listen = smtp://127.0.0.1:0", "listen = smtp://*:0"))
    server = serve(config)
    ports = [port for service, _, port in server.listeners if service == "smtp"]
    assert len(set(ports)) == 1
    for _, host, port in server.listeners[:-1]:
        with socket.create_connection(("127.0.0.1" if host == "0.0.0.0" else "::1", port)) as s:
            assert s.recv(3) == b"220"


def test_port_in_use(serve, config, posthouse):
    server = serve(config)
    config.write_text(config.read_text().replace(
        "smtp://127.0.0.1:0", f"smtp://127.0.0.1:{server.port('smtp')}", 1))
    got = posthouse("run", config=config)
    assert got.returncode == 74
    line = 1 + [line.split()[0] for line in config.read_text().splitlines()].index("listen")
    assert got.stderr == (f"posthouse: {config}:{line}: listen: smtp: 127.0.0.1:"
                          f"{server.port('smtp')}: Address already in use\n")


def test_queue_in_use(serve, config, posthouse):
    server = serve(config)
    got = posthouse("run", config=config)
    assert got.returncode == 75
    assert str(server.process.pid) in got.stderr
    assert server.stop() == 0


def test_a_changed_map_is_taken_up(serve, config):
    server = serve(config)
    routes = config.parent / "ts"
    new = config.parent / "ts.new"

    mark = server.mark()
    new.write_text("vm2.vm relay-stmps:[127.0.0.1]\n")
    new.rename(routes)
    line = server.wait_for("relay-stmps", since=mark)
    assert "error: " in line and "ts:1: " in line and "did you mean relay-smtps" in line

    mark = server.mark()
    new.write_text("vm2.vm error:5.7.1 closed today\n")
    new.rename(routes)
    server.wait_for("hash:ts has changed and was taken up", since=mark)
    message_id = send(server)
    server.wait_for(f"{message_id}: to=<b@vm2.vm>.*status=bounced.*closed today")


def test_hangup_opens_the_log_anew(serve, config, posthouse_bin):
    log = config.parent / "mail.log"
    config.write_text(config.read_text() + "log_destination = file:mail.log\n")
    fifo = config.parent / "mail.log"
    os.mkfifo(fifo)
    # The server writes its log into a pipe, so that the test can wait for lines.
    process = subprocess.Popen([posthouse_bin, "-c", str(config), "run"])
    try:
        with open(fifo, encoding="utf-8") as lines:
            while "ready" not in lines.readline():
                pass
            log.rename(config.parent / "mail.log.1")
            os.mkfifo(fifo)
            process.send_signal(signal.SIGHUP)
            with open(fifo, encoding="utf-8") as new_lines:
                process.send_signal(signal.SIGTERM)
                assert "stopping" in new_lines.read()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges away")
def test_privileges_are_given_away(serve, config, open_path):
    shutil.copy(config.parent / "ts", open_path)
    config = Path(shutil.copy(config, open_path))
    config.write_text(config.read_text().replace("user = root", "user = nobody"))
    server = serve(config)
    nobody = pwd.getpwnam("nobody")
    with open(f"/proc/{server.process.pid}/status") as status:
        facts = dict(line.rstrip().split(":\t", 1) for line in status if ":\t" in line)
    assert facts["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert facts["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) == 0
    for name in ("spool", "run"):
        assert (config.parent / name).stat().st_uid == nobody.pw_uid
    assert (config.parent / "spool").stat().st_mode & 0o777 == 0o711
    assert (config.parent / "spool" / "maildrop").stat().st_mode & 0o7777 == 0o3733
    assert server.stop() == 0
    assert not (config.parent / "run" / "posthouse.pid").exists()


def test_queue_commands_beside_a_server(serve, config, posthouse):
    server = serve(config)
    message_id = send(server, ("b@vm2.vm", "c@vm1.vm"))
    server.wait_for(f"{message_id}: to=<b@vm2.vm>.*status=deferred")
    server.wait_for(f"{message_id}: to=<c@vm1.vm>.*status=deferred")
    while '"queued"' in posthouse("queue", "list", "--json", config=config).stdout:
        pass  # the log is a little ahead of the queue
    check_queue_commands(config, posthouse, message_id)
    assert server.stop() == 0
    check_queue_commands(config, posthouse, message_id)


def check_queue_commands(config, posthouse, message_id):
    got = posthouse("queue", "list", "--json", config=config)
    (message,) = [json.loads(line) for line in got.stdout.splitlines()]
    assert list(message) == ["id", "arrived_at", "size", "sender", "recipients"]
    assert (message["id"], message["sender"]) == (message_id, "a@vm1.vm")
    first, second = message["recipients"]
    assert list(first) == ["address", "status", "attempts", "next_attempt_at", "next_hop",
                           "enhanced_status", "reason", "waits_for_next_hop"]
    assert (first["address"], second["address"]) == ("b@vm2.vm", "c@vm1.vm")
    assert (first["status"], first["attempts"]) == ("deferred", 1)
    assert first["enhanced_status"].startswith("4.")
    assert "Connection refused" in first["reason"]
    assert first["next_attempt_at"] > message["arrived_at"]

    got = posthouse("queue", "show", "--json", message_id, config=config)
    shown = json.loads(got.stdout)
    assert {name: shown[name] for name in message} == message

    got = posthouse("queue", "list", config=config)
    assert got.stdout.startswith(f"{message_id}  ")
    assert "    b@vm2.vm: deferred after 1 attempt, next in " in got.stdout
    assert "\n1 message, 2 recipients, " in got.stdout

    got = posthouse("queue", "show", message_id, config=config)
    assert f"id:       {message_id}\nsender:   a@vm1.vm\n" in got.stdout
    assert "client:   test.example [127.0.0.1] by ESMTP\n" in got.stdout

    got = posthouse("queue", "cat", message_id, config=config, encoding=None)
    assert got.stdout.startswith(b"Received: from test.example ")
    assert got.stdout.endswith(MESSAGE.encode())
    assert message["size"] == len(got.stdout)

    got = posthouse("queue", "show", "0000000000000000", config=config)
    assert got.returncode == 1


class SlowPeer:
    """A next hop in the clear that takes one message, and answers when it is told to."""

    REPLIES = {"EHLO": "250 slow.example", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on"}

    def __init__(self, greets=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.greets = greets
        self.has_message = threading.Event()
        self.connected = threading.Event()
        self.may_answer = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rw", newline="\r\n") as stream:
            self.connected.set()
            if self.greets:
                self._talk(stream)
            else:
                stream.read()

    def _talk(self, stream):
        def say(text):
            stream.write(text + "\r\n")
            stream.flush()

        say("220 slow.example ESMTP")
        for line in stream:
            verb = line[:4].upper()
            say(self.REPLIES[verb])
            if verb == "DATA":
                break
        for line in stream:
            if line == ".\r\n":
                break
        self.has_message.set()
        self.may_answer.wait(60)
        with contextlib.suppress(OSError):  # who gave up on us has closed with a reset
            say("250 ok, taken")
            stream.read()

    def close(self):
        self.may_answer.set()
        self.listener.close()


@pytest.fixture
def slow_peer(config):
    peers = []

    def start(**options):
        peer = SlowPeer(**options)
        peers.append(peer)
        (config.parent / "ts").write_text(f"* relay:[127.0.0.1]:{peer.port} tls=none\n")
        return peer

    yield start
    for peer in peers:
        peer.close()


def test_stop_makes_no_doubles(serve, config, posthouse, slow_peer):
    """The peer has the message when the signal comes: its answer is waited for."""
    peer = slow_peer()
    server = serve(config)
    message_id = send(server)
    assert peer.has_message.wait(60)
    server.send_signal(signal.SIGTERM)
    server.wait_for("Terminated: stopping$")
    peer.may_answer.set()
    server.wait_for(f"{message_id}: to=<b@vm2.vm>.*status=sent")
    assert server.stop() == 0
    assert posthouse("queue", "list", config=config).stdout == "The queue is empty.\n"


def test_second_signal_hurries(serve, config, posthouse, slow_peer):
    """A peer that never says a word does not keep us; its message stays in the queue."""
    peer = slow_peer(greets=False)
    server = serve(config)
    message_id = send(server)
    assert peer.connected.wait(60)
    server.send_signal(signal.SIGTERM)
    server.wait_for("Terminated: stopping$")
    assert server.stop(signal.SIGINT) == 0
    assert message_id in posthouse("queue", "list", config=config).stdout


EDGE = """\
mode = edge
myhostname = mta1.vm1.vm
user = {user}
queue_directory = spool
run_directory = run
virtual_mailbox_base = vhosts
listen = smtp://127.0.0.1:0 submissions://127.0.0.1:0
smtpd_tls_cert_file = {certs}/hub.pem
smtpd_tls_key_file = {certs}/hub.key
smtpd_tls_CAfile = {certs}/ca.pem
workers = 1
"""


def log_in(server, certs, user, password):
    """Whether the credentials are good."""
    tls = ssl.create_default_context(cafile=certs / "ca.pem")
    with smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=tls) as client:
        try:
            client.login(user, password)
        except smtplib.SMTPAuthenticationError:
            return False
        return True


def test_changed_accounts_are_taken_up(serve, tmp_path, certs):
    users = tmp_path / "users"
    users.write_text("alice@vm1.vm:{PLAIN}alice::::::\n")
    config = tmp_path / "edge.conf"
    config.write_text(EDGE.format(certs=certs, user="root" if os.geteuid() == 0 else ""))
    server = serve(config)
    assert (tmp_path / "vhosts").is_dir()
    assert log_in(server, certs, "alice@vm1.vm", "alice")
    assert not log_in(server, certs, "bob@vm1.vm", "bob")

    new = tmp_path / "users.new"
    mark = server.mark()
    new.write_text("alice@vm1.vm:{ROT13}nyvpr::::::\n")
    new.rename(users)
    line = server.wait_for("error: smtpd_sasl_passdb: ", since=mark)
    assert "users:1: " in line and line.endswith("; the accounts read before stay in use")
    assert log_in(server, certs, "alice@vm1.vm", "alice")

    new.write_text("alice@vm1.vm:{PLAIN}secret::::::\nbob@vm1.vm:{PLAIN}bob::::::\n")
    new.rename(users)
    server.wait_for("smtpd_sasl_passdb: has changed and was taken up", since=mark)
    assert log_in(server, certs, "bob@vm1.vm", "bob")
    assert not log_in(server, certs, "alice@vm1.vm", "alice")
    assert server.stop() == 0
