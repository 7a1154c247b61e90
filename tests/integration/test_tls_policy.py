"""TLS levels against peers that are honest, broken or hostile.

What is asked of each: with encrypt, verify and implicit TLS not one byte of an
envelope or a message may be in what the peer ever received, and the queue says
why the mail waits. With may, what TLS does not do goes at once in the clear,
and the log and the ledger say so.
"""

import hashlib
import re
import ssl
import subprocess

import pytest

from clients import HOST, relay, text
from peer import DROP

SENDER, SECRET = "alice@vm1.vm", "this line is nobody else's business"

# What would be seen by somebody on the path. EHLO and STARTTLS are no secret.
SECRETS = (b"MAIL", b"RCPT", b"DATA", b"alice", b"vm1.vm", b"Subject", SECRET.encode())



def server_hello(version, cipher):
    """A peer that chooses what it was not offered (RFC 5246 section 7.4.1.3)."""
    hello = version + bytes(32) + b"\0" + cipher + b"\0"
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\x03\x03" + len(handshake).to_bytes(2, "big") + handshake


TLS_1_1, TLS_1_2 = b"\x03\x02", b"\x03\x03"
ECDHE_ECDSA_WITH_AES_128_CBC_SHA, ECDHE_ECDSA_WITH_NULL_SHA = b"\xc0\x09", b"\xc0\x06"


def half_a_hello(session, _):
    session.send(server_hello(TLS_1_2, ECDHE_ECDSA_WITH_AES_128_CBC_SHA)[:30])
    return DROP


# label: how the peer is (keywords of Peer), and what `queue show` says when TLS is required
BROKEN = {
    "no STARTTLS": ({"tls": "none"}, "TLS is required, but was not offered by host"),
    "STARTTLS stripped": ({"tls": "starttls", "replies": {"EHLO": "250-peer\r\n250 XXXXXXXX"}},
                          "TLS is required, but was not offered by host"),
    "EHLO refused": ({"tls": "starttls", "replies": {"EHLO": "502 5.5.1 what?"}},
                     "TLS is required, but was not offered by host"),
    "454": ({"tls": "starttls", "replies": {"STARTTLS": "454 4.7.0 not now"}},
            "TLS is required, but host .* refused to start TLS: 454 .*not now"),
    "503": ({"tls": "starttls", "replies": {"STARTTLS": "503 5.5.1 never"}},
            "TLS is required, but host .* refused to start TLS: 503 .*never"),
    "drops in the handshake": ({"tls": "starttls", "replies": {"HANDSHAKE": DROP}},
                               "cannot start TLS .*: connection closed during the TLS handshake"),
    "garbage": ({"tls": "starttls", "replies": {"HANDSHAKE": b"\x00garbage" * 100}},
                "cannot start TLS .*: the peer's reply is not TLS"),
    "SMTP instead of TLS": ({"tls": "starttls", "replies": {"HANDSHAKE": "250 Ok"}},
                            'cannot start TLS .*: .* is not TLS, it begins with "250 Ok"'),
    "an alert": ({"tls": "starttls", "replies": {"HANDSHAKE": b"\x15\x03\x03\x00\x02\x02\x28"}},
                 "cannot start TLS .*: peer sent alert: handshake failure"),
    "ends in the middle of its hello": (
        {"tls": "starttls", "replies": {"HANDSHAKE": half_a_hello}},
        "cannot start TLS .*: connection closed during the TLS handshake"),
    "chooses TLS 1.1": (
        {"tls": "starttls", "replies": {"HANDSHAKE": server_hello(
            TLS_1_1, ECDHE_ECDSA_WITH_AES_128_CBC_SHA)}},
        "cannot start TLS .*: no TLS version in common with the peer"),
    "chooses a cipher that encrypts nothing": (
        {"tls": "starttls", "replies": {"HANDSHAKE": server_hello(
            TLS_1_2, ECDHE_ECDSA_WITH_NULL_SHA)}},
        "cannot start TLS .*: no protocol or cipher in common with the peer"),
}

# label: the peer's certificate, and what `queue show` says when it must be verified
UNTRUSTED = {
    "wrong name": ("wrong", r"certificate is not for the name 127\.0\.0\.1 \(it names: other"),
    "expired": ("expired", "certificate has expired on 2024-01-01"),
    "not yet valid": ("future", "certificate is not valid before 2049-01-01"),
    "other CA": ("stranger", r"unknown CA \(issuer CN=Other CA\)"),
    "self-signed": ("self-signed", "self-signed certificate, not trusted here"),
    "forged by a CA of the same name": ("evil", "signature of the certificate is wrong"),
    "leaf as CA": ("leaf-as-ca", r"unknown CA \(issuer CN=hub\.example\)"),
    "for clients only": ("client-only", "certificate may not be used by a server"),
}


def domain(label):
    return "".join(c if c.isalnum() else "-" for c in label.lower()) + ".example"


class Outcomes:
    """A hub, a peer for each case, and a message to each; the hub has ended when tests look."""

    def __init__(self, site, cases, transport="relay", attributes="", **options):
        self.peers = {label: site.peer(**keywords) for label, keywords in cases.items()}
        self.hub = site.hub("".join(
            f"{domain(label)} {transport}:{HOST}:{peer.port} {attributes}\n"
            for label, peer in self.peers.items()), relay_domains=".example", **options)
        self.ids = {label: relay(self.hub, SENDER, f"a@{domain(label)}",
                                 text("a@example", SECRET)) for label in cases}
        self.lines = {label: self.hub.delivered(f"a@{domain(label)}", self.ids[label], r"\w+")
                      for label in cases}
        self.hub.stop()

    def line(self, label, status):
        """The line of the log that tells what became of the recipient."""
        assert f", status={status} (" in self.lines[label]
        return self.lines[label]

    def row(self, label):
        """The only row of the ledger: there was one attempt."""
        (row,) = self.hub.ledger(f"a@{domain(label)}")
        return row

    def assert_waits(self, label, reason):
        assert ", dsn=4.7." in self.line(label, "deferred")
        (message,) = self.hub.queue("show", self.ids[label])
        (state,) = message["recipients"]
        assert (state["status"], state["attempts"]) == ("deferred", 1)
        assert state["enhanced_status"].startswith("4.7."), state
        assert re.search(reason, state["reason"]), state["reason"]
        shown = self.hub.command("queue", "show", self.ids[label]).stdout.decode()
        assert ": deferred after 1 attempt, " in shown and state["reason"] in shown
        assert self.row(label)["status"] == "deferred"

    def assert_nothing_leaked(self, label):
        wire = self.peers[label].wire()
        for secret in SECRETS:
            assert secret not in wire, wire
        assert self.peers[label].messages == []


def broken_cases():
    return {label: keywords for label, (keywords, _) in BROKEN.items()}


# ---- encrypt and verify ----

@pytest.fixture(scope="module", params=["encrypt", "verify"])
def strict(shared_site, request):
    return Outcomes(shared_site, broken_cases(), smtp_tls_security_level=request.param)


@pytest.mark.parametrize("label", BROKEN)
def test_required_tls_that_fails(strict, label):
    strict.assert_waits(label, BROKEN[label][1])
    strict.assert_nothing_leaked(label)


@pytest.fixture(scope="module")
def unverified(shared_site):
    return Outcomes(shared_site, {label: {"tls": "starttls", "certificate": certificate}
                                  for label, (certificate, _) in UNTRUSTED.items()},
                    smtp_tls_security_level="verify")


@pytest.fixture(scope="module")
def unverified_implicit(shared_site):
    return Outcomes(shared_site, {label: {"tls": "implicit", "certificate": certificate}
                                  for label, (certificate, _) in UNTRUSTED.items()},
                    "relay-smtps", smtp_tls_security_level="verify")


@pytest.mark.parametrize("label", UNTRUSTED)
def test_certificates_that_are_not_verified(unverified, unverified_implicit, label):
    for outcomes in (unverified, unverified_implicit):
        outcomes.assert_waits(label, "cannot start TLS with .*: " + UNTRUSTED[label][1])
        outcomes.assert_nothing_leaked(label)
        for session in outcomes.peers[label].sessions:
            assert not any(line.startswith("MAIL") for line in session.commands)


def public_facts(row):
    return row["tls_peer_name"], row["tls_fingerprint"], row["tls_pubkey_fingerprint"]


@pytest.mark.parametrize("label", UNTRUSTED)
def test_who_was_not_verified(unverified, unverified_implicit, certs, label):
    """The certificate that was shown is kept, and nothing that would look like a session."""
    certificate, key = fingerprints(certs, UNTRUSTED[label][0])
    for outcomes, mode in ((unverified, "starttls"), (unverified_implicit, "implicit")):
        row = outcomes.row(label)
        assert row["tls_peer_name"]
        assert public_facts(row)[1:] == (f"sha256:{certificate}", f"pubkey-sha256:{key}")
        assert (row["tls_mode"], row["tls_protocol"], row["tls_cipher"]) == (mode, "", "")
        assert (row["tls_verified"], row["tls_verified_by"], row["tls_resumed"]) == (0, "", 0)
        assert row["in_clear"] == 0
        hub, showed = outcomes.hub, f"showed a certificate of {row['tls_peer_name']}"
        assert hub.command("ledger", "list", "--clear").returncode == 1
        assert f"TLS verify: no session; not verified, the peer {showed}, sha256:{certificate}\n" \
            in hub.command("queue", "show", outcomes.ids[label]).stdout.decode()
        assert ("no session came about, and nothing of the message was sent\n"
                f"    peer      not verified, {showed}\n"
                f"              certificate sha256:{certificate}\n"
                f"              key pubkey-sha256:{key}\n"
                ) in hub.command("trace", outcomes.ids[label]).stdout.decode()
        assert re.search(rf"no TLS session with \S+, which {showed}: "
                         rf"fingerprint=sha256:{certificate}, pkey_fingerprint=pubkey-sha256:{key}$",
                         hub.server.log(), re.MULTILINE)


@pytest.mark.parametrize("level, status, facts", [
    ("encrypt", "deferred", True), ("may", "sent", False)])
def test_a_certificate_and_then_no_session(site, certs, level, status, facts):
    """What goes in the clear is not said to have gone to whoever owns a certificate."""
    peer = site.peer(tls="starttls")
    peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
    peer.context.verify_mode = ssl.CERT_REQUIRED  # of whom it trusts: of nobody
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls={level}\n")
    hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm"), status)
    hub.stop()
    certificate, key = fingerprints(certs, "hub")
    (row,) = hub.ledger("a@vm1.vm")
    assert public_facts(row) == (
        (HOST, f"sha256:{certificate}", f"pubkey-sha256:{key}") if facts else ("", "", ""))
    assert (row["tls_mode"], row["tls_protocol"], row["tls_verified"], row["in_clear"]) == (
        "starttls" if facts else "none", "", 0, 0 if facts else 1)
    assert hub.command("ledger", "list", "--clear").returncode == (1 if facts else 0)


@pytest.fixture(scope="module")
def encrypted(shared_site):
    return Outcomes(shared_site, {label: {"tls": "starttls", "certificate": certificate}
                                  for label, (certificate, _) in UNTRUSTED.items()},
                    smtp_tls_security_level="encrypt")


@pytest.mark.parametrize("label", UNTRUSTED)
def test_encrypt_takes_any_certificate(encrypted, label):
    line = encrypted.line(label, "sent")
    assert ", tls=encrypt:TLSv1.3:" in line and ":verified" not in line
    row = encrypted.row(label)
    assert (row["tls_mode"], row["tls_verified"]) == ("starttls", 0)
    assert SECRET.encode() not in encrypted.peers[label].wire()


def test_a_good_peer_is_verified(shared_site):
    good = Outcomes(shared_site, {"good": {"tls": "starttls"}}, smtp_tls_security_level="verify")
    assert ", tls=verify:TLSv1.3:verified" in good.line("good", "sent")
    assert SECRET.encode() not in good.peers["good"].wire()
    row = good.row("good")
    assert row["status"] == "delivered"
    assert (row["tls_level"], row["tls_mode"], row["tls_protocol"], row["tls_verified"]) == (
        "verify", "starttls", "TLSv1.3", 1)
    assert row["tls_cipher"].startswith("TLS_") and row["tls_fingerprint"].startswith("sha256:")
    assert row["peer"] == f"{HOST}:{good.peers['good'].port}"


def public_point(der):
    """Where the P-256 key of a certificate is: the only bit string of this length."""
    at = der.index(b"\x03\x42\x00\x04") + 4
    return slice(at, at + 64)


@pytest.fixture(scope="module")
def clone(certs):
    """Our CA to the last byte, signature included, but with the key of evil-ca.

    Debian's wolfSSL takes it for the CA itself (CVE-2026-93302) unless we prevent that.
    """
    ca, evil = (ssl.PEM_cert_to_DER_cert((certs / f"{name}.pem").read_text())
                for name in ("ca", "evil-ca"))
    forged = bytearray(ca)
    forged[public_point(ca)] = evil[public_point(evil)]
    (certs / "clone.pem").write_text(ssl.DER_cert_to_PEM_cert(bytes(forged)))
    (certs / "clone.key").write_text((certs / "evil-ca.key").read_text())
    return "clone"


def test_a_clone_of_our_ca(shared_site, clone):
    for transport, tls in (("relay", "starttls"), ("relay-smtps", "implicit")):
        got = Outcomes(shared_site, {"clone": {"tls": tls, "certificate": clone}}, transport,
                       "match=ca.example", smtp_tls_security_level="verify")
        got.assert_waits("clone", "cannot start TLS with .*: signature of the certificate is wrong")
        got.assert_nothing_leaked("clone")


# ---- implicit TLS ----

def test_smtps_against_peers_that_do_not_speak_it(shared_site):
    """Implicit TLS is never weaker than encrypt, whatever the general level is."""
    for level in ("none", "may"):
        got = Outcomes(shared_site, {
            "plain": {"tls": "none"},
            "starttls only": {"tls": "starttls"},
            "drops": {"tls": "implicit", "replies": {"HANDSHAKE": DROP}},
            "garbage": {"tls": "implicit", "replies": {"HANDSHAKE": b"garbage" * 100}},
        }, "relay-smtps", smtp_tls_security_level=level)
        for label, peer in got.peers.items():
            got.assert_waits(label, "cannot start TLS")
            got.assert_nothing_leaked(label)
            assert b"EHLO" not in peer.wire() and b"QUIT" not in peer.wire()


# ---- none and may ----

@pytest.fixture(scope="module")
def lenient(shared_site):
    return Outcomes(shared_site, {**broken_cases(), "good": {"tls": "starttls"}},
                    smtp_tls_security_level="may")


@pytest.mark.parametrize("label", BROKEN)
def test_may_falls_back_at_once(lenient, label):
    assert ", tls=may:clear, " in lenient.line(label, "sent")
    (message,) = lenient.peers[label].messages
    assert SECRET.encode() in message.body
    row = lenient.row(label)
    assert (row["status"], row["tls_level"], row["tls_mode"]) == ("delivered", "may", "none")
    assert (row["tls_protocol"], row["tls_cipher"], row["tls_verified"]) == ("", "", 0)
    warning = rf"warning: TLS .*\[127\.0\.0\.1\]:{lenient.peers[label].port} .* in the clear"
    is_offered = BROKEN[label][0]["tls"] == "starttls" and "EHLO" not in BROKEN[label][0]["replies"]
    assert bool(re.search(warning, lenient.hub.server.log())) == is_offered


def test_may_uses_tls_where_it_works(lenient):
    assert ", tls=may:TLSv1.3:" in lenient.line("good", "sent")
    assert lenient.row("good")["tls_mode"] == "starttls"


def test_none_does_not_ask_for_tls(shared_site):
    got = Outcomes(shared_site, {"good": {"tls": "starttls"}}, smtp_tls_security_level="none")
    assert ", tls=none:clear, " in got.line("good", "sent")
    (session,) = got.peers["good"].sessions
    assert "STARTTLS" not in session.commands
    assert got.row("good")["tls_mode"] == "none"


def test_level_of_the_route_wins(shared_site):
    """The map's line says none, may or verify; the general level is for those that say nothing."""
    peer = shared_site.peer(tls="starttls", certificate="self-signed")
    hub = shared_site.hub("".join(f"{level}.example relay:{HOST}:{peer.port} tls={level}\n"
                                  for level in ("none", "may", "encrypt", "verify")) +
                          f"* relay:{HOST}:{peer.port}\n",
                          relay_domains=".example", smtp_tls_security_level="verify")
    for level, mode in (("none", "clear"), ("may", "TLSv1.3:"), ("encrypt", "TLSv1.3:")):
        recipient = f"a@{level}.example"
        assert f", tls={level}:{mode}" in hub.delivered(recipient, relay(hub, SENDER, recipient))
    for recipient in ("a@verify.example", "a@other.example"):
        hub.delivered(recipient, relay(hub, SENDER, recipient), "deferred")


def test_match_names(shared_site):
    peer = shared_site.peer(tls="starttls", certificate="edge")
    hub = shared_site.hub(f"good.example relay:{HOST}:{peer.port} tls=verify match=edge.example\n"
                          f"bad.example relay:{HOST}:{peer.port} tls=verify match=hub.example\n"
                          f"own.example relay:{HOST}:{peer.port} tls=verify\n",
                          relay_domains=".example")
    hub.delivered("a@good.example", relay(hub, SENDER, "a@good.example"))
    for recipient in ("a@bad.example", "a@own.example"):
        hub.delivered(recipient, relay(hub, SENDER, recipient), "deferred")


# ---- injections, versions ----

@pytest.mark.parametrize("injected", ["250-peer.example\r\n250 PIPELINING", "250 2.1.0 Ok",
                                      "554 5.7.1 bounce this"])
def test_bytes_behind_the_220_are_dropped(site, injected):
    """RFC 3207 section 4: what comes in the clear behind it is no part of the session."""
    peer = site.peer(tls="starttls", replies={"STARTTLS": f"220 go\r\n{injected}"})
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=verify\n")
    message_id = relay(hub, SENDER, "a@vm2.vm", text("a@vm2.vm", SECRET))
    hub.delivered("a@vm2.vm", message_id)
    assert SECRET.encode() not in peer.wire()
    (session,) = peer.sessions
    assert session.commands[:5] == ["EHLO mta.vm.vm", "STARTTLS", "EHLO mta.vm.vm",
                                    "MAIL FROM:<alice@vm1.vm> SIZE=%d" % len(peer.messages[0].body),
                                    "RCPT TO:<a@vm2.vm>"]


def test_protocols(site):
    old = site.peer(tls="starttls")
    old.context.maximum_version = ssl.TLSVersion.TLSv1_2
    hub = site.hub(f"vm1.vm relay:{HOST}:{old.port}\n"
                   f"vm2.vm relay:{HOST}:{old.port} protocols=>=TLSv1.3\n")
    line = hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm"))
    assert ", tls=encrypt:TLSv1.2:" in line
    hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"), "deferred")


@pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
def test_ancient_protocols_are_refused(site):
    """A peer that has TLS 1.1 at best."""
    ancient = site.peer(tls="starttls")
    ancient.context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    ancient.context.set_ciphers("ALL:@SECLEVEL=0")
    hub = site.hub(f"* relay:{HOST}:{ancient.port}\n")
    hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm"), "deferred")
    assert ancient.messages == []


# ---- less work for the second message ----

def test_connections_are_reused(site):
    peer = site.peer(tls="starttls")
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=verify\n", workers=1)
    for i in range(5):
        hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm", text("a@vm1.vm", f"no {i}")))
    (session,) = peer.sessions
    assert len(peer.messages) == 5
    assert sum(line.startswith("EHLO") for line in session.commands) == 2


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("transport, tls", [("relay", "starttls"), ("relay-smtps", "implicit")])
def test_sessions_are_resumed(site, version, transport, tls):
    """Over the second connection, and with the same checks."""
    peer = site.peer(tls=tls, replies={"END": ["250 Ok\r\n421 4.3.2 bye", None]})
    peer.context.maximum_version = ssl.TLSVersion[version.replace("v1.", "v1_")]
    hub = site.hub(f"* {transport}:{HOST}:{peer.port} tls=verify\n", workers=1)
    for i in range(2):
        mark = hub.server.mark()
        message_id = relay(hub, SENDER, "a@vm1.vm")
        assert f", tls=verify:{version}:verified" in hub.delivered("a@vm1.vm", message_id)
        word = "reused" if i else "established"
        hub.wait_for(f"Verified TLS connection {word} to 127.0.0.1.*: {version} with", since=mark)
        hub.removed(message_id)
    assert [session.tls.session_reused for session in peer.sessions] == [False, True]
    assert [row["tls_resumed"] for row in hub.ledger("a@vm1.vm")] == [0, 1]
    assert [row["tls_verified"] for row in hub.ledger("a@vm1.vm")] == [1, 1]


# ---- secure and fingerprint ----

def fingerprints(certs, name):
    """As openssl has them: of the certificate, and of its key (postconf(5), smtp_tls_policy_maps)."""
    der = ssl.PEM_cert_to_DER_cert((certs / f"{name}.pem").read_text())
    key = subprocess.run(f"openssl x509 -in {certs}/{name}.pem -noout -pubkey | "
                         "openssl pkey -pubin -outform DER", shell=True, check=True,
                         stdout=subprocess.PIPE).stdout
    return hashlib.sha256(der).hexdigest(), hashlib.sha256(key).hexdigest()


@pytest.mark.parametrize("transport, tls", [("relay", "starttls"), ("relay-smtps", "implicit")])
def test_fingerprint(shared_site, certs, transport, tls):
    """Neither CA nor date nor name: whoever is in the list, and nobody else."""
    certificate, key = fingerprints(certs, "expired")
    colons = ":".join(certificate[i:i + 2] for i in range(0, 64, 2)).upper()
    for pin in (f"sha256:{certificate}", f"pubkey-sha256:{key}", key, f"{'0' * 64}|{colons}"):
        good = Outcomes(shared_site, {"good": {"tls": tls, "certificate": "expired"}}, transport,
                        f"tls=fingerprint fingerprint={pin}", smtp_tls_CAfile="")
        assert ", tls=fingerprint:TLSv1.3:verified" in good.line("good", "sent")
        row = good.row("good")
        assert (row["tls_verified"], row["tls_verified_by"]) == (1, "fingerprint")
        assert row["tls_fingerprint"] == f"sha256:{certificate}"
        assert row["tls_pubkey_fingerprint"] == f"pubkey-sha256:{key}"

    bad = Outcomes(shared_site, {"bad": {"tls": tls, "certificate": "hub"}}, transport,
                   f"tls=fingerprint match={certificate}")
    bad.assert_waits("bad", "certificate is none of those of fingerprint= ")
    bad.assert_nothing_leaked("bad")

    shown, its_key = fingerprints(certs, "hub")
    for pin, found in ((f"sha256:{certificate}", rf"\(it is sha256:{shown}\)"),
                       (f"pubkey-sha256:{key}", rf"\(its key is pubkey-sha256:{its_key}\)"),
                       (key, rf"\(it is sha256:{shown}, its key is pubkey-sha256:{its_key}\)")):
        bad = Outcomes(shared_site, {"bad": {"tls": tls, "certificate": "hub"}}, transport,
                       f"tls=fingerprint fingerprint={pin}")
        bad.assert_waits("bad", r"certificate is none of those of fingerprint= " + found)


def test_secure_names(shared_site):
    """By default what is below the next hop will do; hub.example is below example."""
    dns = shared_site.dns({"example": [HOST], "hub.example": [HOST], "example.net": [HOST]})
    peer = shared_site.peer(tls="starttls")
    hub = shared_site.hub(f"a.example relay:[example]:{peer.port} tls=secure\n"
                          f"b.example relay:[example]:{peer.port} tls=verify\n"
                          f"c.example relay:[example.net]:{peer.port} tls=secure\n"
                          f"d.example relay:[example.net]:{peer.port} tls=secure match=.example\n",
                          relay_domains=".example", resolver=dns.address)
    for name, status in (("a", "sent"), ("b", "deferred"), ("c", "deferred"), ("d", "sent")):
        recipient = f"x@{name}.example"
        hub.delivered(recipient, relay(hub, SENDER, recipient), status)


# ---- smtp_tls_policy_maps ----

def test_connections_are_not_shared(site, certs):
    """One next hop, two policies: the second message waits, though a connection is open."""
    peer = site.peer(tls="starttls")
    certificate, _ = fingerprints(certs, "hub")
    hub = site.hub(f"* relay:{HOST}:{peer.port}\n", {"pol": (
        f"a.example fingerprint match={certificate}\n"
        f"b.example fingerprint match={'0' * 64}\n")},
        relay_domains=".example", smtp_tls_policy_maps="hash:pol", workers=1)
    hub.delivered("x@a.example", relay(hub, SENDER, "x@a.example"))
    hub.delivered("x@b.example", relay(hub, SENDER, "x@b.example"), "deferred")
    assert len(peer.messages) == 1


def test_policy_map_that_changes(site, certs):
    """Taken up by itself; weaker is said, and a version with a bad line is refused as a whole."""
    peer = site.peer(tls="starttls", certificate="stranger")
    hop = f"[{HOST}]:{peer.port}"
    hub = site.hub(f"* relay:{hop}\n", {"pol": f"{hop} encrypt\n"}, relay_domains=".example",
                   smtp_tls_policy_maps="hash:pol")
    hub.delivered("x@a.example", relay(hub, SENDER, "x@a.example"))

    mark = hub.server.mark()
    hub.write("pol", f"# {certs}\n{hop} verify\n")
    hub.wait_for("smtp_tls_policy_maps: hash:pol has changed and was taken up", since=mark)
    hub.delivered("x@b.example", relay(hub, SENDER, "x@b.example"), "deferred")

    mark = hub.server.mark()
    hub.write("pol", f"{hop} may\nother.example verfy\n")
    line = hub.wait_for("error: .*smtp_tls_policy_maps: ", since=mark)
    assert "pol:2: verfy: unknown level; expected none, may" in line
    hub.delivered("x@c.example", relay(hub, SENDER, "x@c.example"), "deferred")

    mark = hub.server.mark()
    hub.write("pol", f"{hop} may\n")
    line = hub.wait_for("warning: .*smtp_tls_policy_maps: .*this is weaker", since=mark)
    assert "tls=verify" in line and "tls=may" in line
    line = hub.delivered("x@d.example", relay(hub, SENDER, "x@d.example"))
    assert ", tls=may:TLSv1.3" in line


def test_policy_cannot_weaken_smtps(site):
    peer = site.peer(tls="none")
    hub = site.hub(f"* relay-smtps:{HOST}:{peer.port}\n", {"pol": f"{HOST} none\n"},
                   relay_domains=".example", smtp_tls_policy_maps="hash:pol")
    hub.delivered("x@a.example", relay(hub, SENDER, "x@a.example"), "deferred")
    assert b"EHLO" not in peer.wire()
    hub.wait_for("warning: .*level none has no effect on the relay-smtps:")
