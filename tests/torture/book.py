"""What was sent, what has arrived, and what follows from it.

Every message has a number, and a checksum of its body in its header. A client that has not
heard a reply may send a number again: then it has several IDs. Accounts are kept for each
pair of an ID and a recipient.

    fate of a pair     how we know
    arrived            the sink has received the final dot, or a file is in new/ of the mailbox
    returned           the sender has received a notification that names it
    waits              its row in the queue says so
    lost               none of these, and a client has heard 250

A pair may arrive again only if it was in flight at a kill: it arrived in a life of the server
that ended by a kill, and the queue that was left said that the recipient still waits. Anything
else that comes twice is an error. (What is left is what a start would see. When the power stays
on at a kill, that may be more than is on the disk; so it counts too what is left later, after a
power cut, as long as no start in between got so far as to be ready, hence to sync it.)
"""

import collections
import hashlib
import re
import threading

from orders import Orders, Violation

LINE = bytes(33 + i % 90 for i in range(900))
TEXT = b"".join(b"%s%06d %s\r\n" % (b".." if i % 7 == 0 else b"", i, LINE[i % 90:i % 90 + i % 800])
                for i in range(1200))

MARK = re.compile(rb"^X-Torture: (\d+) (\w+)\s*$", re.M)
ID = re.compile(rb"\sid (\w+)[;\s]")
FAILED = re.compile(rb"^Final-Recipient: rfc822; ?(\S+)", re.M)


def body_hash(body):
    return hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest()[:32]


class Sent:
    """One message of a client's."""

    def __init__(self, number, sender, recipients, size, rng):
        self.number, self.sender, self.recipients = number, sender, recipients
        start = TEXT.index(b"\n", rng.randrange(len(TEXT) // 2)) + 1
        text = (TEXT[start:] + TEXT)[:size].rstrip(b"\r\n")
        body = b"%d\r\n%s\r\n" % (rng.getrandbits(64), text)
        self.bytes = (f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: torture\r\n"
                      f"X-Torture: {number} {body_hash(body)}\r\n\r\n").encode() + body


class Book:
    def __init__(self):
        self.lock = threading.Condition()
        self.life = 0
        self.accepted = 0
        self._accepted, self._left = set(), set()  # IDs: ever; in the queue after the last life
        self.open = {}  # ID of an accepted message -> Sent, until all of it has its fate
        self.arrivals = collections.defaultdict(list)  # (ID, recipient) -> lives
        self.reports = {}  # (ID, recipient) -> ID of the notification
        self.in_flight = collections.defaultdict(set)  # life -> pairs
        self._unsettled = []  # killed lives of which the disk may not know all
        self.boxes = {}  # path of a mail in a mailbox -> (pair, life)
        self.orders = Orders()
        self.doubles, self.large, self.deleted = 0, 0, 0
        self._damage = []

    def next_life(self):
        with self.lock:
            self.life += 1

    # ---- as it happens ----

    def accept(self, message_id, sent):
        with self.lock:
            if message_id in self.open:
                self._damage.append(f"ID {message_id} was given twice")
            self.accepted += 1
            self.large += len(sent.bytes) > 131072
            self.open[message_id] = sent
            self._accepted.add(message_id)
            self.lock.notify_all()

    def begin_order(self, kind, ids=None, domain=""):
        """ids: of messages; None: all. domain: of the recipients that are meant; "": all.

        Those without a sender are not meant by "bounce": it would tell a postmaster.
        """
        with self.lock:
            pairs = [(message_id, recipient)
                     for message_id in (self.open if ids is None else ids)
                     if self.open[message_id].sender or kind != "bounce"
                     for recipient in self.open[message_id].recipients
                     if recipient.endswith(domain)]
            return self.orders.begin(kind, self.life, pairs, ids is None)

    def end_order(self, order, is_answered):
        with self.lock:
            self.orders.end(order, is_answered)

    def choose_open(self, rng, count):
        """Up to so many IDs of messages without a fate as far as is known: new ones, old or any."""
        with self.lock:
            ids = list(self.open)
        part = rng.choice((ids[-3 * count:], ids[:3 * count], ids))
        return rng.sample(part, min(count, len(part)))

    def note(self, damage):
        with self.lock:
            self._damage.append(damage)

    def arrive(self, data, recipients):
        """At the sink, with its final dot."""
        with self.lock:
            message_id = self._look_into(data)
            for recipient in recipients:
                self.arrivals[message_id, recipient].append(self.life)
            self.lock.notify_all()

    def find_in_boxes(self, found, read):
        """What lies in the mailboxes now: path -> recipient. Some may have gone with the power."""
        for path in set(self.boxes) - set(found):
            pair, life = self.boxes.pop(path)
            self.arrivals[pair].remove(life)
        for path in set(found) - set(self.boxes):
            data = read(path)
            with self.lock:
                pair = (self._look_into(data), found[path])
                self.boxes[path] = (pair, self.life)
                self.arrivals[pair].append(self.life)

    def _look_into(self, data):
        """Checks a message, and returns its ID."""
        ids, mark = ID.findall(data), MARK.search(data)
        if not ids or not mark:
            self._damage.append(f"a message arrived without ID or mark: {data[:1000]!r}")
            return ""
        message_id = ids[0].decode()
        if b"report-type=delivery-status" in data[:3000]:
            self._note_report(message_id, ids[1:], FAILED.findall(data))
            return message_id
        separator = b"\r\n\r\n" if b"\r\n\r\n" in data[:8000] else b"\n\n"
        body = data.partition(separator)[2]
        if body_hash(body) != mark[2].decode():
            self._damage.append(f"{message_id}, number {mark[1].decode()}, arrived damaged, "
                                f"with {len(body)} bytes")
        return message_id

    def _note_report(self, report_id, ids, recipients):
        if not ids or not recipients:
            self._damage.append(f"notification {report_id} does not say what failed")
            return
        for recipient in recipients:
            pair = (ids[0].decode(), recipient.decode())
            if not self.orders.may_be_returned(pair, self.life, report_id):
                self._damage.append(f"{pair} was returned by {report_id}, after its deletion")
            known = self.reports.setdefault(pair, report_id)
            if known != report_id:
                self._damage.append(f"{recipient} of {ids[0]} was returned by {known} and again "
                                    f"by {report_id}")

    # ---- afterwards ----

    def check(self, queue, killed, was_ready, hurried=False):
        """queue: what a dead server has left. killed: it was, rather than stopped; or hurried."""
        with self.lock:
            if self._damage:
                raise Violation("; ".join(self._damage[:5]))
            self.orders.check(queue, self.life, self.arrivals,
                              lambda pair: self._has_fate(pair, queue))
            for message_id, sent in list(self.open.items()):
                waits = [self._waits(message_id, r, sent, queue) for r in sent.recipients]
                if not any(waits):
                    self.deleted += sum(self._was_deleted((message_id, r), queue)
                                        for r in sent.recipients)
                    del self.open[message_id]
            if was_ready or not killed:
                self._unsettled = []
            if not killed:
                self._check_unheard(queue)
            self._left = set(queue.recipients)
            if killed or hurried:
                self._unsettled.append(self.life)
            self._check_doubles()
            self._note_in_flight(queue)
            self._check_untold(queue)

    def _waits(self, message_id, recipient, sent, queue):
        """Whether a recipient has no fate yet. Raises when it will have none."""
        pair = (message_id, recipient)
        if queue.is_waiting(*pair):
            return True
        if self.arrivals.get(pair) or pair in self.reports:
            return False
        if queue.has_report_to(sent.sender):
            return True
        if self.orders.is_ordered("delete", pair):
            return False
        raise Violation(f"lost: {message_id} to {recipient}, number {sent.number}, "
                        f"{len(sent.bytes)} bytes, was accepted, and the queue has no more of it "
                        f"than {queue.recipients.get(message_id)}")

    def _was_deleted(self, pair, queue):
        return self.orders.is_ordered("delete", pair) and not self._has_fate(pair, queue)

    def _check_unheard(self, queue):
        """A server that was not killed keeps nothing that its client has no answer for.

        The client sends it again, so that would be a double.
        """
        arrived = {pair[0] for pair, lives in self.arrivals.items() if self.life in lives}
        unheard = ((arrived | queue.mail_ids) - self._accepted - self._left
                   - set(self.reports.values()))
        if unheard:
            raise Violation(f"{sorted(unheard)[:5]} were stored by a server that was not killed, "
                            "and no client was told")

    def _has_fate(self, pair, queue):
        return bool(self.arrivals.get(pair) or pair in self.reports or pair[0] not in self.open
                    or queue.has_report_to(self.open[pair[0]].sender))

    def _note_in_flight(self, queue):
        for pair, lives in self.arrivals.items():
            for life in set(lives).intersection(self._unsettled):
                if queue.is_waiting(*pair):
                    self.in_flight[life].add(pair)

    def _check_doubles(self):
        self.doubles = 0
        for pair, lives in self.arrivals.items():
            for life in lives[:-1]:
                if pair not in self.in_flight[life]:
                    raise Violation(f"{pair} arrived in lives {lives}; it was not in flight at "
                                    f"the end of life {life}")
            if len(set(lives)) != len(lives):
                raise Violation(f"{pair} arrived twice in one life: {lives}")
            self.doubles += max(len(lives) - 1, 0)

    def _check_untold(self, queue):
        """A recipient that is done in the queue, must have been so for us."""
        for message_id, recipients in queue.recipients.items():
            for recipient, status in recipients.items():
                pair = (message_id, recipient)
                if status == "delivered" and not self.arrivals.get(pair):
                    raise Violation(f"{pair} is {status} in the queue, and did not arrive")

    def totals(self):
        with self.lock:
            return collections.Counter(
                accepted=self.accepted, large=self.large,
                delivered=sum(bool(lives) for lives in self.arrivals.values()),
                bounced=len(self.reports), doubles=self.doubles, deleted=self.deleted)
