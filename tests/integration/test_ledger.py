"""The ledger and trace: what went which way is told, rightly, with a server and without one."""

import hashlib
import json
import re
import sqlite3
import ssl

import pytest

import ledger_chain
from clients import HOST, connect, relay, submit, text, transact

SENDER = "alice@vm1.vm"
NASTY = "\x1b[31mred\x07 \\x00 \"quoted\" '; DROP TABLE q_ledger; --"

ROW = ["time", "id", "sender", "recipient", "transport", "next_hop", "peer", "status", "reply",
       "tls"]
TLS = ["level", "mode", "protocol", "cipher", "verified", "peer_name", "fingerprint", "resumed"]


def run(host, *arguments):
    got = host.command(*arguments)
    return got.returncode, got.stdout.decode(), got.stderr.decode()


def rows(host, *arguments):
    code, out, err = run(host, "ledger", "list", "--json", *arguments)
    assert (code, err) in ((0, ""), (1, ""))
    return [json.loads(line) for line in out.splitlines()]


def trace(host, word):
    code, out, err = run(host, "trace", word)
    assert (code, err) == (0, ""), err
    return out


@pytest.fixture(scope="module")
def day(shared_site):
    """A hub that has delivered over implicit TLS, STARTTLS and in the clear, and failed to."""
    s = shared_site
    implicit, starttls = s.peer(tls="implicit"), s.peer(tls="starttls", certificate="wrong")
    clear, strict = s.peer(), s.peer()
    refusing = s.peer(replies={"RCPT": lambda *_: "550 5.1.1 " + NASTY})
    hub = s.hub(f"""\
vm1.vm        relay-smtps:{HOST}:{implicit.port} tls=verify match=hub.example
vm2.vm        relay:{HOST}:{starttls.port}
vm3.vm        relay:{HOST}:{clear.port} tls=none
a.example     relay:{HOST}:{strict.port} tls=encrypt
b.example     relay:{HOST}:{refusing.port} tls=may
c.example     error:5.7.1 closed for good
d.example     relay:{HOST}:{s.port()} tls=none
""", relay_domains="vm1.vm, vm2.vm, vm3.vm, .example")
    hub.ids = {}
    for recipient, status in (("i@vm1.vm", "sent"), ("s@vm2.vm", "sent"), ("c@vm3.vm", "sent"),
                              ("x@a.example", "deferred"), ("x@b.example", "bounced"),
                              ("x@c.example", "bounced"), ("x@d.example", "deferred")):
        hub.ids[recipient] = relay(hub, SENDER, recipient)
        hub.delivered(recipient, hub.ids[recipient], status)
    for recipient in ("i@vm1.vm", "s@vm2.vm", "c@vm3.vm", "x@b.example", "x@c.example"):
        hub.removed(hub.ids[recipient])
    hub.waiting("x@a.example")
    hub.waiting("x@d.example")
    hub.peers = {"implicit": implicit, "clear": clear}
    return hub


def test_shape(day):
    """Section 6 of the contract, to the letter."""
    (row,) = rows(day, "--recipient", "i@vm1.vm")
    assert list(row) == ROW and list(row["tls"]) == TLS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])
    port = day.peers["implicit"].port
    assert row["tls"].pop("fingerprint").startswith("sha256:")
    assert row["tls"].pop("cipher").startswith("TLS_")
    del row["time"]
    assert row == {
        "id": day.ids["i@vm1.vm"], "sender": SENDER, "recipient": "i@vm1.vm",
        "transport": "relay-smtps", "next_hop": f"{HOST}:{port}", "peer": f"{HOST}:{port}",
        "status": "delivered", "reply": "250 2.0.0 Ok: taken",
        "tls": {"level": "verify", "mode": "implicit", "protocol": "TLSv1.3", "verified": True,
                "peer_name": "hub.example", "resumed": False},
    }


def test_each_way(day):
    found = {row["recipient"]: row for row in rows(day) if row["recipient"] != SENDER}
    ways = {name: (row["tls"]["level"], row["tls"]["mode"], row["tls"]["verified"], row["status"])
            for name, row in found.items()}
    assert ways == {
        "i@vm1.vm": ("verify", "implicit", True, "delivered"),
        "s@vm2.vm": ("encrypt", "starttls", False, "delivered"),
        "c@vm3.vm": ("none", "none", False, "delivered"),
        "x@a.example": ("encrypt", "starttls", False, "deferred"),
        "x@b.example": ("may", "none", False, "bounced"),
        "x@d.example": ("none", "none", False, "deferred"),
    }
    assert found["x@a.example"]["tls"]["protocol"] == ""


def test_clear(day):
    """Only what could be read on the network: not what failed before it was said."""
    clear = {row["recipient"] for row in rows(day, "--clear")} - {SENDER}
    assert clear == {"c@vm3.vm", "x@b.example"}
    code, out, _ = run(day, "ledger", "list", "--clear", "--recipient", "c@vm3.vm")
    assert code == 0 and "tls none: none, IN CLEAR" in out
    assert out.endswith("\n1 attempt, 1 of them in clear\n")
    assert run(day, "ledger", "list", "--clear", "--recipient", "i@vm1.vm")[0] == 1


@pytest.mark.parametrize("arguments, recipients", [
    (["--recipient", "@vm3.vm"], {"c@vm3.vm"}),
    (["--recipient", "X@A.Example"], {"x@a.example"}),
    (["--recipient", "x@*", "--status", "deferred"], {"x@a.example", "x@d.example"}),
    (["--sender", SENDER, "--status=bounced"], {"x@b.example"}),
    (["--sender", "nobody@vm1.vm"], set()),
    (["--next-hop", "no*"], set()),
    (["--since", "1h", "--recipient", "@vm2.vm"], {"s@vm2.vm"}),
])
def test_filters(day, arguments, recipients):
    assert {row["recipient"] for row in rows(day, *arguments)} == recipients
    code, _, _ = run(day, "ledger", "list", *arguments)
    assert code == (0 if recipients else 1)


@pytest.mark.parametrize("arguments, message", [
    (["list", "--since", "yesterday"], "--since yesterday: expected a duration"),
    (["list", "--status", "held"], "status held: unknown; expected delivered, deferred"),
    (["list", "--sender", ""], "--sender needs a value"),
    (["verify", "--head", "5"], "--head 5: expected ROW:HASH"),
])
def test_usage(day, arguments, message):
    code, out, err = run(day, "ledger", *arguments)
    assert (code, out) == (64, "") and message in err


# ---- trace ----

def test_trace_of_what_has_gone(day):
    out = trace(day, day.ids["i@vm1.vm"])
    port = day.peers["implicit"].port
    for line in (rf"^{day.ids['i@vm1.vm']}, \d+ B, from {SENDER}$",
                 r"ago: arrived$",
                 r"^    from      client\.example \[127\.0\.0\.1\] by ESMTP$",
                 r"^    tls       none: it came IN CLEAR$",
                 r"ago: i@vm1\.vm: delivered$",
                 rf"^    address   127\.0\.0\.1:{port}$",
                 rf"^    route     relay-smtps 127\.0\.0\.1:{port}, as .*ts:1 says$",
                 r"^    tls       verify is asked for; implicit, TLSv1\.3 with TLS_\w+, "
                 r"hub\.example verified by ca$",
                 r"^    peer      certificate sha256:[0-9a-f]{64}$",
                 r"^              key pubkey-sha256:[0-9a-f]{64}$",
                 r"^    reply     250 2\.0\.0 Ok: taken \(the peer's words\)$",
                 r"^It has left the queue: nothing more happens to it\.$"):
        assert re.search(line, out, re.MULTILINE), (line, out)


def test_trace_in_clear(day):
    assert "NONE: the message or its envelope went IN CLEAR" in trace(day, day.ids["c@vm3.vm"])


def test_trace_of_what_waits(day):
    out = trace(day, day.ids["x@a.example"])
    assert "tls       encrypt is asked for; no session came about, and nothing of the message" \
           " was sent" in out
    assert "x@a.example: tried, to be tried again" in out
    assert "now: x@a.example: deferred after 1 attempt, next in " in out
    assert "    next:      20" in out and "    given up:  20" in out


def test_trace_without_an_attempt(day):
    out = trace(day, day.ids["x@c.example"])
    assert "x@c.example: returned; nobody was asked" in out
    assert "closed for good (this server's words)" in out


def test_what_peers_say_is_escaped(day):
    """On terminals, and as JSON; and SQL has not seen it."""
    out = trace(day, day.ids["x@b.example"])
    listed = run(day, "ledger", "list", "--recipient", "x@b.example")[1]
    for shown in (out, listed):
        assert "DROP TABLE" in shown and "\x1b" not in shown and "\x07" not in shown
        assert all(c == "\n" or c.isprintable() for c in shown)
    (row,) = rows(day, "--recipient", "x@b.example")
    assert "\x1b" not in row["reply"] and "DROP TABLE" in row["reply"]


def test_trace_json(day):
    code, out, _ = run(day, "trace", "--json", day.ids["x@a.example"])
    (line,) = out.splitlines()
    life = json.loads(line)
    assert code == 0
    assert list(life) == ["id", "arrived_at", "size", "sender", "origin", "in_queue", "events",
                          "recipients", "other_recipients", "given_up_at"]
    assert life["other_recipients"] == 0
    assert life["origin"] == {"client": HOST, "hello": "client.example", "protocol": "ESMTP",
                              "auth_user": "", "tls": None, "certificate": None}
    (event,) = life["events"]
    assert (event["event"], event["status"], event["in_clear"]) == ("attempt", "deferred", False)
    assert set(event["tls"]) == {*TLS, "verified_by", "pubkey_fingerprint"}
    (recipient,) = life["recipients"]
    assert recipient["status"] == "deferred" and recipient["next_attempt_at"]
    assert life["in_queue"] is True and life["given_up_at"]


def test_trace_of_an_address(day):
    """Sender or recipient, in the queue or not."""
    lives = [json.loads(line) for line in run(day, "trace", "--json", "ALICE@vm1.vm")[1]
             .splitlines()]
    assert {day.ids[name] for name in day.ids} <= {life["id"] for life in lives}
    times = [life["arrived_at"] for life in lives]
    assert times == sorted(times)
    for name in ("x@d.example", "<x@b.example>"):
        (life,) = [json.loads(line) for line in run(day, "trace", "--json", name)[1].splitlines()]
        assert life["id"] == day.ids[name.strip("<>")]


def told_of(life):
    """Whom a trace in JSON tells of."""
    return ({event["recipient"] for event in life["events"]} |
            {recipient["address"] for recipient in life["recipients"]})


def test_trace_of_one_among_many(site):
    """An address is not lost among those that the message also goes to; ID has them all."""
    names = [f"a{i}@vm2.vm" for i in range(45)]  # one delivery
    peer = site.peer(replies={"RCPT": lambda _, argument: "450 4.2.1 busy"
                              if "a44@" in argument else None})
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    sent = relay(hub, SENDER, names)
    hub.waiting("a44@vm2.vm")

    def lives(word, others, names):
        out = trace(hub, word)
        line = f"    others    {others} more recipients; all: posthouse trace {sent}\n"
        assert (line in out) == (others > 0)
        assert set(re.findall(r"a\d+@vm2\.vm", out)) == set(names)
        (life,) = [json.loads(line) for line in run(hub, "trace", "--json", word)[1].splitlines()]
        assert (told_of(life), life["other_recipients"]) == (set(names), others)
        assert life["in_queue"] is True
        return out

    out = lives("A7@vm2.vm", 44, ["a7@vm2.vm"])
    assert "a7@vm2.vm: delivered\n" in out
    assert "It is in the queue for others: nothing more happens here.\n" in out
    out = lives("<a44@vm2.vm>", 44, ["a44@vm2.vm"])
    assert "a44@vm2.vm: tried, to be tried again\n" in out and "now: a44@vm2.vm: deferred" in out
    lives(SENDER, 25, ["a44@vm2.vm", *names[:19]])
    lives(sent, 0, names)

    # Nothing but the ledger knows it now, and the sender is a recipient, too.
    assert run(hub, "queue", "bounce", sent)[0] == 0
    hub.removed(sent)
    assert "    others    44 more recipients; all: " in trace(hub, "a7@vm2.vm")
    own = relay(hub, names[30], names)
    hub.waiting("a44@vm2.vm")
    newest = trace(hub, names[30]).partition(f"{own}, ")[2]
    assert "a30@vm2.vm: delivered\n" in newest and "    others    24 more" in newest


@pytest.mark.parametrize("word", ["1A2B3C", "stranger@example", "nonsense"])
def test_trace_of_the_unknown(day, word):
    code, out, err = run(day, "trace", word)
    assert (code, out) == (1, "")
    assert err == f"posthouse: {word}: neither the queue nor the ledger knows it\n"


# ---- how it came in ----

def test_submission(site, certs):
    """TLS and the login of who brought it, also to a mailbox, which has no TLS of its own."""
    edge = site.edge()
    sent = submit(certs, edge, "alice@vm1.vm", "test1@vm1.vm")
    edge.removed(sent)
    out = trace(edge, sent)
    assert re.search(r"from      client\.example \[127\.0\.0\.1\] by ESMTPSA, "
                     r"logged in as alice@vm1\.vm$", out, re.MULTILINE)
    assert re.search(r"^    tls       TLSv1\.3 with TLS_\w+$", out, re.MULTILINE)
    assert "    route     virtual, as " in out
    (row,) = rows(edge)
    assert row["tls"] is None and row["peer"] == ""
    assert rows(edge, "--clear") == []


@pytest.mark.parametrize("certificate, judged", [
    ("edge", "signed by a CA that is trusted here"),
    ("self-signed", "signed by nobody who is trusted here"),
])
def test_clients_certificate(site, certs, certificate, judged):
    peer = site.peer(replies={"RCPT": "450 4.2.1 busy"})
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n", smtpd_tls_ask_ccert="yes")
    with connect(certs, hub.port("smtps"), "implicit", certificate=certificate) as client:
        sent = transact(client, SENDER, "a@vm2.vm", text("a@vm2.vm"))
    hub.waiting("a@vm2.vm")
    der = ssl.PEM_cert_to_DER_cert((certs / f"{certificate}.pem").read_text())
    digits = hashlib.sha256(der).hexdigest()

    def check():
        assert re.search(rf"^    client    certificate of \S+, {judged}, sha256:{digits}$",
                         trace(hub, sent), re.MULTILINE)
        (life,) = map(json.loads, run(hub, "trace", "--json", sent)[1].splitlines())
        assert life["origin"]["certificate"]["fingerprint"] == f"sha256:{digits}"
        assert life["origin"]["certificate"]["verified"] is (certificate == "edge")

    check()
    assert run(hub, "queue", "delete", sent)[0] == 0
    check()  # the ledger has it, too


# ---- operators, restarts, tampering ----

def test_returned_by_the_operator(site):
    hub = site.hub(f"vm2.vm relay:{HOST}:{site.port()} tls=none\n")
    sent = relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")
    assert run(hub, "queue", "bounce", sent)[0] == 0
    hub.removed(sent)
    out = trace(hub, sent)
    assert out.index("a@vm2.vm: tried, to be tried again") < \
        out.index("a@vm2.vm: returned; nobody was asked")
    assert "554 5.7.0 " in out
    assert [row["status"] for row in rows(hub, "--recipient", "a@vm2.vm")] == ["deferred"]


def noted(host):
    code, out, _ = run(host, "ledger", "verify")
    assert code == 0, out
    return re.search(r"^head: (\d+:[0-9a-f]{64})$", out, re.MULTILINE).group(1)


def test_deleted(site):
    hub = site.hub(f"* relay:{HOST}:{site.port()} tls=none\n")
    sent = relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")
    assert run(hub, "queue", "delete", sent)[0] == 0
    assert "a@vm2.vm: deleted by the operator; nobody was told" in trace(hub, sent)
    assert len(rows(hub)) == 1
    noted(hub)


def test_verify(site):
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    assert run(hub, "ledger", "verify")[1].startswith("ok: the ledger has no rows\n")
    for i in range(3):
        hub.removed(relay(hub, SENDER, f"a{i}@vm2.vm"))
    head = noted(hub)
    hub.stop()
    assert hub.wait_for(f" ledger: head={head}$")
    assert run(hub, "ledger", "verify", "--head", head)[0] == 0

    database = hub.directory / "queue" / "queue.db"
    with sqlite3.connect(database) as connection:
        connection.execute("update q_ledger set mode = 'implicit' where row = 2")
    code, out, _ = run(hub, "ledger", "verify")
    assert (code, out) == (1, "CHANGED: row 2 is not what was written\n")
    with sqlite3.connect(database) as connection:
        connection.execute("update q_ledger set mode = 'none' where row = 2")
    assert noted(hub) == head
    with sqlite3.connect(database) as connection:
        connection.execute("delete from q_ledger where row = 3")
    code, out, _ = run(hub, "ledger", "verify")
    assert (code, out) == (1, "MISSING: row 3 is not there any more\n")

    # Whoever covers the tracks within the database does not reach what was noted outside.
    with sqlite3.connect(database) as connection:
        connection.execute("update q_state set (ledger_row, ledger_hash) ="
                           " (select row, hash from q_ledger where row = 2)")
    assert run(hub, "ledger", "verify")[0] == 0
    code, out, _ = run(hub, "ledger", "verify", "--head", head)
    assert code == 1 and "MISSING: there is no row 3, which was noted" in out
    assert "ok:" not in out and "as they were written" not in out
    code, out, _ = run(hub, "ledger", "verify", "--head", "1:" + head.partition(":")[2])
    assert code == 1 and "CHANGED: row 1 has another hash than the one that was noted" in out
    assert "ok:" not in out and "as they were written" not in out
    connection.close()


def test_chain_is_what_the_documents_say(day):
    """Other code, from queue/chain.h alone, comes to the same hashes."""
    connection = day.database()
    assert connection.execute("select count(*) from q_ledger").fetchone()[0] >= 7
    assert ledger_chain.fault(connection) is None
    connection.close()


def test_expires(site):
    """After ledger_lifetime; what is younger still verifies."""
    peer = site.peer()
    hub = site.hub(f"* relay:{HOST}:{peer.port} tls=none\n")
    for i in range(3):
        hub.removed(relay(hub, SENDER, f"a{i}@vm2.vm"))
    head = noted(hub)
    hub.stop()
    hub.change(ledger_lifetime="1")
    hub.start()
    while any(row["recipient"].startswith("a") for row in rows(hub)):
        relay(hub, SENDER, "b@vm3.vm")  # the queue looks for what has expired beside its work
        hub.stop()
        hub.start()
    code, out, _ = run(hub, "ledger", "verify")
    assert code == 0 and re.search(r"^note: rows up to \d+ have expired; the last", out)
    code, out, _ = run(hub, "ledger", "verify", "--head", "1:" + head.partition(":")[2])
    assert code == 1 and "EXPIRED: row 1, which was noted, has expired since" in out
