#!/usr/bin/env python3
"""Connections that say nothing, or their head or body a byte at a time, and one client that asks /health meanwhile.

    slow.py URL SECONDS CONNECTIONS

Fails when /health is slow, or when a connection is kept longer than it may be: 10 s for a head, 35 s for the rest."""

import http.client
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

url, seconds, count = urlsplit(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
HEAD = b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-drip: "
BODY = b"POST /v1/sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n"
WAYS = {"silent": (b"", False, 35), "head": (HEAD, True, 10), "body": (BODY, True, 35)}
names = list(WAYS)

selector, held, lasted, refused = selectors.DefaultSelector(), {}, {name: [] for name in names}, 0


def close(stream):
    way, begun, _ = held.pop(stream)
    selector.unregister(stream)
    stream.close()
    lasted[way].append(time.monotonic() - begun)


for number in range(count):
    way = names[number % len(names)]
    stream = socket.create_connection((url.hostname, url.port), timeout=10)
    try:
        stream.sendall(WAYS[way][0])
    except OSError:
        refused += 1
        continue
    stream.setblocking(False)
    held[stream] = [way, time.monotonic(), time.monotonic()]
    selector.register(stream, selectors.EVENT_READ)

connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
times, until = [], time.monotonic() + seconds
while time.monotonic() < until:
    for key, _ in selector.select(0.005):
        try:
            if not key.fileobj.recv(4096):
                close(key.fileobj)
        except OSError:
            close(key.fileobj)
    now = time.monotonic()
    for stream, entry in list(held.items()):
        if WAYS[entry[0]][1] and now - entry[2] > 2:
            entry[2] = now
            try:
                stream.send(b"x")
            except OSError:
                close(stream)
    begun = time.perf_counter()
    connection.request("GET", "/health")
    reply = connection.getresponse()
    reply.read()
    times.append((time.perf_counter() - begun) * 1000)
    if reply.status != 200:
        sys.exit(f"FAILED: /health answers {reply.status}")
    # Kept open by asking, not by being slow.
    time.sleep(0.02)

times.sort()
p99 = times[int(len(times) * 0.99)]
print(f"  {count} slow connections, {refused} refused; /health p99 {p99:.1f} ms of {len(times)}")
failed = p99 >= 100
for name, (_, _, most) in WAYS.items():
    longest = max(lasted[name], default=0)
    left = sum(1 for way, _, _ in held.values() if way == name)
    print(f"  {name}: {len(lasted[name])} cut, the last after {longest:.1f} s; {left} left")
    failed |= longest > most or (left > 0 and seconds > most)
if failed:
    sys.exit("FAILED: /health is slow, or a slow connection is kept")
