"""Hours, days and totals as anybody would compute them from the rows: without a line of what the services do."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

Json = dict[str, Any]
Sums = Counter[str]  # path of a figure → its value

ALL_KEYS = "*"
OWNER_PARTS = 64
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


def crc32c(text: str) -> int:
    crc = 0xFFFFFFFF
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@cache
def part_of(name: str) -> str:
    """The document of an hour that has the sums of a client or an owner."""
    return f"{ALL_KEYS}{crc32c(name) % OWNER_PARTS:02}" if name else ALL_KEYS


def slice_of(row: Json) -> Sums:
    """The figures of a model, a provider, a client."""
    usage, repeats = row["usage"], row.get("repeatCount", 1)
    of = {"requests": repeats, "failed": 0 if is_successful(row) else repeats, "tokens": usage["totalTokens"], "costNanoUsd": usage["costNanoUsd"]}
    return Counter(of | {name: usage[stored] for name, stored in TOKENS.items()})


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
    for group, name in {"models": model, "providers": row.get("provider")}.items():
        if name:
            of.update({f"metrics.{group}.{name.translate(ESCAPED)}.{figure}": n for figure, n in slice_of(row).items()})
    return of


def of_key(row: Json) -> Sums:
    """What only the hour of a key has: its owners, of which it may have had several."""
    owner = f"{row.get('userId', '')}~{row.get('clientId', '')}".translate(ESCAPED)
    return Counter({f"metrics.owners.{owner}.{figure}": n for figure, n in slice_of(row).items()})


def of_owners(row: Json) -> dict[str, Sums]:
    """What a row adds by its client and by its owner, and to which part: those of none stand with all keys."""
    added: dict[str, Sums] = defaultdict(Counter)
    for group, name in {"clients": row.get("clientId", ""), "users": str(row.get("userId", ""))}.items():
        escaped = name.translate(ESCAPED) or "%"
        added[part_of(name)].update({f"metrics.{group}.{escaped}.{figure}": n for figure, n in slice_of(row).items()})
    return added


def of_all_keys(row: Json) -> Sums:
    """What only the hour of all keys has: its minutes."""
    of: Sums = Counter()
    minute, repeats = f"minutes.{row['timestamp']:%M}", row.get("repeatCount", 1)
    of[f"{minute}.requests"] += repeats
    of[f"{minute}.failed"] += 0 if is_successful(row) else repeats
    of[f"{minute}.tokens"] += row["usage"]["totalTokens"]
    of[f"{minute}.costNanoUsd"] += row["usage"]["costNanoUsd"]
    return of


def ledgers(row: Json) -> Iterable[tuple[str, str, str]]:
    """Of each ledger the subject of its document, the path of its sums, the member of the row that has its load id."""
    yield str(row["apiKeyId"]), "ledger.k", "k"
    if row.get("clientId"):
        yield part_of(row["clientId"]), f"ledger.c.{row['clientId'].translate(ESCAPED)}", "c"
    if row.get("userId"):
        yield part_of(str(row["userId"])), f"ledger.o.{row['userId']}", "o"


def is_held_against_limits(row: Json) -> bool:
    """What no provider was asked for is not: refusals, lists of models, callers that left in the queue."""
    return row["outcome"] != "refused" and (row.get("attempts", 0) > 0 or row["outcome"] == "cached")


def hour_of(subject: str, row: Json) -> str:
    return f"{subject}|{row['timestamp']:%Y-%m-%dT%H}"


def add_ledgers(hours: dict[str, Sums], loads: dict[tuple[str, str], tuple[int, Sums]], row: Json) -> None:
    if not is_held_against_limits(row):
        return
    amounts = {"requests": row.get("repeatCount", 1), "tokens": row["usage"]["totalTokens"], "costNanoUsd": row["usage"]["costNanoUsd"]}
    for subject, path, member in ledgers(row):
        hour = hour_of(subject, row)
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
        key = str(row["apiKeyId"])
        for subject in (key, ALL_KEYS):
            hours[hour_of(subject, row)].update(figures(row))
        hours[hour_of(key, row)].update(of_key(row))
        hours[hour_of(ALL_KEYS, row)].update(of_all_keys(row))
        for part, added in of_owners(row).items():
            hours[hour_of(part, row)].update(added)
        add_ledgers(hours, loads, row)
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
