"""Mail exchangers: which hosts of a domain are tried, in what order, and which never.

Peers have an address of 127/8 each and share a port, as the hosts of a domain do.
"""

import json
import re
import socket

import pytest

from clients import relay
from dns_stub import DROP
from peer import DROP as CLOSE

SENDER = "alice@vm1.vm"
ONE, TWO, THREE, FOUR = (f"127.0.0.{i}" for i in range(2, 6))
OURS = "127.0.0.1"
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}


def shared_port(site, *hosts):
    """A port that is ours on all of these, where nobody listens yet."""
    while True:
        port = site.port(hosts[0])
        try:
            for host in hosts[1:]:
                site.port(host, port)
        except OSError:
            continue  # somebody has it there
        return port


class Case:
    """A hub that sends one message to a@vm2.vm by the next hop dom.example, and its peers."""

    def __init__(self, site, records, listening, next_hop="dom.example", attributes="tls=none",
                 peer=None, dns=None, **options):
        self.port = shared_port(site, "127.0.0.9", OURS, *listening)
        self.peers = {host: site.peer(host=host, port=self.port, **(peer or {}))
                      for host in listening}
        self.dns = site.dns(records, **(dns or {}))
        hops = ", ".join(f"{hop}:{self.port}" for hop in next_hop.split())
        options = {"listen": f"smtp://{OURS}:{site.port()}", **options}
        self.hub = site.hub(f"* relay:{hops} {attributes}\n", resolver=self.dns.address,
                            **{name: str(value).format(port=self.port)
                               for name, value in options.items()})
        self.id = relay(self.hub, SENDER, "a@vm2.vm")
        self.line = self.hub.delivered("a@vm2.vm", self.id, r"\w+")

    def assert_sent(self, relay_name):
        host = relay_name.partition("[")[2].rstrip("]")
        assert f"relay={relay_name}:{self.port}, " in self.line, self.line
        assert ", status=sent (" in self.line
        assert len(self.peers[host].messages) == 1

    def assert_waits(self, code, reason):
        assert f", dsn={code}, status=deferred ({reason}" in self.line, self.line

    def tried(self):
        return {host for host, peer in self.peers.items() if peer.sessions}


# ---- the order ----

def test_by_preference(site):
    """Records come in any order, and numbers are numbers."""
    case = Case(site, {"dom.example": [(100, "c.example"), (9, "a.example"), (20, "b.example")],
                       "a.example": [ONE], "b.example": [TWO], "c.example": [THREE]},
                [ONE, TWO, THREE])
    case.assert_sent(f"a.example[{ONE}]")
    assert case.tried() == {ONE}
    assert ("b.example", "A") not in case.dns.questions  # who is not needed is not asked for


def test_the_next_preference(site):
    """The first refuses connections, the second to talk, of the third DNS knows nothing now."""
    case = Case(site, {"dom.example": [(10, "a.example"), (20, "b.example"), (30, "c.example"),
                                       (40, "d.example")],
                       "a.example": ["127.0.0.9"], "b.example": [TWO], "c.example": None,
                       "d.example": [FOUR]}, [FOUR])
    case.assert_sent(f"d.example[{FOUR}]")
    case = Case(site, {"dom.example": [(10, "a.example"), (20, "b.example")],
                       "a.example": [ONE], "b.example": [TWO]}, [ONE, TWO],
                peer={"replies": {"GREETING": "554 5.3.2 not today"}})
    case.assert_waits("4.3.2", f"host b.example[{TWO}]:{case.port} refused to talk to me: 554")
    assert case.tried() == {ONE, TWO}


def test_several_next_hops(site):
    """Each is looked up for MX; those in brackets are not."""
    case = Case(site, {"dom.example": [(10, "a.example")], "a.example": ["127.0.0.9"],
                       "two.example": [(10, "b.example"), (5, "a.example")], "b.example": [TWO]},
                [TWO], next_hop="dom.example [a.example] two.example")
    case.assert_sent(f"b.example[{TWO}]")
    assert case.dns.questions.count(("a.example", "A")) == 1  # it is known by then
    assert ("a.example", "MX") not in case.dns.questions


def test_all_addresses_of_equal_hosts(site):
    case = Case(site, {"dom.example": [(10, "a.example"), (10, "b.example")],
                       "a.example": ["127.0.0.9", ONE], "b.example": ["127.0.0.9"]}, [ONE])
    case.assert_sent(f"a.example[{ONE}]")


def test_limit_of_addresses(site):
    records = {"dom.example": [(10, "a.example"), (20, "b.example")],
               "a.example": ["127.0.0.9", "127.0.0.10"], "b.example": [ONE]}
    case = Case(site, records, [ONE], smtp_mx_address_limit=2)
    case.assert_waits("4.4.1", "connect to a.example[127.0.0.")
    assert not case.tried()
    Case(site, records, [ONE], smtp_mx_address_limit=3).assert_sent(f"b.example[{ONE}]")


def test_limit_of_sessions(site):
    """Hosts that are ready for mail, and then are not: two are bothered with it, and no third."""
    records = {"dom.example": [(10, "a.example"), (20, "b.example"), (30, "c.example")],
               "a.example": ["127.0.0.9", ONE], "b.example": [TWO], "c.example": [THREE]}
    peers = {"replies": {"MAIL": "421 4.3.2 no"}}
    case = Case(site, records, [ONE, TWO, THREE], peer=peers)
    case.assert_waits("4.3.2", "421 4.3.2 no")
    assert case.tried() == {ONE, TWO}
    case = Case(site, records, [ONE, TWO, THREE], peer=peers, smtp_mx_session_limit=0)
    assert case.tried() == {ONE, TWO, THREE}
    # each next hop has its own
    case = Case(site, {**records, "two.example": [THREE]}, [ONE, TWO, THREE], peer=peers,
                next_hop="dom.example two.example", smtp_mx_session_limit=1)
    assert case.tried() == {ONE, THREE}


# ---- what stands in MX records ----

@pytest.mark.parametrize("level", ["may", "dane"])
def test_gone_when_tried_in_the_clear(site, level):
    """That one host failed at TLS says nothing of the next, which may have to have it."""
    port = shared_port(site, ONE, TWO)
    first = site.peer("starttls", host=ONE, port=port, replies={
        "STARTTLS": lambda *_: first.stop_listening(), "HANDSHAKE": CLOSE})
    second = site.peer("starttls", host=TWO, port=port)
    dns = site.dns({"dom.signed.example": [(10, "a.open.example"), (20, "b.signed.example")],
                    "a.open.example": [ONE], "b.signed.example": [TWO],
                    f"_{port}._tcp.b.signed.example": [bytes([0, 0, 1]) + bytes(32)]},
                   signed=["signed.example"])
    hub = site.hub(f"* relay:dom.signed.example:{port} tls={level}\n", resolver=dns.address)
    line = hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"))
    assert f"relay=b.signed.example[{TWO}]:{port}, " in line
    assert f", tls={level}:TLSv1.3" in line
    assert len(first.sessions) == 1 and b"MAIL" not in second.wire()


def test_no_mx_record(site):
    """Then the domain is its own exchanger (RFC 5321 section 5.1)."""
    case = Case(site, {"dom.example": [ONE]}, [ONE])
    case.assert_sent(f"dom.example[{ONE}]")
    assert ("dom.example", "MX") in case.dns.questions


def test_aliases_and_addresses(site):
    """RFC 5321 allows neither, and both are met with."""
    Case(site, {"dom.example": "alias.example", "alias.example": [(10, "mx.example")],
                "mx.example": "real.example", "real.example": [ONE]},
         [ONE]).assert_sent(f"mx.example[{ONE}]")
    Case(site, {"dom.example": [(10, ONE)]}, [ONE]).assert_sent(f"{ONE}[{ONE}]")


def test_mx_cannot_be_told(site):
    """There may be one, so the domain's own address is no answer."""
    case = Case(site, {"dom.example": {"MX": None, "A": [ONE]}}, [ONE])
    case.assert_waits("4.4.3", "dom.example: ")
    assert not case.tried()


def test_mx_without_a_host(site):
    """What is in DNS is anybody's: it does not get into a log."""
    case = Case(site, {"dom.example": [(10, "a b.example"), (20, "a\nb.example")]}, [])
    case.assert_waits("4.4.3", "dom.example: no MX record has the name of a host")


def test_operators_next_hop_is_not_there(site):
    """Mail waits for him, whatever DNS says."""
    Case(site, {}, []).assert_waits("4.4.3", "dom.example: name not found")
    Case(site, {"dom.example": [(0, ".")]}, []).assert_waits(
        "4.4.4", "dom.example: domain does not accept mail (null MX)")
    Case(site, {"dom.example": [(10, "a.example")]}, []).assert_waits(
        "4.4.3", "a.example: name not found")


def test_long_answers_come_by_tcp(site):
    case = Case(site, {"dom.example": [(i, f"host{i}.example") for i in range(30)],
                       "host0.example": [ONE]}, [ONE], dns={"truncated": ["dom.example"]})
    case.assert_sent(f"host0.example[{ONE}]")


# ---- the recipient's own domain: nobody else can put it right ----

FINAL = {
    "null.example": [(0, ".")],
    "nohost.example": [(10, "a.unknown"), (20, "b.unknown")],
    "noaddress.example": [],
    "ours.example": [(10, "MTA.vm.vm."), (20, "mx.example")],
    "mx.example": [ONE],
}


@pytest.mark.parametrize("domain, code, reason", [
    ("null.example", "5.1.10", "null.example: domain does not accept mail (null MX)"),
    ("unknown.example", "5.4.4", "unknown.example: name not found"),
    ("nohost.example", "5.4.4", "b.unknown: name not found"),
    ("noaddress.example", "5.4.4", "noaddress.example: name has no address"),
    ("ours.example", "5.4.6", "mail for ours.example loops back to myself"),
])
def test_returned(site, domain, code, reason):
    dns = site.dns(FINAL)
    hub = site.hub("vm1.vm discard:\n", resolver=dns.address, relay_domains=".example")
    message_id = relay(hub, SENDER, f"a@{domain}")
    line = hub.delivered(f"a@{domain}", message_id, "bounced")
    assert "relay=none, " in line and f", dsn={code}, status=bounced ({reason})" in line
    hub.delivered(SENDER)  # the notification goes although nothing is known of its domain


def test_hope_is_left(site):
    """One host of two may be there: of the other it does not matter that it is not."""
    dns = site.dns({"some.example": [(10, "a.unknown"), (20, "b.example")], "b.example": None,
                    "loop.example": [(10, "b.example"), (20, "mta.vm.vm")]})
    hub = site.hub("vm1.vm discard:\n", resolver=dns.address, relay_domains=".example", **QUICK)
    for domain in ("some.example", "loop.example"):
        line = hub.delivered(f"a@{domain}", relay(hub, SENDER, f"a@{domain}"), "deferred")
        assert ", dsn=4.4.3, status=deferred (b.example: " in line
    dns.records["b.example"] = []
    assert ", dsn=5.4.4, " in hub.delivered("a@some.example", status="bounced")
    assert ", dsn=5.4.6, " in hub.delivered("a@loop.example", status="bounced")


# ---- loops ----

def test_we_are_a_backup(site):
    """Better hosts are tried, equal and worse ones never: they would send it to us again."""
    records = {"dom.example": [(10, "a.example"), (20, "mta.vm.vm"), (20, "b.example"),
                               (30, "c.example")],
               "a.example": ["127.0.0.9"], "b.example": [TWO], "c.example": [THREE]}
    case = Case(site, records, [TWO, THREE])
    case.assert_waits("4.4.1", f"connect to a.example[127.0.0.9]:{case.port}: Connection refused")
    assert not case.tried()
    assert ("c.example", "A") not in case.dns.questions
    case = Case(site, {**records, "a.example": [ONE]}, [ONE, TWO])
    case.assert_sent(f"a.example[{ONE}]")


@pytest.mark.parametrize("records, next_hop", [
    ({}, f"[{OURS}]"),
    ({"dom.example": [OURS]}, "dom.example"),
    ({"dom.example": [(10, "other.example")], "other.example": [OURS]}, "dom.example"),
    ({"dom.example": [(10, "mta.vm.vm")], "mta.vm.vm": [ONE]}, "dom.example"),
])
@pytest.mark.parametrize("listener", [OURS, "*"])
def test_our_own_listener(site, records, next_hop, listener):
    """An operator's slip: mail waits, and he is told. We never connect to ourselves."""
    case = Case(site, records, [], next_hop=next_hop, listen=f"smtp://{listener}:{{port}}")
    case.assert_waits("4.4.6", f"mail for {next_hop.strip('[]')} loops back to myself")
    warning = case.hub.wait_for("is this server itself")
    assert re.search(r"warning: next hop \S+ of \S*ts:1 is this server itself: mail waits$", warning)
    assert len(re.findall(r"smtpd\[\d+\]: connect from", case.hub.server.log())) == 1


def test_another_listener_of_this_host(site):
    """127.0.0.1 is ours, and this port is not."""
    Case(site, {"dom.example": [OURS]}, [OURS]).assert_sent(f"dom.example[{OURS}]")


# ---- both families ----

def full_listener(port):
    """On ::1, where connections come to nothing and are not refused: there is no room for more."""
    sockets = []
    for _ in range(4):
        s = socket.socket(socket.AF_INET6)
        s.setblocking(False)
        if not sockets:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::1", port))
            s.listen(0)
        else:
            s.connect_ex(("::1", port))
        sockets.append(s)
    return sockets


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no ::1")


@needs_ipv6
def test_silent_ipv6(site):
    """The other family gets its turn long before the time limit of connect."""
    port = shared_port(site, TWO, "::1")
    sockets = full_listener(port)
    peer = site.peer(host=TWO, port=port)
    dns = site.dns({"dom.example": ["::1", TWO]})
    hub = site.hub(f"* relay:dom.example:{port} tls=none\n", resolver=dns.address,
                   smtp_connect_timeout="1h")
    line = hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"))
    assert f"relay=dom.example[{TWO}]:{port}, " in line
    assert len(peer.messages) == 1
    for s in sockets:
        s.close()


@needs_ipv6
def test_neither_family(site):
    """The one that was faster is of no use: then the other one has its time, and its word."""
    port = shared_port(site, TWO, "::1")
    sockets = full_listener(port)
    peer = site.peer(host=TWO, port=port, replies={"GREETING": "421 4.3.2 no"})
    dns = site.dns({"dom.example": ["::1", TWO]})
    hub = site.hub(f"* relay:dom.example:{port} tls=none\n", resolver=dns.address,
                   smtp_connect_timeout="1s")
    line = hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"), "deferred")
    assert f"(connect to dom.example[::1]:{port}: timed out)" in line
    assert len(peer.sessions) == 1
    for s in sockets:
        s.close()


@needs_ipv6
def test_ipv6_first(site):
    """It answers, so nobody else is asked."""
    port = shared_port(site, TWO, "::1")
    six, four = (site.peer(host=host, port=port) for host in ("::1", TWO))
    dns = site.dns({"dom.example": ["::1", TWO]})
    hub = site.hub(f"* relay:dom.example:{port} tls=none\n", resolver=dns.address)
    line = hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"))
    assert f"relay=dom.example[::1]:{port}, " in line
    assert (len(six.messages), len(four.sessions)) == (1, 0)


@needs_ipv6
@pytest.mark.parametrize("protocols, host", [("ipv4", TWO), ("ipv6", "::1")])
def test_inet_protocols(site, protocols, host):
    port = shared_port(site, TWO, "::1")
    peers = {address: site.peer(host=address, port=port) for address in ("::1", TWO)}
    dns = site.dns({"dom.example": ["::1", TWO]})
    hub = site.hub(f"* relay:dom.example:{port} tls=none\nvm3.vm relay:[::1]:{port} tls=none\n",
                   resolver=dns.address, inet_protocols=protocols,
                   listen=f"smtp://{OURS}:{site.port()} smtp://*:0")
    line = hub.delivered("a@vm2.vm", relay(hub, SENDER, "a@vm2.vm"))
    assert f"relay=dom.example[{host}]:{port}, " in line
    assert len(peers[host].messages) == 1
    assert ("dom.example", "A" if protocols == "ipv6" else "AAAA") not in dns.questions
    families = [":" in address for _, address, _ in hub.server.listeners]
    assert families == [False, protocols == "ipv6"]  # the first is written out, so it is meant
    line = hub.delivered("a@vm3.vm", relay(hub, SENDER, "a@vm3.vm"), r"\w+")
    assert (", status=sent (" in line) == (protocols == "ipv6")


def test_silent_aaaa(site):
    """A server that drops questions for AAAA delays nothing."""
    case = Case(site, {"dom.example": {"A": [ONE], "AAAA": DROP}}, [ONE])
    case.assert_sent(f"dom.example[{ONE}]")


# ---- one question for many ----

def test_questions_are_shared(site):
    """Mail for twenty recipients comes while nobody knows where to; then it is known to all."""
    port = shared_port(site, TWO)
    peer = site.peer(host=TWO, port=port)
    dns = site.dns({"dom.example": [(10, "mx.example")], "mx.example": [TWO]},
                   soa={"example": 300})
    dns.hold("dom.example", "MX")
    hub = site.hub(f"* relay:dom.example:{port} tls=none\n", resolver=dns.address, workers=1,
                   default_destination_recipient_limit=1)
    relay(hub, SENDER, [f"user{i}@vm2.vm" for i in range(20)])
    dns.wait_asked("dom.example", "MX")
    dns.release()
    peer.wait_for_messages(20)
    assert sorted(dns.questions) == [("dom.example", "MX"), ("mx.example", "A"),
                                     ("mx.example", "AAAA")]


def test_retry_asks_again(site):
    """Who has put DNS right need not wait until the old answer is forgotten by itself."""
    port = shared_port(site, "127.0.0.9", TWO)
    peer = site.peer(host=TWO, port=port)
    dns = site.dns({"dom.example": ["127.0.0.9"]})
    hub = site.hub(f"* relay:dom.example:{port} tls=none\n", resolver=dns.address)
    message_id = relay(hub, SENDER, "a@vm2.vm")
    hub.delivered("a@vm2.vm", message_id, "deferred")
    hub.waiting("a@vm2.vm")
    dns.records["dom.example"] = [TWO]
    assert hub.command("queue", "retry", message_id).returncode == 0
    assert f"relay=dom.example[{TWO}]:{port}, " in hub.delivered("a@vm2.vm", message_id)
    assert len(peer.messages) == 1


def test_stop_while_asking(site):
    """Nobody is waited for: neither a name server, nor one of two families."""
    port = shared_port(site, TWO, "::1")
    sockets = full_listener(port) if has_ipv6() else []
    dns = site.dns({"dom.example": ["::1"], "held.example": [ONE]})
    dns.hold("held.example", "A")
    hub = site.hub(f"vm2.vm relay:dom.example:{port} tls=none\n"
                   f"vm3.vm relay:held.example:{port} tls=none\n", resolver=dns.address)
    relay(hub, SENDER, ["a@vm2.vm", "b@vm3.vm"])
    dns.wait_asked("held.example", "A")
    dns.wait_asked("dom.example", "AAAA")
    hub.stop()
    assert {state["attempts"] for message in hub.queue()
            for state in message["recipients"]} == {0}
    for s in sockets:
        s.close()


# ---- whose name a certificate must have ----

@pytest.mark.parametrize("domain, mx, attributes, reason", [
    ("dom.example", "hub.example", "tls=verify", None),
    ("hub.example", "mx.example", "tls=verify", "not for the name mx.example"),
    ("hub.example", "mx.example", "tls=secure", None),
    ("dom.example", "hub.example", "tls=secure", "none of the names dom.example, .dom.example"),
    ("dom.example", "hub.example", "tls=secure match=hostname", None),
    ("hub.example", "mx.example", "tls=verify match=nexthop", None),
])
def test_names(site, domain, mx, attributes, reason):
    case = Case(site, {domain: [(10, mx)], mx: [ONE]}, [ONE], next_hop=domain,
                attributes=attributes, peer={"tls": "starttls"})
    if reason:
        case.assert_waits("4.7.5", f"cannot start TLS with {mx}[{ONE}]:{case.port}: ")
        assert reason in case.line
        assert not case.peers[ONE].messages
    else:
        case.assert_sent(f"{mx}[{ONE}]")


# ---- explain ----

def test_explain(site):
    case = Case(site, {"dom.example": [(10, "a.example"), (20, "hub.example")],
                       "a.example": ["127.0.0.9"], "hub.example": [ONE]}, [ONE],
                attributes="tls=verify", peer={"tls": "starttls"})
    case.assert_sent(f"hub.example[{ONE}]")
    asked = len(case.dns.asked)
    got = case.hub.command("explain", "a@vm2.vm").stdout.decode()
    assert f"next hop     dom.example:{case.port}, MX of dom.example\n" in got
    assert "names        that of the mail exchanger, as DNS has it\n" in got
    assert len(case.dns.asked) == asked
    got = case.hub.command("explain", "--json", "a@vm2.vm").stdout
    assert json.loads(got)["tls"]["match"] == ["hostname"]
    got = case.hub.command("explain", "--probe", "a@vm2.vm")
    assert got.returncode == 0, got.stdout + got.stderr
    assert f"PASS {ONE}:{case.port} of hub.example, TLSv1.3" in got.stdout.decode()
    case.hub.write("ts", f"* relay:[{OURS}]:{case.hub.port()}\n")
    got = case.hub.command("explain", "--probe", "a@vm2.vm")
    assert got.returncode == 1
    assert "FAIL" in got.stdout.decode() and "loops back to myself" in got.stdout.decode()
