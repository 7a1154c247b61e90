"""
How-to 001: mail for a user of the system comes by telnet on port 20025, shows in the maillog, and
is read by telnet and IMAP on port 20143.
"""

import re

import pytest

from dialogue import Telnet
from dovecot import why_not
from guide import Guide, followed
from machine import Machine

pytestmark = pytest.mark.skipif(bool(why_not("imap")), reason=why_not("imap"))

GUEST, GATEWAY = "10.0.2.15", "10.0.2.2"

DOVECOT_CONF = """\
protocols = imap
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1000
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = {etc}/passwords
}}
userdb {{
  driver = passwd
}}
listen = {address}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
}}
"""


class MailServer(Guide):
    def __init__(self, directory, posthouse_bin, site):
        self.machine = Machine(directory, ["vagrant"])
        super().__init__(directory, posthouse_bin, site, ("mailserver", "gateway"),
                         (GUEST, GATEWAY))
        self.server = None

    def set_up(self):
        self.server = self.host("mailserver", {
            "mode": "edge",
            "myhostname": "mailserver.local", "myorigin": "$myhostname",
            "listen": self.listen("mailserver", smtp="smtp"),
            "mydestination": "$myhostname, localhost",
            "virtual_mailbox_domains": "",
            "smtpd_sasl_auth_enable": "no",
            "home_mailbox": "Maildir/",
            "message_size_limit": 10240000,
            "smtpd_tls_security_level": "none",
            "smtpd_tls_CAfile": None, "smtpd_tls_key_file": None, "smtpd_tls_cert_file": None,
        }, {}).start()
        self.dovecot("mailserver", DOVECOT_CONF, passwords="vagrant:{PLAIN}password::::::\n")

    def telnet(self, service):
        return Telnet(*self.where("mailserver", service), source=self.network.address(GATEWAY))


@pytest.fixture(scope="module")
def guest(posthouse_bin, shared_site):
    with followed(MailServer, posthouse_bin, shared_site) as guest:
        yield guest


def test_mail_is_sent_logged_and_read(guest):
    with guest.telnet("smtp") as telnet:
        assert telnet.greeting.startswith("220 mailserver.local ESMTP")
        telnet.type("ehlo mailserver.local")
        offered = {line[4:] for line in telnet.lines_until("250 ")}
        assert offered >= {"mailserver.local", "PIPELINING", "SIZE 10240000", "VRFY",
                           "ENHANCEDSTATUSCODES", "8BITMIME", "DSN"}
        assert telnet.reply("mail from: username@example.com") == "250 2.1.0 Ok"
        assert telnet.reply("rcpt to: vagrant@mailserver.local") == "250 2.1.5 Ok"
        assert telnet.reply("data").startswith("354 End data with <CR><LF>.<CR><LF>")
        telnet.type("Subject: hello\r\nGreetings\r\n.")
        reply = telnet.reply()
        assert reply.startswith("250 2.0.0 Ok: queued as "), reply
        message_id = reply.split()[-1]
    check_maillog(guest.server, message_id)
    check_imap(guest)


def check_maillog(server, message_id):
    """The lines of /var/log/maillog, but for cleanup's; we have one process, and one number."""
    for pattern in (
            rf" posthouse/smtpd\[\d+\]: connect from \S*\[{re.escape(GATEWAY)}\]$",
            rf" posthouse/smtpd\[\d+\]: {message_id}: client=\S*\[{re.escape(GATEWAY)}\]$",
            rf" posthouse/qmgr\[\d+\]: {message_id}: from=<username@example.com>, size=\d+, "
            r"nrcpt=1 \(queue active\)$",
            rf" posthouse/local\[\d+\]: {message_id}: to=<vagrant@mailserver.local>, relay=local, "
            r"delay=[\d.]+, delays=[\d./]+, dsn=2.0.0, status=sent \(delivered to ",
            rf" posthouse/qmgr\[\d+\]: {message_id}: removed$",
            rf" posthouse/smtpd\[\d+\]: disconnect from \S*\[{re.escape(GATEWAY)}\]"):
        server.wait_for(pattern)


def check_imap(guest):
    with guest.telnet("imap") as telnet:
        assert telnet.greeting.startswith("* OK [CAPABILITY IMAP4rev1 ")
        telnet.type("a login vagrant password")
        telnet.lines_until("a OK ")
        telnet.type("b select inbox")
        selected = telnet.lines_until("b OK [READ-WRITE]")
        assert {"* 1 EXISTS", "* 1 RECENT"} <= set(selected)
        assert any(line.startswith("* OK [UNSEEN 1]") for line in selected)
        telnet.type("b UID SEARCH *")
        assert telnet.lines_until("b OK")[0] == "* SEARCH 1"
        telnet.type("a UID FETCH 1 (BODY.PEEK[1.MIME])")
        fetched = telnet.lines_until("a OK")
        assert re.fullmatch(r"\* 1 FETCH \(UID 1 BODY\[1.MIME\] \{\d+\}", fetched[0])
        header = fetched[1:fetched.index("")]
        assert header[:3] == ["Return-Path: <username@example.com>",
                              "X-Original-To: vagrant@mailserver.local",
                              "Delivered-To: vagrant@mailserver.local"]
        assert header[3].startswith("Received: from mailserver.local (")
        assert header[-1] == "Subject: hello" and fetched[-2] == ")"
        telnet.type("a UID FETCH 1 (BODY.PEEK[TEXT])")
        assert "Greetings" in telnet.lines_until("a OK")
