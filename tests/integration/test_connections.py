"""How mail leaves: one message behind another, in chunks, binary, and with REQUIRETLS."""

import re
import threading

import pytest

from clients import HOST, connect, relay, text, tls_context, transact
from peer import DROP, PATIENCE_S
from test_chunking import greeted, queued

SENDER, RECIPIENT = "alice@vm1.vm", "bob@vm2.vm"
CHUNKING = ("PIPELINING", "SIZE 52428800", "8BITMIME", "CHUNKING")


def hub_for(site, *peers, transport="relay", tls="none", **parameters):
    hops = ", ".join(f"{HOST}:{peer.port}" for peer in peers)
    return site.hub(f"vm2.vm {transport}:{hops} tls={tls}\nvm1.vm discard:\n", workers=1,
                    **{"default_destination_concurrency_limit": 1, **parameters})


def verbs(session):
    return [command.split()[0].upper() for command in session.commands]


# ---- several in flight ----

def test_several_messages_in_flight(site):
    """The first has no answer until all others are there; each arrives once, whole and in order."""
    asked, others_are_there = threading.Event(), threading.Event()

    def answer(session, message):
        asked.set()
        assert others_are_there.wait(PATIENCE_S)

    peer = site.peer(extensions=CHUNKING, replies={"END": [answer]})
    hub = hub_for(site, peer)
    first = relay(hub, SENDER, RECIPIENT, text(RECIPIENT, "no 0"))
    assert asked.wait(PATIENCE_S)
    ids = [relay(hub, SENDER, RECIPIENT, text(RECIPIENT, f"no {i}")) for i in range(1, 20)]
    others_are_there.set()
    messages = peer.wait_for_messages(20)
    for message_id in [first, *ids]:
        hub.delivered(RECIPIENT, message_id)
    subjects = [re.search(rb"\r\nSubject: no (\d+)\r\n", m.body)[1] for m in messages]
    assert subjects == [str(i).encode() for i in range(20)]
    assert len(peer.sessions) == 1 and "DATA" not in verbs(peer.sessions[0])
    assert "RSET" in verbs(peer.sessions[0])  # so some went behind others


def test_each_refusal_is_for_its_own_message(site):
    def recipient(session, argument):
        return "550 5.1.1 no such user" if "nobody" in argument else None

    def end(session, message):
        return "554 5.7.1 spam" if b"no 3." in message.body else None

    peer = site.peer(extensions=CHUNKING, replies={"RCPT": recipient, "END": end})
    hub, ids = hub_for(site, peer), []
    with connect(site.certs, hub.port()) as client:
        for i in range(12):
            name = "nobody@vm2.vm" if i % 5 == 1 else f"user{i}@vm2.vm"
            identity = transact(client, SENDER, name, text(name, f"no {i}."))
            ids.append(identity)
    for i, identity in enumerate(ids):
        if i % 5 == 1:
            assert "dsn=5.1.1" in hub.delivered("nobody@vm2.vm", identity, "bounced")
        else:
            hub.delivered(f"user{i}@vm2.vm", identity, "bounced" if i == 3 else "sent")
    assert len(peer.wait_for_messages(8)) == 8
    assert not any(b"no 3." in message.body for message in peer.messages)


@pytest.mark.parametrize("extensions", [CHUNKING, CHUNKING[:3]], ids=["bdat", "data"])
def test_peer_that_ends_sessions_at_will(site, extensions):
    """421 where a new transaction begins: nothing is deferred for that, and nothing comes twice."""
    seen = []

    def mail(session, argument):
        seen.append(session)
        return "421 4.7.0 enough" if seen.count(session) > 3 else None

    peer = site.peer(extensions=extensions, replies={"MAIL": mail})
    hub = hub_for(site, peer)
    ids = []
    with connect(site.certs, hub.port()) as client:
        for i in range(20):
            ids.append(transact(client, SENDER, RECIPIENT, text(RECIPIENT, f"no {i}.")))
    for message_id in ids:
        hub.delivered(RECIPIENT, message_id)
    bodies = b"".join(message.body for message in peer.wait_for_messages(20))
    assert all(bodies.count(b"Subject: no %d." % i) == 1 for i in range(20))
    assert "status=deferred" not in hub.server.log()


# ---- large and binary ----

def test_large_message_in_chunks(site):
    body = b"0123456789abcdef\r\n" * 60000
    peer = site.peer(extensions=CHUNKING)
    hub = hub_for(site, peer)
    hub.delivered(RECIPIENT, relay(hub, SENDER, RECIPIENT, text(RECIPIENT) + body))
    (message,) = peer.wait_for_messages(1)
    assert message.body.endswith(body)
    assert verbs(peer.sessions[0]).count("BDAT") > 3


@pytest.mark.parametrize("reply,status", [("552 5.3.4 too much", "bounced"),
                                          ("452 4.3.1 full", "deferred")])
def test_chunk_refused(site, reply, status):
    """The message is not sent to its end, and the connection goes on."""
    peer = site.peer(extensions=CHUNKING, replies={"BDAT": [reply]})
    hub = hub_for(site, peer)
    relay(hub, SENDER, RECIPIENT, text(RECIPIENT) + b"0123456789abcdef\r\n" * 60000)
    line = hub.delivered(RECIPIENT, status=status)
    assert reply in line and "in reply to" not in line
    hub.delivered("carol@vm2.vm", relay(hub, SENDER, "carol@vm2.vm"))
    assert len(peer.messages) == 1 and len(peer.sessions) == 1
    assert "RSET" in verbs(peer.sessions[0])


def test_binary(site):
    data = b"Subject: bin\r\n\r\n" + bytes(range(256)) * 4000
    taker, other = site.peer(extensions=(*CHUNKING, "BINARYMIME")), site.peer(extensions=CHUNKING)
    hub = site.hub(f"vm2.vm relay:{HOST}:{taker.port} tls=none\n"
                   f"vm3.vm relay:{HOST}:{other.port} tls=none\nvm1.vm discard:\n")
    with greeted(hub) as raw:
        raw.begin(" BODY=BINARYMIME", ["bob@vm2.vm", "bob@vm3.vm"])
        message_id = queued(raw.ask(f"BDAT {len(data)} LAST", data))
    hub.delivered("bob@vm2.vm", message_id)
    line = hub.delivered("bob@vm3.vm", message_id, "bounced")
    assert "dsn=5.6.1" in line and "the message is binary (BODY=BINARYMIME)" in line
    (message,) = taker.wait_for_messages(1)
    assert message.body.endswith(data)
    (mail,) = [c for c in taker.sessions[0].commands if c.startswith("MAIL ")]
    assert "BODY=BINARYMIME" in mail.split()
    assert not other.messages and "MAIL" not in verbs(other.sessions[0])


# ---- what the operator sets ----

def test_discarded_keywords(site):
    peer = site.peer(extensions=CHUNKING)
    hub = hub_for(site, peer, smtp_discard_ehlo_keywords="chunking, 8BITMIME")
    hub.delivered(RECIPIENT, relay(hub, SENDER, RECIPIENT, text(RECIPIENT) + b"\xff\r\n"))
    assert "BDAT" not in verbs(peer.sessions[0]) and "DATA" in verbs(peer.sessions[0])
    assert not any("8BITMIME" in command for command in peer.sessions[0].commands)


def test_connection_is_used_for_so_many(site):
    peer = site.peer()
    hub = hub_for(site, peer, smtp_connection_reuse_count_limit=2)
    for i in range(4):
        hub.delivered(RECIPIENT, relay(hub, SENDER, RECIPIENT, text(RECIPIENT, f"no {i}")))
    assert [verbs(session).count("MAIL") for session in peer.sessions] == [2, 2]


def test_envelope_was_in_the_clear(site):
    """And the message then went over TLS: the ledger has not forgotten."""
    peer = site.peer("starttls", replies={"EHLO": ["250 peer.example"],
                                          "MAIL": [None, "421 4.3.2 later"]})
    hub = hub_for(site, peer, tls="may", smtp_connection_cache_time_limit="100s")
    hub.delivered("carol@vm2.vm", relay(hub, SENDER, "carol@vm2.vm"))
    message_id = relay(hub, SENDER, RECIPIENT)
    assert ", tls=may:TLSv1.3" in hub.delivered(RECIPIENT, message_id)
    hub.removed(message_id)
    assert [bool(row["in_clear"]) for row in hub.ledger(RECIPIENT)] == [True]


def test_split_envelope_was_in_the_clear(site):
    """Nor has it for the recipient that was one too many, and went over the next connection."""
    peer = site.peer("starttls", replies={"EHLO": ["250-peer.example\r\n250 LIMITS MAILMAX=1"],
                                          "RCPT": [None, "452 4.5.3 one at a time"]})
    hub = hub_for(site, peer, tls="may")
    message_id = relay(hub, SENDER, [RECIPIENT, "carol@vm2.vm"])
    hub.delivered(RECIPIENT, message_id)
    assert ", tls=may:TLSv1.3" in hub.delivered("carol@vm2.vm", message_id)
    hub.removed(message_id)
    for address in RECIPIENT, "carol@vm2.vm":
        assert [bool(row["in_clear"]) for row in hub.ledger(address)] == [True]


# ---- REQUIRETLS ----

REQUIRETLS = ("PIPELINING", "8BITMIME", "REQUIRETLS")


def submit_requiretls(site, hub, recipient=RECIPIENT, sender=SENDER):
    with greeted(hub, "smtps", tls_context(site.certs)) as raw:
        assert raw.ask(f"MAIL FROM:<{sender}> REQUIRETLS").startswith("250 ")
        assert raw.ask(f"RCPT TO:<{recipient}>").startswith("250 ")
        message = text(recipient, "secret")
        return queued(raw.ask(f"BDAT {len(message)} LAST", message))


@pytest.mark.parametrize("level", ["encrypt", "may", "verify"])
def test_requiretls_goes_on(site, level):
    """At each level it takes a peer that is verified and has REQUIRETLS; the first one is not."""
    stranger = site.peer("starttls", "stranger", extensions=REQUIRETLS)
    plain = site.peer(extensions=REQUIRETLS)
    without = site.peer("starttls", extensions=REQUIRETLS[:2])
    good = site.peer("starttls", extensions=REQUIRETLS)
    hub = hub_for(site, stranger, plain, without, good, tls=level)
    message_id = submit_requiretls(site, hub)
    line = hub.delivered(RECIPIENT, message_id)
    assert f":{good.port}, " in line
    (message,) = good.messages
    (mail,) = [c for c in message.session.commands if c.startswith("MAIL ")]
    assert "REQUIRETLS" in mail.split()
    for peer in (stranger, plain, without):
        assert not any("MAIL" in verbs(session) for session in peer.sessions)
    # Mail without it goes where it may, to the first that has answered well or to others.
    hub.delivered("carol@vm2.vm", relay(hub, SENDER, "carol@vm2.vm"))


@pytest.mark.parametrize("tls,certificate,extensions,level,dsn,why", [
    ("starttls", "hub", REQUIRETLS[:2], "encrypt", "5.7.30", "REQUIRETLS.* does not offer"),
    ("starttls", "stranger", REQUIRETLS, "encrypt", "5.7.10", "nothing proves the name of host"),
    ("none", "hub", REQUIRETLS, "encrypt", "5.7.10", "TLS is required, but was not offered"),
    ("none", "hub", REQUIRETLS, "may", "5.7.10", "TLS is required, but was not offered"),
    ("none", "hub", REQUIRETLS, "none", "5.7.10", "there is none to host"),
])
def test_requiretls_comes_back(site, tls, certificate, extensions, level, dsn, why):
    peer = site.peer(tls, certificate, extensions=extensions)
    hub = hub_for(site, peer, tls=level)
    message_id = submit_requiretls(site, hub)
    line = hub.delivered(RECIPIENT, message_id, "bounced")
    assert f"dsn={dsn}," in line and re.search(why, line), line
    assert b"MAIL" not in peer.wire()
    assert not any("MAIL" in verbs(session) for session in peer.sessions)


@pytest.mark.parametrize("level", ["may", "encrypt"])
@pytest.mark.parametrize("domain, exchanger, is_proved", [
    ("dom.example", "hub.example", False), ("hub.example", "mx.dom.example", True)])
def test_requiretls_does_not_believe_mx(site, level, domain, exchanger, is_proved):
    """The certificate is for hub.example: nobody has to have asked for just that."""
    peer = site.peer("starttls", extensions=REQUIRETLS)
    dns = site.dns({domain: [(10, exchanger)], exchanger: [HOST]})
    hub = site.hub(f"vm2.vm relay:{domain}:{peer.port} tls={level}\nvm1.vm discard:\n",
                   resolver=dns.address)
    line = hub.delivered(RECIPIENT, submit_requiretls(site, hub), "sent" if is_proved else "bounced")
    assert is_proved or "dsn=5.7.10," in line and "nothing proves the name of host" in line
    assert len(peer.messages) == is_proved
    hub.delivered("carol@vm2.vm", relay(hub, SENDER, "carol@vm2.vm"))


def test_requiretls_waits_for_who_is_out_of_reach(site):
    """One next hop does not have it, another may: nobody knows before it answers."""
    gone = site.port()
    without = site.peer("starttls", extensions=REQUIRETLS[:2])
    hub = site.hub(f"vm2.vm relay:{HOST}:{gone}, {HOST}:{without.port} tls=encrypt\n")
    message_id = submit_requiretls(site, hub)
    line = hub.delivered(RECIPIENT, message_id, "deferred")
    assert "dsn=4.4.1" in line
    assert not any("MAIL" in verbs(session) for session in without.sessions)


def test_handshake_that_breaks_is_no_answer(site):
    peer = site.peer("starttls", extensions=REQUIRETLS, replies={"HANDSHAKE": DROP})
    hub = hub_for(site, peer, tls="may")
    message_id = submit_requiretls(site, hub)
    assert "dsn=4.7.5" in hub.delivered(RECIPIENT, message_id, "deferred")
    assert b"MAIL" not in peer.wire()


def test_report_goes_on_without_requiretls(site):
    """RFC 8689 section 5: a report is not lost for want of it."""
    peer = site.peer("starttls", extensions=REQUIRETLS[:2])
    hub = hub_for(site, peer, tls="encrypt")
    hub.delivered(RECIPIENT, submit_requiretls(site, hub, sender=""))
    (message,) = peer.wait_for_messages(1)
    assert message.sender == ""
