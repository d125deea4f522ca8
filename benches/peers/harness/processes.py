"""Starting, measuring and ending processes: the only place that does. Knows nothing of gateways.

Everything started here runs in a session of its own (Ctrl-C reaches the harness alone, which then ends the rest) and
is told by the kernel to end when the harness dies.
"""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PATIENCE = 10


class ProcessFailed(Exception):
    """A process could not be started, or ended when it should not have."""


def free_ports(count):
    """That many ports of loopback on which nobody listens now."""
    sockets = []
    try:
        for _ in range(count):
            one = socket.socket()
            sockets.append(one)
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _children(pid):
    found = []
    for task in _tasks(pid):
        with suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found


def _tasks(pid):
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")
    return []


class Cpu:
    """CPU time of a set of processes at one moment: per thread in nanoseconds, and per process in clock ticks."""

    def __init__(self, pids):
        self.threads = {}
        self.ticks = 0
        for pid in pids:
            for task in _tasks(pid):
                with suppress(OSError):
                    self.threads[task] = int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.ticks += int(fields[11]) + int(fields[12])

    def seconds_since(self, before):
        """User and system time. The finer clock is lost with a thread that ended; then the ticks are taken."""
        if self.threads and before.threads.keys() <= self.threads.keys():
            return sum(spent - before.threads.get(task, 0) for task, spent in self.threads.items()) / 1e9
        return (self.ticks - before.ticks) / TICKS_PER_SECOND


class Running:
    """A process that was started, with all its children."""

    def __init__(self, name, popen, log):
        self.name = name
        self.popen = popen
        self.log = log

    def pids(self):
        found, new = [], [self.popen.pid]
        while new:
            found += new
            new = [child for pid in new for child in _children(pid)]
        return found

    def cpu(self):
        return Cpu(self.pids())

    def resident_bytes(self):
        """The sum over the processes; `statm` and `status` are kept per CPU by the kernel and a little behind."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))
        return total

    def last_words(self):
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-2000:]
        return ""

    def require_alive(self):
        if self.popen.poll() is not None:
            raise ProcessFailed(f"{self.name} ended with {self.popen.returncode}:\n{self.last_words()}")

    def stop(self):
        """Asks, waits, and then ends what is left of it, children included."""
        family = self.pids()
        if self.popen.poll() is None:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(PATIENCE)
        for pid in family:
            # The session is ours alone, so that a number given away again is never taken for one of ours.
            with suppress(OSError):
                if os.getsid(pid) == self.popen.pid:
                    os.kill(pid, signal.SIGKILL)
        self.popen.wait()


class Processes:
    """All that runs on our behalf; leaving the context ends it."""

    def __init__(self):
        self._running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for running in reversed(self._running):
            running.stop()
        self._running.clear()

    def start(self, name, command, log, cpus, environment=None):
        """Starts `command` on these CPUs only; its output is appended to `log`."""
        pinned = ["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", ",".join(map(str, cpus)), *map(str, command)]
        with open(log, "ab") as output:
            popen = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment or os.environ,
                start_new_session=True,
            )
        running = Running(name, popen, log)
        self._running.append(running)
        return running

    def run(self, name, command, log, cpus, environment=None, seconds=600):
        """Runs `command` to its end and returns what it printed; `log` is emptied before."""
        log.write_bytes(b"")
        running = self.start(name, command, log, cpus, environment)
        try:
            status = running.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{name} did not end within {seconds} s") from None
        finally:
            self.stop(running)
        text = log.read_text(errors="replace")
        if status != 0:
            raise ProcessFailed(f"{name} ended with {status}:\n{text[-2000:]}")
        return text

    def stop(self, running):
        running.stop()
        self._running.remove(running)


def wait_until(condition, running, what, seconds=20):
    """Asks until it holds; says what was waited for when it does not come, or when the process ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        running.require_alive()
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{running.name}: {what} did not come within {seconds} s\n{running.last_words()}")
        time.sleep(0.02)
