"""KatamariIAM over HTTP: the class that programs import, with a Conclave cluster behind it.

    iam = KatamariIAM(secret_key="<an API key of a service account that may manage users and roles>")

`CONCLAVE_URLS` names the nodes (http://127.0.0.1:8080 by default; several with commas), `CONCLAVE_API_KEY` the key
where the program's own `secret_key` is none, `CONCLAVE_ACCOUNT` the account (`default`). Methods answer as the
library's do: failures are logged and give `None`, `{}` or `False`. Standard library only.
"""

import asyncio
import json
import logging
import os
import urllib.error
import urllib.request
from datetime import timedelta

log = logging.getLogger("KatamariIAM")


class KatamariIAM:
    def __init__(self, secret_key):
        self.token_expiry = timedelta(hours=1)
        self.api_key_expiry = timedelta(days=30)
        self.refresh_token_expiry = timedelta(days=7)
        self._key = os.environ.get("CONCLAVE_API_KEY") or secret_key
        self._urls = os.environ.get("CONCLAVE_URLS", "http://127.0.0.1:8080").split(",")
        self._account = os.environ.get("CONCLAVE_ACCOUNT", "default")
        self._token = None

    async def create_user(self, username, password, roles=None):
        body = {"name": username, "password": password, "roles": roles or []}
        await self._managed("POST", "/users", body)

    async def authenticate_user(self, username, password):
        body = {"login": username, "password": password, "refresh": "fixed"}
        return _only(await self._ask("POST", "/sign-in", body), "access_token", "refresh_token")

    def validate_jwt_token(self, token):
        _, reply = self._send("POST", "/tokens/validate", {"token": token}, None)
        return reply.get("valid", False)

    async def refresh_oauth_token(self, refresh_token):
        reply = await self._ask("POST", "/tokens/refresh", {"refresh_token": refresh_token})
        return _only(reply, "access_token") or None

    async def create_service_account(self, account_name, roles=None):
        body = {"name": account_name, "roles": roles or [], "key_form": "uuid"}
        return _only(await self._managed("POST", "/service-accounts", body), "api_key") or None

    async def authenticate_service_account(self, account_name, api_key):
        body = {"name": account_name, "api_key": api_key}
        return _only(await self._ask("POST", "/service-accounts/sign-in", body), "access_token")

    async def create_role(self, role_name, permissions=None):
        await self._managed("POST", "/roles", {"name": role_name, "permissions": permissions or []})

    async def assign_role_to_user(self, username, role_name):
        await self._managed("PUT", f"/users/{username}/roles/{role_name}", None)

    async def revoke_token(self, token):
        await self._ask("POST", "/tokens/revoke", {"token": token})

    async def _managed(self, method, path, body):
        """Asks in the name of this program, signing it in when its token is not good any more."""
        for _ in range(2):
            if self._token is None:
                reply = await self._ask("POST", "/service-accounts/sign-in", {"api_key": self._key})
                self._token = reply.get("access_token")
            status, reply = await asyncio.to_thread(self._send, method, path, body, self._token)
            if status != 401:
                return reply if status < 300 else {}
            self._token = None
        return {}

    async def _ask(self, method, path, body):
        status, reply = await asyncio.to_thread(self._send, method, path, body, None)
        return reply if status < 300 else {}

    def _send(self, method, path, body, token):
        """Status and body of the first node that answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        for url in self._urls:
            request = urllib.request.Request(
                f"{url}/v1/accounts/{self._account}{path}", data=data, method=method, headers=headers
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return reply.status, json.loads(reply.read() or "{}")
            except urllib.error.HTTPError as error:
                problem = json.loads(error.read() or "{}")
                log.warning("%s %s: %s", method, path, problem.get("detail", error.code))
                if error.code != 503:
                    return error.code, problem
            except OSError as error:
                log.warning("%s: %s", url, error)
        return 503, {}


def _only(reply, *names):
    return {name: reply[name] for name in names if name in reply}
