"""Three nodes of etcd as real processes on loopback, their data beside ours."""

import shutil

from cluster import ask
from processes import end, start, until

ABOVE = 50


class Etcd:
    def __init__(self, bench):
        self.folder = bench.work / "etcd"
        self.folder.mkdir()
        ports = [bench.port + ABOVE + 2 * number for number in range(3)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        peers = [f"http://127.0.0.1:{port + 1}" for port in ports]
        all_of_them = ",".join(f"n{number}={peer}" for number, peer in enumerate(peers))
        self.processes = [
            start(["etcd", "--name", f"n{number}", "--data-dir", self.folder / f"n{number}",
                   "--listen-client-urls", url, "--advertise-client-urls", url,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", all_of_them, "--initial-cluster-state", "new", "--logger", "zap",
                   "--log-level", "error"], self.folder / f"n{number}.log")
            for number, (url, peer) in enumerate(zip(self.urls, peers))]
        try:
            self.leads = until("a leader of etcd", self.find_leader)
        except BaseException:
            self.remove()
            raise

    def find_leader(self):
        for url in self.urls:
            status, told, _ = ask(url, "POST", "/v3/maintenance/status", body={})
            if status != 200 or "leader" not in told:
                return None
            if told["leader"] == told["header"]["member_id"]:
                return url
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        for process in self.processes:
            end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def follower(self):
        return next(url for url in self.urls if url != self.leads)
