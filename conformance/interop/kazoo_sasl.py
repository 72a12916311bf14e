#!/usr/bin/env python3
"""Clients that authenticate by SASL (DIGEST-MD5), as kazoo does it.

    kazoo_sasl.py HOST:PORT USER PASSWORD SUPER PASSWORD

Exit code 0 and one line if each gets what it may have; else a traceback.
"""

import logging
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionClosedError, NoAuthError
from kazoo.protocol.states import KazooState
from kazoo.security import ACL, Id, Permissions

PATIENCE = 20


def client(server, user=None, password=None):
    options = {}
    if user:
        options = {"mechanism": "DIGEST-MD5", "username": user, "password": password}
    return KazooClient(hosts=server, timeout=10, sasl_options=options or None)


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(f"{call} {args} was not refused with {error.__name__}")


def main():
    logging.basicConfig(level=logging.CRITICAL)
    server, user, password, root, root_password = sys.argv[1:]
    acl = [ACL(Permissions.ALL, Id("sasl", user))]

    zk = client(server, user, password)
    zk.start(PATIENCE)
    zk.create("/of-sasl", b"secret", acl=acl)
    zk.create("/of-auth", b"secret", acl=[ACL(Permissions.ALL, Id("auth", ""))])
    assert zk.get_acls("/of-auth")[0] == acl, zk.get_acls("/of-auth")
    assert zk.get("/of-sasl")[0] == b"secret"

    nobody = client(server)
    nobody.start(PATIENCE)
    refused(NoAuthError, nobody.get, "/of-sasl")
    refused(NoAuthError, nobody.get, "/of-auth")
    nobody.stop()

    wrong = client(server, user, password + "x")
    # kazoo starts before it authenticates, and tells the end of it by a state.
    states = []
    wrong.add_listener(states.append)
    wrong.start_async()
    deadline = time.monotonic() + PATIENCE
    while states[-1:] != [KazooState.LOST]:
        assert time.monotonic() < deadline, states
        time.sleep(0.02)
    refused(ConnectionClosedError, wrong.get, "/")
    wrong.stop()

    great = client(server, root, root_password)
    great.start(PATIENCE)
    great.delete("/of-sasl")
    great.delete("/of-auth")
    great.stop()
    zk.stop()
    print(f"{server}: SASL users come in, and nobody else")


main()
