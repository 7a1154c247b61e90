"""A name server that knows a few names: DnsStub({"hub.example": ["127.0.0.1", "::1"]}).

What a name has is a list: addresses as text, mail exchangers as (10, "mx.example"), TLSA
records as bytes, under names like "_25._tcp.hub.example". An empty list is a name without
records, None is answered by SERVFAIL, DROP by silence, and a text is the name that it is an
alias of. A dict says it by type: {"A": ["127.0.0.1"], "AAAA": DROP, "MX": None}; types that are
not in it have no records. Names that it does not have do not exist.

Those who ask for it are told of all names below the domains in signed that their signatures are
good. What is below the domains in soa, {"example": 30}, has a zone that says for how many seconds
it holds that there is nothing; else that is not to be kept. The names in truncated are answered by
TCP only. Answers may be changed while it runs; records live for ttl seconds.

hold("hub.example", "A") keeps answers back until release() is called.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "MX": 15, "AAAA": 28, "TLSA": 52}
NAMES = {number: name for name, number in TYPES.items()}
AD, TRUNCATED = 0x20, 0x200
NO_ERROR, SERVER_FAILURE, NAME_ERROR = 0, 2, 3
DROP = object()


def wire_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def wire_record(record):
    """(type, data) of what stands in a list."""
    if isinstance(record, bytes):
        return "TLSA", record
    if isinstance(record, tuple):
        return "MX", struct.pack("!H", record[0]) + wire_name(record[1])
    ip = ipaddress.ip_address(record)
    return ("A" if ip.version == 4 else "AAAA"), ip.packed


class DnsStub:
    def __init__(self, records, signed=(), soa=None, truncated=(), ttl=60):
        self.records, self.signed, self.soa = records, signed, soa or {}
        self.truncated, self.ttl = truncated, ttl
        self.asked = []      # names
        self.questions = []  # (name, type)
        self._changed = threading.Condition()
        self._held, self._kept = set(), []
        self._socket, self._listener = self._bind()
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=run, daemon=True)
                         for run in (self._run, self._run_tcp)]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _bind():
        """A datagram socket and a listening one of the same port."""
        while True:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.bind(("127.0.0.1", 0))
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagrams.bind(listener.getsockname())
            except OSError:
                datagrams.close()
                listener.close()
                continue
            listener.listen()
            return datagrams, listener

    def _run(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._serve(query, lambda answer, to=client: self._socket.sendto(answer, to))

    def _run_tcp(self):
        while True:
            connection, _ = self._listener.accept()
            with connection:
                size = connection.recv(2, socket.MSG_WAITALL)
                if not size:
                    return
                query = connection.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)
                answer = self._answer(query, is_tcp=True)
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _serve(self, query, send):
        name, kind, _ = self._question(query)
        with self._changed:
            self.asked.append(name)
            self.questions.append((name, kind))
            self._changed.notify_all()
            if self._find(name, kind) is DROP:
                return
            if (name, kind) in self._held:
                self._kept.append((query, send))
                return
        send(self._answer(query))

    def wait_asked(self, name, kind):
        """Until somebody has asked for it."""
        with self._changed:
            assert self._changed.wait_for(lambda: (name, kind) in self.questions, 60)

    def hold(self, name, kind):
        with self._changed:
            self._held.add((name, kind))

    def release(self):
        with self._changed:
            kept, self._kept = self._kept, []
            self._held.clear()
        for query, send in kept:
            send(self._answer(query))

    @staticmethod
    def _question(query):
        """The name, the type, and where the question ends (RFC 1035 section 4.1.2)."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        number = struct.unpack_from("!H", query, at + 1)[0]
        return ".".join(labels).lower(), NAMES.get(number, number), at + 5

    def _find(self, name, kind):
        """A list, an alias, None, or DROP."""
        records = self.records[name] if name in self.records else []
        return records.get(kind, []) if isinstance(records, dict) else records

    def _found(self, name, kind):
        """(type, data) of each record of the answer, which is for the name or for its alias."""
        records = self._find(name, kind)
        if isinstance(records, str):
            return [("CNAME", wire_name(records))] + self._found(records, kind)
        found = [wire_record(record) for record in records or []]
        return [record for record in found if record[0] == kind]

    def _is_signed(self, name):
        return any(name == domain or name.endswith("." + domain) for domain in self.signed)

    def _authority(self, name):
        """The SOA of the zone that the name is in, if that has one."""
        for zone, minimum in self.soa.items():
            if name == zone or name.endswith("." + zone):
                data = b"\0\0" + struct.pack("!IIIII", 1, 3600, 600, 86400, minimum)
                return [wire_name(zone) + struct.pack("!HHIH", TYPES["SOA"], 1, 3600, len(data))
                        + data]
        return []

    def _answer(self, query, is_tcp=False):
        name, kind, end = self._question(query)
        code, found = NAME_ERROR, []
        if name in self.records:
            code = SERVER_FAILURE if self._find(name, kind) is None else NO_ERROR
            found = self._found(name, kind)
        if self._is_signed(name) and query[3] & AD and code != SERVER_FAILURE:
            code |= AD
        authority = self._authority(name) if not found else []
        if name in self.truncated and not is_tcp:
            code, found, authority = code | TRUNCATED, [], []
        # a response, recursion desired and available; the question is repeated
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), len(authority), 0)
        records, owner = [], b"\xc0\x0c"
        for record_kind, data in found:
            records.append(owner + struct.pack("!HHIH", TYPES[record_kind], 1, self.ttl, len(data))
                           + data)
            if record_kind == "CNAME":
                owner = data
        return header + query[12:end] + b"".join(records + authority)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self._socket.getsockname())
        with socket.create_connection(self._listener.getsockname()):
            pass
        for thread in self._threads:
            thread.join()
        self._socket.close()
        self._listener.close()
