"""Free ports, and waiting for what a server shows when it is ready."""

from __future__ import annotations

import itertools
import os
import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import pymongo.errors

T = TypeVar("T")

# Sanitizers and busy machines are slower than what is promised of a release.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


# Below what the kernel gives to outgoing connections; a part for each worker of a parallel run.
FIRST_PORT, PORTS_PER_WORKER = 12000, 2500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_next_port = itertools.cycle(range(FIRST_PORT + _worker * PORTS_PER_WORKER, FIRST_PORT + (_worker + 1) * PORTS_PER_WORKER))
for _ in range(random.randrange(PORTS_PER_WORKER)):  # another run on this machine begins elsewhere
    next(_next_port)


def _is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on; none comes twice soon."""
    return list(itertools.islice(filter(_is_free, _next_port), count))


def eventually(probe: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """
    Polls `probe` until it returns something true; failed assertions and connections count as not yet.
    The end is there for what never comes, long enough for a machine that stands still meanwhile: what is promised in seconds is `kept` below.
    """
    deadline = time.monotonic() + seconds * PATIENCE
    last: object = None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (AssertionError, OSError, httpx.TransportError, pymongo.errors.ConnectionFailure) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds * PATIENCE} s; last seen: {last!r}")
        time.sleep(0.02)


def kept(measure: Callable[[], float], bound: float, what: str, attempts: int = 3) -> float:
    """
    A promise of `bound` seconds, at most: what `measure` found. It is asked again if it found more: a machine that stands still
    breaks an attempt, a defect all of them.
    """
    found: list[float] = []
    while len(found) < attempts:
        found.append(measure())
        if found[-1] <= bound * PATIENCE:
            return found[-1]
    raise AssertionError(f"{what}: {found} s, promised are {bound} s")
