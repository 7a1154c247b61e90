"""sendmail, mailq, newaliases: what programs of this host use, and what they may not do."""

import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import time

import pytest

from hosts import Site
from server import PATIENCE_S

NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
DAEMON = ("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups")

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"),
                                reason="only root can be somebody else")

OUR_LOGIN = pwd.getpwuid(os.getuid()).pw_name


def call(host, name, *arguments, text="", user=(), **options):
    """Run posthouse under another name, as host's own sendmail; returns what became of it."""
    link = host.directory / name
    if not link.exists():
        link.symlink_to(host._bin)
    environment = {**os.environ, "POSTHOUSE_CONFIG": str(host.config)}
    return subprocess.run([*user, link, *arguments], check=False, env=environment,
                          input=text if isinstance(text, bytes) else text.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S,
                          **options)


def send(host, *arguments, text="Subject: a test\n\nhello\n", user=()):
    got = call(host, "sendmail", *arguments, text=text, user=user)
    assert got.returncode == 0, got.stderr
    assert got.stderr == b""


def maildrop(host):
    return host.directory / "queue" / "maildrop"


def waiting(host):
    return [path for path in maildrop(host).iterdir() if path.name not in ("taken", "bad")]


def taken(host):
    return list((maildrop(host) / "taken").iterdir())


def until(is_so, host):
    """For what has no line in the log: a file goes a little after its message is stored."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, host.server.log()


def until_delivered(host, count):
    """So many since its start: a stop leaves in the queue what has not come to its turn."""
    until(lambda: len(re.findall(r": to=<alice@vm1\.vm>.* status=sent ", host.server.log())) >= count,
          host)


def only_mail(host, user="alice@vm1.vm"):
    mails = host.mailbox(user)
    assert len(mails) == 1
    return mails[0]


def test_a_message_goes_out_at_once(site):
    edge = site.edge()
    send(edge, "-i", "-F", "Jörg the \"Tester\"", "alice",
         text="From x Sat Nov 21\nSubject: s\n\nhello\n.\nbye")
    line = edge.wait_for(r"posthouse/pickup\[\d+\]: \w+: uid=")
    assert line.endswith(f": uid={os.getuid()} from=<{OUR_LOGIN}@vm1.vm>")
    edge.delivered("alice@vm1.vm")
    mail = only_mail(edge)
    assert f"\nReturn-Path: <{OUR_LOGIN}@vm1.vm>\n".encode() in b"\n" + mail
    assert re.search(rb"\nReceived: by mta1\.vm1\.vm \(Posthouse, from userid %d\)\n\tid \w+; "
                     % os.getuid(), mail)
    assert re.search(rb"\nSubject: s\n", mail)
    assert re.search(rb"\nDate: \w{3}, ", mail)
    assert re.search(rb"\nMessage-ID: <\S+@mta1\.vm1\.vm>\n", mail)
    assert re.search(rb"\nFrom: =\?utf-8\?\S+\?= .*<%s@vm1\.vm>\n" % OUR_LOGIN.encode(), mail,
                     re.IGNORECASE)
    assert mail.endswith(b"\n\nhello\n.\nbye\n")
    assert b"From x" not in mail
    assert (b"\n    route     virtual, as the domain is this host's\n"
            in edge.command("trace", "alice@vm1.vm").stdout)


def test_recipients_of_the_header(site):
    edge = site.edge(users="alice@vm1.vm:{PLAIN}a::::::\ntest1@vm1.vm:{PLAIN}b::::::\n")
    send(edge, "-t", "-f", "carol@elsewhere.example",
         text="To: The Alice <alice>\nBcc:\n test1@vm1.vm\nFrom: carol@elsewhere.example\n\nhi\n")
    edge.delivered("alice@vm1.vm")
    edge.delivered("test1@vm1.vm")
    for user in ("alice", "test1"):
        mail = only_mail(edge, f"{user}@vm1.vm")
        assert b"Return-Path: <carol@elsewhere.example>" in mail
        assert b"\nTo: The Alice <alice@vm1.vm>\n" in mail
        assert b"bcc" not in mail.lower()


def test_hub_relays_what_its_host_sends(site):
    peer = site.peer(tls="starttls")
    hub = site.hub(f"vm2.vm relay:[127.0.0.1]:{peer.port}\n", myorigin="vm.vm")
    send(hub, "-f", "<>", "-N", "never", "bob@vm2.vm", text="hi\r\n.\r\nnot sent\r\n")
    hub.delivered("bob@vm2.vm")
    mail = peer.messages[-1]
    assert mail.sender == ""
    assert mail.recipients == ["bob@vm2.vm"]
    assert b"\r\nFrom: MAILER-DAEMON@vm.vm\r\n" in mail.body
    assert mail.body.endswith(b"\r\n\r\nhi\r\n")


def subjects(host, user="alice@vm1.vm"):
    return sorted(re.findall(rb"\nSubject: (\S+)\n", b"".join(host.mailbox(user))))


def test_without_a_server_it_is_queued(site):
    edge = site.edge()
    edge.stop()
    edge.change(log_destination="file:log")
    for number in range(3):
        send(edge, "alice", text=f"Subject: {number}\n\n")
    assert not waiting(edge) and not taken(edge)
    assert [[recipient["address"] for recipient in message["recipients"]]
            for message in edge.queue()] == [["alice@vm1.vm"]] * 3
    log = (edge.directory / "log").read_text()
    assert len(re.findall(r"/pickup\[\d+\]: \w+: uid=", log)) == 3
    edge.change(log_destination=None)
    edge.start()
    until_delivered(edge, 3)
    edge.stop()
    assert subjects(edge) == [b"0", b"1", b"2"]


def test_without_a_server_it_waits_where_it_cannot_be_queued(site):
    """Others than root cannot; here it is the configuration that cannot be used."""
    edge = site.edge()
    edge.stop()
    edge.change(workers="many")
    for number in range(3):
        send(edge, "alice", text=f"Subject: {number}\n\n")
    assert len(waiting(edge)) == 3
    lines = call(edge, "mailq").stdout.decode().splitlines()
    assert [line.strip() for line in lines[2:4]] == ["(waits for the server to take it)",
                                                     "alice@vm1.vm"]
    assert lines[-1] == "-- 0 Kbytes in 3 Requests."
    edge.change(workers=2)
    send(edge, "alice", text="Subject: 3\n\n")  # takes the others along
    assert not waiting(edge) and not taken(edge)
    assert len(edge.queue()) == 4
    edge.start()
    until_delivered(edge, 4)
    edge.stop()
    assert subjects(edge) == [b"0", b"1", b"2", b"3"]


@pytest.mark.skipif(not shutil.which("strace"), reason="without strace nobody sees what is opened")
def test_beside_a_server_nothing_more_is_opened(site):
    edge = site.edge()
    trace = edge.directory / "trace"
    environment = {**os.environ, "POSTHOUSE_CONFIG": str(edge.config)}
    link = edge.directory / "sendmail"
    link.symlink_to(edge._bin)
    subprocess.run(["strace", "-f", "-e", "trace=openat", "-o", trace, link, "alice"], check=True,
                   env={**environment, "ASAN_OPTIONS": "detect_leaks=0"}, input=b"\n",
                   timeout=PATIENCE_S)
    opened = trace.read_text()
    assert "posthouse.conf" in opened
    assert "hub.key" not in opened
    edge.delivered("alice@vm1.vm")


def test_before_the_first_start(site):
    edge = site.edge()
    edge.stop()
    shutil.rmtree(edge.directory / "queue")
    send(edge, "alice")
    assert len(edge.queue()) == 1
    edge.start()
    edge.delivered("alice@vm1.vm")


def test_unknown_user_is_returned(site):
    edge = site.edge()
    send(edge, "-f", "alice@vm1.vm", "nobody-here")
    edge.delivered("nobody-here@vm1.vm", status="bounced")
    edge.delivered("alice@vm1.vm")
    assert b"Undelivered Mail Returned to Sender" in only_mail(edge)


def test_lines_are_made_fit_for_mail(site):
    edge = site.edge()
    long = b"x" * 2500
    send(edge, "alice", text=b"Subject: s\n\n10%\r20%\r\na\0b\n\xff\xfe\n" + long + b"\n")
    edge.delivered("alice@vm1.vm")
    body = only_mail(edge).split(b"\n\n", 1)[1]
    assert body == (b"10% 20%\nab\n\xff\xfe\n" + b"x" * 998 + b"\n " + b"x" * 997 + b"\n " +
                    b"x" * 505 + b"\n")


def test_a_long_first_line_without_a_header(site):
    edge = site.edge()
    send(edge, "alice", text="<" + "x" * 2500)
    edge.delivered("alice@vm1.vm")
    assert only_mail(edge).endswith(b"\n\n<" + b"x" * 997 + b"\n " + b"x" * 997 + b"\n " +
                                    b"x" * 506 + b"\n")


def test_a_large_message(site):
    edge = site.edge(message_size_limit="2M")
    send(edge, "alice", text=b"Subject: large\n\n" + b"0123456789abcdef\n" * 60000)
    edge.delivered("alice@vm1.vm")
    assert only_mail(edge).endswith(b"0123456789abcdef\n" * 60000)
    got = call(edge, "sendmail", "alice", text=b"Subject: larger\n\n" + b"0" * 70 + b"\n" * 3000000)
    assert (got.returncode, got.stdout) == (65, b"")
    assert b"message_size_limit" in got.stderr
    assert waiting(edge) == []


def test_exit_codes(site, tmp_path):
    edge = site.edge()

    def fails(code, words, *arguments, text="", name="sendmail"):
        got = call(edge, name, *arguments, text=text)
        assert got.returncode == code, got.stderr
        assert words in got.stderr.decode(), got.stderr

    fails(64, "unknown option -Z", "-Z", "alice")
    fails(64, "-t option")
    fails(64, "found in message header", "-t", text="Subject: s\n\n")
    fails(64, "posthouse run", "-bd")
    fails(64, "not an address", "-f", "a b", "alice")
    fails(65, "not an address", "a b")
    fails(65, "John Smith: not an address", "-t", text="To: John Smith\n\n")
    fails(65, "more than 10000 recipients", "-t",
          text="To: " + ",\n ".join(f"u{n}" for n in range(10001)) + "\n\n")
    fails(65, "too many hops", "alice", text="Received: x\n" * 60 + "\n")
    fails(78, "cannot read the file", "-C", str(tmp_path / "none.conf"), "alice")
    empty = tmp_path / "empty.conf"
    empty.write_text("")
    fails(78, "must be able to read", "-C", str(empty), "alice")
    edge.stop()
    shutil.rmtree(edge.directory / "queue")
    (edge.directory / "queue").touch()
    fails(75, "Not a directory", "alice")
    assert call(edge, "sendmail", "--help").returncode == 0
    assert call(edge, "mailq", "--version").stdout.startswith(b"posthouse ")


def test_smtp_on_standard_input(site):
    edge = site.edge()
    got = call(edge, "sendmail", "-bs", text=(
        "EHLO here\r\nMAIL FROM:<alice@vm1.vm>\r\nRCPT TO:<alice>\r\nDATA\r\n"
        "Subject: by smtp\r\n\r\n..hello\r\n.\r\n"
        "MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\nSubject: half of it\r\n"))
    assert got.returncode == 0, got.stderr
    assert b"250 2.0.0 Ok: queued as " in got.stdout
    edge.delivered("alice@vm1.vm")
    assert only_mail(edge).endswith(b"\n\n.hello\n")
    edge.stop()
    assert waiting(edge) == []
    assert "<b@c>" not in edge.server.log()


def test_mailq(site):
    edge = site.edge(routes=f"vm2.vm relay:[127.0.0.1]:{site.port()}\n")
    got = call(edge, "mailq")
    assert (got.returncode, got.stdout) == (0, b"Mail queue is empty\n")
    send(edge, "-f", "alice@vm1.vm", "bob@vm2.vm", text=b"Subject: s\n\n" + b"x" * 60 + b"\n" * 3000)
    state = edge.waiting("bob@vm2.vm")
    lines = call(edge, "mailq").stdout.decode().splitlines()
    assert lines[0] == "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------"
    assert re.fullmatch(r"[0-9A-F]+ +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d +alice@vm1\.vm", lines[1])
    assert lines[2].strip() == f"({state['reason']})"
    assert lines[3] == " " * 41 + "bob@vm2.vm"
    assert lines[-1] in ("-- 3 Kbytes in 1 Request.", "-- 6 Kbytes in 1 Request.")
    assert call(edge, "sendmail", "-bp").stdout.decode().splitlines()[0] == lines[0]
    assert edge.command("queue", "hold", "--all").returncode == 0
    assert "!" in call(edge, "mailq").stdout.decode().splitlines()[1]


def test_flush(site):
    peer = site.peer(tls="starttls")
    edge = site.edge(routes="vm2.vm retry:4.3.0 not now\n")
    send(edge, "bob@vm2.vm")
    edge.waiting("bob@vm2.vm")
    edge.write("ts", f"vm2.vm relay:[127.0.0.1]:{peer.port}\n")
    edge.wait_for("hash:ts has changed and was taken up")
    assert call(edge, "sendmail", "-qRvm2.vm").returncode == 0
    edge.delivered("bob@vm2.vm")
    assert call(edge, "sendmail", "-qR", "vm9.vm").returncode != 0


def test_newaliases(site, tmp_path):
    edge = site.edge()
    got = call(edge, "newaliases")
    assert (got.returncode, got.stderr) == (0, b"")
    got = call(edge, "newaliases", "-C", str(tmp_path / "none.conf"))
    assert got.returncode == 0
    assert b"no configuration yet" in got.stderr


def test_aliases(site):
    edge = site.edge(virtual_alias_maps="inline:{ root@vm1.vm = alice@vm1.vm }")
    edge.change(mydestination="localhost", alias_maps="hash:aliases")
    got = call(edge, "newaliases")
    assert got.returncode == 78
    assert b"aliases" in got.stderr
    edge.write("aliases", "webmaster: alice@vm1.vm, root@vm1.vm\n")
    got = call(edge, "newaliases")
    assert got.returncode == 0, got.stderr
    assert b"no errors" in got.stdout
    send(edge, "root", "alice")
    edge.removed(edge.delivered("alice@vm1.vm").split(": ")[1])
    only_mail(edge)


# ---- the programs that people and cron use ----

@pytest.mark.parametrize("program", ["bsd-mailx", "s-nail"])
def test_mail(site, program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    edge = site.edge()
    call(edge, "sendmail", "--version")  # for the link
    link = edge.directory / "sendmail"
    rc = edge.directory / "mailrc"
    variable = "sendmail" if program == "bsd-mailx" else "mta"
    rc.write_text(f"set {variable}={link}\n")
    environment = {**os.environ, "POSTHOUSE_CONFIG": str(edge.config), "MAILRC": str(rc),
                   "HOME": str(edge.directory)}
    got = subprocess.run([program, "-s", "a subject", "alice@vm1.vm"], check=False,
                         env=environment, input=b"hello\n.\nbye\n", stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    assert got.returncode == 0, got.stdout
    edge.delivered("alice@vm1.vm")
    mail = only_mail(edge)
    assert b"\nSubject: a subject\n" in mail
    assert b"\nTo: alice@vm1.vm\n" in mail
    assert mail.endswith(b"\n\nhello\n.\nbye\n")


# ---- accounts that nobody trusts ----

@pytest.fixture
def open_edge(open_path, posthouse_bin, certs):
    """An edge where every account gets at the drop directory, and at the program."""
    program = shutil.copy(posthouse_bin, open_path / "posthouse")
    place = open_path / "site"
    place.mkdir()
    site = Site(place, program, certs)
    edge = site.edge()
    for path in (edge.directory, edge.config):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    yield edge
    site.close()


def as_user(user, *command):
    return subprocess.run([*user, *map(str, command)], check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)


@needs_root
def test_any_account_may_send_and_none_read(open_edge):
    edge = open_edge
    edge.stop()
    send(edge, "-FCronDaemon", "-i", "-odi", "-oem", "alice", user=NOBODY,
         text="From: root (Cron Daemon)\nTo: alice\nSubject: Cron <nobody@x> true\n\nout\n")
    drop = maildrop(edge)
    (file,) = waiting(edge)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_gid == drop.stat().st_gid != pwd.getpwnam("nobody").pw_gid
    for command in (["cat", file], ["ls", drop], ["rm", "-f", file], ["mv", file, f"{file}x"],
                    ["ls", drop / "taken"], ["touch", drop / "bad" / "x"]):
        assert as_user(DAEMON, *command).returncode != 0, command
    assert as_user(NOBODY, "ls", drop).returncode != 0
    got = call(edge, "mailq", user=NOBODY)
    assert got.returncode == 77
    assert b"only root and" in got.stderr
    edge.start()
    edge.wait_for(rf"pickup\[\d+\]: \w+: uid={pwd.getpwnam('nobody').pw_uid} from=<nobody@vm1.vm>")
    edge.delivered("alice@vm1.vm")
    assert b"\nFrom: root@vm1.vm (Cron Daemon)\n" in only_mail(edge)


@needs_root
def test_a_closed_directory_is_explained(open_edge):
    (open_edge.directory / "queue").chmod(0o700)
    got = call(open_edge, "sendmail", "alice", user=NOBODY)
    assert got.returncode == 75
    assert b"every account must be able to get to" in got.stderr
    got = open_edge.command("check")
    assert b"chmod o+x" in got.stdout


def test_a_directory_that_is_gone_is_missed(site):
    edge = site.edge()
    mark = edge.server.mark()
    maildrop(edge).rename(edge.directory / "gone")  # at once, and not part by part
    edge.wait_for(r"pickup\[\d+\]: error: \S+/maildrop: No such file or directory; what sendmail "
                  "leaves there waits: restart the server, which makes what is missing", since=mark)
    assert (f"warning: queue_directory: {maildrop(edge)}: is missing, and nobody can send by "
            "sendmail; the server makes it when it starts") in edge.command("check").stdout.decode()
    edge.server.stop()
    edge.start()
    assert b"is missing" not in edge.command("check").stdout


def test_modes_are_mended_at_the_start(site):
    edge = site.edge()
    edge.stop()
    maildrop(edge).chmod(0o700)
    assert b"the server mends it" in edge.command("check").stdout
    edge.start()
    assert stat.S_IMODE(maildrop(edge).stat().st_mode) == 0o3733
    edge.stop()
    (maildrop(edge) / "taken").rmdir()
    edge.start()
    assert stat.S_IMODE((maildrop(edge) / "taken").stat().st_mode) == 0o700
    assert stat.S_IMODE(maildrop(edge).stat().st_mode) == 0o3733
    edge.stop()
    shutil.rmtree(maildrop(edge))
    maildrop(edge).write_bytes(b"")
    got = edge.command("check")
    assert got.returncode == 1
    assert b"must be a directory" in got.stdout
    maildrop(edge).unlink()
    elsewhere = edge.directory / "elsewhere"
    elsewhere.mkdir()
    maildrop(edge).symlink_to(elsewhere)
    got = edge.command("run")
    assert got.returncode != 0
    assert b"maildrop: " in got.stderr
    assert list(elsewhere.iterdir()) == []


def drop_file(sender="alice@vm1.vm", recipients=("alice@vm1.vm",), body=b"Subject: x\r\n\r\nhi\r\n",
              size=None, lines=b""):
    text = b"".join(b"recipient %s\n" % recipient.encode() for recipient in recipients)
    return (b"posthouse-drop 1 %020d\nsender %s\n" % (len(body) if size is None else size,
                                                      sender.encode()) +
            lines + text + b"\n" + body)


def test_mailq_shows_no_name_as_it_is(site):
    """Root looks at it, on a terminal, and anybody can name a file."""
    edge = site.edge()
    edge.stop()
    (maildrop(edge) / "x\x1b]0;title\x07\ny").write_bytes(drop_file())
    got = call(edge, "mailq")
    assert got.returncode == 0, got.stderr
    assert b"x?]0;title? y " in got.stdout
    assert not set(got.stdout) & {0x1b, 7}


BAD_FILES = {
    "empty": b"",
    "text": b"To: alice\n\nhello\n",
    "no_recipient": drop_file(recipients=()),
    "too_many": drop_file(recipients=[f"u{n}@vm1.vm" for n in range(10001)]),
    "no_domain": drop_file(recipients=("alice",)),
    "two_words": drop_file(recipients=("alice@vm1.vm bob@vm1.vm",)),
    "control": drop_file(sender="a\x1b[2J@b"),
    "unknown_line": drop_file(lines=b"user root\n"),
    "shorter": drop_file(size=100),
    "longer": drop_file(size=1),
    "huge": drop_file(size=10 ** 18),
    "endless_envelope": b"posthouse-drop 1 %020d\n" % 0 + b"sender a@b\n" * 1000000,
    "bare_lf": drop_file(body=b"Subject: x\n\nhi\n"),
    "bare_cr": drop_file(body=b"Subject: x\r\n\r\nh\ri\r\n"),
    "nul": drop_file(body=b"Subject: x\r\n\r\nh\0i\r\n"),
    "no_line_end": drop_file(body=b"Subject: x\r\n\r\nhi"),
    "hops": drop_file(body=b"Received: x\r\n" * 60 + b"\r\n"),
}


def test_bad_files_are_put_aside(site):
    edge = site.edge()
    drop = maildrop(edge)
    for name, contents in BAD_FILES.items():
        path = drop / f".{name}"
        path.write_bytes(contents)
        path.rename(drop / name)
    for name in BAD_FILES:
        line = edge.wait_for(rf"warning: \S+/maildrop/{name}: .*; put aside as \S+/bad/\w+$")
        aside = drop / "bad" / line.rpartition("/")[2]
        assert aside.read_bytes() == BAD_FILES[name]
    send(edge, "alice")
    edge.delivered("alice@vm1.vm")
    assert len(edge.mailbox("alice@vm1.vm")) == 1
    assert waiting(edge) == []


def test_things_that_are_no_files(site):
    """Links and pipes, put there to have the server read, wait, or remove what it must not."""
    edge = site.edge()
    drop = maildrop(edge)
    secret = edge.directory / "secret"
    secret.write_bytes(drop_file())
    (drop / "symlink").symlink_to(secret)
    os.link(secret, drop / "hardlink")
    os.mkfifo(drop / "fifo")
    (drop / "with\nnewline\x1b[2J").write_bytes(b"x")
    (drop / ".tmp").write_bytes(drop_file())
    (drop / "empty").mkdir()
    (drop / ".full").mkdir()  # under this name nobody removes it while it is empty
    (drop / ".full" / "x").write_bytes(drop_file())
    (drop / ".full").rename(drop / "full")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drop / "socket"))
        for name in ("symlink", "hardlink", "fifo", "socket", r"with newline\?\[2J"):
            edge.wait_for(rf"/maildrop/{name}: .*; put aside")
    send(edge, "alice")
    edge.delivered("alice@vm1.vm")
    assert len(edge.mailbox("alice@vm1.vm")) == 1
    assert secret.read_bytes() == drop_file()
    assert sorted(path.name for path in waiting(edge)) == [".tmp", "full"]


@needs_root
def test_files_of_another_group_are_not_read(open_edge):
    """With hard links unprotected (fs.protected_hardlinks = 0) anything could be linked there."""
    drop = maildrop(open_edge)
    path = drop / ".x"
    path.write_bytes(drop_file())
    os.chown(path, 0, pwd.getpwnam("nobody").pw_gid)
    path.rename(drop / "x")
    open_edge.wait_for(r"/maildrop/x: it does not belong to the group .*; put aside")


# ---- a server that dies ----

def test_a_file_whose_message_is_queued_is_not_taken_again(site):
    edge = site.edge(routes="vm2.vm retry:4.3.0 not now\n")
    send(edge, "alice@vm1.vm", "bob@vm2.vm", text="Subject: once\n\n")
    queued = edge.delivered("alice@vm1.vm").split(": ")[1]
    send(edge, "alice@vm1.vm", text="Subject: gone\n\n")
    gone = edge.wait_for(r"\w: removed$").split(": ")[1]
    assert gone != queued
    edge.stop()
    for name in (queued, gone, "1", "7FFFFFFFFFFFF"):
        (maildrop(edge) / "taken" / name).write_bytes(drop_file(body=b"Subject: file %s\r\n\r\n" % name.encode()))
    (maildrop(edge) / "taken" / "no id").write_bytes(drop_file())
    edge.start()
    edge.wait_for(r"/maildrop/no id: .*; put aside")
    until(lambda: not taken(edge), edge)
    until_delivered(edge, 2)
    edge.stop()
    subjects = re.findall(rb"\nSubject: (.*)\n", b"".join(edge.mailbox("alice@vm1.vm")))
    assert sorted(subjects) == [b"file 1", b"file 7FFFFFFFFFFFF", b"gone", b"once"]


def test_killed_in_the_midst(site):
    edge = site.edge(workers=1)
    for number in range(40):
        send(edge, "alice", text=f"Subject: {number}\n\n")
        if number % 10 == 5:
            edge.kill()
        if number % 10 == 7:
            edge.start()
    until(lambda: not waiting(edge) and not taken(edge) and not edge.queue(), edge)
    edge.stop()
    subjects = {int(n) for n in re.findall(rb"\nSubject: (\d+)\n",
                                           b"".join(edge.mailbox("alice@vm1.vm")))}
    assert subjects == set(range(40))


def test_what_a_full_queue_cannot_take_waits(site):
    edge = site.edge(queue_minfree=str(2 ** 62))
    send(edge, "alice")
    edge.wait_for("warning: .*free")
    assert len(waiting(edge)) == 1
    edge.stop()
    edge.change(queue_minfree=None)
    edge.start()
    edge.delivered("alice@vm1.vm")
