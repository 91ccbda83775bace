"""Hours, days and totals as anybody would compute them from the rows: without a line of what the services do."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Sums = Counter[str]  # path of a figure → its value

ALL_KEYS = "*"
ESCAPED = str.maketrans({"%": "%25", ".": "%2E", "$": "%24"})
UNSUCCESSFUL = ("interrupted", "failed", "refused")
TOKENS = {"prompt": "promptTokens", "completion": "completionTokens", "cached": "cachedTokens", "reasoning": "reasoningTokens"}
LAST_BUCKET_MS = 4_194_303
# Made by the fold from other figures; compared one by one.
DERIVED = (
    "metrics.cost.estimated", "metrics.cost.billed",
    "metrics.performance.avgResponseTime", "metrics.performance.p95ResponseTime", "metrics.performance.p99ResponseTime",
)


def bucket(ms: int) -> int:
    ms = min(ms, LAST_BUCKET_MS)
    if ms < 16:
        return ms
    e = ms.bit_length() - 1
    return 16 * (e - 4) + (ms >> (e - 4))


def bucket_middle(index: int) -> float:
    if index < 16:
        return index
    width = 2 ** (index // 16 - 1)
    return (16 + index % 16) * width + (width - 1) / 2


def percentile(sums: Sums, share: float) -> float:
    counts = {int(path.removeprefix("hist.dur.")): n for path, n in sums.items() if path.startswith("hist.dur.")}
    rank, seen = math.ceil(share * sum(counts.values())), 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return bucket_middle(index)
    return 0.0


def is_successful(row: Json) -> bool:
    return row["response"]["statusCode"] < 400 and row["outcome"] not in UNSUCCESSFUL


def error_of(row: Json) -> str:
    return str(row["response"]["error"] or row["outcome"])


def figures(row: Json) -> Sums:
    """What a row adds to the hour of its key and to that of all keys alike."""
    usage, repeats = row["usage"], row.get("repeatCount", 1)
    failed = 0 if is_successful(row) else repeats
    of = Counter({
        "metrics.requests.total": repeats, "metrics.requests.failed": failed, "metrics.requests.successful": repeats - failed,
        f"metrics.status.{row['response']['statusCode']}": repeats,
        "metrics.tokens.total": usage["totalTokens"],
        "metrics.cost.estimatedNanoUsd": usage["costNanoUsd"], "metrics.cost.billedNanoUsd": usage["costNanoUsd"],
        "metrics.performance.sumDuration": row["response"]["duration"] * repeats,
        f"hist.dur.{bucket(row['response']['duration'])}": repeats,
    })
    of.update({f"metrics.tokens.{name}": usage[stored] for name, stored in TOKENS.items()})
    if failed:
        of[f"metrics.requests.errors.{error_of(row).translate(ESCAPED)}"] += repeats
    if row.get("ttftMs") is not None:
        of["metrics.performance.sumTtft"] += row["ttftMs"] * repeats
        of["metrics.performance.ttftCount"] += repeats
        of[f"hist.ttft.{bucket(row['ttftMs'])}"] += repeats
    model = row["request"]["model"] if row["upstreamAccepted"] or row["outcome"] == "cached" else row.get("route")
    named = {"models": model, "providers": row.get("provider"), "owners": f"{row.get('userId', '')}~{row.get('clientId', '')}"}
    slice_of = {"requests": repeats, "failed": failed, "tokens": usage["totalTokens"], "costNanoUsd": usage["costNanoUsd"]}
    slice_of |= {name: usage[stored] for name, stored in TOKENS.items()}
    for group, name in named.items():
        if name:
            of.update({f"metrics.{group}.{name.translate(ESCAPED)}.{figure}": n for figure, n in slice_of.items()})
    return of


def of_all_keys(row: Json) -> Sums:
    """What only the hour of all keys has: its minutes."""
    of: Sums = Counter()
    minute, repeats = f"minutes.{row['timestamp']:%M}", row.get("repeatCount", 1)
    of[f"{minute}.requests"] += repeats
    of[f"{minute}.failed"] += 0 if is_successful(row) else repeats
    of[f"{minute}.tokens"] += row["usage"]["totalTokens"]
    of[f"{minute}.costNanoUsd"] += row["usage"]["costNanoUsd"]
    return of


def ledgers(row: Json) -> dict[str, str]:
    """Path of each ledger's sums → the member of the row that has its load id."""
    paths = {"ledger.k": "k"}
    if row.get("clientId"):
        paths[f"ledger.c.{row['clientId'].translate(ESCAPED)}"] = "c"
    if row.get("userId"):
        paths[f"ledger.o.{row['userId']}"] = "o"
    return paths


def is_held_against_limits(row: Json) -> bool:
    """What no provider was asked for is not: refusals, lists of models, callers that left in the queue."""
    return row["outcome"] != "refused" and (row.get("attempts", 0) > 0 or row["outcome"] == "cached")


def add_ledgers(hours: dict[str, Sums], loads: dict[tuple[str, str], tuple[int, Sums]], ids: tuple[str, str], row: Json) -> None:
    if not is_held_against_limits(row):
        return
    amounts = {"requests": row.get("repeatCount", 1), "tokens": row["usage"]["totalTokens"], "costNanoUsd": row["usage"]["costNanoUsd"]}
    for path, member in ledgers(row).items():
        hour = ids[0] if member == "k" else ids[1]
        hours[hour].update({f"{path}.{name}": n for name, n in amounts.items()})
        load = row.get("ledger", {}).get(member, 0)
        newest, sums = loads.get((hour, path), (0, Counter()))
        if load > newest:
            loads[hour, path] = (load, Counter({f"{path}.load.{name}": n for name, n in amounts.items()}))
        elif load and load == newest:
            sums.update({f"{path}.load.{name}": n for name, n in amounts.items()})


def hours_of(rows: Iterable[Json]) -> dict[str, Sums]:
    hours: dict[str, Sums] = defaultdict(Counter)
    loads: dict[tuple[str, str], tuple[int, Sums]] = {}
    for row in rows:
        hour = f"{row['timestamp']:%Y-%m-%dT%H}"
        of_key, of_all = f"{row['apiKeyId']}|{hour}", f"{ALL_KEYS}|{hour}"
        added = figures(row)
        hours[of_key].update(added)
        hours[of_all].update(added)
        hours[of_all].update(of_all_keys(row))
        add_ledgers(hours, loads, (of_key, of_all), row)
    for (hour_id, path), (load, sums) in loads.items():
        hours[hour_id].update(sums)
        hours[hour_id][f"{path}.load.id"] = load
    return hours


def days_of(hours: Mapping[str, Sums]) -> dict[str, Sums]:
    days: dict[str, Sums] = defaultdict(Counter)
    for hour_id, sums in hours.items():
        day = days[hour_id.partition("T")[0]]
        day.update({path: n for path, n in sums.items() if path.startswith(("metrics.", "hist."))})
        day["hours"] += 1
    return days


def stored(document: Json, *parts: str) -> Sums:
    """The figures of a stored document as paths; absent and 0 are the same."""
    flat: Sums = Counter()

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, member in value.items():
                walk(f"{path}.{name}", member)
        else:
            flat[path] = value

    for part in parts:
        if part in document:
            walk(part, document[part])
    return flat


def differences(of: str, computed: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    paths = sorted(path for path in {*computed, *found} if computed.get(path, 0) != found.get(path, 0))
    return [f"{of}: {path} is {found.get(path, 0)}, not {computed.get(path, 0)}" for path in paths]
