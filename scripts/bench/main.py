#!/usr/bin/env python3
"""Runs benchmarks: started by scripts/bench.sh, which says how."""

import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import checks
import faults
import growth
import idle
import oauth
import passwords
import permissions
import revocation
import storm
import tokens
import writes
from processes import Failed, run, say
from table import FOLDER, HERE


def plot(bench):
    say(run(bench.example("plot"), FOLDER, HERE / "docs" / "performance").strip())


# name: what is run, and what it measures
RUNS = {
    "check": (checks.check, "permission checks against a bare route with the same bytes"),
    "introspect": (tokens.introspect, "introspection: a known token to a bare route, new ones to EdDSA alone"),
    "writes": (writes.writes, "replicated writes against etcd"),
    "passwords": (passwords.passwords, "sign-ins against the bare hash pool; a hash against Debian's argon2"),
    "oauth": (oauth.oauth, "grants, refreshes and sign-ins for each core, against Keycloak's published sizing"),
    "has_permission": (permissions.has_permission, "the check of RODMENA auth against its own server"),
    "idle": (idle.idle, "idle nodes, first answers, size of the program; LARGE=1: with 1000000 USERS"),
    "revocation": (revocation.revocation, "COUNT (300) revocations: refused at once, and applied how soon"),
    "growth": (growth.growth, "p99, memory and disk by SIZES users and ACCOUNTS accounts, and with many roles"),
    "storm": (storm.storm, "checks of others while 500 clients sign in"),
    "gap": (faults.gap, "the time without writes after kill -9 of the leader, TIMES (10) times"),
    "handover": (faults.handover, "writes while the leader steps down, TIMES times"),
    "rolling": (faults.rolling, "writes while each node is started again"),
    "large": (faults.large, "starts, a new node and a backup with USERS (100000) users"),
    "plot": (plot, "nothing: draws the figures of target/bench into docs/performance"),
}


@dataclass
class Bench:
    """Where things are."""
    binary: Path
    examples: Path
    work: Path
    port: int

    def example(self, name):
        return self.examples / name


def main():
    names = sys.argv[1:]
    if not names:
        say("scripts/bench.sh NAME...")
        for name, (_, about) in RUNS.items():
            say(f"  {name:15} {about}")
        return 0
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        say(f"no such benchmark: {' '.join(unknown)}")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    # On the disk of the repository, for ours and for those we compare with.
    FOLDER.mkdir(parents=True, exist_ok=True)
    binary, port, failed = Path(os.environ["BIN"]).resolve(), int(os.environ.get("PORT", "18080")), 0
    for name in names:
        work, begun = Path(tempfile.mkdtemp(prefix="work-", dir=FOLDER)), time.monotonic()
        bench = Bench(binary, HERE / "target" / "release" / "examples", work, port)
        try:
            RUNS[name][0](bench)
            say(f"  {time.monotonic() - begun:.0f} s")
        except Failed as error:
            say(f"FAILED: {name}: {error}")
            failed += 1
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


sys.exit(main())
