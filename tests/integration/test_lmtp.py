"""lmtp: by TCP and by UNIX sockets, each recipient with a reply of its own (RFC 2033)."""

import json
import os
import re
import shutil
import smtplib
import time

import pytest

from clients import HOST, connect, relay, text
from peer import DROP
from server import PATIENCE_S, Process

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))

SENDER = "alice@vm1.vm"


@pytest.fixture
def socket_path(site):
    return site.directory / "lmtp"


def lmtp(site, **options):
    return site.peer(lmtp=True, **options)


def rows(hub, *arguments):
    got = hub.command("ledger", "list", "--json", *arguments)
    assert got.returncode in (0, 1) and not got.stderr
    return [json.loads(line) for line in got.stdout.splitlines()]


def verdicts(session, message):
    return {"no@vm2.vm": "550 5.1.1 no such user", "full@vm2.vm": "452 4.2.2 over quota"}.get(
        message.recipient)


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_each_recipient_has_a_reply(site, socket_path, way):
    peer = lmtp(site, path=socket_path if way == "unix" else None, replies={"END": verdicts})
    route = f"unix:{socket_path}" if way == "unix" else f"{HOST}:{peer.port} tls=none"
    hub = site.hub(f"vm2.vm lmtp:{route}\nvm1.vm discard:\n")
    everybody = ["bob@vm2.vm", "full@vm2.vm", "no@vm2.vm", "test2@vm2.vm"]
    message_id = relay(hub, SENDER, everybody)

    sent = hub.delivered("bob@vm2.vm", message_id)
    assert " posthouse/lmtp[" in sent and "status=sent (250 2.0.0 Ok: taken)" in sent
    hub.delivered("test2@vm2.vm", message_id)
    deferred = hub.delivered("full@vm2.vm", message_id, "deferred")
    assert "dsn=4.2.2, status=deferred (" in deferred and "452 4.2.2 over quota" in deferred
    bounced = hub.delivered("no@vm2.vm", message_id, "bounced")
    assert "dsn=5.1.1" in bounced and "550 5.1.1 no such user" in bounced
    if way == "unix":
        assert f", relay=mta.vm.vm[{socket_path}], " in sent and ", tls=" not in sent
    else:
        assert f", relay={HOST}[{HOST}]:{peer.port}, " in sent and ", tls=none:clear" in sent

    (message,) = peer.messages
    assert message.taken == ["bob@vm2.vm", "test2@vm2.vm"]
    assert message.session.commands[0] == "LHLO mta.vm.vm"
    assert not any(line.startswith(("EHLO", "HELO")) for line in message.session.commands)
    state = hub.waiting("full@vm2.vm")
    assert (state["enhanced_status"], state["attempts"]) == ("4.2.2", 1)
    assert state["next_hop"] == route.split()[0]
    (shown,) = hub.queue("show", message_id)
    assert {r["address"]: r["status"] for r in shown["recipients"]} == {
        "bob@vm2.vm": "delivered", "test2@vm2.vm": "delivered", "full@vm2.vm": "deferred",
        "no@vm2.vm": "bounced"}

    # The next attempt is for that one alone.
    peer.script(END=None)
    assert hub.command("queue", "retry", "--all").returncode == 0
    hub.delivered("full@vm2.vm", message_id)
    assert peer.wait_for_messages(2)[1].recipients == ["full@vm2.vm"]


def test_a_socket_crosses_no_network(site, socket_path):
    """No TLS in the ledger, though the general level asks for it; and nothing of it is clear."""
    lmtp(site, path=socket_path)
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}\n", smtp_tls_security_level="secure")
    message_id = relay(hub, SENDER, "bob@vm2.vm")
    hub.removed(message_id)
    (row,) = rows(hub)
    assert (row["transport"], row["next_hop"], row["peer"], row["status"], row["tls"]) == (
        "lmtp", f"unix:{socket_path}", f"unix:{socket_path}", "delivered", None)
    assert rows(hub, "--clear") == []
    assert b"IN CLEAR" not in hub.command("ledger", "list").stdout
    got = hub.command("trace", message_id)
    assert got.returncode == 0 and b"went IN CLEAR" not in got.stdout
    got = hub.command("status", "--json")
    (hop,) = json.loads(got.stdout)["next_hops"]
    assert (hop["next_hop"], hop["state"], hop["tls"]) == (f"unix:{socket_path}", "up", None)


def test_what_requires_tls_may_use_a_socket(site, certs, socket_path):
    """REQUIRETLS (RFC 8689) is about what crosses a network; by TCP it needs a server that has it."""
    peer, other = lmtp(site, path=socket_path), lmtp(site, tls="starttls")
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}\nvm3.vm lmtp:{HOST}:{other.port}\n"
                   "vm1.vm discard:\n")
    with connect(certs, hub.port()) as client:
        assert client.mail(SENDER, ["REQUIRETLS"])[0] == 250
        for recipient in ("bob@vm2.vm", "bob@vm3.vm"):
            assert client.rcpt(recipient)[0] == 250
        assert client.data(text("bob@vm2.vm"))[0] == 250
    hub.delivered("bob@vm2.vm")
    assert "dsn=5.7.30" in hub.delivered("bob@vm3.vm", status="bounced")
    assert peer.messages[0].taken == ["bob@vm2.vm"] and not other.messages
    assert b"REQUIRETLS" not in peer.wire()


def test_relative_sockets_are_where_the_queue_is(site):
    hub = site.hub("vm2.vm lmtp:unix:private/lmtp\n")
    (hub.directory / "queue" / "private").mkdir()
    peer = lmtp(site, path=hub.directory / "queue" / "private" / "lmtp")
    hub.removed(relay(hub, SENDER, "bob@vm2.vm"))
    assert peer.messages[0].taken == ["bob@vm2.vm"]
    assert rows(hub)[0]["peer"] == f"unix:{hub.directory}/queue/private/lmtp"


def test_nobody_listens(site, socket_path):
    """No file, a file that is no socket, a socket of one who has gone; and who comes back."""
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}\n")
    since, message_id = hub.server.mark(), relay(hub, SENDER, "bob@vm2.vm")
    for why in ("No such file or directory", "Connection refused"):
        # A worker may claim it before it hears that the next hop is worth a try: suspended, then.
        reason = f"connect to mta.vm.vm[{socket_path}]: {why}"
        hub.wait_for(f"{message_id}: to=<bob@vm2.vm>.* dsn=4.4.1, status=deferred " +
                     re.escape(f"({reason})"), since)
        deadline = time.monotonic() + PATIENCE_S
        while hub.waiting("bob@vm2.vm")["reason"] != reason:  # the log is a little ahead
            assert time.monotonic() < deadline
        if why == "No such file or directory":
            socket_path.touch()
            since = hub.server.mark()
            assert hub.command("queue", "retry", "--all").returncode == 0
    socket_path.unlink()
    peer = lmtp(site, path=socket_path)
    assert hub.command("queue", "retry", "--all").returncode == 0
    hub.removed(message_id)
    assert peer.messages[0].taken == ["bob@vm2.vm"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as somebody else")
def test_permission_is_refused(site, socket_path, open_path):
    """An account that may not enter; what to do is in the reason."""
    closed = open_path / "closed"
    closed.mkdir(mode=0o700)
    lmtp(site, path=closed / "lmtp")
    for name in ("queue", "run"):
        (open_path / name).mkdir()
        shutil.chown(open_path / name, "nobody")
    (open_path / "ts").write_text(f"vm2.vm lmtp:unix:{closed}/lmtp\n")
    hub = site.hub(user="nobody", transport_maps=f"hash:{open_path}/ts",
                   queue_directory=open_path / "queue", run_directory=open_path / "run")
    line = hub.delivered("bob@vm2.vm", relay(hub, SENDER, "bob@vm2.vm"), "deferred")
    assert f"(connect to mta.vm.vm[{closed}/lmtp]: Permission denied)" in line
    hub.stop()  # before its directory goes


def test_a_long_path(site):
    folder = site.directory / ("d" * 120)
    folder.mkdir()
    peer = lmtp(site, path=folder / "lmtp")
    hub = site.hub(f"vm2.vm lmtp:unix:{folder}/lmtp\n")
    hub.removed(relay(hub, SENDER, "bob@vm2.vm"))
    assert len(peer.messages) == 1


def test_several_sockets_are_tried_in_turn(site, socket_path):
    peer = lmtp(site, path=socket_path)
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}.gone, unix:{socket_path}\n")
    hub.removed(relay(hub, SENDER, "bob@vm2.vm"))
    assert len(peer.messages) == 1
    assert rows(hub)[0]["peer"] == f"unix:{socket_path}"


def test_starttls_by_policy(site):
    """As for relay: what is asked for is had, or the mail waits; nothing goes in the clear."""
    peer, deaf = lmtp(site, tls="starttls"), lmtp(site)
    hub = site.hub(f"vm1.vm lmtp:{HOST}:{peer.port} tls=verify match=hub.example\n"
                   f"vm2.vm lmtp:{HOST}:{deaf.port}\n")
    hub.removed(relay(hub, SENDER, "alice@vm1.vm"))
    assert peer.messages[0].session.tls
    assert peer.messages[0].session.commands[:3] == ["LHLO mta.vm.vm", "STARTTLS",
                                                     "LHLO mta.vm.vm"]
    hub.wait_for(r" posthouse/lmtp\[\d+\]: Verified TLS connection established to ")
    (row,) = rows(hub)
    assert (row["transport"], row["tls"]["level"], row["tls"]["mode"], row["tls"]["verified"]) == (
        "lmtp", "verify", "starttls", True)
    line = hub.delivered("bob@vm2.vm", relay(hub, SENDER, "bob@vm2.vm"), "deferred")
    assert "TLS is required, but was not offered" in line
    assert b"MAIL" not in deaf.wire()


def test_names_have_no_mx(site):
    dns = site.dns({"lmtp.example": ["127.0.0.1"]})
    peer = lmtp(site)
    hub = site.hub(f"vm2.vm lmtp:lmtp.example:{peer.port} tls=none\n", resolver=dns.address)
    hub.removed(relay(hub, SENDER, "bob@vm2.vm"))
    assert len(peer.messages) == 1


def test_a_connection_ends_between_the_replies(site, socket_path):
    """Who had a reply has it; the others wait, and are tried again alone."""
    peer = lmtp(site, path=socket_path, replies={"END": ["250 2.0.0 Ok: first", DROP]})
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}\n")
    message_id = relay(hub, SENDER, ["bob@vm2.vm", "test2@vm2.vm"])
    assert "(250 2.0.0 Ok: first)" in hub.delivered("bob@vm2.vm", message_id)
    line = hub.delivered("test2@vm2.vm", message_id, "deferred")
    assert f"(lost connection with mta.vm.vm[{socket_path}] while sending end of data" in line
    hub.waiting("test2@vm2.vm")
    assert hub.command("queue", "retry", "--all").returncode == 0
    hub.removed(message_id)
    assert [m.recipients for m in peer.messages] == [["bob@vm2.vm", "test2@vm2.vm"],
                                                     ["test2@vm2.vm"]]


def test_reports_say_that_it_is_in_a_mailbox(site, socket_path):
    """Who takes mail by LMTP and knows no DSN is the last; so the success is ours to tell."""
    lmtp(site, path=socket_path)
    back = site.peer()
    hub = site.hub(f"vm2.vm lmtp:unix:{socket_path}\nvm1.vm relay:{HOST}:{back.port} tls=none\n")
    with smtplib.SMTP(HOST, hub.port(), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail(SENDER)[0] == 250
        assert client.rcpt("bob@vm2.vm", ["NOTIFY=SUCCESS"])[0] == 250
        assert client.data(text("bob@vm2.vm"))[0] == 250
    (report,) = back.wait_for_messages(1)
    assert re.search(rb"Final-Recipient: rfc822; ?bob@vm2.vm\r\n.*Action: delivered\r\n",
                     report.body, re.DOTALL)


# ---- Dovecot ----

DOVECOT_CONF = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = /dev/stdout
protocols = lmtp
ssl = no
postmaster_address = postmaster@vm2.vm
quota_full_tempfail = yes
mail_location = maildir:{directory}/mail/%d/%n
mail_plugins = quota
plugin {{
  quota = maildir:storage
  quota_rule = *:storage=100M
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
  override_fields = uid={uid} gid={gid}
}}
service lmtp {{
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


class Dovecot(Process):
    """With a bob, and a full whose mailbox has room for nothing."""

    def __init__(self, directory, port):
        (directory / "mail").mkdir()
        shutil.chown(directory / "mail", "nobody")
        owner = (directory / "mail").stat()
        (directory / "dovecot.conf").write_text(DOVECOT_CONF.format(
            directory=directory, port=port, uid=owner.st_uid, gid=65534))
        (directory / "users").write_text(
            f"bob@vm2.vm:::::{directory}/mail/home::\n"
            f"full@vm2.vm:::::{directory}/mail/home::userdb_quota_rule=*:bytes=10\n")
        self.socket, self._mail = directory / "lmtp", directory / "mail"
        super().__init__([DOVECOT, "-F", "-c", directory / "dovecot.conf"], "starting up",
                         start_new_session=True)

    def mailbox(self, name):
        return [path.read_bytes() for path in (self._mail / "vm2.vm" / name / "new").iterdir()]


@pytest.mark.skipif(not DOVECOT or not os.path.exists("/usr/lib/dovecot/lmtp"),
                    reason="dovecot-lmtpd is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start dovecot")
@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_dovecot(site, open_path, way):
    """It takes mail for one, has no room for another, and knows nothing of the third."""
    port = site.port()
    dovecot = Dovecot(open_path, port)
    try:
        route = f"{HOST}:{port} tls=none" if way == "tcp" else f"unix:{dovecot.socket}"
        hub = site.hub(f"vm2.vm lmtp:{route}\nvm1.vm discard:\n")
        body = text("bob@vm2.vm") + b".\r\n..dots\r\n\xff\r\n" + b"x" * 990 + b"\r\n"
        message_id = relay(hub, SENDER, ["bob@vm2.vm", "full@vm2.vm", "no@vm2.vm"], body)
        assert re.search(r"dsn=2\.0\.0, status=sent \(250 2\.0\.0 .*Saved\)",
                         hub.delivered("bob@vm2.vm", message_id))
        assert "dsn=4.2.2" in hub.delivered("full@vm2.vm", message_id, "deferred")
        assert "dsn=5.1.1" in hub.delivered("no@vm2.vm", message_id, "bounced")
        (message,) = dovecot.mailbox("bob")
        assert message.replace(b"\n", b"\r\n").endswith(body)
        assert message.startswith(b"Return-Path: <alice@vm1.vm>\n")
    finally:
        dovecot.stop()
