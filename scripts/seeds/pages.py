#!/usr/bin/env python3
"""Runs the examples of a page against a cluster and compares what they print with what the page says.

usage: pages.py PAGE.md URL [URL ...]

A page is Markdown. Its ```python blocks are one program, its ```sh blocks another, each run from top to bottom;
the ```text block behind one of them is what it prints. In that text <JWT>, <UUID>, <TIME>, <KEY>, <ID>, <N> and
<ANY> stand for one token, id, time, key, account id, number or anything, and a line `...` for any lines. http://127.0.0.1:8080,
:8081 and :8082 are the nodes: for each node the page is run once with that node in the first place.

Top-level `await` is allowed, as in the pages of a library that is asynchronous. Standard library only.
"""

import ast
import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
import traceback

FENCE = re.compile(r"^```(\w*)\s*\n(.*?)^```\s*$", re.M | re.S)
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


class Page:
    def __init__(self, name, urls, first):
        self.name, self.urls, self.first = name, urls, first
        # A name of its own for each node, so that a page makes the same things on each.
        self.names = {"__name__": "__main__"}
        self.shell = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.loop = asyncio.new_event_loop()

    def run(self, language, code):
        code = at_node(code, self.urls, self.first)
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
        self.shell.stdin.write(f"{code}\nprintf '\\n%s\\n' '{end}'\n")
        self.shell.stdin.flush()
        lines = []
        for line in self.shell.stdout:
            if line.strip() == end:
                break
            lines.append(line)
        printed = "".join(lines)
        # The newline that the mark needs in front is ours.
        return printed[:-1] if printed.endswith("\n") else printed

    def close(self):
        self.shell.stdin.close()
        self.shell.wait()
        self.loop.close()


def main(path, urls):
    with open(path, encoding="utf-8") as file:
        found = list(blocks(file.read()))
    compared = failed = 0
    for first in range(len(urls)):
        page = Page(path, urls, first)
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
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
