#!/usr/bin/env python3
"""test_layers.py - a small tree, right at first; each wrong file in it must be found"""

import tempfile
import unittest
from pathlib import Path

import layers

RIGHT = {
    "base/buf.h": '#include <stddef.h>\n',
    "net/stream.c": '#include <uv.h>\n#include "base/buf.h"\n#include "net/stream.h"\n',
    "net/stream.h": '#include "base/buf.h"\n',
    "smtp/status.h": "",
    "smtp/server.h": "",
    "queue/queue.c": '#include <sqlite3.h>\n#include "smtp/status.h"\n',
    "tls/test_session.c": '#include <cmocka.h>\n#include "net/stream.h"\n',
    "mta/mta.c": '#include "net/stream.h"\n',
    "mta/test_mta.c": '#include <sqlite3.h>\n',
    "tests/support/peer.c": '#include <uv.h>\n#include "hub/hub.h"\n#include "edge/edge.h"\n',
    "build/meson-info/x.c": "",
    "build/config.h": '#include "cli/cli.h"\n',
}

WRONG = [
    ("upward", "base/log.c", '\n#include "net/loop.h"\n',
     'base/log.c:2: base/ may not include "net/loop.h"'),
    ("beside", "hub/hub.h", '#include "edge/edge.h"\n',
     'hub/hub.h:1: hub/ may not include "edge/edge.h"'),
    ("in a unit test", "smtp/test_data.c", '#include "net/stream.h"\n',
     'smtp/test_data.c:1: smtp/ may not include "net/stream.h"'),
    ("more than the value types", "queue/queue.h", '#include "smtp/server.h"\n',
     'queue/queue.h:1: queue/ may not include "smtp/server.h"'),
    ("with angle brackets", "base/log.c", "#  include <mta/mta.h> /* x */\n",
     'base/log.c:1: base/ may not include "mta/mta.h"'),
    ("library in another folder", "mta/mta.c", "#include <sqlite3.h>\n",
     "mta/mta.c:1: only queue/, maps/ may include <sqlite3.h>"),
    ("libuv in cli", "cli/main.c", "#include <uv.h>\n",
     "cli/main.c:1: only net/ may include <uv.h>"),
    ("library in a header", "tls/session.h", "#include <wolfssl/ssl.h>\n",
     "tls/session.h:1: <wolfssl/ssl.h> must not appear in a header"),
    ("not root-relative", "net/dns.c", '#include "stream.h"\n',
     'net/dns.c:1: "stream.h": includes are root-relative: "net/stream.h"'),
    ("code of tests", "mta/mta.c", '#include "tests/support/peer.h"\n',
     'mta/mta.c:1: "tests/support/peer.h" is for tests and tools only'),
    ("unknown folder", "util/misc.c", "",
     "util/misc.c: its folder is not in the table of layers.py"),
    ("cycle of headers", "base/buf.h", '#include "base/buf2.h"\n',
     "headers include each other: base/buf.h -> base/buf2.h -> base/buf.h"),
]


def check(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return layers.check(root)


class TestLayers(unittest.TestCase):
    def test_right(self):
        self.assertEqual(check(RIGHT), [])

    def test_wrong(self):
        files = {**RIGHT, "base/buf2.h": '#include "base/buf.h"\n'}
        for label, name, text, want in WRONG:
            with self.subTest(label):
                self.assertEqual(check({**files, name: text}), [want])


if __name__ == "__main__":
    unittest.main()
