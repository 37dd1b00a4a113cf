"""How p99, memory and disk grow with users, accounts and roles: beside a cluster that stays small, in turns."""

import json
import os
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import seed
from checks import asking
from cluster import CHEAP, Cluster, expect
from load import Ask, rounds, wrk
from processes import rss_mb, say
from table import Table
from writes import roles

SIZES = [int(size) for size in os.environ.get("SIZES", "1000,10000,100000").split(",")]
ACCOUNTS = [int(count) for count in os.environ.get("ACCOUNTS", "10,1000,10000").split(",")]
ROLES = 1_000
CONNECTIONS = 16
ABOVE = 200
# After which what seeding needed is over.
SETTLED_S = 3
SAMPLE = 1_000
JSON = {"content-type": "application/json"}


class Side:
    """One of the two clusters: its account, and how many users or accounts it has."""

    def __init__(self, cluster):
        self.cluster, self.lead, self.size = cluster, cluster.leader(), 0
        self.account = seed.account(self.lead.url)

    def memory(self):
        time.sleep(SETTLED_S)
        return statistics.mean(map(rss_mb, self.cluster.pids))

    def add_users(self, size):
        seed.users(self.lead.url, self.account.id, self.account.root, size - self.size, self.size)
        self.size = size

    def add_accounts(self, size):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.sign_up, range(self.size, size)))
        self.size = size

    def sign_up(self, number):
        body = {"email": f"root-{number}@example.com", "password": seed.PASSWORD}
        expect(201, self.lead.url, "POST", "/iam/v1/SignUpAsRootUser", None, body)

    def among(self, bench):
        """A file of numbers below the size."""
        file = bench.work / f"sample-{self.cluster.port}"
        file.write_text("\n".join(str(random.randrange(self.size)) for _ in range(SAMPLE)))
        return {"lines": file, "cycle": True, "spare": [str(self.size - 1)]}

    def user_signs_in(self, bench):
        body = f'{{"login":"u-{{line}}","password":"{seed.PASSWORD}"}}'
        return Ask("POST", f"{self.account.base}/sign-in", has_token, JSON, body, **self.among(bench))

    def root_signs_in(self, bench):
        body = f'{{"email":"root-{{line}}@example.com","password":"{seed.PASSWORD}"}}'
        return Ask("POST", "/iam/v1/SignInAsRootUser", has_token, JSON, body, **self.among(bench))

    def load(self, ask):
        return wrk(self.lead.url, ask, CONNECTIONS, pids=[self.lead.pid])


def has_token(told):
    return told["access_token"].count(".") == 2


def slower(small, big):
    return statistics.median(b.p99_ms / a.p99_ms for a, b in zip(small, big))


def compare(bench, table, small, big, sign_in, of):
    """Rows of one size: what it costs beside the cluster that stays small."""
    for what, ask in (("check", lambda side: asking(side.account, "linearizable")), ("sign-in", sign_in),
                      ("write", lambda side: roles(side.account))):
        seen = rounds({"small": lambda: small.load(ask(small)), "big": lambda: big.load(ask(big))})
        table.add(f"{what}, {small.size:,} {of}", seen["small"])
        table.add(f"{what}, {big.size:,} {of}: p99", seen["big"], slower(seen["small"], seen["big"]),
                  # Where both are as large, the ratio is what the noise is.
                  at_most=1.3 if big.size > small.size else None, size=big.size, series=what if of == "users" else None)


def by_users(bench, table):
    with Cluster(bench, bench.port, **CHEAP) as one, Cluster(bench, bench.port + ABOVE, **CHEAP) as other:
        small, big, added_mb = Side(one), Side(other), 0
        small.add_users(SIZES[0])
        for size in SIZES:
            before, begun, had = big.memory(), time.monotonic(), big.size
            big.add_users(size)
            rate = (size - had) / (time.monotonic() - begun)
            # The first thousands fill what the node has anyway.
            added_mb += big.memory() - before if had else 0
            say(f"  {size:,} users, made at {rate:,.0f} a second")
            compare(bench, table, small, big, lambda side: side.user_signs_in(bench), "users")
        if len(SIZES) > 1:
            each = added_mb * 1e6 * 1.048576 / (SIZES[-1] - SIZES[0])
            table.add("memory of each user", ratio=each, at_most=700, unit="bytes")
        backup = bench.work / "backup"
        big.lead.operate("backup", "save", backup)
        data = backup.stat().st_size
        disk = sum(file.stat().st_blocks * 512 for file in big.lead.data.rglob("*") if file.is_file())
        table.add("disk of a node, to a backup of all", ratio=disk / data, at_most=4, disk_mb=disk / 1e6,
                  backup_mb=data / 1e6)


def by_accounts(bench, table):
    with Cluster(bench, bench.port, **CHEAP) as one, Cluster(bench, bench.port + ABOVE, **CHEAP) as other:
        small, big = Side(one), Side(other)
        small.add_accounts(ACCOUNTS[0])
        for count in ACCOUNTS:
            big.add_accounts(count)
            say(f"  {count:,} accounts")
            compare(bench, table, small, big, lambda side: side.root_signs_in(bench), "accounts")


def by_roles(bench, table):
    with Cluster(bench, bench.port, **CHEAP) as cluster:
        side = Side(cluster)
        account, url = side.account, side.lead.url
        body = {"name": "many", "password": seed.PASSWORD}
        expect(201, url, "POST", f"{account.base}/users", account.root, body)
        steps = []
        for number in range(ROLES):
            name = f"role-{number}"
            steps += [{"action": "create_role", "name": name, "permissions": [f"thing-{number}:read"]},
                      {"action": "assign_role", "principal": "users/many", "role": name}]
        for at in range(0, len(steps), 100):
            expect(200, url, "POST", f"{account.base}/transactions", account.root, {"actions": steps[at:at + 100]})
        expect(200, url, "PUT", f"{account.base}/users/many/roles/deployer", account.root)
        many = seed.Account(account.id, account.root, seed.sign_in(url, account.id, "many"))

        def signs_in(name):
            told = json.dumps({"login": name, "password": seed.PASSWORD})
            return Ask("POST", f"{account.base}/sign-in", has_token, JSON, told)

        for what, few_ask, many_ask in (
                ("check", asking(account, "linearizable"), asking(many, "linearizable")),
                ("sign-in", signs_in("dev"), signs_in("many"))):
            seen = rounds({"few": lambda: side.load(few_ask), "many": lambda: side.load(many_ask)})
            table.add(f"{what}, a user with one role", seen["few"])
            table.add(f"{what}, a user with {ROLES + 1:,} roles: p99", seen["many"], slower(seen["few"], seen["many"]),
                      at_most=1.3)


def growth(bench):
    table = Table("growth", f"{CONNECTIONS} connections to the leader of three nodes, cheap hashes; p99 to that of a "
                            "cluster that stays small")
    by_users(bench, table)
    by_accounts(bench, table)
    by_roles(bench, table)
    table.finish()
