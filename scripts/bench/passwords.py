"""Sign-ins with a password against the bare hash pool, and one hash against Debian's argon2."""

import json
import statistics
import time

import seed
from cluster import Cluster
from load import SPAN, Ask, Saw, ratio, rounds, wrk
from processes import run
from table import Table

CALLERS = 16
RUNS = 20
# As a node has them by default.
COST, LEAST = ("-t", "2", "-k", "19456"), ("-t", "1", "-k", "8")


def signing_in(account):
    body = json.dumps({"login": "dev", "password": seed.PASSWORD})
    return Ask("POST", f"{account.base}/sign-in", lambda told: told["access_token"].count(".") == 2,
               {"content-type": "application/json"}, body)


def hashes(bench, callers):
    rate, one_ms = map(float, run(bench.example("hashes"), SPAN, callers).split())
    return Saw(rate, p50_ms=one_ms)


def argon2():
    """One hash of the command: it hashes, then verifies what it has, so one is half of what more cost takes."""
    times = {cost: [] for cost in (COST, LEAST)}
    for _ in range(RUNS):
        for cost, taken in times.items():
            begun = time.perf_counter()
            run("argon2", "saltsaltsaltsalt", "-id", "-p", "1", "-l", "32", *cost, input=seed.PASSWORD)
            taken.append(time.perf_counter() - begun)
    one = (statistics.median(times[COST]) - statistics.median(times[LEAST])) / 2
    return Saw(1 / one, p50_ms=one * 1000)


def passwords(bench):
    table = Table("passwords", f"19 MiB, 2 passes, 1 lane; {CALLERS} connections to the leader of three nodes")
    seen = rounds({"one hash of argon2": argon2, "one hash of ours": lambda: hashes(bench, 1)})
    table.add("argon2 of Debian, one at a time", seen["one hash of argon2"])
    table.add("ours, one at a time", seen["one hash of ours"],
              ratio(seen["one hash of ours"], seen["one hash of argon2"]), at_least=1.5)
    with Cluster(bench, bench.port) as cluster:
        lead = cluster.leader()
        ask = signing_in(seed.account(lead.url))
        seen = rounds({"hash pool": lambda: hashes(bench, CALLERS),
                       "sign-ins": lambda: wrk(lead.url, ask, CALLERS, pids=cluster.pids)})
    table.add("bare hash pool", seen["hash pool"])
    table.add("sign-ins", seen["sign-ins"], ratio(seen["sign-ins"], seen["hash pool"]), at_least=0.95)
    table.finish()
