"""Figures as a table for people and as JSON for the plots."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from load import ROUNDS, SPAN, median
from processes import say

HERE = Path(__file__).resolve().parents[2]
FOLDER = HERE / "target" / "bench"


def machine():
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"cores": os.cpu_count(), "kernel": platform.release(), "cpu": models[0] if models else platform.machine(),
            "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0],
            "command": " ".join(["scripts/bench.sh", *sys.argv[1:]]), "span_s": SPAN, "rounds": ROUNDS}


def shown(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Table:
    """The rows of one benchmark, and what they ought to be."""

    def __init__(self, name, title):
        self.name, self.title, self.rows = name, title, []
        say(f"{name}: {title}")

    def add(self, label, seen=(), ratio=None, at_least=None, at_most=None, unit="x", **more):
        """A row: what the rounds saw, and a ratio (or another figure, in `unit`) with its aim."""
        rates = [saw.rate for saw in seen if saw.rate is not None]
        aim = at_least if at_least is not None else at_most
        is_reached = None
        if aim is not None and ratio is not None:
            is_reached = ratio >= aim if at_least is not None else ratio <= aim
        self.rows.append({
            "label": label, "throughput": median(seen), "spread": [min(rates), max(rates)] if rates else None,
            "p50_ms": median(seen, "p50_ms"), "p99_ms": median(seen, "p99_ms"),
            "cpu_s_per_1000": median(seen, "per_1000"), "peak_mb": median(seen, "peak_mb"), "ratio": ratio,
            "unit": unit, "aim": aim, "direction": None if aim is None else "<=" if at_least is None else ">=",
            "reached": is_reached, **more})

    def finish(self):
        heads = ["", "a second", "(spread)", "p50 ms", "p99 ms", "cpu s/1000", "peak MB", "figure", "aim", ""]
        lines = [heads]
        for row in self.rows:
            spread = row["spread"]
            figure = "" if row["ratio"] is None else f"{shown(row['ratio'])} {row['unit']}"
            aim = "" if row["aim"] is None else f"{row['direction']} {shown(row['aim'])}"
            mark = {True: "reached", False: "MISSED", None: ""}[row["reached"]]
            lines.append([
                row["label"], shown(row["throughput"]),
                f"({shown(spread[0])} to {shown(spread[1])})" if spread and len(set(spread)) > 1 else "",
                shown(row["p50_ms"]), shown(row["p99_ms"]), shown(row["cpu_s_per_1000"]), shown(row["peak_mb"]),
                figure, aim, mark])
        is_used = [any(line[at] for line in lines[1:]) for at in range(len(heads))]
        widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
        for line in lines:
            cells = [cell.ljust(width) if at == 0 else cell.rjust(width)
                     for at, (cell, width) in enumerate(zip(line, widths)) if is_used[at]]
            say("  " + "  ".join(cells).rstrip())
        FOLDER.mkdir(parents=True, exist_ok=True)
        told = {"name": self.name, "title": self.title, "machine": machine(), "rows": self.rows}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(told, indent=1) + "\n")
