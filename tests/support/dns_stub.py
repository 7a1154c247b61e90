"""A name server that knows a few names: DnsStub({"hub.example": ["127.0.0.1", "::1"]}).

Names that it does not have do not exist, those with an empty list have no addresses, and
those with None are answered by SERVFAIL.
"""

import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28
NO_ERROR, SERVER_FAILURE, NAME_ERROR = 0, 2, 3


class DnsStub:
    def __init__(self, records):
        self.records = records
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

    def _answer(self, query):
        name, kind, end = self._question(query)
        self.asked.append(name)
        code, addresses = NAME_ERROR, []
        if name in self.records:
            addresses = self.records[name]
            code = SERVER_FAILURE if addresses is None else NO_ERROR
        version = {A: 4, AAAA: 6}.get(kind)
        found = [ipaddress.ip_address(text).packed for text in addresses or []
                 if ipaddress.ip_address(text).version == version]
        # a response, recursion desired and available; the question is repeated
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        records = [struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(packed)) + packed
                   for packed in found]
        return header + query[12:end] + b"".join(records)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()
