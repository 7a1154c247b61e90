"""posthouse explain: what it says of each kind of route, and whom it would let send there.

No server runs here; test_explain_wire.py compares what is said with what is done.
"""

import json
import os
import subprocess

import pytest

from explaining import Explained, words


@pytest.fixture
def host(tmp_path, posthouse, certs):
    return Explained(tmp_path, posthouse, certs)


def test_relay(host):
    host.hub("# routes\nvm2.vm relay-smtps:[a.example], [192.0.2.1]:466 tls=verify\n")
    (got,) = host.json("B@VM2.vm")
    assert got == {
        "address": "B@VM2.vm",
        "action": "relay",
        "transport": "relay-smtps",
        "next_hops": [{"host": "a.example", "port": 465, "mx": False},
                      {"host": "192.0.2.1", "port": 466, "mx": False}],
        "source": "ts:2",
        "tls": {"mode": "implicit", "level": "verify", "source": "ts:2",
                "match": ["a.example", "192.0.2.1"]},
        "error": None,
    }
    text = words(host.text("B@VM2.vm"))
    assert f"taken from anybody, relay_domains as of {host.line('relay_domains')}" in text
    assert "hash:ts b@vm2.vm no" in text
    assert ("hash:ts vm2.vm ts:2: relay-smtps:[a.example], [192.0.2.1]:466 tls=verify"
            in text)
    assert "action relay by relay-smtps:, as of ts:2" in text
    assert "next hops 1. [a.example]:465" in text


def test_level_of_another_place(host):
    host.hub("vm2.vm relay:[a.example]\n", smtp_tls_security_level="may")
    (got,) = host.json("b@vm2.vm")
    assert got["source"] == "ts:1"
    assert got["tls"] == {"mode": "starttls", "level": "may",
                          "source": host.line("smtp_tls_security_level"), "match": []}
    assert f"level may, as of {host.line('smtp_tls_security_level')}" in words(host.text("b@vm2.vm"))


def test_policy_maps(host):
    host.hub(".vm2.vm relay:[a.example]\n", smtp_tls_policy_maps="hash:policies")
    (host.directory / "policies").write_text("# policies\n.vm2.vm verify match=nexthop:b.example\n")
    (got,) = host.json("u@x.vm2.vm")
    assert got["source"] == "ts:1"
    assert got["tls"] == {"mode": "starttls", "level": "verify", "source": "policies:2",
                          "match": ["a.example", "b.example"]}
    text = words(host.text("u@x.vm2.vm"))
    at = text.index("hash:policies [a.example] no")
    assert text[at:at + 3] == ["hash:policies [a.example] no", "hash:policies x.vm2.vm no",
                               "hash:policies .vm2.vm policies:2: verify match=nexthop:b.example"]
    assert "level verify, as of policies:2" in text


def test_every_lookup_is_shown_in_order(host):
    host.hub(".vm2.vm relay:[a.example]\n")
    text = words(host.text("b@x.y.vm2.vm"))
    at = text.index("hash:ts b@x.y.vm2.vm no")
    assert text[at:at + 4] == ["hash:ts b@x.y.vm2.vm no", "hash:ts x.y.vm2.vm no",
                               "hash:ts .y.vm2.vm no", "hash:ts .vm2.vm ts:1: relay:[a.example]"]


@pytest.mark.parametrize("line, action, error", [
    ("error:5.1.1 gone", "error", "550 5.1.1 gone"),
    ("retry:4.2.1 moving", "retry", "450 4.2.1 moving"),
    ("discard:", "discard", None),
])
def test_what_is_not_sent(host, line, action, error):
    host.hub(f"vm2.vm {line}\n")
    (got,) = host.json("b@vm2.vm")
    assert got == {"address": "b@vm2.vm", "action": action, "transport": action, "next_hops": [],
                   "source": "ts:1", "tls": None, "error": error}
    text = words(host.text("b@vm2.vm"))
    assert f"action {action}, as of ts:1" in text
    assert error is None or f"because {error}" in text


def test_what_is_discarded(host):
    host.hub("vm2.vm discard:spam trap\n")
    assert "logged as discarded: spam trap" in words(host.text("b@vm2.vm"))


def test_recipients_domain_as_next_hop(host):
    host.hub(default_transport="smtp")
    (got,) = host.json("b@vm2.vm")
    assert got["next_hops"] == [{"host": "vm2.vm", "port": 25, "mx": True}]
    assert got["source"] == host.line("default_transport")
    assert "default_transport" in host.text("b@vm2.vm")


def test_lmtp(host):
    host.hub("vm2.vm lmtp:unix:lmtp\n.vm2.vm lmtp:a.example\n")
    (socket, tcp) = host.json("b@vm2.vm", "b@x.vm2.vm")
    path = f"unix:{host.directory}/queue/lmtp"
    assert (socket["action"], socket["transport"], socket["tls"]) == ("relay", "lmtp", None)
    assert socket["next_hops"] == [{"host": path, "port": None, "mx": False}]
    assert tcp["next_hops"] == [{"host": "a.example", "port": 24, "mx": False}]
    assert tcp["tls"]["mode"] == "starttls"
    text = words(host.text("b@vm2.vm"))
    assert "action relay by lmtp:, as of ts:1" in text and f"next hop {path}" in text


def test_extension(host):
    host.hub("b@vm2.vm relay:[a.example]\n", recipient_delimiter="+")
    (got,) = host.json("b+lists@vm2.vm")
    assert (got["action"], got["source"]) == ("relay", "ts:1")
    text = words(host.text("b+lists@vm2.vm"))
    assert "lookups local domains vm2.vm no" in text
    assert "hash:ts b+lists@vm2.vm no" in text


def test_relayhost(host):
    host.hub(relayhost="relay-smtps:[hub.example]")
    (got,) = host.json("b@vm2.vm")
    assert (got["source"], got["transport"]) == (host.line("relayhost"), "relay-smtps")
    assert got["tls"]["level"] == "encrypt"


def test_hub_refuses_other_domains(host):
    host.hub("* relay:[a.example]\n")
    (got,) = host.json("b@other.example")
    assert got["action"] == "error"
    assert got["error"] == "554 5.7.1 <b@other.example>: Relay access denied"
    assert got["source"] == host.line("relay_domains")
    assert (got["next_hops"], got["tls"]) == ([], None)
    text = words(host.text("b@other.example"))
    assert "taken from nobody: would be refused at RCPT" in text
    assert "because 554 5.7.1 <b@other.example>: Relay access denied" in text


@pytest.mark.parametrize("networks", ["192.0.2.0/24", "cidr:{ {192.0.2.0/24 yes} }"])
def test_hub_relays_elsewhere_for_its_networks(host, networks):
    host.hub("* relay:[a.example]\n", mynetworks=networks)
    (got,) = host.json("b@other.example")
    assert (got["action"], got["source"]) == ("relay", "ts:1")
    assert got["error"] == "554 5.7.1 <b@other.example>: Relay access denied"
    assert "taken from mynetworks" in words(host.text("b@other.example"))


def test_hub_relays_elsewhere_for_certificates(host):
    host.hub("* relay:[a.example]\n", mynetworks="192.0.2.0/24", smtpd_tls_ask_ccert="yes",
             relay_clientcerts="edge.example")
    (got,) = host.json("b@other.example")
    assert (got["action"], got["source"]) == ("relay", "ts:1")
    assert "taken from mynetworks, relay_clientcerts" in words(host.text("b@other.example"))


def test_local_transport(host):
    """local: finds the mailbox that virtual: would."""
    host.edge(virtual_mailbox_base="mail", transport_maps="inline:{ vm1.vm=local: }")
    (got,) = host.json("alice@vm1.vm")
    assert (got["action"], got["transport"]) == ("local", "local")
    assert f"mailbox {host.directory}/mail/vm1.vm/alice/" in words(host.text("alice@vm1.vm"))


def test_local(host):
    host.edge(virtual_mailbox_base="mail")
    (got,) = host.json("Alice@vm1.vm")
    assert got == {"address": "Alice@vm1.vm", "action": "local", "transport": "virtual",
                   "next_hops": [], "source": "local", "tls": None, "error": None}
    text = words(host.text("alice"))
    assert text[0] == "alice@vm1.vm"
    assert "lookups local domains vm1.vm yes" in text
    assert f"mailbox {host.directory}/mail/vm1.vm/alice/" in text


def test_local_by_a_map(host):
    host.edge(virtual_mailbox_base="mail", virtual_mailbox_maps="hash:boxes")
    (host.directory / "boxes").write_text("# boxes\nal@vm1.vm here/al/\n")
    assert f"mailbox {host.directory}/mail/here/al/ (boxes:2)" in words(host.text("al@vm1.vm"))
    (got,) = host.json("alice@vm1.vm")
    assert (got["action"], got["source"]) == ("error", host.line("virtual_mailbox_maps"))


def test_no_such_user(host):
    host.edge()
    (got,) = host.json("nobody@vm1.vm")
    assert got["action"] == "error"
    assert got["error"].startswith("550 5.1.1 <nobody@vm1.vm>: ")


def test_edge_sends_elsewhere_for_its_users(host):
    host.edge(relayhost="[hub.example]")
    (got,) = host.json("b@vm2.vm")
    assert (got["action"], got["error"]) == ("relay", None)
    assert "taken from users that log in" in words(host.text("b@vm2.vm"))


@pytest.mark.parametrize("sender, recipient, error", [
    ("alice@vm1.vm", "b@vm2.vm", None),
    ("c@vm3.vm", "alice@vm1.vm", None),
    ("<>", "alice@vm1.vm", None),
    ("c@vm3.vm", "b@vm2.vm", "554 5.7.1 <b@vm2.vm>: Relay access denied"),
])
def test_from(host, sender, recipient, error):
    """Senders of our own domains log in; others reach our mailboxes only."""
    host.edge(relayhost="[hub.example]")
    (got,) = host.json("--from", sender, recipient)
    assert got["error"] == error
    assert (got["action"] == "error") == (error is not None)
    assert f"sender {sender}" in words(host.text("--from", sender, recipient))


def test_from_an_address_that_a_login_owns(host):
    host.edge(relayhost="[hub.example]", smtpd_sender_login_maps="inline:{sales@vm1.vm=alice@vm1.vm}")
    assert host.json("--from", "sales@vm1.vm", "b@vm2.vm")[0]["error"] is None
    (got,) = host.json("--from", "other@vm1.vm", "b@vm2.vm")
    assert (got["action"], got["source"]) == ("error", host.line("smtpd_sender_login_maps"))
    assert ("taken from nobody: would be refused at MAIL"
            in words(host.text("--from", "other@vm1.vm", "b@vm2.vm")))


def test_several_addresses(host):
    host.hub("vm2.vm relay:[a.example]\n")
    got = host.json("b@vm2.vm", "--", "c@vm2.vm", "b@vm2.vm")
    assert [one["address"] for one in got] == ["b@vm2.vm", "c@vm2.vm", "b@vm2.vm"]
    assert host.text("b@vm2.vm", "b@vm2.vm").split("\n\n")[0] + "\n" == host.text("b@vm2.vm")


def test_bad_configuration(host):
    host.hub("vm2.vm relay-stmps:[a.example]\n")
    got = host.run("b@vm2.vm")
    assert got.returncode == 78
    assert 'ts:1: error: unknown transport "relay-stmps"' in got.stderr
    assert got.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["--from", "a b", "x@y"], ["<x@y"], ["--probes", "x@y"]])
def test_usage(host, arguments):
    host.hub()
    assert host.run(*arguments).returncode == 64


@pytest.mark.parametrize("address", ["", " ", "<x@y"])
def test_no_address(host, address):
    """In quotes, or nobody sees what it was."""
    host.hub()
    got = host.run(address)
    assert got.stderr == f'posthouse: explain: "{address}": not an address\n'
    assert got.returncode == 64


def test_keys_and_passwords_are_not_needed(open_path, posthouse_bin, certs):
    """By an account that may read the configuration, but no secrets."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    for name in ("hub.pem", "hub.key", "ca.pem"):
        (open_path / name).write_bytes((certs / name).read_bytes())
    (open_path / "users").write_text("alice@vm1.vm:{PLAIN}alice::::::\n")
    for secret in ("hub.key", "users"):
        (open_path / secret).chmod(0o600)
    config = open_path / "main.conf"
    config.write_text("mode = edge\nmyhostname = mta.vm1.vm\nmydomain = vm1.vm\n"
                      "queue_directory = queue\nrun_directory = run\nuser = root\n"
                      "smtpd_tls_cert_file = hub.pem\nsmtpd_tls_key_file = hub.key\n"
                      "smtpd_tls_CAfile = ca.pem\nrelayhost = [hub.example]\n")
    got = subprocess.run([posthouse_bin, "-c", config, "explain", "--json", "b@vm2.vm",
                          "alice@vm1.vm"], user=65534, group=65534, extra_groups=[],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, check=False, timeout=60)
    assert got.returncode == 0, got.stderr
    away, here = [json.loads(line) for line in got.stdout.splitlines()]
    assert (away["action"], away["error"]) == ("relay", None)
    assert here["action"] == "local"
    assert here["error"] == "whether there is such a user: the accounts cannot be read"


def test_login(host):
    """Who logs in at the next hop, as of what line; never with what."""
    host.hub("vm2.vm relay:[a.example]:587 tls=encrypt\n.vm2.vm lmtp:[b.example]:24\n",
             smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:passwords")
    (host.directory / "passwords").write_text("# logins\n[a.example] joe:hunter2\n"
                                              "ann@vm1.vm ann:hunter3\n[b.example] x:hunter4\n")
    (got,) = host.json("b@vm2.vm")
    assert got["next_hops"] == [{"host": "a.example", "port": 587, "mx": False,
                                 "login": {"user": "joe", "source": "passwords:2"}}]
    text = words(host.text("b@vm2.vm"))
    assert "hash:passwords [a.example]:587 no" in text
    assert "hash:passwords [a.example] passwords:2: joe" in text
    assert "logs in as joe, as of passwords:2" in text

    host.hub("vm2.vm relay:[a.example]:587 tls=encrypt\n.vm2.vm lmtp:[b.example]:24\n",
             smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:passwords",
             smtp_sender_dependent_authentication="yes")
    for sender, login in ("Ann@vm1.vm", "ann"), ("joe@vm1.vm", "joe"), ("<>", "joe"):
        (got,) = host.json("--from", sender, "b@vm2.vm")
        assert got["next_hops"][0]["login"]["user"] == login
        assert "hunter" not in host.text("--from", sender, "b@vm2.vm")
    assert "login" not in host.json("b@x.vm2.vm")[0]["next_hops"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_login_that_is_secret(posthouse_bin, certs, open_path):
    """Whoever may not read the passwords learns that there are some, and all the rest."""
    config = open_path / "posthouse.conf"
    config.write_text("mode = hub\nmyhostname = mta.vm.vm\nqueue_directory = queue\n"
                      "run_directory = run\nuser = root\nlisten = smtp://127.0.0.1:0\n"
                      "smtpd_tls_security_level = none\nrelay_domains = vm2.vm\n"
                      "relayhost = [a.example]:587\nsmtp_sasl_auth_enable = yes\n"
                      "smtp_sasl_password_maps = hash:passwords\n")
    (open_path / "passwords").write_text("[a.example] joe:hunter2\n")
    (open_path / "passwords").chmod(0o600)
    got = subprocess.run([posthouse_bin, "-c", config, "explain", "--json", "b@vm2.vm"],
                         user="nobody", group="nogroup", extra_groups=[], check=False,
                         encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert got.returncode == 0, got.stderr
    assert "smtp_sasl_password_maps: may not be read; logins are not shown" in got.stderr
    assert json.loads(got.stdout)["next_hops"] == [{"host": "a.example", "port": 587, "mx": False}]
