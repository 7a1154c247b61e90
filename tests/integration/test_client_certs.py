"""Certificates of clients: who may relay by them, and who may not, or not any more."""

import hashlib
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from clients import HOST, connect, submit, text, tls_context, transact
from server import PATIENCE_S

AWAY = "a@elsewhere.example"


def der_of(certs, name):
    return ssl.PEM_cert_to_DER_cert((certs / f"{name}.pem").read_text())


def fingerprint(certs, name):
    return hashlib.sha256(der_of(certs, name)).hexdigest()


def key_fingerprint(certs, name):
    key = subprocess.run(["openssl", "pkey", "-in", certs / f"{name}.key", "-pubout", "-outform",
                          "DER"], check=True, stdout=subprocess.PIPE).stdout
    return hashlib.sha256(key).hexdigest()


def with_colons(digits):
    return ":".join(digits[i:i + 2] for i in range(0, len(digits), 2)).upper()


def asking_hub(site, listed, files=None, **options):
    """A hub that forwards for nobody but those that are listed, and the peer behind it."""
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", files=files, **{
        "relay_domains": "vm9.vm", "smtpd_tls_ask_ccert": "yes", "relay_clientcerts": listed,
        **options})
    return hub, peer


def may_relay(certs, hub, certificate, service="smtps"):
    tls = "implicit" if service == "smtps" else "starttls"
    with connect(certs, hub.port(service), tls, certificate=certificate) as client:
        assert client.mail("anybody@client.example")[0] == 250
        code, reply = client.rcpt(AWAY)
        assert code in (250, 554), reply
        if code == 554:
            assert reply == f"5.7.1 <{AWAY}>: Relay access denied".encode()
        return code == 250


# ---- an edge and its hub ----

KINDS = {
    "certificate": lambda certs: "sha256:" + fingerprint(certs, "edge"),
    "bare": lambda certs: with_colons(fingerprint(certs, "edge")),
    "key": lambda certs: "pubkey-sha256:" + with_colons(key_fingerprint(certs, "edge")),
    "name": lambda certs: "other.example, EDGE.example",
    "all": lambda certs: "all",
    "map": lambda certs: "hash:list",
}


@pytest.mark.parametrize("kind", KINDS)
def test_edge_proves_itself_to_its_hub(site, certs, kind):
    listed = KINDS[kind](certs)
    hub, peer = asking_hub(site, listed, {
        "list": f"{with_colons(fingerprint(certs, 'edge'))} edge\n"})
    edge = site.edge("vm1.vm", f"* relay:{HOST}:{hub.port()} tls=verify\n",
                     smtp_tls_cert_file=f"{certs}/edge.pem", smtp_tls_key_file=f"{certs}/edge.key")
    line = edge.delivered(AWAY, submit(certs, edge, "alice@vm1.vm", AWAY))
    hub.delivered(AWAY, re.search(r"queued as (\w+)", line).group(1))
    hub.stop()
    (message,) = peer.messages
    assert ('\t(Client CN "edge.example", Issuer "ca.example" (verified OK))\r\n'
            in message.body.decode())
    log = hub.server.log()
    assert re.search(r"Trusted TLS connection established from unknown\[127", log)
    by = {"certificate": "sha256:", "bare": "sha256:", "key": "pubkey-sha256:",
          "name": "EDGE.example", "all": "all", "map": "list:1"}[kind]
    assert re.search(r"unknown\[127\.0\.0\.1\]: Trusted: subject_CN=edge\.example, "
                     rf"issuer=ca\.example, fingerprint=sha256:{fingerprint(certs, 'edge')}, "
                     rf"pkey_fingerprint=pubkey-sha256:{key_fingerprint(certs, 'edge')}, "
                     rf"relay=yes \({by}", log)
    database = hub.database()
    assert database.execute("select cert_name, cert_fingerprint, cert_verified from q_ledger"
                            " where kind = 0").fetchall() == [
        ("edge.example", "sha256:" + fingerprint(certs, "edge"), 1)]
    database.close()


def test_edge_that_is_not_listed(site, certs):
    hub, peer = asking_hub(site, "sha256:" + "0" * 64)
    edge = site.edge("vm1.vm", f"* relay:{HOST}:{hub.port()} tls=verify\n",
                     smtp_tls_cert_file=f"{certs}/edge.pem", smtp_tls_key_file=f"{certs}/edge.key")
    message_id = submit(certs, edge, "alice@vm1.vm", AWAY)
    line = edge.delivered(AWAY, message_id, "bounced")
    assert "Relay access denied" in line
    hub.wait_for(r"Trusted: subject_CN=edge\.example, .*, relay=no \(not in relay_clientcerts\)")
    assert not peer.messages


def test_certificate_on_an_edge(site, certs):
    """It stands for a trusted network: also for senders of the edge's own domains."""
    peer = site.peer()
    edge = site.edge("vm1.vm", f"* relay:{HOST}:{peer.port} tls=none\n",
                     smtpd_tls_ask_ccert="yes", relay_clientcerts="edge.example")
    with connect(certs, edge.port("smtp"), certificate="edge") as client:
        transact(client, "alice@vm1.vm", AWAY, text(AWAY))
    for certificate in ("hub", None):
        with connect(certs, edge.port("smtp"), certificate=certificate) as client:
            assert client.mail("alice@vm1.vm")[0] == 553
            assert client.mail("anybody@client.example")[0] == 250
            assert client.rcpt(AWAY)[0] == 554
    # A submission port wants a login all the same.
    with connect(certs, edge.port("submission"), certificate="edge") as client:
        assert client.mail("alice@vm1.vm")[0] == 530


# ---- whose certificate counts ----

# certificate: whether it may, by its fingerprint and by a CA of ours, and why not
CERTIFICATES = {
    "edge": (True, True, ""),
    "client-only": (True, True, ""),
    "hub-rsa": (True, True, ""),
    "self-signed": (True, False, "not in relay_clientcerts, and self-signed certificate"),
    "stranger": (True, False, r"not in relay_clientcerts, and unknown CA \(issuer CN=Other CA\)"),
    "evil": (True, False, "not in relay_clientcerts, and signature of the certificate is wrong"),
    "expired": (False, False, "certificate has expired on 2024-01-01"),
    "future": (False, False, "certificate is not valid before 2049-01-01"),
    "server-only": (False, False, "certificate may not be used by a client"),
}


def test_whose_certificate_counts(site, certs):
    names = list(CERTIFICATES)
    by_fingerprint, _ = asking_hub(site, "hash:list", {
        "list": "".join(f"{fingerprint(certs, name)} x\n" for name in names)})
    by_ca, _ = asking_hub(site, "all")
    for name, (pinned, trusted, why) in CERTIFICATES.items():
        for service in ("smtp", "smtps"):
            assert may_relay(certs, by_fingerprint, name, service) == pinned, name
            assert may_relay(certs, by_ca, name, service) == trusted, name
        if why:
            by_ca.wait_for(rf"fingerprint=sha256:{fingerprint(certs, name)}, .*, "
                           rf"relay=no \({why}")
    for hub in (by_fingerprint, by_ca):
        assert not may_relay(certs, hub, None)
        with smtplib.SMTP(HOST, hub.port(), "client.example", timeout=PATIENCE_S) as client:
            client.ehlo()
            assert client.mail("a@b.example")[0] == 250
            assert client.rcpt(AWAY)[0] == 554


def test_who_has_none_is_told_of(site, certs):
    hub, peer = asking_hub(site, "all", relay_domains="example")
    with connect(certs, hub.port()) as client:
        transact(client, "a@client.example", "a@example", text("a@example"))
    hub.delivered("a@example")
    hub.stop()
    (message,) = peer.messages
    assert "\t(Client did not present a certificate)\r\n" in message.body.decode()
    assert "Anonymous TLS connection established" in hub.server.log()


def test_names_that_would_break_a_header(site, certs):
    hub, peer = asking_hub(site, "all")
    with connect(certs, hub.port(), certificate="odd") as client:
        transact(client, "a@client.example", AWAY, text(AWAY))
    (message,) = peer.wait_for_messages(1)
    received = message.body.partition(b"\r\n\tby ")[0].decode("ascii")
    assert re.search(r'\t\(Client CN "Gr\?+n \?\?x\?\?", Issuer "ca\.example" \(verified OK\)\)$',
                     received), received
    hub.wait_for(r"subject_CN=Gr\?+n \?\?x\?\?, issuer=ca\.example, ")


# ---- not any more ----

class Resumer:
    """A client of smtps that takes up its TLS session again."""

    def __init__(self, certs, hub, certificate):
        self.context = tls_context(certs, certificate)
        self.hub, self.session = hub, None

    def relays(self, resumed):
        raw = socket.create_connection((HOST, self.hub.port("smtps")), timeout=PATIENCE_S)
        with self.context.wrap_socket(raw, server_hostname=HOST, session=self.session) as stream:
            lines = stream.makefile("rb")
            assert lines.readline().startswith(b"220 ")
            assert stream.session_reused == resumed
            stream.sendall(f"HELO client\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{AWAY}>\r\n"
                           "QUIT\r\n".encode())
            replies = [lines.readline() for _ in range(4)]
            self.session = stream.session
        assert [reply[:1] for reply in replies[:2]] == [b"2", b"2"]
        return replies[2].startswith(b"250")


@pytest.mark.parametrize("version", ("TLSv1_2", "TLSv1_3"))
def test_right_is_looked_up_in_resumed_sessions(site, certs, version):
    line = fingerprint(certs, "edge") + " edge\n"
    hub, _ = asking_hub(site, "hash:list", {"list": line})
    client = Resumer(certs, hub, "edge")
    client.context.maximum_version = getattr(ssl.TLSVersion, version)
    assert client.relays(resumed=False)
    assert client.relays(resumed=True)

    # Off the list, which is taken up by itself; and on it again.
    for text_of_list, relays in (("# nobody\n", False), (line, True)):
        mark = hub.server.mark()
        hub.write("list", text_of_list)
        hub.wait_for("relay_clientcerts: hash:list has changed and was taken up", mark)
        assert client.relays(resumed=True) == relays

    # By a reload, too, after which sessions still go on.
    hub.change(relay_clientcerts="hub.example")
    assert hub.command("reload").returncode == 0
    assert not client.relays(resumed=True)
    hub.change(relay_clientcerts="edge.example")
    assert hub.command("reload").returncode == 0
    assert client.relays(resumed=True)

    # The CA goes: nothing is believed that was found out by it.
    hub.change(relay_clientcerts="all", smtpd_tls_CAfile=f"{certs}/other-ca.pem",
               smtp_tls_CAfile=f"{certs}/ca.pem")
    assert hub.command("reload").returncode == 0
    assert not client.relays(resumed=False)


# ---- required ----

def refused(certs, hub, certificate, service):
    tls = "implicit" if service == "smtps" else "starttls"
    try:
        with connect(certs, hub.port(service), tls, certificate=certificate) as client:
            return client.mail("a@b.example")[0] != 250
    except (OSError, smtplib.SMTPException):
        return True


def test_required(site, certs):
    hub, _ = asking_hub(site, "", smtpd_tls_req_ccert="yes", smtpd_tls_security_level="encrypt")
    for service in ("smtp", "smtps"):
        assert not refused(certs, hub, "edge", service)
        assert not refused(certs, hub, "client-only", service)
        for certificate, why in ((None, "the peer sent no certificate"),
                                 ("stranger", r"unknown CA \(issuer CN=Other CA\)"),
                                 ("expired", "certificate has expired on 2024-01-01"),
                                 ("server-only", "certificate may not be used by a client")):
            mark = hub.server.mark()
            assert refused(certs, hub, certificate, service), certificate
            hub.wait_for(rf"SSL_accept error from unknown\[127\.0\.0\.1\]: {why}", mark)


def test_required_where_tls_is(site, certs):
    """As in Postfix: where TLS is optional, so is the certificate."""
    hub, _ = asking_hub(site, "", smtpd_tls_req_ccert="yes", smtpd_tls_security_level="may")
    assert not refused(certs, hub, None, "smtp")
    assert refused(certs, hub, None, "smtps")
    assert not refused(certs, hub, "edge", "smtps")
