"""
How-to 002: one machine's own mail: Maildirs in homes, aliases, the mail command; then the same
through a provider's server, first without and then with a login.
"""

import email.header
import re

import pytest

from guide import Guide, followed
from machine import Machine
from sasl_server import Login

LOCAL_CF = """\
myhostname = localhost
mydomain = localdomain
inet_interfaces = $myhostname, localhost
mydestination = $myhostname, localhost.$mydomain, localhost
mynetworks_style = host
default_transport = error:outside mail is not deliverable
home_mailbox = Maildir/
"""

RELAY_CF = """\
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix
mail_owner = postfix
myorigin = $myhostname
unknown_local_recipient_reject_code = 450
mynetworks_style = subnet
mynetworks = 127.0.0.0/8 192.168.2.0/24
mailbox_command = /usr/bin/procmail
debug_peer_level = 2
debugger_command =
  PATH=/bin:/usr/bin:/usr/local/bin:/usr/X11R6/bin:
  xxgdb $daemon_directory/$process_name $process_id & sleep 5
sendmail_path = /usr/sbin/sendmail
newaliases_path = /usr/bin/newaliases
mailq_path = /usr/bin/mailq
setgid_group = postdrop
manpage_directory = /usr/share/man
readme_directory = /usr/share/doc/postfix-2.1.5-r2/readme
default_destination_concurrency_limit = 2
alias_database = hash:/etc/mail/aliases
local_destination_concurrency_limit = 2
alias_maps = hash:/etc/mail/aliases
home_mailbox = .maildir/
relayhost = [smtp.youisp.ru]
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:/etc/postfix/saslpass
smtp_sasl_security_options = noanonymous
"""

# "Сценарий проверки почты", as it stands.
NEW_MAIL = """
if [ -d "${HOME}/.maildir/new" ]
  then NEWMAIL=`find ${HOME}/.maildir/new/ -type f`
  if [ ! -z "${NEWMAIL}" ]
    then echo "You have new mail. Read it with 'mutt'."
  fi
fi
"""


class Workstation(Guide):
    def __init__(self, directory, posthouse_bin, site):
        self.machine = Machine(directory, ["user", "username"])
        self.machine.install(posthouse_bin)
        super().__init__(directory, posthouse_bin, site, ("localhost",), ("127.0.0.1",))
        self.server = None

    def set_up(self):
        self.server = self.host("localhost", {
            "mode": "edge",
            "myhostname": "localhost", "mydomain": "localdomain", "myorigin": "$myhostname",
            "listen": self.listen("localhost", smtp="smtp"),
            "mydestination": "$myhostname, localhost.$mydomain, localhost",
            "virtual_mailbox_domains": "",
            "smtpd_sasl_auth_enable": "no",
            "default_transport": "error:outside mail is not deliverable",
            "alias_maps": "hash:aliases",
            "home_mailbox": "Maildir/",
            "smtpd_tls_security_level": "none",
            "smtpd_tls_CAfile": None, "smtpd_tls_key_file": None, "smtpd_tls_cert_file": None,
        }, {"aliases": "# /etc/mail/aliases\npostmaster: root\n"}).start()

    def shell(self, user, command):
        got = self.machine.shell(user, command, POSTHOUSE_CONFIG=str(self.server.config))
        assert got.returncode == 0 and not got.stderr, (command, got.stdout, got.stderr)
        return got.stdout

    def change(self, **parameters):
        """Edit the configuration, and postfix reload, or stop and start."""
        self.server.change(**parameters)
        self.share(self.server.config)
        if "home_mailbox" in parameters:  # who writes into homes has it from the start
            self.server.stop()
            self.server.start()
        else:
            got = self.server.command("reload")
            assert got.returncode == 0, got.stderr


@pytest.fixture(scope="module")
def workstation(posthouse_bin, shared_site):
    with followed(Workstation, posthouse_bin, shared_site) as workstation:
        yield workstation


def subject_and_text(message):
    header, _, text = message.partition("\n\n")
    subject = re.search("^Subject: (.*)$", header, re.MULTILINE)[1]
    return str(email.header.make_header(email.header.decode_header(subject))), text


def test_its_main_cf(workstation):
    for main_cf in (LOCAL_CF, RELAY_CF):
        hints = workstation.hints(main_cf)
        assert hints and all(hints.values()), hints


def test_a_letter_to_oneself(workstation):
    """postfix check; newaliases; echo "текст письма" | mail -s "заголовок" user"""
    assert workstation.server.command("check").returncode == 0
    workstation.shell(None, "newaliases")
    since = workstation.server.server.mark()
    workstation.shell("user", 'echo "текст письма" | mail -s "заголовок" user')
    line = workstation.server.wait_for("to=<user@localhost>.* status=sent", since=since)
    assert "relay=local" in line
    (message,) = workstation.machine.new_mail("user")
    assert message.startswith("Return-Path: <user@localhost>\n")
    assert subject_and_text(message) == ("заголовок", "текст письма\n")
    workstation.server.wait_for(": removed$", since=since)
    assert workstation.shell(None, "mailq").strip() == "Mail queue is empty"


def test_outside_mail_is_not_deliverable(workstation):
    """default_transport = error:…: it comes back, with these words."""
    before = len(workstation.machine.new_mail("username"))
    since = workstation.server.server.mark()
    workstation.shell("username", "echo hello | mail -s outside somebody@outside.example")
    line = workstation.server.wait_for("to=<somebody@outside.example>.* status=bounced",
                                       since=since)
    assert "(outside mail is not deliverable)" in line
    workstation.server.wait_for("to=<username@localhost>.* status=sent", since=since)
    report = workstation.machine.new_mail("username")[before]
    assert report.startswith("Return-Path: <>\n") and "outside mail is not deliverable" in report


def test_aliases(workstation):
    """root: username, operator: username; newaliases. Mail for root is username's."""
    server = workstation.server
    workstation.rewrite(server, "aliases",
                        "postmaster: root\nroot:               username\n"
                        "operator:           username\n", "alias_maps")
    workstation.shell(None, "newaliases")
    for name in ("root", "operator"):
        before = len(workstation.machine.new_mail("username"))
        since = server.server.mark()
        workstation.shell(None, f"echo cron | mail -s 'to {name}' {name}")
        server.wait_for(f"to=<username@localhost>, orig_to=<{name}(@localhost)?>.* status=sent", since=since)
        message = workstation.machine.new_mail("username")[before]
        assert f"\nX-Original-To: {name}@localhost\n" in message


def test_the_script_that_looks_for_mail(workstation):
    """With home_mailbox = .maildir/, as the second part has it."""
    workstation.change(home_mailbox=".maildir/")
    assert workstation.shell("user", NEW_MAIL) == ""
    since = workstation.server.server.mark()
    workstation.shell("username", "echo news | mail -s news user")
    workstation.server.wait_for("to=<user@localhost>.* status=sent", since=since)
    assert workstation.shell("user", NEW_MAIL) == "You have new mail. Read it with 'mutt'.\n"


@pytest.mark.parametrize("password", [None, "password"])
def test_through_the_provider(workstation, password):
    """relayhost = [smtp.youisp.ru], then with saslpass; local mail stays here."""
    site, login = workstation.site, Login({"login": "password"})
    peer = site.peer(tls="starttls", replies={"AUTH": login} if password else {},
                     extensions=["PIPELINING", "8BITMIME"] + (["AUTH PLAIN LOGIN"] if password
                                                              else []))
    dns = site.dns({"smtp.youisp.ru": ["127.0.0.1"]})
    settings = {"relayhost": f"[smtp.youisp.ru]:{peer.port}", "resolver": dns.address,
                "mynetworks": "127.0.0.0/8 192.168.2.0/24", "default_transport": None,
                "unknown_local_recipient_reject_code": 450}
    if password:
        workstation.server.write("saslpass", "[smtp.youisp.ru] login:password\n")
        workstation.account.give(workstation.server.directory / "saslpass", 0o600)
        settings.update(smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:saslpass")
    workstation.change(**settings)
    since = workstation.server.server.mark()
    workstation.shell("user", "echo hello | mail -s outside somebody@outside.example")
    line = workstation.server.wait_for("to=<somebody@outside.example>.* status=sent", since=since)
    assert "relay=smtp.youisp.ru[" in line
    message = peer.messages[-1]
    assert (message.sender, message.recipients) == ("user@localhost",
                                                    ["somebody@outside.example"])
    assert message.session.tls is not None and b"\r\nSubject: outside\r\n" in message.body
    if password:
        assert [attempt[1:] for attempt in login.attempts] == [("login", True)]
    workstation.shell("user", "echo hello | mail -s inside username")
    workstation.server.wait_for("to=<username@localhost>.* status=sent", since=since)
