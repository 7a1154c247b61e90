"""Killed under load, and stopped under load: whatever got its 250 arrives.

Clients send numbered messages and repeat each until it is accepted. A number
may arrive twice only if

- a client never heard the reply to the first one, and sent it again, or
- the server was killed between the next hop's 250 and the commit that records
  it. Then the log has no "removed" for that message before the kill.
"""

import collections
import random
import re
import smtplib
import sqlite3
import threading
import time

import pytest

from clients import HOST, text
from server import PATIENCE_S

CLIENTS = 4
ROUNDS = 12
LARGE = b"0123456789\r\n" * 20000  # more than 128 KiB: its body is a file

QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}


class Load:
    """Clients that send message after message, while the server is said to be there."""

    def __init__(self, port, recipient):
        self.accepted = {}  # number -> the ID that the 250 named
        self.unheard = set()  # numbers of which a try ended without a reply
        self._port, self._recipient = port, recipient
        self._news = threading.Condition()
        self._is_up, self._is_done = threading.Event(), threading.Event()
        self._number = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        self._is_up.set()

    def pause(self):
        """No new connections until resume(); those that there are go on."""
        self._is_up.clear()

    def resume(self):
        self._is_up.set()

    def wait_for_more(self, count):
        """Until so many more have been accepted."""
        with self._news:
            wanted = len(self.accepted) + count
            assert self._news.wait_for(lambda: len(self.accepted) >= wanted, PATIENCE_S)

    def finish(self):
        """Each client ends with the message that it is at."""
        self._is_done.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _run(self):
        client = None
        while not self._is_done.is_set():
            with self._news:
                self._number += 1
                number = self._number
            is_accepted = False
            while not is_accepted:
                try:
                    client = client or self._connect()
                    is_accepted = self._send(client, number)
                except (OSError, smtplib.SMTPException):
                    pass
                if not is_accepted and client:
                    client.close()
                    client = None
        client.close()

    def _connect(self):
        self._is_up.wait(PATIENCE_S)
        client = smtplib.SMTP(HOST, self._port, "client.example", timeout=PATIENCE_S)
        client.ehlo()
        return client

    def _send(self, client, number):
        message = text("sink", f"number {number}.") + (LARGE if number % 8 == 0 else b"")
        if client.mail("sender@elsewhere.example")[0] != 250:
            return False
        if client.rcpt(self._recipient)[0] != 250:
            return False
        try:
            code, reply = client.data(message)
        except (OSError, smtplib.SMTPException):
            self.unheard.add(number)
            raise
        if code == 250:
            with self._news:
                self.accepted[number] = reply.decode().split()[-1]
                self._news.notify_all()
        return code == 250


def number_and_id(message):
    """Of what has arrived: the client's number, and the ID of the server under test."""
    return (int(re.search(rb"Subject: number (\d+)\.", message)[1]),
            re.search(rb"\sid (\w+)\s", message)[1].decode())


def check_arrivals(load, arrivals, host):
    """Nothing lost; doubles only where they may be. Returns how many there were of each kind."""
    counts = collections.Counter(arrivals)
    ids_of = collections.defaultdict(set)
    for number, message_id in arrivals:
        ids_of[number].add(message_id)
    for number, message_id in load.accepted.items():
        assert counts[number, message_id] > 0, f"{message_id} was accepted and has not arrived"
    for number, ids in ids_of.items():
        assert len(ids) == 1 or number in load.unheard, f"{number} came as {ids}"
    doubles = {message_id for (_, message_id), count in counts.items() if count > 1}
    for message_id in doubles:
        removed = sum(line.endswith(f" {message_id}: removed")
                      for server in host.servers for line in server.lines)
        assert removed <= 1, f"{message_id} was delivered again after it had been removed"
    return len(doubles)


def check_rest(host):
    """An empty and sound queue."""
    assert host.queue() == []
    assert host.bodies() == []
    connection = host.database()
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert connection.execute("select count(*) from messages").fetchone() == (0,)
    assert connection.execute("select count(*) from recipients").fetchone() == (0,)
    connection.close()


def wait_until_empty(host):
    deadline = time.monotonic() + PATIENCE_S
    while host.queue():
        assert time.monotonic() < deadline, host.command("queue", "list").stdout.decode()


def interrupt(load, host, end):
    """Again and again: let the clients send, end the server in the midst of it, start it anew."""
    moments = random.Random()
    for _ in range(ROUNDS):
        load.wait_for_more(moments.randrange(5, 50))
        time.sleep(moments.random() / 50)  # so that it is not always right behind a reply
        load.pause()
        end()
        host.start()
        load.resume()
    load.wait_for_more(10)
    load.finish()
    wait_until_empty(host)
    host.stop()


@pytest.fixture
def relaying(site):
    """A hub with a next hop; and what has arrived there."""
    sink = site.peer(tls="starttls")
    hub = site.hub(f"* relay:{HOST}:{sink.port} tls=encrypt\n", **QUICK)
    return hub, "a@vm1.vm", lambda: [number_and_id(m.body) for m in sink.messages]


@pytest.fixture
def delivering(site):
    """An edge, and what lies in a mailbox."""
    edge = site.edge(**QUICK)
    return edge, "test1@vm1.vm", lambda: [number_and_id(m) for m in edge.mailbox("test1@vm1.vm")]


@pytest.fixture(params=["relaying", "delivering"])
def loaded(request):
    host, recipient, arrivals = request.getfixturevalue(request.param)
    return host, Load(host.port("smtp"), recipient), arrivals


def test_kill_under_load(loaded):
    host, load, arrivals = loaded
    interrupt(load, host, host.kill)
    doubles = check_arrivals(load, arrivals(), host)
    check_rest(host)
    assert doubles <= ROUNDS * 2 * 20  # what can be under way at a kill


def test_stop_under_load(loaded):
    """SIGTERM: every client hears its reply, and nothing comes twice."""
    host, load, arrivals = loaded
    interrupt(load, host, host.stop)
    assert load.unheard == set()
    assert check_arrivals(load, arrivals(), host) == 0
    check_rest(host)
