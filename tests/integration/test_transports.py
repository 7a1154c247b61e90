"""Transports that send nothing: what the log, the ledger and trace call them."""

import json

from clients import HOST, relay

SENDER = "test1@vm2.vm"


def rows(host, *arguments):
    got = host.command("ledger", "list", "--json", *arguments)
    assert not got.stderr
    return [json.loads(line) for line in got.stdout.splitlines()]


def test_local_is_a_mailbox_of_this_edge(site):
    """As virtual: is, by its own name."""
    edge = site.edge("vm1.vm", "alice@vm1.vm local:\n")
    message_id = relay(edge, SENDER, ["alice@vm1.vm", "test1@vm1.vm"])
    edge.removed(message_id)
    local, virtual = (edge.delivered(f"{name}@vm1.vm", message_id) for name in ("alice", "test1"))
    assert " posthouse/local[" in local and ", relay=local, " in local and ", tls=" not in local
    assert " posthouse/virtual[" in virtual and ", relay=virtual, " in virtual
    assert len(edge.mailbox("alice@vm1.vm")) == len(edge.mailbox("test1@vm1.vm")) == 1
    assert {row["recipient"]: (row["transport"], row["status"], row["tls"])
            for row in rows(edge)} == {
        "alice@vm1.vm": ("local", "delivered", None),
        "test1@vm1.vm": ("virtual", "delivered", None)}
    assert b"local" in edge.command("trace", "alice@vm1.vm").stdout


def test_local_without_a_mailbox_is_returned(site):
    peer = site.peer()
    edge = site.edge("vm1.vm", f"vm3.vm local:\nvm2.vm relay:{HOST}:{peer.port} tls=none\n",
                     mynetworks="127.0.0.0/8")
    line = edge.delivered("who@vm3.vm", relay(edge, SENDER, "who@vm3.vm"), "bounced")
    assert 'dsn=5.1.1, status=bounced (unknown user: "who@vm3.vm")' in line
    assert peer.wait_for_messages(1)[0].recipients == [SENDER]


def test_discard_is_told_as_what_it_is(site):
    hub = site.hub("vm1.vm discard:spam trap\n")
    message_id = relay(hub, SENDER, "alice@vm1.vm")
    hub.removed(message_id)
    line = hub.delivered("alice@vm1.vm", message_id)
    assert " posthouse/discard[" in line and ", relay=none, " in line and ", tls=" not in line
    assert "dsn=2.0.0, status=sent (discarded: spam trap)" in line
    assert rows(hub) == []  # those are attempts
    (event,) = json.loads(hub.command("trace", "--json", message_id).stdout)["events"]
    assert (event["event"], event["transport"], event["status"], event["peer"], event["tls"]) == (
        "decision", "discard", "delivered", "", None)
    assert event["reply"] == "250 2.0.0 discarded: spam trap"
    got = hub.command("trace", message_id)
    assert b"discarded; nobody was asked" in got.stdout and b"as ts:1 says" in got.stdout


def test_an_extension_is_looked_up_without(site):
    plain, tagged, rest = site.peer(), site.peer(), site.peer()
    hub = site.hub(f"bob@vm2.vm relay:{HOST}:{plain.port} tls=none\n"
                   f"bob+tag@vm2.vm relay:{HOST}:{tagged.port} tls=none\n"
                   f"* relay:{HOST}:{rest.port} tls=none\n", recipient_delimiter="+")
    everybody = {"bob@vm2.vm": plain, "bob+x@vm2.vm": plain, "bob+tag@vm2.vm": tagged,
                 '"bob"@vm2.vm': plain, "bobby+x@vm2.vm": rest}
    hub.removed(relay(hub, SENDER, list(everybody)))
    for peer in (plain, tagged, rest):
        (message,) = peer.messages
        assert message.recipients == [name for name, other in everybody.items() if other is peer]
