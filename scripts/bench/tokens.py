"""Introspection of tokens: of one that the node knows against a bare route, of new ones against a loop that checks
their signatures."""

import base64
import json
import os

import bare
import seed
from cluster import ADMIN, Cluster, expect
from load import Ask, Saw, bearer, ratio, rounds, wrk
from oauth import granting
from processes import Failed, run
from table import Table

CONNECTIONS = 64
PATH = "/api/v1/auth/introspect"
# New ones for each round.
TOKENS = int(os.environ.get("TOKENS", "20000"))


def asking(caller, mode, body, **more):
    return Ask("POST", PATH, lambda told: told["active"] and told["scope"] == "read:trades",
               bearer(caller, conclave_consistency=mode, content_type="application/json"), body, **more)


def part(token, at):
    text = token.split(".")[at]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def public_key(url, token):
    header = part(token, 0)
    if header["alg"] != "EdDSA":
        raise Failed(f"a token is signed by {header['alg']}")
    keys = expect(200, url, "GET", "/v1/accounts/default/jwks.json")["keys"]
    return next(key["x"] for key in keys if key["kid"] == header["kid"])


class Fresh:
    """Tokens that the leader has not seen: a follower grants them, and each is handed out once."""

    def __init__(self, bench, url, client):
        self.folder, self.url, self.client, self.file, self.made = bench.work, url, client, bench.work / "granted", []
        self.ask = granting(*client)
        self.ask.take, self.ask.keep = '"access_token":"([^"]+)"', self.file

    def take(self, count):
        """A file of so many, a token a line."""
        while len(self.made) < count:
            self.file.unlink(missing_ok=True)
            wrk(self.url, self.ask, CONNECTIONS, 5)
            self.made += self.file.read_text().split()
        taken, self.made = self.made[:count], self.made[count:]
        lines = self.folder / "tokens"
        lines.write_text("\n".join(taken))
        return lines

    def one(self):
        return self.take(1).read_text()


def introspect(bench):
    table = Table("introspect", f"introspection by a client (RFC 7662), {CONNECTIONS} connections to the leader of "
                                "three nodes, audit on")
    with Cluster(bench, bench.port, **ADMIN) as cluster:
        lead = cluster.leader().url
        fresh = Fresh(bench, cluster.followers()[0].url, seed.client(lead))
        caller = fresh.one()
        key = public_key(lead, caller)
        known = {mode: asking(caller, mode, json.dumps({"token": caller})) for mode in ("bounded", "linearizable")}

        def new_tokens():
            spare = fresh.take(200).read_text().split()
            ask = asking(caller, "bounded", '{"token":"{line}"}', lines=fresh.take(TOKENS), spare=spare)
            return wrk(lead, ask, CONNECTIONS, pids=cluster.pids)

        def loop():
            return Saw(float(run(bench.example("eddsa"), fresh.take(TOKENS), key)))

        with bare.route(bench, lead, known["bounded"]) as route:
            seen = rounds({
                "bare route": lambda: bare.measured(route, known["bounded"], CONNECTIONS),
                "a known token, bounded": lambda: wrk(lead, known["bounded"], CONNECTIONS, pids=cluster.pids),
                "a known token, linearizable": lambda: wrk(lead, known["linearizable"], CONNECTIONS, pids=cluster.pids),
                "one core checks signatures": loop,
                "new tokens, bounded": new_tokens})
    base, bound = seen["bare route"], seen["one core checks signatures"]
    table.add("bare route", base)
    table.add("a known token, bounded", seen["a known token, bounded"],
              ratio(seen["a known token, bounded"], base), at_least=0.6)
    table.add("a known token, linearizable", seen["a known token, linearizable"],
              ratio(seen["a known token, linearizable"], base))
    table.add("one core checks signatures", bound)
    table.add("new tokens, bounded", seen["new tokens, bounded"], ratio(seen["new tokens, bounded"], bound),
              at_least=0.9)
    table.finish()
