"""How long writes wait while nodes die, hand over and start again; and the same with many users."""

import contextlib
import json
import os
import shutil
import signal
import statistics
import threading
import time

import seed
from checks import asking
from cluster import CHEAP, Cluster, ask
from load import Saw, median, wrk
from processes import until
from table import Table
from writers import WRITERS, Writers

TIMES = int(os.environ.get("TIMES", "10"))
USERS = int(os.environ.get("USERS", "100000"))
CONNECTIONS = 16


def writes(url, account, timeout=0.3):
    """Whether one write goes through."""
    body = {"name": f"gap-{time.time_ns()}"}
    return ask(url, "POST", f"{account.base}/roles", account.root, body, timeout)[0] == 201


def gap(bench):
    table = Table("gap", f"writes after kill -9 of the leader of three nodes, {TIMES} times")
    gaps = []
    with Cluster(bench, bench.port) as cluster:
        account = seed.account(cluster.leader().url)
        for _ in range(TIMES):
            dead = cluster.leader()
            alive = next(node for node in cluster.nodes if node is not dead)
            until("a write", lambda: writes(alive.url, account), 10)
            dead.process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            until("a write after the leader was killed", lambda: writes(alive.url, account), 10, 0)
            gaps.append(1000 * (time.monotonic() - killed))
            dead.end()
            dead.start()
            cluster.wait()
    table.add("until the next write, median", ratio=statistics.median(gaps), unit="ms")
    table.add("until the next write, longest", ratio=max(gaps), unit="ms")
    table.finish()


@contextlib.contextmanager
def under_load(table, account, cluster):
    with Writers(account, [node.url for node in cluster.nodes]) as writers:
        time.sleep(2)
        yield
        time.sleep(1)
    table.add(f"{WRITERS} writers through all nodes", [writers.saw], failures=writers.failures)
    table.add("writes that failed on two nodes in turn", ratio=writers.failed, at_most=0, unit="")
    table.add("writes that were tried twice", ratio=writers.retried, unit=f"of {writers.saw.requests:,}")
    table.add("longest time without an answer", ratio=1000 * writers.longest_gap, unit="ms")


def handover(bench):
    table = Table("handover", f"the leader of three nodes steps down, {TIMES} times")
    with Cluster(bench, bench.port) as cluster:
        with under_load(table, seed.account(cluster.leader().url), cluster):
            for _ in range(TIMES):
                cluster.nodes[0].operate("step-down")
                time.sleep(1)
    table.finish()


def rolling(bench):
    table = Table("rolling", "each of three nodes is stopped as an init system does, and started again")
    with Cluster(bench, bench.port) as cluster:
        with under_load(table, seed.account(cluster.leader().url), cluster):
            for node in cluster.nodes:
                node.end()
                node.start()
                node.wait()
    table.finish()


def cold(cluster):
    """Seconds until each node is ready again after kill -9 of all."""
    for node in cluster.nodes:
        node.process.send_signal(signal.SIGKILL)
    for node in cluster.nodes:
        node.end()
    begun = time.monotonic()
    for node in cluster.nodes:
        node.start()
    cluster.wait()
    return time.monotonic() - begun


def replace(cluster):
    """Seconds until a new node votes in the place of the third, whose disk is gone."""
    first, third = cluster.nodes[0], cluster.nodes[2]
    third.end(signal.SIGKILL)
    shutil.rmtree(third.data)
    token = json.loads(first.operate("replace", "3", "--no-wait", "--json"))["token"]
    begun = time.monotonic()
    third.start("join", token)
    third.wait()
    took = time.monotonic() - begun
    until("the node that was replaced gone", lambda: all(
        member["node"] != 3 for member in first.members()["members"]), 60)
    return took


def repeat(what, over):
    while not over.is_set():
        what()


def large(bench):
    table = Table("large", f"three nodes with {USERS:,} users, cheap hashes")
    with Cluster(bench, bench.port, **CHEAP) as cluster:
        url = cluster.leader().url
        account = seed.account(url)
        begun = time.monotonic()
        seed.users(url, account.id, account.root, USERS)
        table.add("users made", [Saw(USERS / (time.monotonic() - begun))])
        table.add("cold start of all nodes after kill -9", ratio=cold(cluster), unit="s")
        table.add("a new node in the place of a wiped one, until it votes", ratio=replace(cluster), unit="s")
        first, checks = cluster.nodes[0], asking(account, "linearizable")

        def load():
            return wrk(first.url, checks, CONNECTIONS, pids=[first.pid])

        def save():
            first.operate("backup", "save", backup)

        backup = bench.work / "backup"
        begun = time.monotonic()
        save()
        table.add("a backup", ratio=time.monotonic() - begun, unit="s", mb=backup.stat().st_size / 1e6)
        calm, busy = [], []
        for _ in range(3):
            calm.append(load())
            over = threading.Event()
            saver = threading.Thread(target=repeat, args=(save, over))
            saver.start()
            busy.append(load())
            over.set()
            saver.join()
        table.add(f"checks, {CONNECTIONS} connections", calm)
        table.add("checks while one backup follows the other", busy, median(busy) / median(calm))
    table.finish()
