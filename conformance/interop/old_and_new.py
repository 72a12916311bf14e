#!/usr/bin/env python3
"""Two binaries of Zabra against each other on this machine, in one run: what a change costs or wins.

    old_and_new.py --old PATH --new PATH [--rounds 7] [--seconds 2] [--json FILE]

Two ensembles of three with the same zoo.cfg, one of each binary, stand side by side; the load generator is the old binary for
both. A round measures every case (operation and requests in flight) on both ensembles one directly after the other, and which
of them goes first changes from round to round. A ratio is the median over the rounds of new / old within a round, since what
else the machine does changes from round to round; the spread beside it is the second lowest and second highest of them.
Each server syncs every acknowledged write.

Exit code: 0 if each throughput is at least (1 - tolerance) of the old one, else 1.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile

import java
from side_by_side import load, value

# Connections and requests in flight on each of them.
IN_FLIGHT = {1: (1, 1), 64: (16, 4), 512: (16, 32)}
OPERATIONS = ["set", "get", "mix"]


def measure(args, data) -> dict:
    """By case: a list of pairs (report of the old binary, report of the new one)."""
    ensembles = {
        name: java.Ensemble(
            3,
            args.base_port + offset,
            data / name,
            command=lambda config, binary=binary: [str(binary), "serve", str(config)],
            settings={"forceSync": "yes"},
            environment={"ZABRA_LOG": "info"},
        )
        for name, binary, offset in [("old", args.old, 0), ("new", args.new, 100)]
    }
    cases = {(op, n): [] for op in args.ops.split(",") for n in args.in_flight}
    try:
        for ensemble in ensembles.values():
            ensemble.start()
        for i in range(args.rounds):
            for (op, n), pairs in cases.items():
                args.connections, args.depth = IN_FLIGHT[n]
                order = ["old", "new"] if i % 2 == 0 else ["new", "old"]
                pair = {name: load(args.old, ensembles[name], op, args, args.seconds, args.warmup) for name in order}
                pairs.append((pair["old"], pair["new"]))
                rate = pair["new"]["ops_per_second"] / pair["old"]["ops_per_second"]
                print(f"round {i + 1} {op:3} {n:3} in flight: new / old = {rate:.3f}", file=sys.stderr)
    finally:
        for ensemble in ensembles.values():
            ensemble.stop()
    return cases


def row(op: str, in_flight: int, pairs: list) -> dict:
    def ratio(key):
        return sorted(value(new, key) / value(old, key) for old, new in pairs)

    rates, cpu, p99 = ratio("ops_per_second"), ratio("server_cpu_us_per_op"), ratio("p99_us")
    inner = rates[1:-1] if len(rates) > 3 else rates
    return {
        "op": op,
        "in_flight": in_flight,
        "old_ops_per_second": statistics.median(old["ops_per_second"] for old, _ in pairs),
        "new_ops_per_second": statistics.median(new["ops_per_second"] for _, new in pairs),
        "throughput_ratio": statistics.median(rates),
        "spread": [inner[0], inner[-1]],
        "cpu_ratio": statistics.median(cpu),
        "p99_ratio": statistics.median(p99),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, type=pathlib.Path, help="the binary to compare with")
    parser.add_argument("--new", required=True, type=pathlib.Path, help="the binary in question")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="length of each window")
    parser.add_argument("--warmup", type=float, default=0.3, help="load before each window")
    parser.add_argument("--size", type=int, default=100, help="bytes of data in a node")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--ops", default=",".join(OPERATIONS), help="operations, with commas between them")
    parser.add_argument("--in-flight", type=int, nargs="+", choices=sorted(IN_FLIGHT), default=sorted(IN_FLIGHT))
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--base-port", type=int, default=31400, help="the old ensemble's ports begin here, the new one's 100 above")
    parser.add_argument("--json", metavar="FILE", help="write every report and the rows; - is the standard output")
    args = parser.parse_args()
    data = pathlib.Path(tempfile.mkdtemp(prefix="zabra-old-and-new-"))
    try:
        cases = measure(args, data)
    except (RuntimeError, TimeoutError) as reason:
        print(f"old_and_new.py: {reason}", file=sys.stderr)
        sys.exit(1)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    rows = [row(op, n, pairs) for (op, n), pairs in cases.items()]
    if args.json:
        reports = [{"op": op, "in_flight": n, "pairs": pairs} for (op, n), pairs in cases.items()]
        text = json.dumps({"rows": rows, "reports": reports}, indent=1)
        print(text) if args.json == "-" else pathlib.Path(args.json).write_text(text + "\n")
    if args.json != "-":
        print(f"{'':>4} {'in flight':>9} {'old ops/s':>11} {'new ops/s':>11} {'new/old':>8} {'spread':>13} {'CPU':>6} {'p99':>6}")
        for r in rows:
            spread = "{:.2f}–{:.2f}".format(*r["spread"])
            print(
                f"{r['op']:>4} {r['in_flight']:>9} {r['old_ops_per_second']:>11,.0f} {r['new_ops_per_second']:>11,.0f}"
                f" {r['throughput_ratio']:>8.3f} {spread:>13} {r['cpu_ratio']:>6.2f} {r['p99_ratio']:>6.2f}"
            )
    sys.exit(0 if all(r["throughput_ratio"] >= 1 - args.tolerance for r in rows) else 1)


if __name__ == "__main__":
    main()
