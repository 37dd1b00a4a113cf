#!/usr/bin/env python3
"""Writers that go on while nodes come and go: each write goes to a node in turn, and once more to the next when it
fails. Ends when its standard input does, and prints what it saw as one line of JSON.

    load.py WRITERS PATH URL... < pipe      TOKEN in the environment

A write makes a role of a name of its own, under an idempotency key, so that the second try cannot act twice."""

import http.client
import json
import os
import sys
import threading
import time
import uuid
from urllib.parse import urlsplit

writers, path, urls = int(sys.argv[1]), sys.argv[2], [urlsplit(url) for url in sys.argv[3:]]
token = os.environ["TOKEN"]
stop = threading.Event()
lock = threading.Lock()
ok, retried, failed, times, last_ok, longest_gap, answers = 0, 0, 0, [], time.monotonic(), 0.0, {}


def send(connections, node, body, key):
    """The status of one try, or why there is none. A connection that was closed while idle is opened anew."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "idempotency-key": key}
    for is_fresh in (False, True):
        if connections[node] is None:
            is_fresh = True
            connections[node] = http.client.HTTPConnection(urls[node].hostname, urls[node].port, timeout=6)
        try:
            connections[node].request("POST", path, body, headers)
            reply = connections[node].getresponse()
            reply.read()
            return reply.status
        except (OSError, http.client.HTTPException) as error:
            connections[node].close()
            connections[node] = None
            if is_fresh:
                return type(error).__name__


def write(number):
    global ok, retried, failed, last_ok, longest_gap
    connections, turn = [None] * len(urls), number
    while not stop.is_set():
        turn += 1
        key, begun = str(uuid.uuid4()), time.monotonic()
        body = json.dumps({"name": f"load-{key}", "permissions": ["p:read"]})
        for attempt in range(2):
            status = send(connections, (turn + attempt) % len(urls), body, key)
            if status == 201:
                break
        done = time.monotonic()
        with lock:
            if status == 201:
                ok += 1
                retried += attempt
                times.append(done - begun)
                longest_gap = max(longest_gap, done - last_ok)
                last_ok = done
            else:
                failed += 1
                answers[str(status)] = answers.get(str(status), 0) + 1


threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
times.sort()
at = lambda share: round(1000 * times[int(share * (len(times) - 1))], 1) if times else None
print(json.dumps({"ok": ok, "retried": retried, "failed": failed, "failures": answers,
                  "longest_gap_ms": round(1000 * longest_gap), "p50_ms": at(0.5), "p99_ms": at(0.99)}))
