"""The server's side of AUTH for scripted peers, written by the RFCs alone.

    Peer(tls="starttls", extensions=["AUTH SCRAM-SHA-256 PLAIN"],
         replies={"AUTH": Login({"joe": "secret"})})

SCRAM (RFC 5802, RFC 7677; with -PLUS bound to TLS 1.3, RFC 9266), CRAM-MD5 (RFC 2195), PLAIN
(RFC 4616), LOGIN. Who came in, and how, is in attempts. What it says can be
replaced by step: Login(users, SERVER_FIRST=lambda text: ...); steps are
SERVER_FIRST and SERVER_FINAL of SCRAM, CHALLENGE of the others, and RESULT,
which is the reply; one that is DROP or HANG does that.
"""

import base64
import ctypes
import hashlib
import hmac
import os
import subprocess
import sys
import threading

REFUSED = "535 5.7.8 Error: authentication failed"
WELCOME = "235 2.7.0 Authentication successful"


def tls_exporter(session):
    """tls-exporter of a session, which Python's ssl module does not tell: OpenSSL is asked itself."""
    return _export(session.tls)


def _export(tls):
    import _ssl
    library = ctypes.CDLL(_ssl.__file__)
    # The object begins as any, then there is its socket, then OpenSSL's SSL.
    place = id(tls._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    ssl = ctypes.c_void_p.from_address(place)
    label, out = b"EXPORTER-Channel-Binding", ctypes.create_string_buffer(32)
    library.SSL_export_keying_material.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    done = library.SSL_export_keying_material(ssl, out, 32, label, len(label), b"", 0, 1)
    return out.raw if done == 1 else None


def can_export():
    """Whether that works with this Python: found out by a process of its own, which may crash."""
    probe = ("import ssl, sasl_server\n"
             "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
             "t = c.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='x')\n"
             "assert sasl_server._export(t) is None\n")  # there was no handshake
    return subprocess.run([sys.executable, "-c", probe], check=False, stderr=subprocess.DEVNULL,
                          cwd=os.path.dirname(os.path.abspath(__file__))).returncode == 0


class Refused(Exception):
    """Ends the exchange with this reply."""


class Cancelled(Exception):
    """The client has said '*'."""


def encode(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Login:
    def __init__(self, users, iterations=4096, **others):
        self.users, self.iterations = users, iterations
        self.attempts = []  # (mechanism, user, whether it was let in)
        self.cancelled = 0
        self._others = others
        self._lock = threading.Lock()

    def __call__(self, session, argument):
        """An answer to the verb AUTH (peer.py)."""
        mechanism, _, initial = argument.partition(" ")
        try:
            self._run(mechanism.upper(), session, initial)
            reply = WELCOME
        except Refused as refusal:
            reply = str(refusal)
        except Cancelled:
            with self._lock:
                self.cancelled += 1
            return "501 5.7.0 Authentication aborted"
        with self._lock:
            self.attempts.append((mechanism.upper(), session.login_name, reply == WELCOME))
        return self._say("RESULT", reply)

    def _run(self, mechanism, session, initial):
        session.login_name = ""
        steps = {"PLAIN": self._plain, "LOGIN": self._login, "CRAM-MD5": self._cram_md5,
                 "SCRAM-SHA-1": self._scram, "SCRAM-SHA-256": self._scram,
                 "SCRAM-SHA-256-PLUS": self._scram_plus}
        if mechanism not in steps:
            raise Refused("504 5.5.4 Unrecognized authentication type")
        steps[mechanism](session, initial, "sha1" if mechanism.endswith("-1") else "sha256")

    def _say(self, step, text):
        other = self._others.get(step)
        return other(text) if callable(other) else text if other is None else other

    def _ask(self, session, step, challenge):
        said = self._say(step, challenge)
        session.send(b"334 " + (encode(said) if isinstance(said, str) else
                                said.decode()).encode() + b"\r\n")
        line = session.read_line().decode()
        if line == "*":
            raise Cancelled
        return base64.b64decode(line, validate=True).decode()

    def _first(self, session, initial):
        """What the client says first, with the command or behind it."""
        if initial:
            return "" if initial == "=" else base64.b64decode(initial, validate=True).decode()
        return self._ask(session, "EMPTY", "")

    def _check(self, is_good):
        if not is_good:
            raise Refused(REFUSED)

    def _plain(self, session, initial, _):
        authorized, user, password = self._first(session, initial).split("\0")
        session.login_name = user
        self._check(authorized == "" and self.users.get(user) == password)

    def _login(self, session, initial, _):
        assert not initial
        user = session.login_name = self._ask(session, "CHALLENGE", "Username:")
        self._check(self.users.get(user) == self._ask(session, "CHALLENGE", "Password:"))

    def _cram_md5(self, session, initial, _):
        assert not initial
        challenge = f"<{os.urandom(6).hex()}@peer.example>"
        user, _, digest = self._ask(session, "CHALLENGE", challenge).rpartition(" ")
        session.login_name = user
        right = hmac.new(self.users.get(user, "").encode(), challenge.encode(), "md5").hexdigest()
        self._check(user in self.users and digest == right)

    def _scram_plus(self, session, initial, name):
        self._scram(session, initial, name, self._say("BINDING", tls_exporter(session)))

    def _scram(self, session, initial, name, binding=b""):
        flag, authorized, bare = self._first(session, initial).split(",", 2)
        session.login_flag = flag
        assert flag in (["p=tls-exporter"] if binding else ["n", "y"]) and authorized == ""
        fields = dict(field.split("=", 1) for field in bare.split(","))
        user = session.login_name = fields["n"].replace("=2C", ",").replace("=3D", "=")
        salt, nonce = os.urandom(16), fields["r"] + os.urandom(9).hex()
        first = self._say("SERVER_FIRST", f"r={nonce},s={encode(salt)},i={self.iterations}")
        final = self._ask(session, "", first)
        without_proof, _, proof = final.rpartition(",p=")
        bound = encode((flag + ",,").encode() + binding)
        if without_proof != f"c={bound},r={nonce}":
            raise Refused(REFUSED)  # somebody sits in between

        def sign(key, text):
            return hmac.new(key, text.encode(), name).digest()

        salted = hashlib.pbkdf2_hmac(name, self.users.get(user, "").encode(), salt,
                                     self.iterations)
        key = sign(salted, "Client Key")
        message = f"{bare},{first},{without_proof}"
        signature = sign(hashlib.new(name, key).digest(), message)
        self._check(user in self.users and base64.b64decode(proof) == bytes(
            a ^ b for a, b in zip(key, signature)))
        verifier = encode(sign(sign(salted, "Server Key"), message))
        final = self._say("SERVER_FINAL", f"v={verifier}")
        if final is not None and self._ask(session, "", final) != "":
            raise Refused("501 5.5.2 What is that?")
