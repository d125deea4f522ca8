"""The closed-loop cases and how one of them is measured on one gateway. Knows nothing of other gateways or of targets."""

import time
from dataclasses import dataclass, replace

from .load import Requests

HOT_TOKENS = 1_000
CONNECTIONS = 64
MANY_CONNECTIONS = 2_000
# No gateway verifies and forwards more than this on one CPU: the signature alone takes 19 µs.
UNIQUE_PER_SECOND = 30_000
TOLERATED_HITS = 0.01
HITS = 'portcullis_verified_cache_lookups_total{result="hit"}'
MISSES = 'portcullis_verified_cache_lookups_total{result="miss"}'
DROPPED = "portcullis_log_records_dropped_total"


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    requests: Requests
    connections: int = CONNECTIONS
    forwarders: bool = True


HOT = Requests(tokens="hot", count=HOT_TOKENS)

CASES = {
    case.name: case
    for case in (
        Case("hot", "1,000 tokens in turn", HOT),
        Case("unique", "every token for the first time", Requests(tokens="unique"), forwarders=False),
        Case("expired", "expired token", Requests(tokens="expired", refused=True), forwarders=False),
        Case("tampered", "tampered signature", Requests(tokens="tampered", refused=True), forwarders=False),
        Case("missing", "no token", Requests(tokens=None, refused=True), forwarders=False),
        Case("body", "10 kB each way", replace(HOT, body=True)),
        Case("many", "2,000 connections", HOT, connections=MANY_CONNECTIONS),
    )
}


class Measurer:
    """Measures one case on one gateway."""

    def __init__(self, yard, generator, seconds):
        self.yard = yard
        self.generator = generator
        self.seconds = seconds

    def measure(self, case, gateway):
        """A sample with the CPU that the gateway's processes took for each request that got an answer."""
        requests = case.requests
        if case.name == "unique":
            requests = self._unique(gateway)
        self.warm_up(gateway, case)
        gateway.forget_log()
        before = gateway.metrics()
        sample = self._timed(gateway, requests, case.connections)
        gained = gateway.metrics_since(before)
        sample.records_dropped = round(gained.get(DROPPED, 0))
        if case.name == "unique":
            gateway.unique_used += min(requests.limit, sample.requests + 2 * case.connections)
            sample.note = hit_note(gained) if gained else ""
        return sample

    def warm_up(self, gateway, case):
        """Opens connections to the backend and fills the caches with the hot tokens."""
        limit = max(2 * HOT_TOKENS, 2 * case.connections)
        self.generator.closed(gateway.port, replace(HOT, limit=limit), case.connections, seconds=5)

    def _timed(self, gateway, requests, connections):
        before = gateway.running.cpu()
        sample = self.generator.closed(gateway.port, requests, connections, self.seconds)
        time.sleep(0.02)
        sample.cpu = gateway.running.cpu().seconds_since(before) * 1e6 / max(1, sample.requests)
        sample.resident = gateway.running.resident_bytes()
        gateway.running.require_alive()
        return sample

    def _unique(self, gateway):
        """The next slice; a process that has used too much of the store makes way for one that has seen nothing."""
        store = self.yard.tokens
        wanted = min(store.unique, round(self.seconds * UNIQUE_PER_SECOND))
        if gateway.unique_used + wanted > store.unique:
            self.yard.restart(gateway)
        return Requests(tokens="unique", first=gateway.unique_used, count=wanted, limit=wanted)


def hit_note(gained):
    """Says so when tokens were not new after all: then the case did not measure verification."""
    hits, lookups = gained.get(HITS, 0), gained.get(HITS, 0) + gained.get(MISSES, 0)
    if lookups == 0:
        return "the metrics count no lookup of a verified token"
    return "" if hits / lookups < TOLERATED_HITS else f"{hits / lookups:.1%} of the tokens were known to the cache"
