"""Free ports, and waiting for what a server shows when it is ready."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

# Sanitizers and busy machines are slower than what is promised of a release.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on; all are held while they are chosen, so none comes twice."""
    sockets = []
    try:
        for _ in range(count):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", 0))
            sockets.append(s)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def eventually(probe: Callable[[], T], what: str, seconds: float = 10.0) -> T:
    """Polls `probe` until it returns something true; failed assertions and connections count as not yet."""
    deadline = time.monotonic() + seconds * PATIENCE
    last: object = None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (AssertionError, OSError, httpx.TransportError) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds * PATIENCE} s; last seen: {last!r}")
        time.sleep(0.02)
