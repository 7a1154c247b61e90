"""AUTH at next hops: who logs in where, with what, and what becomes of mail when that fails."""

import json
import sqlite3
import ssl
import threading

import pytest

from clients import HOST, relay, submit
from peer import DROP, HANG
from sasl_server import Login, can_export
from server import PATIENCE_S

SENDER = "alice@vm1.vm"
QUICK = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
USER, PASSWORD = "joe", "correct horse, battery:staple"
ALL = "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 GSSAPI XOAUTH2"


def login_peer(site, login, mechanisms=ALL, tls="starttls", **options):
    extensions = ["PIPELINING", "8BITMIME"] + ([f"AUTH {mechanisms}"] if mechanisms else [])
    return site.peer(tls=tls, extensions=extensions,
                     replies={"AUTH": login, **options.pop("replies", {})}, **options)


def login_hub(site, peer, passwords=None, route=None, **parameters):
    if passwords is None:
        passwords = f"[{HOST}]:{peer.port} {USER}:{PASSWORD}\n"
    return site.hub(route or f"* relay:[{HOST}]:{peer.port} tls=encrypt\n",
                    {"passwords": passwords}, smtp_sasl_auth_enable="yes",
                    smtp_sasl_password_maps="hash:passwords", **parameters)


def verbs(session):
    return [line.split(" ")[0].upper() for line in session.commands]


def said_anything(peer):
    return any(verb in ("MAIL", "RCPT", "DATA") for s in peer.sessions for verb in verbs(s))


def assert_no_secret(host, *secrets):
    """Neither in the log, nor anywhere in the queue's database and its ledger."""
    places = [host.server.log().encode()]
    places += [path.read_bytes() for path in (host.directory / "queue").glob("queue.db*")]
    for secret in secrets or (PASSWORD,):
        assert not any(secret.encode() in place for place in places)


# ---- it goes well ----

@pytest.mark.parametrize("mechanism", [
    "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_mechanism(site, mechanism):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login, f"GSSAPI {mechanism}")
    hub = login_hub(site, peer)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [(mechanism, USER, True)]
    hub.wait_for(rf"logged in to {HOST}\[{HOST}\]:{peer.port} by {mechanism}, sasl_username=joe$")
    (session,) = peer.sessions
    assert verbs(session)[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
    hub.stop()
    assert_no_secret(hub)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_password_that_no_line_can_hold(site, mechanism):
    """RFC 4954 section 4: 12288 bytes of base64."""
    password = "long" * 2500
    peer = login_peer(site, Login({USER: password}), mechanism)
    hub = login_hub(site, peer, f"[{HOST}]:{peer.port} {USER}:{password}\n")
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    assert "user or password is too long for AUTH" in line and not said_anything(peer)
    hub.stop()
    assert_no_secret(hub, password)


def test_best_of_all_is_used(site):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    hub = login_hub(site, peer)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]
    assert peer.sessions[0].login_flag == "n"


def test_filter(site):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, smtp_sasl_mechanism_filter="!scram-sha-256, !cram-md5, plain")
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("PLAIN", USER, True)]


def test_implicit_tls(site):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login, tls="implicit")
    hub = login_hub(site, peer, f"{HOST} {USER}:{PASSWORD}\n",
                    f"* relay-smtps:[{HOST}]:{peer.port}\n")
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]


def test_many_iterations(site):
    login = Login({USER: PASSWORD}, iterations=100000)
    peer = login_peer(site, login, "SCRAM-SHA-256")
    hub = login_hub(site, peer)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]


def test_one_login_carries_many_messages(site):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, workers=1, default_destination_concurrency_limit=1)
    for number in range(5):
        hub.removed(relay(hub, SENDER, f"b{number}@vm2.vm"))
    assert len(peer.messages) == 5
    assert len(login.attempts) == len(peer.sessions)


def test_more_connections_once_the_first_has_logged_in(site):
    """Not before, so that a wrong password is tried once; but then as many as there is mail for."""
    waiting, login = threading.Event(), Login({USER: PASSWORD})

    def auth(session, argument):
        assert waiting.wait(PATIENCE_S) and (login.attempts or len(peer.sessions) == 1)
        return login(session, argument)

    def data(session, argument):
        peer.wait("three connections", lambda: len(peer.sessions) == 3)

    peer = login_peer(site, auth, replies={"DATA": data})
    hub = login_hub(site, peer, workers=1)
    ids = [relay(hub, SENDER, f"b{number}@vm2.vm") for number in range(3)]
    waiting.set()
    for message_id in ids:
        hub.removed(message_id)
    assert len(peer.sessions) == 3


@pytest.mark.parametrize("key", [f"[{HOST}]:%d", f"[{HOST}]", f"{HOST}:%d", HOST])
def test_keys(site, key):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    key = key % peer.port if "%" in key else key
    hub = login_hub(site, peer, f"[{HOST}]:1 x:y\n{key} {USER}:{PASSWORD}\n")
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]


@pytest.mark.parametrize("passwords", [
    "[192.0.2.1] joe:x\n", f"[{HOST}] :\n{HOST} joe:x\n", f"[{HOST}] joe\n", f"[{HOST}] :x\n"])
def test_nobody_logs_in(site, passwords):
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, passwords)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == []


def test_by_sender(site):
    """Each sender's own login, and a connection of its own; who has none goes without."""
    login = Login({"a-user": "a-secret", "domain-user": "d-secret"})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, "alice@vm1.vm a-user:a-secret\n@vm3.vm domain-user:d-secret\n",
                    smtp_sender_dependent_authentication="yes")
    senders = ["alice@vm1.vm", "Bob@vm3.vm", "carol@vm2.vm", "", "dave@vm3.vm", "ALICE@VM1.VM"]
    users = {"alice@vm1.vm": "a-user", "bob@vm3.vm": "domain-user", "dave@vm3.vm": "domain-user"}
    for number, sender in enumerate(senders):
        hub.removed(relay(hub, sender, f"b{number}@vm2.vm"))
    assert len(peer.messages) == len(senders)
    for message in peer.messages:
        assert getattr(message.session, "login_name", "") == users.get(message.sender.lower(), "")
    hub.stop()
    assert_no_secret(hub, "a-secret", "d-secret")


def test_sender_before_next_hop(site):
    login = Login({"a-user": "a-secret", USER: PASSWORD})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, f"alice@vm1.vm a-user:a-secret\n[{HOST}] {USER}:{PASSWORD}\n",
                    smtp_sender_dependent_authentication="yes")
    hub.removed(relay(hub, "alice@vm1.vm", "b@vm2.vm"))
    hub.removed(relay(hub, "carol@vm1.vm", "b@vm2.vm"))
    assert [user for _, user, _ in login.attempts] == ["a-user", USER]


def test_changed_password(site):
    """A changed map is taken up by itself, and the next connection logs in by it."""
    login = Login({USER: "new"})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, f"[{HOST}] {USER}:old\n", workers=1)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    hub.write("passwords", f"[{HOST}] {USER}:new\n")
    hub.wait_for("smtp_sasl_password_maps: hash:passwords has changed and was taken up")
    assert hub.command("queue", "retry", "--all").returncode == 0
    hub.delivered("b@vm2.vm")
    assert [is_good for _, _, is_good in login.attempts] == [False, True]
    hub.stop()
    assert_no_secret(hub, "old,", "new,")


def test_changed_user(site):
    """So is another user: what waited for the old one is routed anew."""
    login = Login({"second": "secret"})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, f"[{HOST}] first:secret\n", workers=1)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    hub.write("passwords", f"[{HOST}] second:secret\n")
    hub.wait_for("smtp_sasl_password_maps: hash:passwords has changed and was taken up")
    assert hub.command("queue", "retry", "--all").returncode == 0
    hub.delivered("b@vm2.vm")
    assert [user for _, user, _ in login.attempts] == ["first", "second"]


def test_reload(site):
    """Logins come, change and go with the configuration; connections of before are not used on."""
    login = Login({"first": "x", "second": "y"})
    peer = login_peer(site, login)
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=encrypt\n",
                   {"one": f"[{HOST}] first:x\n", "two": f"[{HOST}] second:y\n"})
    def send(user, **parameters):
        hub.change(**parameters)
        got = hub.command("reload")
        assert got.returncode == 0, got.stderr
        hub.removed(relay(hub, SENDER, "b@vm2.vm"))
        assert getattr(peer.messages[-1].session, "login_name", "") == user

    send("first", smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:one")
    send("second", smtp_sasl_password_maps="hash:two")
    send("", smtp_sasl_auth_enable="no")
    send("first", smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="hash:one")


@pytest.mark.parametrize("mode, want", [
    (0o600, None), (0o640, "a group may read the passwords in it"),
    (0o644, "every account of this host may read the passwords in it")])
def test_check_of_permissions(site, mode, want):
    hub = login_hub(site, login_peer(site, Login({})))
    (hub.directory / "passwords").chmod(mode)
    got = hub.command("check")
    said = got.stdout.decode()
    assert got.returncode == 0 and PASSWORD not in said
    assert want in said if want else "may read the passwords" not in said


@pytest.mark.parametrize("maps", [
    "inline:{ [h] = joe:hunter2", "inline:{ [h] joe:hunter2 }", "inlien:{ [h] = joe:hunter2 }",
    "inline:{ [h] = joe:hunter2:1, [h] = joe:hunter2:1 }", "inline:{ a@b = joe:hunter2 }",
    "regexp:{ {/x joe:hunter2} }", "regexp:{ {/x/ hunter2} }", "static:hunter2",
    "cidr:{ {192.0.2.1/33 joe:hunter2} }", "inline:[h]=joe:hunter2", "joe:hunter2", "hunter2",
    "static:{joe:hunter2}x", "hash:{ [h] = joe:hunter2 }", "hash:gone, static:joe:hunter2",
    "hash:gone, static:{joe:hunter2"])
def test_check_shows_no_password(site, posthouse, maps):
    """Also not where the map stands in the configuration, which may be read by others."""
    config = site.directory / "posthouse.conf"
    config.write_text("mode = hub\nmyhostname = mta.vm.vm\nuser = root\nqueue_directory = queue\n"
                      "run_directory = run\nrelay_domains = vm1.vm\n"
                      "listen = smtp://127.0.0.1:0\nsmtpd_tls_security_level = none\n"
                      f"smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = {maps}\n")
    got = posthouse("check", config=config)
    assert "posthouse.conf:10: " in got.stdout and "smtp_sasl_password_maps: " in got.stdout
    assert "hunter2" not in got.stdout + got.stderr

    got = posthouse("config", "smtp_sasl_password_maps", config=config)
    assert "hunter2" not in got.stdout + got.stderr
    want = "hash:gone, " if "gone" in maps else ""
    assert f"smtp_sasl_password_maps = {want}(not shown, for the passwords in it)\n" in got.stdout


# ---- bound to TLS ----

needs_exporter = pytest.mark.skipif(not can_export(), reason="this Python hides OpenSSL too well")


@needs_exporter
def test_bound_to_the_tls_session(site):
    """OpenSSL's exporter and ours agree, in a new session and in one that is resumed."""
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login, "SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
    hub = login_hub(site, peer, workers=1)
    for number in range(2):
        hub.removed(relay(hub, SENDER, f"b{number}@vm2.vm"))
        peer.sessions[-1].end("421 4.3.2 bye")
    assert login.attempts == 2 * [("SCRAM-SHA-256-PLUS", USER, True)]
    assert all(session.login_flag == "p=tls-exporter" for session in peer.sessions)


@needs_exporter
def test_somebody_in_between(site):
    """Who passes our login on to the real server has another TLS session there."""
    refused(site, Login({USER: PASSWORD}, BINDING=b"x" * 32),
            "SASL authentication failed; server PEER said: 535", "SCRAM-SHA-256-PLUS PLAIN")


def test_nothing_to_bind_to(site):
    """TLS 1.2: the same without -PLUS."""
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login, "SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
    peer.context.maximum_version = ssl.TLSVersion.TLSv1_2
    hub = login_hub(site, peer)
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]
    assert peer.sessions[0].login_flag == "n"


# ---- it is refused ----

def refused(site, login, want, mechanisms=ALL, **options):
    """One message waits for this reason, and the peer has seen nothing of it; returns both."""
    peer = login_peer(site, login, mechanisms, **options)
    hub = login_hub(site, peer)
    message_id = relay(hub, SENDER, "b@vm2.vm")
    line = hub.delivered("b@vm2.vm", message_id, "deferred")
    assert want.replace("PEER", f"{HOST}[{HOST}]:{peer.port}") in line
    assert not said_anything(peer)
    hub.waiting("b@vm2.vm")
    hub.stop()
    assert_no_secret(hub)
    return hub, peer


@pytest.mark.parametrize("reply", [
    "432 4.7.12 A password transition is needed", "454 4.7.0 Temporary authentication failure",
    "500 5.5.6 Authentication Exchange line is too long", "504 5.5.4 What?",
    "530 5.7.0 Authentication required", "534 5.7.9 Authentication mechanism is too weak",
    "535 5.7.8 Authentication credentials invalid", "538 5.7.11 Encryption required",
    "550 5.7.1 Go away"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_refused(site, reply, mechanism):
    enhanced = reply.split(" ")[1]
    dsn = "4" + enhanced[1:] if enhanced[1:4] == ".7." else "4.7.0"
    code, _, text = reply.partition(" " + enhanced)
    refused(site, Login({USER: PASSWORD}, RESULT=reply),
            f"dsn={dsn}, status=deferred (SASL authentication failed; server PEER said: "
            f"{code}{text})", mechanism)


def test_wrong_password(site):
    hub, _ = refused(site, Login({USER: "other"}),
                     "SASL authentication failed; server PEER said: 535 Error: authentication "
                     "failed)")
    assert "warning: " in hub.wait_for("SASL authentication failed; .* sasl_username=joe$")


def test_refused_login_does_not_hammer(site):
    """Twenty messages, and other addresses and times to try: one login until the retry."""
    login = Login({USER: "other"})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, workers=1)
    ids = [relay(hub, SENDER, f"b{number}@vm2.vm") for number in range(20)]
    for number, message_id in enumerate(ids):
        hub.delivered(f"b{number}@vm2.vm", message_id, "deferred")
    assert len(login.attempts) == 1
    status = json.loads(hub.command("status", "--json").stdout)
    (next_hop,) = status["next_hops"]
    assert next_hop["state"] == "backoff"
    assert "SASL authentication failed" in next_hop["last_error"]


def test_refused_login_of_one_does_not_delay_others(site):
    login = Login({"good": "x"})
    peer = login_peer(site, login)
    hub = login_hub(site, peer, "alice@vm1.vm bad:x\nbob@vm1.vm good:x\n",
                    smtp_sender_dependent_authentication="yes")
    hub.delivered("a@vm2.vm", relay(hub, "alice@vm1.vm", "a@vm2.vm"), "deferred")
    hub.delivered("b@vm2.vm", relay(hub, "bob@vm1.vm", "b@vm2.vm"))


def test_second_next_hop_is_tried(site):
    first, second = Login({USER: "other"}), Login({USER: PASSWORD})
    a, b = login_peer(site, first), login_peer(site, second)
    hub = login_hub(site, a, f"{HOST} {USER}:{PASSWORD}\n",
                    f"* relay:[{HOST}]:{a.port}, [{HOST}]:{b.port} tls=encrypt\n")
    hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"))
    assert (len(first.attempts), len(second.attempts)) == (1, 1)
    assert len(b.messages) == 1


def test_not_offered(site):
    refused(site, Login({}), "SASL authentication failed; server PEER does not offer AUTH)", "")


def test_no_acceptable_mechanism(site):
    refused(site, Login({}), "SASL authentication failed; server PEER offers no acceptable "
            "mechanism (offered: GSSAPI XOAUTH2))", "GSSAPI XOAUTH2")


# ---- it would be in the clear ----

@pytest.mark.parametrize("tls, replies", [
    ("none", {}), ("starttls", {"STARTTLS": "454 4.7.0 not now"}),
    ("starttls", {"HANDSHAKE": DROP})], ids=["not offered", "refused", "broken"])
def test_never_in_the_clear(site, tls, replies):
    """At level may mail goes in the clear where there is no TLS, but whoever logs in waits."""
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login, tls=tls, replies=replies)
    hub = login_hub(site, peer, route=f"* relay:[{HOST}]:{peer.port} tls=may\n")
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    assert "passwords are not sent without TLS" in line
    assert login.attempts == [] and not said_anything(peer)
    assert b"AUTH" not in peer.wire()


def test_clear_next_hop_without_login(site):
    """The same server, the same level, nobody who logs in: that goes."""
    peer = login_peer(site, Login({}), tls="none")
    hub = login_hub(site, peer, "alice@vm1.vm joe:x\n", f"* relay:[{HOST}]:{peer.port} tls=may\n",
                    smtp_sender_dependent_authentication="yes")
    hub.delivered("a@vm2.vm", relay(hub, "alice@vm1.vm", "a@vm2.vm"), "deferred")
    hub.delivered("b@vm2.vm", relay(hub, "bob@vm1.vm", "b@vm2.vm"))
    assert [message.sender for message in peer.messages] == ["bob@vm1.vm"]


# ---- servers that mean harm ----

def bomb(text):
    return text.rpartition("=")[0] + "=4000000000"


@pytest.mark.parametrize("mechanism, others, want", [
    ("SCRAM-SHA-256", {"SERVER_FINAL": "v=" + "A" * 43 + "="},
     "the server could not prove that it knows the password"),
    ("SCRAM-SHA-256", {"SERVER_FINAL": "e=other-error"}, "cannot authenticate to server PEER: "),
    ("SCRAM-SHA-256", {"SERVER_FINAL": lambda text: None},
     "it accepted the login without having proved that it knows the password"),
    ("SCRAM-SHA-256", {"SERVER_FIRST": bomb}, "the server asks for 4000000000 iterations"),
    ("SCRAM-SHA-256", {"SERVER_FIRST": lambda text: "r=abc" + text[text.index(",s="):]},
     "cannot authenticate to server PEER: "),
    ("SCRAM-SHA-256", {"SERVER_FIRST": "x" * 1400}, "cannot authenticate to server PEER: "),
    ("SCRAM-SHA-256", {"SERVER_FIRST": "x" * 100000}, "334 eHh4eHh4"),
    ("LOGIN", {"CHALLENGE": b"no base64!"}, 'protocol error: server said "334 no base64!"'),
    ("CRAM-MD5", {"CHALLENGE": ""}, "SASL authentication failed"),
], ids=["wrong signature", "error for a signature", "no signature", "iterations", "nonce",
        "long challenge", "huge challenge", "no base64", "empty challenge"])
def test_malicious_server(site, mechanism, others, want):
    refused(site, Login({USER: PASSWORD}, **others), want, mechanism)


def test_welcome_at_once(site):
    """A server that lets in everybody has proved nothing."""
    refused(site, lambda session, argument: "235 2.7.0 Welcome",
            "it accepted the login without having proved that it knows the password",
            "SCRAM-SHA-256")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_endless_challenges(site, mechanism):
    """Whoever asks for ever is told '*' in the end, and no more than the mechanism has it."""
    def ask(session, argument):
        answers = []
        while True:
            session.send(b"334 PGdvQG9uPg==\r\n")
            answers.append(session.read_line())
            assert len(answers) < 5
            if answers[-1] == b"*":
                return "501 5.7.0 Cancelled"
    refused(site, ask, "cannot authenticate to server PEER: ", mechanism)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("reply", ["535 5.7.8 no, {}", "421 4.7.0 {} and goodbye", "999 {}"])
def test_server_repeats_the_password(site, mechanism, reply):
    """What it got is in no log, and no queue, for all that."""
    def repeat(session, argument):
        got = argument.partition(" ")[2]
        if mechanism == "LOGIN":
            session.send(b"334 VXNlcm5hbWU6\r\n")
            session.read_line()
            session.send(b"334 UGFzc3dvcmQ6\r\n")
            got = session.read_line().decode()
        secrets.append(got)
        return reply.format(got if mechanism == "PLAIN" else PASSWORD)
    secrets = []
    hub, _ = refused(site, repeat, "(its reply is not shown, as it repeats the password)", mechanism)
    assert_no_secret(hub, PASSWORD, *secrets)


@pytest.mark.parametrize("answer, want", [
    (DROP, "lost connection with PEER while performing the AUTH exchange"),
    ("421 4.7.0 too many of you", "421 4.7.0 too many of you"),
    ("250 Ok", "it accepted the login without having proved that it knows the password"),
    ("354 go on", 'protocol error: server said "354 go on" in reply to AUTH'),
])
def test_odd_answer(site, answer, want):
    want = want.replace("421 4.7.0 ", "") if isinstance(answer, str) and answer[0] == "4" else want
    refused(site, lambda session, argument: answer, want, "SCRAM-SHA-256")


def test_silence(site):
    peer = login_peer(site, lambda session, argument: HANG)
    hub = login_hub(site, peer, smtp_helo_timeout="1s")
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    assert "timed out while performing the AUTH exchange" in line
    assert not said_anything(peer)


# ---- a map that cannot be asked ----

def test_no_answer_is_not_nobody(site):
    """While the database of passwords is away mail waits: without a login it would be refused."""
    login = Login({USER: PASSWORD})
    peer = login_peer(site, login)
    path = site.directory / "passwords.db"
    database = sqlite3.connect(path)
    with database:
        database.execute("create table logins (hop text, login text)")
        database.execute("insert into logins values (?, ?)",
                         (f"[{HOST}]:{peer.port}", f"{USER}:{PASSWORD}"))
    database.close()
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=encrypt\n", {
        "passwords.cf": f"dbpath = {path}\nquery = select login from logins where hop = '%s'\n"},
        smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="sqlite:passwords.cf", workers=1, **QUICK)
    path.rename(site.directory / "away")
    line = hub.delivered("b@vm2.vm", relay(hub, SENDER, "b@vm2.vm"), "deferred")
    assert "smtp_sasl_password_maps: " in line and "dsn=4.3.0" in line
    assert not peer.sessions

    (site.directory / "away").rename(path)
    hub.waiting("b@vm2.vm")
    hub.command("queue", "retry", "--all")
    hub.delivered("b@vm2.vm")
    assert login.attempts == [("SCRAM-SHA-256", USER, True)]


# ---- neighbours ----

def test_towards_an_edge(site):
    """A hub that logs in on the submission ports of another Posthouse."""
    edge = site.edge("vm2.vm")
    bob = "bob@vm2.vm"
    hub = site.hub(f"vm2.vm relay-smtps:[{HOST}]:{edge.port('smtps')}\n"
                   f"vm1.vm relay:[{HOST}]:{edge.port('submission')}\n",
                   {"passwords": f"[{HOST}] {bob}:bob\n"}, smtp_sasl_auth_enable="yes",
                   smtp_sasl_password_maps="hash:passwords")
    hub.removed(relay(hub, bob, bob))
    edge.wait_for(f"sasl_method=SCRAM-SHA-256-PLUS, sasl_username={bob}")
    edge.wait_for(rf"to=<{bob}>.* status=sent ")
    assert len(edge.mailbox(bob)) == 1


def test_edge_through_a_hub_that_asks_for_logins(site):
    """What an edge sends goes through the submission port of another one, by its login there."""
    hub = site.edge("vm2.vm", smtpd_sender_login_maps="inline:{ alice@vm1.vm = bob@vm2.vm }")
    edge = site.edge("vm1.vm", relayhost=f"relay:[{HOST}]:{hub.port('submission')}",
                     smtp_sasl_auth_enable="yes",
                     smtp_sasl_password_maps=f"inline:{{ [{HOST}] = bob@vm2.vm:bob }}")
    edge.removed(submit(site.certs, edge, "alice@vm1.vm", "bob@vm2.vm"))
    hub.wait_for(r"to=<bob@vm2.vm>.* status=sent ")
    assert len(hub.mailbox("bob@vm2.vm")) == 1
