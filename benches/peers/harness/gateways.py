"""The gateways under test: their names, programs and configurations, and one running instance of each.

Owns how a gateway is started and asked whether it really guards. Knows nothing of load or of numbers.
"""

import http.client
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from . import installation
from .processes import Running, free_ports, wait_until

CONFIGURATIONS = Path(__file__).resolve().parent.parent / "configurations"
SMALL_PATH = "/orders/1"
BODY_PATH = "/orders/body"
REFUSED = (401, 403)


class NotGuarding(Exception):
    """A gateway let something in that it must refuse, or refused what is good: its numbers would mean nothing."""


@dataclass(frozen=True)
class Kind:
    """One row of the table: `command` makes the command line from the program, the configuration and the folder."""

    name: str
    title: str
    configuration: str
    guards: bool
    command: Callable
    programs: tuple = ()
    # Cases that it is left out of, because it does not hold what they ask for.
    without: tuple = ()


def _nginx(program, configuration, folder):
    return [program, "-p", folder, "-c", configuration]


def _haproxy(program, configuration, _folder):
    return [program, "-db", "-q", "-f", configuration]


def _envoy(program, configuration, _folder):
    once = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [program, "--config-path", configuration, *once]


def _apache(program, configuration, folder):
    return [program, "-d", folder, "-f", configuration, "-D", "FOREGROUND"]


def _portcullis(program, configuration, _folder):
    return [program, "--config", configuration]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("nginx", "nginx, forwarding only", "nginx.conf", False, _nginx),
        Kind("haproxy", "HAProxy, forwarding only", "haproxy.cfg", False, _haproxy),
        Kind("haproxy-jwt", "HAProxy, `jwt_verify` and claim rules", "haproxy-jwt.cfg", True, _haproxy),
        Kind("envoy", "Envoy, `jwt_authn`, cache of 10,000", "envoy.yaml", True, _envoy),
        # A thread for each request in flight: with 2,000 it resets kept connections, or needs so many threads that
        # every other case suffers.
        Kind("apache", "Apache, mod_oauth2", "apache.conf", True, _apache, ("apache2",), without=("many",)),
        Kind("portcullis", "Portcullis", "portcullis.toml", True, _portcullis),
    )
}


def as_root(directive):
    """Servers that change their user are told which, where they can; nginx stays root to need no other rights."""
    return directive if os.geteuid() == 0 else ""


@dataclass
class Gateway:
    """A running gateway. `unique_used` counts the unique tokens that this process has seen."""

    kind: Kind
    port: int
    admin_port: int
    running: Running
    workers: int = 1
    unique_used: int = 0
    statuses: dict = field(default_factory=dict)

    def metrics(self):
        """Portcullis's metrics: name with labels → value; of a peer, nothing."""
        if self.kind.name != "portcullis":
            return {}
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def metrics_since(self, before):
        return {name: value - before.get(name, 0.0) for name, value in self.metrics().items()}

    def forget_log(self):
        """The log is written to a file as in production, but need not fill the disk; it is opened for appending."""
        os.truncate(self.running.log, 0)


class Yard:
    """Starts gateways: it has the programs, the CPUs, the tokens and a folder for each."""

    def __init__(self, processes, programs, tokens, folder, cpus):
        self.processes = processes
        self.programs = programs
        self.tokens = tokens
        self.folder = folder
        self.cpus = cpus
        self.backend_port = None
        self._started = 0

    def start_backend(self):
        port, _ = free_ports(2)
        folder, configuration = self._configure("backend", "backend.conf", port=port)
        command = _nginx(self.programs["nginx"], configuration, folder)
        running = self.processes.start("backend", command, folder / "output.log", [self.cpus.load])
        wait_until(lambda: _status(port) == 200, running, "an answer")
        self.backend_port = port
        return running

    def start(self, name, workers=1):
        """Starts a gateway and waits until it lets a good token in."""
        kind = KINDS[name]
        port, admin_port = free_ports(2)
        values = {"port": port, "admin_port": admin_port, "workers": workers}
        folder, configuration = self._configure(name, kind.configuration, **values)
        command = kind.command(self.programs[name], configuration, folder)
        cpus = self.cpus.gateway if workers == 1 else self.cpus.two_workers
        running = self.processes.start(name, command, folder / "output.log", cpus)
        wait_until(lambda: _status(port, self.tokens.first("hot")) == 200, running, "200 for a good token")
        return Gateway(kind, port, admin_port, running, workers)

    def restart(self, gateway):
        """A process that has seen no token yet takes the place of this one."""
        self.processes.stop(gateway.running)
        fresh = self.start(gateway.kind.name, gateway.workers)
        gateway.port, gateway.admin_port, gateway.running = fresh.port, fresh.admin_port, fresh.running
        gateway.unique_used = 0

    def stop(self, gateway):
        self.processes.stop(gateway.running)

    def prove(self, gateway):
        """Good is let in; expired, tampered and missing are refused. Keeps the statuses for the report."""
        found = {"valid": _status(gateway.port, self.tokens.first("hot"))}
        if gateway.kind.guards:
            found["expired"] = _status(gateway.port, self.tokens.first("expired"))
            found["tampered"] = _status(gateway.port, self.tokens.first("tampered"))
            found["missing"] = _status(gateway.port)
        wrong = [f"{what}: {status}" for what, status in found.items() if not _is_right(what, status)]
        if wrong:
            raise NotGuarding(f"{gateway.kind.title} answers {', '.join(wrong)}\n{gateway.running.last_words()}")
        gateway.statuses = found

    def _configure(self, name, template, **values):
        self._started += 1
        folder = self.folder / f"{self._started:02d}-{name}"
        folder.mkdir()
        values |= {
            "folder": folder,
            "backend_port": self.backend_port,
            "issuer": self.tokens.issuer,
            "audience": self.tokens.audience,
            "scope": self.tokens.scope,
            "public_pem": self.tokens.public_pem,
            "jwks": self.tokens.jwks,
            "jwk": self.tokens.jwk_text.replace('"', '\\"'),
            "modules": installation.APACHE_MODULES,
            "kilobyte": "0123456789" * 100,
            "user": as_root("User www-data\nGroup www-data" if name == "apache" else "user root;"),
        }
        text = (CONFIGURATIONS / template).read_text()
        configuration = folder / template
        configuration.write_text(re.sub(r"@([a-z_]+)@", lambda match: str(values[match[1]]), text))
        return folder, configuration


def _is_right(what, status):
    return status == 200 if what == "valid" else status in REFUSED


def _status(port, token=None):
    """The status of one request, or None where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", SMALL_PATH, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
