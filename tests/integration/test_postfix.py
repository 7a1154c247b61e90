"""A real Postfix as a neighbour: it sends to our hub, and our hub sends to it."""

import os
import re
import shutil
import smtplib
import subprocess

import pytest

from clients import HOST, connect, relay, text, transact, transact_as_is
from mails import HEADER, MAILS, random_mail
from server import PATIENCE_S, Process

SBIN = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
POSTFIX, DOVECOT = shutil.which("postfix", path=SBIN), shutil.which("dovecot", path=SBIN)

pytestmark = [
    pytest.mark.skipif(not POSTFIX, reason="postfix is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start postfix"),
]

needs_dovecot = pytest.mark.skipif(not DOVECOT, reason="dovecot is not installed")

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
maillog_file = /dev/stdout
myhostname = neighbour.vm9.vm
mydestination =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks = {host}
local_recipient_maps =
local_transport = error:5.1.1 nobody here
alias_maps =
alias_database =
virtual_mailbox_domains = vm9.vm
virtual_mailbox_base = {directory}/mail
virtual_mailbox_maps = inline:{{ carol@vm9.vm=carol/ }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = inline:{{ {{ vm1.vm = {route} }} }}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
notify_classes =
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certs}/hub.pem
smtpd_tls_key_file = {certs}/hub.key
smtpd_tls_received_header = yes
smtpd_tls_ask_ccert = yes
smtpd_tls_CAfile = {certs}/ca.pem
smtp_tls_cert_file = {certs}/edge.pem
smtp_tls_key_file = {certs}/edge.key
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = hub.example
smtp_tls_CAfile = {certs}/ca.pem
smtp_tls_loglevel = 1
smtpd_tls_loglevel = 1
"""

MASTER_CF = """\
{host}:{smtp}   inet  n - n - -    smtpd
{host}:{smtps}  inet  n - n - -    smtpd
  -o smtpd_tls_wrappermode=yes
cleanup    unix  n - n - 0    cleanup
qmgr       unix  n - n 300 1  qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - -    trivial-rewrite
bounce     unix  - - n - 0    bounce
defer      unix  - - n - 0    bounce
trace      unix  - - n - 0    bounce
anvil      unix  - - n - 1    anvil
scache     unix  - - n - 1    scache
smtp       unix  - - n - -    smtp
relay      unix  - - n - -    smtp
relay-smtps unix - - n - -    smtp
  -o smtp_tls_wrappermode=yes
error      unix  - - n - -    error
retry      unix  - - n - -    error
virtual    unix  - n n - -    virtual
postlog    unix-dgram n - n - 1 postlogd
"""


# Whom it relays for has logged in, as Dovecot says; to itself alone here.
LOGIN_CF = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {directory}/auth
smtpd_tls_auth_only = yes
smtpd_sasl_security_options = noanonymous
smtpd_client_restrictions = permit_sasl_authenticated, reject
mynetworks =
"""

DOVECOT_CONF = """\
protocols =
base_dir = {directory}/run
state_dir = {directory}/state
log_path = /dev/stdout
ssl = no
auth_mechanisms = {mechanisms}
auth_verbose = yes
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {directory}/auth {{
    mode = 0666
  }}
}}
"""


class Dovecot(Process):
    """Its passwords and SASL mechanisms, for a Postfix that has the same directory."""

    def __init__(self, directory, mechanisms, users):
        path = directory / "dovecot.conf"
        path.write_text(DOVECOT_CONF.format(directory=directory, mechanisms=mechanisms))
        (directory / "users").write_text("".join(
            f"{user}:{{PLAIN}}{password}::::::\n" for user, password in users.items()))
        super().__init__([DOVECOT, "-F", "-c", path], "starting up", start_new_session=True)

    def close(self):
        self.stop()


class Postfix(Process):
    """With a configuration, a queue and ports of its own; route leads to vm1.vm."""

    def __init__(self, site, directory, route, more=""):
        for name in ("etc", "spool", "data", "mail"):
            (directory / name).mkdir()
        for name in ("data", "mail"):
            shutil.chown(directory / name, "postfix", "postfix")
        owner = (directory / "mail").stat()
        self.smtp, self.smtps = site.port(), site.port()
        self._config = directory / "etc"
        self._maildir = directory / "mail" / "carol"
        (self._config / "main.cf").write_text(MAIN_CF.format(
            directory=directory, host=HOST, uid=owner.st_uid, gid=owner.st_gid, route=route,
            certs=site.certs) + more.format(directory=directory))
        (self._config / "master.cf").write_text(MASTER_CF.format(
            host=HOST, smtp=self.smtp, smtps=self.smtps))
        # Its master signals its whole process group, so it gets one of its own.
        super().__init__([POSTFIX, "-c", self._config, "start-fg"], "daemon started",
                         start_new_session=True)

    def mailbox(self):
        return [path.read_bytes() for path in (self._maildir / "new").iterdir()]

    def close(self):
        subprocess.run([POSTFIX, "-c", self._config, "stop"], check=True, timeout=PATIENCE_S)
        self.process.wait(PATIENCE_S)
        self._reader.join()


@pytest.fixture
def neighbour(site, open_path):
    """start(route) -> Postfix; with mechanisms and users it wants a login, as Dovecot has them."""
    started = []

    def start(route="discard:", mechanisms="", users=None):
        if mechanisms:
            started.append(Dovecot(open_path, mechanisms, users))
        started.append(Postfix(site, open_path, route, LOGIN_CF if mechanisms else ""))
        return started[-1]

    yield start
    for process in reversed(started):
        process.close()


def send(postfix, recipient, message):
    with smtplib.SMTP(HOST, postfix.smtp, "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        transact(client, "carol@vm9.vm", recipient, message)


def ask(port, sender, recipient):
    """With all that DSN offers, and a success to be told of."""
    with smtplib.SMTP(HOST, port, "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail(sender, ["RET=HDRS", "ENVID=Q+2B1"])[0] == 250
        assert client.rcpt(recipient, ["NOTIFY=SUCCESS,FAILURE",
                                       f"ORCPT=rfc822;Old+2B{recipient}"])[0] == 250
        code, reply = client.data(text(recipient, sender=sender))
        assert code == 250, reply


@pytest.mark.parametrize("transport, service", [("relay", "smtp"), ("relay-smtps", "smtps")])
def test_postfix_sends_to_the_hub(site, neighbour, transport, service):
    """It verifies the hub's certificate; and the message goes on to where the map says."""
    peer = site.peer(tls="starttls")
    hub = site.hub(f"vm1.vm relay:{HOST}:{peer.port} tls=verify\n",
                   smtpd_tls_security_level="encrypt")
    postfix = neighbour(f"{transport}:[{HOST}]:{hub.port(service)}")
    body = b"dots\r\n.\r\n..\r\n\xff\xfe gr\xc3\xbc\xc3\x9fe\r\n" + b"x" * 900 + b"\r\n"
    send(postfix, "alice@vm1.vm", text("alice@vm1.vm") + body)
    line = postfix.wait_for(r"to=<alice@vm1\.vm>.* status=")
    assert re.search(r"dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: queued as (\w+)\)", line), line
    postfix.wait_for("Verified TLS connection established to .*: TLSv1.3 with cipher")
    (message,) = peer.wait_for_messages(1)
    assert message.body.endswith(body)
    assert re.search(rb"from neighbour\.vm9\.vm \(\[127\.0\.0\.1\]\)\r\n"
                     rb"\t\(using TLSv1\.3 with cipher \w+ \(\d+/\d+ bits\)\)\r\n"
                     rb"\tby mta\.vm\.vm \(Posthouse\) with ESMTPS id", message.body)


def test_the_hub_refuses_what_postfix_may_not_relay(site, neighbour):
    hub = site.hub(relay_domains="vm2.vm")
    postfix = neighbour(f"relay:[{HOST}]:{hub.port()}")
    send(postfix, "alice@vm1.vm", text("alice@vm1.vm"))
    line = postfix.wait_for(r"to=<alice@vm1\.vm>.* status=")
    assert "dsn=5.7.1, status=bounced" in line and "Relay access denied" in line


def test_postfix_relays_by_its_certificate(site, neighbour):
    peer = site.peer()
    hub = site.hub(f"vm1.vm relay:{HOST}:{peer.port} tls=none\n", relay_domains="vm2.vm",
                   smtpd_tls_ask_ccert="yes", relay_clientcerts="edge.example")
    postfix = neighbour(f"relay:[{HOST}]:{hub.port()}")
    send(postfix, "alice@vm1.vm", text("alice@vm1.vm"))
    assert "status=sent" in postfix.wait_for(r"to=<alice@vm1\.vm>.* status=")
    (message,) = peer.wait_for_messages(1)
    assert (b'\t(Client CN "edge.example", Issuer "ca.example" (verified OK))\r\n'
            in message.body)


@pytest.mark.parametrize("transport", ["relay", "relay-smtps"])
def test_the_hub_sends_to_postfix(site, neighbour, transport):
    postfix = neighbour()
    port = postfix.smtp if transport == "relay" else postfix.smtps
    hub = site.hub(f"vm9.vm {transport}:{HOST}:{port} tls=verify\n* discard:\n",
                   relay_domains="vm9.vm", workers=1)
    body = b".\r\n..\r\n\xff\xfe gr\xc3\xbc\xc3\x9fe\r\n" + b"0123456789\r\n" * 20000
    for i in range(2):
        message_id = relay(hub, "alice@vm1.vm", "carol@vm9.vm",
                           text("carol@vm9.vm", f"no {i}") + body)
        line = hub.delivered("carol@vm9.vm", message_id)
        assert ", tls=verify:TLSv1.3:verified, dsn=2.0.0, status=sent (250 2.0.0 Ok: " in line
        postfix_id = re.search(r"queued as (\w+)\)", line)[1]
        postfix.wait_for(rf"{postfix_id}: to=<carol@vm9\.vm>.* status=sent")
    message_id = relay(hub, "alice@vm1.vm", "nobody@vm9.vm")
    line = hub.delivered("nobody@vm9.vm", message_id, "bounced")
    assert ", dsn=5.1.1, status=bounced (550 5.1.1 <nobody@vm9.vm>: Recipient address rej" in line
    messages = postfix.mailbox()
    assert len(messages) == 2
    for message in messages:
        assert message.replace(b"\n", b"\r\n").endswith(body)
        assert b"from mta.vm.vm" in message and b"(using TLSv1.3 with cipher " in message
        assert b'(Client CN "hub.example", Issuer "ca.example" (verified OK))' in message
    assert postfix.log().count(": connect from ") == 1


def test_the_hub_asks_postfix(site, neighbour):
    """It counts what it refuses, and stalls whoever has more than ten of that in a session."""
    postfix = neighbour()
    hub = site.hub(f"vm9.vm relay-smtps:[{HOST}]:{postfix.smtps} tls=encrypt\n",
                   relay_domains="vm9.vm", relay_recipient_verify="vm9.vm",
                   address_verify_poll_count=20, workers=1)
    with smtplib.SMTP(HOST, hub.port(), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        assert client.mail("mallory@forged.example")[0] == 250
        for i in range(15):
            code, reply = client.rcpt(f"name{i}@vm9.vm")
            assert code == 550 and b"User unknown in virtual mailbox table" in reply, reply
        assert client.rcpt("carol@vm9.vm")[0] == 250
        assert client.data(text("carol@vm9.vm"))[0] == 250
    hub.delivered("carol@vm9.vm")
    postfix.wait_for("to=<carol@vm9.vm>.* status=sent")
    ends = [re.search(r" rcpt=(\d+)/(\d+)", line) for line in postfix.lines]
    refused = [int(end[2]) - int(end[1]) for end in ends if end]
    assert refused and max(refused) < 10, refused
    assert not any("too many errors" in line for line in postfix.lines)


@pytest.mark.parametrize("discarded", ["", "chunking"], ids=["bdat", "data"])
def test_many_messages_in_flight_to_postfix(site, neighbour, discarded):
    """A backlog over one connection, with a recipient in it whom Postfix does not know."""
    postfix = neighbour()
    hub = site.hub("* retry:4.0.0 not yet\n", relay_domains="vm9.vm", workers=1,
                   default_destination_concurrency_limit=1, smtp_discard_ehlo_keywords=discarded)
    ids = {}
    with connect(site.certs, hub.port()) as client:
        for i in range(30):
            name = "nobody" if i % 10 == 5 else "carol"
            message = text(f"{name}@vm9.vm", f"no {i}")
            ids[transact(client, "alice@vm1.vm", f"{name}@vm9.vm", message)] = name
    for message_id, name in ids.items():
        hub.delivered(f"{name}@vm9.vm", message_id, "deferred")
    hub.write("ts", f"vm9.vm relay:{HOST}:{postfix.smtp} tls=verify\n* discard:\n")
    assert hub.command("reload").returncode == 0
    assert hub.command("queue", "retry", "--all").returncode == 0
    for message_id, name in ids.items():
        if name == "nobody":
            assert "dsn=5.1.1" in hub.delivered("nobody@vm9.vm", message_id, "bounced")
        else:
            line = hub.delivered("carol@vm9.vm", message_id)
            postfix_id = re.search(r"queued as (\w+)\)", line)[1]
            postfix.wait_for(rf"{postfix_id}: to=<carol@vm9\.vm>.* status=sent")
    hub.stop()
    line = postfix.wait_for(r"disconnect from .* mail=30 rcpt=27/30 .*")
    assert ("data=" in line) == bool(discarded)



def test_postfix_between_two_hubs(site, neighbour):
    """What it leaves as it is (it folds lines beyond 998 octets) comes out as it went in."""
    peer = site.peer()
    last = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    postfix = neighbour(f"relay:[{HOST}]:{last.port()}")
    first = site.hub(f"* relay:{HOST}:{postfix.smtp} tls=verify\n")
    mails = [mail for mail in (*MAILS.values(), random_mail(99, 300000))
             if mail.startswith(HEADER) and max(map(len, mail.split(b"\r\n"))) <= 998]
    with connect(None, first.port(), "none") as client:
        for number, mail in enumerate(mails):
            transact_as_is(client, "carol@vm9.vm", [f"u{number}@vm1.vm"], mail)
    messages = peer.wait_for_messages(len(mails))
    assert len(messages) == len(mails) > 10
    for message in messages:
        assert message.body.endswith(mails[int(message.recipients[0][1:].partition("@")[0])])


def test_postfix_reports_what_the_hub_was_asked_for(site, neighbour):
    peer = site.peer()
    hub = site.hub(relay_domains="vm1.vm vm9.vm")
    postfix = neighbour(f"relay:[{HOST}]:{hub.port()}")
    hub.write("ts", f"vm9.vm relay:{HOST}:{postfix.smtp} tls=verify\n"
                    f"vm1.vm relay:{HOST}:{peer.port} tls=none\n")
    hub.wait_for("ts has changed and was taken up")
    ask(hub.port(), "alice@vm1.vm", "carol@vm9.vm")
    (message,) = peer.wait_for_messages(1)
    assert (message.sender, message.recipients) == ("", ["alice@vm1.vm"])
    for field in (b"Reporting-MTA: dns; neighbour.vm9.vm", b"Original-Envelope-Id: Q+1",
                  b"Original-Recipient: rfc822;Old+carol@vm9.vm", b"Action: delivered"):
        assert field + b"\r\n" in message.body


def test_the_hub_reports_what_postfix_was_asked_for(site, neighbour):
    """The peer behind the hub knows no DSN, so the hub says that the message was relayed."""
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              "550 5.1.1 nobody" if argument.startswith("TO:<bob@") else None})
    hub = site.hub(relay_domains="vm1.vm vm9.vm")
    postfix = neighbour(f"relay:[{HOST}]:{hub.port()}")
    hub.write("ts", f"vm9.vm relay:{HOST}:{postfix.smtp} tls=verify\n"
                    f"vm1.vm relay:{HOST}:{peer.port} tls=none\n")
    hub.wait_for("ts has changed and was taken up")
    for recipient, action, kind in (("alice@vm1.vm", b"relayed", "delivery status"),
                                    ("bob@vm1.vm", b"failed", "non-delivery")):
        since = postfix.mark()
        ask(postfix.smtp, "carol@vm9.vm", recipient)
        note_id = hub.wait_for(f": sender {kind} notification: ").split()[-1]
        hub.removed(note_id)
        postfix.wait_for(r"to=<carol@vm9\.vm>.* status=sent", since)
        (report,) = [m for m in postfix.mailbox() if b"Action: " + action in m]
        for field in (b"Reporting-MTA: dns; mta.vm.vm", b"Original-Envelope-Id: Q+1",
                      b"Original-Recipient: rfc822;Old+" + recipient.encode()):
            assert field + b"\n" in report


def login_hub(site, postfix, password="secret", transport="relay", **parameters):
    port = postfix.smtp if transport == "relay" else postfix.smtps
    return site.hub(f"vm9.vm {transport}:[{HOST}]:{port} tls=verify match=hub.example\n* discard:\n",
                    {"passwords": f"[{HOST}]:{port} hub:{password}\n"}, relay_domains="vm9.vm",
                    smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:passwords",
                    **parameters)


@needs_dovecot
@pytest.mark.parametrize("mechanism, transport", [
    ("SCRAM-SHA-256", "relay"), ("SCRAM-SHA-1", "relay"), ("CRAM-MD5", "relay-smtps"),
    ("PLAIN", "relay"), ("LOGIN", "relay-smtps")])
def test_the_hub_logs_in(site, neighbour, mechanism, transport):
    """Dovecot judges each mechanism, of which it offers no other here."""
    postfix = neighbour(mechanisms=mechanism.lower(), users={"hub": "secret"})
    hub = login_hub(site, postfix, transport=transport)
    line = hub.delivered("carol@vm9.vm", relay(hub, "alice@vm1.vm", "carol@vm9.vm"))
    assert "dsn=2.0.0, status=sent (250 2.0.0 Ok: " in line
    postfix.wait_for(f"client=.*, sasl_method={mechanism}, sasl_username=hub")
    assert f" by {mechanism}, sasl_username=hub" in hub.server.log()


@needs_dovecot
def test_the_hub_logs_in_by_the_best(site, neighbour):
    postfix = neighbour(mechanisms="plain login cram-md5 scram-sha-1 scram-sha-256",
                        users={"hub": "secret"})
    hub = login_hub(site, postfix)
    hub.delivered("carol@vm9.vm", relay(hub, "alice@vm1.vm", "carol@vm9.vm"))
    postfix.wait_for("sasl_method=SCRAM-SHA-256, sasl_username=hub")


@needs_dovecot
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_postfix_refuses_the_login(site, neighbour, mechanism):
    """Then mail waits; without the login it would have been returned to its sender."""
    postfix = neighbour(mechanisms=mechanism.lower(), users={"hub": "secret"})
    hub = login_hub(site, postfix, "other")
    line = hub.delivered("carol@vm9.vm", relay(hub, "alice@vm1.vm", "carol@vm9.vm"), "deferred")
    assert (f"dsn=4.7.8, status=deferred (SASL authentication failed; server {HOST}[{HOST}]:"
            f"{postfix.smtp} said: 535 Error: authentication failed") in line
    hub.change(smtp_sasl_auth_enable="no", smtp_sasl_password_maps=None)
    assert hub.command("reload").returncode == 0
    line = hub.delivered("carol@vm9.vm", relay(hub, "alice@vm1.vm", "carol@vm9.vm"), "bounced")
    assert "Access denied" in line
