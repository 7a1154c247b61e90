"""Another configuration while the server runs: SIGHUP, posthouse reload, and mail meanwhile."""

import os
import pwd
import shutil
import signal
import smtplib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from clients import (HOST, connect, relay, submit, text, tls_context, transact,
                     wait_refused)
from hosts import Host
from peer import HANG
from server import PATIENCE_S

STRICT = "smtp_tls_security_level"


def hang_up(host):
    """SIGHUP; returns the line that tells how the reload went."""
    mark = host.server.mark()
    host.server.send_signal(signal.SIGHUP)
    return host.wait_for(r"\]: (reloaded: |error: reload refused: )", since=mark)


def reload(host, *arguments):
    """(exit code, standard output, standard error)"""
    got = host.command("reload", *arguments)
    return got.returncode, got.stdout.decode(), got.stderr.decode()


# ---- what the command and the signal say ----

def test_no_server(site):
    hub = site.hub()
    hub.stop()
    code, out, err = reload(hub)
    assert (code, out) == (69, "")
    assert "no server is running" in err


def test_nothing_has_changed(site):
    hub = site.hub()
    assert reload(hub) == (0, "reloaded: nothing has changed\n", "")
    assert hang_up(hub).endswith("]: reloaded: nothing has changed")
    assert reload(hub, "--dry-run") == (0, "would be reloaded: nothing would change\n", "")


def test_what_has_changed(site):
    hub = site.hub("vm1.vm relay:[127.0.0.1]:9\n")
    hub.change(smtpd_timeout="4m", smtp_tls_security_level="verify")
    code, out, _ = reload(hub, "--dry-run")
    assert code == 0
    assert f"{STRICT}: encrypt -> verify\n" in out
    assert ("vm1.vm: relay:[127.0.0.1]:9 tls=encrypt (ts:1, tls of default) -> "
            "relay:[127.0.0.1]:9 tls=verify (ts:1, tls of " in out)
    assert "whatever has no line: smtp: tls=encrypt (default) -> smtp: tls=verify " in out
    assert out.endswith("would be reloaded: smtp_tls_security_level, smtpd_timeout; 2 routes\n")
    code, out, _ = reload(hub)
    assert (code, out) == (0, "reloaded: smtp_tls_security_level, smtpd_timeout; 2 routes\n")
    hub.wait_for("action=reload, .*status=done")


def test_bad_configuration(site):
    hub = site.hub()
    good = hub.config.read_text()
    hub.write(hub.config.name, good + "smtpd_timeot = 3m\nhopcount_limit = many\n")
    lines = good.count("\n")
    code, out, err = reload(hub)
    assert code == 78
    assert out.splitlines() == hub.command("check").stdout.decode().splitlines()
    assert f"{hub.config}:{lines + 1}: error: unknown parameter smtpd_timeot; did you" in out
    assert err.startswith("posthouse: 2 errors in the configuration")

    mark = hub.server.mark()
    assert "reload refused: 2 errors" in hang_up(hub)
    hub.wait_for(f"error: {hub.config}:{lines + 1}: unknown parameter smtpd_timeot", since=mark)
    hub.wait_for(f"error: {hub.config}:{lines + 2}: hopcount_limit: many: ", since=mark)
    with connect(None, hub.port(), tls="none") as client:
        assert client.noop()[0] == 250

    hub.write(hub.config.name, good)
    assert reload(hub)[0] == 0


def test_what_needs_a_restart(site):
    hub = site.hub()
    hub.change(workers=3, queue_directory="elsewhere")
    code, out, _ = reload(hub)
    assert code == 78
    for name, old, new in (("workers", "2", "3"),
                           ("queue_directory", f"{hub.directory}/queue",
                            f"{hub.directory}/elsewhere")):
        line = hub.config.read_text().splitlines().index(f"{name} = {Path(new).name}") + 1
        assert (f"{hub.config}:{line}: error: {name}: {new}: cannot change while the server runs, "
                f"where it is {old}; this needs a restart\n") in out
    assert not (hub.directory / "elsewhere").exists()


# ---- weaker TLS ----

def test_weaker_needs_a_word(site):
    peer = site.peer()
    hub = site.hub(f"vm2.vm relay:[{HOST}]:{peer.port}\n", minimal_backoff_time="1s",
                   maximal_backoff_time="1s")
    message_id = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert "TLS is required, but was not offered" in hub.delivered("b@vm2.vm", message_id,
                                                                   "deferred")
    hub.change(smtp_tls_security_level="may")
    mark = hub.server.mark()
    code, out, err = reload(hub)
    assert code == 78
    assert f"vm2.vm: relay:[{HOST}]:{peer.port} tls=encrypt " in out
    assert "; this is weaker\n" in out
    assert "--allow-weaker" in err
    assert "posthouse reload --allow-weaker" in hang_up(hub)
    hub.wait_for("warning: reload: vm2.vm: .*this is weaker", since=mark)
    assert not peer.wire().count(b"MAIL")

    code, out, _ = reload(hub, "--dry-run")
    assert code == 0
    assert out.endswith("2 routes, 2 of them weaker, which needs --allow-weaker\n")
    assert reload(hub, "--allow-weaker")[0] == 0
    hub.delivered("b@vm2.vm", message_id)
    assert reload(hub)[1] == "reloaded: nothing has changed\n"


def test_a_map_is_taken_up_by_itself(site):
    """Also where it weakens a route: then with a warning."""
    hub = site.hub(f"vm2.vm relay:[{HOST}]:9 tls=verify\n")
    mark = hub.server.mark()
    hub.write("ts", f"vm2.vm relay:[{HOST}]:9 tls=may\n")
    line = hub.wait_for("warning: .*this is weaker", since=mark)
    assert "transport_maps: vm2.vm: " in line and "tls=verify (ts:1) -> " in line
    hub.wait_for("ts has changed and was taken up", since=mark)
    assert reload(hub)[1] == "reloaded: nothing has changed\n"


def test_old_and_new_policy_side_by_side(site):
    hub = site.hub(f"* relay:[{HOST}]:9\n")
    old = connect(None, hub.port(), tls="none")
    assert old.mail("a@client.example")[0] == 250
    hub.change(relay_domains="vm9.vm", message_size_limit="20000")
    assert "reloaded: message_size_limit, relay_domains" in hang_up(hub)
    with connect(None, hub.port(), tls="none") as new:
        assert new.esmtp_features["size"] == "20000"
        new.mail("a@client.example")
        assert new.rcpt("b@vm1.vm")[0] == 554
        assert new.rcpt("b@vm9.vm")[0] == 250
    assert old.rcpt("b@vm9.vm")[0] == 554
    assert old.rcpt("b@vm1.vm")[0] == 250
    assert old.data(text("b@vm1.vm") + b"x" * 30000 + b"\r\n")[0] == 250
    old.quit()


def test_logged_in_over_a_reload(site, certs):
    edge = site.edge(transport_maps="hash:ts")
    with connect(certs, edge.port("submission"), user="alice@vm1.vm") as client:
        edge.change(smtpd_recipient_limit=7, smtpd_tls_security_level="encrypt")
        hang_up(edge)
        transact(client, "alice@vm1.vm", "test1@vm1.vm", text("test1@vm1.vm"))
    edge.delivered("test1@vm1.vm")
    submit(certs, edge, "alice@vm1.vm", "test1@vm1.vm")
    assert len(edge.mailbox("test1@vm1.vm")) >= 1


# ---- listeners ----

def test_listeners_come_and_go(site):
    hub = site.hub()
    smtp, smtps, more = hub.port("smtp"), hub.port("smtps"), site.port()
    kept = connect(None, smtp, tls="none")
    mark = hub.server.mark()
    hub.change(listen=f"smtp://{HOST}:{smtp} smtp://{HOST}:{more}")
    assert "reloaded: listen" in hang_up(hub)
    assert f"smtp://{HOST}:{smtp},smtp://{HOST}:{more}" in hub.wait_for("listening: ", since=mark)
    wait_refused(smtps)
    with connect(None, more, tls="none") as client:
        assert client.noop()[0] == 250

    hub.change(listen=f"smtp://{HOST}:{more}")
    hang_up(hub)
    wait_refused(smtp)
    assert kept.noop()[0] == 250  # who is in stays in
    kept.quit()


def test_free_ports_stay(site):
    hub = site.hub(listen=f"smtp://{HOST}:0 smtps://{HOST}:0")
    hub.change(smtpd_timeout="4m")
    assert "reloaded: smtpd_timeout" in hang_up(hub)
    with connect(None, hub.port(), tls="none") as client:
        assert client.noop()[0] == 250


def test_port_in_use(site):
    hub = site.hub()
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        fresh = site.port()
        hub.change(listen=f"smtp://{HOST}:{hub.port()} smtp://{HOST}:{fresh} smtp://{HOST}:{taken}",
                   smtpd_timeout="4m")
        code, _, err = reload(hub)
    assert code == 74
    assert f"{HOST}:{taken}: Address already in use; the old configuration stays in use" in err
    wait_refused(fresh)
    with connect(None, hub.port(), tls="none") as client:
        assert client.noop()[0] == 250
    assert reload(hub)[0] == 0  # the port is free by now


# ---- keys and sessions of TLS ----

def handshake(certs, port, session=None):
    """(the session to resume, whether this one was resumed, the peer's certificate)"""
    context = handshake.contexts.setdefault(str(certs), tls_context(certs))
    with socket.create_connection((HOST, port)) as raw:
        with context.wrap_socket(raw, server_hostname=HOST, session=session) as tls:
            assert tls.recv(4) == b"220 "
            return tls.session, tls.session_reused, tls.getpeercert(True)


handshake.contexts = {}


def test_sessions_are_resumed_across_a_reload(site, certs):
    hub = site.hub()
    session, resumed, _ = handshake(certs, hub.port("smtps"))
    assert not resumed
    hub.change(smtpd_timeout="4m")
    hang_up(hub)
    session, resumed, _ = handshake(certs, hub.port("smtps"), session)
    assert resumed
    hang_up(hub)
    assert handshake(certs, hub.port("smtps"), session)[1]


def test_a_new_certificate(site, certs):
    hub = site.hub()
    for kind in ("pem", "key"):
        shutil.copy(certs / f"hub.{kind}", hub.directory / f"my.{kind}")
    hub.change(smtpd_tls_cert_file="my.pem", smtpd_tls_key_file="my.key")
    hang_up(hub)
    kept = connect(certs, hub.port("smtps"), tls="implicit")
    old = kept.sock.getpeercert(True)
    for kind in ("pem", "key"):
        shutil.copy(certs / f"hub-rsa.{kind}", hub.directory / f"my.{kind}")
    assert "reloaded: smtpd_tls_cert_file (its contents)" in hang_up(hub)
    assert handshake(certs, hub.port("smtps"))[2] not in (None, old)
    assert kept.noop()[0] == 250
    kept.quit()
    shutil.copy(certs / "hub.key", hub.directory / "my.key")
    code, out, _ = reload(hub)
    assert code == 78
    assert "the private key does not belong to the certificate" in out


@pytest.fixture
def unprivileged(open_path, posthouse_bin, certs, free_port):
    """A hub that has become nobody, with keys that only root may read."""
    directory = open_path / "hub"
    for kind in ("hub.pem", "hub.key", "hub-rsa.pem", "hub-rsa.key", "ca.pem"):
        shutil.copy(certs / kind, open_path / kind)
    host = Host(posthouse_bin, directory, {
        "mode": "hub",
        "myhostname": "mta.vm.vm",
        "user": "nobody",
        "queue_directory": "queue",
        "run_directory": "run",
        "listen": f"smtp://{HOST}:{free_port}",
        "relay_domains": "vm1.vm",
        "smtpd_tls_cert_file": open_path / "hub.pem",
        "smtpd_tls_key_file": open_path / "hub.key",
        "workers": 1,
    }, {})
    directory.chmod(0o755)
    host.config.chmod(0o644)
    host.start()
    yield host
    host.stop()


@pytest.fixture
def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((HOST, 0))
        yield s.getsockname()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges away")
def test_keys_that_the_account_cannot_read(unprivileged, certs):
    hub = unprivileged
    got = hub.command("check")
    assert got.returncode == 0
    assert b"hub.key: nobody, which the server runs as, may not read it" in got.stdout

    def change(**parameters):
        hub.change(**parameters)
        hub.config.chmod(0o644)

    change(smtpd_timeout="4m")
    assert reload(hub)[0] == 0  # the key is the same
    assert handshake_by_starttls(certs, hub.port())

    parent = hub.directory.parent
    change(smtpd_tls_cert_file=parent / "hub-rsa.pem", smtpd_tls_key_file=parent / "hub-rsa.key")
    code, out, _ = reload(hub)
    assert code == 78
    assert "hub-rsa.key: Permission denied" in out
    assert "chgrp it to a group of that account and chmod g+r" in out
    old = handshake_by_starttls(certs, hub.port())

    os.chown(parent / "hub-rsa.key", -1, pwd.getpwnam("nobody").pw_gid)
    (parent / "hub-rsa.key").chmod(0o640)
    assert reload(hub)[0] == 0
    assert handshake_by_starttls(certs, hub.port()) != old


def handshake_by_starttls(certs, port):
    with connect(certs, port) as client:
        return client.sock.getpeercert(True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges away")
def test_port_that_only_root_may_open(unprivileged):
    hub = unprivileged
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024:
        pytest.skip("here everybody may")
    hub.change(listen=f"smtp://{HOST}:{hub.port()} smtp://127.0.0.77:77")
    hub.config.chmod(0o644)
    code, _, err = reload(hub)
    assert code == 77
    assert "127.0.0.77:77: Permission denied; only root may open it" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges away")
def test_configuration_that_the_account_cannot_read(unprivileged):
    hub = unprivileged
    hub.config.chmod(0o600)
    assert b"hub/posthouse.conf:1: warning: nobody, which the server runs as" in \
        hub.command("check").stdout
    code, out, _ = reload(hub)
    assert code == 78
    assert "cannot read the file: Permission denied" in out


# ---- the log ----

def test_log_is_rotated_and_moved(site):
    hub = site.hub()
    first, second = hub.directory / "first.log", hub.directory / "second.log"
    hub.change(log_destination="file:first.log")
    assert reload(hub)[1] == "reloaded: log_destination\n"
    assert "reloaded: log_destination" in first.read_text()
    first.rename(hub.directory / "rotated.log")
    hub.server.send_signal(signal.SIGHUP)
    assert reload(hub)[0] == 0  # behind the signal
    assert "reloaded: nothing has changed" in first.read_text()
    hub.change(log_destination="file:second.log")
    assert reload(hub)[0] == 0
    assert "reloaded: log_destination" in second.read_text()
    hub.change(log_destination=f"file:{hub.directory}/absent/log")
    code, _, err = reload(hub)
    assert code == 74
    assert "log_destination: " in err and "No such file or directory" in err
    hub.change(log_destination="stderr")
    mark = hub.server.mark()
    assert reload(hub)[0] == 0
    hub.wait_for("reloaded: log_destination", since=mark)


# ---- deliveries ----

def test_what_waits_takes_the_new_route(site):
    """One message is with a peer that does not answer, others wait for it."""
    has_it = threading.Event()

    def keep(_session, _argument):
        has_it.set()
        return HANG

    slow, fast = site.peer(replies={"END": keep}), site.peer()
    hub = site.hub(smtp_tls_security_level="none", workers=1, relayhost=f"[{HOST}]:{slow.port}",
                   default_destination_concurrency_limit=1)
    first = relay(hub, "a@vm1.vm", "b@vm2.vm")
    assert has_it.wait(PATIENCE_S)
    later = [relay(hub, "a@vm1.vm", f"b{i}@vm2.vm") for i in range(5)]
    hub.change(relayhost=f"[{HOST}]:{fast.port}")
    assert reload(hub)[0] == 0
    for message_id in later:
        hub.removed(message_id)
    assert len(fast.messages) == 5
    assert [message["id"] for message in hub.queue()] == [first]


# ---- under load ----

CLIENTS, RELOADS = 4, 50


class Sender(threading.Thread):
    """Sends over one session until told to stop: no reload may end it."""

    def __init__(self, certs, port, number, tls):
        super().__init__()
        self.client = connect(certs, port, tls=tls)
        self.number, self.sent, self.error = number, [], None
        self.is_done = threading.Event()

    def run(self):
        try:
            while not self.is_done.is_set():
                address = f"u{self.number}-{len(self.sent)}@vm2.vm"
                transact(self.client, "a@vm1.vm", address, text(address))
                self.sent.append(address)
            self.client.quit()
        except (AssertionError, OSError, smtplib.SMTPException) as error:
            self.error = error


def test_fifty_reloads_under_load(site, certs):
    """Sessions go on, everything arrives, and nothing twice."""
    peers = [site.peer(tls="starttls", certificate="hub") for _ in range(2)]
    routes = [f"[{HOST}]:{peer.port}" for peer in peers]
    hub = site.hub(relayhost=routes[0], smtp_tls_security_level="encrypt",
                   smtpd_client_connection_count_limit=0)
    senders = [Sender(certs, hub.port("smtps" if tls == "implicit" else "smtp"), i, tls)
               for i, tls in enumerate(("none", "starttls", "implicit", "starttls"))]
    assert len(senders) == CLIENTS
    for sender in senders:
        sender.start()
    extra = site.port()
    listen = hub.parameters["listen"]
    for i in range(RELOADS):
        sent = sum(len(sender.sent) for sender in senders)
        hub.change(relayhost=routes[i % 2], smtpd_timeout=f"{200 + i}s",
                   listen=listen + (f" smtp://{HOST}:{extra}" if i % 3 == 0 else ""))
        assert "reloaded: " in hang_up(hub)
        while sum(len(sender.sent) for sender in senders) == sent:
            assert any(sender.is_alive() for sender in senders)
    for sender in senders:
        sender.is_done.set()
    for sender in senders:
        sender.join(PATIENCE_S)
        assert sender.error is None, f"{sender.error}\n{hub.server.log()[-3000:]}"
    sent = sorted(address for sender in senders for address in sender.sent)
    for address in sent:
        hub.delivered(address)
    got = sorted(recipient for peer in peers for message in peer.messages
                 for recipient in message.recipients)
    assert [address.strip("<>") for address in got] == sent
    assert hub.queue() == []
