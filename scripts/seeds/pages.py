#!/usr/bin/env python3
"""Runs the examples of a page against a cluster and compares what they print with what the page says.

usage: pages.py PAGE.md URL [URL ...]
       pages.py --alone PORT PAGE.md

A page is Markdown. Its ```python blocks are one program, its ```sh blocks another, each run from top to bottom;
the ```text block behind one of them is what it prints. In that text <JWT>, <UUID>, <TIME>, <KEY>, <ID>, <N> and
<ANY> stand for one token, id, time, key, account id, number or anything, and a line `...` for any lines. http://127.0.0.1:8080,
:8081 and :8082 are the nodes: for each node the page is run once with that node in the first place.

With --alone the page starts its nodes itself, in the current folder. It is run once, 127.0.0.1:8080 to :8089 are the
ports from PORT on, 127.0.0.1:9080 to :9089 those from PORT + 1000 on, and a ```sh block that fails ends the page. What
it has started is stopped at its end. A page that has the line `<!-- after OTHER.md -->` runs that page's blocks first.

Top-level `await` is allowed, as in the pages of a library that is asynchronous. Standard library only.
"""

import ast
import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

FENCE = re.compile(r"^```(\w*)\s*\n(.*?)^```\s*$", re.M | re.S)
AFTER = re.compile(r"^<!-- after ([\w-]+\.md) -->$", re.M)
HOLES = {
    "<JWT>": r"[\w-]+\.[\w-]+\.[\w-]+",
    "<UUID>": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "<TIME>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?",
    "<KEY>": r"\w{20,}",
    "<ID>": r"\d{12}",
    "<N>": r"\d+",
    "<ANY>": r"[^\n]*?",
}


def blocks(page):
    """The (language, code, expected) of a page; expected is None where nothing is said."""
    found = FENCE.findall(page)
    for at, (language, code) in enumerate(found):
        if language in ("python", "sh"):
            behind = found[at + 1] if at + 1 < len(found) else ("", "")
            yield language, code, behind[1] if behind[0] == "text" else None


def pattern(expected):
    """A regular expression that what is printed must match."""
    lines = []
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        text = re.escape(line)
        for hole, shape in HOLES.items():
            text = text.replace(re.escape(hole), shape)
        lines.append(text + r"\n")
    return re.compile("".join(lines))


def at_node(code, urls, first):
    """The code with the nodes of this cluster in the place of those of the page."""
    for place in range(3):
        code = code.replace(f"127.0.0.1:808{place}", urls[(first + place) % len(urls)].split("://")[1])
    return code


def at_port(code, port):
    """The code with ports of our own in the place of those of the page."""
    return re.sub(r"127\.0\.0\.1:([89])08(\d)", lambda m: f"127.0.0.1:{port + (m[1] == '9') * 1000 + int(m[2])}", code)


# How long a block may take. One that hangs is stopped, which is seen as its failure.
PATIENCE_S = 120
# How long what a page has started may take to stop.
STOPPING_S = 20


class Page:
    def __init__(self, name, place, strict=False):
        self.name, self.place = name, place
        # A name of its own for each node, so that a page makes the same things on each.
        self.names = {"__name__": "__main__"}
        self.shell = subprocess.Popen(
            ["bash", "-euo", "pipefail"] if strict else ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, so that what it leaves running can be stopped with it.
            start_new_session=True,
        )
        self.loop = asyncio.new_event_loop()

    def run(self, language, code):
        code = self.place(code)
        return self.python(code) if language == "python" else self.sh(code)

    def python(self, code):
        printed = io.StringIO()
        compiled = compile(code, self.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(printed):
            try:
                result = eval(compiled, self.names)
                if asyncio.iscoroutine(result):
                    self.loop.run_until_complete(result)
            except Exception:
                traceback.print_exc(file=printed)
        return printed.getvalue()

    def sh(self, code):
        end = f"--end-{os.urandom(8).hex()}--"
        watch = threading.Timer(PATIENCE_S, os.killpg, (self.shell.pid, signal.SIGTERM))
        watch.start()
        lines = []
        try:
            self.shell.stdin.write(f"{code}\nprintf '\\n%s\\n' '{end}'\n")
            self.shell.stdin.flush()
            for line in self.shell.stdout:
                if line.strip() == end:
                    break
                lines.append(line)
            else:
                raise Ended("".join(lines))
        finally:
            watch.cancel()
        printed = "".join(lines)
        # The newline that the mark needs in front is ours.
        return printed[:-1] if printed.endswith("\n") else printed

    def close(self):
        self.loop.close()
        # The end of its input ends the shell; what it has started goes on until it is told.
        with contextlib.suppress(BrokenPipeError):
            self.shell.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGTERM)
        self.shell.wait()
        end = time.monotonic() + STOPPING_S
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.killpg(self.shell.pid, 0)
                time.sleep(0.05)
            os.killpg(self.shell.pid, signal.SIGKILL)


class Ended(Exception):
    """The shell ended within a block; with what it had printed."""


def alone(path, port):
    """Runs a page that starts its nodes itself."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before = AFTER.search(text)
    found = []
    if before:
        with open(os.path.join(os.path.dirname(path), before[1]), encoding="utf-8") as file:
            found = [(language, code, None) for language, code, _ in blocks(file.read())]
    found += blocks(text)
    page = Page(path, lambda code: at_port(code, port), strict=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    compared = 0
    try:
        for language, code, expected in found:
            try:
                printed = page.run(language, code)
            except Ended as ended:
                print(f"{path}: this failed, or took longer than {PATIENCE_S} s:\n{code}--- it printed:\n{ended}", file=sys.stderr)
                return 1
            if expected is None:
                continue
            compared += 1
            printed = printed.rstrip("\n") + "\n"
            # What the page says has its own ports, as its commands have.
            if not pattern(page.place(expected)).fullmatch(printed):
                print(
                    f"{path}: this prints something else:\n{code}"
                    f"--- the page says:\n{expected}--- it prints:\n{printed}",
                    file=sys.stderr,
                )
                return 1
    finally:
        page.close()
    print(f"{path}: {len(found)} blocks ran, {compared} outputs as it says")
    return 0


def main(path, urls):
    with open(path, encoding="utf-8") as file:
        found = list(blocks(file.read()))
    compared = failed = 0
    for first in range(len(urls)):
        page = Page(path, lambda code, first=first: at_node(code, urls, first))
        for language, code, expected in found:
            printed = page.run(language, code)
            if printed and not printed.endswith("\n"):
                printed += "\n"
            if expected is None:
                if "Traceback" in printed:
                    failed += 1
                    print(f"{path} on {urls[first]}: this failed:\n{code}{printed}", file=sys.stderr)
                continue
            compared += 1
            if not pattern(expected).fullmatch(printed):
                failed += 1
                print(
                    f"{path} on {urls[first]}: this prints something else:\n{code}"
                    f"--- the page says:\n{expected}--- it prints:\n{printed}",
                    file=sys.stderr,
                )
        page.close()
    print(f"{path}: {compared} outputs on {len(urls)} nodes, {failed} differ")
    if compared == 0:
        print(f"{path}: nothing was compared", file=sys.stderr)
    return 1 if failed or compared == 0 else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--alone":
        sys.exit(alone(sys.argv[3], int(sys.argv[2])))
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
