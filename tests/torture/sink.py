"""The next hop: it keeps book of what arrives, and is as moody as real ones.

The local part of a recipient says what becomes of it:

    ok...    taken
    late...  450 at first, taken later
    no...    550, always
"""

import collections
import random
import socket
import ssl
import threading
import time


class Gone(Exception):
    """The connection is over."""


class Session:
    def __init__(self, sink, connection, seed):
        self._sink, self._connection = sink, connection
        self._rng = random.Random(seed)
        self._file = connection.makefile("rb")
        self._is_secure = False
        self._recipients = []

    def _say(self, text):
        self._connection.sendall(text.encode() + b"\r\n")

    def _line(self):
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise Gone
        return line

    def _is_moody(self, share):
        return self._sink.is_moody and self._rng.random() < share

    def run(self):
        try:
            if self._is_moody(0.05):
                self._say("421 4.3.2 too busy")
                return
            self._say("220 sink.example ESMTP")
            while self._command(self._line().decode("utf-8", "replace").strip()):
                pass
        except (Gone, OSError, ValueError):
            pass
        finally:
            self._file.close()
            self._connection.close()

    def _command(self, line):
        """Returns whether there may be more."""
        verb = line[:4].upper()
        if self._is_moody(0.002):
            return False
        if self._is_moody(0.01):
            time.sleep(self._rng.random() / 10)
        if verb == "EHLO":
            self._say("250-sink.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME" +
                      ("\r\n250 ENHANCEDSTATUSCODES" if self._is_secure else "\r\n250 STARTTLS"))
        elif verb == "STAR":
            self._start_tls()
        elif verb == "MAIL":
            self._recipients = []
            self._say("250 2.1.0 Ok")
        elif verb == "RCPT":
            self._recipient(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA" and self._recipients:
            self._say("354 Go ahead")
            return self._message()
        elif verb in ("RSET", "NOOP"):
            self._say("250 2.0.0 Ok")
        elif verb == "QUIT":
            self._say("221 2.0.0 Bye")
            return False
        else:
            self._say("503 5.5.1 no valid recipients")
        return True

    def _start_tls(self):
        self._say("220 2.0.0 Ready")
        self._file.close()
        self._connection = self._sink.tls.wrap_socket(self._connection, server_side=True)
        self._file = self._connection.makefile("rb")
        self._is_secure = True

    def _recipient(self, address):
        if address.startswith("no"):
            self._say("550 5.1.1 no such user")
        elif address.startswith("late") and self._sink.is_too_early(address):
            self._say("450 4.2.0 later")
        else:
            self._recipients.append(address)
            self._say("250 2.1.5 Ok")

    def _message(self):
        lines = []
        line = self._line()
        while line != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            line = self._line()
        if self._is_moody(0.02):
            return False  # forgotten: nobody was told that we have it
        if self._is_moody(0.02):
            self._say("451 4.3.0 not now")
            return True
        self._sink.book.arrive(b"".join(lines), self._recipients)
        if self._is_moody(0.05):
            time.sleep(self._rng.random() / 10)
        self._say("250 2.0.0 Ok: taken")
        return True


class Sink:
    def __init__(self, book, certificate, seed):
        self.book = book
        self.is_moody = True
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        self._rng = random.Random(seed)
        self._tries = collections.Counter()
        self._news = threading.Condition()
        self._sessions = 0
        self._place = self._socket(0)  # keeps the port ours while nobody listens
        self.port = self._place.getsockname()[1]
        self._listener, self._thread = None, None
        self.open()

    @staticmethod
    def _socket(port):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        return s

    def open(self):
        if self._listener:
            return
        self._listener = self._socket(self.port)
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def shut(self):
        """Connections are refused from now on."""
        if not self._listener:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._listener = None

    def close(self):
        self.shut()
        self._place.close()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._news:
                self._sessions += 1
            session = Session(self, connection, self._rng.getrandbits(64))
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session):
        try:
            session.run()
        finally:
            with self._news:
                self._sessions -= 1
                self._news.notify_all()

    def settle(self):
        """Until what a dead server has sent is read."""
        with self._news:
            if not self._news.wait_for(lambda: self._sessions == 0, 60):
                raise TimeoutError("sessions with a dead server do not end")

    def is_too_early(self, address):
        with self._news:
            self._tries[address] += 1
            return self._tries[address] <= 1 + len(address) % 2
