"""The table of ./dev bench: medians with least and most, ratios to nginx in the same rounds, and what is expected of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from lab import TRANSLATED
from measure import PROFILED, kib_each, ratio, values_by_variant


@dataclass(frozen=True)
class Expectation:
    """A bound for the relay: for its ratio to nginx, for what it adds to another run, or for the figure itself."""

    test: str
    figure: str
    must: float
    aim: float
    at_least: bool = False  # else: at most
    of: str = "ratio"  # to nginx; "paired": to the variant of `base`; "added" to direct; "over" that of `base`; "value"
    base: str = PROFILED

    def verdict(self, value: float) -> str:
        def meets(bound: float) -> bool:
            return value >= bound if self.at_least else value <= bound

        return "aim met" if meets(self.aim) else "met" if meets(self.must) else "MISSED"

    def measured(self, rows: list[dict[str, Any]]) -> float | None:
        if self.of in ("ratio", "paired"):
            return ratio(rows, self.test, self.figure, "relay", self.base)
        by = values_by_variant(rows, self.test, self.figure)
        if self.of in ("added", "over"):
            base = by["direct" if self.of == "added" else self.base]
            added = [value - base[r] for r, value in by["relay"].items() if r in base]
            return statistics.median(added) if added else None
        return statistics.median(by["relay"].values()) if by["relay"] else None


EXPECTATIONS = (
    Expectation("unary", "per_s", 0.90, 1.10, at_least=True),
    Expectation("unary-rate", "cpu_us_each", 1.25, 1.00),
    Expectation("unary-rate", "latency_us.p99", 1.5, 1.0),
    Expectation("tls-up", "per_s", 0.85, 1.10, at_least=True),
    Expectation("tls-both", "per_s", 0.85, 1.10, at_least=True),
    Expectation("curl", "per_s", 0.40, 0.64, at_least=True),
    Expectation("sse-1000", "cpu_us_each", 1.15, 0.90),
    Expectation("sse-5000", "cpu_us_each", 1.15, 0.90),
    Expectation("sse-1000", "chunk_delay_us.p99", 2.0, 1.0),
    Expectation("sse-5000", "chunk_delay_us.p99", 2.0, 1.0),
    Expectation("sse-1000", "chunk_delay_us.p50", 300, 100, of="added"),
    Expectation("sse-5000", "chunk_delay_us.p50", 300, 100, of="added"),
    Expectation("sse-5000", "kib_each", 8, 4, of="value"),
    Expectation("sse-9000", "rss_mib", 128, 64, of="value"),
    Expectation("sse-tls", "kib_each", 48, 24, of="value"),
    Expectation("bad", "cpu_us_each", 1.2, 1.1, of="paired", base="relay-good"),
    Expectation("bad", "latency_us.p50", 1.2, 1.1, of="paired", base="relay-good"),
    Expectation("bad", "latency_us.p99", 1.2, 1.1, of="paired", base="relay-good"),
    Expectation("limits", "per_s", 0.90, 1.10, at_least=True),
    Expectation("limits-rate", "cpu_us_each", 1.25, 1.00),
    Expectation("limits-rate", "latency_us.p99", 1.5, 1.0),
    Expectation("limits-redis", "commands_each", 0.1, 0.03, of="value"),
    Expectation("limits-cold", "commands_each", 1.1, 1.1, of="value"),
    Expectation("limits-cold-many", "redis_us_statement", 25, 15, of="value"),
    Expectation("scale", "cpu_us_each", 1.15, 1.05, of="paired", base="relay-one"),
    *(
        expectation
        for kind in TRANSLATED
        for expectation in (
            Expectation(f"translate-{kind}-unary", "cpu_us_each", 60, 20, of="over", base="relay-same"),
            Expectation(f"translate-{kind}-sse", "cpu_us_each", 30, 5, of="over", base="relay-same"),
            Expectation(f"translate-{kind}-sse", "first_chunk_us.p99", 1000, 300, of="added"),
            Expectation(f"translate-{kind}-sse", "kib_each", 16, 8, of="value"),
        )
    ),
    # 0.85 of gRPC's core by itself, in a prototype: 16 µs a call, 95,000 messages a second.
    Expectation("rpc-unary", "cpu_us_each", 18.8, 16.0, of="value"),
    Expectation("rpc-stream", "cpu_us_each", 12.4, 10.5, of="value"),
    Expectation("idle", "kib_each", 2, 0.5, of="value"),
    Expectation("fresh", "rss_mib", 32, 16, of="value"),
)

FIGURES = {
    "limits-redis": ("commands_each", "statements_each"),
    "limits-cold": ("commands_each", "statements_each", "redis_us_command"),
    "limits-cold-many": ("commands_each", "statements_each", "redis_us_command", "redis_us_statement"),
    "sse": ("cpu_us_each", "chunk_delay_us.p50", "chunk_delay_us.p99", "first_chunk_us.p50", "kib_each", "rss_mib"),
    **{f"translate-{kind}-unary": ("cpu_us_each", "latency_us.p50", "latency_us.p99") for kind in TRANSLATED},
    **{f"translate-{kind}-sse": ("cpu_us_each", "first_chunk_us.p50", "first_chunk_us.p99", "chunk_delay_us.p50", "kib_each") for kind in TRANSLATED},
    "idle": ("kib_each",),
    "fresh": ("rss_mib",),
    "rpc": ("per_s", "cpu_us_each"),
    "unary": ("per_s", "cpu_us_each", "latency_us.p50", "latency_us.p99", "latency_us.p999"),
}


def figures_of(test: str) -> tuple[str, ...]:
    return FIGURES.get(test) or FIGURES.get(test.split("-")[0].rstrip("0123456789"), FIGURES["unary"])


def add_memory(rows: list[dict[str, Any]]) -> None:
    for row in (row for row in rows if "rss_bytes" in row):
        row["rss_mib"] = row["rss_bytes"] / 2**20
        row["kib_each"] = kib_each(row)


def print_table(rows: list[dict[str, Any]]) -> None:
    rows = [row for row in rows if "variant" in row]
    if not rows:
        return
    add_memory(rows)
    print(f"{'test':<25} {'variant':<12} {'figure':<19} {'median':>10} {'least':>10} {'most':>10} {'÷ nginx':>8}  expected")
    for test in dict.fromkeys(row["test"] for row in rows):
        for figure in figures_of(test):
            for variant, by_round in values_by_variant(rows, test, figure).items():
                print(_line(rows, test, figure, variant, list(by_round.values())))
    busy = sum(row["busy"] for row in rows)
    if busy:
        print(f"\n{busy} of {len(rows)} measurements were made while other processes or the host took more than they may: see others_share and steal_share")


def _figure(value: float) -> str:
    return f"{value:>10.1f}" if abs(value) >= 10 else f"{value:>10.3f}"


def _line(rows: list[dict[str, Any]], test: str, figure: str, variant: str, values: list[float]) -> str:
    to_nginx = ratio(rows, test, figure, variant) if variant != "nginx" else None
    line = f"{test:<25} {variant:<12} {figure:<19} {_figure(statistics.median(values))} {_figure(min(values))} {_figure(max(values))}"
    line += f" {to_nginx:>8.2f}" if to_nginx is not None else " " * 9
    for e in EXPECTATIONS:
        measured = e.measured(rows) if (e.test, e.figure, variant) == (test, figure, "relay") else None
        if measured is not None:
            what = {"ratio": "", "paired": f"{measured:.2f} of {e.base} ", "added": f"{measured:.1f} added to direct ", "over": f"{measured:.2f} over {e.base} ", "value": ""}[e.of]
            line += f"  {what}{'≥' if e.at_least else '≤'} {e.must:g} ({e.aim:g}): {e.verdict(measured)}"
    return line
