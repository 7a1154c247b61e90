"""Accounts: `posthouse user`, and that Dovecot and we mean the same by a stored password."""

import json
import os
import pty
import signal
import smtplib
import sqlite3
import subprocess
from pathlib import Path

import pytest

from clients import connect
from dovecot import DOVEADM, Account, Dovecot, why_not

SCHEMES = ("SCRAM-SHA-256 SCRAM-SHA-1 ARGON2ID ARGON2I BLF-CRYPT SHA512-CRYPT SHA256-CRYPT "
           "MD5-CRYPT CRYPT SSHA512 SHA512 SSHA256 SHA256 CRAM-MD5 PLAIN CLEARTEXT").split()
SUFFIXES = ("", ".b64", ".base64", ".hex")
EDGE = """\
mode = edge
myhostname = mta1.vm1.vm
mydomain = vm1.vm
"""

needs_dovecot = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
def user(tmp_path, posthouse):
    """user("add", NAME, password="secret"): the command, in a directory of its own."""
    config = tmp_path / "edge.conf"
    config.write_text(EDGE)

    def run(*arguments, password=None):
        given = {} if password is None else {"stdin": None, "input": password}
        return posthouse("user", *arguments, config=config, **given)

    run.file = tmp_path / "users"
    run.config = config
    return run


@pytest.fixture
def accounts(posthouse_bin):
    """What the server makes of users and passwords: accounts(PASSDB, [(USER, PASSWORD)])."""
    program = Path(posthouse_bin).parent / "tests" / "support" / "accounts"

    def run(passdb, attempts):
        lines = "".join(f"{name} {password}\n" for name, password in attempts)
        got = subprocess.run([program, passdb], input=lines, check=True, stdout=subprocess.PIPE,
                             encoding="utf-8").stdout.splitlines()
        return int(got[0]), got[1:]

    return run


def doveadm_pw(scheme, password):
    return subprocess.run([DOVEADM, "pw", "-s", scheme, "-p", password], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()


# ---- the same as Dovecot ----

@needs_dovecot
def test_what_doveadm_makes_is_taken(tmp_path, accounts):
    """Each scheme with each suffix, and passwords of all kinds."""
    made = {}
    for scheme in SCHEMES:
        password = "secret" if scheme == "ARGON2I" else "pässwörd: {x} 100%"
        for suffix in SUFFIXES:
            if suffix in ("", ".b64") or scheme not in ("ARGON2ID", "ARGON2I", "BLF-CRYPT"):
                made[f"{scheme.lower()}{suffix}@vm1.vm"] = (
                    doveadm_pw(scheme + suffix, password), password)
    # A line cannot hold the colon in the clear, in Dovecot as little as here.
    for scheme in ("plain", "cleartext"):
        del made[f"{scheme}@vm1.vm"]
    made["long@vm1.vm"] = (doveadm_pw("CRAM-MD5", "x" * 100), "x" * 100)
    users = tmp_path / "users"
    users.write_text("".join(f"{name}:{stored}\n" for name, (stored, _) in made.items()))
    attempts = [(name, password) for name, (_, password) in made.items()]
    wrong = [(name, password[:-1] + "X") for name, password in attempts]
    _, got = accounts(f"passwd-file:{users}", attempts + wrong)
    assert got == [f"{name}\tmatch" for name, _ in attempts] + [
        f"{name}\tmismatch" for name, _ in wrong]


@pytest.fixture
def dovecot_of(open_path):
    """A Dovecot that does nothing but check passwords of a file."""
    started = []

    def start(users):
        copy = open_path / "users"
        copy.write_bytes(users.read_bytes())
        Account().give(copy, 0o644)
        dovecot = Dovecot(open_path / "d", f"""
            protocols =
            ssl = no
            auth_mechanisms = plain
            passdb {{
              driver = passwd-file
              args = {copy}
            }}
            """, as_root=False)
        started.append(dovecot)
        return dovecot

    yield start
    for dovecot in started:
        dovecot.stop()


@needs_dovecot
def test_dovecot_takes_what_we_make(user, dovecot_of):
    password = "pässwörd {x} 100%"
    for scheme in SCHEMES:
        for suffix in ("", ".hex") if scheme in ("CRAM-MD5", "SSHA256", "SCRAM-SHA-1") else ("",):
            got = user("add", "--scheme", scheme + suffix, f"{scheme}{suffix}@vm1.vm",
                       password=password + "\n")
            assert got.returncode == 0, got.stderr
    dovecot = dovecot_of(user.file)

    def test(name, password):
        return subprocess.run([DOVEADM, "-c", dovecot.config, "auth", "test", name, password],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode

    for line in user.file.read_text().splitlines():
        name = line.partition(":")[0]
        assert test(name, password) == 0, line
    # One wrong password is enough: Dovecot lets whoever fails wait.
    assert test("scram-sha-256@vm1.vm", "x") == 77


def test_database_of_postfixadmin(tmp_path, accounts):
    """Its table, Dovecot's query of the how-to in our words; nothing gets into the SQL."""
    with sqlite3.connect(tmp_path / "postfixadmin.db") as db:
        db.execute("CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, password "
                   "varchar(255), name varchar(255), maildir varchar(255), active tinyint(1))")
        db.executemany("INSERT INTO mailbox VALUES (?, ?, '', ?, ?)", [
            ("alice@vm1.vm", "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
             "vm1.vm/alice/", 1),
            ("bob@vm1.vm", "{SSHA256}xxGQsx0iaXmQmbNAmeq+HiWrwwIyzhET0b1GO+5zgYgy/Pbq", "", 1),
            ("off@vm1.vm", "{PLAIN}secret", "", 0),
        ])
    db.close()
    cf = tmp_path / "accounts.cf"
    cf.write_text("dbpath = postfixadmin.db\n"
                  "query = SELECT username AS user, password, '/var/mail/%d' AS userdb_home\n"
                  "    FROM mailbox WHERE username = '%s' AND active = '1'\n"
                  "default_pass_scheme = CRAM-MD5\n")
    secrets, got = accounts(f"sqlite:{cf}", [
        ("alice@vm1.vm", "secret"), ("ALICE@vm1.vm", "secret"), ("alice@vm1.vm", "wrong"),
        ("bob@vm1.vm", "secret"), ("off@vm1.vm", "secret"), ("x'OR'1'='1@vm1.vm", "secret")])
    assert secrets == 2  # CRAM-MD5
    assert got == ["alice@vm1.vm\tmatch", "alice@vm1.vm\tmatch", "alice@vm1.vm\tmismatch",
                   "bob@vm1.vm\tmatch", "unknown", "unknown"]


def test_logins_by_a_database(tmp_path, site, certs):
    """Rows count at once; while nothing can be read nobody is told that he is unknown."""
    secret = "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"
    db = sqlite3.connect(tmp_path / "accounts.db", isolation_level=None)
    db.execute("CREATE TABLE mailbox (username TEXT PRIMARY KEY, password TEXT)")
    db.execute("INSERT INTO mailbox VALUES ('alice@vm1.vm', ?)", (secret,))
    cf = tmp_path / "accounts.cf"
    cf.write_text("dbpath = accounts.db\n"
                  "query = SELECT username AS user, password FROM mailbox WHERE username = '%s'\n"
                  "default_pass_scheme = CRAM-MD5\n")
    edge = site.edge("vm1.vm", smtpd_sasl_passdb=f"sqlite:{cf}")

    def login(name, password="secret"):
        with connect(certs, edge.port("submission")) as client:
            assert {"CRAM-MD5", "PLAIN", "LOGIN"} <= set(client.esmtp_features["auth"].split())
            assert "SCRAM" not in client.esmtp_features["auth"]
            client.user, client.password = name, password
            return client.auth("CRAM-MD5", client.auth_cram_md5)[0]

    assert login("alice@vm1.vm") == 235
    db.execute("INSERT INTO mailbox VALUES ('zoe@vm1.vm', '{PLAIN}secret')")
    assert login("zoe@vm1.vm") == 235
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        login("alice@vm1.vm", "wrong")
    assert refused.value.smtp_code == 535
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        login("alice@vm1.vm")
    assert refused.value.smtp_code == 454
    edge.wait_for("accounts.cf:2: the database is locked")
    db.execute("COMMIT")
    assert login("alice@vm1.vm") == 235
    db.close()


# ---- posthouse user ----

def test_life_of_an_account(user, accounts):
    user.file.write_text("# ours\nbob@vm1.vm:{PLAIN}bob:1:1::::userdb_x=y\n")
    user.file.chmod(0o640)
    got = user("add", "Alice@VM1.vm", password="secret\nnot this\n")
    assert (got.returncode, got.stdout) == (0, "alice@vm1.vm: added\n")
    assert user.file.stat().st_mode & 0o777 == 0o640
    assert user("add", "ALICE@vm1.vm", password="other\n").returncode == 1
    secrets, matches = accounts(f"passwd-file:{user.file}", [("alice@vm1.vm", "secret")])
    assert matches == ["alice@vm1.vm\tmatch"] and secrets == 8  # SCRAM-SHA-256

    got = user("passwd", "alice@vm1.vm", "--scheme", "cram-md5", password="new")
    assert (got.returncode, got.stdout) == (0, "alice@vm1.vm: has a new password\n")
    got = user("list")
    assert got.stdout == "bob@vm1.vm    PLAIN\nalice@vm1.vm  CRAM-MD5\n"
    got = [json.loads(line) for line in user("list", "--json").stdout.splitlines()]
    assert got[1] == {"user": "alice@vm1.vm", "scheme": "CRAM-MD5", "can_log_in": True}

    assert user("delete", "alice@vm1.vm").returncode == 0
    assert user.file.read_text() == "# ours\nbob@vm1.vm:{PLAIN}bob:1:1::::userdb_x=y\n"
    for gone in (user("delete", "alice@vm1.vm"), user("passwd", "alice@vm1.vm", password="x")):
        assert gone.returncode == 1 and "alice@vm1.vm is not in" in gone.stderr


def test_scram_takes_a_password_as_its_clients_make_it(user, accounts):
    """An umlaut of two characters, as some keyboards have it, is the one of one (RFC 4013)."""
    user("add", "a@vm1.vm", password="a\u0308\n")
    user("add", "--scheme=SSHA256", "b@vm1.vm", password="a\u0308\n")
    _, got = accounts(f"passwd-file:{user.file}", [
        ("a@vm1.vm", "\xe4"), ("a@vm1.vm", "a\u0308"), ("b@vm1.vm", "\xe4"),
        ("b@vm1.vm", "a\u0308")])
    assert [line.partition("\t")[2] for line in got] == ["match", "mismatch", "mismatch", "match"]


@pytest.mark.parametrize("arguments, password, code, error", [
    (["add", "a@vm1.vm"], "a\x07\n", 1, "characters that SCRAM does not let through"),
    (["add", "a@vm1.vm"], "", 1, "the password is empty"),
    (["add", "a@vm1.vm"], "\n", 1, "the password is empty"),
    (["add", "a@vm1.vm"], "a\0b\n", 1, "the password has a NUL byte"),
    (["add", "a@vm1.vm"], "x" * 256 + "\n", 1, "the password is longer than 255 bytes"),
    (["add", "--scheme=PLAIN", "a@vm1.vm"], "a:b\n", 1, "use another --scheme"),
    (["add", "--scheme=BLF-CRYPT", "a@vm1.vm"], "x" * 73, 1, "reads 72 bytes"),
    (["add", "--scheme=MD4", "a@vm1.vm"], "x\n", 64, "{MD4} is not known; expected SCRAM-SHA-256"),
    (["add", "a@vm1.vm", "secret"], None, 64, "the password is never an argument"),
    (["add", "../a@vm1.vm"], None, 64, "makes no directory"),
    (["add", "a@.."], None, 64, "makes no directory"),
    (["add", "a b@vm1.vm"], None, 64, "no white space"),
    (["add", "a:b@vm1.vm"], None, 64, "none of :"),
    (["add", ""], None, 64, "the user name is empty"),
    (["delete", ""], None, 64, "the user name is empty"),
    (["list", "x"], None, 64, "list"),
    (["list"], None, 74, "No such file or directory; posthouse user add makes it"),
])
def test_refused(user, arguments, password, code, error):
    got = user(*arguments, password=password)
    assert got.returncode == code and error in got.stderr, got
    assert not user.file.exists() or user.file.read_text() == ""


def test_warnings(user):
    got = user("add", "alice@wm1.vm", password="x\n")
    assert got.returncode == 0 and "wm1.vm is not in virtual_mailbox_domains" in got.stderr
    assert "has no mailbox" in user("add", "alice", password="x\n").stderr
    assert user("add", "alice@vm1.vm", password="x\n").stderr == ""


def test_other_sources(user):
    user.config.write_text(EDGE + "smtpd_sasl_passdb = sqlite:a.cf\n")
    got = user("add", "a@vm1.vm")
    assert got.returncode == 78 and "PostfixAdmin" in got.stderr
    user.config.write_text(EDGE + "smtpd_sasl_passdb = dovecot:/run/dovecot/auth\n")
    got = user("list")
    assert got.returncode == 78 and "asks Dovecot" in got.stderr
    user.config.write_text(EDGE.replace("mode = edge", "mode = hub"))
    assert "a hub has no accounts" in user("list").stderr


def test_check_tells_every_bad_line(user, posthouse):
    user.file.write_text("a:{PLAIN}a\nnothing\n b:{SHA256}x\na:\nc:{PLAIN}c::::::allow_nets=::1\n")
    user.file.chmod(0o646)
    got = posthouse("check", config=user.config).stdout
    for problem in ("users:2: error: expected user:password",
                    "users:3: error: the password is no base64",
                    "users:4: error: user a is here twice, first in line 1",
                    "users:5: error: the extra field allow_nets"):
        assert problem in got, got
    assert "every account of this host may read it" in got
    assert "every account of this host may change it" in got


def test_running_server_takes_it_up(site, certs, posthouse):
    edge = site.edge("vm1.vm")
    config = edge.directory / "posthouse.conf"
    config = config if config.exists() else next(edge.directory.glob("*.conf"))
    mark = edge.server.mark()
    got = posthouse("user", "add", "zoe@vm1.vm", config=config, stdin=None, input="secret\n")
    assert got.returncode == 0, got.stderr
    edge.wait_for("smtpd_sasl_passdb: has changed and was taken up", since=mark)
    with connect(certs, edge.port("submission")) as client:
        client.login("zoe@vm1.vm", "secret")


# ---- the terminal ----

class Terminal:
    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], [str(word) for word in command])
        self.seen = b""

    def expect(self, text):
        while text not in self.seen:
            self.seen += os.read(self.fd, 1024)
        before, _, self.seen = self.seen.partition(text)
        return before

    def answer(self, prompt, text):
        self.expect(prompt)
        os.write(self.fd, text)

    def end(self):
        """(what was seen since the last prompt, exit code or -signal)"""
        try:
            while part := os.read(self.fd, 1024):
                self.seen += part
        except OSError:
            pass
        os.close(self.fd)
        return self.seen, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(user, posthouse_bin):
    return lambda *arguments: Terminal([posthouse_bin, "-c", user.config, "user", *arguments])


def test_terminal_asks_twice_without_echo(user, terminal, accounts):
    t = terminal("add", "alice@vm1.vm")
    t.answer(b"New password for alice@vm1.vm: ", b"secret\n")
    t.answer(b"Once more the password for alice@vm1.vm: ", b"secret\n")
    seen, code = t.end()
    assert code == 0 and b"secret" not in seen and b"alice@vm1.vm: added" in seen
    assert accounts(f"passwd-file:{user.file}", [("alice@vm1.vm", "secret")])[1] == [
        "alice@vm1.vm\tmatch"]


def test_terminal_two_passwords(user, terminal):
    t = terminal("add", "alice@vm1.vm")
    t.answer(b"New password for alice@vm1.vm: ", b"secret\n")
    t.answer(b"Once more the password for alice@vm1.vm: ", b"Secret\n")
    seen, code = t.end()
    assert code == 1 and b"not the same" in seen and not user.file.exists()


def test_terminal_interrupted(user, terminal):
    t = terminal("add", "alice@vm1.vm")
    t.answer(b"New password for alice@vm1.vm: ", b"sec\x03")
    assert t.end()[1] == -signal.SIGINT and not user.file.exists()
