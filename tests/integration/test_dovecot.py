"""Dovecot beside an edge, by examples/dovecot-reads: it serves the Maildirs that we write."""

import contextlib
import os
import re
import smtplib
import subprocess
from pathlib import Path

import pytest

from clients import connect, relay, submit, text
from dovecot import DOVEADM, imap_messages, pop3_messages, retrieve, why_not
from examples import Example
from hosts import Site

ALICE, TEST1, BOB = "alice@vm1.vm", "test1@vm1.vm", "bob@vm2.vm"

pytestmark = pytest.mark.skipif(bool(why_not("imap", "pop3")), reason=why_not("imap", "pop3"))


class Pair:
    """An edge and its Dovecot."""

    def __init__(self, directory, posthouse_bin, certs, site, next_hop=1, as_root=True,
                 limit="1073741824"):
        self.example = Example("dovecot-reads", directory, certs)
        self.example.replacements["1073741824"] = limit  # in both of them
        self.example.put("users")
        self.edge = self.example.edge(site, posthouse_bin, next_hop)
        self.dovecot = self.example.dovecot(site, as_root)

    def add_user(self, line):
        self.example.put("users", (self.example.etc / "users").read_text() + line + "\n")


@contextlib.contextmanager
def running(open_path, posthouse_bin, certs, site, **options):
    pair = Pair(open_path, posthouse_bin, certs, site, **options)
    try:
        yield pair
    finally:
        pair.dovecot.stop()
        if pair.edge.is_running():
            pair.edge.stop()


@pytest.fixture
def pair(open_path, posthouse_bin, certs, site):
    with running(open_path, posthouse_bin, certs, site) as pair:
        yield pair


def test_the_example_is_sound(pair):
    got = pair.edge.command("check")
    assert got.returncode == 0 and b"warning" not in got.stdout, got.stdout


@pytest.mark.parametrize("as_root", [True, False])
def test_submitted_here_read_there(open_path, posthouse_bin, certs, site, as_root):
    """By an edge and a hub to the other edge, and there by POP3S and IMAPS."""
    hub = site.hub()
    bobs = site.edge("vm2.vm", routes=f"vm1.vm relay:127.0.0.1:{hub.port()} tls=verify\n")
    with running(open_path, posthouse_bin, certs, site, as_root=as_root) as pair:
        hub.write("ts", f"vm1.vm relay:127.0.0.1:{pair.edge.port()} tls=verify\n")
        hub.wait_for("transport_maps: .*has changed and was taken up")
        body = b"Message-ID: <1@vm2.vm>\r\nDate: Sat, 21 Nov 2026 07:00:00 +0000\r\n"
        body += text(ALICE, "from the other side", BOB) + b".\r\n..dots\r\n\xc3\xa9\r\n"
        submit(certs, bobs, BOB, ALICE, body)
        pair.edge.delivered(ALICE)
        (by_pop3,) = pop3_messages(pair.dovecot, certs, ALICE)
        (by_imap,) = imap_messages(pair.dovecot, certs, ALICE)
        assert by_pop3 == by_imap and by_imap.endswith(body)
        assert by_imap.startswith(b"Return-Path: <bob@vm2.vm>\r\n")
        assert pop3_messages(pair.dovecot, certs, TEST1) == []


def test_one_password_for_both(pair, certs):
    """A hash that Dovecot made, and one that is changed: both sides take it up, and no other."""
    made = subprocess.run([DOVEADM, "pw", "-s", "SHA512-CRYPT", "-p", "secret"], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
    mark = pair.edge.server.mark()
    pair.add_user(f"carol@vm1.vm:{made}::::::")
    pair.edge.wait_for("smtpd_sasl_passdb: has changed and was taken up", since=mark)
    with connect(certs, pair.edge.port("submission")) as client:
        client.login("carol@vm1.vm", "secret")
    pair.dovecot.imap(certs, "carol@vm1.vm", "secret").logout()
    with connect(certs, pair.edge.port("submission")) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("carol@vm1.vm", "Secret")
    with pytest.raises(pair.dovecot.imap(certs).error, match="AUTHENTICATIONFAILED"):
        pair.dovecot.imap(certs, "carol@vm1.vm", "Secret")


# ---- both at once ----

def arrive(pair, subject, recipient=ALICE):
    message_id = relay(pair.edge, "stranger@elsewhere.example", recipient,
                       text(recipient, subject, "stranger@elsewhere.example"))
    pair.edge.delivered(recipient, message_id)


def exists(client):
    """The number of messages in the selected mailbox, as of now."""
    client.noop()
    counts = [int(n) for n in client.untagged_responses.get("EXISTS", [])]
    client.untagged_responses.clear()
    return counts[-1] if counts else None


def test_a_selected_mailbox_sees_new_mail(pair, certs):
    arrive(pair, "first")
    with pair.dovecot.imap(certs, ALICE) as client:
        assert client.select()[1] == [b"1"]
        client.untagged_responses.clear()
        arrive(pair, "second")
        assert exists(client) == 2
        assert b"Subject: second\r\n" in client.fetch("2", "(BODY.PEEK[])")[1][0][1]


def test_idle_is_woken_by_a_delivery(pair, certs):
    with pair.dovecot.imap(certs, ALICE) as client:
        client.select()
        client.send(b"x1 IDLE\r\n")
        while not client.readline().startswith(b"+ "):
            pass
        arrive(pair, "news")
        while client.readline() != b"* 1 EXISTS\r\n":
            pass
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"x1 OK"):
            pass
        assert b"Subject: news\r\n" in client.fetch("1", "(BODY.PEEK[])")[1][0][1]


def test_flags_and_deletions_while_mail_arrives(pair, certs):
    """What a reader does to messages and what comes in are no matter to each other."""
    for number in range(3):
        arrive(pair, f"before {number}")
    with pair.dovecot.imap(certs, ALICE) as client, pair.dovecot.imap(certs, ALICE) as other:
        client.select()
        other.select()
        client.store("1", "+FLAGS", r"(\Seen)")
        client.store("2", "+FLAGS", r"(\Deleted)")
        arrive(pair, "between")
        client.expunge()
        client.create("Kept")
        client.copy("1", "Kept")
        arrive(pair, "after")
        assert exists(other) == 4
        subjects = [re.search(rb"Subject: (.*)\r", m)[1] for m in
                    imap_messages(pair.dovecot, certs, ALICE)]
        assert subjects == [b"before 0", b"before 2", b"between", b"after"]
        (kept,) = imap_messages(pair.dovecot, certs, ALICE, mailbox="Kept")
        assert b"Subject: before 0\r\n" in kept
        assert client.search(None, "SEEN")[1] == [b"1"]


def test_pop3_deletes_what_it_has_seen_and_nothing_else(pair, certs):
    arrive(pair, "first")
    client = pair.dovecot.pop3(certs, ALICE)
    assert client.stat()[0] == 1 and b"Subject: first\r\n" in retrieve(client)
    arrive(pair, "second")
    client.dele(1)
    client.quit()
    (left,) = pop3_messages(pair.dovecot, certs, ALICE)
    assert b"Subject: second\r\n" in left


# ---- quotas ----

LIMIT = 60000


@pytest.fixture
def small(open_path, posthouse_bin, certs, site):
    """With little room in each mailbox."""
    with running(open_path, posthouse_bin, certs, site, limit=LIMIT) as pair:
        yield pair


def large_text(subject, size=9000):
    return text(ALICE, subject, BOB) + (b"x" * 70 + b"\r\n") * (size // 72)


def on_disk(pair):
    """What the names of all messages of alice say, in all folders."""
    maildir = pair.example.vhosts / "vm1.vm" / "alice"
    return sum(int(re.search(r",S=(\d+)", path.name)[1]) for path in maildir.rglob("*,S=*"))


def in_maildirsize(pair):
    """(limit, sum of the changes in it)"""
    lines = (pair.example.vhosts / "vm1.vm" / "alice" / "maildirsize").read_text().splitlines()
    return lines[0], sum(int(line.split()[0]) for line in lines[1:])


def kib(size):
    return (size + 1023) // 1024


def imap_usage(client):
    """(used, limit) in KiB"""
    answer = client.getquotaroot("INBOX")[1][1][0].decode()
    return tuple(int(n) for n in re.search(r"STORAGE (\d+) (\d+)", answer).groups())


def test_quotas_agree(small, certs):
    """What one side writes or removes the other counts, by the same file."""
    with small.dovecot.imap(certs, ALICE) as client:
        for number in range(2):
            ours = large_text(f"ours {number}")
            small.edge.delivered(ALICE, relay(small.edge, BOB, ALICE, ours))
            client.append("INBOX", None, None, large_text(f"Dovecot's {number}"))
            assert in_maildirsize(small) == (f"{LIMIT}S", on_disk(small))
            assert imap_usage(client) == (kib(on_disk(small)), kib(LIMIT))
        client.create("Kept")
        client.select()
        client.copy("1", "Kept")
        assert in_maildirsize(small) == (f"{LIMIT}S", on_disk(small))
        client.store("1:2", "+FLAGS", r"(\Deleted)")
        client.expunge()
        small.edge.delivered(ALICE, relay(small.edge, BOB, ALICE, large_text("one more")))
        assert in_maildirsize(small) == (f"{LIMIT}S", on_disk(small))
        assert imap_usage(client)[0] == kib(on_disk(small))


def test_a_full_mailbox(small, certs):
    """Filled by Dovecot, it is full for us; mail waits, and comes when there is room."""
    with small.dovecot.imap(certs, ALICE) as client:
        client.select()
        message = large_text("fills")
        while client.append("INBOX", None, None, message)[0] == "OK":
            pass
        assert "OVERQUOTA" in client.append("INBOX", None, None, message)[1][0].decode()
        late = relay(small.edge, BOB, ALICE, message)
        line = small.edge.delivered(ALICE, late, "deferred")
        assert "dsn=4.2.2" in line
        with connect(certs, small.edge.port(), "none") as smtp:  # it has been counted by now
            smtp.mail(BOB, [f"SIZE={len(message)}"])
            assert smtp.rcpt(ALICE)[0] == 452
        client.noop()
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
        small.edge.waiting(ALICE)
        assert small.edge.command("queue", "retry", "--all").returncode == 0
        small.edge.delivered(ALICE, late)
        assert in_maildirsize(small) == (f"{LIMIT}S", on_disk(small))


def test_sizes_are_those_of_the_names(pair, certs):
    """,S= is the size of the file and ,W= that by IMAP: Dovecot believes them unseen."""
    arrive(pair, "size")
    (file,) = (pair.example.vhosts / "vm1.vm" / "alice" / "new").iterdir()
    assert int(re.search(r",S=(\d+)", file.name)[1]) == file.stat().st_size
    with pair.dovecot.imap(certs, ALICE) as client:
        client.select()
        size = int(re.search(rb"RFC822.SIZE (\d+)", client.fetch("1", "(RFC822.SIZE)")[1][0])[1])
        assert size == len(client.fetch("1", "(BODY.PEEK[])")[1][0][1])
    assert "Corrupt" not in pair.dovecot.log() and "Error" not in pair.dovecot.log()
