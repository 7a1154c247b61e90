"""A hub as gatekeeper: it knows who is there behind it, so it takes nothing that it had to return."""

import re
import sqlite3

from clients import HOST, connect

SENDER = "mallory@forged.example"


def ask(hub, certs, *recipients):
    """What the hub says to each of them, in one transaction that ends there."""
    with connect(certs, hub.port(), "none") as client:
        assert client.mail(SENDER)[0] == 250
        return [client.rcpt(recipient) for recipient in recipients]


def explain(hub, *arguments):
    got = hub.command("explain", *arguments)
    assert not got.stderr, got.stderr
    return got.stdout.decode()


# ---- relay_recipient_maps ----

def test_list_of_recipients(site, certs):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n",
                   files={"recipients": "# who is there\nbob@vm2.vm x\n@vm3.vm x\n"},
                   relay_recipient_maps="hash:recipients", recipient_delimiter="+")
    known, extended, all_of_it, unknown, other = ask(
        hub, certs, "bob@vm2.vm", "bob+x@vm2.vm", "anybody@vm3.vm", "eve@vm2.vm", "a@vm1.vm")
    assert [known[0], extended[0], all_of_it[0]] == [250, 250, 250]
    assert unknown == (550, b"5.1.1 <eve@vm2.vm>: Recipient address rejected: "
                            b"User unknown in relay recipient table")
    assert other[0] == 550, "a list says who is there in all of relay_domains"
    hub.wait_for("reject: RCPT from .*: 550 5.1.1 <a@vm1.vm>.* to=<a@vm1.vm>")
    assert "  recipient    known, as of recipients:2\n" in explain(hub, "bob+x@vm2.vm")
    said = explain(hub, "eve@vm2.vm")
    assert "User unknown in relay recipient table" in said
    assert re.search("error, as of .*posthouse.conf:", said)
    assert not hub.queue()

    hub.write("recipients", "eve@vm2.vm x\n")
    hub.wait_for("hash:recipients has changed and was taken up")
    (eve, bob) = ask(hub, certs, "eve@vm2.vm", "bob@vm2.vm")
    assert (eve[0], bob[0]) == (250, 550)


def test_list_that_cannot_be_read(site, certs):
    """Nobody is unknown for that."""
    directory = site.directory / "db"
    directory.mkdir()
    database = sqlite3.connect(directory / "who.db")
    database.execute("create table who (name text)")
    database.execute("insert into who values ('bob@vm2.vm')")
    database.commit()
    hub = site.hub("* error:5.0.0 not in this test\n", files={
        "who.cf": f"dbpath = {directory}/who.db\nquery = SELECT name FROM who WHERE name = '%s'\n",
    }, relay_recipient_maps="sqlite:who.cf")
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm")] == [250, 550]
    database.execute("alter table who rename to whom")
    database.commit()
    database.close()
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm")] == [451, 451]
    hub.wait_for("relay_recipient_maps: ")
