"""Clients that are not ours: Python's smtplib, and programs that others have written."""

import re
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from server import PATIENCE_S

HOST = "127.0.0.1"


def tls_context(certs, certificate=None):
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    if certificate:
        context.load_cert_chain(certs / f"{certificate}.pem", certs / f"{certificate}.key")
    return context


def connect(certs, port, tls="starttls", user=None, host=HOST, certificate=None):
    """
    A session ahead of MAIL. tls: "none", "starttls", "implicit"; passwords are users' names;
    certificate: the client's own.
    """
    context = tls_context(certs, certificate) if tls != "none" else None
    if tls == "implicit":
        client = smtplib.SMTP_SSL(host, port, "client.example", timeout=PATIENCE_S,
                                  context=context)
    else:
        client = smtplib.SMTP(host, port, "client.example", timeout=PATIENCE_S)
    if tls == "starttls":
        client.starttls(context=context)
    client.ehlo_or_helo_if_needed()
    if user:
        client.login(user, user.partition("@")[0])
    return client


def wait_refused(port, host=HOST):
    """Until nobody listens there: workers close their own listeners, one after another."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
                connection.recv(1024)  # a greeting, or the end
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it was in the backlog of a listener that went
    raise AssertionError(f"{host}:{port} still answers")


def text(recipient, subject="a test", sender="alice@vm1.vm"):
    return (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n"
            f"{subject}\r\n").encode()


def transact(client, sender, recipients, message):
    """One message; returns its ID in the queue."""
    if isinstance(recipients, str):
        recipients = [recipients]
    assert client.mail(sender)[0] == 250
    for recipient in recipients:
        code, reply = client.rcpt(recipient)
        assert code == 250, reply
    code, reply = client.data(message)
    assert code == 250, reply
    return reply.decode().split()[-1]


def stuffed(message):
    """As DATA has it on the wire (RFC 5321 section 4.5.2)."""
    return re.sub(rb"^\.", b"..", message, flags=re.MULTILINE) + b".\r\n"


def transact_as_is(client, sender, recipients, message):
    """As transact(), of lines that end in CRLF. smtplib ends an empty message in a blank line."""
    assert client.mail(sender)[0] == 250
    for recipient in recipients:
        assert client.rcpt(recipient)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(stuffed(message))
    code, reply = client.getreply()
    assert code == 250, reply
    return reply.decode().split()[-1]


def relay(host, sender, recipients, message=None):
    """Through a hub, as another server would do it; returns the ID."""
    first = recipients if isinstance(recipients, str) else recipients[0]
    with smtplib.SMTP(HOST, host.port("smtp"), "client.example", timeout=PATIENCE_S) as client:
        client.ehlo()
        return transact(client, sender, recipients, message or text(first, sender=sender))


def submit(certs, host, user, recipients, message=None):
    """Into an edge, by a user who logs in; returns the ID."""
    first = recipients if isinstance(recipients, str) else recipients[0]
    with connect(certs, host.port("submission"), user=user) as client:
        return transact(client, user, recipients, message or text(first, sender=user))


def s_client(certs, port, dialogue, *arguments):
    """Pipe lines through openssl, all at once as the how-to does; returns what came back."""
    return subprocess.run(
        ["openssl", "s_client", "-crlf", "-quiet", "-verify_return_error", "-CAfile",
         certs / "ca.pem", "-connect", f"{HOST}:{port}", *arguments],
        input="".join(line + "\n" for line in dialogue), encoding="utf-8", check=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S).stdout


def swaks(host, service, *arguments):
    got = subprocess.run(
        ["swaks", "--server", HOST, "--port", str(host.port(service)), *arguments],
        encoding="utf-8", check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    if "requires Net::SSLeay" in got.stdout:
        pytest.skip("swaks cannot do TLS without Net::SSLeay")
    return got


def curl(certs, url, message, *arguments):
    """The conversation is in stderr."""
    return subprocess.run(
        ["curl", "-sSv", "--url", url, "--cacert", certs / "ca.pem", "--upload-file", "-",
         *arguments], input=message, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=PATIENCE_S)
