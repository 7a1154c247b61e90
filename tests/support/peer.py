"""A scripted SMTP server: it does as it is told, right or wrong, and remembers what it saw.

    Peer(tls="starttls", certificate=certs / "hub", replies={"RCPT": "450 4.2.0 later"})

replies says by stage what to answer: a text (its lines end in CRLF on the
wire), DROP (close the connection), HANG (say nothing until the test is over),
a list of these in a row, or a function of the session and the argument that
returns one; None is the usual answer. Stages: GREETING, HANDSHAKE (with TLS),
a verb (BDAT for all but the last chunk), BODY (the message has begun), END (behind
its final dot, or BDAT LAST).

With lmtp it speaks LMTP (RFC 2033): END is asked for once for each recipient,
whom message.recipient names. path makes it listen on a UNIX socket.
"""

import os
import socket
import ssl
import threading
import time

PATIENCE_S = 60

DROP, HANG = object(), object()

USUAL = {
    "GREETING": "220 peer.example ESMTP",
    "HELO": "250 peer.example",
    "STARTTLS": "220 2.0.0 Ready to start TLS",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 Go ahead",
    "BDAT": "250 2.0.0 Ok: chunk",
    "END": "250 2.0.0 Ok: taken",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
    "HANDSHAKE": None,
    "BODY": None,
}


class Closed(Exception):
    """The connection is over."""


class Message:
    def __init__(self, session, sender, recipients):
        self.session, self.sender, self.recipients = session, sender, recipients
        self.recipient = None  # LMTP: the one whose reply is due
        self.taken = []  # LMTP: those whose replies were good
        self.body = b""  # as it was before dots were stuffed


class Session:
    """One connection. Every byte that crossed the network to us is in wire, encrypted or not."""

    def __init__(self, peer, connection):
        self._peer, self._connection = peer, connection
        self.wire = bytearray()
        self.commands = []  # whole lines, the clear ones and those inside TLS
        self.tls = None  # an ssl.SSLObject, once the handshake is done
        self.handshake_error = None
        self._input = bytearray()
        self._sender, self._recipients = None, []
        self._chunks = bytearray()

    # ---- bytes ----

    def _receive_raw(self):
        try:
            data = self._connection.recv(65536)
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        self.wire += data
        return data

    def _flush_tls(self):
        data = self._outgoing.read()
        if data:
            self._send_raw(data)

    def _pump(self, step):
        """Run a step of the TLS session until it needs nothing more from the network."""
        while True:
            try:
                result = step()
                self._flush_tls()
                return result
            except ssl.SSLWantReadError:
                self._flush_tls()
                self._incoming.write(self._receive_raw())

    def _send_raw(self, data):
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Closed from error

    def send(self, data):
        if self.tls:
            self._pump(lambda: self.tls.write(data))
        else:
            self._send_raw(data)

    def read_line(self):
        """Without its CRLF."""
        while b"\n" not in self._input:
            self._read_more()
        line, _, self._input = self._input.partition(b"\n")
        return bytes(line.rstrip(b"\r"))

    def read_octets(self, count):
        while len(self._input) < count:
            self._read_more()
        octets, self._input = self._input[:count], self._input[count:]
        return octets

    def _read_more(self):
        try:
            self._input += self._pump(self._read_tls) if self.tls else self._receive_raw()
        except ssl.SSLError as error:
            raise Closed from error

    def _read_tls(self):
        data = self.tls.read(65536)
        if not data:
            raise Closed
        return data

    # ---- for tests ----

    def has_more(self):
        """Whether the client has sent something behind the command that is being answered."""
        return bool(self._input)

    def is_open(self):
        return self._connection.fileno() >= 0

    def end(self, goodbye=""):
        """From another thread: say something, or nothing, and close."""
        if goodbye:
            self.send(goodbye.encode() + b"\r\n")
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side has understood the goodbye and was faster
        self._peer.wait("the session to end", lambda: not self.is_open())

    # ---- protocol ----

    def run(self):
        if self._peer.tls == "implicit":
            self._secure()
        self._answer("GREETING")
        while True:
            self._command(self.read_line().decode("utf-8", "replace"))

    def _secure(self):
        hello = self._receive_raw()  # first: what came earlier would be dropped as clear text
        if self._answer("HANDSHAKE") is not None:
            self._listen_to_the_end()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(hello)
        tls = self._peer.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            self._pump(tls.do_handshake)
        except ssl.SSLError as error:
            self.handshake_error = error
            self._flush_tls()
            self._listen_to_the_end()
        self.tls = tls

    def _listen_to_the_end(self):
        """What comes although TLS has failed: it is in wire, for tests to be shocked at."""
        while True:
            self._receive_raw()

    def _answer(self, stage, argument=""):
        return self._say(self._decide(stage, argument))

    def _decide(self, stage, argument):
        answer = self._peer.answer_for(stage, self, argument)
        if answer is not None:
            return answer
        if stage == ("LHLO" if self._peer.lmtp else "EHLO"):
            return self._peer.greeting()
        return USUAL.get(stage, "500 What?")

    def _say(self, answer):
        if answer is HANG:
            self._peer.wait_for_close()
        if answer in (DROP, HANG):
            raise Closed
        if answer is not None:
            self.send(answer if isinstance(answer, bytes) else answer.encode() + b"\r\n")
        return answer

    def _command(self, line):
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        self.commands.append(line)
        if verb == "BDAT":
            self._receive_chunk(argument)
            return
        answer = self._decide(verb, argument)
        if verb == "RCPT" and self._sender is None and answer == USUAL["RCPT"]:
            answer = "503 5.5.1 need MAIL command"
        elif verb == "DATA" and not self._recipients and answer == USUAL["DATA"]:
            answer = "554 5.5.1 no valid recipients"
        self._say(answer)
        is_good = isinstance(answer, str) and answer[0] in "23"
        address = argument.partition("<")[2].partition(">")[0]
        if verb == "MAIL" and is_good:
            self._sender, self._recipients, self._chunks = address, [], bytearray()
        elif verb == "RCPT" and is_good:
            self._recipients.append(address)
        elif verb in ("RSET", "EHLO", "HELO", "LHLO"):
            self._sender, self._recipients = None, []
        elif verb == "STARTTLS" and is_good:
            self._secure()
        elif verb == "DATA" and is_good:
            self._receive_message()
        elif verb == "QUIT":
            raise Closed

    def _receive_message(self):
        message = Message(self, self._sender, self._recipients)
        self._sender, self._recipients = None, []
        lines = []
        line = self.read_line()
        self._answer("BODY")
        while line != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
            line = self.read_line()
        message.body = b"".join(line + b"\r\n" for line in lines)
        self._end(message)

    def _receive_chunk(self, argument):
        """The octets are there whatever is said of them (RFC 3030 section 2)."""
        size, _, last = argument.partition(" ")
        if not self._chunks:
            self._answer("BODY")
        self._chunks += self.read_octets(int(size))
        if not self._recipients:
            self._say("503 5.5.1 no valid recipients")
        elif last.upper() == "LAST":
            message = Message(self, self._sender, self._recipients)
            self._sender, self._recipients = None, []
            message.body = bytes(self._chunks)
            self._end(message)
        else:
            answer = self._decide("BDAT", argument)
            if not isinstance(answer, str) or answer[0] != "2":
                self._recipients = []
            self._say(answer)

    def _end(self, message):
        if self._peer.lmtp:
            self._answer_each(message)
            return
        answer = self._decide("END", message)
        if isinstance(answer, str) and answer.startswith("2"):
            self._peer.took(message)  # first: the client may tell its test at once
        self._say(answer)

    def _answer_each(self, message):
        answers = []
        for message.recipient in message.recipients:
            answers.append(self._decide("END", message))
            if isinstance(answers[-1], str) and answers[-1].startswith("2"):
                message.taken.append(message.recipient)
        if message.taken:
            self._peer.took(message)
        for answer in answers:
            self._say(answer)


class Peer:
    """tls: "none", "starttls" (it is offered) or "implicit"; certificate: a path without .pem."""

    def __init__(self, tls="none", certificate=None, replies=None, host="127.0.0.1", port=0,
                 extensions=("PIPELINING", "SIZE 52428800", "8BITMIME"), lmtp=False, path=None):
        self.tls, self.extensions, self.lmtp = tls, list(extensions), lmtp
        self.sessions, self.messages = [], []
        self._replies = dict(replies or {})
        self._news = threading.Condition()
        self._closed = threading.Event()
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        if tls == "starttls":
            self.extensions.append("STARTTLS")
        self._socket = self._bind_path(path) if path else self._bind(host, port)
        self._socket.listen(128)
        self._connections, self._threads = [], []
        self._start(self._accept)

    def _bind(self, host, port):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        self.port = listener.getsockname()[1]
        return listener

    def _bind_path(self, path):
        """By its name alone, as whole paths may be too long."""
        listener = socket.socket(socket.AF_UNIX)
        folder = os.open(os.path.dirname(path), os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        os.close(folder)
        return listener

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # close() has shut the socket down
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection):
        session = Session(self, connection)
        with self._news:
            self.sessions.append(session)
            self._news.notify_all()
        try:
            session.run()
        except Closed:
            pass
        finally:
            connection.close()
            with self._news:
                self._news.notify_all()

    # ---- for sessions ----

    def answer_for(self, stage, session, argument):
        """What the script says; one of a list is used up."""
        with self._news:
            answer = self._replies.get(stage)
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else None
        return answer(session, argument) if callable(answer) else answer

    def greeting(self):
        lines = ["peer.example"] + self.extensions
        return "\r\n".join(["250-" + line for line in lines[:-1]] + ["250 " + lines[-1]])

    def took(self, message):
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def wait_for_close(self):
        self._closed.wait(2 * PATIENCE_S)

    # ---- for tests ----

    def script(self, **replies):
        """Other answers from now on; None: the usual one."""
        with self._news:
            self._replies.update(replies)

    def wait(self, what, condition):
        """Until condition() holds, which is asked again whenever something has happened here."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while not condition():
                if not self._news.wait(max(deadline - time.monotonic(), 0)):
                    raise AssertionError(f"the peer waits in vain for {what}: " + repr(
                        [session.commands for session in self.sessions]))

    def wait_for_messages(self, count):
        self.wait(f"{count} messages", lambda: len(self.messages) >= count)
        return self.messages

    def stop_listening(self):
        """Who connects from now on is refused."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # that was done before

    def wire(self):
        """All that ever came."""
        return b"".join(bytes(session.wire) for session in self.sessions)

    def close(self):
        if self._closed.is_set():
            return
        self._closed.set()
        self.stop_listening()
        self._threads[0].join()  # nobody is accepted any more
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        self._socket.close()
