"""posthouse status: what a running server says of itself, its next hops and certificates."""

import json
import os
import re
import shutil
import subprocess

import pytest

from clients import HOST, connect, relay
from hosts import Host
from server import PATIENCE_S

KEYS = {"mode", "version", "pid", "started_at", "connections", "queue", "next_hops", "certificates",
        "problems"}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def status(host):
    got = host.command("status", "--json")
    assert got.returncode == 0, got.stderr
    assert got.stdout.count(b"\n") == 1
    return json.loads(got.stdout)


def text(host):
    got = host.command("status")
    assert got.returncode == 0, got.stderr
    return got.stdout.decode()


def hop(found, next_hop):
    return next(each for each in found["next_hops"] if each["next_hop"] == next_hop)


def test_no_server(site):
    hub = site.hub()
    hub.stop()
    got = hub.command("status")
    assert got.returncode == 69 and b"no server is running" in got.stderr


def test_idle(site, certs):
    hub = site.hub()
    found = status(hub)
    assert set(found) == KEYS
    assert (found["mode"], found["pid"]) == ("hub", hub.server.process.pid)
    assert TIME.match(found["started_at"])
    assert found["connections"] == {"in": 0, "out": 0}
    assert found["queue"] == {"messages": 0, "recipients": 0, "bytes": 0, "oldest_at": None,
                              "held": 0}
    assert found["next_hops"] == [] and found["problems"] == []
    assert [each["file"] for each in found["certificates"]] == [f"{certs}/hub.pem",
                                                                f"{certs}/ca.pem"]
    assert found["certificates"][0]["subject"] == "hub.example"
    assert found["certificates"][0]["not_after"].startswith("2049-01-01T00:00:00")
    assert found["certificates"][0]["days_left"] > 7000
    assert "queue: empty" in text(hub) and "No next hop was used yet" in text(hub)


def test_connections(site, certs):
    hub = site.hub()
    with connect(certs, hub.port()):
        assert status(hub)["connections"]["in"] == 1


def test_next_hops(site, certs):
    """One that takes mail, with TLS; one that does not; one whose mail is held."""
    good = site.peer(tls="starttls", certificate="hub")
    dead = site.port()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{good.port} tls=verify\n"
                   f"vm2.vm relay:[{HOST}]:{dead}\n", smtp_tls_CAfile=certs / "ca.pem")
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.delivered("one@vm1.vm")
    relay(hub, "a@x.example", "two@vm2.vm")
    hub.waiting("two@vm2.vm")

    found = status(hub)
    assert [each["state"] for each in found["next_hops"]] == ["backoff", "up"]
    up = hop(found, f"[{HOST}]:{good.port}")
    assert up["queued"] == 0 and up["retry_at"] is None and up["last_error"] is None
    assert TIME.match(up["last_success_at"]) and up["peer_not_after"].startswith("2049-01-01T")
    tls = up["tls"]
    assert (tls["level"], tls["mode"], tls["verified"]) == ("verify", "starttls", True)
    assert tls["protocol"] == "TLSv1.3" and tls["fingerprint"].startswith("sha256:")
    down = hop(found, f"[{HOST}]:{dead}")
    assert down["queued"] == 1 and TIME.match(down["retry_at"])
    assert down["last_success_at"] is None and down["tls"] is None
    assert down["last_error"].startswith("4.4.1 connect to ")
    assert (found["queue"]["messages"], found["queue"]["recipients"]) == (1, 1)
    assert TIME.match(found["queue"]["oldest_at"])

    shown = text(hub)
    assert re.search(rf"^\[{HOST}\]:{dead} +backoff +1  -", shown, re.MULTILINE), shown
    assert re.search(r"^    down for \d+s, next try in .*: 4\.4\.1 connect to .*refused$", shown,
                     re.MULTILINE | re.IGNORECASE), shown
    assert re.search(rf"^\[{HOST}\]:{good.port} +up +0  \d+s ago +TLSv1.3, verified by ca$", shown,
                     re.MULTILINE), shown

    hub.command("queue", "hold", "--all")
    assert status(hub)["queue"]["held"] == 1 and "1 held" in text(hub)


def test_an_answer_is_no_success(site):
    """It takes no mail, but it is there."""
    peer = site.peer(tls="starttls", certificate="hub", replies={"RCPT": "450 4.2.0 later"})
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port}\n")
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.waiting("one@vm1.vm")
    found = hop(status(hub), f"[{HOST}]:{peer.port}")
    assert (found["state"], found["last_success_at"], found["tls"]) == ("up", None, None)
    assert re.search(rf"^\[{HOST}\]:{peer.port} +up +1  - +-$", text(hub), re.MULTILINE)

    peer.script(RCPT=None)
    relay(hub, "a@x.example", "two@vm1.vm")
    hub.delivered("two@vm1.vm")
    success = hop(status(hub), f"[{HOST}]:{peer.port}")
    assert TIME.match(success["last_success_at"]) and success["tls"]["mode"] == "starttls"
    peer.script(RCPT="450 4.2.0 later")
    relay(hub, "a@x.example", "three@vm1.vm")
    hub.waiting("three@vm1.vm")
    found = hop(status(hub), f"[{HOST}]:{peer.port}")
    assert found["state"] == "up" and found["last_success_at"] == success["last_success_at"]


def test_in_the_clear(site):
    peer = site.peer(tls="none")
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port} tls=may\n")
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.delivered("one@vm1.vm")
    assert status(hub)["next_hops"][0]["tls"]["mode"] == "none"
    assert "none: in the clear" in text(hub)


def test_two_routes_to_one_next_hop(site):
    """They differ in TLS alone: one line for both."""
    peer = site.peer(tls="starttls", certificate="hub")
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port}\n"
                   f"vm2.vm relay:[{HOST}]:{peer.port} tls=may\n")
    for domain in "vm1.vm", "vm2.vm":
        relay(hub, "a@x.example", f"a@{domain}")
        hub.delivered(f"a@{domain}")
    assert len(status(hub)["next_hops"]) == 1


def test_an_expired_certificate(site, certs):
    hub = site.hub(smtpd_tls_cert_file=certs / "expired.pem",
                   smtpd_tls_key_file=certs / "expired.key")
    assert status(hub)["certificates"][0]["days_left"] < 0
    assert re.search(r"expired\.pem +EXPIRED on 2024-01-01  hub\.example  RENEW", text(hub))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534


@pytest.fixture
def open_hub(open_path, posthouse_bin, site):
    """A hub whose configuration everybody may read, and which is not started."""
    host = Host(posthouse_bin, open_path / "hub", {
        "mode": "hub",
        "myhostname": "mta.vm.vm",
        "user": "root",
        "queue_directory": "queue",
        "run_directory": "run",
        "listen": f"smtp://{HOST}:{site.port()}",
        "relay_domains": "vm1.vm",
        "smtpd_tls_security_level": "none",
    }, {})
    host.directory.chmod(0o755)
    host.config.chmod(0o644)
    host.program = shutil.copy(posthouse_bin, open_path / "posthouse")
    (host.directory / "run").mkdir()
    yield host
    if host.is_running():
        host.stop()


def ask_as_nobody(host):
    return subprocess.run([host.program, "-c", host.config, "status", "--json"], check=False,
                          user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)


@needs_root
def test_the_group(open_hub):
    """Whoever may ask the server need not be allowed to read the queue."""
    run = open_hub.directory / "run"
    os.chown(run, 0, NOBODY)
    run.chmod(0o2755)
    open_hub.start()
    got = ask_as_nobody(open_hub)
    assert got.returncode == 0, got.stderr
    found = json.loads(got.stdout)
    assert found["queue"]["messages"] == 0 and found["queue"]["held"] is None


@needs_root
def test_a_stranger(open_hub):
    open_hub.start()
    got = ask_as_nobody(open_hub)
    assert (got.returncode, got.stdout) == (77, b"")
    assert b"only root and the account of the server" in got.stderr
