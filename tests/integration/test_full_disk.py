"""A disk that is full, or fills up at the wrong moment: mail is refused and leaves, none is lost.

Each test has a real file system of a few MiB, in a mount namespace of its own.
"""

import ctypes
import os
import re
import smtplib
import subprocess
import time

import pytest

from clients import HOST, relay, text
from server import PATIENCE_S

CLONE_NEWNS = 0x20000
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 40000
ENDED, BACK = "warning: no room for mail: ", "warning: there is room for mail again: "


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Disk:
    """A small file system, and a file of somebody else's that takes what is free of it."""

    def __init__(self, directory):
        self.directory = directory
        self._file = directory / "somebody-elses"

    def fill(self):
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (65536, 4096, 1):
                try:
                    while os.write(fd, bytes(size)) == size:
                        pass
                except OSError:
                    pass
            os.fsync(fd)  # ext4 may have promised more than it can give
        except OSError:
            pass
        finally:
            os.close(fd)

    def empty(self):
        self._file.unlink()


@pytest.fixture(scope="module")
def namespace():
    """What is mounted from here on goes with this process, whatever becomes of it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) < 0:
        pytest.skip("needs a mount namespace, which this account may not make (unshare -m): " +
                    os.strerror(ctypes.get_errno()))
    run("mount", "--make-rprivate", "/")


def mount(directory, kind, mib):
    directory.mkdir()
    try:
        if kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "posthouse-test", directory)
        else:
            image = directory.with_suffix(".img")
            with open(image, "wb") as file:
                file.truncate(mib << 20)
            run("mkfs.ext4", "-q", "-m", "0", image)
            run("mount", "-o", "loop", image, directory)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a file system here: {error}")
    return Disk(directory)


@pytest.fixture
def disk(namespace, tmp_path):
    disk = mount(tmp_path / "disk", "tmpfs", 16)
    yield disk
    run("umount", "-l", disk.directory)


@pytest.fixture(params=["tmpfs", "ext4"])
def any_disk(request, namespace, tmp_path):
    disk = mount(tmp_path / "disk", request.param, 24)
    yield disk
    run("umount", "-l", disk.directory)


def hub_on(site, disk, **parameters):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", **{
        "queue_directory": disk.directory / "queue", "queue_minfree": "1M",
        "minimal_backoff_time": "1s", "maximal_backoff_time": "1s", **parameters})
    hub.peer = peer
    return hub


@pytest.fixture
def hub(site, disk):
    return hub_on(site, disk)


def offer(host, message, sender="a@vm1.vm"):
    """(250, ID) when it was taken, or (code, reply) of what refused it."""
    with smtplib.SMTP(HOST, host.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        try:
            client.ehlo()
            for step in (lambda: client.mail(sender), lambda: client.rcpt("b@vm2.vm")):
                code, reply = step()
                if code != 250:
                    return code, reply.decode()
            code, reply = client.data(message)
            return code, reply.decode().split()[-1] if code == 250 else reply.decode()
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error.decode()


def refuse_at_once(host):
    """Wait until MAIL is refused: somebody must have looked, or run into it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with smtplib.SMTP(HOST, host.port("smtp"), "c.example", timeout=PATIENCE_S) as client:
            client.ehlo()
            code, reply = client.mail("a@vm1.vm")
        if code == 452:
            assert reply.startswith(b"4.3.1 Insufficient system storage"), reply
            return
        assert time.monotonic() < deadline, "mail is not refused"


def lines(host, pattern):
    return [line for line in host.server.log().splitlines() if re.search(pattern, line)]


def numbered(number, size):
    return b"Subject: %d\r\n\r\n" % number + b"0123456789abcdef\r\n" * (size // 18)


def numbers(messages):
    return sorted(int(re.search(rb"Subject: (\d+)", message.body)[1]) for message in messages)


def fill_by_mail(hub):
    """Returns the numbers of those that were taken."""
    taken, refusals = [], 0
    for number in range(2000):
        code, reply = offer(hub, numbered(number, (300, 4000, 100000, 400000)[number % 4]))
        if code == 250:
            taken.append(number)
        else:
            assert code == 452 and reply.startswith("4.3.1 "), reply
            refusals += 1
            if refusals == 20:
                return taken
    raise AssertionError("the disk does not become full")


def test_filled_by_mail(site, any_disk):
    """Until 452; what is there leaves, and its room with it; then mail is taken again."""
    hub = hub_on(site, any_disk)
    hub.peer.script(MAIL="451 4.3.0 later")
    taken = fill_by_mail(hub)
    assert len(taken) > 20
    refuse_at_once(hub)
    log = hub.server.log()
    assert log.count(ENDED) == 1
    assert not re.search("reject:|cannot store", log[log.index(ENDED):])
    assert len(hub.queue()) == len(taken)

    hub.peer.script(MAIL=None)
    hub.peer.wait_for_messages(len(taken))
    hub.wait_for(BACK)
    assert numbers(hub.peer.messages) == taken
    relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(9999, 400000))
    hub.peer.wait_for_messages(len(taken) + 1)
    assert numbers(hub.peer.messages) == taken + [9999]


def test_filled_by_others(hub, disk):
    """Not a byte is free: what waits is delivered, recorded and removed nevertheless."""
    hub.peer.script(MAIL="451 4.3.0 later")
    ids = [relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(i, 100000)) for i in range(20)]
    disk.fill()
    refuse_at_once(hub)
    assert len(hub.queue()) == 20
    hub.peer.script(MAIL=None)
    for message_id in ids:
        hub.removed(message_id)
    assert numbers(hub.peer.messages) == list(range(20))
    assert hub.queue() == []
    disk.empty()
    hub.wait_for(BACK)
    relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(20, 400000))
    hub.peer.wait_for_messages(21)
    assert len(lines(hub, ENDED)) == len(lines(hub, BACK)) == 1


@pytest.mark.parametrize("message", [SMALL, LARGE], ids=["small", "large"])
def test_refused_while_full(hub, disk, message):
    disk.fill()
    refuse_at_once(hub)
    for _ in range(3):
        code, reply = offer(hub, message)
        assert code == 452 and reply.startswith("4.3.1 "), reply
    disk.empty()
    hub.wait_for(BACK)
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", message)
    hub.removed(message_id)
    assert len(hub.peer.messages) == 1
    assert hub.queue() == [] and hub.bodies() == []


@pytest.mark.parametrize("message", [SMALL, LARGE], ids=["small", "large"])
def test_full_between_mail_and_data(hub, disk, message):
    """What was promised at MAIL can no longer be held."""
    with smtplib.SMTP(HOST, hub.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail("a@vm1.vm")[0] == 250
        assert client.rcpt("b@vm2.vm")[0] == 250
        disk.fill()
        try:
            code, reply = client.data(message)
        except smtplib.SMTPDataError as error:
            code, reply = error.smtp_code, error.smtp_error
        assert code == 452 and reply.startswith(b"4.3.1 "), reply
    disk.empty()
    assert hub.queue() == [] and hub.bodies() == []


def test_full_between_mail_and_bdat(hub, disk):
    """Chunks are read all the same, and nothing is logged of each that is refused."""
    with smtplib.SMTP(HOST, hub.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail("a@vm1.vm")[0] == 250
        assert client.rcpt("b@vm2.vm")[0] == 250
        disk.fill()
        refuse_at_once(hub)
        client.send(b"BDAT %d\r\n" % len(LARGE) + LARGE + b"BDAT 6 LAST\r\nQUIT\r\n")
        for _ in range(2):
            code, reply = client.getreply()
            assert code == 452 and reply.startswith(b"4.3.1 "), reply
        assert client.noop()[0] == 250
    disk.empty()
    hub.wait_for(BACK)
    log = hub.server.log()
    assert "reject:" not in log[log.index(ENDED):]
    assert hub.queue() == [] and hub.bodies() == []


def test_announced_size(site, any_disk):
    """RFC 1870 section 6.1: what the client says is too much for the disk is refused at once."""
    hub = hub_on(site, any_disk)
    with smtplib.SMTP(HOST, hub.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail("a@vm1.vm", ["SIZE=40000000"])[0] == 452
        assert client.mail("a@vm1.vm", ["SIZE=400000000"])[0] == 552
        assert client.mail("a@vm1.vm", ["SIZE=1000000"])[0] == 250


def test_full_while_it_is_sent(hub, disk):
    """The next hop takes a message as the disk becomes full: it is sent once."""
    def answer(_session, _message):
        disk.fill()
        return "250 2.0.0 Ok: taken"

    hub.peer.script(END=[answer])
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
    hub.removed(message_id)
    refuse_at_once(hub)
    disk.empty()
    hub.wait_for(BACK)
    relay(hub, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
    hub.peer.wait_for_messages(2)
    assert len(hub.peer.messages) == 2


def test_no_ballast_left(site, disk):
    """Somebody takes the ballast as well: then outcomes and reports wait for better times."""
    hub = hub_on(site, disk)
    hub.peer.script(MAIL="451 4.3.0 later")
    ids = [relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(i, 100000)) for i in range(30)]
    for _ in range(3):
        disk.fill()
        (disk.directory / "queue" / "ballast").write_bytes(b"")
    disk.fill()
    hub.peer.script(MAIL=None, RCPT=lambda session, argument:
                    "550 5.1.1 no such user" if "b@vm2.vm" in argument else None)
    hub.wait_for("error: cannot record deliveries: .*; trying again every second")
    assert len(lines(hub, "cannot record deliveries")) <= 2  # one for each worker
    disk.empty()
    for message_id in ids:
        hub.removed(message_id)
    assert [m.recipients for m in hub.peer.wait_for_messages(30)] == [["a@vm1.vm"]] * 30
    hub.wait_for(BACK)
    relay(hub, "a@vm1.vm", "c@vm2.vm", SMALL)
    hub.peer.wait_for_messages(31)


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


def test_start_while_full(site, any_disk):
    """It starts on a full disk, delivers what waits, and takes mail when there is room."""
    hub = hub_on(site, any_disk)
    hub.peer.script(MAIL="451 4.3.0 later")
    ids = [relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(i, 100000)) for i in range(20)]
    hub.waiting("b@vm2.vm")
    hub.stop()
    any_disk.fill()
    got = hub.command("queue", "list", "--json")
    assert got.returncode == 0, got.stderr
    assert all(message_id.encode() in got.stdout for message_id in ids)

    hub.start()
    refuse_at_once(hub)
    hub.peer.script(MAIL=None)
    for message_id in ids:
        hub.removed(message_id)
    assert numbers(hub.peer.messages) == list(range(20))
    any_disk.empty()
    hub.wait_for(BACK)
    relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(20, 100000))
    hub.peer.wait_for_messages(21)


def test_killed_while_full(site, any_disk):
    """The ballast is spent, and the process dies: what waits is still delivered afterwards."""
    hub = hub_on(site, any_disk)
    hub.peer.script(MAIL="451 4.3.0 later")
    ids = [relay(hub, "a@vm1.vm", "b@vm2.vm", numbered(i, 50000)) for i in range(20)]
    any_disk.fill()
    refuse_at_once(hub)
    hub.kill()
    any_disk.fill()
    hub.peer.script(MAIL=None)
    hub.start()
    hub.peer.wait_for_messages(20)
    any_disk.empty()
    for message_id in ids:
        hub.removed(message_id)
    assert set(numbers(hub.peer.messages)) == set(range(20))


def test_read_only(hub, disk):
    """That is not a full disk, and nothing that goes away by itself: it says so and ends."""
    hub.stop()
    run("mount", "-o", "remount,ro", disk.directory)
    got = hub.command("run")
    assert got.returncode == 74, got.stderr
    assert b"Read-only file system" in got.stderr
    assert hub.command("queue", "list").returncode == 0
    run("mount", "-o", "remount,rw", disk.directory)
    hub.start()
