"""What lies in a Maildir in the end: trace headers, permissions; test_wire.py has the bytes."""

import os
import re
import stat

import pytest

from clients import HOST, connect, relay, submit, text, transact
from mails import with_lines

ALICE, TEST1, BOB = "alice@vm1.vm", "test1@vm1.vm", "bob@vm2.vm"

DATE = r"[A-Z][a-z]{2}, +\d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}( \([^)]*\))?"
TLS = r"\(using TLSv1\.3 with cipher TLS_\w+ \((?:128|256)/(?:128|256) bits\)\)"


@pytest.fixture(scope="module")
def fleet(shared_site):
    """alice's edge, bob's edge and the hub between them, which is reached by STARTTLS and smtps."""
    bob_edge = shared_site.edge("vm2.vm")
    hub = shared_site.hub(f"vm2.vm relay:{HOST}:{bob_edge.port('smtp')} tls=verify\n")
    alice_edge = shared_site.edge(
        "vm1.vm", f"vm2.vm relay-smtps:{HOST}:{hub.port('smtps')} tls=verify\n")
    return alice_edge, hub, bob_edge


def across(fleet, certs, message):
    """From alice to bob; returns the message as it lies in bob's mailbox, and the three IDs."""
    alice_edge, hub, bob_edge = fleet
    ids, host_recipient = [submit(certs, alice_edge, ALICE, BOB, message)], BOB
    for host in (alice_edge, hub):
        line = host.delivered(host_recipient, ids[-1])
        ids.append(re.search(r"queued as (\w+)\)", line)[1])
    bob_edge.delivered(BOB, ids[-1])
    (found,) = [m for m in bob_edge.mailbox(BOB) if ids[-1].encode() in m]
    return found, ids


def test_trace_headers(fleet, certs):
    message, (first, second, third) = across(fleet, certs, text(BOB, "look at my headers"))
    assert b"\r" not in message
    header = message.partition(b"\n\n")[0].decode()
    unfolded = re.sub(r"\n[ \t]+", " ", header).split("\n")
    assert unfolded[:3] == ["Return-Path: <alice@vm1.vm>", "X-Original-To: bob@vm2.vm",
                            "Delivered-To: bob@vm2.vm"]
    for line, pattern in zip(unfolded[3:6], [
            rf"Received: from mta\.vm\.vm \(\[127\.0\.0\.1\]\) {TLS} "
            rf"by mta2\.vm2\.vm \(Posthouse\) with ESMTPS id {third} for <bob@vm2\.vm>; {DATE}",
            rf"Received: from mta1\.vm1\.vm \(\[127\.0\.0\.1\]\) {TLS} "
            rf"by mta\.vm\.vm \(Posthouse\) with ESMTPS id {second} for <bob@vm2\.vm>; {DATE}",
            rf"Received: from client\.example \(\[127\.0\.0\.1\]\) {TLS} "
            rf"by mta1\.vm1\.vm \(Posthouse\) with ESMTPSA id {first} for <bob@vm2\.vm>; {DATE}"]):
        assert re.fullmatch(pattern, line), line
    assert unfolded[6:9] == ["From: alice@vm1.vm", "To: bob@vm2.vm", "Subject: look at my headers"]
    assert [line.partition(":")[0] for line in unfolded[9:]] == ["Message-ID", "Date"]


def test_received_names_no_other_recipient(fleet, certs):
    """With several recipients, none may learn of the others from a header of ours."""
    edge = fleet[0]
    message_id = submit(certs, edge, ALICE, [TEST1, ALICE], text("undisclosed:;", "to two"))
    for user in (TEST1, ALICE):
        edge.delivered(user, message_id)
        (message,) = [m for m in edge.mailbox(user) if message_id.encode() in m]
        other = TEST1 if user == ALICE else ALICE
        assert b" for <" not in message
        assert message.startswith(f"Return-Path: <alice@vm1.vm>\nX-Original-To: {user}\n"
                                  f"Delivered-To: {user}\n".encode())
        if other == TEST1:
            assert other.encode() not in message


def test_plain_and_null_sender(fleet):
    edge = fleet[0]
    message_id = relay(edge, "", TEST1, text(TEST1, "a notification", ""))
    edge.delivered(TEST1, message_id)
    (message,) = [m for m in edge.mailbox(TEST1) if message_id.encode() in m]
    assert message.startswith(b"Return-Path: <>\n")
    assert b" with ESMTP id " in message and b"using TLS" not in message


def test_modes_and_names(fleet, certs):
    edge = fleet[0]
    edge.delivered(ALICE, submit(certs, edge, ALICE, ALICE))
    maildir = edge.directory / "vhosts" / "vm1.vm" / "alice"
    for folder in (maildir.parent, maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for path in (maildir / "new").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert re.fullmatch(r"\d+\.[A-Za-z0-9]+\.mta1\.vm1\.vm,S=\d+(,W=\d+)?", path.name), path
        assert int(re.search(r",S=(\d+)", path.name)[1]) == path.stat().st_size
    assert os.listdir(maildir / "cur") == []


def test_large_message_leaves_nothing(site, certs):
    edge = site.edge()
    message_id = submit(certs, edge, ALICE, [TEST1, ALICE], with_lines(300000))
    edge.removed(message_id)
    edge.stop()
    assert edge.bodies() == []
    for user in (ALICE, TEST1):
        assert os.listdir(edge.directory / "vhosts" / "vm1.vm" / user[:5] / "tmp") == []


def test_message_without_header(fleet, certs):
    """One that begins with an empty line, and one that is nothing but text."""
    edge = fleet[0]
    for message, stored in ((b"\r\nno header\r\n", b"\n\nno header\n"),
                            (b"just text\r\n", b"\n\njust text\n")):
        message_id = submit(certs, edge, ALICE, TEST1, message)
        edge.delivered(TEST1, message_id)
        (found,) = [m for m in edge.mailbox(TEST1) if message_id.encode() in m]
        assert found.endswith(stored)


def test_several_messages_in_a_session(fleet, certs):
    edge = fleet[0]
    with connect(certs, edge.port("submissions"), "implicit", ALICE) as client:
        ids = [transact(client, ALICE, TEST1, text(TEST1, f"number {i}")) for i in range(5)]
    for i, message_id in enumerate(ids):
        edge.delivered(TEST1, message_id)
        (message,) = [m for m in edge.mailbox(TEST1) if message_id.encode() in m]
        assert message.endswith(f"\n\nnumber {i}\n".encode())
