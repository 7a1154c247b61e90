"""DANE (RFC 7672): what DNS says of a next hop decides what TLS its mail gets.

The name server is a stub on loopback that says of its signed names that it has checked them.
"""

import hashlib
import re
import ssl

import pytest

from clients import HOST, relay, text

SENDER, SECRET = "alice@vm1.vm", "this line is nobody else's business"


def tlsa(certs, name, usage, matching=1):
    der = ssl.PEM_cert_to_DER_cert((certs / f"{name}.pem").read_text())
    digest = {0: lambda d: d, 1: lambda d: hashlib.sha256(d).digest(),
              2: lambda d: hashlib.sha512(d).digest()}[matching](der)
    return bytes([usage, 0, matching]) + digest


class Case:
    """A hub that sends one message to one peer, and what became of it."""

    def __init__(self, site, level, records, peer=None, transport="relay", host="mx.signed.example",
                 aliases=None, mx=False, **options):
        self.peer = site.peer(**{"tls": "starttls", **(peer or {})})
        names = {"mx.signed.example": [HOST], "mx.open.example": [HOST], **(aliases or {})}
        for name, record in records.items():
            names[f"_{self.peer.port}._tcp.{name}"] = record
        self.dns = site.dns(names, signed=["signed.example", "hub.example"])
        host = host if mx else f"[{host}]"
        self.hub = site.hub(f"* {transport}:{host}:{self.peer.port} tls={level}\n",
                            resolver=self.dns.address, smtp_tls_CAfile="", **options)
        self.id = relay(self.hub, SENDER, "a@example", text("a@example", SECRET))
        self.line = self.hub.delivered("a@example", self.id, r"\w+")

    def assert_sent(self, tls, verified_by):
        assert ", status=sent (" in self.line and f", tls={tls}" in self.line
        self.hub.removed(self.id)  # the log is a little ahead of the queue
        row = self.row()
        assert (row["tls_verified"], row["tls_mode"]) == (
            int(bool(verified_by)), "none" if tls.endswith(":clear") else row["tls_mode"])
        assert row["tls_verified_by"] == verified_by

    def assert_waits(self, reason):
        assert ", status=deferred (" in self.line and ", dsn=4.7." in self.line
        assert re.search(reason, self.line), self.line
        assert SECRET.encode() not in self.peer.wire() and b"MAIL" not in self.peer.wire()

    def row(self):
        (row,) = self.hub.ledger("a@example")
        return row


@pytest.mark.parametrize("level", ["dane", "dane-only"])
@pytest.mark.parametrize("transport, tls", [("relay", "starttls"), ("relay-smtps", "implicit")])
def test_verified_by_dns(site, certs, level, transport, tls):
    """No CA is trusted here, and the certificate has expired: its record alone counts."""
    case = Case(site, level, {"mx.signed.example": [tlsa(certs, "expired", 3)]},
                {"certificate": "expired", "tls": tls}, transport)
    case.assert_sent(f"{level}:TLSv1.3:verified", "dane")
    assert SECRET.encode() not in case.peer.wire()
    assert f"_{case.peer.port}._tcp.mx.signed.example" in case.dns.asked


def test_verified_by_a_ca_of_dns(site, certs):
    """Here the name counts: that of the next hop, which DNS has signed."""
    (certs / "sub-chain.key").write_text((certs / "sub.key").read_text())
    record, peer = [tlsa(certs, "sub-ca", 2, 2)], {"certificate": "sub-chain"}
    case = Case(site, "dane", {"hub.example": record}, peer, host="hub.example",
                aliases={"hub.example": [HOST]})
    case.assert_sent("dane:TLSv1.3:verified", "dane")
    case = Case(site, "dane", {"mx.signed.example": record}, peer)
    case.assert_waits("certificate is not for the name mx.signed.example")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_another_certificate(site, certs, level):
    case = Case(site, level, {"mx.signed.example": [tlsa(certs, "hub", 3)]},
                {"certificate": "stranger"})
    case.assert_waits("certificate is none that the TLSA records mean")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_tls_that_fails(site, certs, level):
    """RFC 7672 section 2.2: with records there is no way back to clear text."""
    case = Case(site, level, {"mx.signed.example": [tlsa(certs, "hub", 3)]}, {"tls": "none"})
    case.assert_waits("TLS is required, but was not offered by host mx.signed.example")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_lookup_that_fails(site, level):
    """SERVFAIL is what a server says whose check of signatures has failed."""
    case = Case(site, level, {"mx.signed.example": None})
    case.assert_waits(f"level {level}: _{case.peer.port}._tcp.mx.signed.example: no DNS server")


UNUSABLE = bytes([0, 0, 1]) + bytes(32)


def test_records_of_no_use(site):
    records = {"mx.signed.example": [UNUSABLE, bytes([3, 1, 1, 0])]}
    Case(site, "dane", records, {"certificate": "stranger"}).assert_sent("dane:TLSv1.3", "")
    Case(site, "dane", records, {"tls": "none"}).assert_waits("TLS is required")
    Case(site, "dane-only", records).assert_waits(
        r"level dane-only: no TLSA record of mx\.signed\.example for port \d+ can be used")


def test_no_records(site):
    Case(site, "dane", {}, {"certificate": "stranger"}).assert_sent("dane:TLSv1.3", "")
    Case(site, "dane", {}, {"tls": "none"}).assert_sent("dane:clear", "")
    case = Case(site, "dane", {}, {"tls": "implicit"}, "relay-smtps")
    case.assert_sent("dane:TLSv1.3", "")
    Case(site, "dane", {}, {"tls": "none"}, "relay-smtps").assert_waits("cannot start TLS")
    Case(site, "dane-only", {}).assert_waits(
        r"level dane-only: mx\.signed\.example has no TLSA record for port \d+")


def test_names_that_are_not_signed(site, certs):
    """Their TLSA records are not even asked for; a server may fail at the question."""
    for record in (None, [tlsa(certs, "stranger", 3)]):
        case = Case(site, "dane", {"mx.open.example": record}, host="mx.open.example")
        case.assert_sent("dane:TLSv1.3", "")
        assert not any("_tcp" in name for name in case.dns.asked)
    Case(site, "dane-only", {"mx.open.example": [tlsa(certs, "hub", 3)]},
         host="mx.open.example").assert_waits(
             r"level dane-only: the addresses of mx\.open\.example are not signed in DNS")


def test_an_alias(site, certs):
    """Records of the name that has the addresses come first, then those of the name given."""
    alias = {"www.signed.example": "mx.signed.example"}
    good, bad = [tlsa(certs, "hub", 3)], [tlsa(certs, "stranger", 3)]
    for records in ({"mx.signed.example": good, "www.signed.example": bad},
                    {"www.signed.example": good}):
        case = Case(site, "dane-only", records, host="www.signed.example", aliases=alias)
        case.assert_sent("dane-only:TLSv1.3:verified", "dane")


def test_a_resolver_elsewhere(site, posthouse):
    """Anybody on the way could say that signatures are good: such a configuration is none."""
    hub = site.host({"mode": "hub", "myhostname": "mta.vm.vm", "relay_domains": "example",
                     "resolver": "192.0.2.1", "listen": "smtp://127.0.0.1:0"},
                    {"ts": "a.example relay:[mx.example] tls=dane\n"
                           "b.example relay:[mx.example] tls=dane-only\n"})
    got = posthouse("check", config=hub.config, cwd=hub.directory)
    assert got.returncode == 1
    for line, level in ((1, "dane"), (2, "dane-only")):
        assert re.search(rf"ts:{line}: error: level {level} \(of .*ts:{line}\) needs a DNS server "
                         "on this host that checks DNSSEC: set resolver = 127.0.0.1", got.stdout)


def test_two_messages(site, certs):
    """The second one goes over the connection of the first, with the same verdict."""
    peer = site.peer(tls="starttls", certificate="hub")
    names = {"mx.signed.example": [HOST],
             f"_{peer.port}._tcp.mx.signed.example": [tlsa(certs, "hub", 3)]}
    dns = site.dns(names, signed=["signed.example"])
    hub = site.hub(f"* relay:[mx.signed.example]:{peer.port} tls=dane-only\n",
                   resolver=dns.address, workers=1)
    for recipient in ("a@example", "b@example"):
        message_id = relay(hub, SENDER, recipient)
        line = hub.delivered(recipient, message_id)
        assert ", tls=dane-only:TLSv1.3:verified" in line
        hub.removed(message_id)
    for recipient in ("a@example", "b@example"):
        (row,) = hub.ledger(recipient)
        assert (row["tls_verified"], row["tls_verified_by"]) == (1, "dane")


def test_explain_and_probe(site, certs):
    """What explain --probe finds is what delivery would do."""
    peer = site.peer(tls="starttls", certificate="hub")
    names = {"mx.signed.example": [HOST], "no.signed.example": [HOST],
             f"_{peer.port}._tcp.mx.signed.example": [tlsa(certs, "hub", 3)]}
    dns = site.dns(names, signed=["signed.example"])
    hub = site.hub(f"a.example relay:[mx.signed.example]:{peer.port} tls=dane\n"
                   f"b.example relay:[no.signed.example]:{peer.port} tls=dane-only\n",
                   relay_domains=".example", resolver=dns.address)
    got = hub.command("explain", "--probe", "u@a.example")
    assert got.returncode == 0, got.stderr
    assert b"PASS" in got.stdout and b"verified by dane" in got.stdout
    assert f"TLSA of _{peer.port}._tcp.mx.signed.example".encode() in got.stdout
    got = hub.command("explain", "--probe", "u@b.example")
    assert got.returncode == 1
    assert b"FAIL" in got.stdout and b"level dane-only: no.signed.example has no TLSA" in got.stdout


# ---- with MX: the records that name the host must be signed as well (RFC 7672 section 2.2.1) ----

SIGNED_MX = {"dom.signed.example": [(10, "mx.signed.example")]}
OPEN_MX = {"dom.open.example": [(10, "mx.signed.example")]}


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_signed_mx(site, certs, level):
    case = Case(site, level, {"mx.signed.example": [tlsa(certs, "expired", 3)]},
                {"certificate": "expired"}, host="dom.signed.example", aliases=SIGNED_MX, mx=True)
    case.assert_sent(f"{level}:TLSv1.3:verified", "dane")
    assert f"relay=mx.signed.example[{HOST}]:{case.peer.port}, " in case.line


def test_open_mx(site, certs):
    """Whoever has changed it on the way could have named a host of his own, signed as it is."""
    record = {"mx.signed.example": [tlsa(certs, "expired", 3)]}  # of another certificate
    case = Case(site, "dane", record, host="dom.open.example", aliases=OPEN_MX, mx=True)
    assert ", tls=dane:TLSv1.3:" in case.line and ", status=sent (" in case.line
    assert not any(name.startswith("_") for name in case.dns.asked)
    case = Case(site, "dane", record, {"tls": "none"}, host="dom.open.example", aliases=OPEN_MX,
                mx=True)
    case.assert_sent("dane:clear", "")
    case = Case(site, "dane-only", record, host="dom.open.example", aliases=OPEN_MX, mx=True)
    case.assert_waits("the MX records that name mx.signed.example are not signed")


def test_no_mx_that_is_signed(site, certs):
    """That there is none is signed, too: the domain's own records count."""
    record = {"mx.signed.example": [tlsa(certs, "hub", 3)]}
    case = Case(site, "dane-only", record, mx=True)
    case.assert_sent("dane-only:TLSv1.3:verified", "dane")
    case = Case(site, "dane-only", {"mx.open.example": [tlsa(certs, "hub", 3)]},
                host="mx.open.example", mx=True)
    case.assert_waits("not signed")


@pytest.mark.parametrize("domain, is_for_us", [("dom.signed.example", False), ("hub.example", True)])
def test_ca_of_dns_and_mx(site, certs, domain, is_for_us):
    """The certificate may name the domain instead of its exchanger (RFC 7672 section 3.2.2)."""
    (certs / "sub-chain.key").write_text((certs / "sub.key").read_text())
    case = Case(site, "dane", {"mx.signed.example": [tlsa(certs, "sub-ca", 2, 2)]},
                {"certificate": "sub-chain"}, host=domain,
                aliases={domain: [(10, "mx.signed.example")]}, mx=True)
    if is_for_us:
        case.assert_sent("dane:TLSv1.3:verified", "dane")
    else:
        case.assert_waits("certificate is for none of the names mx.signed.example, dom.signed")
