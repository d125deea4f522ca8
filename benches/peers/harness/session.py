"""One run of the benchmark: starts everything, proves that it guards, goes through the rounds. Prints progress only."""

import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import extras
from .cases import CASES, Measurer
from .gateways import KINDS, Yard
from .load import Generator
from .processes import Processes
from .report import Findings, versions
from .targets import OURS

EXTRAS = ("latency", "workers", "memory")


@dataclass(frozen=True)
class Cpus:
    """The CPU for the gateway under test, the one for load and backend, and those for two workers."""

    gateway: list
    load: int
    two_workers: list

    @classmethod
    def plan(cls, available):
        first, second, *others = sorted(available)
        return cls([first], second, [first, others[0] if others else second])

    @property
    def shared(self):
        return self.load in self.two_workers


@contextmanager
def _folder(kept, target):
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        # Each run gets a folder of its own, so that none starts on the files of another.
        yield Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%dT%H%M%S-"), dir=kept))
    else:
        with tempfile.TemporaryDirectory(prefix="run-", dir=target) as folder:
            yield Path(folder)


class Session:
    """Holds what runs and what was found."""

    def __init__(self, options, yard, generator, findings):
        self.options = options
        self.yard = yard
        self.generator = generator
        self.measurer = Measurer(yard, generator, options.seconds)
        self.findings = findings
        self.gateways = {}
        self.by_workers = {}

    def start(self):
        self.yard.start_backend()
        for name in self.options.gateways:
            self.gateways[name] = self._guarded(self.yard.start(name))
        if "workers" in self.options.cases:
            # Both new, so that what one has been through is no part of the difference.
            self.by_workers["one worker"] = self._guarded(self.yard.start(OURS, workers=1))
            self.by_workers["two workers"] = self._guarded(self.yard.start(OURS, workers=2))

    def _guarded(self, gateway):
        self.yard.prove(gateway)
        answers = ", ".join(f"{what} {status}" for what, status in gateway.statuses.items())
        print(f"  {gateway.kind.title}: {answers}", flush=True)
        self.findings.statuses[gateway.kind.name] = gateway.statuses
        return gateway

    def measure_all(self):
        for number in range(1, self.options.rounds + 1):
            print(f"Round {number} of {self.options.rounds}", flush=True)
            for case in self.options.cases:
                if case in CASES:
                    self._closed(CASES[case], number)
            if "latency" in self.options.cases:
                self._latency()
            if "workers" in self.options.cases:
                self._workers()
        if "memory" in self.options.cases:
            self._memory()

    def _closed(self, case, number):
        """Who is first changes with the round, so that a drift of the machine does not always meet the same one."""
        gateways = [one for one in self.gateways.values() if one.kind.guards or case.forwarders]
        gateways = [one for one in gateways if case.name not in one.kind.without]
        shift = (number - 1) % len(gateways)
        for gateway in gateways[shift:] + gateways[:shift]:
            self._keep(case.name, gateway.kind.name, self.measurer.measure(case, gateway))

    def _latency(self):
        if not all(name in self.gateways for name in extras.LATENCY_GATEWAYS):
            return
        if self.findings.latency_rate is None:
            hot = self.findings.samples.get("hot", {}).get("haproxy-jwt", [])
            self.findings.latency_rate = extras.latency_rate(self.measurer, self.gateways, hot)
        for name in extras.LATENCY_GATEWAYS:
            sample = extras.latency(self.measurer, self.gateways[name], self.findings.latency_rate)
            self._keep("latency", name, sample)

    def _workers(self):
        for name, gateway in self.by_workers.items():
            self._keep("workers", name, self.measurer.measure(CASES["hot"], gateway))

    def _memory(self):
        print("Memory", flush=True)
        for name in self.options.gateways:
            found = extras.memory(self.yard, self.generator, name, token_bytes=name == OURS)
            self.findings.memory[name] = found
            print("  " + name + ": " + ", ".join(f"{what} {value:,.0f} B" for what, value in found.items()), flush=True)

    def _keep(self, case, name, sample):
        self.findings.add(case, name, sample)
        text = f"{sample.cpu:7.1f} µs CPU  {sample.rate:8.0f}/s  p99 {sample.p99 / 1000:7.2f} ms"
        print(f"  {case:9} {name:12} {text}{'  VOID: ' + sample.void if sample.void else ''}", flush=True)


def run(options, programs, tokens, available_cpus, target):
    """Measures what `options` asks for and ends everything that was started, whatever happens."""
    cpus = Cpus.plan(available_cpus)
    recorded = {"rounds": options.rounds, "seconds": options.seconds, "cases": options.cases, "gateways": options.gateways}
    findings = Findings(time.strftime("%Y-%m-%d %H:%M:%S"), recorded, versions(programs), shared_cpu=cpus.shared)
    with _folder(options.keep, target) as folder, Processes() as processes:
        folder.chmod(0o755)
        # A build that ends while this runs must not be measured half of the time.
        programs = programs | {OURS: Path(shutil.copy(programs[OURS], folder / "portcullis-under-test"))}
        yard = Yard(processes, programs, tokens, folder, cpus)
        generator = Generator(processes, programs, tokens, folder, cpus.load)
        session = Session(options, yard, generator, findings)
        print("Starting; each must let a good token in, and those that guard must refuse the others:", flush=True)
        session.start()
        session.measure_all()
    return findings


def known_cases():
    return (*CASES, *EXTRAS)


def known_gateways():
    return tuple(KINDS)
