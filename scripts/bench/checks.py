"""Permission checks, against a bare route."""

import bare
import seed
from cluster import Cluster
from load import Ask, bearer, ratio, rounds, wrk
from table import Table

CONNECTIONS = 64
AIMS = {"bounded, leader": 0.7, "bounded, follower": 0.7, "linearizable, leader": 0.5, "linearizable, follower": 0.35}


def asking(account, mode):
    return Ask("GET", account.check, lambda body: body == {"allowed": True},
               bearer(account.dev, conclave_consistency=mode))


def check(bench):
    table = Table("check", f"permission checks, {CONNECTIONS} connections, three nodes, audit on")
    with Cluster(bench, bench.port) as cluster:
        nodes = {"leader": cluster.leader(), "follower": cluster.followers()[0]}
        account = seed.account(nodes["leader"].url)
        asks = {mode: asking(account, mode) for mode in ("bounded", "linearizable")}
        with bare.route(bench, nodes["leader"].url, asks["bounded"]) as route:
            systems = {"bare route": lambda: bare.measured(route, asks["bounded"], CONNECTIONS)}
            for mode, ask in asks.items():
                for where, node in nodes.items():
                    systems[f"{mode}, {where}"] = lambda node=node, ask=ask: wrk(
                        node.url, ask, CONNECTIONS, pids=cluster.pids)
            seen = rounds(systems)
    table.add("bare route", seen["bare route"])
    for label, aim in AIMS.items():
        table.add(label, seen[label], ratio(seen[label], seen["bare route"]), at_least=aim)
    table.finish()
