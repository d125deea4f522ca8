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
LOOKUPS = 'portcullis_verified_cache_lookups_total{{result="{}"}}'


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
        hits = self._hits(gateway)
        sample = self._timed(gateway, requests, case.connections)
        if case.name == "unique":
            gateway.unique_used += min(requests.limit, sample.requests + 2 * case.connections)
            sample.note = self._hit_note(gateway, hits)
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

    @staticmethod
    def _hits(gateway):
        if gateway.kind.name != "portcullis":
            return (0.0, 0.0)
        metrics = gateway.metrics()
        return tuple(metrics.get(LOOKUPS.format(result), 0.0) for result in ("hit", "miss"))

    def _hit_note(self, gateway, before):
        """Says so when tokens were not new after all: then the case did not measure verification."""
        if gateway.kind.name != "portcullis":
            return ""
        hits, misses = (now - then for now, then in zip(self._hits(gateway), before))
        if hits + misses == 0:
            return "the metrics count no lookup of a verified token"
        share = hits / (hits + misses)
        return "" if share < TOLERATED_HITS else f"{share:.1%} of the tokens were known to the cache"
