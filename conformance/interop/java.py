#!/usr/bin/env python3
"""Java ZooKeeper on loopback, for interop tests and side-by-side benchmarks.

    java.py classpath                             fetch the jars unless they are cached; print the Java class path
    java.py command CONFIG                        the command line of a server with this zoo.cfg, as a JSON array
    java.py cli --server HOST:PORT COMMAND...     ZooKeeper's own shell (ZooKeeperMain), one command
    java.py serve --servers 3 --base-port 31000 --data DIR
                                                  run one server or an ensemble until SIGTERM, Ctrl-C or the end of the
                                                  standard input; the first line printed is JSON: connect string, pids

The jars come out of the source archive of the Python package pyspark, which carries ZooKeeper and Curator and what
they need; pip fetches it from whatever registry it is set up for (about 440 MB, once). They are kept in
${XDG_CACHE_HOME:-~/.cache}/zabra/java. Exit code 3: no Java, or no jars to be had, so that a test can say why it was skipped.

Server i of an ensemble (from 0) has client port base+i, quorum port base+10+i, election port base+20+i, server id i+1; with TLS
for clients also secureClientPort base+30+i.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

PYSPARK = "4.3.0"
ZOOKEEPER = "3.9.5"
# What a server, the shell and Curator load. A name is a jar without its version; platform jars stay out.
WANTED = """
zookeeper zookeeper-jute audience-annotations slf4j-api log4j-api log4j-core log4j-slf4j2-impl metrics-core snappy-java
commons-cli commons-io jline jackson-annotations jackson-core jackson-databind curator-client curator-framework
curator-recipes guava failureaccess netty-buffer netty-codec-base netty-common netty-handler netty-resolver netty-transport
netty-transport-classes-epoll netty-transport-native-unix-common netty-codec
""".split()
UNAVAILABLE = 3


class Unavailable(Exception):
    """No Java or no jars here."""


def cache_dir() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(root) / "zabra" / "java" / f"zookeeper-{ZOOKEEPER}"


def is_wanted(member: str) -> bool:
    name = re.fullmatch(r"[^/]+/deps/jars/(.+?)-\d[\d.]*(?:\.Final|-jre)?\.jar", member)
    return bool(name) and name.group(1) in WANTED


def fetch() -> pathlib.Path:
    """The folder of the jars; filled if it is not there yet."""
    jars = cache_dir()
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the rename at the end is atomic and a half-filled cache is never seen.
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        scratch = pathlib.Path(scratch)
        print(f"fetching ZooKeeper {ZOOKEEPER} (about 440 MB, once)", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pyspark"]
        done = subprocess.run([*pip, "--dest", scratch, f"pyspark=={PYSPARK}"], stdout=sys.stderr)
        archives = list(scratch.glob("*.tar.gz"))
        if done.returncode != 0 or not archives:
            raise Unavailable(f"pip cannot download the source archive of pyspark {PYSPARK}; see its message above")
        out = scratch / "jars"
        out.mkdir()
        with tarfile.open(archives[0]) as tar:
            for member in tar:
                if member.isfile() and is_wanted(member.name):
                    with tar.extractfile(member) as source, open(out / pathlib.Path(member.name).name, "wb") as copy:
                        shutil.copyfileobj(source, copy)
        if not (out / f"zookeeper-{ZOOKEEPER}.jar").exists():
            raise Unavailable(f"the archive of pyspark {PYSPARK} holds no ZooKeeper {ZOOKEEPER}; mend PYSPARK and ZOOKEEPER")
        try:
            out.rename(jars)
        except OSError:
            if not jars.is_dir():  # else: another process was faster, and its jars are the same
                raise
    return jars


def java() -> str:
    found = os.path.join(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else shutil.which("java")
    if not found or not os.access(found, os.X_OK):
        raise Unavailable("no java found; install a Java runtime (11 or later) or set JAVA_HOME")
    return found


def classpath() -> str:
    return os.pathsep.join(str(jar) for jar in sorted(fetch().glob("*.jar")))


def four_letters(port: int, word: str, timeout: float = 2.0) -> str:
    """The answer of the server on `port` to a four-letter word; empty if there is none."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as s:
            s.settimeout(timeout)
            s.sendall(word.encode())
            while chunk := s.recv(65536):
                answer += chunk
    except OSError:
        pass
    return answer.decode(errors="replace")


def mode(port: int) -> str | None:
    """standalone, leader, follower, observer; None if the server does not serve."""
    found = re.search(r"^Mode: (\w+)", four_letters(port, "srvr"), re.M)
    return found.group(1) if found else None


def wait_until(condition, seconds: float, what: str, alive=lambda: True):
    """Polls until `condition()` holds; an error after the deadline, or as soon as `alive()` is false."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if not alive():
            raise RuntimeError(f"{what}: a process has ended; its log says why")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return value


def zoo_cfg(directory: pathlib.Path, i: int, count: int, base_port: int, settings: dict) -> str:
    """The zoo.cfg of server `i` of `count`; it serves Java and Zabra alike."""
    lines = {
        "dataDir": directory,
        "clientPort": base_port + i,
        "clientPortAddress": "127.0.0.1",
        "tickTime": 2000,
        "initLimit": 10,
        "syncLimit": 5,
        "maxClientCnxns": 0,
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
        **settings,
    }
    if count > 1:
        for j in range(count):
            lines[f"server.{j + 1}"] = f"127.0.0.1:{base_port + 10 + j}:{base_port + 20 + j}"
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def tls_settings(stores: pathlib.Path, is_java: bool) -> dict:
    """TLS for clients, with the files of `zabra tls init`; Java has it behind Netty alone."""
    settings = {
        "ssl.keyStore.location": stores / "server.pem",
        "ssl.trustStore.location": stores / "ca.pem",
    }
    if is_java:
        settings["serverCnxnFactory"] = "org.apache.zookeeper.server.NettyServerCnxnFactory"
    return settings


class Ensemble:
    """Processes of one or more servers; a context manager that stops what it has started.

    `command` makes the command line of a server from the path of its zoo.cfg; without it, the servers are Java's.
    `stores` is the folder of the files of `zabra tls init`: with it, clients may speak TLS, at ports of their own.
    """

    def __init__(self, count, base_port, data, command=None, settings=None, jvm=(), environment=None, stores=None):
        self.count, self.base_port, self.data = count, base_port, pathlib.Path(data)
        self.stores = stores
        self.command = command or (lambda config: java_server(config, jvm))
        self.settings = {**(settings or {}), **(tls_settings(stores, command is None) if stores else {})}
        self.environment = {**os.environ, **(environment or {})}
        self.processes: list[subprocess.Popen | None] = [None] * count

    @property
    def ports(self) -> list[int]:
        return [self.base_port + i for i in range(self.count)]

    @property
    def connect(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @property
    def secure_connect(self) -> str:
        """The ports of TLS, by the name that the certificate has."""
        return ",".join(f"localhost:{port + 30}" for port in self.ports)

    @property
    def pids(self) -> list[int]:
        return [p.pid for p in self.processes if p]

    def start_one(self, i: int):
        directory = self.data / f"server-{i + 1}"
        directory.mkdir(parents=True, exist_ok=True)
        if self.count > 1:
            (directory / "myid").write_text(f"{i + 1}\n")
        config = directory / "zoo.cfg"
        secure = {"secureClientPort": self.base_port + 30 + i} if self.stores else {}
        config.write_text(zoo_cfg(directory, i, self.count, self.base_port, {**self.settings, **secure}))
        with open(directory / "server.log", "ab") as log:
            # The log is the server's standard output and error; it reads nothing.
            self.processes[i] = subprocess.Popen(
                self.command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    def stop_one(self, i: int, how=signal.SIGTERM):
        process, self.processes[i] = self.processes[i], None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until_serving(self, seconds: float = 60):
        alive = lambda: all(p is None or p.poll() is None for p in self.processes)
        wait_until(lambda: all(mode(port) for port in self.ports), seconds, f"servers {self.connect}", alive)

    def start(self):
        for i in range(self.count):
            self.start_one(i)
        self.wait_until_serving()

    def stop(self):
        for i in range(self.count):
            self.stop_one(i)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


LOG4J = """
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p [%t:%c{1}] %m%n
"""


def java_server(config: pathlib.Path, jvm) -> list[str]:
    logging = config.with_name("log4j2.properties")
    logging.write_text(LOG4J)
    options = list(jvm) or ["-Xms512m", "-Xmx2g", "-XX:+UseG1GC"]
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    return [java(), *options, f"-Dlog4j2.configurationFile={logging}", "-cp", classpath(), main, str(config)]


def shell(server: str, command: list[str], **kwargs) -> subprocess.CompletedProcess:
    """One command of ZooKeeper's own shell. Its chatter goes to the standard error, results to the output."""
    main = "org.apache.zookeeper.ZooKeeperMain"
    options = ["-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR"]
    line = [java(), *options, "-cp", classpath(), main, "-server", server, *command]
    return subprocess.run(line, stdin=subprocess.DEVNULL, **kwargs)


def serve(args):
    stop = lambda *_: sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    data = args.data or tempfile.mkdtemp(prefix="zabra-java-")
    settings = dict(pair.split("=", 1) for pair in args.set)
    with Ensemble(args.servers, args.base_port, data, settings=settings, jvm=args.jvm) as ensemble:
        modes = [mode(port) for port in ensemble.ports]
        facts = {"connect": ensemble.connect, "pids": ensemble.pids, "modes": modes, "data": str(data)}
        print(json.dumps(facts), flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            pass
    if not args.data:
        shutil.rmtree(data, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="do", required=True)
    commands.add_parser("classpath", help="fetch the jars and print the class path")
    line = commands.add_parser("command", help="print the command line of a server")
    line.add_argument("config", type=pathlib.Path)
    cli = commands.add_parser("cli", help="one command of ZooKeeper's own shell")
    cli.add_argument("--server", default="127.0.0.1:2181")
    cli.add_argument("command", nargs=argparse.REMAINDER)
    run = commands.add_parser("serve", help="run servers until told to stop")
    run.add_argument("--servers", type=int, default=1, help="how many; 1 is standalone")
    run.add_argument("--base-port", type=int, default=31000)
    run.add_argument("--data", help="folder of the servers' folders; without it a temporary one")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a line of zoo.cfg")
    run.add_argument("--jvm", action="append", default=[], metavar="OPTION", help="an option of the JVM, as --jvm=-Xmx1g")
    args = parser.parse_args()
    try:
        if args.do == "classpath":
            print(classpath())
        elif args.do == "command":
            print(json.dumps(java_server(args.config, ["-Xmx256m", "-XX:+UseSerialGC"])))
        elif args.do == "cli":
            sys.exit(shell(args.server, args.command).returncode)
        else:
            serve(args)
    except Unavailable as reason:
        print(f"java.py: {reason}", file=sys.stderr)
        sys.exit(UNAVAILABLE)


if __name__ == "__main__":
    main()
