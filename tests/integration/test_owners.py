"""Mailboxes that are not the server's own, quotas, and what a real Dovecot counts.

As root, in a mount namespace with accounts of its own: nobody of the machine is touched.
"""

import os
import re
import select
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest

from clients import relay, text
from dovecot import DOVEADM
from hosts import Site
from server import PATIENCE_S

SERVER, ALICE, BOB = 61001, 61002, 61003
TEST1 = "test1@vm1.vm"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or
    subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs root and a mount namespace")

ACCOUNTS = f"""\
root:x:0:0:root:/root:/bin/sh
low:x:50:50::{{home}}/low:/bin/false
mta:x:{SERVER}:{SERVER}::/:/bin/false
alice:x:{ALICE}:{ALICE}::{{home}}/alice:/bin/false
bob:x:{BOB}:{BOB}::{{home}}/bob:/bin/false
"""

WRAPPER = """\
#!/bin/sh
chown -R {server} "$(dirname "$2")"
exec unshare --mount --propagation private sh -c '
	mount --bind {place}/passwd /etc/passwd && mount --bind {place}/group /etc/group &&
	exec "$@"' sh {program} "$@"
"""


@pytest.fixture
def place(open_path):
    """A directory that all may enter, with accounts and their homes, which only they may enter."""
    (open_path / "passwd").write_text(ACCOUNTS.format(home=open_path / "home"))
    (open_path / "group").write_text("".join(
        f"{name}:x:{number}:\n" for name, number in
        (("root", 0), ("low", 50), ("mta", SERVER), ("alice", ALICE), ("bob", BOB))))
    for name, number in (("alice", ALICE), ("bob", BOB)):
        home = open_path / "home" / name
        home.mkdir(parents=True)
        home.chmod(0o700)
        os.chown(home, number, number)
    return open_path


@pytest.fixture
def owners(place, posthouse_bin, certs):
    """A Site whose servers see these accounts, and nothing else of ours."""
    program = place / "posthouse"
    program.write_text(WRAPPER.format(place=place, server=SERVER, program=posthouse_bin))
    program.chmod(0o755)
    site = Site(place, str(program), certs)
    yield site
    site.close()


def edge_of(site, **parameters):
    """As mta; its keys and files are where it may read them."""
    certs = site.directory / "certs"
    if not certs.exists():
        shutil.copytree(site.certs, certs)
        certs.chmod(0o755)
        for path in certs.rglob("*"):
            os.chown(path, SERVER, SERVER)
    return site.edge(**{
        "user": "mta",
        "smtpd_tls_cert_file": f"{certs}/hub.pem",
        "smtpd_tls_key_file": f"{certs}/hub.key",
        "smtpd_tls_CAfile": f"{certs}/ca.pem",
        "virtual_mailbox_base": f"{site.directory}/vhosts",
        **parameters})


def mails(folder):
    return sorted((folder / "new").iterdir())


def carrier_of(edge):
    """Its process, the one child of the server."""
    pid = edge.server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_one_owner(owners, place):
    edge = edge_of(owners, virtual_uid_maps=f"static:{ALICE}", virtual_gid_maps=f"static:{ALICE}")
    edge.delivered(TEST1, relay(edge, "", TEST1))
    (mail,) = mails(place / "vhosts/vm1.vm/test1")
    assert (mail.stat().st_uid, mail.stat().st_gid, mail.stat().st_mode & 0o7777) == (
        ALICE, ALICE, 0o600)
    assert (place / "vhosts").stat().st_uid == ALICE  # made for him
    assert Path(f"/proc/{edge.server.process.pid}").stat().st_uid == SERVER
    # What it was told at the start cannot change, and says so.
    edge.change(virtual_uid_maps=f"static:{BOB}")
    got = edge.command("reload")
    assert got.returncode == 78 and b"needs a restart" in got.stdout + got.stderr
    edge.delivered(TEST1, relay(edge, "", TEST1))
    assert {m.stat().st_uid for m in mails(place / "vhosts/vm1.vm/test1")} == {ALICE}


def test_owners_by_map(owners, place):
    """Each his own; a new line is taken up, and one that root would be the owner of is refused."""
    for name, number in (("alice", ALICE), ("test1", BOB)):
        (place / "vhosts/vm1.vm" / name).mkdir(parents=True)
        os.chown(place / "vhosts/vm1.vm" / name, number, number)
    (place / "uids").write_text(f"alice@vm1.vm {ALICE}\n{TEST1} {BOB}\n")
    edge = edge_of(owners, virtual_uid_maps=f"hash:{place}/uids",
                   virtual_gid_maps=f"hash:{place}/uids")
    for user, number in (("alice", ALICE), ("test1", BOB)):
        edge.delivered(f"{user}@vm1.vm", relay(edge, "", f"{user}@vm1.vm"))
        assert [m.stat().st_uid for m in mails(place / "vhosts/vm1.vm" / user)] == [number]
    (place / "uids").write_text(f"alice@vm1.vm {ALICE}\n{TEST1} 99\n")
    edge.wait_for("uids has changed")
    line = edge.delivered(TEST1, relay(edge, "", TEST1), "deferred")
    assert "dsn=4.3.5" in line and "virtual_minimum_uid" in line


def test_homes(owners, place):
    """Only alice may enter her home, and her mail is written as hers."""
    edge = edge_of(owners, mydestination="vm1.vm", virtual_mailbox_domains="other.vm",
                   home_mailbox="Maildir/")
    edge.delivered("alice@vm1.vm", relay(edge, "", "alice@vm1.vm"))
    (mail,) = mails(place / "home/alice/Maildir")
    assert (mail.stat().st_uid, mail.stat().st_mode & 0o7777) == (ALICE, 0o600)
    assert (place / "home/alice/Maildir").stat().st_mode & 0o7777 == 0o700
    # Bob may redirect his within what he may write himself: not to alice.
    (place / "home/bob/Maildir").symlink_to(place / "home/alice/Maildir")
    line = edge.delivered("bob@vm1.vm", relay(edge, "", "bob@vm1.vm"), "deferred")
    assert (f"/home/bob/Maildir/: cannot open or make Maildir, as user {BOB}: Permission denied"
            in line)
    assert len(mails(place / "home/alice/Maildir")) == 1
    for system in ("root", "low"):
        line = edge.delivered(f"{system}@vm1.vm", relay(edge, "", f"{system}@vm1.vm"), "deferred")
        assert "virtual_minimum_uid" in line


def test_the_carrier_ends_with_the_server(owners, place):
    edge = edge_of(owners, virtual_uid_maps=f"static:{ALICE}", virtual_gid_maps=f"static:{ALICE}")
    edge.delivered(TEST1, relay(edge, "", TEST1))
    descriptor = os.pidfd_open(carrier_of(edge))
    try:
        edge.kill()
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
    finally:
        os.close(descriptor)


# ---- quota ----

def doveadm(place, *arguments):
    """As the owner of the mailbox, without a server."""
    config = place / "dovecot.conf"
    box = place / "vhosts/vm1.vm/test1"
    config.write_text(f"""\
log_path = /dev/stderr
base_dir = {place}/dovecot
state_dir = {place}/dovecot
ssl = no
mail_location = maildir:{box}
first_valid_uid = {ALICE}
mail_plugins = quota
plugin {{
  quota = maildir:User quota
  quota_rule = *:bytes=20000
}}
""")
    return subprocess.run(
        ["setpriv", "--reuid", str(ALICE), "--regid", str(ALICE), "--clear-groups", "env",
         f"USER={TEST1}", f"HOME={place}", DOVEADM, "-c", config, *arguments],
        check=True, capture_output=True, encoding="utf-8", cwd="/").stdout


def quota(place):
    """What Dovecot says is used, KiB rounded up and messages; it reads our file for that."""
    rows = [line.split() for line in doveadm(place, "quota", "get").splitlines()[1:]]
    return {row[2]: int(row[3]) for row in rows}


@pytest.mark.skipif(not os.access(DOVEADM, os.X_OK), reason="needs Dovecot")
def test_dovecot_agrees(owners, place):
    edge = edge_of(owners, virtual_uid_maps=f"static:{ALICE}", virtual_gid_maps=f"static:{ALICE}",
                   virtual_mailbox_limit=20000)
    box, size = place / "vhosts/vm1.vm/test1", place / "vhosts/vm1.vm/test1/maildirsize"
    message = text(TEST1) + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 60

    def deliver(status="sent"):
        return edge.delivered(TEST1, relay(edge, "", TEST1, message), status)

    def used():
        return sum(path.stat().st_size for path in box.glob("*/*,S=*"))

    deliver()
    deliver()
    assert size.read_text() == f"20000S\n0 0\n{used() // 2} 1\n{used() // 2} 1\n"
    assert quota(place) == {"STORAGE": -(-used() // 1024), "MESSAGE": 2}
    assert size.read_text() == f"20000S\n0 0\n{used() // 2} 1\n{used() // 2} 1\n"
    # What is removed by Dovecot counts for us, and what we bring counts for it.
    doveadm(place, "expunge", "mailbox", "INBOX", "1")
    assert quota(place) == {"STORAGE": -(-used() // 1024), "MESSAGE": 1}
    one = used()
    while used() + one <= 20000:
        deliver()
    assert quota(place) == {"STORAGE": -(-used() // 1024), "MESSAGE": used() // one}
    line = deliver("deferred")
    assert "dsn=4.2.2" in line and "full: " in line
    assert line.endswith(" bytes more would pass its limit of 20000)")
    assert re.fullmatch(rf"20000S\n{used()} {used() // one}\n", size.read_text())
    doveadm(place, "expunge", "mailbox", "INBOX", "1:2")
    doveadm(place, "quota", "recalc")
    deliver()
    assert quota(place) == {"STORAGE": -(-used() // 1024), "MESSAGE": used() // one}


def test_full_is_said_at_once(site):
    """At RCPT, where the file is sure; by SIZE too. And there is room again without a restart."""
    edge = site.edge(virtual_mailbox_limit=5000)
    message = text(TEST1) + b"z" * 70 + b"\r\n"
    size = edge.directory / "vhosts/vm1.vm/test1/maildirsize"
    edge.delivered(TEST1, relay(edge, "", TEST1, message))
    got = rcpt(edge, "MAIL FROM:<> SIZE=4000", TEST1)
    assert got.startswith("250 ")
    assert rcpt(edge, "MAIL FROM:<> SIZE=9000", TEST1) == (
        f"452 4.2.2 <{TEST1}>: Recipient address rejected: the mailbox is full")
    size.write_text("5000S\n5000 1\n")
    assert rcpt(edge, "MAIL FROM:<>", TEST1).startswith("452 4.2.2 ")
    size.unlink()
    assert rcpt(edge, "MAIL FROM:<>", TEST1).startswith("250 ")
    edge.delivered(TEST1, relay(edge, "", TEST1, message))


def rcpt(edge, mail, recipient):
    with smtplib.SMTP("127.0.0.1", edge.port("smtp")) as client:
        client.ehlo("client.example")
        assert client.docmd(mail)[0] == 250
        code, reply = client.docmd(f"RCPT TO:<{recipient}>")
        return f"{code} {reply.decode()}"


def test_what_needs_root(owners, place, posthouse_bin):
    """What needs a process that was forked as root is no change for a reload, and check tells it others."""
    edge = edge_of(owners)
    edge.change(mydestination="local.vm", home_mailbox="Maildir/")
    got = edge.command("reload")
    assert got.returncode == 78 and b"needs a restart" in got.stdout + got.stderr
    edge.stop()
    edge.change(user=None, mydestination=None, home_mailbox=None,
                virtual_uid_maps=f"static:{ALICE}", virtual_gid_maps="static:0")
    edge.config.chmod(0o644)
    got = subprocess.run(
        ["setpriv", "--reuid", str(SERVER), "--regid", str(SERVER), "--clear-groups",
         posthouse_bin, "-c", edge.config, "check"],
        capture_output=True, encoding="utf-8", check=False)
    for parameter, number, problem in (
            ("virtual_uid_maps", ALICE,
             "only a server that is started as root can write mailboxes of others"),
            ("virtual_gid_maps", 0, "expected the number of a group, above 0")):
        assert re.search(rf"posthouse\.conf:\d+: error: {parameter}: {number}: {problem}\n",
                         got.stdout), got.stdout
