"""What a run found, as Markdown for people and JSON for programs. Measures and judges nothing."""

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from statistics import median

from .cases import CASES
from .gateways import KINDS
from .targets import KIB, MIB, OURS

NOTHING = "–"


@dataclass
class Findings:
    """Everything that was measured: `samples[case][gateway]` has one sample a round."""

    date: str
    options: dict
    versions: dict
    samples: dict = field(default_factory=dict)
    memory: dict = field(default_factory=dict)
    statuses: dict = field(default_factory=dict)
    latency_rate: float | None = None
    shared_cpu: bool = False
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, case, gateway, sample):
        self.samples.setdefault(case, {}).setdefault(gateway, []).append(sample)

    def access_records(self):
        """How many records Portcullis dropped, of how many requests."""
        ours = [sample for by_gateway in self.samples.values() for sample in by_gateway.get(OURS, [])]
        return sum(sample.records_dropped for sample in ours), sum(sample.requests for sample in ours)

    def faults(self):
        """Samples that mean nothing, and why."""
        return [
            f"{case}, {gateway}, round {number}: {sample.void}"
            for case, by_gateway in self.samples.items()
            for gateway, samples in by_gateway.items()
            for number, sample in enumerate(samples, 1)
            if sample.void
        ]


def _first_line(command):
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    text = (answer.stdout + answer.stderr).replace(str(command[0]), "").strip()
    return text.splitlines()[0] if text else "unknown"


def versions(programs):
    flags = {"nginx": "-v", "haproxy": "-v", "envoy": "--version", "apache": "-v", "portcullis": "--version"}
    found = {name: _first_line([programs[name], flag]) for name, flag in flags.items() if name in programs}
    found["portcullis"] += f", SHA-256 {hashlib.sha256(programs['portcullis'].read_bytes()).hexdigest()[:16]}"
    found["machine"] = f"{_processor()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    return found


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _middle(samples, value):
    good = [getattr(sample, value) for sample in samples if not sample.void]
    return median(good) if good else None


def _table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _title(gateway):
    return KINDS[gateway].title if gateway in KINDS else f"Portcullis, {gateway}"


def _cpu_cell(samples):
    if not samples:
        return NOTHING
    value = _middle(samples, "cpu")
    return "VOID" if value is None else f"{value:.1f}"


def cpu_table(findings):
    """As in the issue: a row for each gateway, CPU for each case."""
    cases = [name for name in CASES if name in findings.samples]
    gateways = [name for name in KINDS if any(name in findings.samples[case] for case in cases)]
    rows = []
    for gateway in gateways:
        cells = [_cpu_cell(findings.samples[case].get(gateway)) for case in cases]
        resident = [s.resident / MIB for case in cases for s in findings.samples[case].get(gateway, [])]
        rows.append([_title(gateway), *cells, f"{min(resident):.0f}–{max(resident):.0f}"])
    return _table(["µs of CPU per request", *cases, "RSS, MiB"], rows)


def ratio_table(findings):
    """Portcullis over each peer: the ratio of the medians, and of each round."""
    rows = []
    for case, by_gateway in findings.samples.items():
        ours = by_gateway.get(OURS, [])
        for peer, theirs in by_gateway.items():
            pairs = [(o.cpu, t.cpu) for o, t in zip(ours, theirs) if not o.void and not t.void and t.cpu]
            if peer == OURS or not pairs:
                continue
            rounds = [our / their for our, their in pairs]
            of_medians = median(our for our, _ in pairs) / median(their for _, their in pairs)
            rows.append([case, _title(peer), f"{of_medians:.2f}", " ".join(f"{one:.2f}" for one in rounds), f"{median(rounds):.2f}"])
    return _table(["case", "CPU of Portcullis over", "of medians", "each round", "median of rounds"], rows)


def detail_table(findings):
    rows = []
    for case, by_gateway in findings.samples.items():
        for gateway, samples in by_gateway.items():
            middles = [_middle(samples, value) for value in ("cpu", "rate", "p50", "p99", "p999", "resident")]
            if None in middles:
                rows.append([case, _title(gateway), *["VOID"] * 6])
                continue
            cpu, rate, p50, p99, p999, resident = middles
            times = [f"{value / 1000:.2f}" for value in (p50, p99, p999)]
            rows.append([case, _title(gateway), f"{cpu:.1f}", f"{rate:.0f}", *times, f"{resident / MIB:.0f}"])
    return _table(["case", "gateway", "CPU, µs", "requests/s", "p50, ms", "p99, ms", "p99.9, ms", "RSS, MiB"], rows)


def memory_table(findings):
    rows = []
    for gateway, found in findings.memory.items():
        token = f"{found['token']:.0f} B" if "token" in found else NOTHING
        rows.append([_title(gateway), f"{found['idle'] / MIB:.1f} MiB", f"{found['connection'] / KIB:.1f} KiB", token])
    return _table(["gateway", "RSS, idle", "per idle connection", "per cached token"], rows)


def verdict_table(verdicts):
    rows = [[v.title, f"≤ {v.must}", f"≤ {v.aim}", v.measured, v.rounds, v.verdict] for v in verdicts]
    return _table(["target", "must", "aim", "measured", "rounds", "verdict"], rows)


def _notes(findings):
    options = findings.options
    notes = [f"Rounds: {options['rounds']}, of {options['seconds']} s a case; medians. Only ratios within one run count."]
    if findings.load_average > os.cpu_count() / 4:
        notes.append(f"The machine was busy when this began (load average {findings.load_average:.1f}): expect noise.")
    if findings.latency_rate:
        notes.append(f"latency: {findings.latency_rate:.0f} requests/s (h2load; its clients tick together, in bursts).")
    if "workers" in findings.samples and findings.shared_cpu:
        notes.append("workers: an estimate, the second worker shares its CPU with the load generator.")
    if "portcullis" in findings.statuses:
        notes.append("Every gateway that guards let a good token in and refused an expired, a tampered and a missing one.")
    dropped, answered = findings.access_records()
    if answered:
        notes.append(f"Portcullis wrote its access log to a file; {dropped} of {answered} records were dropped.")
    return "\n".join(f"- {note}" for note in notes)


def markdown(findings, verdicts):
    parts = [f"# Portcullis beside its peers, {findings.date}", _notes(findings)]
    if findings.samples:
        parts += [cpu_table(findings), "## Ratios", ratio_table(findings), "## Details", detail_table(findings)]
    if findings.memory:
        parts += ["## Memory", memory_table(findings)]
    parts += ["## Targets", verdict_table(verdicts)]
    if findings.faults():
        parts += ["## Void", "\n".join(f"- {fault}" for fault in findings.faults())]
    parts += ["## Versions", "\n".join(f"- {name}: {version}" for name, version in findings.versions.items())]
    return "\n\n".join(parts) + "\n"


def save(findings, verdicts, folder):
    """Writes DATE.md and DATE.json; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = findings.date.replace(":", "").replace(" ", "T")
    content = asdict(findings)
    content["samples"] = {
        case: {gateway: [sample.as_json() for sample in samples] for gateway, samples in by_gateway.items()}
        for case, by_gateway in findings.samples.items()
    }
    content["targets"] = [asdict(verdict) for verdict in verdicts]
    (folder / f"{stem}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False))
    (folder / f"{stem}.md").write_text(markdown(findings, verdicts))
    return folder / f"{stem}.md"
