#!/usr/bin/env python3
"""Five hundred clients that sign in without a pause, and one that asks /health meanwhile.

    storm.py URL ACCOUNT PID MINUTES

The storm comes from a process of its own, so that the one that takes the time is not held up by it. Fails when memory
grows by more than the hashes that may run at once, or when /health is slow."""

import asyncio
import collections
import http.client
import json
import multiprocessing
import os
import sys
import time
from urllib.parse import urlsplit

url, account, pid, minutes = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
CLIENTS = 500
# What a hash takes by default (19 MiB) for each processor, twice, and what 500 connections take.
MOST_MB = 2 * 19 * (os.cpu_count() or 1) + 100


def memory_mb():
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


async def client(answers, until):
    body = json.dumps({"login": "known", "password": "correct horse battery staple"}).encode()
    head = f"POST /v1/accounts/{account}/sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    streams = None
    while time.monotonic() < until:
        try:
            streams = streams or await asyncio.open_connection(url.hostname, url.port)
            streams[1].write(request)
            reply = await streams[0].readuntil(b"\r\n\r\n")
            length = next(line for line in reply.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await streams[0].readexactly(int(length.split(b":")[1]))
            status = reply.split(b" ", 2)[1].decode()
        except (OSError, asyncio.IncompleteReadError) as error:
            streams, status = None, type(error).__name__
        answers[status] += 1
        if status != "200":
            # As a client does that is told to come back, only sooner.
            await asyncio.sleep(0.2)


def storm(until, told):
    async def all_of_them():
        answers = collections.Counter()
        await asyncio.gather(*(client(answers, until) for _ in range(CLIENTS)))
        return answers

    told.put(asyncio.run(all_of_them()))


if __name__ == "__main__":
    before, until = memory_mb(), time.monotonic() + minutes * 60
    told = multiprocessing.Queue()
    process = multiprocessing.Process(target=storm, args=(until, told))
    process.start()
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    times, most = [], before
    while time.monotonic() < until:
        begun = time.perf_counter()
        connection.request("GET", "/health")
        reply = connection.getresponse()
        reply.read()
        if reply.status != 200:
            sys.exit(f"FAILED: /health answers {reply.status}")
        times.append((time.perf_counter() - begun) * 1000)
        most = max(most, memory_mb())
        time.sleep(0.02)
    answers = told.get()
    process.join()
    times.sort()
    p50, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99))
    print(f"  {CLIENTS} clients for {minutes:g} minutes: {dict(sorted(answers.items()))}")
    print(f"  /health p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(times)}; memory {before:.0f} MB, then at most {most:.0f} MB")
    if p99 >= 100:
        sys.exit("FAILED: /health p99 is not below 100 ms")
    if most - before > MOST_MB:
        sys.exit(f"FAILED: memory grew by more than {MOST_MB} MB")
