"""race - servers take turns under the same load, and the table of what they did

The speed of a machine drifts: while one works the others are idle, and what
counts is the median over all rounds, and ratios. Round 0 warms up and samples
memory, which costs too much to be done while the clock runs.
"""

import json
import os
import statistics
from pathlib import Path

from load import run_round
from measure import MemorySampler
from stage import filesystem_of, make_server, new_parser, ratio

FAULTS = ("refused", "lost", "doubled", "mangled", "clear")

ROWS = (  # title, key, digits
    ("messages/s, first sent to last arrived", "messages_per_second", 1),
    ("server CPU per message, ms", "cpu_ms", 3),
    ("client p50, ms", "p50_ms", 2),
    ("client p99, ms", "p99_ms", 2),
    ("memory under load (PSS), MB", "memory_mb", 1),
    ("processes", "processes", 0),
    *((name, name, 0) for name in FAULTS),
    ("CPU of generator and sink, ms", "tools_cpu_ms", 3),
)


def race_parser(description, **defaults):
    """With the options of a race; defaults are those of one benchmark."""
    parser = new_parser(description)
    add = parser.add_argument
    add("--servers", default="direct,posthouse,postfix",
        help="which; direct is the generator straight into the sink")
    add("--rounds", type=int, default=5, help="that count")
    add("--messages", type=int, default=10000, help="of each round")
    add("--size", type=int, default=4096, help="bytes of a message")
    add("--connections", type=int, default=20, help="of the generator")
    add("--recipients", type=int, default=1, help="of each message")
    add("--reconnect", action="store_true", help="a new connection for each message")
    add("--no-pipelining", action="store_true", help="in the generator")
    add("--wait", type=float, default=60, help="seconds to wait for what does not arrive")
    add("--json", type=Path, help="write the result of every round there")
    parser.set_defaults(has_warm_up=True, round=run_round)
    parser.set_defaults(**defaults)
    return parser


def print_round(result):
    print(f"round {result['round']}  {result['server']:<10}"
          f"{result['messages_per_second']:8.1f} msg/s  cpu {result['cpu_ms']:6.3f} ms  "
          f"p50 {result['p50_ms']:6.2f}  p99 {result['p99_ms']:6.2f}  "
          + " ".join(f"{name} {result[name]}" for name in FAULTS), flush=True)


def warm_up(options, server):
    """Round 0, which counts for memory only."""
    sampler = MemorySampler(server)
    sampler.start()
    try:
        result = options.round(options, server, 0)
    finally:
        sampler.stop()
    result.update(memory_mb=sampler.most_bytes / 1e6, processes=sampler.most_processes)
    return result


def run_all(options, servers):
    """
    The results of all rounds, of round 0 too. Ends after one that did not get all
    mail through: what waits in a queue, and a next hop that is backed off from,
    spoil the next one.
    """
    results = []
    for number in range(0 if options.has_warm_up else 1, options.rounds + 1):
        for server in servers:
            result = options.round(options, server, number) if number else warm_up(options, server)
            print_round(result)
            results.append(result)
            if result["lost"] or result["refused"]:
                print(server.complaints(), end="")
                return results
    return results


def summarize(results, rows):
    """{server: {key: median over the rounds that count, or sum of the faults}}"""
    summary = {}
    for name in dict.fromkeys(result["server"] for result in results):
        own = [result for result in results if result["server"] == name]
        timed = [result for result in own if result["round"] > 0] or own
        medians = {key: statistics.median(other[key] for other in timed)
                   for _, key, _ in rows if key in timed[0]}
        memory = {key: own[0][key] for key in ("memory_mb", "processes") if key in own[0]}
        faults = {key: sum(other[key] for other in own) for key in FAULTS}
        summary[name] = {**medians, **memory, **faults}
    return summary


def print_table(summary, rows):
    """One line for each row; faults and the cost of the tools are no match between the two."""
    both = "posthouse" in summary and "postfix" in summary
    print("\n" + " " * 40 + "".join(f"{name:>12}" for name in summary)
          + ("   posthouse : postfix" if both else ""))
    for title, key, digits in rows:
        line = f"{title:<40}" + "".join(f"{own[key]:>12.{digits}f}" for own in summary.values())
        if both and key not in FAULTS and key != "tools_cpu_ms":
            line += "   " + ratio(summary["posthouse"][key], summary["postfix"][key])
        print(line)


def race(options, rows=ROWS):
    """Starts the servers, runs and prints everything. Returns the number of faults."""
    servers = []
    try:
        for name in options.servers.split(","):
            server = make_server(name, options)
            if server:
                servers.append(server)
                server.start()
        if not servers:
            raise RuntimeError("there is nothing to run")
        print(f"{options.messages} messages of {options.size} bytes, {options.connections} "
              f"connections, TLS {options.tls}; {os.cpu_count()} cores; queues on "
              f"{filesystem_of(options.directory)}; CPU by {servers[-1].group.how}")
        if options.has_warm_up:
            print("round 0 warms up and does not count")
        results = run_all(options, servers)
    finally:
        for server in servers:
            server.stop()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print_table(summarize(results, rows), rows)
    return sum(result[name] for result in results for name in FAULTS)
