#!/usr/bin/env python3
"""What programs that watch ZooKeeper read of servers: collectors of metrics, consoles, probes of images, and kazoo.

    consumers.py MODE,MODE,... HOST:PORT [HOST:PORT ...]

MODE is as what each server serves. Each function takes answers of servers as its program does, by the same patterns and types, and refuses what
that program would log, skip or fail at. kazoo is the real one. Exit code 0 and the last line "read by N programs", else each complaint and 1.
"""

import re
import shutil
import socket
import subprocess
import sys
from datetime import datetime

from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE

PATIENCE = 20
# Of ZooKeeper's mntr, what is no number.
TEXTS = {"version", "server_state", "peer_state"}
# What boards and alerts are made of. Those of a leader stand behind.
CHARTED = """avg_latency min_latency max_latency packets_received packets_sent num_alive_connections outstanding_requests znode_count
watch_count ephemerals_count approximate_data_size open_file_descriptor_count max_file_descriptor_count uptime global_sessions""".split()
OF_LEADERS = "learners synced_followers synced_observers pending_syncs last_proposal_size leader_uptime".split()


def ask(server, word, end="\n", is_half_closed=False):
    """As the programs do: a word with or without an end of line, and some close their half behind it."""
    host, port = server.rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as stream:
        stream.sendall((word + end).encode())
        if is_half_closed:
            stream.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := stream.recv(4096):
            answer += chunk
    return answer.decode()


def number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None


def telegraf(server, mode):
    """The input for ZooKeeper: one line without the pattern, and nothing of the answer counts."""
    fields = {}
    for line in ask(server, "mntr").splitlines():
        found = re.match(r"zk_(\w[\w.\-]*)\s+([\w.\-]+)", line)
        assert found, f"unexpected line in mntr response: {line!r}"
        name, value = found.groups()
        assert name not in fields, f"{name} twice"
        fields[name] = value
    assert fields["server_state"] == mode, fields["server_state"]
    texts = {name for name, value in fields.items() if number(value) is None}
    assert texts <= TEXTS, f"text where a number is expected: {texts - TEXTS}"
    absent = [name for name in CHARTED + OF_LEADERS * (mode == "leader") if name not in fields]
    assert not absent, f"not there: {absent}"
    # Where a namespace has limits, its name stands in front.
    assert any(name.startswith("app-1.2_quota") for name in fields), "nothing of the quota"


def telegraf_by_tabs(server, mode):
    """Later releases split at the first tab, and log what has none."""
    for line in ask(server, "mntr").splitlines():
        name, tab, value = line.partition("\t")
        assert tab and name.startswith("zk_") and value.strip() == value != "", f"skipping {line!r}"


def datadog(server, mode):
    """The agent's check: `stat` line by line in a fixed order, then `mntr`, whose values are numbers or skipped."""
    assert ask(server, "ruok").split("\n")[0] == "imok"
    lines = iter(ask(server, "stat").split("\n"))
    version = re.search(r"\w+ version: v?([^,]+)", next(lines))
    parts = tuple(int(part) for part in version.group(1).split("-")[0].split("."))
    assert parts > (3, 4, 4), parts
    assert next(lines) == "Clients:"
    clients = 0
    while next(lines).strip():
        clients += 1
    assert clients > 0, "the connection that asks is one"
    order = ["Latency min/avg/max", "Received", "Sent", "Connections", "Outstanding", "Zxid", "Mode", "Node count"]
    values = {}
    for wanted in order:
        name, value = next(lines).split(":")
        assert name == wanted, f"{name} where {wanted} is expected"
        values[name] = value.strip()
    least, mean, most = (float(value) for value in values["Latency min/avg/max"].split("/"))
    assert least <= mean <= most, values
    for name in ["Received", "Sent", "Connections", "Outstanding", "Node count"]:
        int(values[name])
    assert int(values["Zxid"], 16) > 0
    assert values["Mode"].lower() == mode, values["Mode"]
    told = None
    for line in ask(server, "mntr").split("\n")[1:-1]:
        words = line.split()
        if len(words) != 2:
            # The agent passes over it, of ZooKeeper's servers, too.
            assert words[0] == "zk_peer_state", f"unexpected 'mntr' output {line!r}"
        elif words[0] == "zk_server_state":
            told = words[1].lower()
        else:
            int(float(words[1]))
    assert told == mode, told


def zktop(server, mode):
    """The console: the version before a hyphen, sessions up to an empty line, then one colon a line."""
    head, _, rest = ask(server, "stat", is_half_closed=True).partition("Clients:\n")
    assert re.search(r".*: (\d+\.\d+\.\d+)-.*", head), head
    sessions, _, rest = rest.partition("\n\n")
    for line in sessions.split("\n"):
        found = re.search(r"/([\da-fA-F:.]+):(\d+)\[(\d+)\]\((.*)\)", line.strip())
        fields = dict(pair.split("=") for pair in found.group(4).split(","))
        assert all(int(fields[name]) >= 0 for name in ("queued", "recved", "sent")), line
    of = {}
    for line in rest.splitlines():
        name, value = line.split(":")
        of[name.strip().replace(" ", "_").replace("/", "_").lower()] = value.strip()
    assert len(of["latency_min_avg_max"].split("/")) == 3
    assert of["mode"] == mode and int(of["node_count"]) > 4 and int(of["zxid"], 16) > 0, of
    assert {"outstanding", "received", "sent", "connections"} <= set(of), of


def sessions(server, mode):
    """What the panes of sessions of such consoles read of `cons`: whole lines, and pairs with an equals sign."""
    seen = 0
    for line in ask(server, "cons").splitlines():
        if not line:
            continue
        found = re.fullmatch(r" /([\d.]+|\[[\da-fA-F:]+\]):(\d+)\[(\d)\]\((.*)\)", line)
        assert found, line
        fields = dict(pair.split("=") for pair in found.group(4).split(","))
        assert {"queued", "recved", "sent"} <= set(fields), line
        if "sid" in fields:
            seen += 1
            assert re.fullmatch(r"0x[0-9a-f]+", fields["sid"]) and re.fullmatch(r"\w+", fields["lop"]), line
            assert all(int(fields[name]) >= 0 for name in "est to lresp llat minlat avglat maxlat".split()), line
            int(fields["lzxid"], 16)
    assert seen > 0, "kazoo's own session"


def metricbeat(server, mode):
    """The module for ZooKeeper, `srvr`: a day as ZooKeeper's servers wrote it up to 3.7, and pairs."""
    text = ask(server, "srvr")
    first = text.split("\n")[0]
    assert re.search(r":\s(.*),", first), first
    day = re.search(r"built on (.*)", first).group(1)
    assert datetime.strptime(day, "%m/%d/%Y %I:%M GMT").year > 2020, day
    named = dict(re.findall(r"^([a-zA-Z\s]+):\s(\d+)", text, re.MULTILINE))
    assert {"Received", "Sent", "Connections", "Outstanding", "Node count"} <= set(named), named
    assert re.search(rf"^Mode: {mode}$", text, re.MULTILINE), text
    assert re.search(r"^Zxid: 0x[0-9a-f]+$", text, re.MULTILINE), text
    assert ("Proposal sizes last/min/max: " in text) == (mode == "leader"), text


def exporter(server, mode):
    """Exporters for Prometheus that ask `mntr`: without an end of line, and each line has a second word."""
    metrics = {}
    for line in ask(server, "mntr", end="").split("\n"):
        if line:
            words = line.replace("\t", " ").split(" ")
            assert len(words) > 1, line
            metrics[words[0]] = words[1]
    assert metrics["zk_server_state"] == mode
    odd = [name for name in metrics if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name) and "_quota_" not in name]
    assert not odd, f"no names of metrics: {odd}"


def nagios(server, mode):
    """The check of ZooKeeper's own contributions: one tab a line."""
    for line in ask(server, "mntr").splitlines():
        name, value = line.split("\t")
        assert name and value, line


def probes(server, mode):
    """Liveness and readiness of images and operators, with the programs that they call: nc with and without a time to wait, and grep."""
    for half in (False, True):
        assert ask(server, "ruok", is_half_closed=half) == "imok" and ask(server, "isro", is_half_closed=half) == "rw"
    if shutil.which("nc") is None:
        return
    host, port = server.rsplit(":", 1)
    of_images = [
        f'test "$(echo ruok | nc {host} {port})" = imok',
        f'test "$(echo ruok | timeout 2 nc -w 2 {host} {port})" = imok',
        f"echo ruok | timeout 5 nc -w 5 {host} {port} | grep imok",
        f"printf ruok | timeout 5 nc -w 5 {host} {port} | grep -q imok",
        f"echo stat | nc {host} {port} | grep -Eq '^Mode: (leader|follower|observer|standalone)$'",
        f"echo srvr | timeout 10 nc -w 2 {host} {port} | grep Zookeeper",
        f"echo mntr | nc {host} {port} | grep zk_server_state | grep -q '{mode}$'",
        f"nc -z {host} {port}",
        f'test "$(echo isro | nc {host} {port})" = rw',
    ]
    for line in of_images:
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{line}: {done.returncode}"


def kazoo(server, mode):
    """The client's own methods."""
    client = KazooClient(hosts=server, timeout=10)
    client.start(PATIENCE)
    assert client.server_version()[:2] == (3, 9), client.server_version()
    assert client.command(b"ruok") == "imok"
    assert f"Mode: {mode}\n" in client.command(b"srvr")
    # It reads once: what does not come in one piece is cut off.
    assert client.command(b"stat").count("\n") >= 10
    client.stop()
    client.close()


def solr(servers, modes, config):
    """The page of Solr's administrators: one state for all. It is green, and nothing is told to be wrong."""
    states, told = [], 0
    for server in servers:
        assert ask(server, "ruok").splitlines()[0] == "imok"
        of = {}
        for line in ask(server, "mntr").splitlines():
            parts = line.split("\t")
            assert len(parts) >= 2 and parts[1], f"Unexpected line in 'mntr' response: {line!r}"
            of[parts[0]] = parts[1]
        for line in ask(server, "conf").splitlines():
            name, _, value = line.partition("=")
            assert value or line.startswith("membership:"), f"Unexpected line in 'conf' response: {line!r}"
            of[name] = value
        states.append(of["zk_server_state"])
        if states[-1] == "leader":
            told = int(float(of.get("zk_synced_followers", "0")))
        wanted = {"clientPort", "dataDir", "dataLogDir", "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "serverId"}
        assert wanted <= set(of), wanted - set(of)
    assert states == modes, states
    followers = sum(state in ("follower", "observer") for state in states)
    if len(servers) > 1:
        assert states.count("leader") == 1 and "standalone" not in states
        assert followers == told, f"Leader reports {told} followers, but we only found {followers}"
    members = [line for line in config.splitlines() if line.startswith("server.")]
    shape = r"server\.(\d+)\s*=\s*([^:]+):(\d+):(\d+)(:(participant|observer))?(;(([^:]+):)?(\d+))?"
    assert all(re.fullmatch(shape, line) for line in members), members
    assert len(members) == (len(servers) if len(servers) > 1 else 0), config


EACH = [telegraf, telegraf_by_tabs, datadog, zktop, sessions, metricbeat, exporter, nagios, probes, kazoo]


def main():
    modes, servers = sys.argv[1].split(","), sys.argv[2:]
    held = [KazooClient(hosts=server, timeout=10) for server in servers]
    for client in held:
        client.start(PATIENCE)
        client.get_children("/")
    first = held[0]
    if not first.exists("/app-1.2"):
        first.create("/app-1.2", b"x", acl=OPEN_ACL_UNSAFE)
        for name in ("limits", "stats"):
            first.create(f"/zookeeper/quota/app-1.2/zookeeper_{name}", b"count=9,bytes=-1", makepath=True)
    complaints = []
    for client, server, mode in zip(held, servers, modes, strict=True):
        client.sync("/")
        client.get("/app-1.2")
        for program in EACH:
            try:
                program(server, mode)
            except Exception as error:  # Whatever it is, the program would not have read the answer.
                complaints.append(f"{program.__name__} of {server}, {mode}: {type(error).__name__}: {error}")
    config = first.get("/zookeeper/config")[0].decode()
    try:
        solr(servers, modes, config)
    except Exception as error:
        complaints.append(f"solr: {type(error).__name__}: {error}")
    for client in held:
        client.stop()
    print("\n".join(complaints) or f"read by {len(EACH) + 1} programs")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
