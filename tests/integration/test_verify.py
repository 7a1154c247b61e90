"""Address verification: a hub asks the edge whether there is such a recipient, before it takes mail."""

import json
import socket
import threading

import pytest

from clients import HOST, connect, relay
from peer import DROP, HANG, PATIENCE_S

SENDER = "mallory@forged.example"
KNOWN = "vm2.vm"  # the domain that is verified


def hub_that_asks(site, routes, **parameters):
    """Its clients wait for as long as a loaded machine may take."""
    return site.hub(routes, **{"relay_recipient_verify": KNOWN, "address_verify_poll_count": 20,
                               **parameters})


def verifying(site, peer, tls="none", **parameters):
    """It asks the peer about vm2.vm; vm1.vm goes there unasked."""
    return hub_that_asks(site, f"* relay:{HOST}:{peer.port} tls={tls}\n", **parameters)


def ask(hub, certs, *recipients, tls="none"):
    with connect(certs, hub.port(), tls) as client:
        assert client.mail(SENDER)[0] == 250
        return [client.rcpt(recipient) for recipient in recipients]


def one(hub, certs, recipient):
    return ask(hub, certs, recipient)[0]


def asked_for(peer):
    """The addresses of RCPT, in their order."""
    return [command.partition("<")[2].partition(">")[0] for session in peer.sessions
            for command in session.commands if command.startswith("RCPT")]


def commands(peer):
    return [command for session in peer.sessions for command in session.commands]


def by_name(**answers):
    """Replies to RCPT by local part; others are there."""
    return lambda session, argument: answers.get(
        argument.partition("<")[2].partition("@")[0].replace("+", "_"))


class Hold:
    """A reply to RCPT that is not given before let_go()."""

    def __init__(self, *answers):
        self._answers = iter(answers)
        self._asked, self._gone = threading.Event(), threading.Event()

    def __call__(self, session, argument):
        self._asked.set()
        assert self._gone.wait(PATIENCE_S)
        return "550 5.1.1 no" if "eve" in argument else next(self._answers, None)

    def wait_asked(self):
        assert self._asked.wait(PATIENCE_S)

    def let_go(self):
        self._gone.set()


# ---- what the next hop says ----

def test_what_the_next_hop_says(site, certs):
    peer = site.peer(replies={"RCPT": by_name(
        eve="550 5.1.1 <eve@vm2.vm>: User unknown",
        bare="550 unknown here",
        full="552 5.2.2 over quota",
        secret="550 5.7.1 not from you",
        grey="450 4.2.0 greylisted",
        sender="550 5.1.8 bad sender domain",
    )})
    hub = verifying(site, peer)
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    rejected = "Recipient address rejected: undeliverable address: "
    assert one(hub, certs, "eve@vm2.vm") == (
        550, f"5.1.1 <eve@vm2.vm>: {rejected}<eve@vm2.vm>: User unknown".encode())
    assert one(hub, certs, "bare@vm2.vm") == (
        550, f"5.1.1 <bare@vm2.vm>: {rejected}unknown here".encode())
    assert one(hub, certs, "full@vm2.vm") == (
        550, f"5.2.2 <full@vm2.vm>: {rejected}over quota".encode())
    assert one(hub, certs, "secret@vm2.vm") == (
        550, f"5.7.1 <secret@vm2.vm>: {rejected}not from you".encode())
    unverified = "Recipient address rejected: unverified address: "
    assert one(hub, certs, "grey@vm2.vm") == (
        450, f"4.1.1 <grey@vm2.vm>: {unverified}greylisted".encode())
    assert one(hub, certs, "sender@vm2.vm")[0] == 450, "that was about us"
    hub.wait_for("warning: .* does not let us ask about recipients: 550 .*address_verify_sender")

    assert set(commands(peer)) >= {"MAIL FROM:<>", "RSET"}
    assert not any(command.startswith(("DATA", "BDAT")) for command in commands(peer))
    assert not hub.queue()
    hub.wait_for(r"smtp\[\d+\]: \w+: to=<bob@vm2.vm>, relay=.*, dsn=2.1.5, status=deliverable \(250 ")
    hub.wait_for(r"to=<eve@vm2.vm>, relay=.*, dsn=5.1.1, status=undeliverable \(550 5.1.1 ")
    hub.wait_for("reject: RCPT from .* 550 5.1.1 <eve@vm2.vm>.* to=<eve@vm2.vm> proto=ESMTP")
    assert not hub.ledger("bob@vm2.vm"), "a question is no delivery"

    # All of that is known now, in whatever case it is asked for.
    before = asked_for(peer)
    assert [one(hub, certs, f"{name}@vm2.vm")[0] for name in
            ("BOB", "Eve", "bare", "full", "secret", "grey")] == [250, 550, 550, 550, 550, 450]
    assert asked_for(peer) == before
    assert one(hub, certs, "eve@vm1.vm")[0] == 250, "that domain is not verified"


def test_recipients_of_one_client_keep_their_order(site, certs):
    """And one that is refused leaves the others in the transaction."""
    peer = site.peer(replies={"RCPT": by_name(no="550 5.1.1 no", later="450 4.2.0 later")})
    hub = verifying(site, peer)
    with socket.create_connection((HOST, hub.port()), timeout=PATIENCE_S) as client:
        replies = client.makefile("rb")
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<no@vm2.vm>\r\n"
                       b"RCPT TO:<yes@vm2.vm>\r\nRCPT TO:<unasked@vm1.vm>\r\nRCPT TO:<later@vm2.vm>\r\n"
                       b"RCPT TO:<no@elsewhere.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
        lines = [line for line in replies.read().decode().splitlines() if line[3:4] != "-"]
    assert [line[:3] for line in lines] == \
        ["220", "250", "250", "550", "250", "250", "450", "554", "354", "250", "221"]
    message_id = lines[-2].split()[-1]
    hub.delivered("yes@vm2.vm", message_id)
    hub.delivered("unasked@vm1.vm", message_id)
    (message,) = peer.messages
    assert sorted(message.recipients) == ["unasked@vm1.vm", "yes@vm2.vm"]


def test_one_question_for_many_clients(site, certs):
    """They may be of several workers."""
    hold = Hold()
    peer = site.peer(replies={"RCPT": hold})
    hub = verifying(site, peer, workers=2)
    clients = [connect(certs, hub.port(), "none") for _ in range(12)]
    for client in clients:
        assert client.mail(SENDER)[0] == 250
    for i, client in enumerate(clients):
        client.putcmd("RCPT", "TO:<eve@vm2.vm>" if i % 2 else "TO:<bob@vm2.vm>")
    hold.wait_asked()
    hold.let_go()
    codes = [client.getreply()[0] for client in clients]
    assert codes == [550 if i % 2 else 250 for i in range(12)]
    assert sorted(asked_for(peer)) == ["bob@vm2.vm", "eve@vm2.vm"]
    for client in clients:
        client.quit()


def test_mail_goes_over_the_same_connection(site, certs):
    peer = site.peer(tls="starttls")
    hub = verifying(site, peer, tls="verify", smtp_connection_cache_time_limit="60s", workers=1)
    message_id = relay(hub, SENDER, "bob@vm2.vm")
    hub.delivered("bob@vm2.vm", message_id)
    (session,) = peer.sessions
    assert session.tls and b"RCPT" not in bytes(session.wire)
    verbs = [command.split()[0] for command in session.commands]
    assert verbs == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]


def test_mail_that_goes_by_is_an_answer(site, certs):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    hub.delivered("bob@vm2.vm", relay(hub, SENDER, "bob@vm2.vm"))
    hub.change(relay_recipient_verify=KNOWN, address_verify_poll_count=20)
    assert hub.command("reload").returncode == 0
    hub.delivered("bob@vm2.vm", relay(hub, SENDER, "bob@vm2.vm"))  # asked once,
    before = asked_for(peer)
    assert before == ["bob@vm2.vm"] * 3
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    assert asked_for(peer) == before


def test_mail_that_is_refused_casts_doubt(site, certs):
    """But is no answer: it may have been for the sender."""
    gone = threading.Event()
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              "550 5.1.1 gone" if gone.is_set() else None})
    hub = verifying(site, peer)
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    gone.set()
    message_id = relay(hub, SENDER, "bob@vm2.vm")
    hub.delivered("bob@vm2.vm", message_id, "bounced")
    assert one(hub, certs, "bob@vm2.vm")[0] == 550


def test_who_tries_names_meets_new_connections(site, certs):
    """A server counts refusals, and stalls sessions that have many: mail is not to pay for that."""
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              None if "bob" in argument else "550 5.1.1 no"})
    hub = verifying(site, peer, workers=1, smtp_connection_cache_time_limit="60s")
    answers = ask(hub, certs, *[f"name{i}@vm2.vm" for i in range(12)])
    assert {code for code, _ in answers} == {550}
    refused = [sum(command.startswith("RCPT") for command in session.commands)
               for session in peer.sessions]
    assert sum(refused) == 12 and max(refused) < 10


# ---- when it says nothing ----

def test_next_hop_that_is_down(site, certs):
    dead = site.port()
    hub = hub_that_asks(site, f"* relay:{HOST}:{dead} tls=none\n")
    for _ in range(3):
        code, text = one(hub, certs, "bob@vm2.vm")
        assert code == 450, text
        assert text == (b"4.1.1 <bob@vm2.vm>: Recipient address rejected: unverified address: "
                        b"its mail server cannot be asked now"), "hosts behind us are not told"
    answers = ask(hub, certs, *[f"name{i}@vm2.vm" for i in range(10)])
    assert {code for code, _ in answers} == {450}
    refused = [line for line in hub.server.lines if "Connection refused" in line
               and "status=undeliverable" in line]
    assert len(refused) == 1, "a next hop that is down is not asked again for each of them"


def test_next_hop_that_is_down_and_mail_is_taken(site, certs):
    peer = site.peer(replies={"RCPT": by_name(eve="550 5.1.1 no")})
    hub = verifying(site, peer, unverified_recipient_tempfail_action="permit")
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm")] == [250, 550]
    peer.close()
    codes = [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm", "new@vm2.vm")]
    assert codes == [250, 550, 250]


@pytest.mark.parametrize("replies", [
    {"GREETING": "421 4.3.2 too busy"},
    {"GREETING": DROP},
    {"RCPT": "421 4.7.0 too many errors"},
    {"RCPT": DROP},
    {"MAIL": "451 4.3.0 later"},
    {"MAIL": "550 5.7.1 not from you"},
    {"EHLO": "500 what?", "HELO": "550 not you"},
])
def test_no_answer_is_not_no(site, certs, replies):
    hub = verifying(site, site.peer(replies=replies))
    code, text = one(hub, certs, "bob@vm2.vm")
    assert code == 450, text
    assert not hub.queue()


def test_next_hop_that_hangs(site, certs):
    """The client waits for a moment; what comes later is for whoever asks then."""
    hold = Hold()
    peer = site.peer(replies={"RCPT": hold})
    hub = verifying(site, peer, address_verify_poll_count=2, address_verify_poll_delay="1s")
    assert one(hub, certs, "bob@vm2.vm") == (
        450, b"4.1.1 <bob@vm2.vm>: Recipient address rejected: unverified address: "
             b"Address verification in progress")
    hold.let_go()
    hub.wait_for("to=<bob@vm2.vm>.* status=deliverable ")
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    assert asked_for(peer) == ["bob@vm2.vm"]


def test_nobody_waits(site, certs):
    peer = site.peer()
    hub = verifying(site, peer, address_verify_poll_count=1)
    assert one(hub, certs, "bob@vm2.vm")[0] == 450
    hub.wait_for("to=<bob@vm2.vm>.* status=deliverable ")
    assert one(hub, certs, "bob@vm2.vm")[0] == 250


def test_client_goes_and_server_stops_while_it_is_asked(site, certs):
    hold = Hold(HANG)
    peer = site.peer(replies={"RCPT": hold})
    hub = verifying(site, peer)
    gone = connect(certs, hub.port(), "none")
    stays = connect(certs, hub.port(), "none")
    for client in (gone, stays):
        assert client.mail(SENDER)[0] == 250
        client.putcmd("RCPT", "TO:<bob@vm2.vm>")
    hold.wait_asked()
    gone.close()
    hub.stop()
    hold.let_go()
    stays.close()


def test_reload_while_it_is_asked(site, certs):
    hold = Hold(DROP)
    peer, other = site.peer(replies={"RCPT": hold}), site.peer()
    hub = verifying(site, peer)
    with connect(certs, hub.port(), "none") as client:
        assert client.mail(SENDER)[0] == 250
        client.putcmd("RCPT", "TO:<bob@vm2.vm>")
        hold.wait_asked()
        hub.write("ts", f"* relay:{HOST}:{other.port} tls=none\n")
        assert hub.command("reload").returncode == 0
        assert one(hub, certs, "carol@vm2.vm")[0] == 250
        assert asked_for(other) == ["carol@vm2.vm"]
        hold.let_go()
        assert client.getreply()[0] == 250, "the other one was asked, too"
        assert asked_for(other) == ["carol@vm2.vm", "bob@vm2.vm"]


# ---- not in the clear ----

@pytest.mark.parametrize("level, tls, certificate", [
    ("encrypt", "none", "hub"), ("verify", "starttls", "self-signed"),
])
def test_question_is_not_asked_below_the_policy(site, certs, level, tls, certificate):
    peer = site.peer(tls=tls, certificate=certificate)
    hub = verifying(site, peer, tls=level)
    code, text = one(hub, certs, "bob@vm2.vm")
    assert code == 450 and HOST.encode() not in text
    for session in peer.sessions:
        assert b"MAIL" not in bytes(session.wire) and b"bob" not in bytes(session.wire)
    assert peer.sessions


# ---- what is known, and for how long ----

def test_restart_forgets_nothing(site, certs):
    peer = site.peer(replies={"RCPT": by_name(eve="550 5.1.1 no", grey="450 4.2.0 later")})
    hub = verifying(site, peer)
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm", "grey@vm2.vm")] == \
        [250, 550, 450]
    hub.stop()
    hub.start()
    before = asked_for(peer)
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm")] == [250, 550]
    assert asked_for(peer) == before
    assert one(hub, certs, "grey@vm2.vm")[0] == 450
    assert asked_for(peer) == before + ["grey@vm2.vm"], "that was not for long"


def explain(hub, *arguments):
    got = hub.command("explain", *arguments)
    assert (got.returncode, got.stderr) == (0, b"")
    return got.stdout.decode()


def test_operator_looks_and_forgets(site, certs):
    is_there = threading.Event()
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              None if is_there.is_set() else "550 5.1.1 no"})
    hub = verifying(site, peer)
    asked = "  recipient    not known: its next hop would be asked\n"
    assert asked in explain(hub, "bob@vm2.vm")
    assert one(hub, certs, "bob@vm2.vm")[0] == 550
    hub.wait_for("to=<bob@vm2.vm>.* status=undeliverable ")
    hub.stop()  # what is known is written then, at the latest
    said = explain(hub, "BOB@vm2.vm")
    assert "  recipient    undeliverable, as its next hop said " in said
    assert "  action       error, as of verify.cache\n" in said
    assert "  because      550 undeliverable address: no\n" in said
    found = json.loads(explain(hub, "--json", "bob@vm2.vm"))
    assert found["recipient"].startswith("undeliverable, as its next hop said ")

    hub.start()
    assert one(hub, certs, "bob@vm2.vm")[0] == 550
    is_there.set()
    assert asked in explain(hub, "--forget", "Bob@vm2.vm")
    hub.wait_for("forget.*address=.*done")
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    hub.stop()
    assert "  recipient    deliverable, as its next hop said " in explain(hub, "bob@vm2.vm")
    assert asked in explain(hub, "--forget", "bob@vm2.vm"), "with no server, too"
    assert asked in explain(hub, "bob@vm2.vm")


def test_refusals_are_not_kept(site, certs):
    peer = site.peer(replies={"RCPT": by_name(eve="550 5.1.1 no")})
    hub = verifying(site, peer, address_verify_negative_cache="no",
                    unverified_recipient_reject_code=450)
    for _ in range(2):
        assert one(hub, certs, "eve@vm2.vm")[0] == 450
    assert asked_for(peer) == ["eve@vm2.vm"] * 2


def test_old_knowledge_is_refreshed_behind_the_client(site, certs):
    is_gone = threading.Event()
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              "550 5.1.1 gone" if is_gone.is_set() else None})
    hub = verifying(site, peer, address_verify_positive_refresh_time=0,
                    address_verify_negative_refresh_time=0)
    assert one(hub, certs, "bob@vm2.vm")[0] == 250
    is_gone.set()
    assert one(hub, certs, "bob@vm2.vm")[0] == 250, "as it was known"
    hub.wait_for("to=<bob@vm2.vm>.* status=undeliverable ")
    assert one(hub, certs, "bob@vm2.vm")[0] == 550


# ---- routes without a next hop ----

def test_routes_without_a_next_hop(site, certs):
    hub = hub_that_asks(site, "refused@vm2.vm error:5.1.6 moved\n"
                              "waiting@vm2.vm retry:4.3.2 not now\n"
                              "dropped@vm2.vm discard:\n* error:5.0.0 none\n")
    (refused, waiting, dropped) = ask(hub, certs, "refused@vm2.vm", "waiting@vm2.vm",
                                      "dropped@vm2.vm")
    assert refused == (550, b"5.1.6 <refused@vm2.vm>: Recipient address rejected: "
                            b"undeliverable address: moved")
    assert waiting[0] == 450 and b"not now" in waiting[1]
    assert dropped[0] == 250


def test_lmtp(site, certs):
    peer = site.peer(lmtp=True, replies={"RCPT": by_name(eve="550 5.1.1 no")})
    hub = hub_that_asks(site, f"* lmtp:{HOST}:{peer.port} tls=none\n")
    assert [code for code, _ in ask(hub, certs, "bob@vm2.vm", "eve@vm2.vm")] == [250, 550]


# ---- real edges ----

def test_unknown_user_of_an_edge(site, certs):
    """Nothing is taken that would have to be returned: no bounce is made anywhere."""
    edge = site.edge("vm2.vm")
    hub = hub_that_asks(site, f"vm2.vm relay:{HOST}:{edge.port('smtp')} tls=encrypt\n* discard:\n",
                        relay_recipient_verify="$relay_domains", relay_domains="vm2.vm")
    code, text = one(hub, certs, "eve@vm2.vm")
    assert code == 550 and b"undeliverable address" in text
    hub.delivered("bob@vm2.vm", relay(hub, SENDER, "bob@vm2.vm"))
    edge.delivered("bob@vm2.vm")
    assert len(edge.mailbox("bob@vm2.vm")) == 1
    for host in (hub, edge):
        assert not any("non-delivery" in line for line in host.server.lines)
