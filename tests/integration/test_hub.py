"""A hub: whom it serves, and where its transport map sends mail."""

import re

import pytest

from clients import HOST, connect, relay, text, transact

SENDER = "alice@vm1.vm"


# ---- whom it serves ----

def test_relay_domains_decide(site, certs):
    hub = site.hub(files={"domains": "vm2.vm yes\n"},
                   relay_domains="vm1.vm, .vm3.vm, hash:domains")
    for tls, service in (("none", "smtp"), ("starttls", "smtp"), ("implicit", "smtps")):
        with connect(certs, hub.port(service), tls) as client:
            assert not client.has_extn("auth")
            assert client.docmd("AUTH", "PLAIN AGEAYgA=")[0] in (502, 503)
            assert client.mail("anybody@elsewhere.example")[0] == 250
            for good in ("a@vm1.vm", "a@VM1.VM", "a@vm2.vm", "a@sub.vm3.vm", "a@x.sub.vm3.vm"):
                assert client.rcpt(good)[0] == 250, good
            for bad in ("a@vm3.vm", "a@sub.vm1.vm", "a@vm.vm", "a@elsewhere.example",
                        "a@mta.vm.vm", "a%vm1.vm@elsewhere.example",
                        '"a@vm1.vm"@elsewhere.example', "a%elsewhere.example@vm1.vm",
                        '"a@elsewhere.example"@vm2.vm'):
                code, reply = client.rcpt(bad)
                assert code == 554, bad
                assert reply.startswith(b"5.7.1 ") and reply.endswith(b": Relay access denied")
            assert client.rcpt("postmaster")[0] == 554  # completed with myorigin, which is vm.vm


def test_mynetworks(site):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", mynetworks="127.0.0.0/8")
    hub.delivered("a@elsewhere.example", relay(hub, SENDER, "a@elsewhere.example"))


# ---- where mail goes ----

def test_kinds_of_keys_and_next_hops(site, certs):
    """One hub, a map with all of them, and for each recipient the peer that must have got it."""
    dns = site.dns({"both.hub.example": ["127.0.0.1", "::1"], "six.hub.example": ["::1"],
                    "hub.example": ["127.0.0.1"]})
    starttls, implicit = site.peer(tls="starttls"), site.peer(tls="implicit")
    named, six = site.peer(tls="starttls"), site.peer(tls="starttls", host="::1")
    special, rest, below = (site.peer(tls="starttls") for _ in range(3))
    refused = site.port()
    hub = site.hub(f"""\
# the kinds of next hops
vm1.vm           relay:{HOST}:{starttls.port}
vm2.vm           relay-smtps:{HOST}:{implicit.port}   tls=verify
name.example     relay:hub.example:{named.port}       tls=verify
bracket.example  relay:[hub.example]:{named.port}     tls=verify
smtp.example     smtp:[{HOST}]:{starttls.port}
six.example      relay:[::1]:{six.port}               tls=verify
six-name.example relay:[six.hub.example]:{six.port}
both.example     relay:[both.hub.example]:{named.port}
several.example  relay:{HOST}:{refused}, [::1]:{refused}, {HOST}:{starttls.port}
# the kinds of keys
special@vm1.vm   relay:{HOST}:{special.port}
.vm1.vm          relay:{HOST}:{below.port}
*                relay:{HOST}:{rest.port}
""", relay_domains=".vm1.vm, vm1.vm, vm2.vm, example, .example, other", resolver=dns.address)
    wanted = {
        "a@vm1.vm": starttls, "a@vm2.vm": implicit, "a@name.example": named,
        "a@bracket.example": named, "a@smtp.example": starttls, "a@six.example": six,
        "a@six-name.example": six, "a@both.example": named, "a@several.example": starttls,
        "special@vm1.vm": special, "Special@VM1.vm": special, "a@sub.vm1.vm": below,
        "a@x.sub.vm1.vm": below, "a@other": rest, "a@other.example": rest,
    }
    message_id = relay(hub, SENDER, list(wanted), text("all of them"))
    for recipient in wanted:
        hub.delivered(recipient, message_id)
    hub.removed(message_id)
    for recipient, peer in wanted.items():
        for other in {*wanted.values()}:
            got = [m for m in other.messages if recipient in m.recipients]
            assert len(got) == (1 if other is peer else 0), recipient
    for peer in {*wanted.values()}:
        assert all(message.session.tls for message in peer.messages)
    (row,) = hub.ledger("a@vm2.vm")
    assert (row["tls_mode"], row["tls_level"], row["tls_verified"]) == ("implicit", "verify", 1)
    assert row["source"].endswith("ts:3")
    (row,) = hub.ledger("a@vm1.vm")
    assert (row["tls_mode"], row["tls_level"]) == ("starttls", "encrypt")


def test_servers_name_is_sent(site):
    """SNI is the next hop's name, or servername=, and nothing for an address."""
    seen = {}
    dns = site.dns({"hub.example": ["127.0.0.1"]})
    peer = site.peer(tls="starttls")
    peer.context.sni_callback = lambda ssl, name, context: seen.setdefault(name, 1) and None
    hub = site.hub(f"vm1.vm relay:[hub.example]:{peer.port}\n"
                   f"vm2.vm relay:{HOST}:{peer.port} servername=other.example\n"
                   f"vm3.vm relay:{HOST}:{peer.port}\n", resolver=dns.address)
    for domain in ("vm1.vm", "vm2.vm", "vm3.vm"):
        hub.delivered(f"a@{domain}", relay(hub, SENDER, f"a@{domain}"))
    assert set(seen) == {"hub.example", "other.example", None}


def test_names_that_do_not_resolve(site):
    dns = site.dns({"broken.example": None, "empty.example": []})
    hub = site.hub("vm1.vm relay:[broken.example]\nvm2.vm relay:[empty.example]\n"
                   "vm3.vm relay:[absent.example]\n", resolver=dns.address)
    for domain in ("vm1.vm", "vm2.vm", "vm3.vm"):
        message_id = relay(hub, SENDER, f"a@{domain}")
        hub.delivered(f"a@{domain}", message_id, "deferred")
        state = hub.waiting(f"a@{domain}")
        assert state["enhanced_status"] == "4.4.3", state


def test_relayhost_and_default_transport(site):
    peer, other = site.peer(tls="starttls"), site.peer(tls="implicit")
    hub = site.hub(f"vm1.vm relay:{HOST}:{peer.port}\n",
                   relayhost=f"relay-smtps:{HOST}:{other.port}")
    hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm"))
    hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"))
    assert [m.recipients for m in peer.messages] == [["a@vm1.vm"]]
    assert [m.recipients for m in other.messages] == [["a@vm2.vm"]]

    bare = site.hub(relayhost=f"[{HOST}]:{peer.port}")
    bare.delivered("a@vm3.vm", relay(bare, SENDER, "a@vm3.vm"))
    assert peer.messages[-1].recipients == ["a@vm3.vm"]


def test_error_and_retry_and_discard(site):
    peer = site.peer(tls="starttls")
    hub = site.hub(f"vm1.vm relay:{HOST}:{peer.port}\nvm2.vm retry:4.2.1 come back later\n"
                   "vm3.vm discard:silently\n", default_transport="error:5.7.1 no such route")
    message_id = relay(hub, SENDER, ["a@vm2.vm", "a@vm3.vm", "a@example"])
    line = hub.delivered("a@example", message_id, "bounced")
    assert "relay=none" in line and "dsn=5.7.1" in line and "(no such route)" in line
    line = hub.delivered("a@vm2.vm", message_id, "deferred")
    assert "dsn=4.2.1" in line and "(come back later)" in line
    hub.delivered("a@vm3.vm", message_id)
    hub.delivered(SENDER)  # the notification, by the map
    assert [m.sender for m in peer.wait_for_messages(1)] == [""]


# ---- the map changes ----

def test_a_changed_map_is_taken_up(site):
    old, new = site.peer(tls="starttls"), site.peer(tls="starttls")
    hub = site.hub(f"vm1.vm relay:{HOST}:{old.port}\n")
    hub.delivered("a@vm1.vm", relay(hub, SENDER, "a@vm1.vm"))

    mark = hub.server.mark()
    hub.write("ts", f"vm1.vm relay:{HOST}:{new.port}\n")
    hub.wait_for("ts has changed and was taken up", since=mark)
    hub.delivered("b@vm1.vm", relay(hub, SENDER, "b@vm1.vm"))

    mark = hub.server.mark()
    hub.write("ts", f"vm1.vm relay:{HOST}:{old.port}\nvm2.vm relay-stmps:{HOST}\n")
    line = hub.wait_for("relay-stmps", since=mark)
    assert re.search(r"error: .*ts:2: .*did you mean relay-smtps", line)
    hub.delivered("c@vm1.vm", relay(hub, SENDER, "c@vm1.vm"))

    mark = hub.server.mark()
    hub.write("ts", f"vm1.vm relay:{HOST}:{old.port}\n")
    hub.wait_for("ts has changed and was taken up", since=mark)
    hub.delivered("d@vm1.vm", relay(hub, SENDER, "d@vm1.vm"))
    assert [m.recipients for m in old.messages] == [["a@vm1.vm"], ["d@vm1.vm"]]
    assert [m.recipients for m in new.messages] == [["b@vm1.vm"], ["c@vm1.vm"]]


def test_a_changed_map_applies_to_what_waits(site):
    peer = site.peer(tls="starttls")
    hub = site.hub(f"vm1.vm relay:{HOST}:{site.port()}\n", minimal_backoff_time="1s",
                   maximal_backoff_time="1s")
    message_id = relay(hub, SENDER, "a@vm1.vm")
    hub.delivered("a@vm1.vm", message_id, "deferred")
    hub.write("ts", f"vm1.vm relay:{HOST}:{peer.port}\n")
    hub.delivered("a@vm1.vm", message_id)


def test_recipients_of_one_transaction_keep_their_lines(site):
    """They share a connection and a transaction, but the ledger tells which line was whose."""
    peer = site.peer(tls="starttls")
    hub = site.hub(f"vm1.vm relay:{HOST}:{peer.port}\nvm2.vm relay:[{HOST}]:{peer.port}\n")
    hub.removed(relay(hub, SENDER, ["a@vm1.vm", "b@vm2.vm"]))
    (message,) = peer.messages
    assert message.recipients == ["a@vm1.vm", "b@vm2.vm"]
    assert [(row["source"], row["next_hop"])
            for recipient in message.recipients for row in hub.ledger(recipient)] == [
        ("ts:1", f"{HOST}:{peer.port}"), ("ts:2", f"[{HOST}]:{peer.port}")]


@pytest.mark.parametrize("headers", [49, 51])
def test_loops_are_cut(site, certs, headers):
    peer = site.peer(tls="starttls")
    hub = site.hub(f"* relay:{HOST}:{peer.port}\n")
    message = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n" * headers + text("x")
    with connect(certs, hub.port(), "none") as client:
        if headers < 50:
            hub.delivered("a@vm1.vm", transact(client, SENDER, "a@vm1.vm", message))
        else:
            client.mail(SENDER)
            client.rcpt("a@vm1.vm")
            assert client.data(message) == (554, b"5.4.6 Error: too many hops")
