"""The order of system calls: the log is synced, on a majority, before the reply to a write goes to the socket.

Beside the power cuts, because those are kind: what was written and not synced may still reach the image. Here the
words of the kernel count. A client writes one thing after the other, so that what a node does between request and
reply belongs to that request."""

import re
import uuid
from dataclasses import dataclass

from load import Load
from rig import Failed

# pid, seconds, the call; `<unfinished ...>` and `<... resumed>` where another thread came in between
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
CALLS = "read,recvfrom,readv,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync"


@dataclass
class Call:
    begun: float
    ended: float
    text: str


def calls(path):
    """The calls in a trace, in the order in which they ended."""
    open_calls, found = {}, []
    for line in path.read_text(errors="replace").splitlines():
        seen = LINE.match(line)
        if not seen:
            continue
        pid, at, text = seen[1], float(seen[2]), seen[3]
        if text.endswith("<unfinished ...>"):
            open_calls[pid] = (at, text[: -len("<unfinished ...>")].rstrip())
            continue
        resumed = RESUMED.match(text)
        begun = at
        if resumed:
            begun, start = open_calls.pop(pid, (at, resumed[1]))
            text = start + resumed[2]
        # `-T` gives how long a call took: that is when it ended, whenever strace came to write the line.
        took = re.search(r" <(\d+\.\d+)>$", text)
        found.append(Call(begun, begun + float(took[1]) if took else at, text))
    return found


def is_ok(call):
    return re.search(r"= \d+( <[\d.]+>)?$", call.text) is not None


def synced_between(found, start, end):
    """Whether the log was written after `start`, and then synced before `end`."""
    written = [call for call in found
               if ".wal>" in call.text and call.text.startswith(("write", "pwrite")) and is_ok(call)
               and start <= call.begun and call.ended <= end]
    if not written:
        return False
    return any(".wal>" in call.text and call.text.startswith(("fdatasync", "fsync")) and is_ok(call)
               and call.begun >= written[0].ended and call.ended <= end for call in found)


def judge(traces, asked, needed, forget_syncs=False):
    """Writes whose reply came too early, and how many were looked at. The asked node has the client's socket."""
    all_calls = {number: calls(path) for number, path in traces.items()}
    if forget_syncs:
        all_calls = {number: [call for call in found if "sync" not in call.text[:10]]
                     for number, found in all_calls.items()}
    mine = all_calls[asked]
    requests = [call for call in mine if '"POST /v1/accounts/' in call.text]
    early = []
    for request in requests:
        reply = next((call for call in mine if call.begun >= request.begun and "HTTP/1.1 201" in call.text
                      and not call.text.startswith(("read", "recv"))), None)
        if reply is None:
            raise Failed("a request without a reply in the trace")
        synced = sum(synced_between(found, request.begun, reply.begun) for found in all_calls.values())
        if synced < needed:
            early.append(request.text[:60])
    return early, len(requests)


def traced(make, nodes, needed, count):
    with make(nodes) as rig:
        rig.start()
        load = Load(rig)
        traces = {}
        for node in rig.nodes:
            node.stop()
        for node in rig.nodes:
            traces[node.number] = rig.work / f"trace-{node.number}"
            node.start(["strace", "-D", "-f", "-qq", "-ttt", "-T", "-yy", "-s", "80", "-o", traces[node.number],
                        "-e", f"trace={CALLS}"])
        rig.ready()
        load.sign_in()
        # Through a follower too: its own reply waits for others.
        asked = rig.nodes[-1]
        for _ in range(count):
            status, reply = asked.ask("POST", f"{load.base}/roles", load.token,
                                      {"name": f"w-{uuid.uuid4()}", "permissions": ["p:read"]})
            if status != 201:
                raise Failed(f"a write answered {status}: {reply}")
        for node in rig.nodes:
            node.stop()
        early, seen = judge(traces, asked.number, needed)
        if seen != count:
            raise Failed(f"the trace shows {seen} of {count} writes")
        blind, _ = judge(traces, asked.number, needed, forget_syncs=True)
        if len(blind) != count:
            raise Failed("without the syncs in the trace nothing is missed: the check sees nothing")
        if early:
            raise Failed(f"{len(early)} of {count} replies went out before {needed} of {nodes} logs were synced")
        return f"{count} writes: each reply after the sync of {needed} of {nodes} logs"


def alone(make, count, _seed):
    return traced(make, 1, 1, count)


def three(make, count, _seed):
    return traced(make, 3, 2, count)
