#!/usr/bin/env python3
"""Two builds of one criterion benchmark against each other on this machine, in one run: what a change costs or wins.

    paired_criterion.py --old PATH --new PATH [--rounds 3] [--filter REGEX] [--json FILE]

PATH is what `cargo bench -p zabra-benches --bench commit --no-run` has built, of one version and of another. A round runs each function
of the benchmark with both, one directly after the other, and which of them goes first changes from round to round, since the disk of a
machine has good and bad minutes. A ratio is the median over the rounds of old time / new time within a round, so that more than 1 is
faster. The servers of the benchmark keep their logs in TMPDIR: a directory in memory takes the disk out of the comparison.

Exit code: 0 if each ratio is at least (1 - tolerance), else 1.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile


def functions(binary: pathlib.Path, only: str | None) -> set[str]:
    """The names of a benchmark's functions."""
    line = [str(binary.resolve()), "--bench", "--list", *([only] if only else [])]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"paired_criterion.py: {binary}: {done.stderr.strip()}")
    return {line.removesuffix(": benchmark") for line in done.stdout.splitlines() if line.endswith(": benchmark")}


def run(binary: pathlib.Path, function: str) -> float:
    """The median time that criterion has found, ns."""
    with tempfile.TemporaryDirectory() as home:
        line = [str(binary.resolve()), "--bench", "--noplot", f"^{re.escape(function)}$"]
        environment = {**os.environ, "CRITERION_HOME": home}
        done = subprocess.run(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"paired_criterion.py: {binary}: {done.stderr.strip()}")
        (estimates,) = pathlib.Path(home).glob("**/new/estimates.json")
        return json.loads(estimates.read_text())["median"]["point_estimate"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, type=pathlib.Path)
    parser.add_argument("--new", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filter", help="functions to run, as criterion takes it")
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path)
    args = parser.parse_args()
    both = functions(args.old, args.filter) & functions(args.new, args.filter)
    if not both:
        sys.exit("paired_criterion.py: the two have no such function in common")
    rounds = []
    for i in range(args.rounds):
        order = ["old", "new"] if i % 2 == 0 else ["new", "old"]
        rounds.append({"old": {}, "new": {}})
        for function in sorted(both):
            for name in order:
                rounds[-1][name][function] = run(vars(args)[name], function)
            ratio = rounds[-1]["old"][function] / rounds[-1]["new"][function]
            print(f"round {i + 1} {function}: old / new = {ratio:.3f}", file=sys.stderr, flush=True)
    ratios = {
        function: sorted(pair["old"][function] / pair["new"][function] for pair in rounds) for function in sorted(rounds[0]["old"])
    }
    if args.json:
        args.json.write_text(json.dumps({"rounds_ns": rounds, "ratios": ratios}, indent=1) + "\n")
    for function, found in ratios.items():
        print(f"{function:<40} {statistics.median(found):.3f}  ({found[0]:.3f} to {found[-1]:.3f})")
    return 0 if min(map(statistics.median, ratios.values())) >= 1 - args.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
