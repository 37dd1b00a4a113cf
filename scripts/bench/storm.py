"""Five hundred clients that sign in without a pause, and the checks of others meanwhile."""

import os
import statistics
import threading

import seed
from checks import asking
from cluster import Cluster
from load import SPAN, Saw, rounds, wrk
from passwords import signing_in
from processes import Failed, forget_peaks, peak_mb, rss_mb
from table import Table

CLIENTS = 500
OTHERS = 4
# What a hash takes by default (19 MiB) for each processor, twice, and what 500 connections take.
MOST_MB = 2 * 19 * (os.cpu_count() or 1) + 100


class Storm(threading.Thread):
    """Sign-ins at a node. 503 tells a client to come back; it does so sooner than it is told to."""

    def __init__(self, url, account):
        super().__init__(daemon=True)
        self.url, self.saw, self.error = url, None, None
        self.ask = signing_in(account)
        self.ask.refusal, self.ask.refused_pause_ms = 503, 200

    def run(self):
        try:
            self.saw = wrk(self.url, self.ask, CLIENTS, SPAN + 2, sample=False)
        except Failed as error:
            self.error = error

    def end(self):
        self.join()
        if self.error:
            raise self.error
        return self.saw


def storm(bench):
    table = Table("storm", f"{CLIENTS} clients sign in without a pause at the leader of three nodes; checks of others "
                           f"on {OTHERS} connections")
    with Cluster(bench, bench.port) as cluster:
        lead, follower = cluster.leader(), cluster.followers()[0]
        account, term = seed.account(lead.url), cluster.term()
        checks = asking(account, "linearizable")
        checks.pause_ms = 5
        before, peaks, answered, refused = rss_mb(lead.pid), [], [], []

        def calm(node):
            return wrk(node.url, checks, OTHERS, pids=[node.pid])

        def stormy(node):
            forget_peaks([lead.pid])
            storm = Storm(lead.url, account)
            storm.start()
            # Until all are there.
            threading.Event().wait(1)
            saw = wrk(node.url, checks, OTHERS, SPAN)
            told = storm.end()
            peaks.append(peak_mb([lead.pid]))
            answered.append(told.rate)
            refused.append(told.refused)
            return saw

        seen = rounds({"idle, leader": lambda: calm(lead), "storm, leader": lambda: stormy(lead),
                       "idle, follower": lambda: calm(follower), "storm, follower": lambda: stormy(follower)})
        elections = cluster.term() - term
    for where in ("leader", "follower"):
        calm_seen, storm_seen = seen[f"idle, {where}"], seen[f"storm, {where}"]
        slower = statistics.median(b.p99_ms / a.p99_ms for a, b in zip(calm_seen, storm_seen))
        table.add(f"checks on the {where}, no storm", calm_seen)
        table.add(f"checks on the {where}, storm: p99", storm_seen, slower, at_most=3)
    table.add("sign-ins of the storm", [Saw(rate) for rate in answered], refused=statistics.median(refused))
    table.add("memory of the leader above before", ratio=max(peaks) - before, at_most=MOST_MB, unit="MB")
    table.add("elections", ratio=elections, at_most=0, unit="")
    table.finish()
