"""The disk is full, or fills up at the wrong moment: refuse, keep what there is, and go on after."""

import os
import smtplib
import subprocess

import pytest

from clients import HOST, relay, text

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 40000


class Ballast:
    """A small file system for the queue, and a file that takes what is free of it."""

    def __init__(self, directory):
        self.directory = directory
        self._file = directory / "ballast"

    def fill(self):
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (65536, 4096, 1):
                try:
                    while os.write(fd, bytes(size)) == size:
                        pass
                except OSError:
                    pass
        finally:
            os.close(fd)

    def empty(self):
        self._file.unlink()


@pytest.fixture
def disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "posthouse-test", directory],
                       check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a file system of its own, which only root can mount")
    yield Ballast(directory)
    subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture
def hub(site, disk):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n",
                   queue_directory=disk.directory / "queue",
                   minimal_backoff_time="1s", maximal_backoff_time="1s")
    hub.peer = peer
    return hub


def refused(host, message):
    """The reply to the end of the data, or to what came before it."""
    with smtplib.SMTP(HOST, host.port("smtp"), "client.example", timeout=60) as client:
        try:
            client.sendmail("a@vm1.vm", ["b@vm2.vm"], message)
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error.decode()
        raise AssertionError("it was taken")


@pytest.mark.parametrize("message", [SMALL, LARGE], ids=["small", "large"])
def test_refused_while_full(hub, disk, message):
    disk.fill()
    for _ in range(3):
        code, reply = refused(hub, message)
        assert code == 452 and reply.startswith("4.3.1 "), reply
    disk.empty()
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", message)
    hub.removed(message_id)
    assert len(hub.peer.messages) == 1
    assert hub.queue() == [] and hub.bodies() == []


def test_what_was_delivered_is_recorded_later(hub, disk):
    """The next hop takes the message as the disk becomes full: it is sent once."""
    def answer(_session, _message):
        disk.fill()
        return "250 2.0.0 Ok: taken"

    hub.peer.script(END=[answer])
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
    hub.wait_for("error: cannot record deliveries: .*; trying again every second")
    assert refused(hub, SMALL)[0] == 452
    disk.empty()
    hub.removed(message_id)
    relay(hub, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
    hub.peer.wait_for_messages(2)
    assert len(hub.peer.messages) == 2


def test_full_mailboxes(site, disk):
    """Mail for a mailbox that cannot grow waits, and nothing half is left behind."""
    edge = site.edge(virtual_mailbox_base=disk.directory / "vhosts",
                     minimal_backoff_time="1s", maximal_backoff_time="1s")
    disk.fill()
    message_id = relay(edge, "a@vm2.vm", "alice@vm1.vm", LARGE)
    edge.wait_for(f"{message_id}: to=<alice@vm1.vm>.*dsn=4.3.1, status=deferred")
    disk.empty()
    edge.removed(message_id)
    mailbox = disk.directory / "vhosts" / "vm1.vm" / "alice"
    assert list((mailbox / "tmp").iterdir()) == []
    (path,) = (mailbox / "new").iterdir()
    assert path.read_bytes().endswith(LARGE.replace(b"\r\n", b"\n"))


def test_restart_while_full(site, hub, disk):
    """What waits in the queue survives a restart on a full disk, and leaves when there is room."""
    hub.peer.script(MAIL="451 4.3.0 later")
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
    hub.waiting("b@vm2.vm")
    disk.fill()
    hub.stop()
    got = hub.command("queue", "list", "--json")
    assert got.returncode == 0 and message_id.encode() in got.stdout
    disk.empty()
    hub.peer.script(MAIL=None)
    hub.start()
    hub.removed(message_id)
    assert len(hub.peer.messages) == 1
