"""Accounts, users and tokens to measure with."""

import http.client
import json
import queue
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from cluster import ADMIN, expect
from processes import Failed, until

PASSWORD = "KettleOnShelf9"
PERMISSION = "deploy:prod"
# Users of a transaction, those on their way at once, and how often one is tried.
BATCH, WORKERS, TRIES = 25, 8, 5


@dataclass
class Account:
    """One account with its root user, and a user `dev` who may deploy."""
    id: str
    root: str
    dev: str

    @property
    def base(self):
        return f"/v1/accounts/{self.id}"

    @property
    def check(self):
        return f"{self.base}/check?permission={PERMISSION}"


def sign_up(url):
    """The id of a new account, and its root user's token."""
    root = {"email": f"root-{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    account = expect(201, url, "POST", "/iam/v1/SignUpAsRootUser", None, root)["accountId"]
    return account, expect(200, url, "POST", "/iam/v1/SignInAsRootUser", None, root)["access_token"]


def sign_in(url, account, name):
    body = {"login": name, "password": PASSWORD}
    return expect(200, url, "POST", f"/v1/accounts/{account}/sign-in", None, body)["access_token"]


def account(url):
    made, root = sign_up(url)
    base = f"/v1/accounts/{made}"
    expect(201, url, "POST", f"{base}/roles", root, {"name": "deployer", "permissions": ["deploy:*"]})
    expect(201, url, "POST", f"{base}/users", root, {"name": "dev", "password": PASSWORD, "roles": ["deployer"]})
    return Account(made, root, sign_in(url, made, "dev"))


def client(url):
    """An OAuth client of the account `default`: its id and its secret."""
    boss = {"grant_type": "password", "username": ADMIN["CONCLAVE_BOOTSTRAP_ADMIN_USERNAME"],
            "password": ADMIN["CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD"]}
    tokens = until("the first administrator", lambda: try_token(url, boss), 20)
    name = f"bench-{secrets.token_hex(4)}"
    body = {"clientId": name, "name": "Bench", "scopes": ["read:trades"], "audiences": ["trading-api"], "enabled": True}
    made = expect(201, url, "POST", "/api/v1/admin/clients", tokens, body)
    return name, made["clientSecret"]


def try_token(url, body):
    try:
        return expect(200, url, "POST", "/api/v1/auth/token", None, body)["access_token"]
    except Failed:
        return None


def users(url, account, token, count, first=0):
    """Makes so many users with names `u-<number>`: by transactions, in each of which hashes follow one another."""
    bodies = queue.SimpleQueue()
    for at in range(first, first + count, BATCH):
        bodies.put(range(at, min(at + BATCH, first + count)))
    failures = []

    def work():
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        while not failures:
            try:
                numbers = bodies.get_nowait()
            except queue.Empty:
                return
            actions = [{"action": "create_user", "name": f"u-{number}", "password": PASSWORD} for number in numbers]
            body = json.dumps({"actions": actions})
            for attempt in range(TRIES):
                try:
                    connection.request("POST", f"/v1/accounts/{account}/transactions", body,
                                       {**headers, "idempotency-key": f"users-{numbers.start}"})
                    reply = connection.getresponse()
                    told = reply.read()
                    if reply.status == 200 and len(json.loads(told)["results"]) == len(numbers):
                        break
                    failures_so_far = f"{reply.status}: {told[:300]}"
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    failures_so_far = str(error)
                time.sleep(0.1)
            else:
                failures.append(failures_so_far)

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise Failed(f"users are not made: {failures[0]}")
