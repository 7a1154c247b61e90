"""The server's side of TLS: levels, what is never negotiated, and which certificate is shown."""

import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from clients import HOST, connect, tls_context
from server import PATIENCE_S


def chain(certs, *names):
    """The text of a chain file: a key and what goes with it."""
    return "".join((certs / f"{name}{kind}").read_text()
                   for name in names for kind in (".key", ".pem"))


def s_client(port, *arguments):
    """What openssl says of a handshake with implicit TLS."""
    got = subprocess.run(["openssl", "s_client", "-connect", f"{HOST}:{port}", *arguments],
                         input="QUIT\n", encoding="utf-8", check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    return got.stdout


def negotiated(output):
    """"TLSv1.3 TLS_CHACHA20_POLY1305_SHA256", or None."""
    match = re.search(r"^New, (TLS\S+), Cipher is ([A-Z]\S+)$", output, re.M)
    return match and f"{match.group(1)} {match.group(2)}"


# ---- levels ----

@pytest.mark.parametrize("level", ("none", "may", "encrypt"))
def test_levels(site, certs, level):
    hub = site.hub("* error:5.0.0 no\n", smtpd_tls_security_level=level)
    with connect(certs, hub.port(), "none") as client:
        assert client.has_extn("starttls") == (level != "none")
        code, reply = client.mail("a@b.example")
        if level == "encrypt":
            assert (code, reply[:6]) == (530, b"5.7.0 ")
            for verb in ("RCPT TO:<a@vm1.vm>", "DATA", "VRFY a"):
                code, reply = client.docmd(verb)
                assert (code, reply[:6]) == (530, b"5.7.0 "), verb
            for verb in ("NOOP", "EHLO x"):
                assert client.docmd(verb)[0] == 250
        else:
            assert code == 250
        assert client.docmd("QUIT")[0] == 221
    with connect(certs, hub.port("smtps"), "implicit") as client:
        assert not client.has_extn("starttls")
        assert client.mail("a@b.example")[0] == 250
    if level == "none":
        with connect(certs, hub.port(), "none") as client:
            assert client.docmd("STARTTLS")[0] in (502, 503, 454)
    else:
        with connect(certs, hub.port()) as client:
            assert client.mail("a@b.example")[0] == 250


# ---- what is never negotiated ----

WEAK = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"

REFUSED = {
    "TLS 1.0": ("-tls1", "-cipher", WEAK),
    "TLS 1.1": ("-tls1_1", "-cipher", WEAK),
    "no encryption": ("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"),
    "no authentication": ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
    "CBC": ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"),
    "CBC with SHA-256": ("-tls1_2", "-cipher",
                         "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384"),
    "CCM": ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES128-CCM8"),
    "RSA key exchange": ("-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA"),
    "finite-field DH": ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"),
    "PSK": ("-tls1_2", "-cipher", "PSK", "-psk", "00112233"),
    "signatures with SHA-1": ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs",
                              "RSA+SHA1:ECDSA+SHA1"),
    "finite-field DH of 1.3": ("-tls1_3", "-groups", "ffdhe2048"),
    "other groups": ("-tls1_3", "-groups", "P-521"),
    "other groups, 1.2": ("-tls1_2", "-groups", "X448:P-521"),
    "ciphers of 1.3 with a short tag": ("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"),
}

TAKEN = {
    # The server's order counts, not the client's.
    ("-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"):
        "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
    ("-ciphersuites", "TLS_AES_256_GCM_SHA384"): "TLSv1.3 TLS_AES_256_GCM_SHA384",
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"):
        "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305",
    ("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"): "TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384",
    ("-groups", "X25519"): "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
    ("-groups", "P-256"): "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
    ("-groups", "P-384"): "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
    ("-groups", "P-521:P-384"): "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
}


def test_what_is_negotiated(site, certs):
    hub = site.host({
        "mode": "hub", "myhostname": "mta.vm.vm", "relay_domains": "vm1.vm",
        "listen": f"smtps://127.0.0.1:{site.port()}", "smtpd_tls_cert_file": "",
        "smtpd_tls_key_file": "", "smtpd_tls_chain_files": "ec.pem rsa.pem",
        "smtp_tls_cert_file": f"{certs}/edge.pem", "smtp_tls_key_file": f"{certs}/edge.key",
    }, {"ts": "", "ec.pem": chain(certs, "hub"), "rsa.pem": chain(certs, "hub-rsa")}).start()
    for arguments, result in TAKEN.items():
        assert negotiated(s_client(hub.port("smtps"), *arguments)) == result, arguments
    for label, arguments in REFUSED.items():
        output = s_client(hub.port("smtps"), *arguments)
        assert negotiated(output) is None, f"{label}\n{output}"
        assert "Error with command" not in output and "usage" not in output.lower(), output
    assert "Compression: NONE" in s_client(hub.port("smtps"), "-tls1_2", "-comp")
    assert "Secure Renegotiation IS supported" in s_client(hub.port("smtps"), "-tls1_2")


# ---- which certificate ----

def shown(hub, name=None, rsa_only=False, service="smtps"):
    """The certificate that a client gets, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if rsa_only:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    if service == "smtps":
        raw = socket.create_connection((HOST, hub.port("smtps")), timeout=PATIENCE_S)
        with context.wrap_socket(raw, server_hostname=name) as stream:
            return stream.getpeercert(True)
    with smtplib.SMTP(HOST, hub.port(), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        client._host = name  # what smtplib gives as the server's name
        client.starttls(context=context)
        return client.sock.getpeercert(True)


def der(certs, name):
    return ssl.PEM_cert_to_DER_cert((certs / f"{name}.pem").read_text())


def hub_with_names(site, certs, sni, **options):
    files = {name + "-chain.pem": chain(certs, name)
             for name in ("hub", "hub-rsa", "edge", "wild", "wrong")}
    return site.hub("* error:5.0.0 no\n", files={**files, "sni": sni}, **{
        "smtpd_tls_cert_file": "", "smtpd_tls_key_file": "",
        "smtpd_tls_chain_files": "hub-chain.pem, hub-rsa-chain.pem",
        "smtp_tls_cert_file": f"{certs}/edge.pem", "smtp_tls_key_file": f"{certs}/edge.key",
        "tls_server_sni_maps": "hash:sni", **options})


def test_names(site, certs):
    hub = hub_with_names(site, certs, """\
edge.example     edge-chain.pem
.example         wild-chain.pem, hub-rsa-chain.pem
""")
    for service in ("smtps", "smtp"):
        for name, any_key, rsa in (("hub.test", "hub", "hub-rsa"),
                                   ("edge.example", "edge", None),
                                   ("mail.example", "wild", "hub-rsa"),
                                   ("deep.mail.example", "wild", "hub-rsa")):
            assert shown(hub, name, service=service) == der(certs, any_key), name
            if rsa:
                assert shown(hub, name, True, service) == der(certs, rsa), name
    assert shown(hub) == der(certs, "hub")
    hub.wait_for(r"Anonymous TLS connection established from unknown\[127\.0\.0\.1\] "
                 r"to edge\.example: TLSv1\.3 with cipher")
    # One that can't be made use of as the only one is shown all the same: the client decides.
    with pytest.raises(ssl.SSLError):
        shown(hub, "edge.example", True)


def test_map_and_chains_that_change(site, certs):
    """They are looked at like all certificates; what can't be used changes nothing."""
    hub = hub_with_names(site, certs, "edge.example edge-chain.pem\n")
    mark = hub.server.mark()
    hub.write("sni", "edge.example wrong-chain.pem\nother.example wrong-chain.pem\n")
    hub.wait_for("tls_server_sni_maps: .*sni has changed and was taken up", mark)
    assert shown(hub, "edge.example") == der(certs, "wrong")
    assert shown(hub, "other.example") == der(certs, "wrong")

    mark = hub.server.mark()
    hub.write("wrong-chain.pem", chain(certs, "edge"))
    hub.wait_for("tls_server_sni_maps: .*wrong-chain.pem has changed and was taken up", mark)
    assert shown(hub, "other.example") == der(certs, "edge")

    mark = hub.server.mark()
    hub.write("sni", "edge.example missing.pem\n")
    hub.wait_for("tls_server_sni_maps: .*missing.pem: No such file .*stays in use", mark)
    assert shown(hub, "edge.example") == der(certs, "edge")

    # And by a reload.
    hub.write("sni", "edge.example hub-rsa-chain.pem\n")
    hub.change(smtpd_tls_chain_files="hub-rsa-chain.pem")
    assert hub.command("reload").returncode == 0
    assert shown(hub, "edge.example") == shown(hub) == der(certs, "hub-rsa")


# ---- ALPN ----

def test_alpn(site, certs):
    hub = site.hub("* error:5.0.0 no\n")
    for offered, chosen in ((["smtp"], "smtp"), (["http/1.1", "smtp"], "smtp"), ([], None)):
        context = tls_context(certs)
        if offered:
            context.set_alpn_protocols(offered)
        raw = socket.create_connection((HOST, hub.port("smtps")), timeout=PATIENCE_S)
        with context.wrap_socket(raw, server_hostname=HOST) as stream:
            assert stream.selected_alpn_protocol() == chosen
            assert stream.recv(4) == b"220 "
    context = tls_context(certs)
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = socket.create_connection((HOST, hub.port("smtps")), timeout=PATIENCE_S)
    with raw, pytest.raises(ssl.SSLError, match="no application protocol"):
        context.wrap_socket(raw, server_hostname=HOST)
    hub.wait_for(r"SSL_accept error from unknown\[127\.0\.0\.1\]: the client wants another "
                 r"application protocol than smtp \(ALPN\)")
