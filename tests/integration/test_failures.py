"""Next hops that fail: what status and queue stats say of them, and the alarm."""

import json
import re
import sqlite3

from clients import HOST, relay

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
NOT_FOR_LONG = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}


def status(host):
    got = host.command("status", "--json")
    assert got.returncode == 0, got.stderr
    return json.loads(got.stdout)["next_hops"]


def text(host, *command):
    got = host.command(*command)
    assert got.returncode == 0, got.stderr
    return got.stdout.decode()


def count(host, words):
    return sum(words in line for line in host.server.log().splitlines())


def test_alarm(site):
    """Once for an outage, not again for a reload, and over with the first mail that gets out."""
    port = site.port()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{port} tls=none\n", destination_alarm_time="1s",
                   **NOT_FOR_LONG)
    relay(hub, "a@x.example", "one@vm1.vm")
    line = hub.wait_for(r"ALARM: nothing has been delivered to .*")
    assert f"error: ALARM: nothing has been delivered to [{HOST}]:{port} for " in line
    assert "; 1 recipient waits, the oldest message since 2" in line
    assert "Connection refused" in line

    found = status(hub)[0]
    assert found["alarm"] is True and TIME.match(found["alarm_since"])
    assert re.search(r"^    ALARM: nothing has been delivered for ", text(hub, "status"),
                     re.MULTILINE)
    row = json.loads(text(hub, "queue", "stats", "--json"))
    assert (row["alarm"], row["alarm_since"]) == (True, found["alarm_since"])

    hub.change(smtpd_timeout="100s")
    assert hub.command("reload").returncode == 0
    relay(hub, "a@x.example", "two@vm1.vm")
    hub.delivered("two@vm1.vm", status="deferred")
    assert count(hub, "ALARM: ") == 1

    site.peer(port=port)
    hub.wait_for(rf"warning: ALARM over: \[{HOST}\]:{port} takes mail again, after ")
    found = status(hub)[0]
    assert (found["alarm"], found["alarm_since"]) == (False, None)
    assert count(hub, "ALARM: ") == 1


def test_alarm_after_a_restart(site):
    """What waits is as old as it was; and nobody need try it first."""
    port = site.port()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{port} tls=none\n", destination_alarm_time="1s",
                   minimal_backoff_time="1h")
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.wait_for("ALARM: nothing")
    hub.stop()
    hub.start()
    hub.wait_for(rf"ALARM: nothing has been delivered to \[{HOST}\]:{port} for ")
    found = status(hub)
    assert len(found) == 1
    assert (found[0]["state"], found[0]["alarm"], found[0]["queued"]) == ("unknown", True, 1)
    assert "Connection refused" in found[0]["last_error"] and TIME.match(found[0]["retry_at"])

    hub.command("queue", "delete", "--all")
    hub.change(destination_alarm_time="2s")  # looks at the queue at once
    assert hub.command("reload").returncode == 0
    hub.wait_for(rf"ALARM over: nothing waits for \[{HOST}\]:{port} any more")


def test_no_alarm_after_a_success_before_the_restart(site):
    """The ledger knows it; the mail that waits is older than that."""
    peer = site.peer(replies={"RCPT": lambda session, argument:
                              "450 4.2.0 later" if "late" in argument else None})
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port} tls=none\n", destination_alarm_time="1h",
                   minimal_backoff_time="1h")
    relay(hub, "a@x.example", "late@vm1.vm")
    hub.waiting("late@vm1.vm")
    relay(hub, "a@x.example", "soon@vm1.vm")
    hub.delivered("soon@vm1.vm")
    hub.stop()
    with sqlite3.connect(hub.directory / "queue" / "queue.db") as database:
        database.execute("UPDATE q_message SET arrived_ms = arrived_ms - 7200000")
    database.close()
    hub.start()
    hub.change(smtpd_timeout="100s")
    assert hub.command("reload").returncode == 0
    assert status(hub)[0]["alarm"] is False
    hub.stop()
    assert count(hub, "ALARM") == 0


def test_no_alarm(site):
    port = site.port()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{port} tls=none\n", destination_alarm_time="0",
                   **NOT_FOR_LONG)
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.waiting("one@vm1.vm")
    assert status(hub)[0]["alarm"] is False
    assert count(hub, "ALARM") == 0


def test_the_worst_comes_first(site):
    """In status and in queue stats, with a server and without."""
    good, grey = site.peer(), site.peer(replies={"RCPT": "450 4.2.0 later"})
    dead = site.port()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{good.port} tls=none\n"
                   f"vm2.vm relay:[{HOST}]:{grey.port} tls=none\n"
                   f"vm3.vm relay:[{HOST}]:{dead} tls=none\n", minimal_backoff_time="1h")
    for address in "a@vm1.vm", "b@vm2.vm", "c@vm2.vm", "d@vm3.vm":
        relay(hub, "a@x.example", address)
    hub.delivered("a@vm1.vm")
    for address in "b@vm2.vm", "c@vm2.vm", "d@vm3.vm":
        hub.waiting(address)
    names = [f"[{HOST}]:{port}" for port in (dead, grey.port, good.port)]

    found = status(hub)
    assert [each["next_hop"] for each in found] == names
    assert [each["state"] for each in found] == ["backoff", "up", "up"]
    shown = text(hub, "status")
    assert re.search(r"up +2  .*\n    the oldest waits: 4\.2\.0 later$", shown, re.MULTILINE), shown

    rows = [json.loads(line) for line in text(hub, "queue", "stats", "--json").splitlines()]
    assert [(each["next_hop"], each["state"], each["recipients"]) for each in rows] == \
        [(names[0], "backoff", 1), (names[1], "up", 2)]
    assert rows[0]["last_error"].startswith("4.4.1 connect to ") and TIME.match(rows[0]["retry_at"])
    shown = text(hub, "queue", "stats")
    assert re.search(rf"^\[{HOST}\]:{dead} +backoff +deferred +1 .*\n    down for ", shown,
                     re.MULTILINE), shown

    hub.stop()
    rows = [json.loads(line) for line in text(hub, "queue", "stats", "--json").splitlines()]
    assert [(each["next_hop"], each["state"], each["recipients"]) for each in rows] == \
        [(names[1], "unknown", 2), (names[0], "unknown", 1)]
    assert rows[0]["last_error"] == "4.2.0 later" and TIME.match(rows[0]["retry_at"])
    shown = text(hub, "queue", "stats")
    assert re.search(rf"^\[{HOST}\]:{dead} +unknown +deferred .*\n"
                     r"    the oldest waits: 4\.4\.1 connect", shown, re.MULTILINE), shown


def test_no_next_hop(site):
    """What was tried, and has none, is not shown as what was not tried."""
    hub = site.hub("* retry:4.3.0 not today\n")
    relay(hub, "a@x.example", "a@vm1.vm")
    hub.waiting("a@vm1.vm")
    shown = text(hub, "queue", "stats")
    assert re.search(r"^\(no next hop\) +- +deferred +1 ", shown, re.MULTILINE), shown


def test_refused_greeting(site):
    """Mail waits, and the status is the host's but for its first digit."""
    peer = site.peer(replies={"GREETING": "554 5.7.1 you are on a list"})
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port} tls=none\n")
    message_id = relay(hub, "a@x.example", "a@vm1.vm")
    line = hub.delivered("a@vm1.vm", message_id, "deferred")
    assert ", dsn=4.7.1, " in line and "refused to talk to me: 554 you are on a list" in line


def test_suspended(site):
    """What waits for its next hop has a time, but need not wait for that."""
    grey = site.peer(replies={"RCPT": "452 4.2.2 full"})
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{site.port()} tls=none\n"
                   f"vm2.vm relay:[{HOST}]:{grey.port} tls=none\n", minimal_backoff_time="1h")
    for address in "a@vm1.vm", "b@vm1.vm", "c@vm2.vm":
        relay(hub, "a@x.example", address)
        found = hub.waiting(address)
        assert TIME.match(found["next_attempt_at"])
        assert found["waits_for_next_hop"] is (address != "c@vm2.vm")


def test_each_retry_is_one(site):
    """Whichever worker may probe, and whichever finds the message that the operator wants tried."""
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{site.port()} tls=none\n", workers=2,
                   minimal_backoff_time="1h")
    relay(hub, "a@x.example", "one@vm1.vm")
    mark = 0
    for _ in range(30):
        hub.wait_for(r"<one@vm1\.vm>.* status=deferred \(connect to ", since=mark)
        mark = hub.server.mark()
        hub.waiting("one@vm1.vm")
        assert hub.command("queue", "retry", "--all").returncode == 0


def test_no_smtp_everywhere(site):
    """Rubbish of a next hop in the log, the queue, the ledger and the bounce: quoted and harmless."""
    rubbish = b"\x1b[2J\x00\xff <script>\x07" + b"x" * 5000 + b"\r\n"
    peer = site.peer(replies={"GREETING": rubbish})
    home = site.peer()
    hub = site.hub(f"vm1.vm relay:[{HOST}]:{peer.port} tls=none\n"
                   f"x.example relay:[{HOST}]:{home.port} tls=none\n", minimal_backoff_time="1h")
    relay(hub, "a@x.example", "one@vm1.vm")
    hub.waiting("one@vm1.vm")
    want = "server said something that is no SMTP: ?[2J?? <script>?xxx"
    reason = hub.queue()[0]["recipients"][0]["reason"]
    assert reason.startswith(want) and len(reason) < 300
    assert hub.ledger("one@vm1.vm")[0]["reply"] == reason
    assert any(want in line for line in hub.server.log().splitlines())
    assert want in status(hub)[0]["last_error"]
    assert not any("\x1b" in line for line in hub.server.log().splitlines())

    hub.change(maximal_queue_lifetime="0")
    assert hub.command("reload").returncode == 0
    hub.command("queue", "retry", "--all")
    home.wait_for_messages(1)
    bounce = home.messages[0].body
    assert b"no SMTP: ?[2J" in bounce and b"\x1b" not in bounce and b"\x00" not in bounce


def test_lanes_of_one_name(site):
    """
    FNV-1a, by which suspended mail finds its lane, is the same of "relay:[" with either of these
    hosts behind it: whoever may choose domains finds such pairs in a minute.
    """
    up, down = "ltmdv2zidulla", "gwmqcuahceodh"
    dns = site.dns({up: [HOST], down: ["127.0.0.2"]})
    port = site.port()
    hub = site.hub(f"vm1.vm relay:[{up}]:{port} tls=none\nvm2.vm relay:[{down}]:{port} tls=none\n",
                   resolver=dns.address, minimal_backoff_time="10m", maximal_backoff_time="10m")
    for i in range(300):
        relay(hub, "a@x.example", f"u{i}@vm{1 + i % 2}.vm")
    for i in range(300):
        hub.delivered(f"u{i}@vm{1 + i % 2}.vm", status="deferred")
    site.peer(port=port)
    assert hub.command("queue", "retry", "--recipient", "@vm1.vm").returncode == 0
    for i in range(0, 300, 2):
        hub.delivered(f"u{i}@vm1.vm")
    for i in range(20):
        hub.delivered("more@vm1.vm", relay(hub, "a@x.example", "more@vm1.vm"))

    assert count(hub, "@vm2.vm>") < 450  # once each, and not over and over again
