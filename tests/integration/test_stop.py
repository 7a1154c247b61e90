"""How a server ends: who is waited for, who is cut off, and that nothing comes twice for it."""

import os
import signal
import smtplib
import subprocess
import threading

import pytest

from clients import HOST, connect, relay, text, wait_refused
from peer import HANG
from server import PATIENCE_S

TIMES = 12
STOPPING = "Terminated: stopping$"
LARGE = text("b@vm2.vm") + b"".join(b"%070d\r\n" % i for i in range(100000))


def stop_begins(host, number=signal.SIGTERM):
    host.server.send_signal(number)
    host.wait_for(STOPPING)


def ends_well(host):
    assert host.server.process.wait(PATIENCE_S) == 0
    assert not host.server.complaints()


class Slow:
    """A peer whose final answer waits for the test."""

    def __init__(self, site, answer="250 2.0.0 Ok: taken"):
        self.has_it, self.may_answer = threading.Event(), threading.Event()
        self._answer = answer
        self.peer = site.peer(replies={"END": self._end})

    def _end(self, _session, _message):
        self.has_it.set()
        self.may_answer.wait(PATIENCE_S)
        return self._answer

    def hub(self, site):
        return site.hub(f"* relay:[{HOST}]:{self.peer.port} tls=none\n", workers=1)


def begin(host, lines):
    """A session in which the client has got to say this; returns it."""
    client = connect(None, host.port(), tls="none")
    for line in lines:
        assert client.docmd(line)[0] in (250, 354)
    return client


IN_DATA = ("MAIL FROM:<a@vm1.vm>", "RCPT TO:<b@vm2.vm>", "DATA")


def has_ended(client):
    """Without a word."""
    try:
        return client.sock.recv(1) == b""
    except ConnectionResetError:
        return True


def restart_and_count(host, peer):
    """How often the peer has got mail when the queue is empty."""
    host.start()
    while host.queue():
        pass
    host.stop()
    return len(peer.messages)


# ---- clients ----

def test_between_transactions(site):
    hub = site.hub()
    idle, talking, late = (connect(None, hub.port(), tls="none") for _ in range(3))
    assert talking.mail("a@vm1.vm")[0] == 250
    late.mail("a@vm1.vm")
    stop_begins(hub)
    assert idle.getreply()[0] == 421
    assert has_ended(idle)
    wait_refused(hub.port())
    assert talking.rcpt("b@vm2.vm")[0] == 250
    assert talking.data(text("b@vm2.vm"))[0] == 250
    assert talking.getreply()[0] == 421
    assert late.rset()[0] == 250  # the end of a transaction, too
    assert late.getreply()[0] == 421
    ends_well(hub)
    assert [message["sender"] for message in hub.queue()] == ["a@vm1.vm"]


def test_in_data(site):
    hub = site.hub()
    client = begin(hub, IN_DATA)
    client.send(LARGE[:300000])
    stop_begins(hub)
    client.send(LARGE[300000:] + b".\r\n")
    code, reply = client.getreply()
    assert code == 250
    assert client.getreply()[0] == 421
    ends_well(hub)
    assert [message["id"] for message in hub.queue()] == [reply.decode().split()[-1]]


def test_who_sends_no_more(site):
    """The message was not answered, so it is not kept: it will be sent again."""
    hub = site.hub()
    clients = [begin(hub, IN_DATA), begin(hub, IN_DATA), begin(hub, IN_DATA[:2])]
    clients[0].send(b"Subject: half\r\n")
    clients[1].send(LARGE[:300000])
    stop_begins(hub)
    for client in clients:
        assert has_ended(client)
    ends_well(hub)
    assert hub.queue() == [] and hub.bodies() == []


# ---- next hops ----

def test_the_answer_comes_late(site):
    """Later than others are waited for, which a client in its transaction shows."""
    slow = Slow(site)
    hub = slow.hub(site)
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert slow.has_it.wait(PATIENCE_S)
    client = begin(hub, IN_DATA)
    stop_begins(hub)
    assert has_ended(client)
    slow.may_answer.set()
    hub.delivered("b@vm2.vm", message_id)
    ends_well(hub)
    assert hub.queue() == []
    assert restart_and_count(hub, slow.peer) == 1


@pytest.mark.parametrize("answer, status", (("451 4.3.0 not now", "deferred"),
                                            ("550 5.7.1 never", "bounced")))
def test_the_answer_is_no(site, answer, status):
    slow = Slow(site, answer)
    hub = slow.hub(site)
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert slow.has_it.wait(PATIENCE_S)
    stop_begins(hub)
    slow.may_answer.set()
    hub.delivered("b@vm2.vm", message_id, status)
    ends_well(hub)
    if status == "deferred":
        assert hub.queue()[0]["recipients"][0]["status"] == "deferred"
    else:
        assert hub.queue()[0]["sender"] == ""  # the report waits


def test_a_message_that_is_being_sent(site):
    """The dot has not been sent when the time is over, and comes never."""
    has_begun = threading.Event()
    replies = {"BODY": [HANG, None]}

    def body(_session, _argument):
        has_begun.set()
        return replies["BODY"].pop(0) if replies["BODY"] else None

    peer = site.peer(replies={"BODY": body})
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=none\n")
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", LARGE)
    assert has_begun.wait(PATIENCE_S)
    stop_begins(hub)
    ends_well(hub)
    assert [message["id"] for message in hub.queue()] == [message_id]
    assert hub.queue()[0]["recipients"][0]["attempts"] == 0
    assert restart_and_count(hub, peer) == 1


@pytest.mark.parametrize("numbers", ((signal.SIGTERM, signal.SIGTERM),
                                     (signal.SIGTERM, signal.SIGINT)))
def test_second_signal(site, numbers):
    """Nobody is waited for: not a client, nor a peer that has not answered."""
    slow = Slow(site)
    hub = slow.hub(site)
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert slow.has_it.wait(PATIENCE_S)
    client = begin(hub, IN_DATA)
    stop_begins(hub, numbers[0])
    hub.server.send_signal(numbers[1])
    hub.wait_for("stopping at once$")
    assert has_ended(client)
    ends_well(hub)
    assert [message["id"] for message in hub.queue()] == [message_id]
    slow.may_answer.set()


def test_signals_up_to_the_end(site):
    """At no moment of its stop do they end it otherwise than it would."""
    peer = site.peer()
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=none\n")
    for i in range(TIMES):
        relay(hub, "a@vm1.vm", "b@vm2.vm", LARGE)  # the pool has threads
        stop_begins(hub)
        while hub.is_running():
            hub.server.send_signal((signal.SIGHUP, signal.SIGTERM)[i % 2])
        ends_well(hub)
        hub.start()


# ---- commands meanwhile ----

def test_commands_while_it_stops(site):
    slow = Slow(site)
    hub = slow.hub(site)
    first = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert slow.has_it.wait(PATIENCE_S)
    stop_begins(hub)
    got = hub.command("reload")
    assert got.returncode == 75
    assert b"the server is stopping" in got.stderr
    hub.server.send_signal(signal.SIGHUP)
    hub.wait_for("reload refused: the server is stopping")
    assert hub.command("queue", "hold", first).returncode == 0
    slow.may_answer.set()
    hub.delivered("b@vm2.vm", first)
    ends_well(hub)
    assert hub.queue() == []  # it had been on its way


# ---- before it is ready ----

def test_hangup_before_it_is_ready(site, posthouse_bin, tmp_path):
    """It waits. The configuration is a pipe, so we know where the start is."""
    hub = site.hub()
    hub.stop()
    lines = hub.config.read_text()
    hub.config.unlink()
    os.mkfifo(hub.config, 0o600)
    log = tmp_path / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen([posthouse_bin, "-c", hub.config, "run"], stdout=file,
                                   stderr=file)
    try:
        with open(hub.config, "w", encoding="utf-8") as config:
            process.send_signal(signal.SIGHUP)
            config.write(lines)
        while b" ready: " not in log.read_bytes():
            assert process.poll() is None, log.read_text()
        with open(hub.config, "w", encoding="utf-8") as config:
            config.write(lines)  # the reload reads it
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert "reloaded: nothing has changed" in log.read_text()
    finally:
        process.kill()
        process.wait()
