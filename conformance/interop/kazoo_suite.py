#!/usr/bin/env python3
"""kazoo's own tests, with Zabra's servers where they start Java's.

    kazoo_suite.py ZABRA FOLDER [TEST...]

kazoo's test harness writes zoo.cfg, myid and a JAAS file, and starts `java … QuorumPeerMain zoo.cfg` three times. A program of
that name, first in PATH, starts ZABRA with the same file and the same -D settings. FOLDER is filled by pip with kazoo and what its
tests need, once. TEST names files or tests of kazoo's; without any, all run that do not need gevent or eventlet.

Exit code 0: every test passed but those listed in EXPECTED, and each of those failed. A test of that list that passes is an error
as well, so the list cannot grow old. The last line printed is JSON: how many passed, failed as expected, were skipped.
"""

import json
import os
import pathlib
import socket
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

NEEDS = """
kazoo==2.11.0 pytest==9.2.0 pytest-timeout==2.4.0 pyjks==20.0.0 pyopenssl==23.2.0 cryptography==41.0.7 pure-sasl==0.6.2
objgraph==3.7.0
""".split()
# Java follows what its own version says, and kazoo skips or runs tests by it.
ZOOKEEPER = "3.9.5"
SECONDS_A_TEST = 120
# kazoo's name of a test: why it fails here.
EXPECTED = {
    "kazoo.tests.test_client.TestSSLClient.test_create": "its certificates are X.509 of version 1, which rustls does not take",
}
# A failure by this error is as good as passing, by chance: kazoo tells that it is connected before it authenticates, and whoever waits
# for the connection sees it, and then the refusal, or waits until the end of its patience if the refusal was faster.
LATE = "KazooTimeoutError"
EITHER = {
    "kazoo.tests.test_sasl.TestLegacySASLDigestAuthentication.test_invalid_sasl_auth",
    "kazoo.tests.test_sasl.TestSASLDigestAuthentication.test_invalid_sasl_auth",
}
# The lines that this program takes out of kazoo's zoo.cfg: with kazoo's certificates the server does not start, and says why, and the
# test waits for it for two minutes.
TAKEN_OUT = ("secureClientPort", "ssl.", "serverCnxnFactory")
# What it tells the server of what kazoo tells Java.
TOLD = ("-Dzookeeper.", "-Dreadonlymode.", "-Djava.security.auth.")


def install(folder: pathlib.Path) -> None:
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the rename is atomic and a half-filled folder is never used.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = pathlib.Path(scratch) / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, *NEEDS]
        subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
        target.rename(folder)


def as_java(zabra: str, folder: pathlib.Path) -> None:
    """Writes the program that is called like Java."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {pathlib.Path(__file__).resolve()} --as-java {zabra} \"$@\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def serve(zabra: str, arguments: list[str]) -> None:
    """Becomes a server, told to start as Java is."""
    config = pathlib.Path(arguments[-1])
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(TAKEN_OUT)) + "\n")
    settings = [a for a in arguments if a.startswith(TOLD)]
    log = os.open(config.with_name("zookeeper.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execv(zabra, [zabra, "serve", *settings, str(config)])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports() -> int:
    """The first of forty ports in a row that are free now: kazoo counts up from one number."""
    for base in range(23000, 31000, 100):
        if all(is_free(port) for port in range(base, base + 40)):
            return base
    raise SystemExit("kazoo_suite.py: no free ports between 23000 and 31000")


def name(case: xml.etree.ElementTree.Element) -> str:
    return f"{case.get('classname')}.{case.get('name')}"


def main() -> int:
    if sys.argv[1] == "--as-java":
        serve(sys.argv[2], sys.argv[3:])
    zabra, folder, *tests = sys.argv[1:]
    folder = pathlib.Path(folder).resolve()
    install(folder)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        as_java(str(pathlib.Path(zabra).resolve()), scratch)
        environment = {
            **os.environ,
            "PATH": f"{scratch}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(scratch),
            "ZOOKEEPER_PATH": str(scratch),
            "ZOOKEEPER_VERSION": ZOOKEEPER,
            "ZOOKEEPER_PORT_OFFSET": str(free_ports()),
        }
        tests = tests or ["kazoo/tests"]
        report = scratch / "report.xml"
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:logging", "-p", "no:cacheprovider", f"--timeout={SECONDS_A_TEST}"]
        pytest += [f"--junitxml={report}", "--ignore=kazoo/tests/test_eventlet_handler.py"]
        pytest += ["--ignore=kazoo/tests/test_gevent_handler.py", *tests]
        done = subprocess.run(pytest, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if not report.exists():
            print(done.stdout, done.stderr)
            return 1
        cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    wrong = {name(case): case.find(kind) for case in cases for kind in ("failure", "error") if case.find(kind) is not None}
    bad = {test for test, why in wrong.items() if not (test in EITHER and LATE in (why.get("message") or ""))}
    ran = {name(case) for case in cases if case.find("skipped") is None}
    expected = set(EXPECTED)
    unexpected = sorted(bad - expected)
    healed = sorted((ran - bad) & expected)
    if unexpected:
        print(done.stdout)
    for test in unexpected:
        print(f"kazoo's test fails, and should pass: {test}")
    for test in healed:
        print(f"kazoo's test passes, and is listed among those that fail: {test}")
    counts = {"passed": len(ran - bad), "failed as expected": len(bad & expected), "skipped": len(cases) - len(ran)}
    print(json.dumps(counts))
    return 1 if unexpected or healed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
