#!/usr/bin/env python3
"""What kazoo's users do, through each server of an ensemble: every operation, watches, and kazoo's own recipes.

    kazoo_work.py HOST:PORT [HOST:PORT ...]

With ZABRA_TLS=DIR it speaks TLS, with the files that `zabra tls init DIR` has written.
Exit code 0 and one line per server if all is as ZooKeeper does it; else a traceback.
"""

import logging
import os
import sys
import threading
import time
import uuid

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.security import CREATOR_ALL_ACL, make_digest_acl

PATIENCE = 20


def eventually(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(f"{call} {args} was not refused with {error.__name__}")


def by_tls():
    files = os.environ.get("ZABRA_TLS")
    if files is None:
        return {}
    own = f"{files}/client.pem"
    return {"use_ssl": True, "ca": f"{files}/ca.pem", "certfile": own, "keyfile": own}


def client(server, **kwargs):
    kwargs.update(by_tls())
    zk = KazooClient(hosts=server, timeout=10, **kwargs)
    zk.start(PATIENCE)
    return zk


def operations(zk, root):
    stat = zk.exists(root)
    assert stat is None
    assert zk.create(root, b"0") == root
    refused(NodeExistsError, zk.create, root)
    data, stat = zk.get(root)
    assert data == b"0" and stat.version == 0 and stat.czxid == stat.mzxid and stat.dataLength == 1, stat
    assert abs(stat.ctime / 1000 - time.time()) < 60, stat
    after = zk.set(root, b"22", version=0)
    assert after.version == 1 and after.mzxid > stat.mzxid and after.czxid == stat.czxid, after
    refused(BadVersionError, zk.set, root, b"x", version=0)
    refused(NoNodeError, zk.get, root + "/none")
    refused(NoNodeError, zk.create, root + "/none/below")
    path, stat = zk.create(root + "/a", b"a", include_data=True)
    assert path == root + "/a" and stat.dataLength == 1
    zk.create(root + "/b/c/d", makepath=True)
    children, stat = zk.get_children(root, include_data=True)
    assert sorted(children) == ["a", "b"] and stat.numChildren == 2 and stat.cversion == 2, (children, stat)
    refused(NotEmptyError, zk.delete, root + "/b")
    refused(BadVersionError, zk.delete, root + "/a", version=7)
    zk.delete(root + "/a", version=0)
    zk.delete(root + "/b", recursive=True)
    assert zk.get_children(root) == []
    big = bytes(range(256)) * 2048
    zk.create(root + "/big", big)
    assert zk.get(root + "/big")[0] == big
    zk.create(root + "/\u00fcn\u00ef\u4e2d", b"")
    assert "\u00fcn\u00ef\u4e2d" in zk.get_children(root)
    assert zk.sync(root) == root


def sequences_and_ephemerals(zk, other, root):
    zk.create(root)
    paths = [zk.create(f"{root}/s-", sequence=True) for _ in range(5)]
    assert paths == [f"{root}/s-{i:010}" for i in range(5)], paths
    mine = zk.create(f"{root}/e-", ephemeral=True, sequence=True)
    assert mine.endswith("0000000005"), mine
    assert zk.get(mine)[1].ephemeralOwner == zk.client_id[0]
    visitor = client(other)
    kept = visitor.create(f"{root}/visitor", b"", ephemeral=True)
    zk.sync(root)
    assert zk.exists(kept).ephemeralOwner == visitor.client_id[0]
    gone = threading.Event()
    zk.get(kept, watch=lambda event: event.type == EventType.DELETED and gone.set())
    visitor.stop()
    visitor.close()
    assert gone.wait(PATIENCE), "an ephemeral node outlives its closed session"


def watches(zk, writer, root):
    zk.create(root)
    seen = []
    note = lambda event: seen.append((event.type, event.path))
    assert zk.exists(root + "/n", watch=note) is None
    zk.get_children(root, watch=note)
    writer.create(root + "/n", b"1")
    eventually(lambda: len(seen) == 2, f"two events of a create: {seen}")
    assert set(seen) == {(EventType.CREATED, root + "/n"), (EventType.CHILD, root)}, seen
    seen.clear()
    assert zk.get(root + "/n", watch=note)[0] == b"1"
    writer.set(root + "/n", b"2")
    writer.set(root + "/n", b"3")
    eventually(lambda: seen, "the event of a change")
    # After the event the change is visible, and a watch fires once.
    eventually(lambda: zk.get(root + "/n")[0] == b"3", "the last value")
    assert seen == [(EventType.CHANGED, root + "/n")], seen
    values, lists = [], []
    zk.DataWatch(root + "/n", lambda data, stat: values.append(data))
    zk.ChildrenWatch(root, lambda children: lists.append(sorted(children)))
    writer.set(root + "/n", b"4")
    eventually(lambda: values[-1] == b"4", f"DataWatch: {values}")
    writer.create(root + "/m")
    eventually(lambda: lists[-1] == ["m", "n"], f"ChildrenWatch: {lists}")
    writer.delete(root + "/n")
    eventually(lambda: values[-1] is None and lists[-1] == ["m"], f"deletion: {values} {lists}")


def multi(zk, root):
    zk.create(root)
    t = zk.transaction()
    t.create(root + "/a", b"1")
    t.create(root + "/s-", sequence=True)
    t.set_data(root + "/a", b"2")
    t.check(root + "/a", 1)
    t.delete(root + "/a", 1)
    results = t.commit()
    assert results[0] == root + "/a" and results[1] == root + "/s-0000000001", results
    assert results[2].version == 1 and results[3] is True and results[4] is True, results
    t = zk.transaction()
    t.create(root + "/b")
    t.check(root + "/none", 0)
    t.create(root + "/c")
    results = t.commit()
    kinds = [type(r) for r in results]
    assert kinds == [RolledBackError, NoNodeError, RuntimeInconsistency], results
    assert zk.exists(root + "/b") is None and zk.exists(root + "/c") is None


def access(server, zk, root):
    zk.add_auth("digest", "alice:secret")
    zk.create(root, b"hidden", acl=[make_digest_acl("alice", "secret", all=True)])
    stranger = client(server)
    from kazoo.exceptions import NoAuthError

    refused(NoAuthError, stranger.get, root)
    refused(NoAuthError, stranger.create, root + "/x")
    # The identity of this ACL is null on the wire.
    zk.create(root + "/own", b"", acl=CREATOR_ALL_ACL)
    acl, _ = zk.get_acls(root + "/own")
    # With TLS, the certificate of this client is in it, too.
    ids = [a.id.id for a in acl if a.id.scheme == "digest"]
    assert len(ids) == 1 and ids[0].startswith("alice:"), acl
    stranger.add_auth("digest", "alice:secret")
    eventually(lambda: stranger.get(root)[0] == b"hidden", "the owner reads")
    acl, _ = stranger.get_acls(root)
    assert acl[0].id.scheme == "digest" and acl[0].id.id.startswith("alice:"), acl
    stranger.stop()
    stranger.close()


def recipes(zk, other_zk, root):
    # Lock: four threads of two sessions count without losing one.
    total = [0]

    def count(each):
        for _ in range(5):
            with each.Lock(root + "/lock"):
                seen = total[0]
                time.sleep(0.001)
                total[0] = seen + 1

    threads = [threading.Thread(target=count, args=(each,)) for each in (zk, other_zk, zk, other_zk)]
    [t.start() for t in threads]
    [t.join(PATIENCE) for t in threads]
    assert total[0] == 20, f"the lock let two in: {total}"

    # Election: the second leads when the first resigns.
    led, resign = [], threading.Event()

    def lead(name):
        led.append(name)
        resign.wait(PATIENCE)

    first = threading.Thread(target=lambda: zk.Election(root + "/election", "one").run(lead, "one"))
    first.start()
    eventually(lambda: led == ["one"], "the first leads")
    second = threading.Thread(target=lambda: other_zk.Election(root + "/election", "two").run(lead, "two"))
    second.start()
    eventually(lambda: zk.Election(root + "/election").contenders() == ["one", "two"], "two contenders")
    resign.set()
    first.join(PATIENCE), second.join(PATIENCE)
    assert led == ["one", "two"], led

    # Queues.
    queue, locking = zk.Queue(root + "/queue"), other_zk.LockingQueue(root + "/locking")
    for i in range(5):
        queue.put(b"%d" % i)
        locking.put(b"%d" % i)
    theirs = other_zk.Queue(root + "/queue")
    other_zk.sync(root)
    assert [theirs.get() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    taken = []
    for _ in range(5):
        taken.append(locking.get(PATIENCE))
        assert locking.consume()
    assert taken == [b"0", b"1", b"2", b"3", b"4"], taken

    # Barriers.
    barrier = zk.Barrier(root + "/barrier")
    barrier.create()
    other_zk.sync(root)
    passed = threading.Thread(target=lambda: other_zk.Barrier(root + "/barrier").wait(PATIENCE))
    passed.start()
    barrier.remove()
    passed.join(PATIENCE)
    assert not passed.is_alive()
    inside = []

    def enter(each):
        double = each.DoubleBarrier(root + "/double", 2)
        double.enter()
        inside.append(1)
        double.leave()

    threads = [threading.Thread(target=enter, args=(each,)) for each in (zk, other_zk)]
    [t.start() for t in threads]
    [t.join(PATIENCE) for t in threads]
    assert len(inside) == 2, "the double barrier holds its two"

    # Counter, party, semaphore.
    def add(each):
        for _ in range(10):
            counter = each.Counter(root + "/counter")
            counter += 1

    threads = [threading.Thread(target=add, args=(each,)) for each in (zk, other_zk)]
    [t.start() for t in threads]
    [t.join(PATIENCE) for t in threads]
    zk.sync(root + "/counter")
    assert zk.Counter(root + "/counter").value == 20, zk.Counter(root + "/counter").value
    one, two = zk.Party(root + "/party", "one"), other_zk.Party(root + "/party", "two")
    one.join(), two.join()
    zk.sync(root)
    assert sorted(one) == ["one", "two"]
    one.leave(), two.leave()
    with zk.Semaphore(root + "/semaphore", max_leases=1):
        assert not other_zk.Semaphore(root + "/semaphore", max_leases=1).acquire(blocking=False)


def seen_elsewhere(zk, clients, root):
    zk.create(root, b"here")
    for each in clients:
        each.sync(root)
        assert each.get(root)[0] == b"here", "a synced read misses an acknowledged write"


def main(servers):
    logging.basicConfig(level=logging.ERROR)
    clients = [client(server) for server in servers]
    for i, server in enumerate(servers):
        began = time.monotonic()
        zk, other = clients[i], (i + 1) % len(servers)
        root = f"/work-{uuid.uuid4().hex[:8]}"
        zk.create(root)
        clients[other].sync(root)
        seen_elsewhere(zk, clients, root + "/seen")
        operations(zk, root + "/operations")
        sequences_and_ephemerals(zk, servers[other], root + "/sequences")
        watches(zk, clients[other], root + "/watches")
        multi(zk, root + "/multi")
        access(server, zk, root + "/access")
        recipes(zk, clients[other], root)
        print(f"{server}: all as expected in {time.monotonic() - began:.1f} s", flush=True)
    for each in clients:
        each.stop()
        each.close()


if __name__ == "__main__":
    main(sys.argv[1:])
