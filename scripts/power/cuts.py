"""Power cuts: of a node alone, of one of three, of all three at once; and the proof that a loss would be seen."""

import random
import time

from load import Load
from rig import Failed, say

WRITERS = 6


def cuts(rig, victims_of, cycles, seed):
    """Cuts the power again and again under load. The row of the table."""
    chance = random.Random(seed)
    rig.start()
    load = Load(rig)
    lost, granted, starts = 0, 0, []
    for cycle in range(cycles):
        victims = victims_of(chance)
        load.sign_in()
        writes, revoked = len(load.acked), len(load.revoked)
        asked = chance.choice(rig.nodes)
        tokens = [load.user_token(asked) for _ in range(3)]
        load.begin(WRITERS)
        load.until_acked(chance.randint(5, 60))
        # The last of them right before the cut, through a node that is cut.
        for token in tokens[:2]:
            load.revoke(victims[-1], token)
        rig.cut_power(victims)
        begun = time.monotonic()
        rig.start(victims)
        starts.append(time.monotonic() - begun)
        load.end()
        for node in rig.nodes:
            granted += len(load.granted(node, revoked))
            if node.expect_any((200, 401), "GET", f"{load.base}/users/me", tokens[2]) != 200:
                raise Failed("a token that nobody revoked is refused")
        missing = load.lost(victims[0], writes)
        lost += len(missing)
        if cycle % 20 == 19:
            say(f"    {cycle + 1} cycles: {len(load.acked)} writes acknowledged, {lost} lost")
        if missing:
            say(f"    cycle {cycle} (seed {seed}): lost {missing[:3]}")
        if len(rig.nodes) > 1:
            rig.same_digests()
    lost += len(load.all_lost(rig.nodes[0]))
    starts.sort()
    told = f"{len(load.acked)} writes and {len(load.revoked)} revocations acknowledged, {lost} lost, {granted} granted"
    told += f"; serving again after {starts[len(starts) // 2]:.1f} s, at most {starts[-1]:.1f} s"
    if lost or granted:
        raise Failed(told)
    return told


def alone(make, cycles, seed):
    with make(1) as rig:
        return cuts(rig, lambda _: rig.nodes, cycles, seed)


def one(make, cycles, seed):
    # It is written to all the while, not only around the cuts.
    with make(3, 2048) as rig:
        return cuts(rig, lambda chance: [chance.choice(rig.nodes)], cycles, seed)


def every(make, cycles, seed):
    with make(3) as rig:
        return cuts(rig, lambda _: rig.nodes, cycles, seed)


def many(make, thousands, _seed):
    """All three at once, with so many thousand roles: how long until each serves."""
    with make(3, 2048) as rig:
        rig.start()
        load = Load(rig)
        for number in range(thousands * 10):
            if number % 200 == 0:
                load.sign_in()
            actions = [{"action": "create_role", "name": f"m-{number}-{one}", "permissions": ["p:read"]}
                       for one in range(100)]
            rig.nodes[number % 3].expect(200, "POST", f"{load.base}/transactions", load.token, {"actions": actions})
        load.begin(WRITERS)
        load.until_acked(50)
        rig.cut_power(rig.nodes)
        begun = time.monotonic()
        rig.start()
        took = time.monotonic() - begun
        load.end()
        lost = load.lost(rig.nodes[0])
        for number in range(0, thousands * 10, 7):
            if rig.nodes[1].expect_any((200, 404), "GET", f"{load.base}/roles/m-{number}-99", load.token) == 404:
                lost.append(f"m-{number}-99")
        if lost:
            raise Failed(f"lost {lost[:3]}")
        rig.same_digests()
        return f"with {thousands},000 roles all three serve {took:.1f} s after the cut"


def control(make, _cycles, _seed):
    """The same with a disk that lies: syncs say that they succeeded, and do nothing. Must lose something, if not at
    once: the system writes some of it by itself, at times of its own."""
    for _ in range(5):
        told = lying(make)
        if told:
            return told
    raise Failed("a disk that syncs nothing loses nothing, five times: the cuts cut nothing")


def lying(make):
    syncs = "fsync,fdatasync,sync_file_range"
    with make(1) as rig:
        node = rig.nodes[0]
        rig.start()
        load = Load(rig)
        node.stop()
        node.start(["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syncs}",
                    "-e", f"inject={syncs}:retval=0"])
        rig.ready()
        load.begin(WRITERS)
        load.until_acked(50)
        rig.cut_power([node])
        load.end()
        node.start()
        acked = f"{len(load.acked)} writes acknowledged over syncs that do nothing"
        try:
            rig.ready()
            lost = len(load.lost(node))
        except Failed:
            return f"{acked}: the node does not start"
        return f"{acked}: {lost} lost, as must be" if lost else None
