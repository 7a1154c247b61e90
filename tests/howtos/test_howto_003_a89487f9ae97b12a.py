"""
How-to 003: virtual mailboxes of accounts in PostfixAdmin's tables, with Dovecot to check
passwords, to deliver, and to serve IMAP and POP3.

MySQL is SQLite here, CONCAT is ||, and the map files have SQLite's dbpath. Dovecot delivers by
LMTP instead of its dovecot-lda behind a pipe; without it Posthouse writes the same Maildirs.
"""

import base64
import re
import sqlite3
import subprocess

import pytest

from dialogue import Telnet, pop3_list, pop3_message, replies, s_client
from dovecot import DOVEADM, has_sqlite, why_not
from guide import Guide, followed

pytestmark = pytest.mark.skipif(bool(why_not("imap", "pop3", "lmtp")),
                                reason=why_not("imap", "pop3", "lmtp"))

SCHEMA = """
CREATE TABLE domain (domain TEXT PRIMARY KEY, description TEXT, transport TEXT,
    backupmx INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE alias (address TEXT PRIMARY KEY, goto TEXT NOT NULL, domain TEXT,
    active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE alias_domain (alias_domain TEXT PRIMARY KEY, target_domain TEXT NOT NULL,
    active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE mailbox (username TEXT PRIMARY KEY, password TEXT NOT NULL, name TEXT,
    maildir TEXT NOT NULL, quota INTEGER NOT NULL DEFAULT 0, local_part TEXT, domain TEXT,
    active INTEGER NOT NULL DEFAULT 1);
INSERT INTO domain (domain, backupmx) VALUES
    ('domain.com', 0), ('magazin.com', 0), ('example.com', 0), ('backup.com', 1);
INSERT INTO domain (domain, active) VALUES ('closed.com', 0);
INSERT INTO alias_domain VALUES ('book.com', 'magazin.com', 1);
"""

# /etc/postfix/sql, with the queries as they stand there but for CONCAT.
QUERIES = {
    "relay_domains.cf": "SELECT domain FROM domain WHERE domain='%s' and backupmx = '1'",
    "virtual_alias_domain_maps.cf":
        "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and "
        "alias.address = '%u' || '@' || alias_domain.target_domain AND alias.active = 1",
    "virtual_alias_domains.cf":
        "SELECT alias_domain FROM alias_domain WHERE alias_domain='%s' AND active = '1'",
    "virtual_alias_maps.cf": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "virtual_mailbox_domains.cf":
        "SELECT domain FROM domain WHERE domain='%s' AND backupmx = '0' AND active = '1'",
    "virtual_mailbox_maps.cf":
        "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
    # virtual_transport = dovecot: a query where that was a line of main.cf
    "transport.cf":
        "SELECT 'lmtp:unix:private/lmtp' FROM domain WHERE domain='%s' AND backupmx = '0' "
        "AND description = 'by dovecot'",
    # dovecot-sql.conf.ext, for AUTH
    "accounts.cf": "SELECT username AS user, password FROM mailbox WHERE username = '%s' "
                   "AND active = '1'\ndefault_pass_scheme = CRAM-MD5",
}

USERS = ("admin@magazin.com", "wilma.pebble@example.com", "user@domain.com", "gone@domain.com")

DOVECOT_CONF = """\
protocols = imap pop3 lmtp
auth_mechanisms = plain login
disable_plaintext_auth = no
ssl_cert = <{pki}/{name}.crt
ssl_key = <{pki}/{name}.key
listen = {address}
# 10-mail.conf
mail_location = maildir:{host}/vhosts/%d/%u/Maildir
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
# 15-lda.conf
postmaster_address = admin@example.com
lda_mailbox_autocreate = yes
lda_mailbox_autosubscribe = yes
# 10-master.conf
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service lmtp {{
  unix_listener {host}/queue/private/lmtp {{
    mode = 0666
  }}
}}
"""

# auth-sql.conf.ext
BY_SQL = """\
passdb {{
  driver = sql
  args = {etc}/sql
}}
userdb {{
  driver = sql
  args = {etc}/sql
}}
"""

DOVECOT_SQL = """\
driver = sqlite
connect = {host}/postfixadmin.db
default_pass_scheme = CRAM-MD5
user_query = SELECT '{host}/vhosts/%d/%n' as home, 'maildir:{host}/vhosts/%d/%n' as mail, \
{uid} AS uid, {gid} AS gid FROM mailbox WHERE username = '%u' AND active = '1'
password_query = SELECT username as user, password, '{host}/vhosts/%d/%n' as userdb_home, \
'maildir:{host}/vhosts/%d/%n' as userdb_mail, {uid} as userdb_uid, {gid} as userdb_gid \
FROM mailbox WHERE username = '%u' AND active = '1'
"""

# Where Dovecot has no SQLite: the same accounts, written down.
BY_FILE = """\
passdb {{
  driver = passwd-file
  args = scheme=CRAM-MD5 {etc}/sql
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={host}/vhosts/%d/%n mail=maildir:{host}/vhosts/%d/%n
}}
"""


def cram_md5(password):
    """As PostfixAdmin keeps it by $CONF['encrypt'] = 'dovecot:CRAM-MD5'."""
    return subprocess.run([DOVEADM, "pw", "-s", "CRAM-MD5", "-p", password], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()


class Mail(Guide):
    owner = 2000  # vmail

    def __init__(self, directory, posthouse_bin, site):
        super().__init__(directory, posthouse_bin, site)
        self.peer, self.server, self.reader = site.peer(), None, None
        self.database = directory / "mail" / "postfixadmin.db"

    def set_up(self):
        # relay_domains and all else go to their MX there; here that is one host.
        elsewhere = f"relay:[127.0.0.1]:{self.peer.port} tls=none"
        host = self.host("mail", {
            "mode": "edge",
            "myhostname": "mail.domain.com", "mydomain": "domain.com", "myorigin": "$myhostname",
            "listen": self.listen("mail", smtp="smtp", submission="submission", smtps="smtps"),
            "mynetworks": "",
            "alias_maps": "hash:aliases",
            "relay_domains": "sqlite:relay_domains.cf",
            "virtual_alias_maps": "sqlite:virtual_alias_maps.cf, "
                                  "sqlite:virtual_alias_domain_maps.cf",
            "virtual_alias_domains": "sqlite:virtual_alias_domains.cf",
            "virtual_mailbox_domains": "sqlite:virtual_mailbox_domains.cf",
            "virtual_mailbox_maps": "sqlite:virtual_mailbox_maps.cf",
            "virtual_mailbox_base": self.directory / "mail" / "vhosts",
            **self.owners(),
            "transport_maps": f"sqlite:transport.cf, inline:{{ * = {elsewhere} }}",
            "smtpd_sasl_passdb": "sqlite:accounts.cf",
        }, {"aliases": "",
            **{name: f"dbpath = postfixadmin.db\nquery = {query}\n"
               for name, query in QUERIES.items()}})
        self._fill()
        self.reader = self._start_dovecot()
        self.server = host.start()

    def _fill(self):
        self.sql(SCHEMA)
        for number, user in enumerate(USERS):
            name, _, domain = user.partition("@")
            password = cram_md5(name)
            if number % 2:  # default_pass_scheme names it
                password = password.partition("}")[2]
            self.sql(f"INSERT INTO mailbox (username, password, maildir, domain, active) VALUES "
                     f"('{user}', '{password}', '{domain}/{name}/', '{domain}', "
                     f"{int(name != 'gone')}); "
                     f"INSERT INTO alias VALUES ('{user}', '{user}', '{domain}', "
                     f"{int(name != 'gone')});")
        self.sql("INSERT INTO alias VALUES ('wilma@example.com', 'wilma.pebble@example.com', "
                 "'example.com', 1), ('pebble@example.com', 'wilma.pebble@example.com', "
                 "'example.com', 1), ('all@domain.com', 'user@domain.com,wilma@example.com', "
                 "'domain.com', 1), ('off@domain.com', 'user@domain.com', 'domain.com', 0);")
        self.share(self.database)

    def sql(self, text):
        connection = sqlite3.connect(self.database)
        connection.executescript(text)
        connection.close()

    def _start_dovecot(self):
        if has_sqlite():
            return self.dovecot("mail", DOVECOT_CONF + BY_SQL, sql=DOVECOT_SQL.format(
                host=self.directory / "mail", uid=self.owner or self.account.uid,
                gid=self.owner or self.account.gid))
        connection = sqlite3.connect(self.database)
        rows = connection.execute("SELECT username, password FROM mailbox WHERE active").fetchall()
        connection.close()
        return self.dovecot("mail", DOVECOT_CONF + BY_FILE, sql="".join(
            f"{user}:{password}::::::\n" for user, password in rows))

    def arrive(self, recipient, subject):
        """Mail from outside, on port 25; returns its ID."""
        with Telnet(*self.where("mail", "smtp")) as telnet:
            assert telnet.greeting.startswith("220 mail.domain.com ESMTP")
            for command, code in (("ehlo elsewhere", "250"),
                                  ("mail from:<stranger@elsewhere.example>", "250"),
                                  (f"rcpt to:<{recipient}>", "250"), ("data", "354")):
                assert telnet.reply(command).startswith(code), command
            telnet.type(f"Subject: {subject}\r\n\r\n{subject}\r\n.")
            reply = telnet.reply()
            assert reply.startswith("250 2.0.0 Ok: queued as "), reply
            telnet.reply("quit")
            return reply.split()[-1]

    def read(self, user, *commands, password=None):
        """By POP3 on port 995."""
        return s_client(self.ca, self.at("mail", "pop3s"), [
            f"user {user}", f"pass {password or user.partition('@')[0]}", *commands, "quit"])


@pytest.fixture(scope="module")
def mail(posthouse_bin, shared_site):
    with followed(Mail, posthouse_bin, shared_site) as mail:
        yield mail


def test_check_finds_nothing(mail):
    got = mail.server.command("check")
    assert got.returncode == 0 and b"error" not in got.stdout, got.stdout


def test_postmap_q(mail):
    """The queries, one by one, as postmap -q would have it."""
    for name, key, value in (
            ("relay_domains.cf", "backup.com", "backup.com"),
            ("virtual_alias_maps.cf", "wilma@example.com", "wilma.pebble@example.com"),
            ("virtual_alias_domain_maps.cf", "admin@book.com", "admin@magazin.com"),
            ("virtual_mailbox_domains.cf", "example.com", "example.com"),
            ("virtual_mailbox_domains.cf", "closed.com", None),
            ("virtual_mailbox_maps.cf", "admin@magazin.com", "magazin.com/admin/"),
            ("virtual_mailbox_maps.cf", "gone@domain.com", None),
            ("virtual_mailbox_maps.cf", "x' OR '1'='1", None)):
        got = mail.server.command("map", "query", f"sqlite:{name}", key)
        assert got.stdout.decode().strip() == (value or ""), (name, key)


@pytest.mark.parametrize("recipient, mailboxes", [
    ("user@domain.com", ["user@domain.com"]),
    ("admin@book.com", ["admin@magazin.com"]),
    ("wilma@example.com", ["wilma.pebble@example.com"]),
    ("pebble@example.com", ["wilma.pebble@example.com"]),
    ("all@domain.com", ["user@domain.com", "wilma.pebble@example.com"]),
])
def test_mail_comes_and_is_put_into_folders(mail, recipient, mailboxes):
    """На данном этапе уже можно отправлять почту на наш сервер."""
    before = {user: pop3_list(mail.read(user, "list")) for user in mailboxes}
    message_id = mail.arrive(recipient, f"to {recipient}")
    for user in mailboxes:
        assert "relay=virtual" in mail.server.delivered(user, message_id)
        assert pop3_list(mail.read(user, "list")) == before[user] + 1
        got = pop3_message(mail.read(user, f"retr {before[user] + 1}"))
        assert f"\nDelivered-To: {user}\n" in got and f"\nX-Original-To: {recipient}\n" in got
        assert f"\nSubject: to {recipient}\n" in got


def test_who_gets_no_mail(mail):
    said = s_client(mail.ca, mail.at("mail", "smtps"), [
        "ehlo elsewhere", "mail from:<stranger@elsewhere.example>",
        "rcpt to:<nobody@domain.com>", "rcpt to:<gone@domain.com>", "rcpt to:<off@domain.com>",
        "rcpt to:<nobody@book.com>", "rcpt to:<user@closed.com>", "rcpt to:<user@backup.com>",
        "rcpt to:<x'or'1@domain.com>", "quit"])
    assert replies(said) == ["220", "250", "250", "550", "550", "550", "550", "554", "250", "550",
                             "221"], said


def test_nobody_sends_to_the_outside_without_login(mail, certs):
    """Чтобы никто не мог отправлять почту на внешние адреса без аутэнтификации"""
    said = s_client(mail.ca, mail.at("mail", "smtps"), [
        "ehlo elsewhere", "mail from:<stranger@elsewhere.example>",
        "rcpt to:<somebody@outside.example>", "quit"])
    assert replies(said) == ["220", "250", "250", "554", "221"] and "Relay access denied" in said


@pytest.mark.parametrize("user", ["user@domain.com", "wilma.pebble@example.com"])
def test_users_send_to_the_outside(mail, user):
    """With passwords that are kept as CRAM-MD5, with the scheme in front and without."""

    name = user.partition("@")[0]
    token = base64.b64encode(f"\0{user}\0{name}".encode()).decode()
    wrong = base64.b64encode(f"\0{user}\0Wrong".encode()).decode()
    said = s_client(mail.ca, mail.at("mail", "smtps"), [
        "ehlo client", f"auth plain {wrong}", f"auth plain {token}", f"mail from:<{user}>",
        "rcpt to:<somebody@outside.example>", "data", f"Subject: from {name}", "", "hello", ".",
        "quit"])
    assert replies(said) == ["220", "250", "535", "235", "250", "250", "354", "250", "221"], said
    mail.server.delivered("somebody@outside.example", re.search(r"queued as (\w+)", said)[1])
    message = mail.peer.messages[-1]
    assert message.sender == user and b"\r\nSubject: from " + name.encode() in message.body


def test_backup_mx(mail):
    """relay_domains: domains with backupmx = 1 are forwarded, for anybody."""
    message_id = mail.arrive("anybody@backup.com", "for the backup")
    mail.server.delivered("anybody@backup.com", message_id)
    assert mail.peer.messages[-1].recipients == ["anybody@backup.com"]


def test_ports_of_dovecot(mail):
    """110 and 143, where telnet gets through, and 993."""
    mail.server.delivered("admin@magazin.com", mail.arrive("admin@magazin.com", "for IMAP"))
    with Telnet(*mail.where("mail", "pop3")) as telnet:
        assert telnet.greeting.startswith("+OK")
        for command in ("user admin@magazin.com", "pass admin", "stat", "quit"):
            telnet.type(command)
            assert telnet.line().startswith("+OK")
    with Telnet(*mail.where("mail", "imap")) as telnet:
        assert telnet.greeting.startswith("* OK")
        telnet.type("a login admin@magazin.com admin")
        telnet.lines_until("a OK")
        telnet.type("b select inbox")
        exists = [line for line in telnet.lines_until("b OK") if line.endswith(" EXISTS")]
        assert int(exists[0].split()[1]) >= 1
        telnet.type("c logout")
        telnet.lines_until("c OK")
    said = s_client(mail.ca, mail.at("mail", "imaps"), ["a login admin@magazin.com wrong",
                                                       "b logout"])
    assert "a NO [AUTHENTICATIONFAILED]" in said


def test_dovecot_delivers(mail):
    """virtual_transport = dovecot: by LMTP, into the same Maildir, without a restart."""
    before = pop3_list(mail.read("user@domain.com", "list"))
    mail.sql("UPDATE domain SET description = 'by dovecot' WHERE domain = 'domain.com'")
    try:
        message_id = mail.arrive("user@domain.com", "by LMTP")
        line = mail.server.delivered("user@domain.com", message_id)
        assert "posthouse/lmtp[" in line and "Saved)" in line
    finally:
        mail.sql("UPDATE domain SET description = NULL")
    assert pop3_list(mail.read("user@domain.com", "list")) == before + 1
    assert "\nSubject: by LMTP\n" in pop3_message(mail.read("user@domain.com",
                                                            f"retr {before + 1}"))


def test_an_administrator_changes_rows(mail):
    """A new mailbox in PostfixAdmin is there at once; one that is switched off is not."""
    mail.sql(f"INSERT INTO mailbox (username, password, maildir, domain) VALUES "
             f"('new@domain.com', '{cram_md5('fresh')}', 'domain.com/new/', 'domain.com'); "
             f"INSERT INTO alias VALUES ('new@domain.com', 'new@domain.com', 'domain.com', 1);")
    mail.server.delivered("new@domain.com", mail.arrive("new@domain.com", "welcome"))
    if has_sqlite():
        assert pop3_list(mail.read("new@domain.com", "list", password="fresh")) == 1
    mail.sql("UPDATE mailbox SET active = 0 WHERE username = 'new@domain.com'; "
             "DELETE FROM alias WHERE address = 'new@domain.com'")
    said = s_client(mail.ca, mail.at("mail", "smtps"), [
        "ehlo elsewhere", "mail from:<stranger@elsewhere.example>", "rcpt to:<new@domain.com>",
        "quit"])
    assert replies(said) == ["220", "250", "250", "550", "221"], said
