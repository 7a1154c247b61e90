"""Domains beyond ASCII: one domain, whichever of its two spellings somebody uses where."""

import smtplib

import pytest

from clients import HOST, text
from server import PATIENCE_S

SENDER = "alice@vm1.vm"
UNICODE, ASCII = "bücher.example", "xn--bcher-kva.example"
UTF8 = ("PIPELINING", "8BITMIME", "SMTPUTF8")


def send(host, recipient):
    """Returns the ID, or the answer to RCPT."""
    with smtplib.SMTP(HOST, host.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.command_encoding = "utf-8"
        client.ehlo()
        assert client.mail(SENDER, ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        code, reply = client.rcpt(recipient)
        if code != 250:
            return f"{code} {reply.decode()}"
        code, reply = client.data(text("a@vm2.vm"))
        assert code == 250, reply
        return reply.decode().split()[-1]


@pytest.mark.parametrize("written", [UNICODE, ASCII])
def test_routes(site, written):
    """The map, relay_domains, and what comes: each in either spelling."""
    peer = site.peer(extensions=UTF8)
    hub = site.hub(f"{written} relay:[{HOST}]:{peer.port} tls=none\n"
                   f".{written} relay:[{HOST}]:{peer.port} tls=none\n"
                   "* error:5.7.1 elsewhere\n", relay_domains=f"{written}, .{written}")
    for domain in (UNICODE, ASCII, "BÜCHER.Example", f"sub.{UNICODE}", f"sub.{ASCII}"):
        assert ", status=sent (" in hub.wait_for(
            f"{send(hub, f'a@{domain}')}: to=<a@{domain}>.* status=")
    # the envelope is passed on as it came
    assert [message.recipients[0] for message in peer.messages] == [
        f"a@{domain}" for domain in (UNICODE, ASCII, "BÜCHER.Example", f"sub.{UNICODE}",
                                     f"sub.{ASCII}")]


@pytest.mark.parametrize("domain", [UNICODE, ASCII])
def test_dns_is_asked_in_ascii(site, domain):
    dns = site.dns({ASCII: [(0, ".")]})
    hub = site.hub("vm1.vm discard:\n", resolver=dns.address, relay_domains=UNICODE)
    line = hub.wait_for(f"{send(hub, f'a@{domain}')}: to=<a@{domain}>.* status=")
    assert f", dsn=5.1.10, status=bounced ({ASCII}: domain does not accept mail" in line
    assert dns.asked == [ASCII]


def test_next_hop_beyond_ascii(site):
    peer = site.peer(extensions=UTF8)
    dns = site.dns({ASCII: [(10, "mx.example")], "mx.example": [HOST]})
    hub = site.hub(f"vm2.vm relay:{UNICODE}:{peer.port}\n", resolver=dns.address,
                   smtp_tls_policy_maps="inline:{ " + f"{ASCII} = none" + " }")
    line = hub.wait_for(f"{send(hub, 'a@vm2.vm')}: to=<a@vm2.vm>.* status=")
    assert f"relay=mx.example[{HOST}]:{peer.port}, " in line and ", status=sent (" in line


@pytest.mark.parametrize("written", [UNICODE, ASCII])
@pytest.mark.parametrize("maps", [True, False])
def test_mailboxes(site, written, maps):
    """Of the map of mailboxes, and those that accounts have."""
    options = {} if maps else {"virtual_mailbox_maps": ""}
    edge = site.edge("vm1.vm", virtual_mailbox_domains=written,
                     users=f"alice@{written}:{{PLAIN}}alice::::::\n", **options)
    edge.write("vusers", f"alice@{written} {written}/alice/\n")
    edge.command("reload")
    for domain in (UNICODE, ASCII):
        message_id = send(edge, f"Alice@{domain}")
        assert ", status=sent (" in edge.wait_for(f"{message_id}: to=<Alice@{domain}>.* status=")
    assert len(edge.mailbox(f"alice@{written}")) == 2
    assert send(edge, f"bob@{UNICODE}").startswith("550 5.1.1")


def test_what_looks_like_another_domain(site):
    """A wide "@" is mapped to one by UTS 46; the domain is none, and nobody else's."""
    hub = site.hub("* error:5.7.1 nobody has this\n", relay_domains="vm2.vm")
    assert send(hub, "a@evil＠vm2.vm").startswith(("501 ", "553 ", "554 5.7.1"))
