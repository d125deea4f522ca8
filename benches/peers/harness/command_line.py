"""The command: options, exit codes, and the order of installing, minting, measuring and reporting.

Exit codes: 0 all good; 1 a target was missed (`--assert`); 2 something could not be measured; 130 interrupted.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from . import installation, report, session
from .gateways import KINDS, NotGuarding
from .installation import NotInstalled
from .processes import ProcessFailed
from .targets import OURS, TARGETS, judge
from .tokens import ensure_tokens

HERE = Path(__file__).resolve().parent.parent
CHECKOUT = HERE.parent.parent
OPEN_FILES = 20_000


def _names(known):
    def parse(text):
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown) or 'nothing'}; known: {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return value


def parse(arguments):
    parser = argparse.ArgumentParser(prog="benches/peers/run", description="Measures Portcullis beside its peers.")
    add = parser.add_argument
    add("--assert", dest="must_hold", action="store_true", help="exit 1 when a target is missed")
    add("--rounds", type=_positive, default=3, help="how often each case is measured (default: 3)")
    add("--seconds", type=_positive, default=6, help="of one measurement (default: 6)")
    cases, gateways = session.known_cases(), session.known_gateways()
    add("--cases", type=_names(cases), default=list(cases), help=f"of {','.join(cases)}")
    add("--peers", type=_names(gateways), default=list(gateways), help=f"of {','.join(gateways)}")
    add("--gateway", type=Path, help="a portcullis binary (default: the checkout, built with cargo build --release)")
    add("--keep", type=Path, metavar="DIR", help="keep configurations and logs there")
    options = parser.parse_args(arguments)
    options.gateways = [name for name in KINDS if name in options.peers or name == OURS]
    return options


def _programs(options, folder):
    """Installs what is missing; where each program is, and the virtual environment's Python."""
    installed = ["nginx", "wrk", "h2load", "taskset", "setpriv"]
    installed += [program for name in options.gateways for program in KINDS[name].programs]
    installation.install_packages(installed)
    python = installation.ensure_venv(folder / "venv", HERE / "requirements.txt")
    gateway = options.gateway.resolve() if options.gateway else installation.build_gateway(CHECKOUT)
    programs = {"portcullis": gateway, "wrk": installation.find("wrk"), "h2load": installation.find("h2load")}
    programs["nginx"] = installation.find("nginx")
    programs["haproxy"] = programs["haproxy-jwt"] = installation.haproxy(python)
    programs["envoy"] = installation.envoy(python)
    if "apache" in options.gateways:
        programs["apache"] = installation.find("apache2")
    return programs, python


def _prepare_machine():
    """Room for 2,000 connections on both sides; a termination is treated as Ctrl-C, so that everything is ended."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    # Named, because a shell starts what runs in the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    available = os.sched_getaffinity(0)
    if len(available) < 2:
        raise NotInstalled("two CPUs are needed: one for the gateway, one for the load and the backend")
    return available


def _measure(options):
    available = _prepare_machine()
    target = Path(os.environ.get("CARGO_TARGET_DIR", CHECKOUT / "target")).resolve() / "peers"
    programs, python = _programs(options, target)
    tokens = ensure_tokens(target / "tokens", python)
    growth_missed = options.must_hold and not installation.growth_holds(CHECKOUT)
    os.sched_setaffinity(0, {session.Cpus.plan(available).load})
    findings = session.run(options, programs, tokens, available, target)
    verdicts = judge(findings.samples, findings.memory, TARGETS)
    print("\n" + report.markdown(findings, verdicts))
    print(f"Saved as {report.save(findings, verdicts, target / 'results')}, and as .json beside it.")
    if growth_missed:
        print("MISSED       a target of the decision alone: see the first table above")
    return max(_exit_code(options, findings, verdicts), int(growth_missed))


def _exit_code(options, findings, verdicts):
    missed = [verdict for verdict in verdicts if verdict.missed]
    if options.must_hold:
        for verdict in verdicts:
            print(f"{verdict.verdict:12} {verdict.title}: {verdict.measured} (must ≤ {verdict.must}, aim ≤ {verdict.aim})")
        print(f"{len(missed)} of {len(verdicts)} targets missed.")
    for fault in findings.faults():
        print(f"VOID: {fault}", file=sys.stderr)
    if findings.faults():
        return 2
    return 1 if missed and options.must_hold else 0


def main(arguments):
    options = parse(arguments)
    try:
        return _measure(options)
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been ended.", file=sys.stderr)
        return 130
    except (NotInstalled, NotGuarding, ProcessFailed, OSError, subprocess.CalledProcessError) as fault:
        print(f"FAILED: {fault}", file=sys.stderr)
        return 2
