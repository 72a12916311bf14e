#!/usr/bin/env python3
"""Zabra against Java ZooKeeper on this machine, in one run: two ensembles of three, alternating rounds, one load generator.

    side_by_side.py [--tls] [--rounds 3] [--seconds 4] [--json FILE]

Both ensembles run from the same zoo.cfg settings, every acknowledged write synced to the disks of a quorum. The Java servers
are warmed up first. A round is: Java set, Java get, Zabra set, Zabra get; a ratio is the median over the rounds of
the ratio within a round, since what else the machine does changes from round to round. CPU time is that of all three
servers, from /proc, divided by the operations; it is the number that holds on a busy machine.

With --tls the load goes to the secureClientPort of each server (Java's with Netty), the load generator shows a certificate, and
mixes are measured, too; 64 requests are in flight unless --depth says otherwise (16 connections with 4 each), else 512.

Exit code: 0 if every goal below holds, 1 if one does not, 3 if there is no Java ZooKeeper to be had.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import java

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# (operation, what, Zabra's share of Java's must be, bound)
GOALS = [
    ("set", "ops_per_second", "at least", 2.0),
    ("get", "ops_per_second", "at least", 3.0),
    ("set", "server_cpu_us_per_op", "at most", 1 / 3),
    ("get", "server_cpu_us_per_op", "at most", 1 / 3),
]
TLS_GOALS = [(op, "ops_per_second", "at least", 5.0) for op in ("set", "get", "mix")]
COLUMNS = [
    ("ops/s", "ops_per_second", "{:,.0f}"),
    ("server µs/op", "server_cpu_us_per_op", "{:.2f}"),
    ("client µs/op", "client_cpu_us_per_op", "{:.2f}"),
    ("p50 ms", "p50_us", "{:.2f}"),
    ("p99 ms", "p99_us", "{:.2f}"),
    ("others, cores", "other_cores", "{:.2f}"),
]


def release_binary(given) -> pathlib.Path:
    if given:
        return pathlib.Path(given)
    subprocess.run(["cargo", "build", "--release", "-p", "zabra"], cwd=REPOSITORY, check=True)
    target = os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target"
    return pathlib.Path(target) / "release" / "zabra"


def load(binary, ensemble, op, args, seconds, warmup) -> dict:
    servers = ensemble.secure_connect if ensemble.stores else ensemble.connect
    line = [binary, "bench", "--json", "--servers", servers, "--op", op]
    if ensemble.stores:
        line += ["--tls-ca", ensemble.stores / "ca.pem", "--tls-cert", ensemble.stores / "client.pem"]
    line += ["--connections", args.connections, "--depth", args.depth, "--size", args.size, "--keys", args.keys]
    line += ["--seconds", seconds, "--warmup", warmup, "--pid", ",".join(map(str, ensemble.pids))]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{op} against {servers}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    if report["errors"] or report["malformed"]:
        raise RuntimeError(f"{op} against {servers} met errors: {done.stdout.strip()}")
    return report


def value(report: dict, key: str) -> float:
    return report["latency"][key] / 1000 if key in report["latency"] else report[key]


def median(reports: list, key: str) -> float:
    return statistics.median(value(report, key) for report in reports)


def table(results: dict) -> str:
    """Medians of each ensemble and operation, aligned."""
    rows = [["", "n", *(title for title, _, _ in COLUMNS)]]
    for name, by_op in results.items():
        for op, reports in by_op.items():
            cells = [form.format(median(reports, key)) for _, key, form in COLUMNS]
            rows.append([f"{name} {op}", str(len(reports)), *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths)) for row in rows)


def verdicts(results: dict, goals) -> list[dict]:
    found = []
    for op, key, relation, bound in goals:
        pairs = list(zip(results["zabra"][op], results["java"][op]))
        ratio = statistics.median(value(ours, key) / value(theirs, key) for ours, theirs in pairs)
        holds = ratio >= bound if relation == "at least" else ratio <= bound
        found.append({"op": op, "what": key, "ratio": ratio, "must_be": relation, "bound": bound, "holds": holds})
    return found


def measure(args, binary, data) -> dict:
    """Reports by ensemble and operation."""
    settings, stores = {"forceSync": "yes"}, None
    if args.tls:
        stores = data / "tls"
        subprocess.run([binary, "tls", "init", stores], check=True, stdout=subprocess.DEVNULL)
    ensembles = {
        "java": java.Ensemble(3, args.base_port, data / "java", settings=settings, stores=stores),
        "zabra": java.Ensemble(
            3,
            args.base_port + 100,
            data / "zabra",
            command=lambda config: [str(binary), "serve", str(config)],
            settings=settings,
            # What people run: warnings and the changes of roles, no more.
            environment={"ZABRA_LOG": "info"},
            stores=stores,
        ),
    }
    ensembles = {name: e for name, e in ensembles.items() if args.only in (None, name)}
    ops = ("set", "get", "mix") if args.tls else ("set", "get")
    results = {name: {op: [] for op in ops} for name in ensembles}
    try:
        for name, ensemble in ensembles.items():
            ensemble.start()
        if "java" in ensembles:
            print(f"warming up the JVMs for {args.jvm_warmup:g} s", file=sys.stderr)
            load(binary, ensembles["java"], "mix", args, args.jvm_warmup / 3, 0)
            load(binary, ensembles["java"], "set", args, args.jvm_warmup / 3, 0)
            load(binary, ensembles["java"], "get", args, args.jvm_warmup / 3, 0)
        for i in range(args.rounds):
            for name, ensemble in ensembles.items():
                for op in ops:
                    report = load(binary, ensemble, op, args, args.seconds, args.warmup)
                    results[name][op].append(report)
                    rate, cpu = report["ops_per_second"], report["server_cpu_us_per_op"]
                    print(f"round {i + 1} {name:5} {op}: {rate:>11,.0f} ops/s, {cpu:7.2f} µs/op", file=sys.stderr)
    finally:
        for ensemble in ensembles.values():
            ensemble.stop()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zabra", metavar="PATH", help="the binary; without it, cargo builds the release one")
    parser.add_argument("--tls", action="store_true", help="through the ports of TLS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="length of each window")
    parser.add_argument("--warmup", type=float, default=1, help="load before each window")
    parser.add_argument("--jvm-warmup", type=float, default=15, help="load on the Java servers before the first round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--depth", type=int, help="requests in flight on each connection: 32, with --tls 4")
    parser.add_argument("--size", type=int, default=100, help="bytes of data in a node")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--base-port", type=int, default=31100, help="Java's ports begin here, Zabra's 100 above")
    parser.add_argument("--data", help="keep the servers' folders and logs here; without it they are temporary")
    parser.add_argument("--only", choices=["java", "zabra"], help="measure one of the two; judges nothing")
    parser.add_argument("--json", metavar="FILE", help="write every report and the verdicts; - is the standard output")
    args = parser.parse_args()
    args.depth = args.depth or (4 if args.tls else 32)
    binary = release_binary(args.zabra)
    data = pathlib.Path(args.data or tempfile.mkdtemp(prefix="zabra-side-by-side-"))
    try:
        results = measure(args, binary, data)
    except java.Unavailable as reason:
        print(f"side_by_side.py: {reason}", file=sys.stderr)
        sys.exit(java.UNAVAILABLE)
    except (RuntimeError, TimeoutError) as reason:
        print(f"side_by_side.py: {reason}", file=sys.stderr)
        sys.exit(1)
    finally:
        if not args.data:
            shutil.rmtree(data, ignore_errors=True)
    judged = [] if args.only else verdicts(results, TLS_GOALS if args.tls else GOALS)
    if args.json:
        text = json.dumps({"reports": results, "verdicts": judged}, indent=1)
        print(text) if args.json == "-" else pathlib.Path(args.json).write_text(text + "\n")
    if args.json != "-":
        print(table(results))
        for v in judged:
            what = dict((key, title) for title, key, _ in COLUMNS)[v["what"]]
            mark = "holds" if v["holds"] else "MISSED"
            print(f"{v['op']} {what}: Zabra / Java = {v['ratio']:.2f}, must be {v['must_be']} {v['bound']:.2f}: {mark}")
    sys.exit(0 if all(v["holds"] for v in judged) else 1)


if __name__ == "__main__":
    main()
