"""Nodes of Conclave as real processes on loopback."""

import http.client
import json
import os
import shutil
import signal
from urllib.parse import urlsplit

from load import json_of
from processes import Failed, end, run, say, start, until

# What is measured is the work, not the limits on it.
SETTINGS = {f"CONCLAVE_RATE_LIMIT_{name}": "off" for name in ("LOGIN", "REFRESH", "SERVICE", "REGISTER", "API")}
CHEAP = {"CONCLAVE_ARGON2_MEMORY_KIB": "7168", "CONCLAVE_ARGON2_ITERATIONS": "1"}
ADMIN = {"CONCLAVE_BOOTSTRAP_ADMIN_USERNAME": "boss", "CONCLAVE_BOOTSTRAP_ADMIN_EMAIL": "boss@example.com",
         "CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD": "KettleOnShelf9"}


def ask(url, method, path, token=None, body=None, timeout=10, **headers):
    """Status, body and headers of one reply; status 0 when there was none."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        sent = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token:
            sent["authorization"] = f"Bearer {token}"
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        reply = connection.getresponse()
        return reply.status, json_of(reply.read()), reply.headers
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error), {}
    finally:
        connection.close()


def expect(status, url, method, path, token=None, body=None, **headers):
    """The body of a reply that must have this status; "not now" is asked again."""
    seen = []

    def look():
        seen[:] = [ask(url, method, path, token, body, **headers)]
        return seen[0][0] not in (0, 503)

    try:
        until("an answer", look, 20)
    except Failed:
        pass
    if seen[0][0] != status:
        raise Failed(f"{method} {url}{path} answered {seen[0][:2]}, not {status}")
    return seen[0][1]


class Node:
    def __init__(self, cluster, number):
        self.cluster, self.number, self.process = cluster, number, None
        self.url = f"http://127.0.0.1:{cluster.port + number - 1}"
        self.config = cluster.folder / f"node-{number}.toml"
        self.data = cluster.folder / f"node-{number}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, *command):
        command = command or ("start",)
        self.process = start([self.cluster.binary, *command, "--config", self.config],
                             self.cluster.folder / f"node-{self.number}.out", self.cluster.work,
                             **self.cluster.settings)

    def is_ready(self):
        if self.process.poll() is not None:
            told = (self.cluster.folder / f"node-{self.number}.out").read_text(errors="replace")
            raise Failed(f"node {self.number} ended with {self.process.returncode}: {told[-1500:]}")
        return ask(self.url, "GET", "/ready", timeout=1)[0] == 200

    def wait(self, seconds=120):
        until(f"node {self.number} ready", self.is_ready, seconds)

    def end(self, number=signal.SIGTERM):
        end(self.process, number)
        self.process = None

    def operate(self, *command):
        """An operator's command at this node."""
        return run(self.cluster.binary, *command, "--config", self.config, cwd=self.cluster.work,
                   env={**os.environ, **self.cluster.settings})

    def members(self):
        return json.loads(self.operate("members", "--json"))


class Cluster:
    """A cluster under a folder that goes with it. `conclave dev` makes it; the nodes then run without that."""

    def __init__(self, bench, port, nodes=3, **settings):
        self.binary, self.work, self.port = bench.binary, bench.work, port
        self.folder = bench.work / f"conclave-{port}"
        self.settings = {**SETTINGS, **settings}
        self.nodes = []
        log = self.folder.with_suffix(".log")
        log.unlink(missing_ok=True)
        dev = start([self.binary, "dev", "--nodes", nodes, "--port", port, "--data", self.folder], log, self.work,
                    **self.settings)
        try:
            until("a cluster", lambda: "Ctrl-C" in log.read_text() or dev.poll() is not None, 120)
            if dev.poll() is not None:
                raise Failed(log.read_text())
        finally:
            end(dev, signal.SIGINT)
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        try:
            for node in self.nodes:
                node.start()
            self.wait()
            self.first_term = self.term()
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        try:
            # Figures of "the leader" are of another node from then on.
            if not failure and (elections := self.term() - self.first_term):
                say(f"  elections meanwhile: {elections}")
        finally:
            self.remove()

    def remove(self):
        for node in self.nodes:
            if node.process is not None:
                node.process.terminate()
        for node in self.nodes:
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self):
        for node in self.nodes:
            node.wait()

    @property
    def pids(self):
        return [node.pid for node in self.nodes]

    def leader(self):
        def look():
            for node in self.nodes:
                if node.process is not None and node.process.poll() is None:
                    try:
                        led = node.members().get("leader")
                    except Failed:
                        continue
                    if led:
                        return next((other for other in self.nodes if other.number == led), None)
            return None

        return until("a leader", look)

    def followers(self):
        lead = self.leader()
        return [node for node in self.nodes if node is not lead]

    def term(self):
        return self.leader().members()["term"]
