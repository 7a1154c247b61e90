"""
How-to 004: three MTAs for the virtual domains vm1.vm to vm3.vm, each with Dovecot for AUTH and
POP3, that forward mail for each other through a fourth one, the relay, over encrypted links.

Its dialogues are as it has them, with openssl s_client, everything sent ahead. stunnel is not
needed: what it did is relay-smtps in the transport map.
"""

import base64
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from dialogue import pop3_list, pop3_message, replies, s_client
from dovecot import DOVEADM, Account, Dovecot, why_not
from hosts import Host
from network import Network

pytestmark = pytest.mark.skipif(bool(why_not("imap", "pop3")), reason=why_not("imap", "pop3"))

RELAY = "172.16.108.100"
MTAS = {"vm1.vm": "172.16.108.101", "vm2.vm": "172.16.108.102", "vm3.vm": "172.16.108.103"}
USERS = {"vm1.vm": ("alice", "test1"), "vm2.vm": ("bob", "test2"), "vm3.vm": ("alpha", "beta")}

DOVECOT_CONF = """\
protocols = imap pop3
# conf.d/10-auth.conf
disable_plaintext_auth = no
auth_mechanisms = plain login
# conf.d/10-mail.conf
mail_location = maildir:{vhosts}/%d/%n
# conf.d/10-master.conf: for Postfix there, for Posthouse here
service auth {{
  unix_listener {queue}/private/auth {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
listen = {address}
# conf.d/10-ssl.conf
ssl_cert = <{pki}/{name}.crt
ssl_key = <{pki}/{name}.key
# conf.d/auth-passwdfile.conf.ext
passdb {{
  driver = passwd-file
  args = {etc}/vusers
}}
# conf.d/auth-static.conf.ext
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={vhosts}/%d/%n
}}
"""


class Setting:
    """The whole of it: a CA, the relay, and three MTAs with their Dovecots."""

    def __init__(self, directory, posthouse_bin, site):
        self.directory, self._bin, self._site = directory, posthouse_bin, site
        self.network = Network(site, [RELAY, *MTAS.values()])
        self.account = Account()
        self.pki, self.ca = directory / "pki", directory / "pki" / "ca.crt"
        self._make_certificates()
        self.dovecots, self.mtas = {}, {}
        self.relay = self._start_relay()
        for domain in MTAS:
            self._start_mta(domain)

    def _make_certificates(self):
        """ca.crt, mta.crt, mta1.crt, …, which the how-to has from elsewhere."""
        def certs(*arguments):
            subprocess.run([self._bin, "certs", *arguments], check=True,
                           stdout=subprocess.DEVNULL)

        certs("ca", "--out", self.pki)
        self.pki.chmod(0o755)
        addresses = [RELAY, *MTAS.values()]
        for name, address in zip(["mta", "mta1", "mta2", "mta3"], addresses):
            certs("issue", "--ca", self.pki, "--out", self.pki, name, f"{name}.example",
                  self.network.address(address))
            self._share(self.pki / f"{name}.key")

    def _share(self, path):
        """For the account of the server, and for Dovecot."""
        path.chmod(0o644)

    def _host(self, name, address, parameters, files):
        network, folder = self.network, self.directory / name
        services = ("smtp", "smtp", "smtps") if name == "mta" else ("smtp", "submission", "smtps")
        ports = [network.port(address, port) for port in ("smtp", "submission", "smtps")]
        defaults = {
            "listen": " ".join(f"{service}://{network.address(address)}:{port}"
                               for service, port in zip(services, ports)),
            "user": self.account.name if os.geteuid() == 0 else "",
            "queue_directory": folder / "queue", "run_directory": folder / "run", "workers": 2,
            "message_size_limit": 52428800,
            "transport_maps": "hash:ts",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_CAfile": self.ca,
            "smtpd_tls_key_file": self.pki / f"{name}.key",
            "smtpd_tls_cert_file": self.pki / f"{name}.crt",
            "smtp_tls_security_level": "encrypt",
        }
        host = Host(self._bin, folder, {**defaults, **parameters}, files)
        folder.chmod(0o755)
        for file in (*files, host.config.name):
            self._share(folder / file)
        for new in ("queue", "queue/private", "run", "vhosts"):
            (folder / new).mkdir()
            self.account.give(folder / new, 0o755)
        self._site.hosts.append(host)
        return host

    def _start_relay(self):
        return self._host("mta", RELAY, {
            "mode": "hub", "myhostname": "mta.vm.vm", "mydomain": "vm.vm",
            "relay_domains": "vm1.vm, vm2.vm, vm3.vm",
        }, {"ts": ""}).start()

    def _start_mta(self, domain):
        name, address, names = f"mta{domain[2]}", MTAS[domain], USERS[domain]
        host = self._host(name, address, {
            "mode": "edge",
            "myhostname": f"{name}.{domain}", "mydomain": domain, "myorigin": "$mydomain",
            "virtual_mailbox_domains": "$mydomain",
            "virtual_mailbox_base": self.directory / name / "vhosts",
            "virtual_mailbox_maps": "hash:vusers",
            "smtpd_sasl_passdb": "dovecot:private/auth",
            "smtpd_tls_auth_only": "yes",
        }, {
            "ts": "",
            "vusers": "".join(f"{user}@{domain} {domain}/{user}/\n" for user in names),
        })
        self.dovecots[domain] = self._start_dovecot(domain, host)
        self.mtas[domain] = host.start()

    def _start_dovecot(self, domain, host):
        address, folder = MTAS[domain], self.directory / f"dovecot{domain[2]}"
        folder.mkdir()
        (folder / "vusers").write_text("".join(
            f"{user}@{domain}:{{Plain}}{user}::::::\n" for user in USERS[domain]))
        return Dovecot(folder, DOVECOT_CONF.format(
            vhosts=host.directory / "vhosts", queue=host.directory / "queue", pki=self.pki,
            name=host.directory.name, etc=folder, uid=self.account.uid, gid=self.account.gid,
            address=self.network.address(address),
            imaps=self.network.port(address, "imaps"), pop3s=self.network.port(address, "pop3s")))

    def route(self, host, routes):
        """Write a transport map, and wait until it is taken up."""
        text = "".join(f"{domain} {transport}:{self.network.at(address, service)}\n"
                       for domain, transport, address, service in routes)
        if (host.directory / "ts").read_text() == text:
            return
        mark = host.server.mark()
        host.write("ts", text)
        self._share(host.directory / "ts")
        host.wait_for("transport_maps: .*has changed and was taken up", since=mark)

    def routes(self, way):
        """way: "smtps", "starttls" (port 25) or "587": to the relay, and from it."""
        transport, port = {"smtps": ("relay-smtps", "smtps"), "starttls": ("relay", "smtp"),
                           "587": ("relay", "submission")}[way]
        # Postfix's submission on the MTAs is smtpd as on port 25; ours has users log in.
        back = "smtp" if way == "587" else port
        self.route(self.relay, [(domain, transport, address, back)
                                for domain, address in MTAS.items()])
        for domain, host in self.mtas.items():
            self.route(host, [(other, transport, RELAY, port)
                              for other in MTAS if other != domain])

    def smtp(self, domain, lines, *arguments, service="smtps"):
        return s_client(self.ca, self.network.at(MTAS[domain], service), lines, *arguments)

    def pop3(self, domain, user, *commands):
        return s_client(self.ca, self.network.at(MTAS[domain], "pop3s"),
                        [f"user {user}@{domain}", f"pass {user}", *commands, "quit"])

    def close(self):
        for dovecot in self.dovecots.values():
            dovecot.stop()


@pytest.fixture(scope="module")
def setting(posthouse_bin, shared_site):
    with tempfile.TemporaryDirectory(prefix="posthouse-") as name:
        os.chmod(name, 0o755)
        setting = None
        try:
            setting = Setting(Path(name), posthouse_bin, shared_site)
            yield setting
        finally:
            if setting:
                setting.close()
                for host in shared_site.hosts:
                    if host.is_running():
                        host.stop()
                setting.network.close()


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def message(sender, recipient, subject, body):
    return [f"mail from: {sender}", f"rcpt to: {recipient}", "data", f"from: {sender}",
            f"to: {recipient}", f"subject: {subject}", body, ".", "quit"]


def login(user, domain):
    """As printed in the table of accounts."""
    return ["auth login", base64_of(f"{user}@{domain}"), base64_of(user)]


SENT = ["220", "250", "334", "334", "235", "250", "250", "354", "250", "221"]


def test_the_table_of_accounts():
    """Names and passwords in base64, as the how-to prints them."""
    assert login("alice", "vm1.vm") == ["auth login", "YWxpY2VAdm0xLnZt", "YWxpY2U="]
    assert login("bob", "vm2.vm") == ["auth login", "Ym9iQHZtMi52bQ==", "Ym9i"]
    assert login("alpha", "vm3.vm") == ["auth login", "YWxwaGFAdm0zLnZt", "YWxwaGE="]


def test_doveadm_knows_the_accounts(setting):
    """doveadm user alice@vm1.vm"""
    for domain, names in USERS.items():
        for user in names:
            got = subprocess.run([DOVEADM, "-c", setting.dovecots[domain].config, "user",
                                  f"{user}@{domain}"], check=True, stdout=subprocess.PIPE)
            assert f"vhosts/{domain}/{user}\n".encode() in got.stdout


# ---- 本机收发邮件检查: on one MTA ----

LOCAL = [("vm1.vm", "alice", "test1"), ("vm2.vm", "bob", "test2"), ("vm3.vm", "alpha", "beta")]


@pytest.mark.parametrize("domain, sender, recipient, service", [
    *[(*row, "smtps") for row in LOCAL], *[(*LOCAL[0], name) for name in ("submission", "smtp")]])
def test_local_mail(setting, domain, sender, recipient, service):
    arguments = [] if service == "smtps" else ["-starttls", "smtp"]
    mta = domain[2]
    subject = f"{sender} to {recipient} on mta{mta} by {service}"
    before = pop3_list(setting.pop3(domain, recipient, "list"))
    said = setting.smtp(domain, [f"ehlo mta{mta}", *login(sender, domain), *message(
        sender, recipient, subject, f"{sender} say hello to {recipient}")], *arguments,
        service=service)
    assert replies(said)[-len(SENT) + 1:] == SENT[1:], said
    message_id = re.search(r"queued as (\w+)", said)[1]
    host = setting.mtas[domain]
    host.delivered(f"{recipient}@{domain}", message_id)
    assert f"from=<{sender}@{domain}>" in host.wait_for(f"{message_id}: from=<")
    assert pop3_list(setting.pop3(domain, recipient, "list")) == before + 1
    got = pop3_message(setting.pop3(domain, recipient, f"retr {before + 1}"))
    assert f"\nDelivered-To: {recipient}@{domain}\n" in got
    assert f"\nsubject: {subject}\n" in got and f"\n\n{sender} say hello to {recipient}\n" in got


def test_alphas_dialogue_as_it_is_printed(setting):
    """It has alice's name and password, whom MTA3 does not know: nothing is sent."""
    before = pop3_list(setting.pop3("vm3.vm", "beta", "list"))
    said = setting.smtp("vm3.vm", ["ehlo mta3", *login("alice", "vm1.vm"), *message(
        "alpha", "beta", "alpha to beta on mta2", "alpha say hello to beta")])
    assert replies(said)[:7] == ["220", "250", "334", "334", "535", "553", "503"], said
    assert "535 5.7.8 " in said and "queued as" not in said
    assert "553 5.7.1 <alpha@vm3.vm>: Sender address rejected: not logged in" in said
    assert pop3_list(setting.pop3("vm3.vm", "beta", "list")) == before
    setting.mtas["vm3.vm"].wait_for("SASL LOGIN authentication failed: .*, "
                                    "sasl_username=alice@vm1.vm")


# ---- 跨域收发邮件检查: from domain to domain, through the relay ----

ACROSS = [("vm1.vm", "alice", "vm2.vm", "bob"), ("vm2.vm", "bob", "vm3.vm", "beta"),
          ("vm3.vm", "alpha", "vm1.vm", "alice")]


@pytest.mark.parametrize("way", ["starttls", "smtps", "587"])
@pytest.mark.parametrize("domain, sender, other, recipient", ACROSS)
def test_mail_across(setting, way, domain, sender, other, recipient):
    setting.routes(way)
    address, subject = f"{recipient}@{other}", f"{sender} to {recipient} by {way}"
    before = pop3_list(setting.pop3(other, recipient, "list"))
    said = setting.smtp(domain, [f"ehlo mta{domain[2]}", *login(sender, domain), *message(
        sender, address, subject, f"{sender} say hello to {recipient}")])
    assert replies(said) == SENT, said

    message_id = re.search(r"queued as (\w+)", said)[1]
    line = setting.mtas[domain].delivered(address, message_id)
    assert f"relay={setting.network.address(RELAY)}[" in line
    there = re.search(r"queued as (\w+)", line)[1]
    line = setting.relay.delivered(address, there)
    at_last = re.search(r"queued as (\w+)", line)[1]
    setting.mtas[other].delivered(address, at_last)

    # 各个 MTA 间通过加密通道转发: every hop was encrypted, and as its route says.
    mode = "implicit" if way == "smtps" else "starttls"
    for host, name in ((setting.mtas[domain], message_id), (setting.relay, there)):
        host.removed(name)
        assert host.ledger(address)[-1]["tls_mode"] == mode

    assert pop3_list(setting.pop3(other, recipient, "list")) == before + 1
    got = pop3_message(setting.pop3(other, recipient, f"retr {before + 1}"))
    assert f"\nsubject: {subject}\n" in got and f"\n\n{sender} say hello to {recipient}\n" in got
    for name in (f"mta{domain[2]}.{domain}", "mta.vm.vm", f"mta{other[2]}.{other}"):
        assert re.search(rf"\n\tby {re.escape(name)} ", got), name


def test_what_the_relay_forwards(setting):
    """relay_domains = vm1.vm, vm2.vm, vm3.vm: without login, and nothing else."""
    said = s_client(setting.ca, setting.network.at(RELAY, "smtps"), [
        "ehlo elsewhere", "mail from: alice@vm1.vm", "rcpt to: somebody@elsewhere.example",
        "rcpt to: bob@vm2.vm", "quit"])
    assert replies(said) == ["220", "250", "250", "554", "250", "221"], said


def test_the_transport_map_as_it_is_printed(setting):
    """It says relay-stmps twice, and Postfix finds out when mail is sent; check says it before."""
    host = setting.relay
    (host.directory / "printed").write_text(
        "vm1.vm  relay-smtps:172.16.108.101\nvm2.vm  relay-stmps:172.16.108.102\n"
        "vm3.vm  relay-stmps:172.16.108.103\n")
    config = host.directory / "printed.conf"
    config.write_text(host.config.read_text().replace("hash:ts", "hash:printed"))
    got = subprocess.run([host._bin, "-c", config, "check"], check=False, encoding="utf-8",
                         stdout=subprocess.PIPE)
    assert got.returncode == 1
    for line in (2, 3):
        assert re.search(rf"printed:{line}: error: .*did you mean relay-smtps\?", got.stdout)


# ---- 异常操作检查: what must fail ----

@pytest.mark.parametrize("recipient", ["bob@vm2.vm", "test1"])
def test_without_login(setting, recipient):
    """To another domain, and to the own one, with alice's address: nobody gets anything."""
    setting.routes("smtps")
    before = pop3_list(setting.pop3("vm1.vm", "test1", "list"))
    said = setting.smtp("vm1.vm", ["ehlo mta1", *message(
        "alice", recipient, "alice without auth", "alice say hello without auth")])
    assert replies(said)[:3] == ["220", "250", "553"], said
    assert "553 5.7.1 <alice@vm1.vm>: Sender address rejected: not logged in" in said
    assert "queued as" not in said
    assert pop3_list(setting.pop3("vm1.vm", "test1", "list")) == before


def test_not_through_an_mta_either(setting):
    """With a foreign sender: to the own domain, and nowhere else."""
    said = setting.smtp("vm1.vm", [
        "ehlo elsewhere", "mail from: stranger@elsewhere.example", "rcpt to: bob@vm2.vm",
        "rcpt to: nobody@vm1.vm", "rcpt to: test1@vm1.vm", "quit"])
    assert replies(said) == ["220", "250", "250", "554", "550", "250", "221"], said
