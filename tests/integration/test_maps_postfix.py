"""Maps as Postfix has them: the same tables, generated, asked for the same keys."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess

import pytest

from server import PATIENCE_S

POSTMAP = shutil.which("postmap", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))

pytestmark = pytest.mark.skipif(not POSTMAP, reason="postfix is not installed")


def write(path, text):
    """Postfix waits until a configuration file is a second old, so they are made old."""
    path.write_text(text)
    os.utime(path, (1, 1))


def write_table(path, lines):
    write(path, "".join(line + "\n" for line in lines))


@pytest.fixture
def both(tmp_path, posthouse_bin):
    """both(spec, keys) -> what we find, once Postfix has been seen to find the same"""
    write(tmp_path / "main.cf", "compatibility_level = 3.6\nmyhostname = mail.example\n")

    def ask(command, keys):
        got = subprocess.run(command, input="".join(key + "\n" for key in keys), check=False,
                             encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=PATIENCE_S, cwd=tmp_path)
        # Postfix tells of empty values of a database, and goes on.
        warnings = [line for line in got.stderr.splitlines() if not line.endswith(" -- ignored")]
        assert not warnings, command
        assert got.returncode in (0, 1)
        return dict(line.split("\t", 1) for line in got.stdout.splitlines())

    def compare(spec, keys):
        ours = ask([posthouse_bin, "-c", tmp_path / "none.conf", "map", "query", spec, "-"], keys)
        assert ours == ask([POSTMAP, "-c", tmp_path, "-q", "-", spec], keys), spec
        return ours

    return compare


def nested(rnd, rule, condition, count, depth=0):
    """Lines of a table: rules, and now and then some within an if."""
    lines = []
    while len(lines) < count:
        kind = rnd.random()
        if kind < 0.2 and depth < 3:
            lines.append(rnd.choice(["if ", "IF ", "if !", "if\t! "]) + condition(rnd))
            lines += nested(rnd, rule, condition, rnd.randrange(4), depth + 1)
            lines.append(rnd.choice(["endif", "ENDIF", "endif  "]))
        elif kind < 0.25:
            lines.append(rnd.choice(["# a comment", "", "   ", "  # another"]))
        else:
            lines.append(rule(rnd, len(lines)))
    return lines


# ---- regexp: ----

WORDS = ["alice", "Bob", "x", "list", "example", "com", "vm1", "vm", "owner-", "-request"]
ATOMS = [".", "[a-m]", "[^@]", "[[:digit:]]", "(a|b)", "(.*)", "([^@]+)", "x?", "\\.", "e{1,2}",
         "\\+", "(vm[0-9])?", "@", "@", "[.]"]


def pattern(rnd):
    delimiter = rnd.choice("///~%")
    parts = [rnd.choice(WORDS) if rnd.random() < 0.5 else rnd.choice(ATOMS)
             for _ in range(rnd.randrange(1, 5))]
    body = rnd.choice(["", "^"]) + "".join(parts) + rnd.choice(["", "", "$"])
    flags = "".join(rnd.sample("im", rnd.choice([0, 0, 0, 1, 2])))
    return delimiter + body + delimiter + flags, body.count("(")


def regexp_rule(rnd, number):
    text, groups = pattern(rnd)
    if rnd.random() < 0.2:
        return rnd.choice(["!", "! ", "!!! "]) + f"{text} not{number}"
    result = [f"r{number}", " two  words", "$$", "=$$1"]
    for group in range(1, groups + 1):
        result += [f"${group}", f"${{{group}}}", f"<$({group})>"]
    chosen = rnd.sample(result, min(len(result), rnd.randrange(1, 4)))
    # Neither may come out empty: the one then warns, the other takes it for an error.
    return f"{text}{rnd.choice([' ', '   ', chr(9)])}r{number}:{' '.join(chosen)}"


def address(rnd):
    local = "".join(rnd.choice(WORDS + ["a", "b", "+", ".", "e", "9"]) for _ in
                    range(rnd.randrange(1, 4)))
    domain = ".".join(rnd.choice(WORDS[2:8]) for _ in range(rnd.randrange(1, 4)))
    return rnd.choice([f"{local}@{domain}", f"{local}@{domain}", domain, local, f"@{domain}",
                       f"{local}@", f"a@{local}@{domain}", f"{local.upper()}@{domain.title()}"])


@pytest.mark.parametrize("seed", range(12))
def test_regexp(tmp_path, both, seed):
    rnd = random.Random(f"regexp {seed}")
    write_table(tmp_path / "table", nested(rnd, regexp_rule, lambda r: pattern(r)[0], 25))
    keys = list({address(rnd) for _ in range(150)})
    assert both(f"regexp:{tmp_path}/table", keys)


def test_regexp_manual(tmp_path, both):
    """What regexp_table(5) has for examples, and lines that go on."""
    write_table(tmp_path / "table", [
        "/[%!@].*[%!@]/       550 Sender-specified routing rejected",
        "/^postmaster@/       OK",
        "if !/^owner-/",
        "/^(.*)-outgoing@(.*)$/  550 Use ${1}@${2} instead",
        "endif",
        "~^[[:alnum:]+/]{6,}$~",
        "# between",
        "          OK, and",
        "\tmore",
        "/^\\(x\\)\\1$/x basic $1",
    ])
    got = both(f"regexp:{tmp_path}/table", [
        "a%b@c", "postmaster@x", "POSTMASTER@x", "l-outgoing@d", "owner-l-outgoing@d", "abc/def",
        "abcde", "xx", "XX", "(x)x"])
    assert got["l-outgoing@d"] == "550 Use l@d instead"
    assert len(got) == 7


def postconf(directory, *arguments):
    return subprocess.run([POSTMAP.replace("postmap", "postconf"), "-c", directory, *arguments],
                          check=True, encoding="utf-8", stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=PATIENCE_S).stdout


def test_inline_rules(both, tmp_path):
    version = postconf(tmp_path, "-dh", "mail_version").split(".")
    if (int(version[0]), int(version[1])) < (3, 7):
        pytest.skip("this Postfix does not have them")
    assert both("regexp:{ {/^(a+)$/ <$1>}, {!/b{2}/ no bb} }", ["aa", "bb", "ab"]) == {
        "aa": "<aa>", "ab": "no bb"}
    assert both("cidr:{ {10.0.0.0/8 ten} {::/0 six}}", ["10.1.1.1", "::1", "11.1.1.1"]) == {
        "10.1.1.1": "ten", "::1": "six"}


# ---- cidr: ----

def number_to_ip(number, six):
    if six:
        groups = [f"{number >> shift & 0xffff:x}" for shift in range(112, -16, -16)]
        return ":".join(groups)
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


BASES = {False: [0x0a000000, 0xc0000200, 0x7f000000], True: [0x20010db8 << 96, 1 << 112, 0]}


def network(rnd):
    six = rnd.random() < 0.4
    size = 128 if six else 32
    bits = rnd.choice([size, size, 0, 8, 16, 23, 24, 25, 31, size - 1, 17])
    number = rnd.choice(BASES[six]) + rnd.getrandbits(12 if rnd.random() < 0.5 else size - 10)
    number = number % (1 << size) >> (size - bits) << (size - bits)
    text = number_to_ip(number, six)
    mask = f"/{bits}" if bits < size or rnd.random() < 0.3 else ""
    return rnd.choice([f"{text}{mask}", f"{text}{mask}", f"[{text}]{mask}", f"[{text}{mask}]"])


def cidr_rule(rnd, number):
    return rnd.choice(["", "", "", "!", "! ", "!!"]) + f"{network(rnd)} $1 r{number}  x"


def ip(rnd):
    six = rnd.random() < 0.4
    number = rnd.choice(BASES[six]) + rnd.getrandbits(rnd.choice([3, 9, 12, 20]))
    return number_to_ip(number, six)


@pytest.mark.parametrize("seed", range(8))
def test_cidr(tmp_path, both, seed):
    rnd = random.Random(f"cidr {seed}")
    write_table(tmp_path / "table", nested(rnd, cidr_rule, network, 25))
    keys = list({ip(rnd) for _ in range(150)}) + [
        "::1", "::ffff:10.0.0.1", "2001:DB8::1", "2001:0db8:0::", "example.com", "10.0.0",
        "[10.0.0.1]", "10.0.0.1/32", "010.0.0.1", "10.0.0.256", "face", "::", "*"]
    assert both(f"cidr:{tmp_path}/table", keys)


# ---- sqlite: ----

QUERIES = [
    "SELECT v FROM t WHERE k = '%s'",
    "SELECT v FROM t WHERE k = '%S' ORDER BY v",
    "SELECT v FROM t WHERE k = '%u@%d' ORDER BY v DESC",
    "SELECT v FROM t WHERE k = '%U'",
    "SELECT v FROM t WHERE k LIKE '%%%d' ORDER BY v",
    "SELECT v FROM t WHERE k = '%2.%1' OR k = '%u' ORDER BY v",
    "SELECT '%s' || '/' || '%u' || '/' || '%d' || '%%'",
    "SELECT 'it''s %s' WHERE '%3' <> ''",
    "SELECT v, k FROM t WHERE k IN ('%s', '%d', '%u') ORDER BY v",
    "SELECT v FROM t WHERE '%1' = 'com' AND v > '!%s' ORDER BY v LIMIT 3",
    "SELECT count(*) FROM t WHERE k = '%s';",
    "SELECT NULL UNION ALL SELECT '' UNION ALL SELECT v FROM t WHERE k = '%s'",
    "SELECT \"v\" FROM [t] WHERE `k` = '%s' /* '' */ ORDER BY v -- it's over",
]

FORMATS = [None, "%s", "smtp:[%s]", "%u at %d", "%d", "%S", "%U=%u", "%s in %D", "%1", "%2+%1",
           "100%%", "<%s> %%s", "%u"]

DOMAINS = [None, None, None, "example.com, vm1", "com vm.example", "!x.com, static:all",
           "inline:{ example.com=x, x.com=y }"]


def sql_key(rnd):
    return rnd.choice([address(rnd), address(rnd), rnd.choice(WORDS), "o'brien@example.com",
                       "' or '1'='1", "%s@x.com", "a@example.com", "b@x.example.com", "@x.com",
                       "x.com", "c@", "a@b@x.com", "u@..com", "u@.x.com.", "A@EXAMPLE.com"])


@pytest.fixture
def table(tmp_path, both):
    if "sqlite" not in postconf(tmp_path, "-m").split():
        pytest.skip("postfix-sqlite is not installed")
    rnd = random.Random("rows")
    rows = {(sql_key(rnd).lower(), rnd.choice([sql_key(rnd), "value", "v@w.x", "@y", ""]))
            for _ in range(300)}
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("create table t (k text, v text)")
        connection.executemany("insert into t values (?, ?)", sorted(rows))
        connection.execute("insert into t values ('number', 42), ('null', null), "
                           "('a', 'of a'), ('u', 'of u')")
        connection.commit()


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_sqlite(tmp_path, both, table, number):
    rnd = random.Random(f"sqlite {number}")
    keys = list({sql_key(rnd) for _ in range(120)} | {"number", "null"})
    found = {}
    for is_plain in (True, False, False, False):
        lines = [f"dbpath = {tmp_path}/db", f"query = {QUERIES[number]}"]
        for name, values in (("result_format", FORMATS), ("domain", DOMAINS)):
            value = None if is_plain else rnd.choice(values)
            lines += [f"{name} = {value}"] if value else []
        rnd.shuffle(lines)
        write_table(tmp_path / "t.cf", ["# a comment", *lines])
        found.update(both(f"sqlite:{tmp_path}/t.cf", keys))
    assert found, "nothing has been compared"


def test_sqlite_of_many_lines(tmp_path, both, table):
    write_table(tmp_path / "t.cf", [
        f"dbpath={tmp_path}/db", "query   =   SELECT v", "  # not this", "  FROM t",
        "\tWHERE k = '%s'", "expansion_limit = 500", "result_format = [%s]"])
    assert both(f"sqlite:{tmp_path}/t.cf", ["a@example.com", "nobody"])
