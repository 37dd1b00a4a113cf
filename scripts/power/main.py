#!/usr/bin/env python3
"""What disks do to nodes: run by scripts/power.sh, which says how."""

import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import cuts
import disks
import order
from rig import Failed, Rig, say

# name: what is done, how often (or to how many roles) in a quick run and in a full one; 0 is not at all
RUNS = {
    "alone": (cuts.alone, 8, 80),
    "one": (cuts.one, 6, 80),
    "all": (cuts.every, 6, 80),
    "many": (cuts.many, 0, 100),
    "control": (cuts.control, 1, 1),
    "order": (order.alone, 20, 200),
    "order-three": (order.three, 20, 200),
    "failed": (disks.failed, 1, 3),
    "gone": (disks.gone, 0, 3),
    "full-disk": (disks.full, 1, 1),
    "brim": (disks.brim, 0, 1),
    "slow": (disks.slow, 0, 3),
    "hung": (disks.hung, 0, 3),
}


ROOM_BYTES = 3 << 30


def maker(binary, work, port):
    numbers = itertools.count(1)

    @contextlib.contextmanager
    def make(nodes, mb=512):
        number = next(numbers)
        rig = Rig.__new__(Rig)
        try:
            rig.__init__(binary, Path(work) / f"rig-{number}", nodes, port + 10 * number, mb)
            yield rig
        except BaseException:
            for node in rig.nodes:
                say(f"    node {node.number}: {'; '.join(node.last_lines())}")
            raise
        finally:
            rig.remove()

    return make


def main():
    names, times = sys.argv[1].split(","), int(sys.argv[2])
    binary = Path(os.environ["BIN"]).resolve()
    is_quick = names == ["quick"]
    if names in (["quick"], ["full"]):
        names = list(RUNS)
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    port = int(os.environ.get("PORT", "21000"))
    # In memory where there is some: what counts is what the file system in the image has synced to it.
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    work = tempfile.mkdtemp(prefix="conclave-power-", dir=memory if has_room else None)
    # So that what is mounted goes with us.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    failed = 0
    say(f"seed {seed}, {binary}")
    try:
        for name in names:
            test, few, many = RUNS[name]
            count, begun = times or (few if is_quick else many), time.monotonic()
            if count == 0:
                continue
            try:
                told, mark = test(maker(binary, work, port), count, seed), "ok    "
            except Failed as error:
                told, mark, failed = str(error), "FAILED", failed + 1
            # Ports and folders of the next must be new.
            shutil.rmtree(work, ignore_errors=True)
            os.mkdir(work)
            say(f"{mark} {name:14} {count:4}x {time.monotonic() - begun:6.1f} s  {told}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
