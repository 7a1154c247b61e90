"""Certificates that are replaced while the server runs: taken up by themselves, or left alone."""

import json
import os
import shutil
import socket

import pytest

from clients import HOST, connect, tls_context
from hosts import Host

TAKEN_UP = "has changed and was taken up"
KEPT = "what was read before stays in use"


@pytest.fixture
def renew(posthouse, tmp_path):
    """Certificates by a CA of this test: renew(DIRECTORY, NAME...) writes my.crt and my.key."""
    pki = tmp_path / "pki"

    def run(directory, *options):
        if not pki.exists():
            assert posthouse("certs", "ca", "--out", pki).returncode == 0
            shutil.copy(pki / "ca.crt", pki / "ca.pem")
        got = posthouse("certs", "issue", "--ca", pki, "--out", directory, "--force", *options,
                        "my", HOST)
        assert got.returncode == 0, got.stderr
        return pki

    return run


@pytest.fixture
def hub(site, renew):
    """A hub with a certificate of its own; .pki has its CA, as clients want it."""
    hub = site.host({
        "mode": "hub",
        "myhostname": "mta.vm.vm",
        "listen": f"smtp://{HOST}:{site.port()} smtps://{HOST}:{site.port()}",
        "relay_domains": "vm1.vm",
        "smtpd_tls_cert_file": "my.crt",
        "smtpd_tls_key_file": "my.key",
        "smtpd_tls_CAfile": "ca.crt",
    }, {"ts": ""})
    hub.pki = renew(hub.directory)
    shutil.copy(hub.pki / "ca.crt", hub.directory / "ca.crt")
    return hub.start()


class Visitor:
    """Resumes the session of the last visit, if the server lets it."""

    def __init__(self, hub):
        self.context, self.session = tls_context(hub.pki), None
        self.port = hub.port("smtps")

    def visit(self, anew=False):
        """(the certificate, whether the session was resumed)"""
        with socket.create_connection((HOST, self.port)) as raw:
            with self.context.wrap_socket(raw, server_hostname=HOST,
                                          session=None if anew else self.session) as tls:
                assert tls.recv(4) == b"220 "
                self.session = tls.session
                return tls.getpeercert(True), tls.session_reused


def test_taken_up(hub, renew):
    visitor = Visitor(hub)
    old, _ = visitor.visit()
    kept = connect(hub.pki, hub.port("smtps"), tls="implicit")
    renew(hub.directory)
    hub.wait_for(rf"smtpd_tls_cert_file: .*/my\.crt {TAKEN_UP}")
    hub.wait_for(rf"smtpd_tls_key_file: .*/my\.key {TAKEN_UP}")
    assert visitor.visit()[1]  # by the ticket of before
    assert visitor.visit(anew=True)[0] != old
    assert kept.sock.getpeercert(True) == old and kept.noop()[0] == 250
    kept.quit()


def test_again_and_with_a_reload_between(hub, renew):
    """Sessions of each time live side by side, and what they use lives as long."""
    kept = []
    for turn in range(3):
        kept.append(connect(hub.pki, hub.port("smtps"), tls="implicit"))
        mark = hub.server.mark()
        renew(hub.directory)
        hub.wait_for(rf"my\.key {TAKEN_UP}", since=mark)
        hub.change(smtpd_timeout=f"{100 + turn}s")
        assert hub.command("reload").returncode == 0
    assert len({client.sock.getpeercert(True) for client in kept}) == 3
    for client in kept:
        assert client.noop()[0] == 250
        client.quit()


def test_half_a_pair(hub, renew, tmp_path):
    """The new certificate is there, its key not yet: said once, and the old ones stay."""
    visitor = Visitor(hub)
    old, _ = visitor.visit()
    (tmp_path / "new").mkdir()
    renew(tmp_path / "new")
    shutil.copy(tmp_path / "new" / "my.crt", hub.directory / "my.crt")
    hub.wait_for(r"smtpd_tls_key_file: .*/my\.key: the private key does not belong to the "
                 rf"certificate in .*/my\.crt; {KEPT}")
    problem, = json.loads(hub.command("status", "--json").stdout)["problems"]
    assert "the private key does not belong to the certificate" in problem
    assert "CHANGED, NOT IN USE: smtpd_tls_key_file: " in hub.command("status").stdout.decode()
    os.utime(hub.directory / "my.crt")  # the same again
    assert visitor.visit(anew=True)[0] == old
    shutil.copy(tmp_path / "new" / "my.key", hub.directory / "my.key")
    hub.wait_for(rf"my\.crt {TAKEN_UP}")
    assert visitor.visit(anew=True)[0] != old
    assert hub.server.log().count(KEPT) == 1
    assert json.loads(hub.command("status", "--json").stdout)["problems"] == []


def test_gone_and_damaged(hub, renew):
    visitor = Visitor(hub)
    old, _ = visitor.visit()
    (hub.directory / "my.crt").rename(hub.directory / "away")
    hub.wait_for(rf"my\.crt: No such file or directory; {KEPT}")
    (hub.directory / "my.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    hub.wait_for(rf"my\.crt: no certificate in PEM form in it; {KEPT}")
    assert visitor.visit(anew=True)[0] == old
    renew(hub.directory)
    hub.wait_for(rf"my\.crt {TAKEN_UP}")
    assert visitor.visit(anew=True)[0] != old


def test_trust(hub, certs):
    """A CA file counts, too; a broken one keeps everything as it is."""
    shutil.copy(certs / "ca.pem", hub.directory / "ca.crt")
    hub.wait_for(rf"smtpd_tls_CAfile: .*/ca\.crt {TAKEN_UP}")
    (hub.directory / "ca.crt").write_text("")
    hub.wait_for(rf"ca\.crt: no certificate in PEM form in it; {KEPT}")


def test_a_warning_comes_along(hub, renew):
    renew(hub.directory, "--days", "5")
    hub.wait_for(r"warning: .*smtpd_tls_cert_file: .*/my\.crt: the certificate \(my\) expires on "
                 r".*, in [45] days: renew it now")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges away")
def test_key_of_root(posthouse_bin, open_path, renew, site):
    """A new certificate for the same key needs no permission; a new key does."""
    pki = renew(open_path)
    host = Host(posthouse_bin, open_path / "hub", {
        "mode": "hub",
        "myhostname": "mta.vm.vm",
        "user": "nobody",
        "queue_directory": "queue",
        "run_directory": "run",
        "listen": f"smtps://{HOST}:{site.port()}",
        "relay_domains": "vm1.vm",
        "smtpd_tls_cert_file": open_path / "my.crt",
        "smtpd_tls_key_file": open_path / "my.key",
    }, {})
    host.directory.chmod(0o755)
    host.config.chmod(0o644)
    host.start()
    host.pki = pki
    visitor = Visitor(host)
    old, _ = visitor.visit()
    renew(open_path, "--renew")
    host.wait_for(rf"my\.crt {TAKEN_UP}")
    new, _ = visitor.visit(anew=True)
    assert new != old
    renew(open_path)
    host.wait_for(r"my\.key: Permission denied; it has changed, and the account .* may not read "
                  r"it: chgrp .*; " + KEPT)
    assert visitor.visit(anew=True)[0] == new
    host.stop()
