"""
How-to 004: three MTAs for the virtual domains vm1.vm to vm3.vm, each with Dovecot for AUTH and
POP3, that forward mail for each other through a fourth one, the relay, over encrypted links.

Its dialogues are as it has them, with openssl s_client, everything sent ahead. stunnel is not
needed: what it did is relay-smtps in the transport map.
"""

import base64
import re
import subprocess

import pytest

from dialogue import pop3_list, pop3_message, replies, s_client
from dovecot import DOVEADM, why_not
from guide import Guide, followed

pytestmark = pytest.mark.skipif(bool(why_not("imap", "pop3")), reason=why_not("imap", "pop3"))

RELAY = "172.16.108.100"
MTAS = {"vm1.vm": "172.16.108.101", "vm2.vm": "172.16.108.102", "vm3.vm": "172.16.108.103"}
USERS = {"vm1.vm": ("alice", "test1"), "vm2.vm": ("bob", "test2"), "vm3.vm": ("alpha", "beta")}

COMMON = {
    "message_size_limit": 52428800,
    "transport_maps": "hash:ts",
    "smtpd_tls_security_level": "may",
    "smtp_tls_security_level": "encrypt",
}

DOVECOT_CONF = """\
protocols = imap pop3
# conf.d/10-auth.conf
disable_plaintext_auth = no
auth_mechanisms = plain login
# conf.d/10-mail.conf
mail_location = maildir:{host}/vhosts/%d/%n
# conf.d/10-master.conf: for Postfix there, for Posthouse here
service auth {{
  unix_listener {host}/queue/private/auth {{
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
  args = uid={uid} gid={gid} home={host}/vhosts/%d/%n
}}
"""


class Setting(Guide):
    """The whole of it: a CA, the relay, and three MTAs with their Dovecots."""

    owner = 5000  # groupadd -g 5000 vmail; useradd -g vmail -u 5000 vmail

    def __init__(self, directory, posthouse_bin, site):
        super().__init__(directory, posthouse_bin, site, ("mta", "mta1", "mta2", "mta3"),
                         (RELAY, *MTAS.values()))
        self.mtas, self.dovecots, self.relay = {}, {}, None

    def set_up(self):
        self.relay = self.host("mta", {
            "mode": "hub", "myhostname": "mta.vm.vm", "mydomain": "vm.vm",
            "listen": self.listen("mta", smtp="smtp", submission="smtp", smtps="smtps"),
            "relay_domains": "vm1.vm, vm2.vm, vm3.vm",
            **COMMON,
        }, {"ts": ""}).start()
        for domain in MTAS:
            self._start_mta(domain, f"mta{domain[2]}")

    def _start_mta(self, domain, name):
        host = self.host(name, {
            "mode": "edge",
            "myhostname": f"{name}.{domain}", "mydomain": domain, "myorigin": "$mydomain",
            "listen": self.listen(name, smtp="smtp", submission="submission", smtps="smtps"),
            "virtual_mailbox_domains": "$mydomain",
            "virtual_mailbox_base": self.directory / name / "vhosts",
            "virtual_mailbox_maps": "hash:vusers",
            "mailbox_size_limit": 1073741824, "virtual_mailbox_limit": "$mailbox_size_limit",
            **self.owners(),
            "smtpd_sasl_passdb": "dovecot:private/auth",
            "smtpd_tls_auth_only": "yes",
            **COMMON,
        }, {
            "ts": "",
            "vusers": "".join(f"{user}@{domain} {domain}/{user}/\n" for user in USERS[domain]),
        })
        self.dovecots[domain] = self.dovecot(name, DOVECOT_CONF, vusers="".join(
            f"{user}@{domain}:{{Plain}}{user}::::::\n" for user in USERS[domain]))
        self.mtas[domain] = host.start()

    def route(self, host, routes):
        self.rewrite(host, "ts", "".join(
            f"{domain} {transport}:{self.network.at(address, service)}\n"
            for domain, transport, address, service in routes), "transport_maps")

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


@pytest.fixture(scope="module")
def setting(posthouse_bin, shared_site):
    with followed(Setting, posthouse_bin, shared_site) as setting:
        yield setting


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


@pytest.mark.parametrize("way, domain, sender, other, recipient", [
    *[("starttls", *row) for row in ACROSS], *[("smtps", *row) for row in ACROSS],
    ("587", *ACROSS[0])])
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
    got = subprocess.run([setting.bin, "-c", config, "check"], check=False, encoding="utf-8",
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
