"""How often a client, or a user, may do what: the limits of Postfix's anvil, and of users."""

import contextlib
import smtplib
import socket
import sqlite3
import ssl

import pytest

from clients import HOST, connect, text, tls_context, transact
from server import PATIENCE_S

ALICE, TEST1, BOB = "alice@vm1.vm", "test1@vm1.vm", "bob@vm2.vm"
UNIT = "1d"  # nothing is forgotten while a test runs


def refused(reply):
    code, words = reply
    return f"{code} {words.decode()}"


def limited(site, **parameters):
    return site.hub("* discard:\n", workers=3, anvil_rate_time_unit=UNIT, **parameters)


def test_messages_of_one_client(site, certs):
    """Counted whatever becomes of them, and over all workers."""
    hub = limited(site, smtpd_client_message_rate_limit=4)
    for _ in range(2):
        with connect(certs, hub.port(), "none") as client:
            transact(client, ALICE, BOB, text(BOB))
    with connect(certs, hub.port(), "none") as client, connect(certs, hub.port(), "none") as other:
        for one in (client, other):
            assert one.mail(ALICE)[0] == 250
            assert one.rset()[0] == 250
        for one in (client, other):
            assert refused(one.mail(ALICE)) == "450 4.7.1 Error: too much mail from 127.0.0.1"
        assert client.noop()[0] == 250
    line = hub.wait_for("Message delivery request rate limit exceeded: 6 ")
    assert line.endswith("/smtpd[%d]: warning: Message delivery request rate limit exceeded: 6 "
                         "from unknown[127.0.0.1] for service smtp" % hub.server.process.pid)
    assert "reject: MAIL" not in hub.server.log()


def test_recipients_of_one_client(site, certs):
    hub = limited(site, smtpd_client_recipient_rate_limit=3)
    with connect(certs, hub.port(), "none") as client:
        assert client.mail(ALICE)[0] == 250
        replies = [client.rcpt(f"a{i}@vm2.vm") for i in range(5)]
        assert [code for code, _ in replies] == [250, 250, 250, 450, 450]
        assert refused(replies[4]) == "450 4.7.1 Error: too many recipients from 127.0.0.1"
        assert client.data(text(BOB))[0] == 250  # to those who were taken
    hub.wait_for(r"warning: Recipient address rate limit exceeded: 5 from unknown\[127.0.0.1\] "
                 "for service smtp")


def test_connections_of_one_client(site, certs):
    hub = limited(site, smtpd_client_connection_rate_limit=2)
    for _ in range(2):
        connect(certs, hub.port(), "none").quit()
    for _ in range(2):
        with pytest.raises(smtplib.SMTPConnectError) as failure:
            connect(certs, hub.port(), "none")
        assert refused(failure.value.args) == (
            "421 4.7.0 mta.vm.vm Error: too many connections from 127.0.0.1")
    with pytest.raises(OSError):  # no words without TLS
        connect(certs, hub.port("smtps"), "implicit")
    hub.wait_for(r"warning: Connection rate limit exceeded: 5 from unknown\[127.0.0.1\] for "
                 "service smtps")


def test_connections_at_once_say_whose(site, certs):
    hub = limited(site, smtpd_client_connection_count_limit=1)
    with connect(certs, hub.port(), "none"):
        with pytest.raises(smtplib.SMTPConnectError) as failure:
            connect(certs, hub.port(), "none")
    assert refused(failure.value.args) == (
        "421 4.7.0 mta.vm.vm Error: too many connections from 127.0.0.1")


def handshake(raw, context, session=None):
    with context.wrap_socket(raw, server_hostname=HOST, session=session) as tls:
        greeting = tls.recv(1000).decode()
        return greeting, tls.session


def test_new_tls_sessions_of_one_client(site, certs):
    """The first too many hears why; with the next no handshake is made."""
    hub = limited(site, smtpd_client_new_tls_session_rate_limit=2)
    context = tls_context(certs)
    greetings = []
    for _ in range(3):
        with socket.create_connection((HOST, hub.port("smtps")), PATIENCE_S) as raw:
            greetings.append(handshake(raw, context)[0])
    assert [greeting[:4] for greeting in greetings] == ["220 ", "220 ", "421 "]
    assert "Error: too many new TLS sessions from 127.0.0.1" in greetings[2]
    with socket.create_connection((HOST, hub.port("smtps")), PATIENCE_S) as raw:
        with pytest.raises(OSError):
            handshake(raw, context)
    with smtplib.SMTP(HOST, hub.port(), "c.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        with contextlib.suppress(OSError):  # smtplib's errors are some, too
            client.starttls(context=context)
            raise AssertionError("a handshake was made")
        client.close()
    hub.wait_for(r"New TLS session rate limit exceeded: 3 from unknown\[127.0.0.1\] for "
                 "service smtps")


def test_resumed_tls_sessions_do_not_count(site, certs):
    hub = limited(site, smtpd_client_new_tls_session_rate_limit=1)
    context = tls_context(certs)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the ticket comes before the greeting
    session = None
    for _ in range(4):
        with socket.create_connection((HOST, hub.port("smtps")), PATIENCE_S) as raw:
            greeting, session = handshake(raw, context, session)
            assert greeting.startswith("220 ")
    assert "exceeded" not in hub.server.log()


def test_auth_commands_of_one_client(site, certs):
    edge = site.edge(smtpd_client_auth_rate_limit=2, anvil_rate_time_unit=UNIT)
    for _ in range(2):
        connect(certs, edge.port("submission"), user=ALICE).quit()
    with connect(certs, edge.port("submission")) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as failure:
            client.login(ALICE, "alice")
        assert refused(failure.value.args) == (
            "450 4.7.1 Error: too many AUTH commands from 127.0.0.1")
        assert client.mail(ALICE)[0] == 530
    edge.wait_for("warning: AUTH command rate limit exceeded: ")


def test_exceptions(site, certs):
    """mynetworks unless it is said otherwise, and of maps as well."""
    limit = {"smtpd_client_message_rate_limit": 1, "smtpd_client_connection_count_limit": 1}
    hub = limited(site, mynetworks="127.0.0.0/8", **limit)
    with connect(certs, hub.port(), "none") as client, connect(certs, hub.port(), "none"):
        for _ in range(3):
            transact(client, ALICE, BOB, text(BOB))
    hub = limited(site, smtpd_client_event_limit_exceptions="inline:{ 127.0.0.1 = x }", **limit)
    with connect(certs, hub.port(), "none") as client, connect(certs, hub.port(), "none"):
        for _ in range(3):
            transact(client, ALICE, BOB, text(BOB))
    hub = limited(site, mynetworks="127.0.0.0/8", smtpd_client_event_limit_exceptions="", **limit)
    with connect(certs, hub.port(), "none") as client:
        transact(client, ALICE, BOB, text(BOB))
        assert client.mail(ALICE)[0] == 450


def test_users(site, certs):
    """Wherever they come from, and however many messages their recipients are spread over."""
    edge = site.edge(routes="* discard:\n", mynetworks="127.0.0.0/8", workers=3,
                     smtpd_user_message_rate_limit=3, smtpd_user_recipient_rate_limit=4)
    for _ in range(2):
        with connect(certs, edge.port("submission"), user=ALICE) as client:
            transact(client, ALICE, BOB, text(BOB))
    with connect(certs, edge.port("submissions"), "implicit", user=ALICE) as client:
        assert client.mail(ALICE)[0] == 250
        assert [client.rcpt(f"a{i}@vm2.vm")[0] for i in range(2)] == [250, 250]
        assert refused(client.rcpt(BOB)) == (
            f"450 4.7.1 Error: too many recipients from {ALICE}")
        assert client.rset()[0] == 250
        assert refused(client.mail(ALICE)) == f"450 4.7.1 Error: too much mail from {ALICE}"
    edge.wait_for(r"warning: Recipient address rate limit exceeded: 5 from unknown\[127.0.0.1\] "
                  f"for service submissions, sasl_username={ALICE}$")
    edge.wait_for("warning: Message delivery request rate limit exceeded: 4 from .*"
                  f", sasl_username={ALICE}$")
    with connect(certs, edge.port("submission"), user=TEST1) as client:
        transact(client, TEST1, BOB, text(BOB, sender=TEST1))
    with connect(certs, edge.port("smtp"), "none") as client:  # nobody is no user
        for _ in range(5):
            transact(client, "x@elsewhere.example", BOB, text(BOB))


def test_a_user_is_one_by_every_spelling(site, certs):
    """Where the source of accounts looks for a name without regard to case, and tells none."""
    database, query = site.directory / "accounts.db", site.directory / "accounts.cf"
    connection = sqlite3.connect(database)
    connection.execute("create table mailbox (username text collate nocase, password text)")
    connection.execute("insert into mailbox values (?, ?)", (ALICE, "{PLAIN}alice"))
    connection.commit()
    connection.close()
    query.write_text(f"dbpath = {database}\n"
                     "query = SELECT password FROM mailbox WHERE username = '%s'\n")
    edge = site.edge(routes="* discard:\n", smtpd_sasl_passdb=f"sqlite:{query}",
                     smtpd_user_message_rate_limit=1, smtpd_user_rate_time_unit=UNIT)
    answers = []
    for user in (ALICE, "aLICE@vm1.vm"):
        with connect(certs, edge.port("submission")) as client:
            client.login(user, "alice")
            answers.append(client.mail(ALICE)[0])
    assert answers == [250, 450]


def test_counts_survive_a_reload(site, certs):
    hub = limited(site, smtpd_client_message_rate_limit=1)
    with connect(certs, hub.port(), "none") as client:
        transact(client, ALICE, BOB, text(BOB))
    hub.change(smtpd_client_message_rate_limit=2)
    assert hub.command("reload").returncode == 0
    with connect(certs, hub.port(), "none") as client:
        transact(client, ALICE, BOB, text(BOB))
        assert client.mail(ALICE)[0] == 450
