"""The load generators: wrk for as much as a gateway takes, h2load for a given rate. Knows nothing of what the load is for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .gateways import BODY_PATH, SMALL_PATH
from .processes import ProcessFailed

SCRIPT = Path(__file__).resolve().parent / "load.lua"
BODY_BYTES = 10_000
# Of answers: more that are wrong, or more failed connections, make a case void.
TOLERATED = 0.001


@dataclass(frozen=True)
class Requests:
    """What is sent: tokens of a file in turn or no token at all, with a body or without, `limit` times at the most."""

    tokens: str | None = "hot"
    first: int = 0
    count: int = 1
    limit: int = 0
    body: bool = False
    refused: bool = False

    def arguments(self, store):
        found = [f"limit={self.limit}"]
        if self.tokens:
            found += [f"tokens={store.file(self.tokens)}", f"bytes={self._token_bytes(store)}"]
            found += [f"first={self.first}", f"count={self.count}"]
        if self.body:
            found.append(f"body={BODY_BYTES}")
        return found

    def _token_bytes(self, store):
        """Within a file all have one length, but an expired token's times are shorter."""
        return len(store.first(self.tokens))


@dataclass
class Sample:
    """One measurement; times in microseconds, memory in bytes."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    unexpected: int
    socket_errors: int
    cpu: float = 0.0
    resident: int = 0
    records_dropped: int = 0
    note: str = ""

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def void(self):
        """Why this sample means nothing, or an empty text."""
        if self.requests == 0:
            return "no answer at all"
        wrong = self.unexpected + self.socket_errors
        if wrong > self.requests * TOLERATED:
            return f"{self.unexpected} unexpected statuses and {self.socket_errors} socket errors in {self.requests} requests"
        return self.note

    def as_json(self):
        return asdict(self) | {"rate": self.rate, "void": self.void}


class Generator:
    """Runs the load generators on the CPU set aside for them."""

    def __init__(self, processes, programs, store, folder, cpu):
        self.processes = processes
        self.programs = programs
        self.store = store
        self.folder = folder
        self.cpu = cpu

    def closed(self, port, requests, connections, seconds):
        """wrk: each connection sends its next request when it has its answer."""
        url = f"http://127.0.0.1:{port}{BODY_PATH if requests.body else SMALL_PATH}"
        command = [self.programs["wrk"], "--threads", "1", "--connections", connections, "--timeout", "10s"]
        command += ["--duration", f"{max(1, round(seconds))}s", "--script", SCRIPT, url, "--"]
        command += requests.arguments(self.store)
        text = self.processes.run("wrk", command, self.folder / "wrk.log", [self.cpu], seconds=seconds + 120)
        return _closed_sample(text, requests.refused)

    def open(self, port, rate, clients, seconds):
        """h2load: sends at a rate, whether or not answers come. Its clients tick together, so requests come in bursts."""
        log = self.folder / "h2load.tsv"
        log.unlink(missing_ok=True)
        command = [self.programs["h2load"], "--h1", "--clients", clients, "--threads", "1", "--rps", f"{rate / clients:.3f}"]
        command += ["--duration", f"{max(1, round(seconds))}", "--log-file", log]
        command += ["--header", f"Authorization: Bearer {self.store.first('hot')}", f"http://127.0.0.1:{port}{SMALL_PATH}"]
        self.processes.run("h2load", command, self.folder / "h2load.log", [self.cpu], seconds=seconds + 120)
        return _open_sample(log, rate)


def _closed_sample(text, refused):
    lines = [line for line in text.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise ProcessFailed(f"wrk gave no result:\n{text[-2000:]}")
    found = json.loads(lines[0].removeprefix("RESULT "))
    unexpected = found["requests"] - found["refused"] if refused else found["refused"]
    kept = {name: found[name] for name in ("requests", "seconds", "p50", "p99", "p999", "socket_errors")}
    return Sample(**kept, unexpected=unexpected)


def _open_sample(log, rate):
    """From one line per request: when it was sent, its status, how long it took."""
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if not rows:
        raise ProcessFailed("h2load sent nothing")
    took = sorted(float(row[2]) for row in rows)
    sent = [int(row[0]) for row in rows]
    seconds = (max(sent) - min(sent)) / 1e6 or 1.0
    unexpected = sum(row[1] != "200" for row in rows)
    points = [_percentile(took, share) for share in (0.50, 0.99, 0.999)]
    sample = Sample(len(rows), seconds, *points, unexpected=unexpected, socket_errors=0)
    if sample.rate < rate * 0.95:
        sample.note = f"only {sample.rate:.0f} of {rate:.0f} requests a second were sent"
    return sample


def _percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
