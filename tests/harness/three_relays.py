"""A suite with three relays: the first, its second at the same stores, and one more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.ports import free_ports
from harness.process import Process
from harness.suite import Suite

RELAYS = ("relay", "relay-2", "relay-3")


def three_relays(folder: Path, **options: Any) -> Suite:
    """`options` as Suite has them. Not started."""
    suite = Suite(folder, replicas=("relay",), **options)
    _add_third(suite)
    return suite


def start_three(suite: Suite) -> Suite:
    suite.start()
    suite.await_ready("relay-3")
    return suite


def _add_third(suite: Suite) -> None:
    second = suite.processes["relay-2"]
    ports = dict(zip(("grpc", "ops", "http"), free_ports(3)))
    suite.port.update({f"{kind}_relay-3": port for kind, port in ports.items()})
    env = {
        **second.env,
        "RELAY_GRPC_LISTEN": f"127.0.0.1:{ports['grpc']}",
        "RELAY_OPS_LISTEN": f"127.0.0.1:{ports['ops']}",
        "RELAY_LISTEN": f"127.0.0.1:{ports['http']}",
    }
    for setting in ("SPOOL_DIR", "STATE_DIR"):
        suite.path(f"{setting.lower()}-3").mkdir()
        env[f"RELAY_{setting}"] = str(suite.path(f"{setting.lower()}-3"))
    suite.processes["relay-3"] = Process("relay-3", second.command, suite.path("log", "relay-3.log"), env)


def url_of(suite: Suite, relay: str) -> str:
    return suite.relay_url if relay == "relay" else f"http://127.0.0.1:{port_of(suite, relay)}"


def port_of(suite: Suite, relay: str) -> int:
    return suite.port["relay" if relay == "relay" else f"http_{relay}"]
