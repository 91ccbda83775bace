"""Legs in interleaved rounds, repeated when the machine was busy with something else, and what they amount to."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab, Variant

BUSY_SHARE = 0.08  # of one core, taken by processes that are not ours or by the host: a leg with more is repeated
REPEATS = 4
PROFILED = "nginx"


@dataclass
class Plan:
    """How thorough a run is."""

    rounds: int = 5
    seconds: float = 4.0
    warmup: float = 1.0
    accept_busy: bool = False


class Journal:
    """One JSON line a measurement; no file without one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _taken(row: dict[str, Any]) -> float:
    """Cores that the measurement had to do without."""
    return float(row["others_share"] + row["steal_share"])


def kib_each(row: dict[str, Any]) -> float:
    """The memory of a stream or of an idle connection, of which each is a request."""
    return float(row["rss_bytes"] - row["rss_fresh"]) / 1024 / max(row["sent"], 1)


class Bench:
    def __init__(self, lab: Lab, plan: Plan, journal: Journal) -> None:
        self.lab = lab
        self.plan = plan
        self.journal = journal
        self.bad_input = 0.0  # a second, beside what is measured

    def leg(self, test: str, kind: str, variant: Variant, round_: int, **flags: Any) -> dict[str, Any]:
        """One measurement; a busy one is made again, and the quietest of all is kept."""
        best: dict[str, Any] | None = None
        for repeat in range(1 if self.plan.accept_busy else REPEATS):
            row = {**self._measure(test, kind, variant, round_, **flags), "repeat": repeat}
            if not row["seconds"]:
                continue  # the window never closed: everything had ended before
            if best is None or _taken(row) < _taken(best):
                best = row
            if not row["busy"]:
                break
        if best is None:
            raise RuntimeError(f"{test} on {variant.name}: no measurement came to its end; the machine is too busy for it")
        self.journal.add(best)
        return best

    def _measure(self, test: str, kind: str, variant: Variant, round_: int, **flags: Any) -> dict[str, Any]:
        self.lab.leave_core_to(variant.process)
        before = self.lab.cpu()
        bad = self._start_bad(variant) if self.bad_input else None
        try:
            row = self.lab.load(kind, variant, **{"seconds": self.plan.seconds, "warmup": self.plan.warmup, **flags})
        finally:
            if bad:
                bad.kill()
                bad.wait()
        after = self.lab.cpu()
        elapsed = after.at - before.at
        others = max(0.0, (after.busy - before.busy) - (after.ours - before.ours)) / elapsed
        steal = (after.steal - before.steal) / elapsed
        units = row["chunks"] or row["measured"]
        row["cpu_us_each"] = row["cpu_us"] / units if units else 0.0
        row["kib_each"] = kib_each(row)
        row["utilisation"] = row["cpu_us"] / 1e6 / row["seconds"] if row["seconds"] else 0.0
        return {
            "test": test, "variant": variant.name, "round": round_, "time": time.time(), "others_share": round(others, 4),
            "steal_share": round(steal, 4), "busy": others + steal > BUSY_SHARE, **row,
        }

    def _start_bad(self, variant: Variant) -> "subprocess.Popen[bytes]":
        return self.lab.start_load("bad", variant, rate=self.bad_input, seconds=self.plan.warmup + self.plan.seconds)

    def rounds(
        self, test: str, kind: str, variants: list[str], *, of: dict[str, Variant] | None = None, fresh: bool = False, **flags: Any
    ) -> list[dict[str, Any]]:
        """Each variant once a round, in an order that turns. `fresh`: each process is started anew before its leg."""
        rows = []
        of = of or self.lab.variants
        for r in range(self.plan.rounds):
            turned = variants[r % len(variants) :] + variants[: r % len(variants)]
            for name in turned:
                if fresh and name != "direct":
                    self.lab.restart(name)
                rows.append(self.leg(test, kind, of[name], r, **flags))
        return rows


def value_of(row: dict[str, Any], figure: str) -> float:
    """`figure` as "per_s" or "latency_us.p99"."""
    value: Any = row
    for part in figure.split("."):
        value = value[part]
    return float(value)


def values_by_variant(rows: list[dict[str, Any]], test: str, figure: str) -> dict[str, dict[int, float]]:
    by: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["test"] == test:
            by[row["variant"]][row["round"]] = value_of(row, figure)
    return by


def ratio(rows: list[dict[str, Any]], test: str, figure: str, variant: str, base: str = PROFILED) -> float | None:
    """The median over the rounds of what `variant` has to `base` in the same round."""
    by = values_by_variant(rows, test, figure)
    pairs = [by[variant][r] / by[base][r] for r in by[variant] if by[base].get(r)]
    return statistics.median(pairs) if pairs else None
