"""./dev bench --smoke: every variant answers every kind of load, and all who count have counted the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from harness.ingest import Spool, Stream
from harness.ports import eventually, free_ports
from harness.process import Process
from harness.rpc import RpcClient

from lab import ALL_LIMITS, SHARED, STAGES_OFF
from measure import Bench

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "unary": ("unary", {"connections": 8, "seconds": 0.4}),
    "rate": ("unary", {"connections": 8, "seconds": 0.5, "rate": 200}),
    "large": ("unary", {"connections": 2, "seconds": 0.3, "body": 1_000_000}),
    "churn": ("unary", {"connections": 2, "seconds": 0.3, "close": True}),
    "sse": ("sse", {"connections": 20, "seconds": 0.5, "streams": True, "script": "+sse-20-20"}),
    "idle": ("idle", {"connections": 50, "seconds": 0.2}),
}
SINK_SPOOLS = 16


def run_smoke(bench: Bench) -> bool:
    with bench.lab.running(*STAGES_OFF, "relay-tls"):
        return _run(bench)


def _run(bench: Bench) -> bool:
    failures: list[str] = []
    lab = bench.lab
    limited = lab.import_keys(20, ALL_LIMITS, owned=True)
    runs = {**RUNS, "limits": ("unary", {"connections": 8, "seconds": 0.4, "keys": limited})}
    for name, (kind, flags) in runs.items():
        variants = list(lab.variants.values())
        if name == "unary":
            variants += [*lab.to_tls.values(), *lab.all_tls.values(), lab.by_curl["relay"]]
        if name in ("unary", "sse"):
            variants += lab.translated.values()
        for variant in variants:
            relay = variant.process.name if variant.name.startswith("relay") else ""
            before = _counts(bench, relay) if relay else {}
            upstream = lab.upstream_stats()["requests"]
            script = {"model": variant.model + flags["script"]} if "script" in flags else {}
            row = lab.load(kind, variant, warmup=0, **{k: v for k, v in flags.items() if k != "script"}, **script)
            where = f"{name} on {variant.name} ({variant.model}{', TLS' if variant.ca else ''}{', messages' if variant.messages else ''})"
            if not 0 < row["ok"] == row["sent"]:
                failures.append(f"{where}: {row['sent']} sent, {row['ok']} answered well, {row['refused']} refused, {row['lost']} lost")
            if lab.upstream_stats()["requests"] - upstream != row["sent"]:
                failures.append(f"{where}: the upstream counted {lab.upstream_stats()['requests'] - upstream} of {row['sent']}")
            if kind == "sse" and not row["chunks"]:
                failures.append(f"{where}: no chunk was seen")
            for what, count in (_counts(bench, relay) if relay else {}).items():
                if not _comes_to(bench, relay, what, before[what] + row["sent"]):
                    failures.append(f"{where}: {what} grew by {count - before[what]} of {row['sent']}")
    with lab.running(*SHARED):
        row = lab.load("unary", lab.shared["relay"], warmup=0, connections=16, seconds=0.4)
        shares = [lab.relay_metric("relay_requests_total", name) for name in SHARED]
        if not 0 < row["ok"] == row["sent"] == sum(shares) or 0 in shares:
            failures.append(f"two relays at one port: {row['sent']} sent, {row['ok']} answered well, {shares} counted by them")
    failures += _refusals_of_a_full_sink(lab.build / "bin")
    if failures:
        print("bench smoke failed:\n  " + "\n  ".join(failures), file=sys.stderr)
    else:
        print(f"bench smoke: {len(runs)} loads on {len(lab.variants)} variants, TLS, libcurl and {len(lab.translated)} translations answered, and every counter adds up")
    return not failures


def _refusals_of_a_full_sink(tools: Path) -> list[str]:
    """Who is refused hears why, and nothing is measured that was not taken."""
    address, ops = (f"127.0.0.1:{port}" for port in free_ports(2))
    with tempfile.TemporaryDirectory() as folder:
        sink = Process("full-sink", [str(tools / "bench_sink"), "--listen", address, "--ops", ops], Path(folder) / "log")
        sink.start()
        try:
            with RpcClient(address, "relay") as relay:
                for _ in range(SINK_SPOOLS):
                    stream = Stream(relay, Spool())
                    stream.welcome()
                    stream.close()
                try:
                    return [f"a full sink: {Stream(relay, Spool()).receive()}"]
                except grpc.RpcError as e:
                    refused = e
            command = [str(tools / "bench_recorder"), "--dir", str(Path(folder) / "spool"), "--seconds", "1", "--usage", address]
            recorder = subprocess.run(command, capture_output=True, text=True)
        finally:
            sink.stop()
        why = f"knows {SINK_SPOOLS} spools"
        told = {"the caller": refused.details(), "the sink's log": sink.text(), "the recorder's log": recorder.stderr}
        failures = [f"a full sink: {who} has '{text}'" for who, text in told.items() if why not in text]
        if refused.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or recorder.returncode == 0 or recorder.stdout:
            failures.append(f"a full sink: {refused.code()}, bench_recorder ended with {recorder.returncode}: {recorder.stdout}")
        return failures


def _counts(bench: Bench, relay: str) -> dict[str, float]:
    return {
        "relay_requests_total": bench.lab.relay_metric("relay_requests_total", relay),
        "relay_spool_acked_events_total": bench.lab.relay_metric("relay_spool_acked_events_total", relay),
        "the sink": bench.lab.sink_events(),
    }


def _comes_to(bench: Bench, relay: str, what: str, wanted: float) -> bool:
    try:
        return eventually(lambda: _counts(bench, relay)[what] == wanted, what, 5)
    except AssertionError:
        return False
