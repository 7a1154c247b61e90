"""What a dead server has left in its queue directory, read from a copy.

Whoever opens a database that was not closed repairs it. So the original is not touched: that is
for the server to do.
"""

import collections
import shutil
import sqlite3
import sys
from pathlib import Path

from book import Violation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import ledger_chain  # noqa: E402

STATUS = ("queued", "deferred", "held", "delivered", "bounced", "deleted")


class Remains:
    def __init__(self, queue, scratch):
        self.recipients = collections.defaultdict(dict)  # ID -> recipient -> status
        self.mail_ids = set()  # of messages that are no notifications
        self._returning = set()  # (ID, recipient)
        self._reports_to = set()
        self._queue = queue
        aside = [path.name for path in queue.glob("*.damaged.*")]
        if aside:  # no crash is damage
            raise Violation(f"something was taken for damaged: {aside}")
        connection = self._open(scratch)
        aside = [path.name for path in queue.glob("*.damaged.*")]
        if aside:  # what a kill leaves is whole, so there is nothing to salvage
            raise Violation(f"the server has set aside {aside}")
        if not connection:
            return
        try:
            self._check(connection)
            self._read(connection)
        except sqlite3.DatabaseError as error:
            raise Violation(f"the database: {error}") from error
        finally:
            connection.close()

    def _open(self, scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for name in ("queue.db", "queue.db-wal"):
            if (self._queue / name).exists():
                shutil.copy(self._queue / name, scratch)
        if not (scratch / "queue.db").exists():
            return None
        connection = sqlite3.connect(scratch / "queue.db")
        connection.execute("pragma cell_size_check = on")
        return connection

    @staticmethod
    def _has_tables(connection):
        """A queue that was not finished being made has none: that is one transaction."""
        return connection.execute("select count(*) from sqlite_schema").fetchone()[0] > 0

    def _check(self, connection):
        answer = connection.execute("pragma integrity_check").fetchall()
        if answer != [("ok",)]:
            raise Violation(f"integrity_check: {answer[:5]}")
        if not self._has_tables(connection):
            return
        counts = connection.execute("select messages, recipients, bytes from q_state").fetchone()
        actual = connection.execute(
            "select (select count(*) from q_message),"
            " (select count(*) from q_recipient where status < 3),"
            " (select coalesce(sum(size), 0) from q_message)").fetchone()
        if counts != actual:
            raise Violation(f"the counts say {counts}, the rows {actual}")
        trouble = ledger_chain.fault(connection)
        if trouble:
            raise Violation(f"the ledger: {trouble}")
        for number, size in connection.execute("select id, size from q_message where in_file"):
            path = self._body(f"{number:X}")
            if not path.exists() or path.stat().st_size != size:
                raise Violation(f"{number:X} has {size} bytes in a file, which " + (
                    f"has {path.stat().st_size}" if path.exists() else "is not there"))
        stray = connection.execute(
            "select (select count(*) from q_message m left join q_body b on b.message = m.id"
            "   where (b.message is null) != m.in_file),"
            " (select count(*) from q_body where message not in (select id from q_message)),"
            " (select count(*) from q_recipient where message not in"
            "   (select id from q_message))").fetchone()
        if stray != (0, 0, 0):
            raise Violation(f"messages without bodies, bodies or recipients alone: {stray}")

    def _read(self, connection):
        if not self._has_tables(connection):
            return
        for number, address, status, is_returning, sender in connection.execute(
                "select r.message, r.address, r.status, r.is_returning, m.sender"
                " from q_recipient r join q_message m on m.id = r.message"):
            self.recipients[f"{number:X}"][address] = STATUS[status]
            if is_returning and status < 3:
                self._returning.add((f"{number:X}", address))
            if sender:
                self.mail_ids.add(f"{number:X}")
            if not sender and status < 3:
                self._reports_to.add(address)

    def _body(self, message_id):
        return self._queue / "bodies" / message_id[-1] / message_id

    def is_waiting(self, message_id, recipient):
        return self.recipients.get(message_id, {}).get(recipient) in STATUS[:3]

    def status(self, message_id, recipient):
        return self.recipients[message_id][recipient]

    def is_returning(self, message_id, recipient):
        return (message_id, recipient) in self._returning

    def has_report_to(self, sender):
        return sender in self._reports_to

    def check_is_empty(self):
        if self.recipients:
            raise Violation(f"the queue is not empty: {dict(self.recipients)}")
        files = [str(path) for path in self._queue.glob("bodies*/**/*") if path.is_file()]
        if files:
            raise Violation(f"body files are left: {files[:5]}")
