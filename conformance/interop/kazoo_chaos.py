#!/usr/bin/env python3
"""Writes without a pause through every server of an ensemble while somebody else kills servers, and then checks.

    kazoo_chaos.py [--mixed] HOST:PORT HOST:PORT HOST:PORT

With --mixed some servers are ZooKeeper's, which make /zookeeper/config themselves, each when it starts: its mtime is not compared.
Commands come as lines of JSON on the standard input; each is answered with one line:

    {"do": "progress"}          {"acked": {SERVER: writes acknowledged so far}}
    {"do": "ghost"}             a client in a process of its own makes ephemeral nodes and is killed with SIGKILL
    {"do": "finish"}            stops writing, verifies, and answers {"facts": {...}} or {"error": "what is wrong"}

Each write is sent once and never again by itself: after a lost connection its outcome is unknown, which is recorded, and the
verification accepts both outcomes for it. What it does not accept:

- an acknowledged write that is not there, or is there with other data;
- a node whose deletion was acknowledged, or of several that were deleted together some and not the others;
- a sequential number that two acknowledged creations were given;
- an ephemeral node of a session that ended, once its timeout is over; a missing one of a session that lives;
- half a multi;
- a node, byte or Stat field in which two servers differ after a sync.

The verification asks every server for every node, one request behind the other. So writers delete what is old: there are no more
nodes in the end when servers take long to start, or answer many writes meanwhile.
"""

import collections
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    NodeExistsError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

SESSION_SECONDS = 6.0
GHOST_SECONDS = 3.0
PATIENCE = 40.0
# Writes of one writer that are under way at the same time.
WINDOW = 8
# Sequential nodes that one writer leaves where they are. When there are more it deletes the oldest, so many sequential ones and
# so many pairs together: it makes no more than it deletes.
KEPT = 300
OLD_SEQUENTIAL, OLD_PAIRS = 8, 2
# The place of mtime in a Stat.
MTIME = 3
LOST = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError, KazooTimeoutError)


def client(server, seconds=SESSION_SECONDS):
    retry = KazooRetry(max_tries=-1, delay=0.05, backoff=1.5, max_delay=0.5)
    # command_retry without tries: kazoo must not send a write twice.
    zk = KazooClient(hosts=server, timeout=seconds, connection_retry=retry, command_retry=KazooRetry(max_tries=0))
    zk.start(PATIENCE)
    return zk


def eventually(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
    return value


def persistently(call, *args, **kwargs):
    """Repeats what may be repeated until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call(*args, **kwargs)
        except LOST:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Writer(threading.Thread):
    """One session at one server, and the record of what it was told."""

    def __init__(self, number, server):
        super().__init__(daemon=True)
        self.number, self.server = number, server
        self.zk = client(server)
        self.root = f"/chaos/w{number}"
        self.stopping = threading.Event()
        self.failure = None
        self.acked = 0
        self.unknown = 0
        self.count = 0
        # Sequential creations: path by token, and the tokens whose fate is unknown.
        self.sequential, self.sequential_unknown = {}, set()
        # Of these, what has not been deleted, the oldest first.
        self.kept = collections.deque()
        self.created, self.created_unknown = {}, set()
        self.deleted, self.deleted_unknown = set(), set()
        self.pairs, self.pairs_unknown = {}, set()
        # Paths that were deleted together, and lists of paths of which all are there or none.
        self.swept, self.swept_unknown = set(), []
        # One register, set to growing values.
        self.register_acked, self.register_unknown, self.register_sets = 0, set(), 0
        # Ephemeral nodes by the session that made them.
        self.ephemerals = collections.defaultdict(set)

    def prepare(self):
        self.zk.ensure_path(self.root)
        self.zk.create(self.root + "/register", b"0")

    @property
    def session(self):
        """The id of the session; None while there is none."""
        client_id = self.zk.client_id
        return client_id and client_id[0]

    def next_write(self):
        """Sends one write; returns the pending result with what to note when it is known."""
        self.count += 1
        n, zk = self.count, self.zk
        token = b"%d.%d" % (self.number, n)
        kind = n % 6
        if kind in (0, 3):
            pending = zk.create_async("/chaos/seq/n-", token, sequence=True)

            def named(path):
                self.sequential[token] = path
                self.kept.append(path)

            return pending, named, lambda: self.sequential_unknown.add(token)
        if kind == 1:
            path = f"{self.root}/n{n}"
            pending = zk.create_async(path, token)
            return pending, lambda _: self.created.__setitem__(path, token), lambda: self.created_unknown.add(path)
        if kind == 2:
            pending = zk.set_async(self.root + "/register", b"%d" % n)

            def noted(_):
                self.register_acked = n
                self.register_sets += 1

            return pending, noted, lambda: self.register_unknown.add(n)
        if kind == 4 and n % 12 == 4:
            t = zk.transaction()
            t.create(f"{self.root}/p{n}-a", token)
            t.create(f"{self.root}/p{n}-b", token)

            def both(results):
                assert all(isinstance(r, str) for r in results), f"a multi was refused: {results}"
                self.pairs[n] = results

            return t.commit_async(), both, lambda: self.pairs_unknown.add(n)
        if kind == 4 and n % 60 == 10:
            session, path = self.session, f"{self.root}/e{n}"
            pending = zk.create_async(path, b"", ephemeral=True)
            return pending, lambda _: self.ephemerals[session].add(path), lambda: None
        if kind == 4 and len(self.kept) > KEPT:
            return self.sweep()
        candidates = [path for path in list(self.created)[:1] if len(self.created) > 20]
        if not candidates:
            return self.next_write()
        path = candidates[0]
        del self.created[path]
        pending = zk.delete_async(path)
        return pending, lambda _: self.deleted.add(path), lambda: self.deleted_unknown.add(path)

    def sweep(self):
        """Deletes the oldest nodes in one transaction."""
        paths = [self.kept.popleft() for _ in range(OLD_SEQUENTIAL)]
        for n in list(self.pairs)[:OLD_PAIRS]:
            paths += self.pairs.pop(n)
        t = self.zk.transaction()
        for path in paths:
            t.delete(path)

        def gone(results):
            assert all(r is True for r in results), f"what was acknowledged cannot be deleted: {paths}: {results}"
            self.swept.update(paths)

        return t.commit_async(), gone, lambda: self.swept_unknown.append(paths)

    def run(self):
        try:
            while not self.stopping.is_set():
                if not self.zk.connected:
                    time.sleep(0.02)
                    continue
                batch = [self.next_write() for _ in range(WINDOW)]
                for pending, ack, unknown in batch:
                    try:
                        result = pending.get(PATIENCE)
                    except LOST:
                        self.unknown += 1
                        unknown()
                    else:
                        ack(result)
                        self.acked += 1
        except Exception as e:  # noqa: BLE001 - whatever it is, the verification must say it
            self.failure = f"{self.server}: {type(e).__name__}: {e}"


def walk(zk, path="/"):
    """Every node below `path`: data and Stat."""
    data, stat = persistently(zk.get, path)
    nodes = {path: (data, tuple(stat))}
    for child in persistently(zk.get_children, path):
        nodes.update(walk(zk, path.rstrip("/") + "/" + child))
    return nodes


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Chaos:
    def __init__(self, servers, mixed):
        self.servers, self.mixed = servers, mixed
        self.writers = [Writer(i, server) for i, server in enumerate(servers)]
        first = self.writers[0].zk
        first.ensure_path("/chaos/seq")
        first.ensure_path("/chaos/ghosts")
        for writer in self.writers:
            writer.zk.sync("/chaos")
            writer.prepare()
        for writer in self.writers:
            writer.start()
        self.ghosts = []

    def progress(self):
        self.is_sound()
        return {"acked": {w.server: w.acked for w in self.writers}}

    def is_sound(self):
        for writer in self.writers:
            check(writer.failure is None, writer.failure)

    def ghost(self):
        server = self.servers[len(self.ghosts) % len(self.servers)]
        line = [sys.executable, __file__, "--ghost", server, str(len(self.ghosts))]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            said = process.stdout.readline()
            process.kill()
        check(said, f"the client at {server} has made no ephemeral node")
        self.ghosts.append(json.loads(said))
        return {"made": self.ghosts[-1]}

    def finish(self):
        for writer in self.writers:
            writer.stopping.set()
        stuck = []
        for writer in self.writers:
            writer.join(PATIENCE)
            if writer.is_alive():
                # Servers that have lost what this client has seen do not let it in again; what is lost says more than that.
                stuck.append(writer.server)
                writer.zk.stop()
                writer.join(PATIENCE)
        self.is_sound()
        readers = [client(server) for server in self.servers]
        for reader in readers:
            persistently(reader.sync, "/")
        self.dead_sessions_leave(readers)
        for reader in readers:
            persistently(reader.sync, "/")
        trees = [walk(reader) for reader in readers]
        if self.mixed:
            for tree in trees:
                data, stat = tree["/zookeeper/config"]
                tree["/zookeeper/config"] = (data, (*stat[:MTIME], 0, *stat[MTIME + 1 :]))
        self.same(trees)
        facts = self.nothing_lost(trees[0])
        check(not stuck, f"{stuck}: a write is not answered at all")
        for zk in [*readers, *(writer.zk for writer in self.writers)]:
            zk.stop()
            zk.close()
        return {"facts": facts}

    def dead_sessions_leave(self, readers):
        alive = {w.session for w in self.writers}
        dead = [path for ghost in self.ghosts for path in ghost["paths"]]
        for writer in self.writers:
            dead += [p for session, paths in writer.ephemerals.items() if session not in alive for p in paths]
        for reader in readers:
            # The node itself says whose it is: what is asked for while there is no connection goes out in whatever session comes next.
            stays = lambda path: (stat := persistently(reader.exists, path)) and stat.ephemeralOwner not in alive
            left = lambda: [path for path in dead if stays(path)]
            try:
                eventually(lambda: not left(), "", 2 * SESSION_SECONDS + 4)
            except AssertionError:
                raise AssertionError(f"{reader.hosts}: ephemeral nodes of dead sessions stay: {left()[:5]}") from None

    def same(self, trees):
        for server, tree in zip(self.servers[1:], trees[1:]):
            for path in sorted(trees[0].keys() | tree.keys()):
                here, there = trees[0].get(path), tree.get(path)
                check(here == there, f"{path}: {self.servers[0]} has {here}, {server} has {there}")

    def nothing_lost(self, tree):
        tokens = collections.Counter(data for path, (data, _) in tree.items() if path.startswith("/chaos/seq/"))
        twice = [token for token, n in tokens.items() if n > 1]
        check(not twice, f"a write that was sent once is there twice: {twice[:5]}")
        paths = collections.Counter(path for w in self.writers for path in w.sequential.values())
        reused = [path for path, n in paths.items() if n > 1]
        check(not reused, f"sequential names given twice: {reused[:5]}")
        unknown = set().union(*(w.sequential_unknown for w in self.writers))
        known = set().union(*(w.sequential for w in self.writers))
        strange = tokens.keys() - unknown - known
        check(not strange, f"nodes nobody wrote: {list(strange)[:5]}")
        for w in self.writers:
            stay = [path for path in w.swept if path in tree]
            check(not stay, f"{w.server}: the deletion of {stay[:5]} was acknowledged and is lost")
            for group in w.swept_unknown:
                left = [path for path in group if path in tree]
                check(left in ([], group), f"{w.server}: of {group}, which were deleted together, {left} are there")
            deleted = w.swept.union(*w.swept_unknown)
            for token, path in w.sequential.items():
                if path in deleted:
                    continue
                check(path in tree, f"{w.server}: {path} was acknowledged and is lost")
                check(tree[path][0] == token, f"{path}: {tree[path][0]} instead of {token}: its number was used again")
            for path, token in w.created.items():
                check(path in tree and tree[path][0] == token, f"{w.server}: {path} was acknowledged and is lost")
            for path in w.deleted:
                check(path not in tree, f"{w.server}: the deletion of {path} was acknowledged and is lost")
            for n in w.pairs:
                check(f"{w.root}/p{n}-a" in tree and f"{w.root}/p{n}-b" in tree, f"{w.server}: multi {n} is lost")
            for n in w.pairs_unknown:
                check((f"{w.root}/p{n}-a" in tree) == (f"{w.root}/p{n}-b" in tree), f"{w.server}: half of multi {n}")
            self.register(w, tree[w.root + "/register"])
            for path in w.ephemerals.get(w.session, ()):
                check(path in tree, f"{w.server}: {path} is gone, though its session lives")
        return {
            "acked": sum(w.acked for w in self.writers),
            "unknown": sum(w.unknown for w in self.writers),
            "sequential": len(paths),
            "nodes": len(tree),
            "sessions": sum(len(w.ephemerals) for w in self.writers),
            "ghosts": len(self.ghosts),
        }

    def register(self, w, node):
        value, version = int(node[0]), node[1][4]
        possible = {w.register_acked} | {n for n in w.register_unknown if n > w.register_acked}
        check(value in possible, f"{w.server}: the register holds {value}, acknowledged was {w.register_acked}")
        most = w.register_sets + len(w.register_unknown)
        check(
            w.register_sets <= version <= most,
            f"{w.server}: {version} changes of the register, but {w.register_sets} were acknowledged, {most} sent",
        )


def ghost(server, number):
    """Makes ephemeral nodes, says so, and waits to be killed."""
    zk = client(server, GHOST_SECONDS)
    paths = [f"/chaos/ghosts/g{number}-{i}" for i in range(3)]
    for path in paths:
        try:
            persistently(zk.create, path, b"", ephemeral=True)
        except NodeExistsError:
            pass
    print(json.dumps({"server": server, "paths": paths}), flush=True)
    signal.pause()


def main(servers, mixed):
    logging.basicConfig(level=logging.CRITICAL)
    chaos = None
    for line in sys.stdin:
        what = json.loads(line)["do"]
        try:
            chaos = chaos or Chaos(servers, mixed)
            answer = {"progress": chaos.progress, "ghost": chaos.ghost, "finish": chaos.finish}[what]()
        except AssertionError as e:
            answer = {"error": str(e)}
        except Exception:  # noqa: BLE001 - the test that asked shows it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
    # Threads of kazoo may still try to reconnect.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ghost"]:
        ghost(*sys.argv[2:])
    else:
        mixed = sys.argv[1:2] == ["--mixed"]
        main(sys.argv[1 + mixed :], mixed)
