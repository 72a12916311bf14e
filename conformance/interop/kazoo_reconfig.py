#!/usr/bin/env python3
"""What kazoo's users do with the members of an ensemble: read and watch the list, and change it in every way that there is.

    kazoo_reconfig.py SERVERS MEMBERS JOINER LEADER DISABLED

SERVERS is the connect string of three members, MEMBERS their lines `server.N=…`, parted by commas, JOINER the line of a server that runs
and is no member, LEADER the id of who leads. DISABLED is a server without reconfigEnabled. `super:secret` has all rights. At the end the
members are those of the beginning. Exit code 0 and one line if all is as ZooKeeper does it; else a traceback.
"""

import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadArgumentsError,
    BadVersionError,
    ConnectionLoss,
    NewConfigNoQuorumError,
    NoAuthError,
    OperationTimeoutError,
    ReconfigDisabledError,
    ReconfigInProcessError,
    SessionExpiredError,
)
from kazoo.protocol.states import EventType

PATIENCE = 60
CONFIG = "/zookeeper/config"
SUPER = ("digest", "super:secret")
LOST = (ConnectionLoss, OperationTimeoutError, SessionExpiredError)
NOT_YET = (NewConfigNoQuorumError, ReconfigInProcessError)


def eventually(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)
    return value


def client(server, auth=()):
    zk = KazooClient(hosts=server, timeout=10, auth_data=list(auth))
    zk.start(PATIENCE)
    return zk


def sid(line):
    return line.split("=")[0].removeprefix("server.")


def split(data):
    """The lines of the members, and the version."""
    *lines, version = data.decode().split("\n")
    assert version.startswith("version="), data
    return lines, int(version.removeprefix("version="), 16)


def check(answer, members):
    """The answer of the ensemble is this list, and its Stat is that of the node; its version."""
    data, stat = answer
    lines, version = split(data)
    assert lines == sorted(members), (lines, members)
    assert stat.mzxid == version and stat.version == -1 and stat.dataLength == len(data), (stat, data)
    assert stat.czxid == 0 and stat.ctime == 0 and stat.cversion == 0 and stat.aversion == -1, stat
    assert stat.ephemeralOwner == 0 and stat.numChildren == 0 and stat.pzxid == 0, stat
    return version


def lines_of(zk):
    """The list that a client sees now; nothing while it looks for a server."""
    try:
        return split(zk.get(CONFIG)[0])[0]
    except LOST:
        return None


def shown_by(servers, members):
    for server in servers:
        zk = client(server)
        eventually(lambda: lines_of(zk) == sorted(members), f"{server} shows {members}")
        check(zk.get(CONFIG), members)
        zk.stop()
        zk.close()


def settle(zk, members, **change):
    """Changes the members although leaders come and go meanwhile: an answer may be lost, and who just came may not be ready."""

    def is_done():
        if lines_of(zk) == sorted(members):
            return True
        try:
            check(zk.reconfig(**{"joining": None, "leaving": None, "new_members": None, **change}), members)
        except (*LOST, *NOT_YET):
            return False
        return True

    eventually(is_done, f"{change} gives {members}")


def refused(error, zk, joining=None, leaving=None, new_members=None, from_config=-1):
    """The change is refused, and nothing is changed."""
    before = zk.get(CONFIG)
    try:
        answer = zk.reconfig(joining, leaving, new_members, from_config)
    except error:
        assert zk.get(CONFIG) == before
        return
    raise AssertionError(f"+{joining} -{leaving} ={new_members} was not refused with {error.__name__}: {answer}")


class Watch:
    """A client without rights that watches the list."""

    def __init__(self, server):
        self.zk = client(server)
        self.events = []
        self.version = split(self.zk.get(CONFIG, watch=self.events.append)[0])[1]

    def fires(self, answer):
        eventually(lambda: self.events, "the watch of the list fires")
        (event,) = self.events
        assert event.type == EventType.CHANGED and event.path == CONFIG, event
        self.events.clear()
        data, _ = self.zk.get(CONFIG, watch=self.events.append)
        assert data == answer[0], (data, answer)


def refusals(zk, server, members, joiner, version):
    refused(NoAuthError, client(server), joining=joiner)
    refused(NoAuthError, client(server, [("digest", "super:wrong")]), joining=joiner)
    refused(BadVersionError, zk, joining=joiner, from_config=version + 1)
    refused(BadVersionError, zk, new_members=",".join(members), from_config=version - 1)
    refused(BadArgumentsError, zk, joining="some thing")
    refused(BadArgumentsError, zk, joining="server.9=127.0.0.1:1:2")
    refused(BadArgumentsError, zk, new_members="some thing")
    refused(BadArgumentsError, zk, leaving=",".join(map(sid, members[1:])))
    away = [f"server.{n}=127.0.0.1:{n}:1{n};2{n}" for n in (7, 8, 9)]
    refused(NewConfigNoQuorumError, zk, new_members=",".join(away))
    refused(NewConfigNoQuorumError, zk, joining=",".join(away), leaving=sid(members[0]))


def changes(zk, servers, members, joiner, follower, watch):
    everybody = [*servers, joiner.split(";")[1]]
    version = watch.version
    answer = zk.reconfig(None, None, None)
    assert check(answer, members) > version
    watch.fires(answer)

    answer = zk.reconfig(joiner, None, None)
    joined = check(answer, [*members, joiner])
    watch.fires(answer)
    shown_by(everybody, [*members, joiner])
    assert time.time() - answer[1].mtime / 1000 < PATIENCE, answer
    refused(BadVersionError, zk, leaving=sid(joiner), from_config=version)

    answer = zk.reconfig(None, sid(joiner), None, from_config=joined)
    assert check(answer, members) > joined
    watch.fires(answer)

    # One comes for another: the answer is that of the server that goes, and its clients stay.
    at_follower = client(follower.split(";")[1], [SUPER])
    session = at_follower.client_id[0]
    others = [line for line in members if line != follower]
    answer = at_follower.reconfig(joiner, sid(follower), None)
    check(answer, [*others, joiner])
    watch.fires(answer)
    assert at_follower.exists("/zookeeper") and at_follower.client_id[0] == session

    # The whole list, which does not look at the one before.
    answer = zk.reconfig(None, None, ",".join(members))
    version = check(answer, members)
    watch.fires(answer)
    observer = joiner.replace(":participant", ":observer")
    answer = zk.reconfig(None, None, ",".join([observer, *members]), from_config=version)
    version = check(answer, [*members, observer])
    watch.fires(answer)
    shown_by(everybody, [*members, observer])
    answer = zk.reconfig(None, f"{sid(joiner)},77", None, from_config=version)
    check(answer, members)
    watch.fires(answer)
    shown_by(servers, members)


def main():
    servers, members, joiner, leader, disabled = sys.argv[1:]
    servers, members = servers.split(","), members.split(",")
    zk = client(",".join(servers), [SUPER])
    # The first list gets its version behind the first election.
    eventually(lambda: split(zk.get(CONFIG)[0])[1] != 0, "the list has a version")
    version = check(zk.get(CONFIG), members)
    follower = next(line for line in members if sid(line) != leader)
    refusals(zk, servers[0], members, joiner, version)
    changes(zk, servers, members, joiner, follower, Watch(servers[-1]))

    of_leader = next(line for line in members if sid(line) == leader)
    others = [line for line in members if line != of_leader]
    settle(zk, others, leaving=leader)
    eventually(lambda: zk.retry(zk.create, "/kazoo-", makepath=True, sequence=True), "a write without the leader")
    settle(zk, members, joining=of_leader)
    shown_by(servers, members)

    refused(ReconfigDisabledError, client(disabled, [SUPER]), joining=joiner)
    print("kazoo has changed the members in every way")


if __name__ == "__main__":
    main()
