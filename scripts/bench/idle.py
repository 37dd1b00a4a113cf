"""What a node takes that nobody asks anything, and how soon it answers."""

import http.client
import os
import shutil
import statistics
import time

import seed
from cluster import CHEAP, SETTINGS, Cluster
from load import ROUNDS, SPAN
from processes import Failed, cpu_seconds, end, rss_mb, start
from table import Table

ABOVE = 40
# After which what the start needed is over.
SETTLED_S = 3
STARTS = max(5, ROUNDS)
MANY = int(os.environ.get("USERS", "1000000"))


def first_answer(port, process, seconds=60):
    """When a node says that it is ready, on the clock of `time.perf_counter`."""
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        if process.poll() is not None:
            raise Failed(f"a node ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return time.perf_counter()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.001)
    raise Failed("a node does not answer")


def start_alone(bench, folder):
    """Starts a node in a folder, ends it, and gives the seconds to its first answer."""
    port = bench.port + ABOVE
    begun = time.perf_counter()
    process = start([bench.binary, "start", "--data", folder / "data"], bench.work / "alone.log", folder, **SETTINGS,
                    CONCLAVE_HTTP_LISTEN=f"127.0.0.1:{port}", CONCLAVE_PEER_LISTEN=f"127.0.0.1:{port + 1}")
    try:
        return first_answer(port, process) - begun
    finally:
        end(process)


def starts(bench):
    """Seconds to the first answer with a new folder, and with the same again."""
    new, again = [], []
    for number in range(STARTS):
        folder = bench.work / f"alone-{number}"
        folder.mkdir()
        new.append(start_alone(bench, folder))
        again.append(start_alone(bench, folder))
        shutil.rmtree(folder)
    return new, again


def start_large(bench):
    with Cluster(bench, bench.port, nodes=1, **CHEAP) as cluster:
        node = cluster.nodes[0]
        account, root = seed.sign_up(node.url)
        seed.users(node.url, account, root, MANY)
        seconds = []
        for _ in range(ROUNDS):
            node.end()
            begun = time.perf_counter()
            node.start()
            seconds.append(first_answer(cluster.port, node.process, 600) - begun)
        return statistics.median(seconds), [min(seconds), max(seconds)]


def idle(bench):
    table = Table("idle", "a node that nobody asks; Rauthy publishes 57 to 65 MB for its container")
    for count, label in ((1, "a cluster of one"), (3, "a node of three")):
        with Cluster(bench, bench.port, nodes=count) as cluster:
            time.sleep(SETTLED_S)
            before, begun = cpu_seconds(cluster.pids), time.monotonic()
            time.sleep(max(SPAN, 2))
            used = (cpu_seconds(cluster.pids) - before) / (time.monotonic() - begun) / count
            table.add(f"{label}: memory", ratio=max(map(rss_mb, cluster.pids)), at_most=40, unit="MB")
            table.add(f"{label}: of one core", ratio=100 * used, unit="%")
    new, again = starts(bench)
    for label, seconds in (("a new folder", new), ("a folder that is there", again)):
        table.add(f"first answer with {label}", ratio=statistics.median(seconds), at_most=0.3, unit="s",
                  spread_of=[min(seconds), max(seconds)])
    if os.environ.get("LARGE") == "1":
        seconds, spread = start_large(bench)
        table.add(f"first answer with {MANY:,} users", ratio=seconds, at_most=5, unit="s", spread_of=spread)
    table.add("the program", ratio=bench.binary.stat().st_size / 1e6, at_most=40, unit="MB")
    table.finish()
