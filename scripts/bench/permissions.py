"""The check of RODMENA `auth`, against its own server as it comes: SQLite, its audit on, waitress with ten threads."""

import contextlib
import secrets
import uuid

from cluster import Cluster, ask, expect
from load import Ask, bearer, ratio, rounds, wrk
from processes import end, start, until
from table import FOLDER, Table

CONNECTIONS = 10
ABOVE = 80


@contextlib.contextmanager
def original(bench):
    """The URL and the process of the server from PyPI."""
    port = bench.port + ABOVE
    url = f"http://127.0.0.1:{port}"
    process = start(
        [FOLDER / "venv" / "bin" / "waitress-serve", "--threads=10", f"--listen=127.0.0.1:{port}", "auth.main:app"],
        bench.work / "auth.log", bench.work, AUTH_SQLITE_PATH=str(bench.work / "auth.sqlite3"),
        AUTH_JWT_SECRET_KEY=secrets.token_hex(32), AUTH_AUDIT_PEPPER=secrets.token_hex(32))
    try:
        until("the server of auth", lambda: process.poll() is not None or ask(url, "GET", "/ping")[0] == 200)
        yield url, process.pid
    finally:
        end(process)


def allow(url, key):
    """Alice may deploy, in a new account."""
    # New accounts of 3.x want users with keys of their own; the client of its README has none.
    expect(200, url, "PUT", "/api/settings", key, {"strict_users": False})
    for path in ("role/deployer", "permission/deployer/deploy", "membership/alice/deployer"):
        expect(200, url, "POST", f"/api/{path}", key)


def has_permission(bench):
    table = Table("has_permission", f"the check of RODMENA auth, {CONNECTIONS} connections, audit on")
    key = str(uuid.uuid4())
    question = Ask("GET", "/api/has_permission/alice/deploy", lambda told: told["data"] == {"has_permission": True},
                   bearer(key))
    with Cluster(bench, bench.port) as cluster, original(bench) as (url, pid):
        nodes = {"three nodes, leader": cluster.leader(), "three nodes, follower": cluster.followers()[0]}
        for server in (url, cluster.leader().url):
            allow(server, key)
        systems = {"auth 3.7.1": lambda: wrk(url, question, CONNECTIONS, pids=[pid])}
        for label, node in nodes.items():
            systems[label] = lambda node=node: wrk(node.url, question, CONNECTIONS, pids=cluster.pids)
        seen = rounds(systems)
    table.add("auth 3.7.1", seen["auth 3.7.1"])
    for label in nodes:
        table.add(label, seen[label], ratio(seen[label], seen["auth 3.7.1"]), at_least=200)
    table.finish()
