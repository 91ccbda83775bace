"""The tests of ./dev bench, by name. Each makes its rounds; tables.py says what is expected of them."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from harness.ports import eventually, free_ports
from harness.process import Process
from lab import MEASURED_CORE, OTHER_CORE, STAGES_OFF
from measure import Bench

CONNECTIONS = 64
FIXED_SHARE = 0.5  # of what nginx does in the closed loop: loaded, and still far from full
PAGE = resource.getpagesize()
KEYS = 100_000
LARGE_BODY = 1_000_000
INGEST_FILL = 40_000  # events a second that are recorded first
RECORDER_RATES = (1000, 5000, 20000)


def unary(bench: Bench) -> None:
    """600-byte requests, 700-byte answers: as many as go, and at one rate for all."""
    variants = ["nginx", "relay", *STAGES_OFF, "direct"]
    rows = bench.rounds("unary", "unary", variants, connections=CONNECTIONS)
    closed = statistics.median(row["per_s"] for row in rows if row["variant"] == "nginx")
    rate = round(closed * FIXED_SHARE, -2)
    bench.rounds("unary-rate", "unary", variants, connections=CONNECTIONS, rate=rate)


def large(bench: Bench) -> None:
    bench.rounds("large", "unary", ["nginx", "relay", "direct"], connections=8, body=LARGE_BODY)


def tls(bench: Bench) -> None:
    """TLS to the upstream, and TLS on both sides; nginx does the same."""
    bench.rounds("tls-up", "unary", ["nginx", "relay"], of=bench.lab.to_tls, connections=CONNECTIONS)
    bench.rounds("tls-both", "unary", ["nginx", "relay"], of=bench.lab.all_tls, connections=CONNECTIONS)


def curl(bench: Bench) -> None:
    """libcurl as the transport of a provider."""
    bench.rounds("curl", "unary", ["nginx", "relay"], of=bench.lab.by_curl, connections=CONNECTIONS)


def keys(bench: Bench) -> None:
    """100,000 keys, asked with by Zipf's law: most requests find theirs cached, some ask auth."""
    path = bench.lab.import_keys(KEYS)
    bench.rounds("keys", "unary", ["nginx", "relay"], connections=CONNECTIONS, keys=path)


def churn(bench: Bench) -> None:
    bench.rounds("churn", "unary", ["nginx", "relay", "direct"], connections=16, close=True)


def _streams(bench: Bench, test: str, count: int, per_s: int, **flags: Any) -> None:
    """Streams that are all open for as long as the window lasts."""
    ramp = 1000
    chunks = int(per_s * (count / ramp + bench.plan.warmup + bench.plan.seconds + 1))
    bench.rounds(
        test, "sse", ["nginx", "relay", "direct"], fresh=True, streams=True, connections=count, ramp=ramp, model=f"gpt-4o-mini+sse-{chunks}-{per_s}", **flags
    )


def sse(bench: Bench) -> None:
    _streams(bench, "sse-1000", 1000, 25)
    _streams(bench, "sse-5000", 5000, 6)


def sse9000(bench: Bench) -> None:
    _streams(bench, "sse-9000", 9000, 2)


def fresh(bench: Bench) -> None:
    """The memory of a relay with default settings, once it has answered a request."""
    relay = bench.lab.defaults
    for r in range(bench.plan.rounds):
        bench.lab.restart("relay-default")
        pages = int(Path(f"/proc/{relay.process.pid}/statm").read_text().split()[1])
        bench.journal.add({"test": "fresh", "variant": "relay", "round": r, "rss_mib": pages * PAGE / 2**20, "busy": False})


def idle(bench: Bench) -> None:
    bench.rounds("idle", "idle", ["nginx", "relay"], fresh=True, connections=10000, ramp=2000)


def recorder(bench: Bench) -> None:
    """What recording alone costs: a request, the process, and its disk an event; into the spool, and on to a usage."""
    tool, sink = bench.lab.build / "bin" / "bench_recorder", f"127.0.0.1:{bench.lab.port['sink']}"
    for rate in RECORDER_RATES:
        for target in ([], ["--usage", sink]):
            with tempfile.TemporaryDirectory(dir=bench.lab.folder) as spool:
                command = [str(tool), "--dir", spool, "--rate", str(rate), "--seconds", str(max(1, round(bench.plan.seconds))), *target]
                figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row = {"test": "recorder", "rate": rate, "usage": bool(target), **figures}
            bench.journal.add(row)
            print(f"recorder: {json.dumps(row)}", flush=True)


def ingest(bench: Bench) -> None:
    """A replica of usage over a null store, on a core of its own, at a full spool."""
    tools = bench.lab.build / "bin"
    record = ["taskset", "-c", OTHER_CORE, str(tools / "bench_recorder"), "--dir"]
    for r in range(bench.plan.rounds):
        address, ops = (f"127.0.0.1:{port}" for port in free_ports(2))
        with tempfile.TemporaryDirectory(dir=bench.lab.folder) as spool:
            fill = ["--rate", str(INGEST_FILL), "--seconds", str(max(1, round(bench.plan.seconds)))]
            subprocess.run([*record, spool, *fill], check=True, capture_output=True)
            server = Process("ingest", ["taskset", "-c", MEASURED_CORE, str(tools / "bench_ingest"), "--listen", address, "--ops", ops], Path(spool) / "log")
            server.start()
            try:
                eventually(lambda: httpx.get(f"http://{ops}/readyz").status_code == 200, "the null usage")
                subprocess.run([*record, spool, "--rate", "1", "--seconds", "1", "--usage", address], check=True, capture_output=True)
            finally:
                server.stop()
            row = {"test": "ingest", "round": r, **json.loads(server.log.read_text().splitlines()[-1])}
        row["per_s"] = row["events"] / row["seconds"]
        bench.journal.add(row)
        print(f"ingest: {json.dumps(row)}", flush=True)


TESTS: dict[str, Callable[[Bench], None]] = {
    "unary": unary,
    "large": large,
    "tls": tls,
    "curl": curl,
    "keys": keys,
    "churn": churn,
    "sse": sse,
    "sse9000": sse9000,
    "idle": idle,
    "recorder": recorder,
    "ingest": ingest,
    "fresh": fresh,
}
