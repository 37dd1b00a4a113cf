"""Writers that go on while nodes come and go: each write goes to a node in turn, and once more to the next when it
fails. A write makes a role of a name of its own, under an idempotency key, so that a second try cannot act twice."""

import http.client
import json
import threading
import time
import uuid
from urllib.parse import urlsplit

from load import Saw
from revocation import at

WRITERS = 8


class Writers:
    """At work from `with` to its end; then `saw` and the rest say what they met."""

    def __init__(self, account, urls):
        self.token, self.path, self.urls = account.root, f"{account.base}/roles", [urlsplit(url) for url in urls]
        self.over, self.lock = threading.Event(), threading.Lock()
        self.retried, self.failures, self.times, self.longest_gap = 0, {}, [], 0.0
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(WRITERS)]

    def __enter__(self):
        self.begun = self.last_ok = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.begun

    @property
    def saw(self):
        ms = [1000 * took for took in self.times]
        return Saw(len(ms) / self.seconds, at(ms, 0.5), at(ms, 0.99), requests=len(ms))

    @property
    def failed(self):
        return sum(self.failures.values())

    def work(self, number):
        connections, turn = [None] * len(self.urls), number
        while not self.over.is_set():
            turn += 1
            key, begun = str(uuid.uuid4()), time.monotonic()
            body = json.dumps({"name": f"load-{key}", "permissions": ["p:read"]})
            for attempt in range(2):
                status = self.send(connections, (turn + attempt) % len(self.urls), body, key)
                if status == 201:
                    break
            done = time.monotonic()
            with self.lock:
                if status == 201:
                    self.retried += attempt
                    self.times.append(done - begun)
                    self.longest_gap = max(self.longest_gap, done - self.last_ok)
                    self.last_ok = done
                else:
                    self.failures[status] = self.failures.get(status, 0) + 1

    def send(self, connections, node, body, key):
        """The status of one try, or why there is none. A connection that was closed while idle is opened anew."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json", "idempotency-key": key}
        for is_fresh in (False, True):
            if connections[node] is None:
                is_fresh = True
                connections[node] = http.client.HTTPConnection(self.urls[node].netloc, timeout=6)
            try:
                connections[node].request("POST", self.path, body, headers)
                reply = connections[node].getresponse()
                reply.read()
                return reply.status
            except (OSError, http.client.HTTPException) as error:
                connections[node].close()
                connections[node] = None
                if is_fresh:
                    return type(error).__name__
