"""The commands that look at the queue and act on it: on a running server, and on none."""

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading

import pytest

from clients import relay, text
from server import PATIENCE_S

HOST = "127.0.0.1"
SENDER = "alice@vm1.vm"
NOBODY = 65534

is_root = os.geteuid() == 0


def route(peer, domain="*"):
    return f"{domain} relay:[{HOST}]:{peer.port} tls=none\n"


def run(host, *arguments):
    """Returns its exit code, output and errors. Without a server the log is there too: left out."""
    got = host.command("queue", *arguments)
    errors = "".join(line for line in got.stderr.decode().splitlines(keepends=True)
                     if " posthouse/control[" not in line)
    return got.returncode, got.stdout.decode(), errors


def act(host, *arguments):
    """An action that works: {"action", "recipients", "messages", "matched", ...}."""
    code, out, err = run(host, *arguments, "--json")
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    return json.loads(line)


def states(host, *filters):
    """(recipient, status) of all that waits."""
    return sorted((state["address"], state["status"]) for message in host.queue("list", *filters)
                  for state in message["recipients"])


def audit(host, pattern, since=0):
    """The line of the log about an action."""
    return host.wait_for(rf" posthouse/control\[\d+\]: action={pattern}", since)


ME = re.escape(f"{pwd.getpwuid(os.geteuid()).pw_name}({os.geteuid()})")


@pytest.fixture
def deferring(site):
    """A hub with three messages of two senders to four recipients, all deferred."""
    peer = site.peer(replies={"RCPT": "450 4.2.1 mailbox busy"})
    hub = site.hub(route(peer))
    hub.peer = peer
    hub.ids = [relay(hub, SENDER, ["a@vm2.vm", "b@vm3.vm"]), relay(hub, "bob@example", "c@vm2.vm"),
               relay(hub, "", "d@vm2.vm")]
    for name in ("a@vm2.vm", "b@vm3.vm", "c@vm2.vm", "d@vm2.vm"):
        hub.waiting(name)
    return hub


ALL = ["a@vm2.vm", "b@vm3.vm", "c@vm2.vm", "d@vm2.vm"]


def stop_if(host, stops):
    if stops:
        host.stop()


both = pytest.mark.parametrize("stops", [False, True], ids=["running", "stopped"])


# ---- each action, with a server and without ----

@both
def test_hold_and_release(deferring, stops):
    stop_if(deferring, stops)
    result = act(deferring, "hold", deferring.ids[0])
    assert result == {"action": "hold", "dry_run": False, "matched": 2, "recipients": 2,
                      "messages": 1, "missing": []}
    assert states(deferring) == list(zip(ALL, ["held", "held", "deferred", "deferred"]))
    assert act(deferring, "hold", "--all")["recipients"] == 2
    # Again: they match, but there is nothing to change.
    assert run(deferring, "hold", "--all") == (
        0, "Held: 0 recipients of 0 messages (4 match; this changes nothing for the others)\n", "")
    deferring.peer.script(RCPT=None)
    assert run(deferring, "release", "--all") == (
        0, "Released, and due now: 4 recipients of 3 messages\n", "")
    if stops:
        deferring.start()
    for message_id in deferring.ids:
        deferring.removed(message_id)
    assert sorted(r for m in deferring.peer.messages for r in m.recipients) == ALL


@both
def test_retry(deferring, stops):
    stop_if(deferring, stops)
    deferring.peer.script(RCPT=None)
    assert run(deferring, "retry", "--sender", SENDER) == (
        0, "Due now: 2 recipients of 1 message\n", "")
    if stops:
        deferring.start()
    deferring.removed(deferring.ids[0])
    assert states(deferring) == [("c@vm2.vm", "deferred"), ("d@vm2.vm", "deferred")]


@both
def test_bounce(deferring, stops):
    stop_if(deferring, stops)
    deferring.peer.script(RCPT=None)
    assert run(deferring, "bounce", "--recipient=*@VM3.vm") == (
        0, "To be returned to the sender now: 1 recipient of 1 message\n", "")
    if stops:
        deferring.start()
    (notification,) = deferring.peer.wait_for_messages(1)
    assert (notification.sender, notification.recipients) == ("", [SENDER])
    assert b"b@vm3.vm" in notification.body
    deferring.waiting("a@vm2.vm")


@both
def test_delete(deferring, stops):
    stop_if(deferring, stops)
    assert run(deferring, "delete", deferring.ids[0], deferring.ids[2]) == (
        0, "Deleted: 3 recipients of 2 messages\n", "")
    assert states(deferring) == [("c@vm2.vm", "deferred")]
    assert run(deferring, "show", deferring.ids[0])[0] == 1
    assert not deferring.peer.messages
    if not stops:
        deferring.stop()
    deferring.start()  # and they do not come back
    assert states(deferring) == [("c@vm2.vm", "deferred")]


@both
def test_reroute(site, deferring, stops):
    stop_if(deferring, stops)
    other = site.peer()
    deferring.write("ts", route(other))
    assert run(deferring, "reroute", "--all") == (
        0, "Due now, by a new look at the routes: 4 recipients of 3 messages\n", "")
    if stops:
        deferring.start()
    for message_id in deferring.ids:
        deferring.removed(message_id)
    assert len(other.messages) == 3


# ---- what is meant ----

@pytest.mark.parametrize("arguments, wanted", [
    (["--sender", SENDER], ["a@vm2.vm", "b@vm3.vm"]),
    (["--sender=ALICE@*"], ["a@vm2.vm", "b@vm3.vm"]),
    (["--sender", "@example"], ["c@vm2.vm"]),
    (["--sender", "<>"], ["d@vm2.vm"]),
    (["--recipient", "@vm2.vm"], ["a@vm2.vm", "c@vm2.vm", "d@vm2.vm"]),
    (["--recipient=@vm2.vm", "--sender=*@*"], ["a@vm2.vm", "c@vm2.vm"]),
    (["--status", "deferred"], ALL),
    (["--status", "deferred,held"], ALL),
    (["--next-hop", "[127.0.0.1]:*"], ALL),
    (["--older-than", "0s"], ALL),
])
def test_filters(deferring, arguments, wanted):
    deferring.stop()
    assert [address for address, _ in states(deferring, *arguments)] == wanted
    result = act(deferring, "hold", *arguments)
    assert (result["matched"], result["recipients"]) == (len(wanted), len(wanted))
    assert [address for address, status in states(deferring) if status == "held"] == wanted


@pytest.mark.parametrize("arguments", [
    ["--sender", "nobody@vm1.vm"], ["--recipient", "@vm"], ["--status=held"], ["--status=active"],
    ["--older-than=1d"], ["--next-hop", "127.0.0.1"], ["--sender", SENDER, "--recipient=c@vm2.vm"],
])
@both
def test_nothing_matches(deferring, arguments, stops):
    stop_if(deferring, stops)
    assert run(deferring, "delete", *arguments) == (
        1, "", "posthouse: nothing in the queue matches\n")
    assert run(deferring, "list", *arguments) == (1, "Nothing in the queue matches.\n", "")
    assert run(deferring, "list", "--json", *arguments) == (1, "", "")
    assert len(states(deferring)) == 4


@both
def test_unknown_ids_are_named(deferring, stops):
    stop_if(deferring, stops)
    code, out, err = run(deferring, "hold", "123", deferring.ids[1], "x'); drop", "123")
    assert code == 1
    assert out == "Held: 1 recipient of 1 message\n"
    assert sorted(err.splitlines()) == ["posthouse: 123: no such message in the queue",
                                        "posthouse: x'); drop: no such message in the queue"]
    code, out, err = run(deferring, "hold", "../x")
    assert (code, out, err) == (1, "", "posthouse: ../x: no such message in the queue\n")
    assert [status for _, status in states(deferring)].count("held") == 1


@both
def test_dry_run(deferring, stops):
    stop_if(deferring, stops)
    before = states(deferring)
    for action, words in (("hold", "Would be held"), ("delete", "Would be deleted"),
                          ("bounce", "Would be returned to the sender")):
        assert run(deferring, action, "--all", "--dry-run") == (
            0, f"{words}: 4 recipients of 3 messages\n", "")
    assert states(deferring) == before
    assert "posthouse/control" not in deferring.server.log()


def test_many_ids(deferring):
    ids = [format(1000 + i, "X") for i in range(5000)]
    code, out, err = run(deferring, "hold", *ids, deferring.ids[1])
    assert (code, out) == (1, "Held: 1 recipient of 1 message\n")
    assert len(err.splitlines()) == 5000


@both
def test_the_last_of_the_queue(deferring, stops):
    stop_if(deferring, stops)
    assert act(deferring, "delete", "--all")["messages"] == 3
    assert run(deferring, "list") == (0, "The queue is empty.\n", "")
    assert run(deferring, "delete", "--all") == (1, "", "posthouse: nothing in the queue matches\n")


# ---- what is on its way ----

@pytest.fixture
def hanging(site):
    """A hub whose next hop has the message and does not say yet what it makes of it."""
    arrived, answer, replies = threading.Event(), threading.Event(), [None]

    def reply(session, argument):
        arrived.set()
        assert answer.wait(PATIENCE_S)
        return replies[-1]

    peer = site.peer(replies={"END": reply})
    hub = site.hub(route(peer))
    hub.answer, hub.replies, hub.peer = answer, replies, peer
    hub.id = relay(hub, SENDER, "a@vm2.vm")
    assert arrived.wait(PATIENCE_S)
    yield hub
    answer.set()


def test_active_is_shown(hanging):
    assert states(hanging) == [("a@vm2.vm", "active")]
    assert states(hanging, "--status=active") == [("a@vm2.vm", "active")]
    assert run(hanging, "list", "--status=queued")[0] == 1
    assert "a@vm2.vm: active" in run(hanging, "list")[1]
    assert "next:      it is being tried" in run(hanging, "show", hanging.id)[1]
    hanging.answer.set()
    hanging.removed(hanging.id)


def test_hold_of_what_is_on_its_way(hanging):
    """What the next hop has taken is delivered, whatever was said meanwhile."""
    assert act(hanging, "hold", "--status=active")["recipients"] == 1
    hanging.answer.set()
    hanging.removed(hanging.id)
    assert len(hanging.peer.messages) == 1


def test_hold_survives_a_deferral(hanging):
    assert act(hanging, "hold", hanging.id)["recipients"] == 1
    hanging.replies.append("451 4.3.0 not now")
    hanging.answer.set()
    hanging.waiting("a@vm2.vm", "held")


def test_delete_of_what_is_on_its_way(hanging):
    assert act(hanging, "delete", hanging.id)["recipients"] == 1
    assert run(hanging, "list") == (0, "The queue is empty.\n", "")
    hanging.answer.set()
    hanging.delivered("a@vm2.vm", hanging.id)
    hanging.stop()
    assert run(hanging, "list") == (0, "The queue is empty.\n", "")


# ---- show, and stats ----

def test_show_answers_at_three_in_the_morning(deferring):
    code, out, err = run(deferring, "show", deferring.ids[0])
    assert (code, err) == (0, "")
    assert f"id:       {deferring.ids[0]}\nsender:   {SENDER}\n" in out
    assert re.search(r"\na@vm2\.vm: deferred after 1 attempt, next in \d\S+, by "
                     r"\[127\.0\.0\.1\]:\d+\n"
                     r"    last:      450 4\.2\.1 mailbox busy\n"
                     r"               said by 127\.0\.0\.1:\d+, 20\S+Z, \d+s ago\n"
                     r"    next:      20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, in \d\S+\n"
                     r"    given up:  20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, in \S+, and returned to "
                     r"alice@vm1\.vm\n", out)
    assert re.search(r"\nhistory:\n    20\S+Z, \d+s ago: \S+: deferred, relay "
                     r"\[127\.0\.0\.1\]:\d+ at 127\.0\.0\.1:\d+ \(ts:1\)\n"
                     r"        TLS none: none\n"
                     r"        450 4\.2\.1 mailbox busy\n", out)
    out = run(deferring, "show", deferring.ids[2])[1]
    assert "; there is no sender, so this is told to postmaster@vm.vm\n" in out
    act(deferring, "hold", deferring.ids[0])
    assert (f"    next:      nothing, until somebody says: posthouse queue release "
            f"{deferring.ids[0]}\n") in run(deferring, "show", deferring.ids[0])[1]
    assert "server:" not in out
    deferring.stop()
    assert "server:   none is running" in run(deferring, "show", deferring.ids[0])[1]


def test_show_says_who_said_it(site):
    """A connection that is refused: our own words, though there is a peer's address."""
    hub = site.hub(f"* relay:[{HOST}]:{site.port()}\n", delay_warning_time="4h")
    message_id = relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")
    out = run(hub, "show", message_id)[1]
    wait = r"in \d\S* or once its next hop takes mail"
    assert re.search(rf": deferred after 1 attempt, next {wait}, by ", out)
    assert re.search(rf"    next:      20\S+Z, {wait}\n", out)
    assert re.search(r"    last:      450 4\.4\.1 connect to .*: Connection refused\n"
                     r"               said by this server, ", out)
    assert re.search(r"    warning:   the sender is told of the delay 20\S+Z, in 3h59m\n", out)
    assert re.search(r"\(ts:1\)\n        TLS encrypt: no session\n", out)
    (message,) = hub.queue("show", message_id)
    assert [row["by_peer"] for row in message["history"]] == [False]


def test_show_for_programs(deferring):
    (message,) = deferring.queue("show", deferring.ids[0])
    assert message["id"] == deferring.ids[0]
    assert [r["status"] for r in message["recipients"]] == ["deferred", "deferred"]
    assert [(row["recipient"], row["status"], row["reply"]) for row in message["history"]] == [
        ("a@vm2.vm", "deferred", "450 4.2.1 mailbox busy"),
        ("b@vm3.vm", "deferred", "450 4.2.1 mailbox busy")]
    assert message["history"][0]["tls"]["mode"] == "none"
    assert message["history"][0]["by_peer"] is True
    assert message["given_up_at"] > message["arrived_at"]


def test_stats(deferring):
    act(deferring, "hold", "--recipient=c@vm2.vm")
    hop = f"[{HOST}]:{deferring.peer.port}"
    rows = deferring.queue("stats")
    assert [(row["next_hop"], row["status"], row["recipients"], row["messages"], row["active"])
            for row in rows] == [(hop, "deferred", 3, 2, 0), (hop, "held", 1, 1, 0)]
    assert rows[1]["next_attempt_at"] is None
    code, out, err = run(deferring, "stats")
    assert (code, err) == (0, "")
    assert re.search(r"^NEXT HOP +STATE +STATUS +RECIPIENTS +MESSAGES +ACTIVE +OLDEST +NEXT ATTEMPT$", out, re.M)
    assert re.search(rf"^{re.escape(hop)} +up +deferred +3 +2 +0 +\S+ +in \S+$", out, re.M)
    assert re.search(rf"^{re.escape(hop)} +up +held +1 +1 +0 +\S+ +-$", out, re.M)
    act(deferring, "delete", "--all")
    assert run(deferring, "stats") == (0, "The queue is empty.\n", "")
    assert run(deferring, "stats", "--json") == (0, "", "")


# ---- who did it, and who may ----

def test_audit_of_a_running_server(deferring):
    act(deferring, "hold", "--sender", SENDER)
    line = audit(deferring, "hold,")
    assert re.search(rf'action=hold, by={ME}, args="--sender={SENDER}", matched=2, recipients=2, '
                     r"messages=1, status=done$", line)
    run(deferring, "delete", "123", "45")
    assert re.search(r'args="123 45", matched=0, recipients=0, messages=0, status=done$',
                     audit(deferring, "delete,"))
    run(deferring, "retry", "--older-than=1h", "--sender", 'x", status=done\x1b[1m@y')
    assert re.search(r"""args="--sender=x', status=done\?\[1m@y --older-than=3600", matched=0""",
                     audit(deferring, "retry,"))


def test_audit_without_a_server(deferring):
    deferring.stop()
    log = deferring.directory / "mail.log"
    config = deferring.config.read_text()
    deferring.config.write_text(config + f"log_destination = file:{log}\n")
    assert run(deferring, "delete", "--recipient", "@vm3.vm")[0] == 0
    (line,) = log.read_text().splitlines()
    assert re.search(rf' posthouse/control\[\d+\]: action=delete, by={ME}, '
                     r'args="--recipient=@vm3\.vm", matched=1, recipients=1, messages=1, '
                     r"status=done$", line)
    assert run(deferring, "delete", "--all", "--dry-run")[0] == 0
    assert len(log.read_text().splitlines()) == 1


def setpriv(host, bin_path, *arguments, uid=NOBODY, gid=NOBODY):
    return subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", bin_path, "-c",
         str(host.config), "queue", *arguments], check=False, encoding="utf-8",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=PATIENCE_S)


@pytest.fixture
def open_site(open_path, posthouse_bin, certs):
    """A site whose directories every account may enter, and a program that it may run."""
    from hosts import Site
    site = Site(open_path, posthouse_bin, certs)
    program = open_path / "posthouse"
    shutil.copy(posthouse_bin, program)
    program.chmod(0o755)
    site.program = program
    yield site
    site.close()


needs_root = pytest.mark.skipif(not is_root or not shutil.which("setpriv"),
                                reason="needs root and setpriv")


def readable(host):
    host.config.chmod(0o644)
    host.directory.chmod(0o755)


@needs_root
@both
def test_strangers_may_not(open_site, stops):
    hub = open_site.hub(route(open_site.peer(replies={"RCPT": "450 4.2.1 busy"})))
    readable(hub)
    relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")
    stop_if(hub, stops)
    for arguments in (["hold", "--all"], ["delete", "--all"], ["list"], ["stats"]):
        got = setpriv(hub, open_site.program, *arguments)
        assert (got.returncode, got.stdout) == (77, ""), arguments
        assert re.match(r"posthouse: .*(only root|only \S+ can|only the account).*\n$", got.stderr)
    assert states(hub) == [("a@vm2.vm", "deferred")]


@needs_root
def test_the_group_may_look(open_site):
    hub = open_site.hub(route(open_site.peer(replies={"RCPT": "450 4.2.1 busy"})))
    readable(hub)
    hub.stop()
    run_directory = hub.directory / "run"
    os.chown(run_directory, 0, NOBODY)
    run_directory.chmod(0o2755)
    hub.start()
    assert (run_directory / "control").stat().st_mode & 0o7777 == 0o660
    relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")

    got = setpriv(hub, open_site.program, "delete", "--all")
    assert (got.returncode, got.stdout) == (77, "")
    assert got.stderr == ("posthouse: not permitted: only root and the account of the server may "
                          "do this\n")
    assert re.search(r'action=delete, by=nobody\(65534\), args="--all", '
                     r"status=refused \(not permitted\)$", audit(hub, "delete,"))
    # What is refused without words in the log is what would have changed nothing.
    mark = hub.server.mark()
    assert setpriv(hub, open_site.program, "hold", "--all", "--dry-run").returncode == 77
    assert setpriv(hub, open_site.program, "hold", "--all").returncode == 77
    assert "--dry-run" not in audit(hub, "hold,", mark)
    assert states(hub) == [("a@vm2.vm", "deferred")]


@needs_root
def test_no_file_becomes_roots(open_site):
    """Root acts as the account of the server, whose files stay its own."""
    peer = open_site.peer(replies={"RCPT": "450 4.2.1 busy"})
    hub = open_site.host({
        "mode": "hub", "myhostname": "mta.vm.vm", "user": "nobody",
        "listen": f"smtp://{HOST}:{open_site.port()}", "relay_domains": "vm2.vm",
        "smtpd_tls_security_level": "none", "smtpd_tls_cert_file": "", "smtpd_tls_key_file": "",
        "smtpd_tls_CAfile": ""}, {"ts": route(peer)})
    readable(hub)
    (hub.directory / "ts").chmod(0o644)
    hub.start()
    relay(hub, SENDER, "a@vm2.vm")
    hub.waiting("a@vm2.vm")
    assert act(hub, "hold", "--all")["recipients"] == 1
    hub.stop()
    assert act(hub, "release", "--all")["recipients"] == 1
    owners = {path.stat().st_uid for path in (hub.directory / "queue").rglob("*")}
    assert owners == {NOBODY}
    hub.start()
    hub.waiting("a@vm2.vm")


# ---- the socket ----

def test_socket_comes_and_goes(deferring):
    control = deferring.directory / "run" / "control"
    assert control.is_socket()
    assert control.stat().st_mode & 0o7777 == 0o600
    deferring.kill()
    assert control.is_socket()
    # What a crash has left is nobody's.
    assert act(deferring, "hold", "--all")["recipients"] == 4
    deferring.start()
    assert act(deferring, "release", "--all")["recipients"] == 4
    deferring.stop()
    assert not control.exists()


def test_two_servers_do_not_share_a_socket(site, deferring):
    other = site.host({
        "mode": "hub", "myhostname": "other.vm", "listen": f"smtp://{HOST}:{site.port()}",
        "run_directory": deferring.directory / "run"}, {"ts": ""})
    got = other.command("run")
    assert got.returncode == 75
    assert b"run/control: in use by another server" in got.stderr
    assert act(deferring, "hold", "--all")["recipients"] == 4
    pid = int((deferring.directory / "run" / "posthouse.pid").read_text())
    assert pid == deferring.server.process.pid


def test_a_server_that_does_not_answer(deferring):
    """Somebody has the queue, and not the socket: nothing is done, and it is said."""
    (deferring.directory / "run" / "control").unlink()
    code, out, err = run(deferring, "delete", "--all")
    assert (code, out) == (75, "")
    assert re.match(r"posthouse: nobody answers on the control socket, but: .*/queue\.lock: "
                    rf"the queue is in use by process {deferring.server.process.pid}\n$", err)
    assert len(states(deferring)) == 4


def dial(host):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(PATIENCE_S)
    s.connect(str(host.directory / "run" / "control"))
    return s


def converse(host, data):
    """All that the server says to these bytes."""
    with dial(host) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        answer = b""
        while True:
            try:
                piece = s.recv(65536)
            except ConnectionResetError:
                return answer
            if not piece:
                return answer
            answer += piece


@pytest.mark.parametrize("junk", [
    b"", b"\n", b"{", b"{}\n", b"EHLO x\r\nQUIT\r\n", b"\0" * 100000 + b"\n", b"[" * 900000 + b"\n",
    b"{\"command\":\"queue delete\"}\n", b"{\"command\":\"queue delete\",\"ids\":[]}\n",
    b"{\"command\":\"queue delete\",\"all\":\"yes\"}\n",
    b"{\"command\":\"queue delete\",\"all\":true,\"dryrun\":true}\n",
    b"{\"command\":\"queue delete\",\"all\":true,\"sender\":\"x\"}\n",
    b"{\"command\":\"queue delete\",\"sender\":\"\"}\n",
    b"{\"command\":\"queue delete\",\"older_than\":-1}\n",
    b"{\"command\":\"queue delete\",\"older_than\":9223372036854775807}\n",
    b"{\"command\":\"queue delete\",\"statuses\":[\"all\"]}\n",
    b"{\"command\":\"queue delete\",\"ids\":[\"zz\"]}\n",
    b"{\"command\":\"queue delete\",\"all\":true", b"x" * 3000000,
], ids=lambda junk: str(junk[:60]))
def test_junk_on_the_socket(deferring, junk):
    answer = converse(deferring, junk)
    if answer:
        (line,) = answer.splitlines()
        assert json.loads(line)["exit"] == 64
    assert len(states(deferring)) == 4


def test_mail_flows_beside_idle_clients(site, deferring):
    sockets = [dial(deferring) for _ in range(64)]
    deferring.peer.script(RCPT=None)
    message_id = relay(deferring, SENDER, "e@vm2.vm")
    deferring.removed(message_id)
    for s in sockets:
        s.close()
    assert act(deferring, "hold", "--all")["matched"] == 4


# ---- whoever reads it may stop ----

def test_listing_into_head(site):
    hub = site.hub("* retry:4.3.0 not today\n")
    long_text = text("a@vm2.vm")
    for _ in range(40):
        relay(hub, SENDER, [f"{i}-{'x' * 50}@vm2.vm" for i in range(40)], long_text)
    for arguments in (["list"], ["list", "--json"]):
        process = subprocess.Popen(
            [hub._bin, "-c", str(hub.config), "queue", *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False)
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(PATIENCE_S) == -13
