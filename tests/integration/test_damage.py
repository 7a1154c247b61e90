"""A queue database that was damaged while the server was down, or is found damaged while it runs."""

import random
import sqlite3

import pytest

from clients import relay, text

HOST = "127.0.0.1"
PAGE = 4096
MESSAGES = 30
LARGE = b"0123456789\r\n" * 20000  # its body is a file

QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}


def header(database, _roots):
    """Garbage where a database begins: neither its kind nor its tables can be read."""
    database[:PAGE] = random.Random(1).randbytes(PAGE)
    return database


def page_size(database, _roots):
    database[16:18] = b"\x02\x00"
    return database


def roots(database, roots_of):
    """The upper ends of the trees: all that hangs there is whole."""
    for name in ("q_body", "q_message_due", "q_recipient_waiting", "q_state"):
        start = (roots_of[name] - 1) * PAGE
        database[start:start + PAGE] = bytes(PAGE)
    return database


def free_list(database, _roots):
    """A page that is in use stands where free ones are listed."""
    database[32:40] = (4).to_bytes(4, "big") + (1).to_bytes(4, "big")
    return database


@pytest.fixture
def deferring(site):
    """A hub that was stopped with messages which their next hop has deferred."""
    peer = site.peer(replies={"RCPT": "450 4.2.1 mailbox busy"})
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=none\n", **QUICK)
    hub.peer = peer
    hub.ids = [relay(hub, "alice@vm1.vm", f"user{i}@vm2.vm",
                     LARGE if i == 0 else text(f"user{i}@vm2.vm", "x" * (900 * i)))
               for i in range(MESSAGES)]
    for i in range(MESSAGES):
        hub.waiting(f"user{i}@vm2.vm")
    hub.stop()
    return hub


def spoil(hub, damage):
    path = hub.directory / "queue" / "queue.db"
    connection = sqlite3.connect(path)
    roots_of = dict(connection.execute("select name, rootpage from sqlite_schema"))
    connection.close()
    path.write_bytes(damage(bytearray(path.read_bytes()), roots_of))


@pytest.mark.parametrize("damage", [header, page_size, roots, free_list])
def test_everything_is_delivered(deferring, damage):
    hub = deferring
    spoil(hub, damage)
    hub.peer.script(RCPT=None)
    hub.start()
    hub.wait_for("warning: the queue database was damaged .* kept as .*queue.db.damaged.")
    for message_id in hub.ids:
        hub.removed(message_id)
    assert hub.queue() == []
    hub.removed(relay(hub, "alice@vm1.vm", "new@vm2.vm"))
    hub.stop()
    assert list((hub.directory / "queue").glob("queue.db.damaged.*"))
    connection = hub.database()
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert hub.bodies() == []

    hub.start()  # and nothing is left to say about it
    hub.stop()
    assert "damaged" not in hub.server.log()


def test_no_database(deferring):
    """Nothing is left: bodies in files are kept, and mail goes on."""
    hub = deferring
    spoil(hub, lambda database, _: random.Random(2).randbytes(len(database)))
    hub.peer.script(RCPT=None)
    hub.start()
    hub.wait_for("warning: 1 body files that belong to no message in the new database are kept in")
    hub.removed(relay(hub, "alice@vm1.vm", "new@vm2.vm"))
    hub.stop()
    (kept,) = (hub.directory / "queue").glob("bodies.damaged.*/*")
    assert kept.name == hub.ids[0]
    assert LARGE in kept.read_bytes()


def test_reading_and_acting_without_server(deferring):
    """A reader says that it is damaged and touches nothing; an action salvages it first."""
    hub = deferring
    spoil(hub, roots)
    got = hub.command("queue", "list")
    assert got.returncode == 74
    assert b"malformed" in got.stderr
    assert not list((hub.directory / "queue").glob("queue.db.damaged.*"))
    got = hub.command("queue", "hold", "--all")
    assert got.returncode == 0, got.stderr
    assert b"the queue database was damaged" in got.stderr
    assert len(hub.queue()) == MESSAGES
