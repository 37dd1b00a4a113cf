"""Real nodes on file systems of their own, whose power can be cut: images, mounts, processes, and the way to them.

A power cut is emulated by the file system's shutdown: what was not synced is gone, as are renames and new lengths.
The node is stopped first (all its threads, by the kernel's word), because a sync in flight would report success
while the file system goes down. What this does not model: a disk's own cache, and torn sectors."""

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

IMAGE_MB = 512
# Cheap passwords: what is tried here is the disk.
SETTINGS = {"CONCLAVE_ARGON2_MEMORY_KIB": "7168", "CONCLAVE_ARGON2_ITERATIONS": "1", "CONCLAVE_RATE_LIMIT_API": "1000000/minute"}


class Failed(Exception):
    pass


def say(text):
    print(text, flush=True)


def run(*args, check=True, **more):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))}: {done.stdout}{done.stderr}")
    return done


def until(what, look, seconds=60):
    """What `look` returns at last."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"never saw {what}")
        time.sleep(0.01)


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, work, name, mb=IMAGE_MB):
        self.image, self.path = work / f"{name}.img", work / name
        with open(self.image, "wb") as image:
            image.truncate(mb << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.path.mkdir()
        self.is_mounted = False
        self.mount()

    def mount(self):
        # A long way between commits, so that nothing becomes durable by luck.
        run("mount", "-o", "loop,commit=600", self.image, self.path)
        self.is_mounted = True

    def shut_down(self):
        run("xfs_io", "-x", "-c", "shutdown", self.path)

    def unmount(self):
        if self.is_mounted:
            until(f"{self.path} unmounted", lambda: run("umount", self.path, check=False).returncode == 0, 20)
            self.is_mounted = False

    def free(self):
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def remove(self):
        run("fsfreeze", "-u", self.path, check=False)
        if self.is_mounted and run("umount", self.path, check=False).returncode != 0:
            run("umount", "-l", self.path, check=False)
        self.image.unlink(missing_ok=True)


class Node:
    """One node: its disk, its settings, its process when it runs."""

    def __init__(self, rig, number, port):
        self.rig, self.number, self.process = rig, number, None
        self.url = f"http://127.0.0.1:{port}"
        self.config = rig.work / f"node-{number}.toml"
        self.disk = None

    @property
    def data(self):
        return self.disk.path / "data"

    def start(self, before=()):
        """Starts it; `before` is a command that starts another, like strace."""
        log = open(self.rig.work / f"node-{self.number}.log", "ab")
        self.process = subprocess.Popen(
            [*map(str, before), str(self.rig.binary), "start", "--config", str(self.config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.rig.work, env={**os.environ, **SETTINGS},
            start_new_session=True)
        log.close()

    def log(self):
        told = self.rig.work / f"node-{self.number}.log"
        return told.read_text(errors="replace") if told.exists() else ""

    def last_lines(self):
        return self.log().strip().splitlines()[-3:] if self.config.exists() else []

    def ready(self):
        if self.process is not None and self.process.poll() is not None:
            raise Failed(f"node {self.number} ended with {self.process.returncode}:\n{self.log()[-1500:]}")
        return self.ask("GET", "/ready")[0] == 200

    def ask(self, method, path, token=None, body=None, timeout=7):
        """The status and the body of one request; 0 when there was no answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            headers = {"content-type": "application/json"}
            if token:
                headers["authorization"] = f"Bearer {token}"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text[:1] in (b"{", b"[") else text
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def expect(self, status, method, path, token=None, body=None):
        """As `ask`, patiently: an answer of "not now" is asked again."""
        seen = []

        def look():
            got = self.ask(method, path, token, body)
            seen[:] = [got]
            return got if got[0] not in (0, 503) else None

        try:
            got = until("an answer", look, 30)
        except Failed:
            got = seen[0]
        if got[0] != status:
            raise Failed(f"node {self.number}: {method} {path} answered {got}, not {status}")
        return got[1]

    def expect_any(self, statuses, method, path, token=None):
        """The status, which must be one of these, at last."""
        seen = []

        def look():
            seen[:] = [self.ask(method, path, token)[0]]
            return seen[0] in statuses

        try:
            until("an answer", look, 30)
        except Failed as error:
            raise Failed(f"node {self.number}: {method} {path} answers {seen[0]}") from error
        return seen[0]

    def freeze(self):
        """Stops every thread; returns when the kernel says that all of them are."""
        os.kill(self.process.pid, signal.SIGSTOP)
        until(f"node {self.number} stopped", self.is_stopped, 30)

    def is_stopped(self):
        states = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                states.append((task / "stat").read_text().rsplit(")", 1)[1].split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
        return all(state in "Tt" for state in states)

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self):
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def ended(self, seconds=60):
        """The status that it ends with by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"node {self.number} does not stop:\n{self.log()[-1500:]}") from error

    def members(self):
        told = run(self.rig.binary, "members", "--json", "--config", self.config, check=False, cwd=self.rig.work)
        return json.loads(told.stdout) if told.returncode == 0 else None


class Rig:
    """A cluster under a folder that goes with it."""

    def __init__(self, binary, work, nodes, port, mb=IMAGE_MB):
        self.binary, self.work, self.nodes, self.dev = binary, Path(work), [], None
        self.work.mkdir()
        self.build(nodes, port, mb)

    def build(self, count, port, mb):
        dev = self.work / "dev"
        with open(self.work / "dev.log", "wb") as log:
            process = subprocess.Popen(
                [self.binary, "dev", "--nodes", str(count), "--port", str(port), "--data", dev], cwd=self.work,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **SETTINGS})
        self.dev = process
        told = self.work / "dev.log"
        until("a cluster", lambda: "Ctrl-C" in told.read_text() or process.poll() is not None, 120)
        if process.poll() is not None:
            raise Failed(told.read_text())
        process.send_signal(signal.SIGINT)
        process.wait(60)
        for number in range(1, count + 1):
            node = Node(self, number, port + number - 1)
            node.disk = Disk(self.work, f"disk-{number}", mb)
            self.nodes.append(node)
            run("cp", "-a", dev / f"node-{number}", node.data)
            settings = (dev / f"node-{number}.toml").read_text()
            node.config.write_text(settings.replace(str(dev / f"node-{number}"), str(node.data)))
            run("sync", "-f", node.disk.path)

    def start(self, nodes=None):
        nodes = self.nodes if nodes is None else nodes
        for node in nodes:
            node.start()
        self.ready(nodes)

    def ready(self, nodes=None):
        for node in self.nodes if nodes is None else nodes:
            until(f"node {node.number} ready", node.ready, 60)

    def cut_power(self, nodes):
        """Of these nodes at once, and puts their disks back."""
        for node in nodes:
            node.freeze()
        for node in nodes:
            node.disk.shut_down()
        for node in nodes:
            node.kill()
            node.disk.unmount()
            node.disk.mount()

    def leader(self):
        def look():
            for node in self.nodes:
                if node.process is not None and node.process.poll() is None:
                    told = node.members()
                    if told and told.get("leader"):
                        return self.nodes[told["leader"] - 1]
            return None

        return until("a leader", look)

    def same_digests(self):
        def look():
            told = [node.members() for node in self.nodes]
            if not all(told):
                return None
            seen = {(one["revision"], one["digest"]) for one in told}
            return seen if len(seen) == 1 else None

        until("equal digests on all nodes", look, 60)

    def remove(self):
        if self.dev is not None and self.dev.poll() is None:
            self.dev.send_signal(signal.SIGTERM)
            self.dev.wait(60)
        for node in self.nodes:
            if node.disk is not None:
                run("fsfreeze", "-u", node.disk.path, check=False)
            node.kill()
            if node.disk is not None:
                node.disk.remove()
