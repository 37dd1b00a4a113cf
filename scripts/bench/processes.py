"""Processes of servers: starting, ending, and what they take."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    pass


def say(text=""):
    print(text, flush=True)


def until(what, look, seconds=60, every=0.02):
    """What `look` returns at last."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"never saw {what}")
        time.sleep(every)


def run(*args, **more):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))}: {done.stdout}{done.stderr}")
    return done.stdout


def start(command, log, cwd=None, **settings):
    """Starts a server that writes to the file `log`. A signal to us does not reach it, but it shares our session: Linux
    divides processors among sessions first, and the threads that hash give way only to their own."""
    with open(log, "ab") as out:
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                cwd=cwd, env={**os.environ, **settings}, process_group=0)


def end(process, number=signal.SIGTERM):
    if process is not None and process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pids):
    """Processor time that these have taken, in the program and for it in the kernel."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def status_mb(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise Failed(f"process {pid} has no {name}")


def rss_mb(pid):
    return status_mb(pid, "VmRSS")


def peak_mb(pids):
    """The most memory of any one of them since `forget_peaks`."""
    return max(status_mb(pid, "VmHWM") for pid in pids)


def forget_peaks(pids):
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except PermissionError:
            # The peak is then that since the start.
            pass
