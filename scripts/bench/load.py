"""What is asked, how fast it is answered, and whether the answers are right."""

import http.client
import itertools
import json
import os
import statistics
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from processes import Failed, cpu_seconds, forget_peaks, peak_mb

SPAN = float(os.environ.get("SPAN", "5"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SCRIPT = Path(__file__).with_name("request.lua")
SAMPLES_EVERY_S = 0.1

numbers = itertools.count(900_000_000_000)


def json_of(text):
    return json.loads(text) if text[:1] in (b"{", b"[") else text


@dataclass
class Ask:
    """A request, and what a right reply to it is. In `path` and `body`, {n} is a number of its own and {line} the
    next of `lines`, of which those that a sample takes are in `spare`."""
    method: str
    path: str
    right: object
    headers: dict = field(default_factory=dict)
    body: str | None = None
    lines: Path | None = None
    spare: list = field(default_factory=list)
    cycle: bool = False
    take: str | None = None
    keep: str | None = None
    pause_ms: int = 0
    refusal: int = 0
    refused_pause_ms: int = 0

    def filled(self):
        """Path and body of one request."""
        values = {"{n}": f"{next(numbers):012d}"}
        if self.spare:
            values["{line}"] = self.spare[0] if self.cycle else self.spare.pop(0)
        texts = [self.path, self.body]
        for name, value in values.items():
            texts = [text and text.replace(name, value) for text in texts]
        return texts

    def environment(self):
        given = {
            "METHOD": self.method, "TARGET": self.path, "BODY": self.body, "LINES": self.lines, "TAKE": self.take,
            "KEEP": self.keep, "CYCLE": int(self.cycle), "PAUSE": self.pause_ms, "REFUSAL": self.refusal,
            "REFUSED_PAUSE": self.refused_pause_ms}
        return {name: str(value) for name, value in given.items() if value is not None}


def bearer(token, **more):
    return {"authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in more.items()}}


def ask_once(url, ask, connection=None):
    """Asks, and fails unless the reply is right. Gives the connection for the next time."""
    connection = connection or http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    path, body = ask.filled()
    connection.request(ask.method, path, body, {"connection": "keep-alive", **ask.headers})
    reply = connection.getresponse()
    text = reply.read()
    if reply.status == ask.refusal:
        return connection
    if not 200 <= reply.status < 300 or not ask.right(json_of(text)):
        raise Failed(f"{ask.method} {url}{path} answered {reply.status}: {text[:300]}")
    return connection


class Sampler(threading.Thread):
    """Looks at whole replies while wrk counts statuses."""

    def __init__(self, url, ask):
        super().__init__(daemon=True)
        self.url, self.ask, self.over, self.seen, self.error = url, ask, threading.Event(), 0, None

    def run(self):
        connection = None
        try:
            while not self.over.is_set():
                connection = ask_once(self.url, self.ask, connection)
                self.seen += 1
                self.over.wait(SAMPLES_EVERY_S)
        except (OSError, http.client.HTTPException, ValueError, Failed) as error:
            self.error = error

    def end(self):
        self.over.set()
        self.join()
        if self.error or self.seen == 0:
            raise Failed(f"a sample of the replies of {self.url}: {self.error or 'none in time'}")


@dataclass
class Saw:
    """What one run saw."""
    rate: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_s: float | None = None
    per_1000: float | None = None
    peak_mb: float | None = None
    refused: int = 0
    requests: int = 0


def wrk(url, ask, connections, seconds=None, pids=(), sample=True):
    """One run of wrk, with what the servers `pids` took for it."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(SPAN if seconds is None else seconds))}",
               "--timeout", "6s", "-s", str(SCRIPT)]
    for name, value in ask.headers.items():
        command += ["-H", f"{name}: {value}"]
    forget_peaks(pids)
    sampler = Sampler(url, ask) if sample else None
    if sampler:
        sampler.start()
    before = cpu_seconds(pids)
    done = subprocess.run([*command, url], capture_output=True, text=True, env={**os.environ, **ask.environment()})
    took = cpu_seconds(pids) - before
    if sampler:
        sampler.end()
    found = [line for line in done.stdout.splitlines() if line.startswith("SAW ")]
    if done.returncode != 0 or not found:
        raise Failed(f"wrk {url}: {done.stdout}{done.stderr}")
    saw = json.loads(found[0][4:])
    failed = saw["wrong"] + saw["status"] - saw["refused"]
    if failed > 0 or saw["broken"] or saw["requests"] == 0:
        raise Failed(f"{ask.method} {url}{ask.path}: not all replies were right: {saw}")
    good = saw["requests"] - saw["refused"]
    return Saw(good / saw["seconds"], saw["p50_ms"], saw["p99_ms"], took,
               1000 * took / good if pids and good else None, peak_mb(pids) if pids else None, saw["refused"], good)


def rounds(systems, count=None):
    """Measures each of `systems` (label: function that gives a `Saw`) in turn, `count` times; what each saw."""
    seen = {label: [] for label in systems}
    for _ in range(ROUNDS if count is None else count):
        for label, run in systems.items():
            seen[label].append(run())
    return seen


def median(seen, name="rate"):
    """Of one figure over the rounds."""
    values = [getattr(saw, name) for saw in seen if getattr(saw, name) is not None]
    return statistics.median(values) if values else None


def ratio(seen, base, name="rate"):
    """The median over the rounds of a figure to that of `base` in the same round."""
    return statistics.median(getattr(a, name) / getattr(b, name) for a, b in zip(seen, base))
