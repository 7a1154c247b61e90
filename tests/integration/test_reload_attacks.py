"""Reloads by the hundred, at bad moments, and of configurations that are not there."""

import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from clients import HOST, connect, relay, text, transact, wait_refused
from server import PATIENCE_S
from test_reload import Sender, reload

TIMES = 15


def descriptors(host):
    return len(list(Path(f"/proc/{host.server.process.pid}/fd").iterdir()))


def wait_for_descriptors(host, count):
    deadline = time.monotonic() + PATIENCE_S
    while descriptors(host) > count:
        assert time.monotonic() < deadline, f"{descriptors(host)} descriptors, not {count}"


# ---- what cannot be taken ----

def spoil(name, contents):
    def do(host):
        path = host.directory / name
        if path.exists():
            path.unlink()
        if contents is not None:
            path.write_bytes(contents)
    return do


def make_directory(host):
    host.config.unlink()
    host.config.mkdir()


SPOILT = {
    "no configuration": (spoil("posthouse.conf", None), "No such file"),
    "an empty configuration": (spoil("posthouse.conf", b""), "mode"),
    "rubbish": (spoil("posthouse.conf", bytes(range(256)) * 100), "error: "),
    "a directory": (make_directory, "Is a directory"),
    "no map": (spoil("ts", None), "ts: No such file"),
    "a bad map": (spoil("ts", b"vm1.vm relay-stmps:x\n"), "relay-smtps"),
    "no key": (spoil("my.key", None), "my.key"),
    "an empty key": (spoil("my.key", b""), "my.key"),
    "a bad key": (spoil("my.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"), "my.key"),
    "no certificate": (spoil("my.pem", None), "my.pem"),
    "half a certificate": (spoil("my.pem", b"-----BEGIN CERTIFICATE-----\nMII"), "my.pem"),
    "no CA": (spoil("my-ca.pem", None), "my-ca.pem"),
}


@pytest.fixture
def hub(site, certs):
    """With files of its own."""
    directory = site.directory / "tls"
    directory.mkdir()
    host = site.hub()
    for kind, source in (("my.pem", "hub.pem"), ("my.key", "hub.key"), ("my-ca.pem", "ca.pem")):
        shutil.copy(certs / source, host.directory / kind)
    host.change(smtpd_tls_cert_file="my.pem", smtpd_tls_key_file="my.key",
                smtpd_tls_CAfile="my-ca.pem")
    assert reload(host)[0] == 0
    return host


@pytest.mark.parametrize("case", SPOILT)
def test_spoilt(hub, certs, case):
    do, complaint = SPOILT[case]
    do(hub)
    kept = connect(certs, hub.port())
    code, out, err = reload(hub)
    assert code in (69, 78), (out, err)  # without its run_directory no server is found
    mark = hub.server.mark()
    hub.server.send_signal(signal.SIGHUP)
    hub.wait_for("reload refused: .*; the old one stays in use$", since=mark)
    assert complaint in hub.server.log()
    for client in (kept, connect(certs, hub.port())):
        transact(client, "a@vm1.vm", "b@vm2.vm", text("b@vm2.vm"))
        client.quit()


def test_refused_reloads_leave_nothing_open(hub, site):
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        listen = hub.parameters["listen"]
        bad = (
            {"listen": f"{listen} smtp://{HOST}:{site.port()} smtp://{HOST}:{taken}"},
            {"listen": f"{listen} smtp://{HOST}:{site.port()}", "log_destination": "file:no/log"},
            {"listen": f"{listen} smtp://{HOST}:{site.port()}", "smtpd_tls_key_file": "absent"},
            {"queue_directory": "elsewhere", "smtpd_timeout": "4m"},
            {"transport_maps": "hash:ts, hash:absent"},
        )
        good = dict(hub.parameters)
        before = descriptors(hub)
        for changes in bad:
            hub.configure(**{**good, **changes})
            for _ in range(TIMES):
                assert reload(hub)[0] in (74, 78)
    wait_for_descriptors(hub, before)
    hub.configure(**good)
    assert reload(hub)[1] == "reloaded: nothing has changed\n"


def test_good_reloads_leave_nothing_open(hub, site):
    listen, more = hub.parameters["listen"], site.port()
    before = descriptors(hub)
    for i in range(TIMES):
        hub.change(listen=f"{listen} smtp://{HOST}:{more}", smtpd_timeout=f"{200 + i}s")
        assert reload(hub)[0] == 0
        hub.change(listen=listen)
        assert reload(hub)[0] == 0
    wait_for_descriptors(hub, before)


# ---- bad moments ----

def test_a_listener_goes_in_the_midst_of_a_message(site):
    hub = site.hub()
    gone, stays = hub.port("smtp"), hub.port("smtps")
    client = connect(None, gone, tls="none")
    assert client.mail("a@vm1.vm")[0] == 250
    assert client.rcpt("b@vm2.vm")[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(b"Subject: half\r\n\r\n")
    hub.change(listen=f"smtps://{HOST}:{stays}")
    assert reload(hub)[0] == 0
    wait_refused(gone)
    client.send(b"the rest\r\n.\r\n")
    assert client.getreply()[0] == 250
    transact(client, "a@vm1.vm", "c@vm2.vm", text("c@vm2.vm"))
    client.quit()


def test_the_configuration_is_replaced_meanwhile(site):
    """A pipe keeps the reload reading. Mail goes on; what it had opened is what it takes."""
    peer = site.peer()
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=none\n")
    old, new = dict(hub.parameters), {**hub.parameters, "smtpd_timeout": "100s"}
    slow = "".join(f"{name} = {value}\n" for name, value in
                   {**old, "smtpd_timeout": "200s"}.items())
    hub.config.unlink()
    os.mkfifo(hub.config, 0o600)
    mark = hub.server.mark()
    hub.server.send_signal(signal.SIGHUP)
    with open(hub.config, "w", encoding="utf-8") as pipe:
        hub.delivered("b@vm2.vm", relay(hub, "a@vm1.vm", "b@vm2.vm"))
        hub.configure(**new)
        pipe.write(slow)
    hub.wait_for("reloaded: smtpd_timeout", since=mark)
    assert reload(hub)[1] == "reloaded: smtpd_timeout\n"
    assert reload(hub)[1] == "reloaded: nothing has changed\n"


def test_a_hundred_hangups_at_once(hub):
    """Some become one; the last is not lost."""
    for i in range(100):
        hub.change(smtpd_timeout=f"{200 + i}s", message_size_limit=30000 + i)
        hub.server.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_S
    with_size = connect(None, hub.port(), tls="none")
    while with_size.esmtp_features["size"] != "30099":
        assert time.monotonic() < deadline
        with_size.quit()
        with_size = connect(None, hub.port(), tls="none")
    with_size.quit()


def test_storm(site, certs):
    """Everybody reloads while clients send: by command and by signal, good and bad."""
    peer = site.peer(tls="starttls")
    hub = site.hub(f"* relay:[{HOST}]:{peer.port} tls=encrypt\n")
    good = dict(hub.parameters)
    senders = [Sender(certs, hub.port(), i, "starttls") for i in range(3)]
    codes, lock = [], threading.Lock()

    def storm(number):
        for i in range(TIMES):
            with lock:  # or they would share the name of the new file
                if (number + i) % 3:
                    hub.configure(**{**good, "smtpd_timeout": f"{200 + i}s"})
                else:
                    hub.configure(**{**good, "workers": 7})
            if (number + i) % 4 == 0:
                hub.server.send_signal(signal.SIGHUP)
            codes.append(reload(hub)[0])

    stormers = [threading.Thread(target=storm, args=(i,)) for i in range(4)]
    for thread in [*senders, *stormers]:
        thread.start()
    for thread in stormers:
        thread.join(PATIENCE_S)
    for sender in senders:
        sender.is_done.set()
        sender.join(PATIENCE_S)
        assert sender.error is None, sender.error
    assert len(codes) == 4 * TIMES and set(codes) == {0, 78}
    hub.configure(**good)
    assert reload(hub)[0] == 0
    for sender in senders:
        for address in sender.sent:
            hub.delivered(address)
    assert len(peer.messages) == sum(len(sender.sent) for sender in senders)


def test_a_signal_during_a_reload_stops(site):
    hub = site.hub()
    lines = hub.config.read_text()
    hub.config.unlink()
    os.mkfifo(hub.config, 0o600)
    hub.server.send_signal(signal.SIGHUP)
    with open(hub.config, "w", encoding="utf-8") as pipe:
        hub.server.send_signal(signal.SIGTERM)
        pipe.write(lines)
    assert hub.server.process.wait(PATIENCE_S) == 0
