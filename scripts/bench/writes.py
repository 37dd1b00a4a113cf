"""Replicated writes, against etcd."""

import base64
import secrets

import seed
from cluster import Cluster
from etcd import Etcd
from load import Ask, bearer, median, ratio, rounds, wrk
from table import Table

CONNECTIONS = (1, 16, 64, 256)
FASTER = {"leader": 2, "follower": 1.5}
P50 = 0.7
PERMISSIONS = ["p:read"]


def roles(account):
    """Each request makes a role of its own: audited, and synced by a majority before the answer."""
    run = secrets.token_hex(4)
    body = f'{{"name":"r-{run}-{{n}}","permissions":["{PERMISSIONS[0]}"]}}'
    return Ask("POST", f"{account.base}/roles",
               lambda told: told["name"].startswith(f"r-{run}-") and told["permissions"] == PERMISSIONS,
               bearer(account.root, content_type="application/json"), body)


def keys():
    """Each request puts a key of its own with a value as long as that role. Keys are base64 as they stand."""
    value = base64.b64encode(b'{"name":"r-01234567-000000000000","permissions":["p:read"]}').decode()
    body = f'{{"key":"{secrets.token_hex(4)}{{n}}","value":"{value}"}}'
    return Ask("POST", "/v3/kv/put", lambda told: int(told["header"]["revision"]) > 1,
               {"content-type": "application/json"}, body)


def writes(bench):
    table = Table("writes", "replicated writes, three nodes, synced by a majority, audit on; etcd 3.4 without audit")
    with Cluster(bench, bench.port) as cluster, Etcd(bench) as etcd:
        lead = cluster.leader()
        account = seed.account(lead.url)
        places = {"leader": (lead.url, etcd.leads), "follower": (cluster.followers()[0].url, etcd.follower())}
        for where, (ours, theirs) in places.items():
            for connections in CONNECTIONS:
                seen = rounds({
                    "etcd": lambda: wrk(theirs, keys(), connections, pids=etcd.pids),
                    "ours": lambda: wrk(ours, roles(account), connections, pids=cluster.pids)})
                at = {"where": where, "connections": connections}
                table.add(f"etcd, {where}, {connections}", seen["etcd"], system="etcd", **at)
                table.add(f"ours, {where}, {connections}", seen["ours"], ratio(seen["ours"], seen["etcd"]),
                          at_least=FASTER[where], system="conclave", **at)
                if where == "leader":
                    table.add(f"p50 to etcd's, {where}, {connections}", ratio=median(seen["ours"], "p50_ms") / median(
                        seen["etcd"], "p50_ms"), at_most=P50, **at)
    table.finish()
