"""stage - what each benchmark stands on: options, a directory, servers, tables"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from load import Certificates
from measure import Cgroup, ProcessTree
from servers import HOST, Direct, Postfix, Posthouse


def new_parser(description):
    """With the options that all have."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    root = Path(__file__).resolve().parent.parent
    add("--build", type=Path, default=root / "build", help="build directory, a release build")
    add("--tls", choices=("none", "starttls", "implicit"), default="starttls", help="in and out")
    add("--directory", type=Path, default=Path("/var/tmp"),
        help="where the queues go; a real disk, since syncs are a part of the work")
    for name, file in (("postfix", "main.cf"), ("posthouse", "configuration")):
        add(f"--{name}-extra", metavar="NAME=VALUE", action="append", default=[],
            help=f"one more line for the {file} of {name}")
    parser.set_defaults(sink_host=HOST, sink_prefix=(), sink_arguments=(), classes=())
    return parser


def new_group(name):
    try:
        return Cgroup(f"bench-{name}")
    except OSError:
        return ProcessTree()


def make_server(name, options):
    """A server that can be configured and started, or None and a word why."""
    classes = {kind.name: kind for kind in (Direct, Posthouse, Postfix, *options.classes)}
    if name not in classes:
        raise RuntimeError(f"{name}: no such server; expected {', '.join(classes)}")
    problem = classes[name].problem(options)
    if problem:
        print(f"without {name}: {problem}")
        return None
    return classes[name](options, new_group(name))


def filesystem_of(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()


def ratio(ours, theirs):
    """Nothing where one of them is nothing."""
    if not ours or not theirs:
        return ""
    return f"{ours / theirs:.1f} : 1" if ours >= theirs else f"1 : {theirs / ours:.1f}"


def table(title, head, rows):
    print(f"\n{title}")
    cells = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  " + row[0].ljust(widths[0])
              + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))
    sys.stdout.flush()


def run_benchmark(name, options, benchmark):
    """
    Calls benchmark(options), which returns the number of faults, with a directory of its
    own. Returns the exit status: 0 every message arrived once and unchanged, 1 not so,
    2 could not run.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which cleans up on its way out
    options.tools = options.build / "bench"
    options.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.directory))
    options.directory.chmod(0o755)  # Postfix's processes aren't root for long
    try:
        options.certs = Certificates(options.directory / "certs")
        return 1 if benchmark(options) else 0
    except (KeyError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(options.directory)
