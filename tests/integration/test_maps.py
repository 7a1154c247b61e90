"""Maps of patterns and of databases: in a running server, and what it does when a lookup fails."""

import contextlib
import hashlib
import os
import re
import smtplib
import sqlite3
import ssl

import pytest

from clients import HOST, connect, relay, text, transact
from server import PATIENCE_S

SENDER = "alice@vm1.vm"
QUERY = "query = SELECT v FROM t WHERE k = '%s'\n"


# ---- a database, and what may be wrong with it ----

def fill(path, rows):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (k text primary key, v text)")
        connection.executemany("insert into t values (?, ?)", rows.items())
        connection.commit()


@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        yield
        connection.execute("rollback")


@contextlib.contextmanager
def replaced(path, content):
    saved = path.with_suffix(".saved")
    path.rename(saved)
    if content is not None:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.rename(path)
    yield
    saved.rename(path)


def of_another(path):
    """A database without the table."""
    other = path.with_suffix(".other")
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("create table other (x)")
        connection.commit()
    return other.read_bytes()


FAULTS = {
    "locked": locked,
    "missing": lambda path: replaced(path, None),
    "damaged": lambda path: replaced(path, b"this was a database once" * 100),
    "another": lambda path: replaced(path, of_another(path)),
}

WORDS = {
    "locked": "the database is locked",
    "missing": "No such file or directory",
    "damaged": "file is not a database",
    "another": "no such table: t",
}


@pytest.fixture(params=FAULTS)
def fault(request):
    return request.param


@pytest.fixture
def database(tmp_path):
    """database(rows, name) -> its path, and "sqlite:NAME.cf" of a map of it"""

    def make(rows, name="t"):
        path, cf = tmp_path / f"{name}.db", tmp_path / f"{name}.cf"
        fill(path, rows)
        cf.write_text(f"dbpath = {name}.db\n" + QUERY)
        return path, f"sqlite:{cf}"

    return make


def answers(host, sender, recipients, certs=None, user=None, service="smtp", certificate=None):
    """The code for MAIL, then one for each recipient."""
    tls = "none" if certs is None else "starttls"
    with connect(certs, host.port(service), tls, user=user, certificate=certificate) as client:
        replies = [client.mail(sender)]
        if replies[0][0] == 250:
            replies += [client.rcpt(recipient) for recipient in recipients]
    for code, reply in replies:
        if code == 451:
            assert reply.startswith(b"4.3.0 "), reply
            assert reply.endswith(b"Temporary lookup failure"), reply
    return [code for code, _ in replies]


# ---- a lookup that fails is not "not found" ----

def test_relay_domains(site, database, fault):
    path, spec = database({"vm2.vm": "yes", ".vm3.vm": "yes"})
    hub = site.hub(relay_domains=f"vm1.vm, {spec}")
    recipients = ["a@vm1.vm", "a@vm2.vm", "a@x.vm3.vm", "a@vm3.vm", "a@elsewhere.example"]
    assert answers(hub, SENDER, recipients) == [250, 250, 250, 250, 554, 554]
    with FAULTS[fault](path):
        assert answers(hub, SENDER, recipients) == [250, 250, 451, 451, 451, 451]
    assert answers(hub, SENDER, recipients) == [250, 250, 250, 250, 554, 554]
    hub.wait_for(rf"relay_domains: .*t\.cf:\d: .*{WORDS[fault]}")


def test_who_may_relay_anyway_does_not_wait(site, database):
    path, spec = database({})
    hub = site.hub(relay_domains=spec, mynetworks="127.0.0.0/8")
    with locked(path):
        assert answers(hub, SENDER, ["a@elsewhere.example"]) == [250, 250]


def test_networks(site):
    hub = site.hub(files={"list": "!127.0.0.0/8 no\n127.0.0.2/31 yes\n"}, relay_domains="vm1.vm",
                   mynetworks="[::1]/128, cidr:list, 192.0.2.0/24")
    recipients = ["a@vm1.vm", "a@elsewhere.example"]
    assert answers(hub, SENDER, recipients) == [250, 250, 554]
    hub.write("list", "127.0.0.0/30 yes\n")
    hub.wait_for(r"mynetworks: cidr:list has changed and was taken up")
    assert answers(hub, SENDER, recipients) == [250, 250, 250]


def test_networks_in_a_database(site, database, fault):
    path, spec = database({HOST: "trusted"})
    hub = site.hub(relay_domains="vm1.vm", mynetworks=spec)
    edge = site.edge(mynetworks=spec, smtpd_sender_login_maps="static:nobody")
    away = ["alice@vm1.vm", "a@elsewhere.example"]
    assert answers(hub, SENDER, away) == answers(edge, SENDER, away) == [250, 250, 250]
    with FAULTS[fault](path):
        assert answers(hub, SENDER, away) == [250, 250, 451]
        assert answers(edge, "x@vm9.vm", away) == [250, 250, 451]
        assert answers(edge, SENDER, away) == [451]
    assert answers(hub, SENDER, away) == answers(edge, SENDER, away) == [250, 250, 250]
    hub.wait_for(rf"mynetworks: .*t\.cf:\d: .*{WORDS[fault]}")


def test_mailboxes(site, certs, database, fault):
    path, spec = database({"alice@vm1.vm": "vm1.vm/alice/"})
    edge = site.edge(virtual_mailbox_maps=spec, smtpd_sender_login_maps="static:alice@vm1.vm")
    assert answers(edge, "x@vm9.vm", ["alice@vm1.vm", "bob@vm1.vm"]) == [250, 250, 550]
    with FAULTS[fault](path):
        assert answers(edge, "x@vm9.vm", ["alice@vm1.vm", "bob@vm1.vm", "c@vm7.vm"]) == [
            250, 451, 451, 554]
        assert answers(edge, "alice@vm1.vm", ["bob@vm1.vm", "c@vm7.vm"], certs, "alice@vm1.vm",
                       "submission") == [250, 451, 250]
    assert answers(edge, "x@vm9.vm", ["alice@vm1.vm", "bob@vm1.vm"]) == [250, 250, 550]


def test_mailbox_domains(site, certs, database, fault):
    path, spec = database({"vm1.vm": "yes"})
    edge = site.edge(virtual_mailbox_domains=spec, smtpd_sender_login_maps="static:alice@vm1.vm")
    recipients = ["alice@vm1.vm", "c@vm7.vm"]
    assert answers(edge, "x@vm9.vm", recipients) == [250, 250, 554]
    assert answers(edge, "test1@vm1.vm", recipients) == [553]
    with FAULTS[fault](path):
        assert answers(edge, "", recipients) == [250, 451, 451]
        assert answers(edge, "x@vm9.vm", recipients) == [451]
        assert answers(edge, "test1@vm1.vm", recipients) == [451]
        assert answers(edge, "alice@vm1.vm", recipients, certs, "alice@vm1.vm", "submission") == [
            250, 451, 451]
    assert answers(edge, "test1@vm1.vm", recipients) == [553]


def test_sender_logins(site, certs, database, fault):
    path, spec = database({"alice@vm1.vm": "test1@vm1.vm, alice@vm1.vm", "boss@vm1.vm": "boss"})
    edge = site.edge(smtpd_sender_login_maps=spec)
    who = (["alice@vm1.vm"], certs, "alice@vm1.vm", "submission")
    assert answers(edge, "alice@vm1.vm", *who) == [250, 250]
    assert answers(edge, "boss@vm1.vm", *who) == [553]
    assert answers(edge, "nobody@vm1.vm", *who) == [553]
    with FAULTS[fault](path):
        for sender in ("alice@vm1.vm", "boss@vm1.vm", "nobody@vm1.vm"):
            assert answers(edge, sender, *who) == [451]
    assert answers(edge, "alice@vm1.vm", *who) == [250, 250]


def test_clientcerts(site, certs, database, fault):
    der = ssl.PEM_cert_to_DER_cert((certs / "edge.pem").read_text())
    path, spec = database({hashlib.sha256(der).hexdigest(): "edge"})
    hub = site.hub(relay_domains="vm1.vm", smtpd_tls_ask_ccert="yes", relay_clientcerts=spec)
    away = ["a@elsewhere.example"]
    assert answers(hub, SENDER, away, certs, certificate="edge") == [250, 250]
    assert answers(hub, SENDER, away, certs, certificate="hub") == [250, 554]
    with FAULTS[fault](path):
        assert answers(hub, SENDER, away, certs, certificate="edge") == [451]
        assert answers(hub, SENDER, away, certs, certificate="hub") == [451]
        assert answers(hub, SENDER, ["a@vm1.vm"], certs) == [250, 250]
    assert answers(hub, SENDER, away, certs, certificate="edge") == [250, 250]


def wait_deferred(host, recipient, message_id, fault):
    host.delivered(recipient, message_id, "deferred")
    reason = host.waiting(recipient)["reason"]
    assert WORDS[fault] in reason, reason


def retry(host, message_id):
    assert host.command("queue", "retry", message_id).returncode == 0


def test_routes(site, database, fault):
    """Mail whose route is unknown goes nowhere: not to the relayhost, and not back."""
    peer, relayhost = site.peer(), site.peer()
    path, spec = database({"vm1.vm": f"relay:{HOST}:{peer.port} tls=none"})
    hub = site.hub(transport_maps=spec, relayhost=f"relay:{HOST}:{relayhost.port} tls=none")
    with FAULTS[fault](path):
        known, unknown = relay(hub, SENDER, "a@vm1.vm"), relay(hub, SENDER, "a@vm2.vm")
        wait_deferred(hub, "a@vm1.vm", known, fault)
        wait_deferred(hub, "a@vm2.vm", unknown, fault)
        got = hub.command("explain", "a@vm1.vm")
        assert WORDS[fault] in (got.stdout + got.stderr).decode()
    for message_id in (known, unknown):
        retry(hub, message_id)
        hub.removed(message_id)
    hub.stop()
    assert [m.recipients for m in peer.messages] == [["a@vm1.vm"]]
    assert [m.recipients for m in relayhost.messages] == [["a@vm2.vm"]]


def test_policies(site, database, fault):
    """Without its policy no mail leaves, whatever the general level would let it."""
    peer = site.peer(tls="none")
    path, spec = database({"vm1.vm": "none"})
    hub = site.hub(f"* relay:{HOST}:{peer.port}\n", smtp_tls_policy_maps=spec,
                   smtp_tls_security_level="may")
    with FAULTS[fault](path):
        message_id = relay(hub, SENDER, "a@vm1.vm")
        wait_deferred(hub, "a@vm1.vm", message_id, fault)
        assert not peer.messages
    retry(hub, message_id)
    hub.delivered("a@vm1.vm", message_id)


def test_delivery_to_a_mailbox(site, database, fault):
    """The recipient was known at RCPT; what happens afterwards must not bounce."""
    path, spec = database({"alice@vm1.vm": "vm1.vm/alice/"})
    edge = site.edge(virtual_mailbox_maps=spec, smtpd_sender_login_maps="static:alice@vm1.vm")
    with contextlib.ExitStack() as stack:
        with smtplib.SMTP(HOST, edge.port("smtp"), "client.example", PATIENCE_S) as client:
            client.ehlo()
            assert client.mail("x@vm9.vm")[0] == 250
            assert client.rcpt("alice@vm1.vm")[0] == 250
            stack.enter_context(FAULTS[fault](path))
            code, reply = client.data(text("alice@vm1.vm"))
            assert code == 250
        message_id = reply.decode().split()[-1]
        wait_deferred(edge, "alice@vm1.vm", message_id, fault)
    retry(edge, message_id)
    edge.delivered("alice@vm1.vm", message_id)
    assert len(edge.mailbox("alice@vm1.vm")) == 1


def test_delivery_when_domains_fail(site, database, fault):
    """Whether this host delivers for the domain is asked once more, for the route."""
    hub = site.peer()
    path, spec = database({"vm1.vm": "yes"})
    edge = site.edge(virtual_mailbox_domains=spec, smtpd_sender_login_maps="static:alice@vm1.vm",
                     relayhost=f"relay:{HOST}:{hub.port} tls=none")
    with contextlib.ExitStack() as stack:
        with smtplib.SMTP(HOST, edge.port("smtp"), "client.example", PATIENCE_S) as client:
            client.ehlo()
            assert client.mail("x@vm9.vm")[0] == 250
            assert client.rcpt("alice@vm1.vm")[0] == 250
            stack.enter_context(FAULTS[fault](path))
            message_id = client.data(text("alice@vm1.vm"))[1].decode().split()[-1]
        wait_deferred(edge, "alice@vm1.vm", message_id, fault)
    retry(edge, message_id)
    edge.delivered("alice@vm1.vm", message_id)
    assert not hub.messages


def test_a_query_without_end(site, tmp_path):
    fill(tmp_path / "t.db", {})
    (tmp_path / "t.cf").write_text(
        "dbpath = t.db\nquery = WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)\n"
        "  SELECT count(*) FROM n WHERE i = '%s'\n")
    hub = site.hub(relay_domains=f"vm1.vm, sqlite:{tmp_path}/t.cf")
    assert answers(hub, SENDER, ["a@vm2.vm", "a@vm1.vm"]) == [250, 451, 250]
    hub.wait_for(r"relay_domains: .*t\.cf:2: the query takes too long, and was cut off")


def test_reload_while_locked(site, database):
    """What cannot be compared is not taken for equal, and nothing claims that it was."""
    path, spec = database({"vm1.vm": "discard:"})
    hub = site.hub("vm1.vm discard:\n", transport_maps=f"{spec}, hash:ts")
    with locked(path):
        for arguments in ["--dry-run"], []:
            got = hub.command("reload", *arguments)
            assert (got.returncode, got.stdout) == (75, b""), got.stderr
            assert WORDS["locked"].encode() in got.stderr
    hub.wait_for("reload refused: ")
    assert "]: reloaded: " not in hub.server.log()
    assert hub.command("reload").returncode == 0


# ---- what senders write stays data ----

HOSTILE = ["'", "''", "' OR '1'='1", "a'; DROP TABLE t; --", "%s", "%", "\\", "\"", "a\tb", "?1",
           "a@b@c", "$1", "${1}", ";", "*", "a--", "\u00e9", "x" * 900]


def test_keys_are_no_sql(posthouse, database, tmp_path):
    # Keys are looked up in lower case, as Postfix does it.
    rows = {key.lower(): str(number) for number, key in enumerate(HOSTILE)}
    path, spec = database({**rows, "a": "secret"})
    like = tmp_path / "like.cf"
    like.write_text("dbpath = t.db\nquery = SELECT v FROM t WHERE 'x' || k = 'x%s'\n")
    for key, value in rows.items():
        for each in (spec, f"sqlite:{like}"):
            got = posthouse("map", "query", each, key)
            assert (got.stdout, got.stderr, got.returncode) == (f"{value}\n", "", 0), key
    assert posthouse("map", "query", spec, "' OR 'a'='a").returncode == 1
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (len(rows) + 1,)


def test_exit_codes(posthouse, database):
    path, spec = database({"a": "b"})
    assert posthouse("map", "query", spec, "a").returncode == 0
    assert posthouse("map", "query", spec, "b").returncode == 1
    for fault, code in (("locked", 75), ("missing", 74), ("damaged", 74), ("another", 78)):
        with FAULTS[fault](path):
            got = posthouse("map", "query", spec, "a")
            assert got.stdout == ""
            assert WORDS[fault] in got.stderr
            assert got.returncode == code, fault
    got = posthouse("map", "query", "regexp:{ {/^(.*)@x$/ <$1>} }", "u@x")
    assert (got.stdout, got.returncode) == ("<u>\n", 0)
    assert posthouse("map", "query", "cidr:{ {10.0.0.0/8 x} }", "11.0.0.1").returncode == 1
    got = posthouse("map", "query", "regexp:{ {/(/ x} }", "a")
    assert (got.stderr, got.returncode) == ("posthouse: regexp:{}:1: Unmatched ( or \\(\n", 78)


# ---- changed files ----

@pytest.mark.parametrize("kind", ["regexp", "cidr", "sqlite"])
def test_changes_are_taken_up(site, kind):
    """cidr: says nothing of domains; what counts here is that it is read."""
    good = {"regexp": "/^vm2\\.vm$/ yes\n", "cidr": "10.0.0.0/8 yes\n",
            "sqlite": "dbpath = t.db\nquery = SELECT 'x' WHERE '%s' = 'vm2.vm'\n"}[kind]
    hub = site.hub(relay_domains=f"vm1.vm, {kind}:list", files={"list": good, "t.db": ""})
    want = 554 if kind == "cidr" else 250
    assert answers(hub, SENDER, ["a@vm2.vm"]) == [250, want]

    bad = {"regexp": "/^vm3\\.vm$/ yes\n/(/ no\n", "cidr": "10.0.0.0/8 yes\n10.0.0.1/8 no\n",
           "sqlite": "dbpath = t.db\nquery = SELECT x FROM t WHERE k = '%s'\n"}[kind]
    hub.write("list", bad)
    hub.wait_for(r"error: .*: relay_domains: list:2: ")
    assert answers(hub, SENDER, ["a@vm2.vm"]) == [250, want]

    hub.write("list", good.replace("vm2", "vm3").replace("10", "11"))
    hub.wait_for(r"relay_domains: .* has changed and was taken up")
    assert answers(hub, SENDER, ["a@vm2.vm", "a@vm3.vm"]) == [250, 554, want]


def test_routes_by_pattern(site):
    """The first that matches the address; a domain alone never does."""
    one, two, rest = site.peer(), site.peer(), site.peer()
    hub = site.hub("* relay:{0}:{1} tls=none\n".format(HOST, rest.port), files={"patterns": f"""\
if /@vm1\\.vm$/
/^one-.*@/  relay:{HOST}:{one.port} tls=none
endif
/^vm2\\.vm$/ relay:{HOST}:{one.port} tls=none
!/@vm2\\.vm$/ relay:{HOST}:{two.port} tls=none
"""}, transport_maps="regexp:patterns, hash:ts")
    recipients = ["one-a@vm1.vm", "two-a@vm1.vm", "one-a@vm2.vm"]
    hub.removed(relay(hub, SENDER, recipients))
    assert [[m.recipients for m in peer.messages] for peer in (one, two, rest)] == [
        [[recipient]] for recipient in recipients]


def test_a_weaker_pattern_needs_a_word(site):
    peer = site.peer()
    line = f"/@vm1\\.vm$/ relay:{HOST}:{peer.port} tls="
    hub = site.hub(files={"one": line + "encrypt\n", "two": line + "may\n"},
                   transport_maps="regexp:one")
    hub.change(transport_maps="regexp:two")
    got = hub.command("reload")
    assert got.returncode == 78
    assert re.search(rb"/@vm1.*tls=encrypt.*one:1.* -> .*tls=may.*two:1.*weaker",
                     got.stdout + got.stderr)
    assert hub.command("reload", "--allow-weaker").returncode == 0


def test_a_long_key(posthouse, tmp_path):
    (tmp_path / "t").write_text("!/^x/ yes\n")
    got = posthouse("map", "query", f"regexp:{tmp_path}/t", "a" * 1025)
    assert "longer than 1024 bytes" in got.stderr
    assert got.returncode == 78
