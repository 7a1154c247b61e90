"""posthouse certs: what it makes must please openssl, at its strictest, and our own server."""

import hashlib
import json
import ssl
import stat
import subprocess

import pytest


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=False, encoding="utf-8",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)


def verified(ca, *arguments):
    got = openssl("verify", "-x509_strict", "-CAfile", ca, *arguments)
    assert got.returncode == 0, got.stdout


@pytest.fixture
def certify(posthouse):
    """Run `certs ...`, which succeeds; returns what it prints."""

    def run(*arguments):
        got = posthouse("certs", *arguments)
        assert got.returncode == 0, got.stderr
        return got.stdout

    return run


@pytest.fixture
def pki(tmp_path, certify):
    """A directory with a CA of ours."""
    certify("ca", "--out", tmp_path / "pki")
    return tmp_path / "pki"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# ---- what is made ----

def test_strict_chain(certify, pki):
    out = certify("issue", "--ca", pki, "--out", pki, "hub.example", "*.vm.vm", "192.0.2.1", "::1")
    assert out.startswith(f"{pki}/hub.example.crt: hub.example, *.vm.vm, 192.0.2.1, ::1; until ")
    ca, leaf = pki / "ca.crt", pki / "hub.example.crt"
    verified(ca, ca)
    for purpose in "sslserver", "sslclient":
        verified(ca, "-purpose", purpose, leaf)
    for name in "hub.example", "mta1.vm.vm":
        verified(ca, "-verify_hostname", name, leaf)
    for address in "192.0.2.1", "::1":
        verified(ca, "-verify_ip", address, leaf)
    assert openssl("verify", "-CAfile", ca, "-verify_hostname", "other.example",
                   leaf).returncode != 0


def test_extensions(certify, pki):
    """Those that strict readers other than openssl ask for, too."""
    certify("issue", "--ca", pki, "--out", pki, "hub.example")
    ca = openssl("x509", "-noout", "-text", "-in", pki / "ca.crt").stdout
    leaf = openssl("x509", "-noout", "-text", "-in", pki / "hub.example.crt").stdout
    assert "Basic Constraints: critical\n                CA:TRUE, pathlen:0" in ca
    assert "Key Usage: critical\n                Certificate Sign, CRL Sign" in ca
    assert "Basic Constraints: critical\n                CA:FALSE" in leaf
    assert "Key Usage: critical\n                Digital Signature" in leaf
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in leaf
    for text in ca, leaf:
        assert "Subject Key Identifier" in text and "Authority Key Identifier" in text


def test_foreign_ca(certify, certs, tmp_path):
    """An intermediate CA that openssl has made; it is sent along."""
    certify("issue", "--ca", certs / "sub-ca.pem", "--ca-key", certs / "sub-ca.key",
            "--out", tmp_path, "edge.example")
    chain = tmp_path / "edge.example.crt"
    assert chain.read_text().count("BEGIN CERTIFICATE") == 2
    verified(certs / "ca.pem", "-untrusted", certs / "sub-ca.pem", chain)


def test_rsa_ca(certify, tmp_path):
    got = openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=RSA",
                  "-addext", "keyUsage=critical,keyCertSign", "-keyout", tmp_path / "ca.key",
                  "-out", tmp_path / "ca.crt")
    assert got.returncode == 0, got.stdout
    certify("issue", "--ca", tmp_path, "--days", "5", "--out", tmp_path, "hub.example")
    verified(tmp_path / "ca.crt", tmp_path / "hub.example.crt")


def test_no_longer_than_the_ca(posthouse, certify, tmp_path):
    certify("ca", "--out", tmp_path, "--days", "7")
    got = posthouse("certs", "issue", "--ca", tmp_path, "--out", tmp_path, "hub.example")
    assert got.returncode == 0 and "cut to the lifetime of the CA" in got.stderr
    ends = {openssl("x509", "-noout", "-enddate", "-in", tmp_path / name).stdout
            for name in ("ca.crt", "hub.example.crt")}
    assert len(ends) == 1


# ---- files ----

def test_modes(certify, pki):
    certify("issue", "--ca", pki, "--out", pki, "hub.example")
    for name in "ca", "hub.example":
        assert mode(pki / f"{name}.key") == 0o600
        assert mode(pki / f"{name}.crt") == 0o644


def test_nothing_is_overwritten(posthouse, certify, pki):
    certify("issue", "--ca", pki, "--out", pki, "hub.example")
    before = {path: path.read_bytes() for path in pki.iterdir()}
    for arguments in (("ca", "--out", pki), ("issue", "--ca", pki, "--out", pki, "hub.example")):
        got = posthouse("certs", *arguments)
        assert got.returncode == 1 and "exists already; --force replaces it" in got.stderr
    got = posthouse("certs", "issue", "--ca", pki, "--out", pki, "--force", "ca")
    assert got.returncode == 64 and "the CA's own" in got.stderr
    assert {path: path.read_bytes() for path in pki.iterdir()} == before
    certify("issue", "--ca", pki, "--out", pki, "--force", "hub.example")
    assert (pki / "hub.example.key").read_bytes() != before[pki / "hub.example.key"]


def test_renewal_keeps_the_key(certify, pki):
    certify("issue", "--ca", pki, "--out", pki, "hub.example")
    key, cert = pki / "hub.example.key", pki / "hub.example.crt"
    before = key.read_bytes(), cert.read_bytes()
    key.chmod(0o640)
    certify("issue", "--ca", pki, "--out", pki, "--renew", "hub.example", "192.0.2.1")
    assert key.read_bytes() == before[0] and mode(key) == 0o640
    assert cert.read_bytes() != before[1]
    verified(pki / "ca.crt", "-verify_ip", "192.0.2.1", cert)


def test_renewal_keeps_the_names(posthouse, certify, pki):
    names = ["mta1", "mta1.vm1.vm", "*.vm1.vm", "127.0.77.2", "2001:db8::1"]
    renew = ["issue", "--ca", pki, "--out", pki, "--renew"]
    cert = pki / "mta1.crt"

    def of_the_certificate():
        return shown(posthouse, cert)["certificates"][0]["names"]

    certify("issue", "--ca", pki, "--out", pki, *names)
    before = cert.read_bytes()
    assert certify(*renew, "mta1").startswith(f"{cert}: {', '.join(names)}; until ")
    assert cert.read_bytes() != before and of_the_certificate() == names
    certify(*renew, "--force", "mta1")  # to replace files is no wish to lose names
    assert of_the_certificate() == names

    before = cert.read_bytes()
    got = posthouse("certs", *renew, "mta1", "other.name", "*.VM1.vm", "2001:DB8:0::1")
    assert got.returncode == 1 and cert.read_bytes() == before
    assert f"{cert}: would lose mta1.vm1.vm, 127.0.77.2; give all names" in got.stderr
    certify(*renew, *names, "other.name")
    assert of_the_certificate() == [*names, "other.name"]
    got = posthouse("certs", *renew, "--force", "mta1", "mta1.vm1.vm")
    assert got.returncode == 0
    assert got.stderr == f"posthouse: {cert}: loses *.vm1.vm, 127.0.77.2, 2001:db8::1, other.name\n"
    assert of_the_certificate() == ["mta1", "mta1.vm1.vm"]


def test_renewal_of_what_is_damaged_or_gone(posthouse, certify, pki):
    renew = ["issue", "--ca", pki, "--out", pki, "--renew", "mta1"]
    cert, key = pki / "mta1.crt", pki / "mta1.key"
    certify("issue", "--ca", pki, "--out", pki, "mta1", "mta1.vm1.vm")
    cert.write_text("damaged")
    got = posthouse("certs", *renew)
    assert got.returncode == 78 and cert.read_text() == "damaged"
    assert got.stderr.startswith(f"posthouse: {cert}: no certificate")
    assert "--force takes those given" in got.stderr
    for damage in (lambda: None, cert.unlink):
        damage()
        got = posthouse("certs", *renew, "--force")
        assert got.returncode == 0 and "names that are given, and no others" in got.stderr
        assert shown(posthouse, cert)["certificates"][0]["names"] == ["mta1"]
    before = cert.read_bytes()
    key.unlink()
    got = posthouse("certs", *renew)
    assert got.returncode == 74 and cert.read_bytes() == before and not key.exists()
    assert got.stderr.startswith(f"posthouse: {key}: there is no such key to renew")
    got = posthouse("certs", "issue", "--ca", pki, "--out", pki / "none", "--renew", "mta1")
    assert got.returncode == 74 and not (pki / "none").exists()


def test_renewal_of_a_common_name(certify, posthouse, pki):
    """A certificate of another CA, without subjectAltName."""
    for common, names in (("mta1.vm1.vm", ["mta1", "mta1.vm1.vm"]), ("Mail host", ["mta1"])):
        got = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-subj", f"/CN={common}", "-keyout", pki / "mta1.key",
                      "-out", pki / "mta1.crt")
        assert got.returncode == 0, got.stdout
        certify("issue", "--ca", pki, "--out", pki, "--renew", "mta1")
        assert shown(posthouse, pki / "mta1.crt")["certificates"][0]["names"] == names


@pytest.mark.parametrize("arguments, code, text", [
    (("ca",), 64, "--out DIR is needed"),
    (("ca", "--out", "x", "--days", "0"), 64, "expected a number of days"),
    (("ca", "--out", "x", "--name", "a\nb"), 64, "expected the name of a CA"),
    (("issue", "hub.example"), 64, "--ca DIR is needed"),
    (("issue", "--ca", "none", "hub.example"), 74, "none: No such file"),
    (("issue", "--ca", "none", "b\u00fccher.example"), 64, "begins with xn--"),
    (("issue", "--ca", "none", "hub.example/../x"), 64, "expected a DNS name"),
])
def test_mistakes(posthouse, tmp_path, arguments, code, text):
    got = posthouse("certs", *arguments, cwd=tmp_path)
    assert got.returncode == code and text in got.stderr, got.stderr
    assert not list(tmp_path.iterdir())


# ---- in use ----

def test_in_use(certify, pki, site):
    certify("issue", "--ca", pki, "--out", pki, "hub.example", "127.0.0.1")
    hub = site.hub(smtpd_tls_cert_file=pki / "hub.example.crt",
                   smtpd_tls_key_file=pki / "hub.example.key", smtpd_tls_CAfile=pki / "ca.crt")
    check = ["-CAfile", pki / "ca.crt", "-verify_return_error", "-x509_strict"]
    for more in (["-verify_ip", "127.0.0.1", "-connect", f"127.0.0.1:{hub.port('smtps')}"],
                 ["-verify_hostname", "hub.example", "-starttls", "smtp", "-connect",
                  f"127.0.0.1:{hub.port('smtp')}"]):
        got = openssl("s_client", *check, *more)
        assert got.returncode == 0 and "Verify return code: 0 (ok)" in got.stdout, got.stdout


# ---- certs show ----

def shown(posthouse, *arguments, code=0):
    """The object that `certs show --json` prints for its only argument."""
    got = posthouse("certs", "show", "--json", *arguments)
    assert got.returncode == code, got.stdout + got.stderr
    assert got.stdout.count("\n") == 1
    return json.loads(got.stdout)


def fingerprints(path):
    """By openssl, in the form that fingerprint= takes."""
    cert = ssl.PEM_cert_to_DER_cert(path.read_text()[path.read_text().index("-----BEGIN"):])
    key = subprocess.run(["openssl", "x509", "-noout", "-pubkey", "-in", path], check=True,
                         stdout=subprocess.PIPE).stdout
    key = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], check=True, input=key,
                         stdout=subprocess.PIPE).stdout
    return ("sha256:" + hashlib.sha256(cert).hexdigest(),
            "pubkey-sha256:" + hashlib.sha256(key).hexdigest())


def test_show_file(posthouse, certs):
    path = certs / "hub.pem"
    found = shown(posthouse, "--ca", certs / "ca.pem", "--key", certs / "hub.key", path)
    assert found["ok"] and found["problems"] == [] and found["source"] == str(path)
    leaf, = found["certificates"]
    assert leaf["names"] == ["hub.example", "127.0.0.1", "::1"]
    assert (leaf["fingerprint"], leaf["pubkey_fingerprint"]) == fingerprints(path)
    assert leaf["key"] == "EC P-256" and leaf["not_after"].startswith("2049-01-01T00:00:00")
    text = posthouse("certs", "show", path)
    assert text.returncode == 0 and leaf["fingerprint"] in text.stdout
    assert f"{leaf['days_left']} days left" in text.stdout


@pytest.mark.parametrize("arguments, problem", [
    (["expired.pem"], "certificate 1 has expired on 2024-01-01"),
    (["future.pem"], "certificate 1 is not valid before 2049-01-01"),
    (["--key", "ca.key", "hub.pem"], "the private key does not belong to the certificate"),
    (["--name", "other.example", "hub.pem"], "certificate is not for the name other.example"),
    (["--ca", "other-ca.pem", "hub.pem"], "signed by an unknown CA (issuer CN=ca.example)"),
    (["--ca", "old-ca.pem", "of-old-ca.pem"], "the CA has expired (CN=Old CA)"),
    (["--ca", "ca.pem", "evil.pem"], "signature of certificate 1 (CN=hub.example) is wrong"),
])
def test_show_problems(posthouse, certs, arguments, problem):
    arguments = [certs / each if "." in each and each.endswith((".pem", ".key")) else each
                 for each in arguments]
    found = shown(posthouse, *arguments, code=1)
    assert not found["ok"] and problem in found["problems"][0]
    text = posthouse("certs", "show", *arguments)
    assert text.returncode == 1 and f"problem: {found['problems'][0]}\n" in text.stdout


def test_show_server(posthouse, site, certs):
    hub = site.hub()
    want = fingerprints(certs / "hub.pem")[0]
    for arguments in ([f"127.0.0.1:{hub.port('smtp')}"],
                      ["--implicit", f"127.0.0.1:{hub.port('smtps')}"]):
        found = shown(posthouse, "--ca", certs / "ca.pem", *arguments)
        assert found["ok"] and found["certificates"][0]["fingerprint"] == want
        assert found["protocol"] == "TLSv1.3" and found["peer"].startswith("127.0.0.1:")
    found = shown(posthouse, "--name", "other.example", f"127.0.0.1:{hub.port('smtp')}", code=1)
    assert "not for the name other.example" in found["problems"][0]
    found = shown(posthouse, f"127.0.0.1:{site.port()}", code=1)
    assert "refused" in found["problems"][0].lower() and found["certificates"] == []


def test_show_server_without_tls(posthouse, site):
    peer = site.peer(tls="none")
    found = shown(posthouse, f"127.0.0.1:{peer.port}", code=1)
    assert "TLS" in found["problems"][0]


@pytest.mark.parametrize("arguments, code, text", [
    (["none.pem"], 74, "none.pem: No such file or directory"),
    (["mta1:99999"], 64, "mta1:99999: there is no such file, and it is not HOST:PORT"),
    (["mta1:smpt"], 64, "with a port from 1 to 65535"),
    (["::1:25"], 64, "[IPv6 ADDRESS]:PORT"),
    ([":25"], 64, "HOST:PORT"),
    (["pki/none:25"], 74, "pki/none:25: No such file or directory"),
    (["--starttls", "--implicit", "x"], 64, "not both"),
    (["--name", "a b", "127.0.0.1:1"], 64, "--name a b: expected a DNS name"),
    (["--name", "a.example tls=none", "127.0.0.1:1"], 64, "expected a DNS name"),
    ([], 64, "too few arguments"),
])
def test_show_mistakes(posthouse, arguments, code, text):
    got = posthouse("certs", "show", *arguments)
    assert got.returncode == code and text in got.stderr
