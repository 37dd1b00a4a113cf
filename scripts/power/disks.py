"""Disks that fail, fill up, go away, slow down or hang under a node that runs."""

import contextlib
import subprocess
import threading
import time

from load import Load
from rig import Failed, run, until

WRITERS = 6
ROLES = ("follower", "leader", "alone")


@contextlib.contextmanager
def injected(node, what):
    """While it lasts, the node's syncs do `what`."""
    calls = "fsync,fdatasync,sync_file_range"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{what}",
         "-p", str(node.process.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("strace at the node", lambda: traced(node) or node.process.poll() is not None)
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def traced(node):
    return "TracerPid:\t0\n" not in (open(f"/proc/{node.process.pid}/status").read())


@contextlib.contextmanager
def under_load(make, role, mb=512):
    """A cluster that is written to, and the node in it whose disk is to go bad."""
    with make(1 if role == "alone" else 3, mb) as rig:
        rig.start()
        load = Load(rig)
        leader = rig.leader()
        node = leader if role != "follower" else next(node for node in rig.nodes if node is not leader)
        load.begin(WRITERS)
        load.until_acked(20)
        yield rig, load, node
        load.end()


def gap(load, since):
    """The longest time without an acknowledged write, from then until now, in seconds."""
    times = [since, *(at for _, at in load.acked if at > since), time.monotonic()]
    return max(later - earlier for earlier, later in zip(times, times[1:]))


def comes_back(rig, load, node):
    """Starts the node again: it must serve, and nothing may be missing."""
    load.end()
    node.start()
    rig.ready()
    load.sign_in()
    load.begin(WRITERS)
    load.until_acked(20)
    load.end()
    for one in rig.nodes:
        lost = load.all_lost(one)
        if lost:
            raise Failed(f"node {one.number} has lost {len(lost)} acknowledged writes: {lost[:3]}")
    if len(rig.nodes) > 1:
        rig.same_digests()


def must_end(rig, load, node, what, begun):
    """The node ends by itself, with a status that says so, and the others go on."""
    status = node.ended()
    took = time.monotonic() - begun
    if status <= 0:
        raise Failed(f"{what}: the node ended with {status}")
    if len(rig.nodes) > 1:
        load.until_acked(20)
    told = f"ended with {status} after {took:.1f} s"
    node.process = None
    if len(rig.nodes) > 1:
        told += f", others paused {gap(load, begun):.1f} s"
    return told


def failed(make, _count, _seed):
    told = []
    for role in ROLES:
        with under_load(make, role) as (rig, load, node):
            begun = time.monotonic()
            with injected(node, "error=EIO"):
                told.append(f"{role} {must_end(rig, load, node, role, begun)}")
            comes_back(rig, load, node)
    return "; ".join(told)


def gone(make, _count, _seed):
    """The file system goes away under the node, as one does that turned itself off after an error."""
    told = []
    for role in ROLES:
        with under_load(make, role) as (rig, load, node):
            begun = time.monotonic()
            node.disk.shut_down()
            told.append(f"{role} {must_end(rig, load, node, role, begun)}")
            node.disk.unmount()
            node.disk.mount()
            comes_back(rig, load, node)
    return "; ".join(told)


def full(make, _count, _seed):
    told = []
    for role in ROLES:
        with under_load(make, role, 64) as (rig, load, node):
            filler = node.disk.path / "filler"
            begun = time.monotonic()
            run("fallocate", "-l", node.disk.free() - (256 << 10), filler, check=False)
            told.append(f"{role} {must_end(rig, load, node, role, begun)}")
            # Still full: it refuses to start, or starts and stops, and breaks nothing.
            node.start()
            status = node.ended()
            if status <= 0:
                raise Failed(f"on a full disk the node ends with {status}")
            node.process = None
            filler.unlink()
            comes_back(rig, load, node)
    return "; ".join(told)


def slow(make, _count, _seed):
    told = []
    for role in ROLES:
        with under_load(make, role) as (rig, load, node):
            leader, begun = rig.leader(), time.monotonic()
            with injected(node, "delay_exit=200000"):
                load.until_acked(100)
                took, longest = time.monotonic() - begun, gap(load, begun)
            moved = "" if rig.leader() is leader else ", another leads"
            told.append(f"{role} with 200 ms a sync: {100 / took:.0f} writes/s, longest pause {longest:.1f} s{moved}")
            load.end()
            lost = load.all_lost(rig.nodes[0])
            if lost:
                raise Failed(f"{role}: lost {len(lost)}")
    return "; ".join(told)


def hung(make, _count, _seed):
    """Nothing can be written for ten seconds; a timer thaws whatever happens here."""
    told = []
    for role in ROLES:
        with under_load(make, role) as (rig, load, node):
            leader, begun = rig.leader(), time.monotonic()
            thaw = threading.Timer(HUNG_S, lambda disk=node.disk: run("fsfreeze", "-u", disk.path, check=False))
            thaw.start()
            run("fsfreeze", "-f", node.disk.path)
            thaw.join()
            load.until_acked(20)
            longest = gap(load, begun)
            moved = "" if rig.leader() is leader else ", another leads"
            told.append(f"{role}: longest pause {longest:.1f} s of {HUNG_S}{moved}")
            rig.ready()
            load.end()
            for one in rig.nodes:
                if load.all_lost(one):
                    raise Failed(f"{role}: node {one.number} lost writes")
    return "; ".join(told)


HUNG_S = 10
