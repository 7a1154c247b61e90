"""Dovecot in charge, by examples/dovecot-serves: it judges logins, and takes mail by LMTP."""

import os
import smtplib
import threading

import pytest

from clients import connect, relay, submit
from dovecot import imap_messages, pop3_messages, why_not
from examples import Example
from test_auth import scram

ALICE, TEST1 = "alice@vm1.vm", "test1@vm1.vm"

# Dovecot makes those wait who have failed before; that is not what is tested.
NO_DELAY = """
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""

pytestmark = pytest.mark.skipif(bool(why_not("imap", "pop3", "lmtp")),
                                reason=why_not("imap", "pop3", "lmtp"))


class Pair:
    """A Dovecot, which can be started and stopped, and an edge."""

    def __init__(self, directory, posthouse_bin, certs, site):
        self.site, self._bin = site, posthouse_bin
        self.example = Example("dovecot-serves", directory, certs)
        self.example.put("vusers")
        self.example.put("users", group="dovecot" if os.geteuid() == 0 else None)
        self.dovecot, self.edge = None, None

    def start_dovecot(self, **options):
        self.stop_dovecot()
        self.dovecot = self.example.dovecot(self.site, **options)
        return self.dovecot

    def stop_dovecot(self):
        if self.dovecot:
            self.dovecot.stop()
        self.dovecot = None

    def start_edge(self, **parameters):
        self.edge = self.example.edge(self.site, self._bin, 1, **parameters)
        return self.edge

    def login(self, certs, user, password, mechanism=None):
        """The code of the answer, by a mechanism of smtplib or the first of those offered."""
        with connect(certs, self.edge.port("submission")) as client:
            if not mechanism:
                try:
                    return client.login(user, password)[0]
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code
            client.user, client.password = user, password
            method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
            try:
                return client.auth(mechanism, method)[0]
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code


@pytest.fixture
def pair(open_path, posthouse_bin, certs, site):
    pair = Pair(open_path, posthouse_bin, certs, site)
    yield pair
    if pair.edge and pair.edge.is_running():
        pair.edge.stop()
    pair.stop_dovecot()


def offered(certs, edge):
    with connect(certs, edge.port("submission")) as client:
        return set(client.esmtp_features.get("auth", "").split())


def test_submitted_here_read_there(pair, certs):
    """By login, LMTP and back, and what the example promises in its comments."""
    dovecot, edge = pair.start_dovecot(), pair.start_edge()
    got = edge.command("check")
    assert got.returncode == 0 and b"warning" not in got.stdout, got.stdout
    assert offered(certs, edge) == {"PLAIN", "LOGIN"}
    message_id = submit(certs, edge, ALICE, TEST1)
    line = edge.delivered(TEST1, message_id)
    assert "posthouse/lmtp[" in line and "Saved)" in line
    assert f", sasl_method=PLAIN, sasl_username={ALICE}" in edge.wait_for(f"{message_id}: client=")
    (by_pop3,) = pop3_messages(dovecot, certs, TEST1)
    (by_imap,) = imap_messages(dovecot, certs, TEST1)
    assert by_pop3 == by_imap and by_imap.endswith(b"\r\n\r\na test\r\n")
    with connect(certs, edge.port(), "none") as client:
        client.mail("stranger@elsewhere.example")
        assert client.rcpt("nobody@vm1.vm")[0] == 550
    edge.delivered(ALICE, relay(edge, "stranger@elsewhere.example", ALICE))
    assert len(imap_messages(dovecot, certs, ALICE)) == 1


def test_mailboxes_are_dovecots(pair, open_path):
    """virtual_mailbox_base is not made, which would shut Dovecot's account out, and may be another's."""
    base = open_path / "theirs"
    edge = pair.start_edge(virtual_mailbox_base=base)
    assert not base.exists()
    base.mkdir()
    base.chmod(0o500)
    got = edge.command("check")
    assert got.returncode == 0 and b"virtual_mailbox_base" not in got.stdout, got.stdout
    edge.server.stop()
    edge.start()
    edge.configure(**edge.parameters, virtual_mailbox_domains="vm1.vm, vm2.vm")
    assert b"may not write there, which the server runs as; chown it" in edge.command("check").stdout


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_who_may_log_in(pair, certs, mechanism):
    pair.start_dovecot(more="auth_mechanisms = plain login cram-md5 anonymous external\n"
                            + NO_DELAY)
    edge = pair.start_edge()
    assert offered(certs, edge) == {"PLAIN", "LOGIN", "CRAM-MD5"}
    assert pair.login(certs, ALICE, "alice", mechanism) == 235
    assert pair.login(certs, "ALICE@vm1.vm", "alice", mechanism) == 235  # Dovecot's name counts
    for user, password in ((ALICE, "wrong"), ("nobody@vm1.vm", "alice"), ("alice", "alice")):
        assert pair.login(certs, user, password, mechanism) == 535
    edge.wait_for(f"SASL {mechanism} authentication failed: .*, sasl_username={ALICE}")
    log = edge.server.log()
    assert "wrong" not in log and "smtpd_sasl_passdb:" not in log


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram(pair, certs, name):
    """Its server proves itself through us; channel bindings it cannot know, so there is no -PLUS."""
    pair.start_dovecot(more="auth_mechanisms = plain scram-sha-256 scram-sha-1\n" + NO_DELAY)
    edge = pair.start_edge()
    assert offered(certs, edge) == {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1"}
    with connect(certs, edge.port("submission")) as client:
        assert scram(client, name, ALICE, "wrong") == 535
        assert scram(client, name, ALICE, "alice") == 235
        assert client.mail(ALICE)[0] == 250


def test_the_login_is_the_sender(pair, certs):
    pair.start_dovecot()
    edge = pair.start_edge()
    with connect(certs, edge.port("submission"), user=ALICE) as client:
        assert client.mail(TEST1)[0] == 553
        assert client.mail(ALICE)[0] == 250


def test_many_logins_at_once(pair, certs):
    pair.start_dovecot(more=NO_DELAY)
    pair.start_edge()
    codes = []

    def log_in(password):
        codes.append((password, pair.login(certs, ALICE, password)))

    threads = [threading.Thread(target=log_in, args=("alice" if i % 4 else "wrong",))
               for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 16
    assert all(code == (235 if password == "alice" else 535) for password, code in codes)


def test_dovecot_comes_and_goes(pair, certs):
    """Posthouse is first; nobody is told that there is no AUTH, and a restart is found."""
    edge = pair.start_edge()
    edge.wait_for("warning: .*: smtpd_sasl_passdb: Dovecot does not answer, .*No such file")
    assert offered(certs, edge) == {"PLAIN", "LOGIN"}
    assert pair.login(certs, ALICE, "alice") == 454
    edge.wait_for("error: smtpd_sasl_passdb: clients cannot log in: Dovecot at .*: "
                  "No such file or directory")
    with connect(certs, edge.port("submission")) as client:  # a session that is older than Dovecot
        pair.start_dovecot(more="auth_mechanisms = plain cram-md5\n")
        assert client.login(ALICE, "alice")[0] == 235
    assert offered(certs, edge) == {"PLAIN", "CRAM-MD5"}

    with connect(certs, edge.port("submission")) as client:
        assert client.docmd("AUTH LOGIN")[0] == 504
        assert client.docmd("AUTH CRAM-MD5")[0] == 334
        mark = edge.server.mark()
        pair.stop_dovecot()
        assert client.docmd("=")[0] in (454, 501)
        assert client.docmd("AUTH PLAIN AGFsaWNlQHZtMS52bQBhbGljZQ==")[0] == 454
    edge.wait_for("error: smtpd_sasl_passdb: clients cannot log in: Dovecot at ", since=mark)
    mark = edge.server.mark()
    pair.start_dovecot()
    edge.wait_for("smtpd_sasl_passdb: has changed and was taken up", since=mark)
    assert offered(certs, edge) == {"PLAIN", "LOGIN"}
    assert pair.login(certs, ALICE, "alice") == 235


def test_what_check_says(pair):
    """A socket that it may not use, or that is none; and accounts that nobody knows."""
    edge = pair.start_edge()
    socket = pair.example.directory / "dovecot" / "run" / "auth-posthouse"
    got = edge.command("check")
    assert got.returncode == 0
    assert b"warning: smtpd_sasl_passdb: Dovecot does not answer, and until it does" in got.stdout
    socket.parent.mkdir(parents=True)
    socket.touch()
    got = edge.command("check")
    assert got.returncode == 1
    assert f"error: smtpd_sasl_passdb: {socket}: not a socket".encode() in got.stdout
    socket.unlink()
    edge.write(edge.config.name, edge.config.read_text().replace("virtual_mailbox_maps", "#"))
    got = edge.command("check")
    assert got.returncode == 1
    assert b"so set virtual_mailbox_maps to say who has a mailbox" in got.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as somebody else")
def test_a_socket_of_somebody_else(pair, certs):
    name = pair.example.account.name
    pair.start_dovecot(more="service auth {\n  unix_listener auth-posthouse {\n"
                            "    user = root\n  }\n}\n")
    edge = pair.start_edge()
    got = edge.command("check")
    assert got.returncode == 0
    assert (f"auth-posthouse: {name}, which the server runs as, may not connect to it; let its "
            f"unix_listener have user = {name}").encode() in got.stdout
    assert pair.login(certs, ALICE, "alice") == 454
    edge.wait_for("Dovecot at .*: Permission denied")
