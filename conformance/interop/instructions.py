#!/usr/bin/env python3
"""Instructions of the server an operation, counted by callgrind: what a change costs, whatever else the machine does.

    instructions.py BINARY... [--ops set,get,mix] [--seconds 10] [--functions 20]

Each BINARY serves alone under `valgrind --tool=callgrind`, and `zabra bench` of the first BINARY loads it with 64 requests in flight on
16 connections. Only instructions of the server itself are counted, not those of the kernel. Counts of one binary differ by about
1 % from run to run, as batches do. Of the second BINARY, the functions that grew and shrank most are told.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from java import four_letters

PORT = 27400
LOAD = ["--connections", "16", "--depth", "4", "--keys", "100"]


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


def measure(binary: str, loader: str, op: str, seconds: str) -> dict[str, float]:
    """By function: instructions an operation."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        config = folder / "zoo.cfg"
        config.write_text(f"tickTime=20000\nclientPort={PORT}\ndataDir={folder}/data\n4lw.commands.whitelist=ruok\n")
        out = folder / "out"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, "serve", str(config)]
        server = subprocess.Popen(valgrind, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while server.poll() is None and "imok" not in (four_letters(PORT, "ruok") or ""):
                time.sleep(0.5)
            bench = [loader, "bench", "--json", "--servers", f"127.0.0.1:{PORT}", "--op", op, *LOAD]
            warm = [*bench, "--seconds", "1", "--warmup", "0"]
            while server.poll() is None and subprocess.run(warm, capture_output=True).returncode != 0:
                time.sleep(0.5)
            subprocess.run(["callgrind_control", "-z", str(server.pid)], check=True, capture_output=True)
            done = subprocess.run([*bench, "--seconds", seconds, "--warmup", "0"], check=True, stdout=subprocess.PIPE)
            subprocess.run(["callgrind_control", "-d", str(server.pid)], check=True, capture_output=True)
        finally:
            server.terminate()
            server.wait()
        ops = json.loads(done.stdout)["ops"]
        return {function: cost / ops for function, cost in self_cost(out.with_name("out.1")).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", metavar="BINARY")
    parser.add_argument("--ops", default="set,get,mix")
    parser.add_argument("--seconds", default="10")
    parser.add_argument("--functions", type=int, default=20)
    args = parser.parse_args()
    for op in args.ops.split(","):
        found = [measure(binary, args.binaries[0], op, args.seconds) for binary in args.binaries]
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
