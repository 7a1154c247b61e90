"""The command line: options, exit codes, and the commands that need no server."""

import os
import pathlib
import pwd
import re
import tempfile

import pytest

HUB = """\
mode = hub
myhostname = mta.vm.vm
user = {user}
queue_directory = spool
run_directory = run
listen = smtp://127.0.0.1:0
relay_domains = vm1.vm, vm2.vm
transport_maps = hash:ts
smtpd_tls_cert_file = {certs}/hub.pem
smtpd_tls_key_file = {certs}/hub.key
smtpd_tls_CAfile = {certs}/ca.pem
"""

ROUTES = """\
# routes of the hub
vm1.vm   relay-smtps:[127.0.0.1]:10465
vm2.vm   relay:[127.0.0.1]:10025 tls=verify
"""


@pytest.fixture
def hub(tmp_path, certs):
    """The configuration file of a hub that nothing is wrong with."""
    (tmp_path / "ts").write_text(ROUTES)
    config = tmp_path / "hub.conf"
    config.write_text(HUB.format(certs=certs, user=""))
    if os.geteuid() == 0:
        config.write_text(HUB.format(certs=certs, user="nobody"))
        for key in certs.glob("*.key"):
            os.chown(key, -1, pwd.getpwnam("nobody").pw_gid)
            key.chmod(0o640)
    return config


def test_version(posthouse):
    got = posthouse("--version")
    assert got.returncode == 0
    assert got.stdout.startswith("posthouse 0.")


def test_help(posthouse):
    got = posthouse("--help")
    assert got.returncode == 0
    for command in ("check", "config", "map query", "queue list", "run"):
        assert f"\n  {command} " in got.stdout
    assert "fleet" not in got.stdout


@pytest.mark.parametrize("command", ["check", "config", "map query", "queue list", "queue show",
                                     "queue cat", "queue stats", "queue hold", "queue release",
                                     "queue retry", "queue bounce", "queue delete",
                                     "queue reroute", "run"])
def test_help_of_a_command(posthouse, command):
    got = posthouse(*command.split(), "--help")
    assert got.returncode == 0
    assert got.stdout.startswith(f"Usage: posthouse [-c FILE] {command}")
    assert got.stderr == ""


def test_help_of_a_group(posthouse):
    got = posthouse("queue", "--help")
    assert got.returncode == 0
    assert "queue show [--json] ID" in got.stdout


@pytest.mark.parametrize("arguments, message", [
    ([], "no command; see posthouse --help"),
    (["-x"], "unknown option -x; see posthouse --help"),
    (["-c"], "-c needs a file"),
    (["chekc"], "chekc: unknown command; did you mean check?; see posthouse --help"),
    (["queue"], "queue: which command? See posthouse queue --help"),
    (["queue", "lits"], "queue lits: unknown command; did you mean queue list?; "
                        "see posthouse --help"),
    (["map", "query"], "map query: too few arguments; see posthouse map query --help"),
    (["map", "query", "hash:ts"], "map query: too few arguments; see posthouse map query --help"),
    (["check", "now"], "check: too many arguments; see posthouse check --help"),
    (["queue", "show"], "queue show: too few arguments; see posthouse queue show --help"),
    (["queue", "list", "--jsno"], "queue list: unknown option --jsno; "
                                  "see posthouse queue list --help"),
    (["fleet", "init"], "fleet: not available in this version"),
    (["queue", "hold"], "queue hold: of which messages? Name ids, filters or --all; "
                        "see posthouse queue hold --help"),
    (["queue", "delete", "--dry-run"], "queue delete: of which messages? Name ids, filters or "
                                       "--all; see posthouse queue delete --help"),
    (["queue", "delete", "--all", "--sender=a@b"],
     "queue delete: --all is everything, and goes with no id or filter; "
     "see posthouse queue delete --help"),
    (["queue", "delete", "--all", "1A"],
     "queue delete: --all is everything, and goes with no id or filter; "
     "see posthouse queue delete --help"),
    (["queue", "retry", "--sender"], "queue retry: --sender needs a value"),
    (["queue", "retry", "--sender", ""], "queue retry: --sender needs a value"),
    (["queue", "retry", "--sender="], "queue retry: --sender needs a value"),
    (["queue", "retry", "--sender=a", "--sender=b"], "queue retry: --sender is given twice"),
    (["queue", "retry", "--all=yes"], "queue retry: --all takes no value"),
    (["queue", "list", "--status=done"],
     "queue list: status done: unknown; expected queued, active, deferred or held"),
    (["queue", "hold", "--status=held,lost"],
     "queue hold: status lost: unknown; expected queued, active, deferred or held; "
     "see posthouse queue hold --help"),
    (["queue", "list", "--status=,"], "queue list: --status needs a value"),
    (["queue", "list", "--older-than", "soon"],
     "queue list: --older-than soon: expected a duration such as 30s, 5m, 4h or 5d"),
    (["queue", "list", "--all"], "queue list: unknown option --all; "
                                 "see posthouse queue list --help"),
])
def test_usage_errors(posthouse, arguments, message):
    got = posthouse(*arguments)
    assert got.stderr == f"posthouse: {message}\n"
    assert got.stdout == ""
    assert got.returncode == 64


def test_check_of_a_good_file(posthouse, hub):
    got = posthouse("check", config=hub)
    assert (got.stdout, got.stderr, got.returncode) == ("", "", 0)


def test_check_of_no_file(posthouse, tmp_path):
    got = posthouse("check", config=tmp_path / "absent.conf")
    assert got.stdout == (f"{tmp_path}/absent.conf:1: error: cannot read the file: "
                          "No such file or directory\n")
    assert got.returncode == 1


def test_check_finds_a_key_that_does_not_fit(posthouse, hub):
    hub.write_text(hub.read_text().replace("/hub.key", "/edge.key"))
    got = posthouse("check", config=hub)
    assert got.stdout.startswith(f"{hub}:10: error: smtpd_tls_key_file: ")
    assert got.returncode == 1


def test_check_warns_of_a_key_that_all_may_read(posthouse, hub, tmp_path, certs):
    key = tmp_path / "open.key"
    key.write_bytes((certs / "hub.key").read_bytes())
    key.chmod(0o644)
    hub.write_text(hub.read_text().replace(f"{certs}/hub.key", "open.key"))
    got = posthouse("check", config=hub)
    assert got.stdout.startswith(f"{hub}:10: warning: smtpd_tls_key_file: {key}: every account")
    assert got.returncode == 0


def test_check_warns_of_an_expired_certificate(posthouse, hub, certs):
    hub.write_text(hub.read_text().replace("/hub.", "/expired."))
    got = posthouse("check", config=hub)
    assert got.stdout.startswith(f"{hub}:9: warning: smtpd_tls_cert_file: {certs}/expired.pem: "
                                 "the certificate (hub.example) has expired on 2024-01-01, ")
    assert got.stdout.count("\n") == 1
    assert got.returncode == 0


def test_config_prints_effective_values(posthouse, hub, certs):
    got = posthouse("config", "mydomain", "smtp_tls_CAfile", "queue_directory", "relay_domains",
                    "relayhost", "listen", config=hub)
    assert got.stdout.splitlines() == [
        "mydomain = vm.vm",
        f"smtp_tls_CAfile = {certs}/ca.pem",
        f"queue_directory = {hub.parent}/spool",
        "relay_domains = vm1.vm, vm2.vm",
        "relayhost =",
        "listen = smtp://127.0.0.1:0",
    ]
    assert got.returncode == 0


def test_config_prints_all_by_name(posthouse, hub):
    lines = posthouse("config", config=hub).stdout.splitlines()
    names = [line.split(" =")[0] for line in lines]
    assert names == sorted(names)
    assert "message_size_limit = 52428800" in lines
    assert "mode = hub" in lines
    assert "virtual_mailbox_base" not in names


def test_config_prints_defaults(posthouse, hub):
    got = posthouse("config", "-d", "myorigin", "listen", "smtp_tls_CAfile", config=hub)
    assert got.stdout.splitlines() == [
        "myorigin = $mydomain",
        "listen = smtp://*:25 smtp://*:587 smtps://*:465",
        "smtp_tls_CAfile = $smtpd_tls_CAfile",
    ]


@pytest.mark.parametrize("name, message", [
    ("relay_domain", "relay_domain: unknown parameter; did you mean relay_domains?"),
    ("virtual_mailbox_base", "virtual_mailbox_base: has no meaning in mode hub"),
])
def test_config_of_what_is_not_there(posthouse, hub, name, message):
    got = posthouse("config", name, "mode", config=hub)
    assert got.stderr == f"posthouse: {message}\n"
    assert got.stdout == "mode = hub\n"
    assert got.returncode == 1


def test_every_parameter_is_documented(posthouse, tmp_path):
    """docs/parameters.md has each with its default in each mode, and no others."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs/parameters.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE))
    in_words = {"mydomain", "myhostname", "queue_minfree", "user", "workers"}
    for mode in ("hub", "edge"):
        config = tmp_path / (mode + ".conf")
        config.write_text(f"mode = {mode}\n")
        got = posthouse("config", "-d", config=config).stdout
        defaults = {name: value.strip() for name, value in
                    (line.split(" =", 1) for line in got.splitlines())}
        documented = {}
        for name, default in rows.items():
            by_mode = dict(re.findall(r"(hub|edge): (`[^`]*`|empty)", default))
            if not by_mode or mode in by_mode:
                value = by_mode.get(mode, default)
                documented[name] = "" if value == "empty" else value.strip("`")
        del documented["mode"]  # it has none
        assert documented.keys() == defaults.keys()
        for name in documented.keys() - in_words:
            assert documented[name] == defaults[name], name


@pytest.mark.parametrize("command", ["config", "run"])
def test_errors_of_the_configuration(posthouse, hub, command):
    hub.write_text(hub.read_text() + "relay_domain = vm3.vm\n")
    got = posthouse(*command.split(), config=hub)
    assert got.stderr == (f"posthouse: {hub}:12: error: unknown parameter relay_domain; "
                          "did you mean relay_domains?\n")
    assert got.returncode == 78
    # What is known is shown all the same: one slip must not hide the rest.
    assert ("relay_domains = vm1.vm" in got.stdout) == (command == "config")


def test_queue_is_shown_whatever_else_is_wrong(posthouse, hub):
    hub.write_text(hub.read_text() + "relay_domain = vm3.vm\nlisten = smtps://*:x\n")
    got = posthouse("queue", "list", config=hub)
    assert (got.stdout, got.returncode) == ("The queue is empty.\n", 0)
    # It may be the wrong queue: what is wrong is told, and does not stop it.
    assert [line.split(": ", 3)[3] for line in got.stderr.splitlines()] == [
        "unknown parameter relay_domain; did you mean relay_domains?",
        "listen is given twice; it was given on line 6 before"]
    hub.write_text("mode = hub\nqueue_directory = $nothing\n")
    assert posthouse("queue", "list", config=hub).returncode == 78
    assert posthouse("queue", "list", config=hub.parent / "absent").returncode == 78


@pytest.mark.parametrize("command", [
    "status", "reload", "queue list", "queue delete --all", "ledger list", "ledger verify",
    "trace a@vm1.vm"])
def test_files_that_are_no_configuration(posthouse, tmp_path, command):
    """The defaults of where server and queue are must not stand in for what it says."""
    file = tmp_path / "passwd"
    file.write_text("root:x:0:0:root:/root:/bin/sh\nmyhostname = mta.example\n")
    got = posthouse(*command.split(), config=file)
    assert (got.stdout, got.returncode) == ("", 78)
    assert got.stderr == (f"posthouse: {file}:1: error: expected NAME = VALUE\n"
                          f"posthouse: {file}:1: error: mode is not set; expected hub or edge\n")
    got = posthouse(*command.split(), config=tmp_path / "absent")
    assert got.returncode == 78 and "cannot read the file" in got.stderr, got.stderr


def test_errors_that_may_be_why_no_server_is_found(posthouse, hub):
    hub.write_text(hub.read_text() + "run_directry = run\n")
    for command in ("status", "reload"):
        got = posthouse(command, config=hub)
        told = got.stderr.splitlines()
        assert got.returncode == 69 and len(told) == 2, got.stderr
        assert told[0].endswith("run_directry; did you mean run_directory?")
        assert "no server is running" in told[1]


def test_map_query(posthouse, hub):
    got = posthouse("map", "query", "hash:ts", "VM1.vm", cwd=hub.parent)
    assert (got.stdout, got.returncode) == ("relay-smtps:[127.0.0.1]:10465\n", 0)
    got = posthouse("map", "query", "hash:ts", "vm3.vm", cwd=hub.parent)
    assert (got.stdout, got.stderr, got.returncode) == ("", "", 1)


def test_map_query_beside_the_configuration(posthouse, hub):
    got = posthouse("map", "query", "hash:ts", "vm1.vm", config=hub, cwd="/")
    assert (got.stdout, got.returncode) == ("relay-smtps:[127.0.0.1]:10465\n", 0)


def test_map_query_of_no_map(posthouse, tmp_path):
    got = posthouse("map", "query", "hsah:ts", "vm1.vm", cwd=tmp_path)
    assert got.returncode == 78
    assert "did you mean" in got.stderr
    got = posthouse("map", "query", "hash:absent", "vm1.vm", cwd=tmp_path)
    assert got.returncode == 74
    assert got.stderr == "posthouse: absent: No such file or directory\n"


def test_queue_that_was_never_made(posthouse, hub):
    got = posthouse("queue", "list", config=hub)
    assert (got.stdout, got.returncode) == ("The queue is empty.\n", 0)
    got = posthouse("queue", "list", "--json", config=hub)
    assert (got.stdout, got.returncode) == ("", 0)
    for command in ("show", "cat"):
        got = posthouse("queue", command, "0123456789ABCDEF", config=hub)
        assert got.stderr == "posthouse: 0123456789ABCDEF: no such message in the queue\n"
        assert got.returncode == 1


def test_full_standard_output(posthouse, hub):
    """What could not be written must not look like success."""
    got = posthouse("-c", hub, "config", preexec_fn=lambda: os.dup2(
        os.open("/dev/full", os.O_WRONLY), 1))
    assert got.returncode == 74


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal", "queue.lock"])
def test_check_of_a_queue_that_somebody_else_owns(posthouse, hub, name):
    """As after a restore, or once root has opened it: the server could not start."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="posthouse-") as spool:  # where nobody gets to
        os.chown(spool, nobody.pw_uid, nobody.pw_gid)
        hub.write_text(hub.read_text().replace("= spool", f"= {spool}"))
        file = pathlib.Path(spool, name)
        file.touch()
        file.chmod(0o600)
        got = posthouse("-c", hub, "check")
        assert got.returncode == 1 and got.stdout.startswith(f"{hub}:")
        assert f"queue_directory: {file}: nobody, which the server runs as" in got.stdout
        assert f"chown -R nobody {spool}" in got.stdout
        if name == "queue.db":  # root is told what to do, and not to be root
            got = posthouse("-c", hub, "queue", "hold", "--all")
            assert got.returncode == 77 and "only root" not in got.stderr
            assert f"all in there must be nobody's: chown -R nobody {spool}" in got.stderr
        os.chown(file, nobody.pw_uid, nobody.pw_gid)
        assert posthouse("-c", hub, "check").returncode == 0


def test_relay_domains_without_a_route(posthouse, hub):
    """They would go to their MX, which on a hub with a map is hardly meant; with a route they don't."""
    hub.write_text(hub.read_text().replace(
        "vm1.vm, vm2.vm", "vm1.vm, vm3.vm, .vm2.vm, hash:domains, !vm9.vm"))
    (hub.parent / "domains").write_text("vm4.vm yes\nvm2.vm yes\n")
    got = posthouse("check", config=hub)
    assert got.returncode == 0, got.stdout
    why = "has no line in transport_maps, so mail for it goes to its MX, by default_transport"
    assert got.stdout.splitlines()[-3:] == [
        f"{hub}:7: warning: relay_domains: vm3.vm {why}",
        f"{hub}:7: warning: relay_domains: .vm2.vm {why}",
        f"domains:1: warning: vm4.vm {why}"]

    for cure in ("relayhost = [192.0.2.1]\n", "default_transport = error:5.1.2 unknown\n"):
        text = hub.read_text()
        hub.write_text(text + cure)
        assert "transport_maps, so mail" not in posthouse("check", config=hub).stdout
        hub.write_text(text)
    (hub.parent / "ts").write_text("* relay:[192.0.2.1]\n")
    assert "transport_maps, so mail" not in posthouse("check", config=hub).stdout
