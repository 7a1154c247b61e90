"""Clients under which the server groans: STARTTLS, small mail and large, one or many recipients."""

import contextlib
import random
import smtplib
import ssl
import threading

from book import Sent

CLIENTS = 5
SIZES = (0, 500, 3000, 3000, 8000, 30000, 100000, 140000, 400000)
FAT = (95000,)  # as large as a body in the database can be


class Senders:
    """choose(rng, number) -> the sender and recipients of a message."""

    def __init__(self, book, ports, certs, seed, choose):
        self._book, self._ports, self._choose = book, ports, choose
        self._tls = ssl.create_default_context(cafile=certs / "ca.pem")
        self._lock = threading.Lock()
        self._number = 0
        self._sizes = SIZES
        self._may_send, self._is_done = threading.Event(), threading.Event()
        self._news, self._busy = threading.Condition(), 0
        self._steady_life = 0  # in which no session may be lost; 0: it may
        self._threads = [threading.Thread(target=self._run, args=(f"{seed} {i}",), daemon=True)
                         for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def pause(self):
        self._may_send.clear()

    def settle(self):
        """Paused, and with a dead server: until everybody knows what he has been told."""
        with self._news:
            if not self._news.wait_for(lambda: self._busy == 0, 60):
                raise TimeoutError("clients of a dead server do not end")

    def resume(self):
        self._may_send.set()

    def expect(self, steady_life):
        """Until the next call, whoever connects from now on is served; 0: or not."""
        self._steady_life = steady_life

    @contextlib.contextmanager
    def fat(self):
        """Meanwhile, messages that make the database grow."""
        self._sizes = FAT
        try:
            yield
        finally:
            self._sizes = SIZES

    def finish(self):
        self._is_done.set()
        self._may_send.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                raise TimeoutError("a client does not end")

    def _run(self, seed):
        rng = random.Random(seed)
        client, sent, since = None, None, 0
        self._count(1)
        while not self._is_done.is_set():
            self._count(-1)
            self._may_send.wait()
            self._count(1)
            sent = sent or self._make(rng)
            try:
                if not client:
                    life = self._steady_life
                    second = rng.random() < 0.2  # not always listened to
                    since = 0 if second else life
                    client = self._connect(self._ports[second])
                    since = life
                if self._send(client, sent) or rng.random() < 0.2:
                    sent = None  # else it comes again
                if rng.random() < 0.1:
                    client.quit()
                    client = None
            except smtplib.SMTPResponseException:
                client = self._drop(client)
            except (OSError, smtplib.SMTPException) as error:
                if since and since == self._steady_life:
                    self._book.note(f"a session was lost in life {since}: {error!r}")
                client = self._drop(client)
        if client:
            client.close()
        self._count(-1)

    def _count(self, change):
        with self._news:
            self._busy += change
            self._news.notify_all()

    def _drop(self, client):
        if client:
            client.close()
        self._is_done.wait(0.01)

    def _make(self, rng):
        with self._lock:
            self._number += 1
            number = self._number
        sender, recipients = self._choose(rng, number)
        size = rng.choice(self._sizes)
        return Sent(number, sender, recipients, rng.randrange(size + 1, size * 5 // 4 + 100), rng)

    def _connect(self, port):
        client = smtplib.SMTP("127.0.0.1", port, "client.example", timeout=60)
        try:
            client.starttls(context=self._tls)
            client.ehlo()
        except BaseException:
            client.close()
            raise
        return client

    def _send(self, client, sent):
        """Returns whether it was taken."""
        if client.mail(sent.sender)[0] != 250:
            return False
        for recipient in sent.recipients:
            if client.rcpt(recipient)[0] != 250:
                client.rset()
                return False
        code, reply = self._give(client, sent)
        if code == 250:
            self._book.accept(reply.decode().split()[-1], sent)
        return code == 250

    @staticmethod
    def _give(client, sent):
        """The message itself, every other time in two chunks that are sent in one go."""
        if sent.number % 2:
            return client.data(sent.bytes)
        half = len(sent.bytes) // 2
        client.send(b"BDAT %d\r\n" % half + sent.bytes[:half] +
                    b"BDAT %d LAST\r\n" % (len(sent.bytes) - half) + sent.bytes[half:])
        client.getreply()
        return client.getreply()
