"""The measurements that are not a closed loop on one gateway: latency at a fixed rate, two workers, memory."""

import http.client
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from .cases import CASES, CONNECTIONS, HOT, MANY_CONNECTIONS
from .gateways import SMALL_PATH
from .load import Requests

ENTRIES = "portcullis_verified_cache_entries"
CACHED_TOKENS = 100_000
LATENCY_GATEWAYS = ("haproxy-jwt", "portcullis")


def latency_rate(measurer, gateways, hot_samples):
    """Half of what HAProxy with `jwt_verify` takes at most, as found in this run; measured now if it was not yet."""
    samples = hot_samples or [measurer.measure(CASES["hot"], gateways["haproxy-jwt"])]
    return median(sample.rate for sample in samples) / 2


def latency(measurer, gateway, rate):
    measurer.warm_up(gateway, CASES["hot"])
    gateway.forget_log()
    before = gateway.running.cpu()
    sample = measurer.generator.open(gateway.port, rate, CONNECTIONS, measurer.seconds)
    sample.cpu = gateway.running.cpu().seconds_since(before) * 1e6 / sample.requests
    sample.resident = gateway.running.resident_bytes()
    return sample


def _ask(connection, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", SMALL_PATH, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def memory(yard, generator, name, token_bytes):
    """Bytes of a fresh process: idle, for each of 2,000 idle connections, and (Portcullis) for each cached token."""
    gateway = yard.start(name)
    try:
        time.sleep(1)
        found = {"idle": gateway.running.resident_bytes(), "connection": _per_connection(yard, gateway)}
        if token_bytes:
            found["token"] = _per_token(generator, gateway)
        return found
    finally:
        yard.stop(gateway)


def _per_connection(yard, gateway):
    """Opened one after the other, one request each, so that a single connection to the backend serves them all."""
    token = yard.tokens.first("hot")
    with ExitStack() as opened:

        def open_connections(count):
            for _ in range(count):
                connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
                opened.callback(connection.close)
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if _ask(connection, token) != 200:
                    raise RuntimeError(f"{gateway.kind.title} refused a good token on an idle connection")

        open_connections(20)
        before = gateway.running.resident_bytes()
        open_connections(MANY_CONNECTIONS)
        return (gateway.running.resident_bytes() - before) / MANY_CONNECTIONS


def _per_token(generator, gateway):
    """First the load without new tokens, so that its connections and buffers are there already."""
    generator.closed(gateway.port, replace(HOT, limit=20_000), CONNECTIONS, seconds=30)
    before, known = gateway.running.resident_bytes(), gateway.metrics()[ENTRIES]
    unique = Requests(tokens="unique", count=CACHED_TOKENS, limit=CACHED_TOKENS)
    generator.closed(gateway.port, unique, CONNECTIONS, seconds=60)
    entries = gateway.metrics()[ENTRIES] - known
    return (gateway.running.resident_bytes() - before) / max(1.0, entries)
