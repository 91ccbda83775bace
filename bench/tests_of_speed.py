"""The tests of ./dev bench, by name. Each makes its rounds; tables.py says what is expected of them."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from harness.ports import eventually, free_ports
from harness.process import Process
from lab import ALL_LIMITS, HOT_KEYS, MEASURED_CORE, MODEL, OTHER_CORE, SHARED, STAGES_OFF, TLS_MODEL
from measure import Bench
from overview import run_overview

CONNECTIONS = 64
FIXED_SHARE = 0.5  # of what nginx does in the closed loop: loaded, and still far from full
PAGE = resource.getpagesize()
KEYS = 100_000
COLD_KEYS = 1000
LIMITS_RATE = 10_000
SCALE_RATE = 8000
TRANSLATE_RATE = 3000
FIRST_RATE = 500  # what a relay that was just started is asked before it is measured
TRANSLATE_STREAMS, TRANSLATE_EVENTS = 1000, 10  # of a second each
LARGE_BODY = 1_000_000
TLS_STREAMS = 2000
BAD_RATE = 5000
BAD_SHARE = 0.01
INGEST_FILL = 40_000  # events a second that are recorded first
RECORDER_RATES = (1000, 5000, 20000)


def unary(bench: Bench) -> None:
    """600-byte requests, 700-byte answers: as many as go, and at one rate for all."""
    variants = ["nginx", "relay", "direct"]
    rows = bench.rounds("unary", "unary", variants, connections=CONNECTIONS)
    closed = statistics.median(row["per_s"] for row in rows if row["variant"] == "nginx")
    rate = round(closed * FIXED_SHARE, -2)
    bench.rounds("unary-rate", "unary", variants, connections=CONNECTIONS, rate=rate)
    with bench.lab.running(*STAGES_OFF):
        bench.rounds("unary-stages", "unary", ["nginx", "relay", *STAGES_OFF], connections=CONNECTIONS)


def large(bench: Bench) -> None:
    bench.rounds("large", "unary", ["nginx", "relay", "direct"], connections=8, body=LARGE_BODY)


def tls(bench: Bench) -> None:
    """TLS to the upstream, and TLS on both sides; nginx does the same."""
    bench.rounds("tls-up", "unary", ["nginx", "relay"], of=bench.lab.to_tls, connections=CONNECTIONS)
    with bench.lab.running("relay-tls"):
        bench.rounds("tls-both", "unary", ["nginx", "relay"], of=bench.lab.all_tls, connections=CONNECTIONS)


def curl(bench: Bench) -> None:
    """libcurl as the transport of a provider."""
    bench.rounds("curl", "unary", ["nginx", "relay"], of=bench.lab.by_curl, connections=CONNECTIONS)


def keys(bench: Bench) -> None:
    """100,000 keys, asked with by Zipf's law: most requests find theirs cached, some ask auth."""
    path = bench.lab.import_keys(KEYS)
    bench.rounds("keys", "unary", ["nginx", "relay"], connections=CONNECTIONS, keys=path)


def limits(bench: Bench) -> None:
    """
    100 keys by Zipf's law, each with every limit, their clients and their owner with limits too: the same requests as `unary`; beside
    them as many keys without any. Then a thousand keys that are asked with while nothing is held for them: what a cold key costs, one after
    the other and many at once. The first of those rounds builds their ledgers up, which is not counted.
    """
    lab = bench.lab
    relay = lab.variants["relay"]
    variants = {"nginx": lab.variants["nginx"], "relay-free": replace(relay, name="relay-free"), "relay": relay}
    free, limited = lab.import_keys(HOT_KEYS), lab.import_keys(HOT_KEYS, ALL_LIMITS, owned=True)
    for test, flags in (("limits", {}), ("limits-rate", {"rate": LIMITS_RATE})):
        for r in range(bench.plan.rounds):
            for name in list(variants) if r % 2 else reversed(variants):
                with lab.ledger_use() as use:
                    keys = limited if name == "relay" else free
                    row = bench.leg(test, "unary", variants[name], r, connections=CONNECTIONS, keys=keys, **flags)
                if name == "relay":
                    bench.journal.add({"test": "limits-redis", "variant": name, "round": r, "busy": row["busy"], **use})
    cold = lab.import_keys(COLD_KEYS, ALL_LIMITS).read_text().split()
    for r in range(-1, bench.plan.rounds):
        for test, width in (("limits-cold", 1), ("limits-cold-many", CONNECTIONS)):
            lab.await_nothing_held()
            with lab.ledger_use() as use:
                for at in range(0, len(cold), width):
                    lab.ask_at_once(relay, cold[at : at + width])
            lab.await_something_held()
            if r >= 0:
                bench.journal.add({"test": test, "variant": "relay", "round": r, "busy": False, **use})


def scale(bench: Bench) -> None:
    """A relay, and two that share its port and get twice as much: what a request costs. The second shares its core with the load."""
    lab = bench.lab
    with lab.running(SHARED[0]):
        for r in range(bench.plan.rounds):
            for name in ("relay-one", "relay") if r % 2 else ("relay", "relay-one"):
                variant = lab.shared[name]
                with lab.running(SHARED[1]) if variant.second else nullcontext():
                    count = 2 if variant.second else 1
                    bench.leg("scale", "unary", variant, r, connections=CONNECTIONS * count, rate=SCALE_RATE * count)


def translate(bench: Bench) -> None:
    """
    What it costs to translate, beside the relay's own dialect in the same rounds: whole answers at one rate, and a thousand streams, each
    time from a relay that was started for them, since their memory is looked at, and has answered some whole requests: the first ones wait
    for what a process does once. What nginx adds to their first token is seen, too.
    """
    lab, relay = bench.lab, bench.lab.variants["relay"]
    same = replace(relay, name="relay-same")
    for kind, translated in lab.translated.items():
        streamed = [translated, same, lab.variants["nginx"], lab.variants["direct"]]
        for r in range(bench.plan.rounds):
            for variant in (same, translated) if r % 2 else (translated, same):
                bench.leg(f"translate-{kind}-unary", "unary", variant, r, connections=CONNECTIONS, rate=TRANSLATE_RATE)
            for variant in reversed(streamed) if r % 2 else streamed:
                if variant.process is relay.process:
                    lab.restart("relay")
                    lab.load("unary", variant, connections=8, rate=FIRST_RATE, seconds=0.3)
                flags = _stream_flags(bench, TRANSLATE_STREAMS, TRANSLATE_EVENTS, variant.model)
                bench.leg(f"translate-{kind}-sse", "sse", variant, r, **flags)


def churn(bench: Bench) -> None:
    bench.rounds("churn", "unary", ["nginx", "relay", "direct"], connections=16, close=True)


def _stream_flags(bench: Bench, count: int, per_s: int, model: str = MODEL) -> dict[str, Any]:
    """Streams that are all open for as long as the window lasts."""
    ramp = 1000
    chunks = int(per_s * (count / ramp + bench.plan.warmup + bench.plan.seconds + 1))
    return {"streams": True, "connections": count, "ramp": ramp, "model": f"{model}+sse-{chunks}-{per_s}"}


def _streams(bench: Bench, test: str, count: int, per_s: int) -> None:
    bench.rounds(test, "sse", ["nginx", "relay", "direct"], fresh=True, **_stream_flags(bench, count, per_s))


def sse(bench: Bench) -> None:
    _streams(bench, "sse-1000", 1000, 25)
    _streams(bench, "sse-5000", 5000, 6)


def sse9000(bench: Bench) -> None:
    _streams(bench, "sse-9000", 9000, 2)


def sse_tls(bench: Bench) -> None:
    """The memory of a stream over TLS to the upstream."""
    flags = _stream_flags(bench, TLS_STREAMS, 2, TLS_MODEL)
    bench.rounds("sse-tls", "sse", ["relay"], of=bench.lab.to_tls, fresh=True, **flags)


def bad(bench: Bench) -> None:
    """The same good requests at one rate, alone and beside bad input; which of the two comes first turns."""
    relay = bench.lab.variants["relay"]
    for r in range(bench.plan.rounds):
        for is_bad in (r % 2 == 0, r % 2 != 0):
            bench.bad_input = BAD_RATE * BAD_SHARE if is_bad else 0.0
            variant = replace(relay, name="relay" if is_bad else "relay-good")
            bench.leg("bad", "unary", variant, r, connections=CONNECTIONS, rate=BAD_RATE)
    bench.bad_input = 0.0


def rpc(bench: Bench) -> None:
    """What libs/rpc costs: unary calls and messages of streams that go to and fro, the server's core alone."""
    process = bench.lab.suite.processes["rpc-echo"]
    seconds = max(1, round(bench.plan.seconds))
    for r in range(bench.plan.rounds):
        for kind, count in (("unary", 64), ("stream", 16)):
            command = ["taskset", "-c", OTHER_CORE, str(bench.lab.build / "bin" / "bench_rpc_load"), "--kind", kind, "--count", str(count)]
            command += ["--target", f"127.0.0.1:{bench.lab.port['rpc']}", "--seconds", str(seconds), "--watch", str(process.pid)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60 + seconds).stdout)
            bench.journal.add({"test": f"rpc-{kind}", "variant": "relay", "round": r, "busy": False, **row})


def fresh(bench: Bench) -> None:
    """The memory of a relay with default settings, once it has answered a request."""
    relay = bench.lab.defaults
    for r in range(bench.plan.rounds):
        with bench.lab.running("relay-default"):
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
                figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
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


def overview(bench: Bench) -> None:
    """Reports over 30 days with a million requests behind them."""

    def note(row: dict[str, Any]) -> None:
        bench.journal.add({"test": "overview", **row})
        print(f"overview: {json.dumps(row)}", flush=True)

    try:
        run_overview(bench.lab.folder / "overview", bench.lab.build, note)
    except AssertionError as e:  # of the harness: others are still to be measured
        raise RuntimeError(str(e)) from e


TESTS: dict[str, Callable[[Bench], None]] = {
    "unary": unary,
    "large": large,
    "tls": tls,
    "curl": curl,
    "keys": keys,
    "limits": limits,
    "scale": scale,
    "translate": translate,
    "churn": churn,
    "sse": sse,
    "sse9000": sse9000,
    "sse-tls": sse_tls,
    "bad": bad,
    "idle": idle,
    "recorder": recorder,
    "ingest": ingest,
    "overview": overview,
    "rpc": rpc,
    "fresh": fresh,
}
