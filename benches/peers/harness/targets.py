"""What Portcullis must reach beside its peers, and the verdict on a run. Knows nothing of how the numbers came about.

`samples[case][gateway]` is a list with one sample a round; `memory[gateway]` maps what was measured to bytes.
"""

from dataclasses import dataclass
from statistics import median

OURS = "portcullis"
MIB = 1024 * 1024
KIB = 1024


@dataclass(frozen=True)
class Ratio:
    """`value` of our sample over the peer's in the same case, which may be ours in another form."""

    case: str
    value: str
    peer: str
    must: float
    aim: float
    ours: str = OURS

    @property
    def title(self):
        what = {"cpu": "CPU per request", "p99": "p99"}[self.value]
        return f"{self.case}: {what}, {self.ours} / {self.peer}"

    def measure(self, samples, _memory):
        """The ratio of the medians and the ratio of each round, or None where one side is not there."""
        ours, theirs = (usable(samples, self.case, name, self.value) for name in (self.ours, self.peer))
        if not ours or not theirs:
            return None
        rounds = [our / their for our, their in zip(ours, theirs) if our is not None and their]
        ours, theirs = ([value for value in side if value is not None] for side in (ours, theirs))
        if not ours or not theirs or not median(theirs):
            return None
        return median(ours) / median(theirs), rounds

    def show(self, value):
        return f"{value:.2f}"


@dataclass(frozen=True)
class Bytes:
    """Memory of ours, in bytes."""

    name: str
    unit: str
    divisor: float
    must: float
    aim: float

    @property
    def title(self):
        return f"memory: {self.name}"

    def measure(self, _samples, memory):
        value = memory.get(OURS, {}).get(self.name)
        return None if value is None else (value / self.divisor, [])

    def show(self, value):
        return f"{value:.1f} {self.unit}"


TARGETS = (
    Ratio("hot", "cpu", "haproxy", 1.10, 0.95),
    Ratio("hot", "cpu", "haproxy-jwt", 0.36, 0.30),
    Ratio("hot", "cpu", "envoy", 0.30, 0.25),
    Ratio("unique", "cpu", "haproxy-jwt", 0.62, 0.55),
    Ratio("expired", "cpu", "haproxy-jwt", 1.0, 0.75),
    Ratio("missing", "cpu", "haproxy-jwt", 1.0, 0.75),
    Ratio("latency", "p99", "haproxy-jwt", 1.0, 0.5),
    Ratio("workers", "cpu", "one worker", 1.15, 1.05, ours="two workers"),
    Bytes("idle", "MiB", MIB, 16, 10),
    Bytes("connection", "KiB", KIB, 12, 8),
    Bytes("token", "B", 1, 400, 250),
)


@dataclass(frozen=True)
class Verdict:
    title: str
    must: str
    aim: str
    measured: str
    rounds: str
    verdict: str

    @property
    def missed(self):
        return self.verdict == "MISSED"


def usable(samples, case, gateway, value):
    """One value a round; None for a round whose sample is void."""
    found = samples.get(case, {}).get(gateway, [])
    return [None if sample.void else getattr(sample, value) for sample in found]


def judge(samples, memory, targets=TARGETS):
    return [_judge_one(target, target.measure(samples, memory)) for target in targets]


def _judge_one(target, measured):
    must, aim = target.show(target.must), target.show(target.aim)
    if measured is None:
        return Verdict(target.title, must, aim, "–", "", "not measured")
    value, rounds = measured
    if value <= target.aim:
        verdict = "aim reached"
    else:
        verdict = "ok" if value <= target.must else "MISSED"
    by_round = " ".join(target.show(ratio) for ratio in rounds)
    if rounds:
        by_round += f" (median {target.show(median(rounds))})"
    return Verdict(target.title, must, aim, target.show(value), by_round, verdict)
