"""Disks that fail, fill up, go away, slow down or hang under a node that runs."""

import contextlib
import subprocess
import threading
import time

from load import Load
from rig import Failed, run, until

WRITERS = 6
ROLES = ("leader", "follower", "alone")


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
def under_load(make, role):
    """A cluster that is written to, and the node in it whose disk is to go bad."""
    with make(1 if role == "alone" else 3) as rig:
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


def failed(make, roles, _seed):
    told = []
    for role in ROLES[:roles]:
        with under_load(make, role) as (rig, load, node):
            begun = time.monotonic()
            with injected(node, "error=EIO"):
                told.append(f"{role} {must_end(rig, load, node, role, begun)}")
            comes_back(rig, load, node)
    return "; ".join(told)


def gone(make, roles, _seed):
    """The file system goes away under the node, as one does that turned itself off after an error."""
    told = []
    for role in ROLES[:roles]:
        with under_load(make, role) as (rig, load, node):
            begun = time.monotonic()
            node.disk.shut_down()
            told.append(f"{role} {must_end(rig, load, node, role, begun)}")
            node.disk.unmount()
            node.disk.mount()
            comes_back(rig, load, node)
    return "; ".join(told)


def fill(node, left):
    """Takes all but `left` bytes of the node's disk. The file that does."""
    filler = node.disk.path / "filler"
    run("fallocate", "-l", max(node.disk.free() - left, 4096), filler)
    return filler


def full(make, _count, _seed):
    """All disks nearly full at once: reads and checks go on, writes are refused and nothing of them is done."""
    told = []
    for nodes in (1, 3):
        with make(nodes) as rig:
            rig.start()
            load = Load(rig)
            token = load.user_token(rig.nodes[0])
            load.begin(WRITERS)
            load.until_acked(20)
            fillers = [fill(node, NEARLY_FULL) for node in rig.nodes]
            until("writes refused", lambda: load.answers.get(503, 0) > 20, 30)
            before = len(load.acked)
            for node in rig.nodes:
                for name in (load.acked[0][0], load.acked[-1][0]):
                    node.expect(200, "GET", f"{load.base}/roles/{name}", load.token)
                node.expect(200, "GET", f"{load.base}/users/me", token)
                status, problem = node.ask("POST", "/iam/v1/SignInAsIAMUser", body=load.user)
                if status != 503 or "unknown" in str(problem).replace("outcome_unknown", ""):
                    raise Failed(f"a sign-in on a full disk answered {status}: {problem}")
                if node.process.poll() is not None:
                    raise Failed(f"node {node.number} ended")
            if len(load.acked) > before:
                raise Failed("a write was taken")
            for filler in fillers:
                filler.unlink()
            begun = time.monotonic()
            load.until_acked(20)
            load.end()
            for node in rig.nodes:
                if load.all_lost(node):
                    raise Failed(f"node {node.number} lost writes")
            told.append(f"{nodes} of {nodes}: reads went on, {load.answers[503]} writes refused, "
                        f"taken again {time.monotonic() - begun:.1f} s after there was room")
    # Only that of the leader: another leads then.
    with under_load(make, "leader") as (rig, load, node):
        begun = time.monotonic()
        filler = fill(node, NEARLY_FULL)
        until("another leader", lambda: rig.leader() is not node, 30)
        load.until_acked(20)
        told.append(f"only the leader's: longest pause {gap(load, begun):.1f} s")
        load.end()
        filler.unlink()
        if load.all_lost(node):
            raise Failed("the node lost writes")
    return "; ".join(told)


def brim(make, _count, _seed):
    """One disk of three full to the last block: that node ends, and comes back once there is room."""
    with under_load(make, "follower") as (rig, load, node):
        begun = time.monotonic()
        filler = fill(node, 16 << 10)
        told = must_end(rig, load, node, "follower", begun)
        # Still full: it refuses to start, or starts and stops, and breaks nothing.
        node.start()
        if node.ended() <= 0:
            raise Failed("on a full disk the node ends as if all were well")
        node.process = None
        filler.unlink()
        comes_back(rig, load, node)
    return f"follower {told}"


def slow(make, roles, _seed):
    told = []
    for role in ROLES[:roles]:
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


def hung(make, roles, _seed):
    """Nothing can be written for ten seconds; a timer thaws whatever happens here."""
    told = []
    for role in ROLES[:roles]:
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
# Less than what a node keeps back.
NEARLY_FULL = 40 << 20
