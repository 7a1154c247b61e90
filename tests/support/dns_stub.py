"""A name server that knows a few names: DnsStub({"hub.example": ["127.0.0.1", "::1"]}).

Names that it does not have do not exist, those with an empty list have no addresses, and
those with None are answered by SERVFAIL. A text instead of a list is the name that it is an
alias of. TLSA records are bytes, under names like "_25._tcp.hub.example". Those who ask for it
are told of all names below the domains in signed that their signatures are good.
"""

import ipaddress
import socket
import struct
import threading

A, CNAME, AAAA, TLSA = 1, 5, 28, 52
AD = 0x20
NO_ERROR, SERVER_FAILURE, NAME_ERROR = 0, 2, 3


class DnsStub:
    def __init__(self, records, signed=()):
        self.records, self.signed = records, signed
        self.asked = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    @staticmethod
    def _question(query):
        """The name, the type, and where the question ends (RFC 1035 section 4.1.2)."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        return ".".join(labels).lower(), struct.unpack_from("!H", query, at + 1)[0], at + 5

    def _found(self, name, kind):
        """(type, data) of each record of the answer, which is for the name or for its alias."""
        records = self.records[name]
        if isinstance(records, str):
            labels = [label.encode() for label in records.split(".")]
            target = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
            return [(CNAME, target)] + self._found(records, kind)
        if kind == TLSA:
            return [(TLSA, data) for data in records or [] if isinstance(data, bytes)]
        version = {A: 4, AAAA: 6}.get(kind)
        addresses = [ipaddress.ip_address(text) for text in records or []
                     if isinstance(text, str)]
        return [(kind, ip.packed) for ip in addresses if ip.version == version]

    def _is_signed(self, name):
        return any(name == domain or name.endswith("." + domain) for domain in self.signed)

    def _answer(self, query):
        name, kind, end = self._question(query)
        self.asked.append(name)
        code, found = NAME_ERROR, []
        if name in self.records:
            code = SERVER_FAILURE if self.records[name] is None else NO_ERROR
            found = self._found(name, kind)
        if self._is_signed(name) and query[3] & AD and code != SERVER_FAILURE:
            code |= AD
        # a response, recursion desired and available; the question is repeated
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        records, owner = [], b"\xc0\x0c"
        for record_kind, data in found:
            records.append(owner + struct.pack("!HHIH", record_kind, 1, 60, len(data)) + data)
            if record_kind == CNAME:
                owner = data
        return header + query[12:end] + b"".join(records)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()
