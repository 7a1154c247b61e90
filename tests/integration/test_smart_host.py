"""Recipes of docs/delivery.md, "Through a hub or a provider": each ends with mail at its goal.

An edge sends what is not its own by a hub that knows it by its certificate, or
by a provider that wants a login; said by relayhost, or by lines of a map.
"""

import re

import pytest

from clients import HOST, submit
from sasl_server import Login

ALICE, AWAY = "alice@vm1.vm", "carol@elsewhere.example"
USER, PASSWORD = "site@provider.example", "pass:word"


@pytest.fixture(scope="module")
def behind(shared_site):
    return shared_site.peer()


@pytest.fixture(scope="module")
def hub(shared_site, behind):
    """It has no accounts, trusts no network, and forwards for no domain: certificates say who may."""
    return shared_site.hub(f"* relay:{HOST}:{behind.port} tls=none\n", relay_domains="",
                           listen=f"smtp://{HOST}:{shared_site.port()} "
                                  f"smtps://{HOST}:{shared_site.port()}",
                           smtpd_tls_ask_ccert="yes", relay_clientcerts="all")


def certificate(certs, name="edge"):
    return {"smtp_tls_cert_file": f"{certs}/{name}.pem", "smtp_tls_key_file": f"{certs}/{name}.key"}


# Where {smtp} and {smtps} are ports of the hub, and {dead} one of nobody.
RELAYHOSTS = {
    "host and port": ("[{host}]:{smtp}", "verify"),
    "implicit": ("relay-smtps:[{host}]:{smtps}", "encrypt"),
    "implicit, with its level": ("relay-smtps:[{host}]:{smtps} tls=verify match=hub.example",
                                 "verify"),
    "starttls, with its level": ("relay:[{host}]:{smtp} tls=secure match=hub.example", "secure"),
    "several": ("relay:[{host}]:{dead}, [{host}]:{smtp} tls=verify", "verify"),
    "as smtp:": ("smtp:[{host}]:{smtp} tls=verify servername=hub.example", "verify"),
}


def filled(text, site, hub):
    return text.format(host=HOST, smtp=hub.port(), smtps=hub.port("smtps"), dead=site.port())


def goes(edge, hub, behind, level):
    line = edge.delivered(AWAY, submit(edge.certs, edge, ALICE, AWAY))
    assert f", tls={level}:TLSv1.3:verified, " in line
    there = re.search(r"queued as (\w+)", line)[1]
    hub.delivered(AWAY, there)
    behind.wait("the message", lambda: any(there.encode() in m.body for m in behind.messages))


@pytest.mark.parametrize("way", ["relayhost", "map"])
@pytest.mark.parametrize("kind", RELAYHOSTS)
def test_hub_knows_the_edge_by_its_certificate(site, certs, hub, behind, way, kind):
    text, level = RELAYHOSTS[kind]
    text = filled(text, site, hub)
    general = {"smtp_tls_security_level": "verify"} if kind == "host and port" else {}
    if way == "relayhost":
        edge = site.edge(relayhost=text, **general, **certificate(certs))
    else:
        edge = site.edge(routes=f"* {text if ':' in text.split('[')[0] else 'relay:' + text}\n",
                         **general, **certificate(certs))
    edge.certs = certs
    goes(edge, hub, behind, level)
    hub.wait_for(r"subject_CN=edge\.example, .*, relay=yes \(all\)")


def test_server_certificate_is_shown_unless_there_is_another(site, certs, hub, behind):
    edge = site.edge(relayhost=filled("relay-smtps:[{host}]:{smtps}", site, hub))
    edge.certs = certs
    goes(edge, hub, behind, "encrypt")
    hub.wait_for(r"subject_CN=hub\.example, .*, relay=yes \(all\)")


@pytest.mark.parametrize("relayhost, told", [
    ("relay-smtps:[{host}]:{smtps}", "no client certificate was shown"),
    ("relay:[{host}]:{smtp} tls=encrypt", "no client certificate was shown"),
    ("relay:[{host}]:{smtp} tls=none", "no TLS, hence no client certificate"),
])
def test_edge_without_a_certificate(site, certs, hub, relayhost, told):
    """Its user is told, and the hub's log says what was missing."""
    since = len(hub.server.lines)
    edge = site.edge(relayhost=filled(relayhost, site, hub), smtp_tls_cert_file="",
                     smtp_tls_key_file="")
    line = edge.delivered(AWAY, submit(certs, edge, ALICE, AWAY), "bounced")
    assert f"status=bounced (554 5.7.1 <{AWAY}>: Relay access denied)" in line
    edge.delivered(ALICE)
    assert any(b"Relay access denied" in message for message in edge.mailbox(ALICE))
    hub.wait_for(rf"unknown\[{HOST}\]: relay=no \({told}; relay_clientcerts would have to list it\)",
                 since)


def test_edge_with_a_certificate_of_somebody_else(site, certs, hub):
    edge = site.edge(relayhost=filled("relay-smtps:[{host}]:{smtps}", site, hub),
                     **certificate(certs, "stranger"))
    edge.delivered(AWAY, submit(certs, edge, ALICE, AWAY), "bounced")
    hub.wait_for(r"relay=no \(.*unknown CA \(issuer CN=Other CA\)\)")


# ---- providers ----

@pytest.mark.parametrize("way", ["relayhost", "map"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_provider_that_wants_a_login(site, certs, way, tls, mechanism):
    login = Login({USER: PASSWORD})
    peer = site.peer(tls=tls, extensions=["PIPELINING", f"AUTH {mechanism}"],
                     replies={"AUTH": login})
    transport = "relay-smtps" if tls == "implicit" else "relay"
    next_hop = f"{transport}:[{HOST}]:{peer.port} tls=verify"
    there = {"relayhost": next_hop} if way == "relayhost" else {"routes": f"* {next_hop}\n"}
    edge = site.edge(**there, smtp_sasl_auth_enable="yes",
                     smtp_sasl_password_maps=f"inline:{{ [{HOST}]:{peer.port} = "
                                             f"{USER}:{PASSWORD} }}")
    line = edge.delivered(AWAY, submit(certs, edge, ALICE, AWAY))
    assert f", tls=verify:{peer.sessions[0].tls.version()}:verified, " in line
    assert login.attempts == [(mechanism, USER, True)]
    (message,) = peer.messages
    assert (message.sender, message.recipients) == (ALICE, [AWAY])
    edge.stop()
    assert PASSWORD not in edge.server.log()


def test_hub_for_most_and_a_provider_for_the_rest(site, certs, hub, behind):
    """Two ways out of one edge: each gets its own proof, and the hub no password."""
    login = Login({USER: PASSWORD})
    peer = site.peer(tls="starttls", extensions=["AUTH PLAIN"], replies={"AUTH": login})
    edge = site.edge(routes=f"far.example relay:[{HOST}]:{peer.port} tls=verify\n",
                     relayhost=filled("relay-smtps:[{host}]:{smtps} tls=verify", site, hub),
                     smtp_sasl_auth_enable="yes", smtp_sasl_password_maps=(
                         f"inline:{{ [{HOST}]:{peer.port} = {USER}:{PASSWORD} }}"),
                     **certificate(certs))
    edge.certs = certs
    goes(edge, hub, behind, "verify")
    edge.delivered("x@far.example", submit(certs, edge, ALICE, "x@far.example"))
    assert login.attempts == [("PLAIN", USER, True)]
