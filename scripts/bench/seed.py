"""Accounts, users and tokens to measure with."""

import secrets
from dataclasses import dataclass

from cluster import ADMIN, expect
from processes import Failed, until

PASSWORD = "KettleOnShelf9"
PERMISSION = "deploy:prod"


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
