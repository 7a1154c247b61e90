#!/usr/bin/env python3
"""Kills servers at random moments under load, and cuts their power, and looks what is left.

    torture.py --build DIRECTORY [--mode kill|power|both] [--rounds N] [--seed S]

Rounds are kills in each mode. They are spread over ordeals of some 25 kills each, which take
turns with a hub and an edge, have a seed of their own, and end with an empty queue. A failure
says which, and keeps its directory. The seed decides what is sent and when kills come; what
threads make of that is theirs, so a second run may need several attempts (--only) to fail alike.

    --self-test LIE     power cuts with a layer that ignores syncs of LIE, which must be noticed:
                        "file" or "directory"
"""

import argparse
import collections
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import places
from book import Book, Violation
from operators import Operators
from ordeal import Ordeal
from powercut import Disk, Unexplained
from senders import Senders
from sink import Sink

HERE = Path(__file__).resolve().parent
KILLS = 25  # of one ordeal
SCENARIOS = {"hub": places.hub, "edge": places.edge}
MEMORY = Path("/dev/shm")


class Run:
    def __init__(self, options):
        self.posthouse = options.build.resolve() / "posthouse"
        self.shim = options.build.resolve() / "tests" / "torture" / "powercut.so"
        self.totals = collections.Counter()
        self.top = Path(tempfile.mkdtemp(prefix="torture-", dir=options.directory))
        self.memory = self.top
        if not options.directory and MEMORY.is_dir():
            self.memory = Path(tempfile.mkdtemp(prefix="torture-", dir=MEMORY))
        self.certs = self.top / "certs"
        self.certs.mkdir()
        subprocess.run([HERE.parent / "support" / "make-certs.sh", self.certs], check=True)
        for key in self.certs.glob("*.key"):
            key.chmod(0o600)

    def ordeal(self, mode, scenario, seed, kills, lie=""):
        """Raises what went wrong, with the circumstances."""
        top = self.memory if mode == "power" else self.top
        directory = top / "-".join(("ordeal", mode, scenario))
        book = Book()
        sink = Sink(book, self.certs / "hub", seed)
        place, choose = SCENARIOS[scenario](directory, self.posthouse, self.certs, sink.port)
        disk = Disk(directory / "disk", self.shim) if mode == "power" else None
        senders = Senders(book, place.ports, self.certs, seed, choose)
        operators = Operators(place, book, f"{seed} operator", mode == "kill")
        ordeal = Ordeal(place, sink, senders, operators, book, seed, disk, lie)
        try:
            while ordeal.kills < kills:
                ordeal.live(ordeal.kills == 0)
            ordeal.finish()
        except (Violation, Unexplained) as error:
            raise Violation(f"life {book.life}, {ordeal.what}: {error}") from error
        finally:
            ordeal.abort()
            sink.close()
            place.close()
            totals = book.totals()
            totals.update(kills=ordeal.kills, cuts=ordeal.cuts, stops=ordeal.stops,
                          actions=operators.actions, reloads=operators.reloads)
            self.totals.update(totals)
        shutil.rmtree(directory)
        return totals

    def clean(self):
        shutil.rmtree(self.top)
        shutil.rmtree(self.memory, ignore_errors=True)


def describe(totals):
    return ", ".join(f"{totals[name]} {words}" for name, words in (
        ("kills", "kills"), ("cuts", "of them with the power"),
        ("stops", "stops before the kill"),
        ("accepted", "messages accepted"), ("large", "of them with a body file"),
        ("delivered", "delivered to a recipient"), ("bounced", "returned"),
        ("deleted", "deleted"), ("actions", "actions"), ("reloads", "reloads"),
        ("doubles", "doubles, all in flight at a kill")) if totals[name])


def plan(options):
    """(number, mode, scenario, kills) of each ordeal."""
    modes = ("kill", "power") if options.mode == "both" else (options.mode,)
    number = 0
    for mode in modes:
        left, turn = options.rounds, 0
        size = min(KILLS, -(-options.rounds // 2))
        while left > 0:
            number += 1
            yield number, mode, ("hub", "edge")[turn % 2], min(size, left)
            left -= size
            turn += 1


def torture(run, options):
    for number, mode, scenario, kills in plan(options):
        if options.only and number != options.only:
            continue
        seed = f"{options.seed} {number}"
        print(f"ordeal {number}: {mode} {scenario}, {kills} kills", flush=True)
        try:
            totals = run.ordeal(mode, scenario, seed, kills)
        except Violation as error:
            print(f"FAILED: {error}\nkept: {run.memory if mode == 'power' else run.top}\n"
                  f"again: tools/torture --mode {options.mode} --rounds {options.rounds} "
                  f"--seed {options.seed} --only {number}")
            return 1
        print("    " + describe(totals), flush=True)
    print(f"{describe(run.totals)}, 0 lost, 0 damaged")
    run.clean()
    return 0


def self_test(run, options):
    """A layer that lies must be found out."""
    for number in range(1, options.rounds + 1):
        scenario = ("edge", "hub")[number % 2]
        if options.self_test == "directory":
            scenario = "edge"
        try:
            run.ordeal("power", scenario, f"{options.seed} lie {number}", 3, options.self_test)
        except Violation as error:
            print(f"noticed in ordeal {number}, as it must be: {error}")
            run.clean()
            return 0
    print(f"FAILED: syncs of {options.self_test} were ignored, and nobody noticed")
    run.clean()
    return 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=Path, required=True, help="a build directory")
    parser.add_argument("--mode", choices=("kill", "power", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=300, help="kills in each mode")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1 << 32)))
    parser.add_argument("--only", type=int, help="the number of one ordeal")
    parser.add_argument("--directory", type=Path, help="where to work")
    parser.add_argument("--self-test", choices=("file", "directory"))
    return parser.parse_args()


def main():
    options = parse_arguments()
    print(f"seed {options.seed}", flush=True)
    run = Run(options)
    return self_test(run, options) if options.self_test else torture(run, options)


if __name__ == "__main__":
    sys.exit(main())
