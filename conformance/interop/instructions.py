#!/usr/bin/env python3
"""Instructions of the servers an operation, counted by callgrind: what a change costs, whatever else the machine does.

    instructions.py BINARY... [--ops set,get,mix] [--servers 3] [--connections 16 --depth 4] [--seconds 10] [--functions 20]

The servers of each BINARY, one or an ensemble, run under `valgrind --tool=callgrind`, and `zabra bench` of the first BINARY loads them
with `--connections` times `--depth` requests in flight. Only instructions of the servers themselves are counted, all of them together,
not those of the kernel. Counts of one binary differ by about 1 % from run to run, as batches do. Of the second BINARY, the functions
that grew and shrank most are told.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import java

PORT = 27400
SETTINGS = {"tickTime": 20000, "initLimit": 30, "syncLimit": 30}


def self_cost(path: pathlib.Path) -> dict[str, int]:
    """By function: instructions of its own, of a file as callgrind writes it."""
    names: dict[str, str] = {}
    cost: dict[str, int] = {}
    function, of_call = "", False
    for line in path.read_text(errors="replace").splitlines():
        named = re.match(r"c?fn=\((\d+)\)(?: (.*))?", line)
        if named:
            if named[2]:
                names[named[1]] = re.sub(r"::h[0-9a-f]{16}", "", named[2])
            if line.startswith("fn="):
                function = names[named[1]]
        elif line.startswith("calls="):
            of_call = True
        elif re.match(r"[\d+*-]", line):
            if not of_call:
                cost[function] = cost.get(function, 0) + int(line.split()[1])
            of_call = False
    return cost


def measure(binary: str, op: str, args) -> dict[str, float]:
    """By function: instructions an operation."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)

        def under_valgrind(config: pathlib.Path) -> list[str]:
            out = config.with_name("callgrind")
            return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, "serve", str(config)]

        with java.Ensemble(args.servers, PORT, folder, command=under_valgrind, settings=SETTINGS) as ensemble:
            bench = [args.binaries[0], "bench", "--json", "--servers", ensemble.connect, "--op", op, "--keys", "100"]
            bench += ["--connections", args.connections, "--depth", args.depth, "--warmup", "0", "--seconds"]
            java.wait_until(
                lambda: subprocess.run([*bench, "1"], capture_output=True).returncode == 0,
                120,
                "servers that take the load",
                lambda: all(process.poll() is None for process in ensemble.processes),
            )
            control(ensemble, "-z")
            done = subprocess.run([*bench, args.seconds], check=True, stdout=subprocess.PIPE)
            control(ensemble, "-d")
        ops = json.loads(done.stdout)["ops"]
        costs: dict[str, float] = {}
        for out in folder.glob("*/callgrind.1"):
            for function, cost in self_cost(out).items():
                costs[function] = costs.get(function, 0) + cost / ops
        return costs


def control(ensemble: java.Ensemble, what: str):
    """Zeroes (`-z`) or writes (`-d`) the counts of each server."""
    for pid in ensemble.pids:
        subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", metavar="BINARY")
    parser.add_argument("--ops", default="set,get,mix")
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--connections", default="16")
    parser.add_argument("--depth", default="4", help="requests in flight on each connection")
    parser.add_argument("--seconds", default="10")
    parser.add_argument("--functions", type=int, default=20)
    args = parser.parse_args()
    for op in args.ops.split(","):
        found = [measure(binary, op, args) for binary in args.binaries]
        totals = [sum(costs.values()) for costs in found]
        for binary, total in zip(args.binaries, totals):
            print(f"{op}  {total:7,.0f} instructions an operation  {total / totals[0]:.3f}  {binary}", flush=True)
        if len(found) > 1:
            before, after = found[:2]
            change = {f: after.get(f, 0) - before.get(f, 0) for f in before.keys() | after.keys()}
            largest = sorted(change, key=lambda f: -abs(change[f]))[: args.functions]
            for function in sorted(largest, key=lambda f: -change[f]):
                print(f"    {change[function]:+7,.0f}  {function}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
