"""Grants, refreshes and sign-ins for each core that the servers use, against what Keycloak's guide to sizing plans with
for each vCPU."""

import json
import statistics

import seed
from cluster import ADMIN, Cluster
from load import Ask, rounds, wrk
from passwords import signing_in
from table import Table

CONNECTIONS = 32
# A second and vCPU: https://www.keycloak.org/high-availability/concepts-memory-and-cpu-sizing
GRANTS, REFRESHES, SIGN_INS = 120, 120, 15
JSON = {"content-type": "application/json"}


def granting(name, secret):
    body = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret, "scope": "read:trades"}
    return Ask("POST", "/api/v1/auth/service-token", lambda told: told["scope"] == "read:trades", JSON,
               json.dumps(body))


def refreshing(bench, url, account):
    """Each refresh token is used once; the reply has that of the next time."""
    def fresh():
        body = {"login": "dev", "password": seed.PASSWORD, "refresh": "rotating"}
        return seed.expect(200, url, "POST", f"{account.base}/sign-in", None, body)["refresh_token"]

    spare, lines = [fresh()], bench.work / "refresh-tokens"
    lines.write_text("\n".join(fresh() for _ in range(CONNECTIONS + 4)))

    def right(told):
        spare.append(told["refresh_token"])
        return told["access_token"].count(".") == 2

    return Ask("POST", f"{account.base}/tokens/refresh", right, JSON, '{"refresh_token":"{line}"}', lines, spare,
               take='"refresh_token":"([^"]+)"', keep="lines")


def oauth(bench):
    table = Table("oauth", f"for each core of processor time that three nodes use, {CONNECTIONS} connections to the "
                           "leader, against Keycloak's sizing")
    with Cluster(bench, bench.port, **ADMIN) as cluster:
        url = cluster.leader().url
        account, client = seed.account(url), seed.client(url)

        def load(ask):
            return wrk(url, ask, CONNECTIONS, pids=cluster.pids)

        seen = rounds({
            "client credentials": lambda: load(granting(*client)),
            "refresh with rotation": lambda: load(refreshing(bench, url, account)),
            "sign-in with password": lambda: load(signing_in(account))})
    for (label, saws), (planned, aim) in zip(seen.items(), [(GRANTS, 20), (REFRESHES, 20), (SIGN_INS, 4)]):
        per_core = statistics.median(1000 / saw.per_1000 for saw in saws)
        table.add(label, saws, per_core / planned, at_least=aim, per_core=per_core, planned=planned)
    table.finish()
