"""
How-to 000: a virtual machine whose users are the system's gets mail by telnet on port 25 from
the host that it runs on, and they read it by telnet on port 110.

Its mailboxes are Maildirs here, and Dovecot's passwords stand in a file instead of PAM.
"""

import re

import pytest

from dialogue import Telnet
from dovecot import why_not
from guide import Guide, followed
from machine import Machine

pytestmark = pytest.mark.skipif(bool(why_not("pop3")), reason=why_not("pop3"))

GUEST, GATEWAY = "10.0.2.15", "10.0.2.2"

MAIN_CF = """\
config_directory = /etc/postfix
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/libexec/postfix
data_directory = /var/lib/postfix
mail_owner = postfix
mail_spool_directory = /var/spool/mail
inet_interfaces = all
inet_protocols = all
mydestination = $myhostname, localhost.$mydomain, localhost
unknown_local_recipient_reject_code = 550
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
debug_peer_level = 2
sendmail_path = /usr/sbin/sendmail.postfix
newaliases_path = /usr/bin/newaliases.postfix
mailq_path = /usr/bin/mailq.postfix
setgid_group = postdrop
html_directory = no
manpage_directory = /usr/share/man
sample_directory = /usr/share/doc/postfix-2.10.1/samples
readme_directory = /usr/share/doc/postfix-2.10.1/README_FILES
"""

DOVECOT_CONF = """\
protocols = pop3
disable_plaintext_auth = no
first_valid_uid = 1000
mail_access_groups = mail
mail_location = maildir:~/Maildir
namespace inbox {{
  inbox = yes
  location =
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Junk {{
    special_use = \\Junk
  }}
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox "Sent Messages" {{
    special_use = \\Sent
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
  prefix =
}}
passdb {{
  driver = passwd-file
  args = {etc}/passwords
}}
ssl = no
userdb {{
  driver = passwd
}}
listen = {address}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
}}
"""


class MailServer(Guide):
    def __init__(self, directory, posthouse_bin, site):
        self.machine = Machine(directory, ["otus"])
        super().__init__(directory, posthouse_bin, site, ("mailServer", "gateway"),
                         (GUEST, GATEWAY))
        self.server = None

    def set_up(self):
        self.server = self.host("mailServer", {
            "mode": "edge",
            "myhostname": "mailServer.localdomain", "myorigin": "$myhostname",
            "listen": self.listen("mailServer", smtp="smtp"),
            "mydestination": "$myhostname, localhost.$mydomain, localhost",
            "virtual_mailbox_domains": "",
            "smtpd_sasl_auth_enable": "no",
            "home_mailbox": "Maildir/",
            "unknown_local_recipient_reject_code": 550,
            "alias_maps": "hash:aliases",
            "mynetworks": "10.0.2.0/24",
            "smtpd_tls_security_level": "none",
            "smtpd_tls_CAfile": None, "smtpd_tls_key_file": None, "smtpd_tls_cert_file": None,
        }, {"aliases": "postmaster: root\nroot: otus\n"}).start()
        self.dovecot("mailServer", DOVECOT_CONF, passwords="otus:{PLAIN}otus::::::\n")

    def telnet(self, service):
        """From the host that the machine runs on: ports 1025 and 1110 there."""
        return Telnet(*self.where("mailServer", service), source=self.network.address(GATEWAY))


@pytest.fixture(scope="module")
def guest(posthouse_bin, shared_site):
    with followed(MailServer, posthouse_bin, shared_site) as guest:
        yield guest


def test_its_main_cf(guest):
    """Each parameter of it means the same, or check says what has become of it."""
    hints = guest.hints(MAIN_CF)
    assert all(hints.values()), hints
    assert {"mail_owner", "inet_interfaces", "setgid_group"} <= set(hints)


def test_mail_is_sent_and_read(guest):
    with guest.telnet("smtp") as telnet:
        assert telnet.greeting.startswith("220 mailServer.localdomain ESMTP")
        assert telnet.reply("helo localdomain").startswith("250 mailServer.localdomain")
        assert telnet.reply("mail from:root") == "250 2.1.0 Ok"
        assert telnet.reply("rcpt to:otus") == "250 2.1.5 Ok"
        assert telnet.reply("data").startswith("354 End data with <CR><LF>.<CR><LF>")
        telnet.type("Hi, otus!\r\nHow are you?\r\n.")
        reply = telnet.reply()
        assert reply.startswith("250 2.0.0 Ok: queued as "), reply
        assert telnet.reply("quit").startswith("221 2.0.0 ")
    message_id = reply.split()[-1]
    line = guest.server.delivered("otus@mailServer.localdomain", message_id)
    assert "posthouse/local[" in line and "relay=local" in line

    with guest.telnet("pop3") as telnet:
        assert telnet.greeting.startswith("+OK")
        telnet.type("user otus")
        assert telnet.line() == "+OK"
        telnet.type("pass otus")
        assert telnet.line() == "+OK Logged in."
        telnet.type("list")
        assert telnet.lines_until(".")[0] == "+OK 1 messages:"
        telnet.type("retr 1")
        got = telnet.lines_until(".")[1:-1]
        head, body = got[:got.index("")], got[got.index("") + 1:]
        assert head[:3] == ["Return-Path: <root@mailServer.localdomain>", "X-Original-To: otus",
                            "Delivered-To: otus@mailServer.localdomain"]
        received = " ".join(line.strip() for line in head[3:])
        assert re.match(rf"Received: from localdomain \(.*\[{re.escape(GATEWAY)}\]\) "
                        rf"by mailServer.localdomain .* with SMTP id {message_id}", received)
        assert body == ["Hi, otus!", "How are you?"]
        telnet.type("dele 1")
        assert telnet.line() == "+OK Marked to be deleted."
        telnet.type("quit")
        assert telnet.line() == "+OK Logging out, messages deleted."
    with guest.telnet("pop3") as telnet:
        for command in ("user otus", "pass otus"):
            telnet.type(command)
            assert telnet.line().startswith("+OK")
        telnet.type("list")
        assert telnet.lines_until(".")[0] == "+OK 0 messages:"


def test_the_mailbox_is_the_users_own(guest):
    """Nobody else gets into the home, and what lies in it belongs to otus."""
    maildir = guest.machine.home("otus") / "Maildir"
    assert {path.stat().st_uid for path in (maildir, maildir / "new", maildir / "cur")} == {
        guest.machine.uids["otus"]}
    assert maildir.stat().st_mode & 0o077 == 0


def test_strangers(guest):
    """Unknown users are refused, and so is who is not of the LAN and says he is one of us."""
    with guest.telnet("smtp") as telnet:
        telnet.reply("helo localdomain")
        assert telnet.reply("mail from:root").startswith("250")
        assert telnet.reply("rcpt to:nobody.here").startswith("550 5.1.1 ")
        assert telnet.reply("rcpt to:<otus@localhost>").startswith("250")
    with Telnet(*guest.where("mailServer", "smtp"), source="127.0.0.1") as telnet:
        telnet.reply("helo elsewhere")
        assert telnet.reply("mail from:root").startswith("553 5.7.1 ")
        assert telnet.reply("mail from:<a@elsewhere.example>").startswith("250")
        assert telnet.reply("rcpt to:otus").startswith("250")
        assert telnet.reply("rcpt to:<b@elsewhere.example>").startswith("554 5.7.1 ")
