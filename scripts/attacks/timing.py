#!/usr/bin/env python3
"""Asks to sign in as somebody who exists and as nobody, in turns, always with a wrong password, and tells whether the
time that the answers take tells them apart.

    timing.py URL ACCOUNT SAMPLES

The AUC is how often an answer about the one takes longer than an answer about the other: 0.5 tells nothing."""

import bisect
import http.client
import json
import statistics
import sys
import time
from urllib.parse import urlsplit

url, account, samples = urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)


def ask(login):
    body = json.dumps({"login": login, "password": "a wrong password"})
    begun = time.perf_counter()
    connection.request("POST", f"/v1/accounts/{account}/sign-in", body, {"content-type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    took = time.perf_counter() - begun
    if reply.status != 401:
        sys.exit(f"{login}: {reply.status} {text}")
    return took


for number in range(20):
    ask("known")
    ask(f"warm-{number}")
known, unknown = [], []
for number in range(samples):
    # Each is first every other time: whatever the first leaves behind, both find.
    if number % 2:
        known.append(ask("known"))
        unknown.append(ask("nobody"))
    else:
        unknown.append(ask("nobody"))
        known.append(ask("known"))

ordered = sorted(unknown)
auc = sum(bisect.bisect_left(ordered, took) for took in known) / (len(known) * len(unknown))
medians = [statistics.median(times) * 1000 for times in (known, unknown)]
difference = abs(medians[0] - medians[1]) / max(medians) * 100
print(f"  median of a known user {medians[0]:.2f} ms, of nobody {medians[1]:.2f} ms ({difference:.1f} % apart)")
print(f"  AUC {auc:.3f} of {samples} and {samples}; 0.45 to 0.55 tells nothing")
if not 0.45 <= auc <= 0.55:
    sys.exit("FAILED: the time tells who exists")
