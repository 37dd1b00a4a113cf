"""A token that was revoked on one node is refused on the next request by every node; and how soon followers have
applied the revocation."""

import http.client
import json
import os
import time
from urllib.parse import urlsplit

import seed
from cluster import CHEAP, Cluster
from load import Saw
from processes import Failed
from table import Table

COUNT = int(os.environ.get("COUNT", "300"))


class Caller:
    """A connection that stays open to each node."""

    def __init__(self, nodes):
        self.connections = [http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=10) for node in nodes]

    def ask(self, at, method, path, body=None, **headers):
        sent = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        self.connections[at].request(method, path, None if body is None else json.dumps(body), sent)
        reply = self.connections[at].getresponse()
        return reply.status, reply.read(), int(reply.headers.get("conclave-revision", 0))

    def expect(self, status, at, *request, **headers):
        got = self.ask(at, *request, **headers)
        if got[0] != status:
            raise Failed(f"node {at + 1}: {request[:2]} answered {got}, not {status}")
        return got


def at(values, share):
    """That percentile, by the nearest rank above."""
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def one(caller, account, key, number):
    """Opens a session, sees its token taken by all nodes, and revokes it on one; when, and at which revision."""
    told = caller.expect(200, number % 3, "POST", f"{account.base}/service-accounts/sign-in", {"api_key": key})[1]
    token = json.loads(told)["access_token"]
    for node in range(3):
        caller.expect(200, node, "GET", account.check, authorization=f"Bearer {token}")
    begun = time.perf_counter()
    revision = caller.expect(200, number % 3, "POST", f"{account.base}/tokens/revoke", {"token": token})[2]
    return token, time.perf_counter() - begun, revision


def applied(caller, account, watcher, revision):
    """Seconds from now until each node answers a bounded read at that revision, the last of them."""
    begun, left, took = time.perf_counter(), {0, 1, 2}, 0
    while left:
        for node in sorted(left):
            seen = caller.expect(200, node, "GET", account.check, authorization=watcher,
                                 conclave_consistency="bounded")[2]
            if seen >= revision:
                left.discard(node)
                took = time.perf_counter() - begun
        if time.perf_counter() - begun > 5:
            raise Failed(f"nodes {sorted(node + 1 for node in left)} do not apply revision {revision}")
    return took


def revocation(bench):
    table = Table("revocation", f"{COUNT} revocations, each node in turn; then all nodes are asked at once")
    with Cluster(bench, bench.port, **CHEAP) as cluster:
        url = cluster.leader().url
        account = seed.account(url)
        body = {"name": "program", "roles": ["deployer"]}
        key = seed.expect(201, url, "POST", f"{account.base}/service-accounts", account.root, body)["api_key"]
        caller, watcher = Caller(cluster.nodes), f"Bearer {account.dev}"
        acknowledged, refused, later = [], 0, []
        for number in range(COUNT):
            token, took, _ = one(caller, account, key, number)
            acknowledged.append(took)
            # Each node is the first to be asked as often as the others.
            for step in range(3):
                node = (number // 3 + step) % 3
                status = caller.ask(node, "GET", account.check, authorization=f"Bearer {token}")[0]
                if status != 401:
                    raise Failed(f"node {node + 1} answered {status} to a token that node {number % 3 + 1} revoked")
                refused += 1
        for number in range(COUNT):
            _, _, revision = one(caller, account, key, number)
            later.append(applied(caller, account, watcher, revision))
    table.add("revocation acknowledged", [Saw(None, 1000 * at(acknowledged, 0.5), 1000 * at(acknowledged, 0.99))])
    table.add("requests with a revoked token that were refused", ratio=refused / (3 * COUNT), at_least=1)
    table.add("until all nodes have applied it", [Saw(None, 1000 * at(later, 0.5), 1000 * at(later, 0.99))],
              1000 * at(later, 0.99), at_most=50, unit="ms")
    table.finish()
