"""./dev bench soak: minutes of mixed traffic with 1 % of bad input; memory and descriptors have to stay flat."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Bench

RATE = 1500  # well-formed unary requests a second; everything else is in proportion
BAD_SHARE = 0.01
SAMPLE_S = 1.0
GROWTH_MAX_BYTES = 2 << 20
GROWTH_MAX_SHARE = 0.03
WARM_SHARE = 0.2  # of the time, in which caches and pools fill


@dataclass(frozen=True)
class Sample:
    at_s: float
    rss_bytes: int
    descriptors: int


def _sample(pid: int, start: float) -> Sample:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(time.monotonic() - start, pages * 4096, len(list(Path(f"/proc/{pid}/fd").iterdir())))


def _start_loads(bench: Bench, seconds: float) -> dict[str, "subprocess.Popen[bytes]"]:
    relay = bench.lab.variants["relay"]
    start = bench.lab.start_load
    # A stream of a second and a half, again and again: as many at a time as the rate times their length.
    stream = {"model": "gpt-4o-mini+sse-30-20", "streams": True}
    return {
        "unary": start("unary", relay, connections=32, rate=RATE, seconds=seconds),
        "streams": start("unary", relay, connections=200, rate=100, seconds=seconds, **stream),
        "large": start("unary", relay, connections=4, rate=5, body=1_000_000, seconds=seconds),
        "churn": start("unary", relay, connections=8, rate=50, close=True, seconds=seconds),
        "bad": start("bad", relay, rate=RATE * BAD_SHARE, seconds=seconds),
    }


def _growth(samples: list[Sample], figure: str) -> tuple[float, float]:
    """Medians of the second and of the last quarter of what came after warming up."""
    warm = [s for s in samples if s.at_s >= samples[-1].at_s * WARM_SHARE]
    quarter = max(len(warm) // 4, 1)
    early, late = warm[quarter : 2 * quarter] or warm, warm[-quarter:]
    return statistics.median(getattr(s, figure) for s in early), statistics.median(getattr(s, figure) for s in late)


def _judge(samples: list[Sample], settled: Sample, before: Sample, reports: dict[str, dict[str, Any]]) -> list[str]:
    failures = []
    early, late = _growth(samples, "rss_bytes")
    if late - early > max(GROWTH_MAX_BYTES, GROWTH_MAX_SHARE * early):
        failures.append(f"RSS grew from {early / 2**20:.1f} MiB to {late / 2**20:.1f} MiB")
    early, late = _growth(samples, "descriptors")
    if late > early * 1.2 + 8:
        failures.append(f"descriptors grew from {early:.0f} to {late:.0f}")
    if settled.descriptors > before.descriptors + 64:  # kept upstream connections stay open for a minute
        failures.append(f"{settled.descriptors} descriptors are open after the traffic, {before.descriptors} were before")
    for name, report in reports.items():
        if name == "bad":
            if not report["refused"]:
                failures.append("no bad request was refused")
        elif report["ok"] != report["sent"]:
            failures.append(f"{name}: {report['sent']} sent, {report['ok']} answered well, {report['refused']} refused, {report['lost']} lost")
    return failures


def run_soak(bench: Bench, seconds: float) -> bool:
    lab = bench.lab
    pid = lab.variants["relay"].process.pid
    start = time.monotonic()
    before = _sample(pid, start)
    samples: list[Sample] = []
    loads = _start_loads(bench, seconds)
    try:
        while any(p.poll() is None for p in loads.values()) and time.monotonic() - start < seconds + 60:
            samples.append(_sample(pid, start))
            time.sleep(SAMPLE_S)
        outputs = {name: p.communicate(timeout=30) for name, p in loads.items()}
    finally:
        for p in loads.values():
            p.kill()
    broken = {name: err.decode() for name, (out, err) in outputs.items() if not out}
    if broken:
        print(f"bench soak: the load failed: {broken}", file=sys.stderr)
        return False
    reports = {name: json.loads(out) for name, (out, _) in outputs.items()}
    lab.drain("relay")
    settled = _sample(pid, start)
    failures = _judge([s for s in samples if s.at_s < seconds], settled, before, reports)
    rss, descriptors = _growth(samples, "rss_bytes"), _growth(samples, "descriptors")
    bench.journal.add({"test": "soak", "seconds": seconds, "rss": rss, "descriptors": descriptors, "failures": failures, "loads": reports})
    total = sum(r["sent"] for r in reports.values())
    print(f"soak: {seconds:.0f} s, {total} requests, {reports['bad']['sent']} of them bad")
    print(f"  RSS {rss[0] / 2**20:.1f} → {rss[1] / 2**20:.1f} MiB, descriptors {descriptors[0]:.0f} → {descriptors[1]:.0f}, {settled.descriptors} after")
    unsent = sum(r["unsent"] for r in reports.values())
    if unsent:
        print(f"  {unsent} requests were due and not sent in time: the machine was busy with something else")
    for failure in failures:
        print(f"  FAILED: {failure}")
    print("  flat" if not failures else "  NOT FLAT")
    return not failures
