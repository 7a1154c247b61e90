"""Whole messages that are hard on whoever passes them on: each must arrive byte for byte.

All are what SMTP can carry: lines that end in CRLF, no other CR or LF, no NUL.
"""

import random

HEADER = (b"From: alice@vm1.vm\r\nTo: bob@vm2.vm\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
          b"Message-ID: <1@vm1.vm>\r\nSubject: hard to carry\r\n")

# Sizes at which something changes on the way: records of TLS, pieces that are read and
# written, and where a body moves from memory into a file.
BORDERS = (4096, 16384, 65536, 131072, 262144)

ODD_HEADERS = (
    b"from: lower case\r\nFROM:no space\r\nX-Empty:\r\nX-Blank: \r\nX-Blank-Too:\t\r\n"
    b"Subject : a space before the colon\r\nX-Folded: one\r\n two\r\n\tthree\r\n    \r\n four\r\n"
    b"Return-Path: <somebody@else.example>\r\nDelivered-To: bob@vm2.vm\r\n"
    b"X-Original-To: bob@vm2.vm\r\nBcc: secret@vm2.vm\r\nContent-Length: 5\r\n"
    b"Received: what is this\r\nrecEIVED: from a by b\r\nTo: twice@vm2.vm\r\nTo: again@vm2.vm\r\n"
    b"X-8-Bit: gr\xc3\xb6\xc3\x9fer \xff\xfe\r\nX-Control: \x01\x08\x1b\x7f\r\n"
    b"X-Dots: a\r\n .\r\n ..\r\nStatus: RO\r\n")

MULTIPART = (
    HEADER + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="."\r\n\r\n'
    b"--.\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4\xf6\xfc\r\n"
    b"--.\r\nContent-Type: multipart/alternative; boundary=\"..\"\r\n\r\n"
    b"--..\r\n\r\n.\r\n--..--\r\n"
    b"--.\r\nContent-Transfer-Encoding: base64\r\n\r\n=== no base64 ===\r\n"
    b"--.\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n=2E\r\n.=\r\n=ZZ \t\r\n"
    b"--. \r\n\r\nnever closed")

SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=vm1.vm; s=key;\r\n"
    b"\th=From:To:Subject; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n"
    b"  b=AAAA  BBBB\r\n\t CCCC\r\n" + HEADER + b"\r\n trailing space \r\n\t\r\n\r\n\r\n")


def lines_of(line, count):
    return (line + b"\r\n") * count


def dots_around(size):
    """Lines that begin with dots, their CR, LF and dots at and next to an offset of the body."""
    fill = lines_of(b"x" * 76, size // 78 - 1)
    fill += b"y" * (size - len(fill) - 18) + b"\r\n"
    return fill + b".\r\n..\r\n" * 8


MAILS = {
    "nothing": b"",
    "a blank line": b"\r\n",
    "a dot": b".\r\n",
    "dots alone": b".\r\n..\r\n...\r\n\r\n.\r\n\r\n..\r\n.\r\n",
    "no header": b"just text\r\n.\r\n",
    "a header alone": HEADER,
    "a header and a blank line": HEADER + b"\r\n",
    "a header that begins with a dot": b".X: a\r\n" + HEADER + b"\r\n.\r\n",
    "a continuation first": b" folded\r\n" + HEADER + b"\r\nbody\r\n",
    "mbox": b"From alice Thu Jan 1 00:00:00 2026\r\n" + HEADER + b"\r\nFrom here\r\n>From me\r\n",
    "odd headers": ODD_HEADERS + b"\r\n.\r\n",
    "dots": HEADER + b"\r\n.\r\n..\r\n...\r\n.a\r\na.\r\n.\r\n",
    "ends in blank lines": HEADER + b"\r\na\r\n\r\n\r\n\r\n",
    "blanks at line ends": HEADER + b"\r\na \r\n\t\r\n \r\n. \r\n.\t\r\n",
    "998 octets": HEADER + b"X-Long: " + b"h" * 990 + b"\r\n\r\n" + b"b" * 998 + b"\r\n",
    "999 octets": HEADER + b"X-Long: " + b"h" * 991 + b"\r\n\r\n" + b"b" * 999 + b"\r\n",
    "endless lines": HEADER + b"X-Long: " + b"h" * 5000 + b"\r\n\r\n" + b"." * 300000 + b"\r\n",
    "a long header": HEADER + lines_of(b"X-Many: " + b"h" * 70, 500) + b"\r\nbody\r\n",
    "all bytes": HEADER + b"\r\n" + bytes({*range(1, 256)} - {10, 13}) * 20 + b"\r\n",
    "multipart": MULTIPART + b"\r\n",
    "signed": SIGNED,
    "commands": HEADER + b"\r\nQUIT\r\nDATA\r\nBDAT 3 LAST\r\nRSET\r\nMAIL FROM:<>\r\n",
    **{f"dots around {size}": HEADER + b"\r\n" + dots_around(size) for size in BORDERS},
}

PIECES = (b".", b"..", b"\r\n", b"\r\n.", b"\r\n..", b"\r\n.\r\n", b"\r\n\r\n", b"a", b" ", b"\t",
          b"\xff", b"x" * 75, b"z" * 1500, b"From ", b"Received: x")


def random_mail(seed, size):
    """A message of about that size that is made of what is hard to carry."""
    source = random.Random(seed)
    pieces = [HEADER, b"\r\n"]
    left = size
    while left > 0:
        pieces.append(source.choice(PIECES))
        left -= len(pieces[-1])
    return b"".join(pieces) + b"\r\n"


def with_lines(size):
    """A message of exactly that size: every eighth line begins with a dot, and no two are alike."""
    pieces, left, number = [HEADER, b"\r\n"], size - len(HEADER) - 2, 0
    while left > 400:
        line = b"%s%d %s\r\n" % (b"." if number % 8 == 0 else b"", number, b"w" * (number % 300))
        pieces.append(line)
        left -= len(line)
        number += 1
    return b"".join(pieces) + b"e" * (left - 2) + b"\r\n"
