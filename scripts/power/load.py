"""What is asked of the nodes while their power fails, and what was acknowledged: roles made under names of their own,
and tokens revoked."""

import http.client
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from rig import Failed, until

ROOT = {"email": "root@example.com", "password": "SecurePass123"}


class Load:
    def __init__(self, rig):
        self.rig, self.lock = rig, threading.Lock()
        self.acked, self.revoked, self.answers = [], [], {}
        self.threads, self.stop = [], threading.Event()
        self.slowest = 0.0
        first = rig.nodes[0]
        self.account = first.expect(201, "POST", "/iam/v1/SignUpAsRootUser", body=ROOT)["accountId"]
        self.base = f"/v1/accounts/{self.account}"
        self.sign_in()
        self.user = {"accountId": self.account, "email": "dev@example.com", "password": "DevPass456"}
        first.expect(201, "POST", "/iam/v1/SignUpAsIAMUser", self.token, self.user)

    def sign_in(self):
        """Signs the root user in anew: its token lives for minutes only."""
        node = next(node for node in self.rig.nodes if node.process is not None)
        self.token = node.expect(200, "POST", "/iam/v1/SignInAsRootUser", body=ROOT)["access_token"]

    def user_token(self, node):
        return node.expect(200, "POST", "/iam/v1/SignInAsIAMUser", body=self.user)["access_token"]

    def revoke(self, node, token):
        """Revokes a token, and remembers that it was acknowledged."""
        until("a revocation", lambda: node.ask("POST", f"{self.base}/tokens/revoke", body={"token": token})[0] == 200)
        self.revoked.append(token)

    def begin(self, writers):
        self.stop.clear()
        for number in range(writers):
            node = self.rig.nodes[number % len(self.rig.nodes)]
            thread = threading.Thread(target=self.write, args=(node,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(20)
            if thread.is_alive():
                raise Failed("a request does not end")
        self.threads.clear()

    def write(self, node):
        connection = None
        while not self.stop.is_set():
            name, begun = f"w-{uuid.uuid4()}", time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=7)
                status = self.make(connection, name)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection, status = None, type(error).__name__
            with self.lock:
                self.answers[status] = self.answers.get(status, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if status == 201:
                    self.acked.append((name, time.monotonic()))
            if status != 201:
                self.stop.wait(0.02)

    def make(self, connection, name):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json", "idempotency-key": name}
        connection.request("POST", f"{self.base}/roles", json.dumps({"name": name, "permissions": ["p:read"]}), headers)
        reply = connection.getresponse()
        reply.read()
        return reply.status

    def until_acked(self, more, seconds=60):
        """Waits for so many more acknowledged writes."""
        before = len(self.acked)
        until(f"{more} more writes ({self.answers})", lambda: len(self.acked) >= before + more, seconds)

    def lost(self, node, since=0):
        """What was acknowledged, and `node` does not know."""
        names = [name for name, _ in self.acked[since:]]
        with ThreadPoolExecutor(4) as pool:
            def is_there(name):
                status = node.expect_any((200, 404), "GET", f"{self.base}/roles/{name}", self.token)
                return status == 200
            return [name for name, there in zip(names, pool.map(is_there, names)) if not there]

    def all_lost(self, node):
        """As `lost`, of everything, by reading the whole list."""
        there, after = set(), ""
        while after is not None:
            page = node.expect(200, "GET", f"{self.base}/roles?limit=200{after}", self.token)
            there.update(role["name"] for role in page["items"])
            after = f"&cursor={page['next']}" if page.get("next") else None
        return [name for name, _ in self.acked if name not in there]

    def granted(self, node, since=0):
        """Tokens that were revoked, and that `node` takes for good."""
        return [token for token in self.revoked[since:]
                if node.expect_any((200, 401), "GET", f"{self.base}/users/me", token) == 200]
