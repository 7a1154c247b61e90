"""Who stands for whom: aliases, PostfixAdmin's tables, local users, backup MX; as Postfix has it.

Expansion is compared with a real Postfix's: the same table, and mail for the same recipients,
whom its cleanup(8) expands into its queue, where nothing is delivered.
"""

import contextlib
import json
import os
import random
import re
import shutil
import smtplib
import socket
import sqlite3
import struct
import subprocess
import time

import pytest

from clients import HOST, connect, relay, submit, text, transact
from server import PATIENCE_S, Process

SBIN = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
POSTFIX, POSTMAP = shutil.which("postfix", path=SBIN), shutil.which("postmap", path=SBIN)
POSTALIAS, POSTQUEUE = (shutil.which(name, path=SBIN) for name in ("postalias", "postqueue"))

SEED = 20261121
OUTSIDE = "carol@vm9.vm"
DSN = ["DSN"]


def dialogue(edge):
    client = smtplib.SMTP(HOST, edge.port("smtp"), "client.example", timeout=PATIENCE_S)
    client.ehlo()
    return client


def rcpt(edge, recipient, sender=OUTSIDE):
    """The answer to RCPT."""
    with dialogue(edge) as client:
        assert client.mail(sender)[0] == 250
        code, reply = client.docmd(f"RCPT TO:{recipient}")
        return f"{code} {reply.decode()}"


# ---- PostfixAdmin ----

SCHEMA = """
create table domain (domain text primary key, backupmx integer default 0, active integer default 1);
create table alias (address text primary key, goto text, domain text, active integer default 1);
create table alias_domain (alias_domain text primary key, target_domain text,
                           active integer default 1);
create table mailbox (username text primary key, maildir text, domain text,
                      active integer default 1);
insert into domain (domain, backupmx, active) values
    ('vm1.vm', 0, 1), ('book.vm', 0, 1), ('backup.vm', 1, 1), ('asleep.vm', 0, 0);
insert into mailbox (username, maildir, active) values
    ('alice@vm1.vm', 'vm1.vm/alice/', 1), ('test1@vm1.vm', 'vm1.vm/test1/', 1),
    ('off@vm1.vm', 'vm1.vm/off/', 0);
insert into alias (address, goto, active) values
    ('alice@vm1.vm', 'alice@vm1.vm', 1), ('test1@vm1.vm', 'test1@vm1.vm', 1),
    ('both@vm1.vm', 'alice@vm1.vm,test1@vm1.vm', 1), ('off@vm1.vm', 'off@vm1.vm', 0),
    ('gone@vm1.vm', 'alice@vm1.vm', 0);
insert into alias_domain (alias_domain, target_domain) values ('book.vm', 'vm1.vm');
"""

# As in seeds/003, with || for MySQL's CONCAT().
QUERIES = {
    "relay_domains": "SELECT domain FROM domain WHERE domain='%s' and backupmx = '1'",
    "virtual_alias_domain_maps":
        "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and"
        " alias.address = '%u' || '@' || alias_domain.target_domain AND alias.active = 1",
    "virtual_alias_maps": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "virtual_mailbox_domains":
        "SELECT domain FROM domain WHERE domain='%s' AND backupmx = '0' AND active = '1'",
    "virtual_mailbox_maps":
        "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
}


@pytest.fixture(scope="module")
def admin(shared_site):
    """An edge with PostfixAdmin's tables, and a host that backup.vm is passed on to."""
    peer = shared_site.peer()
    folder = shared_site.directory / "sql"
    folder.mkdir()
    database = sqlite3.connect(folder / "postfixadmin.db", isolation_level=None)
    database.executescript(SCHEMA)
    for name, query in QUERIES.items():
        (folder / f"{name}.cf").write_text(f"dbpath = postfixadmin.db\nquery = {query}\n")
    edge = shared_site.edge(
        routes=f"backup.vm relay:[{HOST}]:{peer.port} tls=none\n",
        relay_domains=f"sqlite:{folder}/relay_domains.cf",
        virtual_alias_maps=f"sqlite:{folder}/virtual_alias_maps.cf,"
                           f" sqlite:{folder}/virtual_alias_domain_maps.cf",
        virtual_mailbox_domains=f"sqlite:{folder}/virtual_mailbox_domains.cf",
        virtual_mailbox_maps=f"sqlite:{folder}/virtual_mailbox_maps.cf")
    yield edge, peer, database
    database.close()


def test_postfixadmin(admin):
    edge, peer, _ = admin
    message_id = relay(edge, OUTSIDE, ["both@vm1.vm", "alice@book.vm"])
    edge.removed(message_id)
    assert re.findall(rf"{message_id}: to=<([^>]*)>.* status=sent", edge.server.log()) == [
        "alice@vm1.vm", "test1@vm1.vm"]
    (message,) = [m for m in edge.mailbox("alice@vm1.vm") if message_id.encode() in m]
    assert message.startswith(f"Return-Path: <{OUTSIDE}>\nX-Original-To: both@vm1.vm\n"
                              "Delivered-To: alice@vm1.vm\n".encode())
    relay(edge, OUTSIDE, "anybody@backup.vm")
    assert b"\n\tfor <both@vm1.vm>" not in message
    (relayed,) = peer.wait_for_messages(1)
    assert "anybody@backup.vm" in relayed.recipients[0]


@pytest.mark.parametrize("recipient, answer", [
    ("both@vm1.vm", "250 2.1.5 Ok"),
    ("test1@book.vm", "250 2.1.5 Ok"),
    ("both@book.vm", "250 2.1.5 Ok"),
    ("nobody@book.vm", "550 5.1.1 <nobody@book.vm>: Recipient address rejected: "
                       "User unknown in virtual mailbox table"),
    ("off@vm1.vm", "550 5.1.1 "), ("gone@vm1.vm", "550 5.1.1 "),
    ("x@asleep.vm", "554 5.7.1 <x@asleep.vm>: Relay access denied"),
    ("x@vm9.vm", "554 5.7.1 "), ("x%vm9.vm@backup.vm", "554 5.7.1 "),
    # never part of a query
    ("\"' or 1=1 --\"@vm1.vm", "550 5.1.1 "), ("'||'alice@vm1.vm", "550 5.1.1 "),
    ("a'@book.vm", "550 5.1.1 "), ("%u@vm1.vm", "550 5.1.1 "), ("_____@vm1.vm", "550 5.1.1 "),
    ("x@'||'vm1.vm", "501"),
])
def test_recipients_of_postfixadmin(admin, recipient, answer):
    assert rcpt(admin[0], f"<{recipient}>").startswith(answer)


def test_a_changed_table_counts_at_once(admin):
    edge, _, database = admin
    assert rcpt(edge, "<new@vm1.vm>").startswith("550 5.1.1 ")
    database.execute("insert into alias (address, goto) values ('new@vm1.vm', 'test1@vm1.vm')")
    edge.delivered("test1@vm1.vm", relay(edge, OUTSIDE, "new@vm1.vm"))
    database.execute("update alias set goto = 'new@vm1.vm, |/bin/sh' where address = 'new@vm1.vm'")
    assert rcpt(edge, "<new@vm1.vm>") == "451 4.3.5 <new@vm1.vm>: Alias cannot be followed"
    edge.wait_for(r"<new@vm1.vm>: Alias cannot be followed: .*virtual_alias_maps.cf:2: \|/bin/sh: ")
    database.execute("delete from alias where address = 'new@vm1.vm'")


# ---- text files ----

ALIASES = """\
# local users
postmaster: root
root:       alice@vm1.vm,
            test1@vm1.vm
Team:       :include:{folder}/team
"""

VIRTUAL = """\
a.vm            domain
info@a.vm       alice@vm1.vm, dave@vm9.vm
info@vm1.vm     alice@vm1.vm
all@vm1.vm      info@a.vm, info@vm1.vm, test1@vm1.vm
ring@a.vm       ring2@a.vm
ring2@a.vm      ring@a.vm
"""


@pytest.fixture(scope="module")
def edge(shared_site):
    peer = shared_site.peer(extensions=DSN)
    folder = shared_site.directory
    (folder / "team").write_text("alice@vm1.vm\n")
    for name, content in (("aliases", ALIASES.format(folder=folder)), ("valiases", VIRTUAL)):
        (folder / name).write_text(content)
    started = shared_site.edge(
        routes=f"vm9.vm relay:[{HOST}]:{peer.port} tls=none\nbad.vm error:5.1.1 not there\n",
        smtpd_client_connection_count_limit=0, mynetworks="127.0.0.2", mydestination="localhost, mta1.vm1.vm",
        myorigin="vm1.vm", home_mailbox="Maildir/", recipient_delimiter="+",
        alias_maps=f"hash:{folder}/aliases", virtual_alias_maps=f"hash:{folder}/valiases",
        smtpd_sender_login_maps=f"hash:{folder}/valiases, inline:{{ @vm1.vm = alice@vm1.vm }}")
    started.peer = peer
    started.aliases = folder / "aliases"
    return started


@pytest.mark.parametrize("recipient, answer", [
    ("<root@localhost>", "250 2.1.5 Ok"), ("<ROOT+x@mta1.vm1.vm>", "250 2.1.5 Ok"),
    ("<team@localhost>", "250 2.1.5 Ok"),
    ("info", "250 2.1.5 Ok"), ("<info@a.vm>", "250 2.1.5 Ok"), ("Postmaster", "250 2.1.5 Ok"),
    ("<Postmaster>", "250 2.1.5 Ok"), ("<postmaster@a.vm>", "250 2.1.5 Ok"),
    ("<daemon@localhost>", "250 2.1.5 Ok"),  # an account of the system
    ("<no.such.user@localhost>", "550 5.1.1 <no.such.user@localhost>: Recipient address rejected: "
                                 "User unknown in local recipient table"),
    ("<nobody@a.vm>", "550 5.1.1 <nobody@a.vm>: Recipient address rejected: "
                      "User unknown in virtual alias table"),
    ("otus", "550 5.1.1 <otus@vm1.vm>: Recipient address rejected: "
             "User unknown in virtual mailbox table"),
    ("<ring@a.vm>", "451 4.6.0 <ring@a.vm>: Alias expansion error"),
])
def test_recipients(edge, recipient, answer):
    assert rcpt(edge, recipient) == answer


def test_clients_that_leave_while_an_account_is_looked_up(edge):
    """The pool still asks for it when the session has ended."""
    for _ in range(50):
        with socket.create_connection((HOST, edge.port("smtp")), timeout=PATIENCE_S) as client:
            client.sendall(b"EHLO client.example\r\nMAIL FROM:<>\r\n"
                           + b"RCPT TO:<daemon@localhost>\r\n" * 20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert rcpt(edge, "<daemon@localhost>") == "250 2.1.5 Ok"


def test_pipelined_recipients_are_answered_in_order(edge):
    names = ["daemon@localhost", "no.such.user@localhost", "info@a.vm", "daemon@localhost",
             "nobody@a.vm"]
    with dialogue(edge) as client:
        client.send("MAIL FROM:<>\r\n" + "".join(f"RCPT TO:<{name}>\r\n" for name in names))
        assert [client.getreply()[0] for _ in range(6)] == [250, 250, 550, 250, 250, 550]


@pytest.mark.parametrize("sender", ["root", "<root@localhost>", "<info@a.vm>", "<any@vm1.vm>"])
def test_senders_of_ours_are_for_users(edge, sender):
    with dialogue(edge) as client:
        assert client.docmd(f"MAIL FROM:{sender}")[0] == 553


def test_an_alias_can_have_owners(edge, certs):
    with connect(certs, edge.port("submission"), user="alice@vm1.vm") as client:
        assert client.mail("info@a.vm")[0] == 250
    with connect(certs, edge.port("submission"), user="test1@vm1.vm") as client:
        assert client.mail("info@a.vm")[0] == 553


def test_one_copy(edge):
    """By three of its names, the first of which was typed without its domain."""
    with dialogue(edge) as client:
        assert client.mail(OUTSIDE)[0] == 250
        for recipient in ("all", "<alice@vm1.vm>", "<INFO@vm1.vm>"):
            assert client.docmd(f"RCPT TO:{recipient}")[0] == 250
        message_id = client.data(text("all", sender=OUTSIDE))[1].decode().split()[-1]
    edge.removed(message_id)
    messages = [m for m in edge.mailbox("alice@vm1.vm") if message_id.encode() in m]
    assert len(messages) == 1
    assert b"\nX-Original-To: all\nDelivered-To: alice@vm1.vm\n" in messages[0]
    assert len([m for m in edge.mailbox("test1@vm1.vm") if message_id.encode() in m]) == 1


def test_lists_by_many_names(site):
    """A thousand members by each of many extensions: no client can make that a million."""
    many = ", ".join(f"m{i}@vm9.vm" for i in range(900))
    host = site.edge(recipient_delimiter="+", default_transport="retry:not now",
                     virtual_alias_maps=f"inline:{{ {{list@vm1.vm = {many}}} }}")
    with dialogue(host) as client:
        assert client.mail(OUTSIDE)[0] == 250
        answers = [client.rcpt(f"list+{i}@vm1.vm") for i in range(13)]
        assert [code for code, _ in answers] == [250] * 11 + [452] * 2
        assert answers[-1][1] == b"4.5.3 Error: too many recipients"
        assert client.rcpt("alice@vm1.vm")[0] == 250


def test_a_list_asked_for_again_and_again(site):
    """A thousand lookups each time, and thousands of times in one go: others are served between."""
    many = ", ".join(f"m{i}@vm9.vm" for i in range(1000))
    host = site.edge(workers=1, virtual_alias_maps=f"inline:{{ {{list@vm1.vm = {many}}} }}")
    once = f"MAIL FROM:<{OUTSIDE}>\r\n" + "RCPT TO:<list@vm1.vm>\r\n" * 990 + "RSET\r\n"
    with socket.create_connection((HOST, host.port()), timeout=PATIENCE_S) as client:
        client.recv(1024)
        client.sendall(("EHLO client.example\r\n" + once * 3).encode())
        got = client.recv(1024)
        with dialogue(host) as other:
            assert other.mail(OUTSIDE)[0] == 250
            assert other.rcpt("alice@vm1.vm")[0] == 250
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                got += client.recv(65536)
    assert got.count(b"250 2.1.5 Ok") < 3 * 990


def test_dsn_of_members(edge):
    """RFC 3461 section 5.2.7: all know what was asked for, one is asked for success."""
    seen = len(edge.peer.messages)
    with dialogue(edge) as client:
        assert client.docmd(f"MAIL FROM:<{OUTSIDE}> ENVID=e1")[0] == 250
        assert client.docmd("RCPT TO:<info@a.vm> NOTIFY=SUCCESS,FAILURE "
                            "ORCPT=rfc822;known@to.me")[0] == 250
        message_id = client.data(text("info@a.vm", sender=OUTSIDE))[1].decode().split()[-1]
    edge.removed(message_id)
    reports = [m for m in edge.peer.wait_for_messages(seen + 2)[seen:]
               if OUTSIDE in m.recipients[0]]
    (mail,) = [m for m in edge.peer.messages[seen:] if "dave" in m.recipients[0]]
    assert b"RCPT TO:<dave@vm9.vm> NOTIFY=FAILURE ORCPT=rfc822;known@to.me\r\n" in \
        bytes(mail.session.wire)
    (report,) = reports
    assert b"Original-Recipient: rfc822;known@to.me" in report.body
    assert b"Final-Recipient: rfc822; alice@vm1.vm" in report.body
    assert b"Action: delivered" in report.body


def test_a_report_follows_the_sender_s_alias(edge):
    with smtplib.SMTP(HOST, edge.port("smtp"), "client.example", timeout=PATIENCE_S,
                      source_address=("127.0.0.2", 0)) as client:
        message_id = transact(client, "info@vm1.vm", "x@bad.vm", text("x@bad.vm"))
    line = edge.wait_for(f"{message_id}: sender non-delivery notification: ")
    report = re.search(r"notification: (\w+)", line)[1]
    edge.delivered("alice@vm1.vm", report)
    (message,) = [m for m in edge.mailbox("alice@vm1.vm") if report.encode() in m]
    assert b"\nTo: info@vm1.vm\n" in message


def test_changed_aliases_are_taken_up(edge):
    since = edge.server.mark()
    content = edge.aliases.read_text()
    new = edge.aliases.with_name("aliases.new")
    new.write_text(content + "fresh: test1@vm1.vm\n")
    new.rename(edge.aliases)
    edge.wait_for("alias_maps: hash:.*/aliases has changed and was taken up", since)
    edge.delivered("test1@vm1.vm", relay(edge, OUTSIDE, "fresh@localhost"))

    since = edge.server.mark()
    new.write_text(content + "bad: |/bin/sh\n")
    new.rename(edge.aliases)
    edge.wait_for(r"error: .*aliases:6: \|/bin/sh: mail is not handed to commands", since)
    assert rcpt(edge, "<fresh@localhost>") == "250 2.1.5 Ok"
    new.write_text(content)
    new.rename(edge.aliases)


def explain(edge, *addresses):
    got = edge.command("explain", "--json", *addresses)
    assert got.returncode == 0, got.stderr
    return [json.loads(line) for line in got.stdout.splitlines()]


def test_explain(edge):
    first, second = explain(edge, "info@a.vm")
    assert (first["address"], first["action"]) == ("alice@vm1.vm", "local")
    assert (second["address"], second["action"]) == ("dave@vm9.vm", "relay")
    assert first["expanded_from"] == second["expanded_from"] == "info@a.vm"
    (line,) = first["aliases"]
    assert line["value"] == "alice@vm1.vm, dave@vm9.vm" and line["source"].endswith("/valiases:2")
    (one,) = explain(edge, "alice@vm1.vm")
    assert "expanded_from" not in one and one["transport"] == "virtual"
    (one,) = explain(edge, "daemon@localhost")
    assert (one["action"], one["transport"]) == ("local", "local")
    got = edge.command("explain", "ring@a.vm").stdout.decode()
    assert "stand for each other only" in got and "/valiases:5: ring2@a.vm" in got


# ---- what check says ----

BASE = """\
mode = edge
myhostname = mail.vm1.vm
mydomain = vm1.vm
user = nobody
listen = smtp://127.0.0.1:0
smtpd_tls_security_level = none
queue_directory = .
run_directory = .
virtual_mailbox_base = .
virtual_mailbox_maps = inline:{ alice@vm1.vm = a/ }
smtpd_sasl_passdb = passwd-file:users
"""


def check(posthouse, folder, *lines):
    (folder / "p.conf").write_text(BASE + "".join(f"{line}\n" for line in lines))
    (folder / "users").touch(mode=0o600)
    os.chmod(folder, 0o777)
    got = posthouse("check", config=folder / "p.conf")
    return [line.removeprefix(f"{folder}/") for line in got.stdout.splitlines()
            if not re.search(r"conf:(4|9|10|11):", line)]


def test_check_aliases(posthouse, tmp_path):
    (tmp_path / "aliases").write_text(
        "a: |/bin/x\nb: /var/log/b\nc: ok, :include:/nowhere/there\nd: a@b@c\n"
        "e: \"|/bin/y z\", fine@vm1.vm\nf: g\ng: f\n")
    (tmp_path / "virtual").write_text("a@b.c |x\nd@b.c :include:/x\nl@b.c m@b.c\nm@b.c l@b.c\n")
    found = check(posthouse, tmp_path, "alias_maps = hash:aliases", "mydestination = l.vm",
                  "home_mailbox = Maildir/", "virtual_alias_maps = hash:virtual")
    assert found == [
        "virtual:1: error: |x: mail is not handed to commands here",
        "virtual:2: error: :include:/x: is for alias_maps only",
        "aliases:1: error: |/bin/x: mail is not handed to commands here",
        "aliases:2: error: /var/log/b: mail is not written into files here",
        "aliases:3: error: :include:/nowhere/there: No such file or directory",
        "aliases:4: error: \"a@b@c\": not an address",
        "aliases:5: error: |/bin/y z: mail is not handed to commands here",
    ]


@pytest.mark.parametrize("lines, want", [
    (["mydestination = vm1.vm, l.vm", "home_mailbox = Maildir/"],
     "virtual_mailbox_domains: do not list domain vm1.vm in BOTH mydestination and "
     "virtual_mailbox_domains: only mydestination counts"),
    (["virtual_alias_domains = vm1.vm"],
     "do not list domain vm1.vm in BOTH virtual_alias_domains and virtual_mailbox_domains"),
    (["virtual_alias_maps = inline:{ vm1.vm = x }"],
     "do not list domain vm1.vm in BOTH virtual_alias_domains and virtual_mailbox_domains"),
    (["mydestination = l.vm"], "mydestination: its users have no place for mail"),
    (["home_mailbox = mbox"], "home_mailbox: mbox: expected a Maildir, with a trailing /"),
    (["home_mailbox = ../x/"], "expected a path below the home directory"),
    (["alias_maps = regexp:{ {/(x)/ $$1} }"], "$1 and the like are not allowed here"),
])
def test_check(posthouse, tmp_path, lines, want):
    assert want in "\n".join(check(posthouse, tmp_path, *lines))


def test_check_finds_no_fault(posthouse, tmp_path):
    (tmp_path / "aliases").write_text("root: alice@vm1.vm\n")
    assert check(posthouse, tmp_path, "alias_maps = hash:aliases", "mydestination = l.vm",
                 "home_mailbox = Maildir/", "unknown_local_recipient_reject_code = 450",
                 "local_recipient_maps = unix:passwd.byname $alias_maps",
                 "virtual_alias_maps = inline:{ a@b.c = x@b.c, x@b.c = a@b.c }") == []


def test_check_of_an_edge_with_local_users_only(posthouse, tmp_path):
    assert check(posthouse, tmp_path, "virtual_mailbox_domains =", "mydestination = l.vm",
                 "home_mailbox = Maildir/") == []
    assert "delivers to no mailbox" in check(posthouse, tmp_path, "virtual_mailbox_domains =")[0]


def test_map_query_of_aliases(posthouse, tmp_path):
    (tmp_path / "aliases").write_text("Root: alice@vm1.vm,\n\tbob@vm1.vm\n")
    got = posthouse("map", "query", f"hash:{tmp_path}/aliases", "root")
    assert got.stdout == "alice@vm1.vm,\tbob@vm1.vm\n"


# ---- beside Postfix ----

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
maillog_file = /dev/stdout
myhostname = mail.vm1.vm
myorigin = vm1.vm
mydestination = localhost, l.vm
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.1
alias_maps =
alias_database =
local_recipient_maps =
recipient_delimiter = +
virtual_alias_domains = a.vm b.vm c.vm
virtual_alias_maps = hash:{directory}/virtual
virtual_mailbox_domains = vm1.vm
virtual_mailbox_maps = static:x/
defer_transports = smtp relay virtual local error
smtpd_peername_lookup = no
smtpd_hard_error_limit = 10000
smtpd_soft_error_limit = 10000
smtpd_error_sleep_time = 0
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup    unix  n - n - 0    cleanup
qmgr       unix  n - n 300 1  qmgr
rewrite    unix  - - n - -    trivial-rewrite
defer      unix  - - n - 0    bounce
bounce     unix  - - n - 0    bounce
trace      unix  - - n - 0    bounce
anvil      unix  - - n - 1    anvil
error      unix  - - n - -    error
retry      unix  - - n - -    error
showq      unix  n - n - -    showq
postlog    unix-dgram n - n - 1 postlogd
"""


class Postfix(Process):
    def __init__(self, directory, port, table):
        for name in ("etc", "spool", "data"):
            (directory / name).mkdir()
        shutil.chown(directory / "data", "postfix", "postfix")
        self._config, self.port = directory / "etc", port
        (self._config / "main.cf").write_text(MAIN_CF.format(directory=directory))
        (self._config / "master.cf").write_text(MASTER_CF.format(port=port))
        (directory / "virtual").write_text(table)
        subprocess.run([POSTMAP, "-c", self._config, f"hash:{directory}/virtual"], check=True,
                       stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
        super().__init__([POSTFIX, "-c", self._config, "start-fg"], "daemon started",
                         start_new_session=True)

    def close(self):
        subprocess.run([POSTFIX, "-c", self._config, "stop"], check=True, timeout=PATIENCE_S)
        self.process.wait(PATIENCE_S)
        self._reader.join()

    def _queue(self):
        out = subprocess.run([POSTQUEUE, "-c", self._config, "-j"], check=True, encoding="utf-8",
                             stdout=subprocess.PIPE, timeout=PATIENCE_S).stdout
        return {m["queue_id"]: [r["address"] for r in m["recipients"]]
                for m in map(json.loads, out.splitlines())}

    def expand(self, addresses):
        """By address: whom mail for it is for, or None where it was not taken."""
        ids, found = {}, {}
        with smtplib.SMTP(HOST, self.port, "client.example", timeout=PATIENCE_S) as client:
            client.ehlo()
            for address in addresses:
                client.mail("s@x.y")
                code, _ = client.docmd(f"RCPT TO:<{address}>")
                if code == 250:
                    code, reply = client.data(b"Subject: x\r\n\r\n")
                else:
                    client.rset()
                if code == 250:
                    ids[reply.decode().split()[-1]] = address
                else:
                    found[address] = None
        deadline = time.monotonic() + PATIENCE_S
        while ids.keys() - (queue := self._queue()).keys():  # it may be moving from queue to queue
            assert time.monotonic() < deadline
        return {**found, **{address: queue[i] for i, address in ids.items()}}


NAMES = [f"n{i}" for i in range(14)]
ODD = """\
sp@a.vm x y
sp2@a.vm x@p.q y@p.q
phr@a.vm Alice Foo <alice@x.y>
q@a.vm "q l"@dom
semi@a.vm x;y
com@a.vm k(zz)w
self@a.vm self@a.vm, o@a.vm
dup@a.vm d1@a.vm, d1@a.vm, D1@a.vm
@b.vm @c.vm
user cc@c.vm
ext@a.vm t@a.vm
ext+special@a.vm s@a.vm
pct@a.vm a%b@c.vm
one@c.vm ONE@c.vm
trail@a.vm x@c.vm.
lit@a.vm x@[1.2.3.4]
"""


def random_table(rng):
    """Names of a.vm that stand for some of each other, and for others."""
    table = ODD
    for name in NAMES:
        if rng.random() < 0.7:
            members = ["@vm1.vm"] if rng.random() < 0.1 else [rng.choice([
                f"{rng.choice(NAMES)}@a.vm", f"{rng.choice(NAMES).upper()}@A.vm",
                f"{rng.choice(NAMES)}+e{rng.randrange(3)}@a.vm", f"out{rng.randrange(9)}@x.y",
                f"{rng.choice(NAMES)}@b.vm", rng.choice(["user", "nobody"]),
            ]) for _ in range(rng.choice([1, 1, 2, 3]))]
            key = name + rng.choice(["", "", "", "+e1"])
            table += f"{key}@a.vm {rng.choice([', ', ' ', ',']).join(members)}\n"
    return table


def addresses_of(table):
    keys = [line.split()[0] for line in table.splitlines()]
    found = [key if "@" in key else f"{key}@vm1.vm" for key in keys if not key.startswith("@")]
    found += [f"{name}@a.vm" for name in NAMES] + [f"{name}+e1@b.vm" for name in NAMES[:3]]
    found += [a.replace("@", f"+{e}@") for a in list(found) for e in ("e1", "zz") if "+" not in a]
    return list(dict.fromkeys(found + ["user@localhost", "user+x@l.vm", "user@zz.vm", "any@b.vm"]))


@pytest.mark.skipif(not POSTFIX, reason="postfix is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start postfix")
def test_as_postfix(site, open_path, posthouse):
    print(f"seed {SEED}")
    table = random_table(random.Random(SEED))
    addresses = addresses_of(table)
    postfix = Postfix(open_path, site.port(), table)
    try:
        theirs = postfix.expand(addresses)
    finally:
        postfix.close()
    (open_path / "users").touch(mode=0o600)
    (open_path / "ours").write_text(table)
    (open_path / "p.conf").write_text(
        BASE + "recipient_delimiter = +\nmydestination = localhost, l.vm\nlocal_recipient_maps =\n"
        "home_mailbox = M/\nvirtual_alias_maps = hash:ours\n"
        "virtual_alias_domains = a.vm, b.vm, c.vm\n")
    got = posthouse("explain", "--json", *addresses, config=open_path / "p.conf")
    assert got.returncode == 0, got.stderr
    ours = {}
    for line in map(json.loads, got.stdout.splitlines()):
        found = ours.setdefault(line.get("expanded_from", line["address"]), [])
        found.append(None if line["action"] == "retry" else line["address"])
    differences, seen = [], 0
    for address in addresses:
        their, our = theirs[address], ours[address]
        if their is None:  # it gives up where there is a circle; we do where nothing leads out
            continue
        seen += 1
        if {a.lower() for a in their} != {(a or "none").lower() for a in our}:
            differences.append(f"{address}: {our}, Postfix {their}")
    assert not differences, f"seed {SEED}\n" + "\n".join(differences) + "\n" + table
    assert seen > len(addresses) / 2


# ---- files of aliases(5) ----

def alias_text(rng):
    """As people write them: comments, continued lines, blanks and quotes wherever they may be."""
    content = ""
    for _ in range(rng.randint(1, 15)):
        content += rng.choice(["", "", "# a: comment\n", "\n", "   \n", "  # b: blanks\n"])
        key = rng.choice(["a", "A", "root", "Post.Master", '"a b"', '"x:y"', "a+b", "owner-list",
                          "list-request", "x_y", "\u00fc"])
        members = [rng.choice(["x", "Bob", "bob@vm1.vm", '"q l"@vm1.vm', ":include:/a/b",
                               '":include:/a b"', "|/bin/x", '"|/bin/x y"', "/a/b"])
                   for _ in range(rng.randint(1, 3))]
        content += key + rng.choice([":", ": ", ":\t", " : "])
        content += rng.choice([", ", ",", ",\n\t", ",\n# between\n  "]).join(members)
        content += rng.choice(["", "", "", "  ", ",", "\n\n  ", "\n\t"]) + "\n"
    return content


def described(value):
    """postalias(1) writes members anew; quotes and blanks are as good in another place."""
    return [word for word in re.findall(r'(?:[^\s,"]|"[^"]*")+', value) if word]


@pytest.mark.skipif(not POSTALIAS, reason="postfix is not installed")
def test_alias_files_as_postalias_has_them(tmp_path, posthouse_bin):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    keys = ["a", "A", "root", "post.master", "a b", "x:y", "x", "a+b", "owner-list", "bob",
            "list-request", "x_y", "\u00fc", "nobody", '"a b"']
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mail.example\n")
    os.utime(tmp_path / "main.cf", (1, 1))

    def ask(tab, *command):
        got = subprocess.run(command, input="".join(key + "\n" for key in keys), check=False,
                             encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=PATIENCE_S)
        assert got.returncode in (0, 1) and not got.stderr, got.stderr
        return {key: described(value) for key, value in
                (line.split(tab, 1) for line in got.stdout.splitlines())}

    found = 0
    for i in range(25):
        path = tmp_path / f"aliases{i}"
        path.write_text(alias_text(rng))
        os.utime(path, (1, 1))
        subprocess.run([POSTALIAS, "-c", tmp_path, f"hash:{path}"], check=True,
                       stderr=subprocess.DEVNULL, timeout=PATIENCE_S)  # it warns of what is twice
        ours = ask("\t", posthouse_bin, "-c", tmp_path / "none.conf", "map", "query",
                   f"hash:{path}", "-")
        assert ours == ask(":\t", POSTALIAS, "-c", tmp_path, "-q", "-", f"hash:{path}"), path.read_text()
        found += len(ours)
    assert found > 50
