"""The dialogues of the how-tos, typed ahead as they do it: all lines, then the answers."""

import socket
import subprocess

from server import PATIENCE_S


def s_client(ca, where, lines, *arguments):
    """( echo LINE; … ) | openssl s_client -crlf -connect WHERE; returns what the server said."""
    got = subprocess.run(
        ["openssl", "s_client", "-crlf", "-quiet", "-verify_return_error", "-CAfile", ca,
         "-connect", where, *arguments], input="".join(line + "\n" for line in lines),
        encoding="utf-8", check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=PATIENCE_S)
    assert got.stdout, got.stderr
    return got.stdout.replace("\r\n", "\n")


class Telnet:
    """telnet HOST PORT: a line at a time, waiting for each answer."""

    def __init__(self, host, port, source=None):
        self._socket = socket.create_connection((host, port), PATIENCE_S,
                                                source_address=source and (source, 0))
        self._lines = self._socket.makefile("rb")
        self.greeting = self.line()

    def line(self):
        line = self._lines.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2].decode()

    def type(self, text):
        self._socket.sendall(text.encode() + b"\r\n")

    def reply(self, command=None):
        """The last line of an SMTP reply."""
        if command is not None:
            self.type(command)
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return line

    def lines_until(self, end):
        """Up to and with the line that begins so."""
        lines = [self.line()]
        while not lines[-1].startswith(end):
            lines.append(self.line())
        return lines

    def close(self):
        self._lines.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def replies(said):
    """The codes of SMTP replies, without those of lines that go on."""
    return [line[:3] for line in said.splitlines() if line[:3].isdigit() and line[3:4] != "-"]


def pop3_list(said):
    """What LIST says: the number of messages."""
    return int(next(line for line in said.splitlines()
                    if line.startswith("+OK") and line.endswith("messages:")).split()[1])


def pop3_message(said):
    """What RETR gave: the message, with LF."""
    head, _, rest = said.partition(" octets\n")
    assert head, said
    return rest.partition("\n.\n")[0] + "\n"
