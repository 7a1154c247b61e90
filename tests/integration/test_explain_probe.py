"""posthouse explain --probe: what it says of next hops, good and bad, and that it sends no mail."""

import json
import ssl
import subprocess

import pytest

from explaining import Explained, words
from peer import DROP

HOST = "127.0.0.1"


@pytest.fixture
def host(tmp_path, posthouse, certs):
    return Explained(tmp_path, posthouse, certs)


def probe(host, line, code=0, **parameters):
    """The probe of a route to b@vm2.vm."""
    host.hub(f"vm2.vm {line}\n", **parameters)
    got = host.run("--probe", "--json", "b@vm2.vm")
    assert got.returncode == code, (got.stdout, got.stderr)
    return json.loads(got.stdout)["probe"]


def digest(certs, name):
    """As openssl has it."""
    got = subprocess.run(["openssl", "x509", "-in", certs / f"{name}.pem", "-noout",
                          "-fingerprint", "-sha256"], stdout=subprocess.PIPE, check=True,
                         encoding="utf-8")
    return "sha256:" + got.stdout.strip().partition("=")[2].replace(":", "").lower()


@pytest.mark.parametrize("tls, transport, commands", [
    ("implicit", "relay-smtps", ["EHLO mta.vm1.vm", "QUIT"]),
    ("starttls", "relay", ["EHLO mta.vm1.vm", "STARTTLS", "EHLO mta.vm1.vm", "QUIT"]),
])
def test_good(host, site, certs, tls, transport, commands):
    peer = site.peer(tls=tls)
    got = probe(host, f"{transport}:{HOST}:{peer.port} tls=verify")
    cipher = got.pop("cipher")
    assert got == {"ok": True, "peer": f"{HOST}:{peer.port}", "protocol": "TLSv1.3",
                   "verified": True, "peer_names": ["hub.example", "127.0.0.1", "::1"],
                   "not_after": "2049-01-01T00:00:00.000Z",
                   "fingerprint": digest(certs, "hub"), "error": None}
    (session,) = peer.sessions
    peer.wait("the end", lambda: not session.is_open())
    assert session.commands == commands
    assert session.tls.cipher()[0] == cipher
    assert peer.messages == []


def test_chain_for_people(host, site, certs):
    peer = site.peer(tls="implicit")
    peer.context.load_cert_chain(certs / "sub-chain.pem", certs / "sub.key")
    host.hub(f"vm2.vm relay-smtps:{HOST}:{peer.port} tls=verify\n")
    text = words(host.text("--probe", "b@vm2.vm"))
    at = next(i for i, line in enumerate(text) if line.startswith("probe PASS"))
    assert text[at].startswith(f"probe PASS {HOST}:{peer.port}, TLSv1.3 with TLS_")
    assert text[at].endswith(", verified by ca: 127.0.0.1")
    assert text[at + 1].startswith("1. CN=hub.example, by CN=Sub CA, valid 2020-01-01 to 2049-")
    assert text[at + 2] == "for hub.example 127.0.0.1 ::1"
    assert text[at + 3] == digest(certs, "sub")
    assert text[at + 4].startswith("pubkey-sha256:")
    assert text[at + 5].startswith("2. CN=Sub CA, by CN=ca.example, valid ")


@pytest.mark.parametrize("certificate, error", [
    ("expired", "certificate has expired on 2024-01-01"),
    ("wrong", "certificate is not for the name 127.0.0.1 (it names: other.example, 192.0.2.9)"),
    ("stranger", "unknown CA (issuer CN=Other CA)"),
    ("evil", "signature of the certificate is wrong (issuer CN=ca.example)"),
])
def test_bad_certificates(host, site, certs, certificate, error):
    """The level decides: the same peer fails one policy and passes another."""
    peer = site.peer(tls="starttls", certificate=certificate)
    line = f"relay:{HOST}:{peer.port}"
    got = probe(host, f"{line} tls=verify", code=1)
    assert (got["ok"], got["verified"], got["protocol"]) == (False, False, None)
    assert got["error"] == f"cannot start TLS: {error}"
    assert got["fingerprint"] == digest(certs, certificate)
    got = probe(host, f"{line} tls=encrypt")
    assert (got["ok"], got["verified"], got["protocol"]) == (True, False, "TLSv1.3")
    assert got["error"] == error


@pytest.mark.parametrize("tls, auth, level, error", [
    ("starttls", "AUTH PLAIN", "encrypt", None),
    ("starttls", None, "encrypt", "cannot log in: the server does not offer AUTH"),
    ("starttls", "AUTH GSSAPI XOAUTH2", "encrypt",
     "cannot log in: no acceptable mechanism is offered (offered: GSSAPI XOAUTH2)"),
    (None, "AUTH PLAIN", "may", "TLS is required, but no STARTTLS is offered"),
])
def test_logins(host, site, tls, auth, level, error):
    """Mail that would log in needs TLS and a mechanism; no password is sent to see it."""
    peer = site.peer(tls=tls, extensions=[auth] if auth else [])
    got = probe(host, f"relay:[{HOST}]:{peer.port} tls={level}", code=1 if error else 0,
                smtp_sasl_auth_enable="yes",
                smtp_sasl_password_maps=f"inline:{{ [{HOST}]:{peer.port}=joe:secret }}")
    assert (got["ok"], got["error"]) == (error is None, error)
    (session,) = peer.sessions
    assert not [line for line in session.commands if line.startswith("AUTH")]


def test_pins(host, site, certs):
    peer = site.peer(tls="starttls", certificate="stranger")
    line = f"relay:{HOST}:{peer.port} tls=fingerprint fingerprint="
    assert probe(host, line + digest(certs, "stranger"))["verified"]
    assert not probe(host, line + digest(certs, "hub"), code=1)["ok"]


def test_dane(host, site, certs):
    """Other certificates than DNS means fail; where it means none, the level is another."""
    peer = site.peer(tls="starttls", certificate="expired")
    records = {"mx.signed.example": [HOST], "mx.open.example": [HOST]}
    dns = site.dns(records, signed=["signed.example"])

    def ask(name, level, code=0):
        return probe(host, f"relay:[{name}]:{peer.port} tls={level}", code=code,
                     resolver=dns.address)

    def mean(certificate):
        digest_of = bytes.fromhex(digest(certs, certificate).partition(":")[2])
        records[f"_{peer.port}._tcp.mx.signed.example"] = [bytes([3, 0, 1]) + digest_of]

    mean("expired")
    assert ask("mx.signed.example", "dane-only")["verified"]
    mean("hub")
    got = ask("mx.signed.example", "dane", code=1)
    assert got["error"].startswith("cannot start TLS: certificate is none that the TLSA records")
    got = ask("mx.open.example", "dane")
    assert (got["ok"], got["verified"], got["protocol"]) == (True, False, "TLSv1.3")
    assert "at level may by what DNS has" in host.text("--probe", "b@vm2.vm")
    got = ask("mx.open.example", "dane-only", code=1)
    assert (got["peer"], got["error"]) == (
        None, "level dane-only: the addresses of mx.open.example are not signed in DNS")


@pytest.mark.parametrize("level, code, error", [
    ("may", 0, "no STARTTLS is offered: mail would go in the clear"),
    ("encrypt", 1, "TLS is required, but no STARTTLS is offered"),
    ("none", 0, None),
])
def test_no_starttls(host, site, level, code, error):
    peer = site.peer()
    got = probe(host, f"relay:{HOST}:{peer.port} tls={level}", code=code)
    assert (got["ok"], got["protocol"], got["error"]) == (code == 0, None, error)
    (session,) = peer.sessions
    peer.wait("the end", lambda: not session.is_open())
    assert session.commands == ["EHLO mta.vm1.vm", "QUIT"]


@pytest.mark.parametrize("level, code", [("may", 0), ("encrypt", 1)])
def test_starttls_is_refused(host, site, level, code):
    peer = site.peer(tls="starttls", replies={"STARTTLS": "454 4.7.0 not now"})
    got = probe(host, f"relay:{HOST}:{peer.port} tls={level}", code=code)
    assert got["error"].startswith("STARTTLS is refused: 454 not now")
    assert ("in the clear" in got["error"]) == (level == "may")


@pytest.mark.parametrize("level, code", [("may", 0), ("encrypt", 1)])
def test_handshake_fails(host, site, level, code):
    """Nothing is sent in the clear to see whether that would work."""
    peer = site.peer(tls="starttls")
    peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
    got = probe(host, f"relay:{HOST}:{peer.port} tls={level} protocols=TLSv1.3", code=code)
    assert got["error"].startswith("cannot start TLS: ")
    assert ("in the clear" in got["error"]) == (level == "may")
    assert len(peer.sessions) == 1


@pytest.mark.parametrize("greeting, error", [
    ("554 5.7.1 go away", "the host refuses to talk: 554 go away"),
    (DROP, "lost connection while receiving the initial server greeting"),
])
def test_not_talking(host, site, greeting, error):
    peer = site.peer(replies={"GREETING": greeting})
    got = probe(host, f"relay:{HOST}:{peer.port}", code=1)
    assert (got["ok"], got["error"]) == (False, error)


def test_out_of_reach(host, site):
    port = site.port()
    got = probe(host, f"relay:{HOST}:{port}", code=1)
    assert (got["peer"], got["error"]) == (f"{HOST}:{port}", f"connect to {HOST}[{HOST}]:{port}: Connection refused")
    stub = site.dns({})
    got = probe(host, "relay:[nowhere.example]", code=1, resolver=stub.address)
    assert (got["peer"], got["error"]) == (None, "nowhere.example: name not found")


def test_several_next_hops(host, site):
    """One verdict: that of the first that fails; the others stand beside it."""
    good, bad = site.peer(tls="starttls"), site.peer()
    got = probe(host, f"relay:{HOST}:{good.port}, {HOST}:{bad.port}", code=1)
    assert (got["ok"], got["peer"]) == (False, f"{HOST}:{bad.port}")
    assert [(one["ok"], one["peer"]) for one in got["others"]] == [(True, f"{HOST}:{good.port}")]


def test_what_is_not_sent_is_not_probed(host):
    assert probe(host, "discard:") is None


def test_several_addresses(host, site):
    """The worst is the exit code."""
    good, bad = site.peer(tls="starttls"), site.peer()
    host.hub(f"a.vm2.vm relay:{HOST}:{good.port}\nb.vm2.vm relay:{HOST}:{bad.port}\n")
    got = host.run("--probe", "--json", "u@b.vm2.vm", "u@a.vm2.vm")
    assert got.returncode == 1
    assert [json.loads(line)["probe"]["ok"] for line in got.stdout.splitlines()] == [False, True]


def test_lmtp(host, site, tmp_path):
    """By a socket and by TCP, in its own words."""
    path = tmp_path / "lmtp"
    peer, other = site.peer(lmtp=True, path=path), site.peer(lmtp=True, tls="starttls")
    got = probe(host, f"lmtp:unix:{path}")
    assert (got["ok"], got["peer"], got["protocol"], got["error"]) == (
        True, f"unix:{path}", None, None)
    (session,) = peer.sessions
    peer.wait("the end", lambda: not session.is_open())
    assert session.commands == ["LHLO mta.vm1.vm", "QUIT"]
    text = words(host.run("--probe", "b@vm2.vm").stdout)
    assert f"probe PASS unix:{path}" in text and "TLS none, as a UNIX socket crosses no network" in text
    assert probe(host, f"lmtp:{HOST}:{other.port} tls=verify")["protocol"] == "TLSv1.3"
    got = probe(host, f"lmtp:unix:{path}.gone", code=1)
    assert got["error"] == f"connect to mta.vm1.vm[{path}.gone]: No such file or directory"
