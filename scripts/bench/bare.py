"""The bare route, with the bytes of a real reply."""

import contextlib
import socket
from urllib.parse import urlsplit

from load import wrk
from processes import Failed, end, start, until

ABOVE = 90


def raw(url, ask):
    """The bytes of the reply: head and body."""
    path, body = ask.filled()
    place = urlsplit(url)
    headers = {"host": place.netloc, "connection": "close", **ask.headers}
    if body is not None:
        headers["content-length"] = str(len(body))
    head = f"{ask.method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reply = b""
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(f"{head}\r\n{body or ''}".encode())
        while part := connection.recv(65536):
            reply += part
    if not reply.startswith(b"HTTP/1.1 2"):
        raise Failed(f"{ask.method} {url}{path} answered {reply[:300]}")
    # Asked for above, for this reply only.
    return reply.replace(b"connection: close\r\n", b"")


@contextlib.contextmanager
def route(bench, url, ask):
    """The URL of a bare route that answers what `url` does, byte for byte as many."""
    recorded = raw(url, ask)
    file, port = bench.work / "reply", bench.port + ABOVE
    file.write_bytes(recorded)
    process = start([bench.example("bare"), port, file], bench.work / "bare.log")
    bare = f"http://127.0.0.1:{port}"

    def same():
        try:
            return len(raw(bare, ask))
        except OSError:
            return None

    try:
        answered = until("the bare route", same, 10)
        if answered != len(recorded):
            raise Failed(f"the bare route answers {answered} bytes, a node {len(recorded)}")
        yield bare, process.pid
    finally:
        end(process)


def measured(bare, ask, connections):
    url, pid = bare
    return wrk(url, ask, connections, pids=[pid])
