"""
Overviews of 30 days over a million requests of 1,000 keys: what admin-gw and usage take to answer them, and what of that is the
store's.

The sums are written as usage itself would have written them, and that is checked: usage rebuilds an hour from its rows and folds days
from their hours, and finds what stands there.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import httpx
from bson import Int64, ObjectId
from faults.sums import ALL_KEYS, DERIVED, differences, figures, hours_of, of_key, of_owners, percentile, stored
from harness.ports import eventually
from harness.suite import Suite

Json = dict[str, Any]

KEYS, DAYS, ROWS = 1000, 30, 1_000_000
CALLS = 30
BATCH = 1000
MODELS = {"gpt-4o": "openai", "gpt-4o-mini": "openai", "claude-sonnet-4-5": "anthropic", "gemini-2.5-flash": "google", "agent_echo": "librechat"}
CLIENTS = [f"client-{n}" for n in range(20)]
HOURS = ("api_metrics_hourly", "api_metrics_owners_hourly")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# The figures of an hour that its day keeps, in the order of fold.c.
OF_HOURS = [
    "metrics.requests.total", "metrics.requests.successful", "metrics.requests.failed", "metrics.tokens.prompt", "metrics.tokens.completion",
    "metrics.tokens.total", "metrics.tokens.cached", "metrics.tokens.reasoning", "metrics.cost.estimatedNanoUsd", "metrics.cost.billedNanoUsd",
]  # fmt: skip
TICKS = os.sysconf("SC_CLK_TCK")


class Traffic:
    """Rows, of keys by Zipf's law; always the same."""

    def __init__(self) -> None:
        self._dice = random.Random(2026)
        self.keys = [ObjectId(self._dice.randbytes(12)) for _ in range(KEYS)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(KEYS)))

    def row(self, at: datetime) -> Json:
        dice = self._dice
        key = self.keys[bisect(self._weights, dice.random() * self._weights[-1]) % KEYS]
        model = dice.choice(list(MODELS))
        prompt, completion = dice.randrange(20, 4000), dice.randrange(5, 1500)
        failed = dice.random() < 0.02
        cost = prompt * 150 + completion * 600
        row = {
            "_id": ObjectId(dice.randbytes(12)), "apiKeyId": key, "timestamp": at, "requestId": f"req_{dice.getrandbits(64):016x}", "keyId": str(key)[:12],
            "request": {"endpoint": "/v1/chat/completions", "method": "POST", "model": model, "ip": "203.0.113.9", "userAgent": "bench", "headers": {}},
            "response": {"statusCode": 502 if failed else 200, "duration": Int64(dice.randrange(200, 20000)), "error": "upstream_error" if failed else None},
            "usage": {"promptTokens": Int64(prompt), "completionTokens": Int64(completion), "totalTokens": Int64(prompt + completion), "cost": cost / 1e9,
                      "cachedTokens": Int64(prompt // 4), "reasoningTokens": Int64(0), "costNanoUsd": Int64(cost)},
            "clientId": dice.choice(CLIENTS), "provider": MODELS[model], "route": model, "stream": True, "ttftMs": Int64(dice.randrange(50, 2000)),
            "attempts": Int64(1), "billingBasis": "reported", "outcome": "failed" if failed else "complete", "repeatCount": Int64(1),
            "promptEstimateTokens": Int64(prompt), "upstreamAccepted": True, "sumsFormat": 2,
        }  # fmt: skip
        return row


def nested(sums: Counter[str]) -> Json:
    whole: Json = {}
    for path in sorted(sums):
        *parents, last = path.split(".")
        at = whole
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = Int64(sums[path])
    return whole


def subject_of(identifier: str) -> Any:
    key = identifier.partition("|")[0]
    return key if key.startswith(ALL_KEYS) else ObjectId(key)


def collection_of(identifier: str) -> str:
    """Of a day."""
    if not identifier.startswith(ALL_KEYS):
        return "api_metrics"
    return "api_metrics_total" if identifier.startswith(f"{ALL_KEYS}|") else "api_metrics_owners"


def hours_collection_of(identifier: str) -> str:
    """Of an hour, or of the hours of a day."""
    return "api_metrics_owners_hourly" if collection_of(identifier) == "api_metrics_owners" else "api_metrics_hourly"


def hour_document(identifier: str, sums: Counter[str], dice: random.Random) -> Json:
    date = datetime.fromisoformat(identifier.partition("|")[2] + ":00+00:00")
    return {"_id": identifier, "apiKeyId": subject_of(identifier), "date": date, "dirty": False, "rev": Int64(dice.getrandbits(62)), **nested(sums)}


def day_document(identifier: str, hours: dict[int, Counter[str]], dice: random.Random) -> Json:
    date = datetime.fromisoformat(identifier.partition("|")[2] + "T00:00:00+00:00")
    sums: Counter[str] = Counter()
    for of_hour in hours.values():
        sums.update({path: n for path, n in of_hour.items() if path.startswith(("metrics.", "hist."))})
    day = nested(sums)
    day |= {"_id": identifier, "apiKeyId": subject_of(identifier), "date": date, "gen": Int64(dice.getrandbits(62)), "foldedAt": date + DAY}
    day["hours"] = Int64(len(hours))
    if isinstance(day["apiKeyId"], str) and day["apiKeyId"] != ALL_KEYS:
        return day
    cost, performance, requests = day["metrics"]["cost"], day["metrics"]["performance"], day["metrics"]["requests"]
    cost["estimated"], cost["billed"] = cost["estimatedNanoUsd"] / 1e9, cost["billedNanoUsd"] / 1e9
    performance["avgResponseTime"] = performance["sumDuration"] / requests["total"]
    performance["p95ResponseTime"], performance["p99ResponseTime"] = percentile(sums, 0.95), percentile(sums, 0.99)
    requests.setdefault("errors", {})
    by_hour = {f"{hour:02}": [Int64(of_hour[path]) for path in OF_HOURS] for hour, of_hour in sorted(hours.items())}
    return day | {"byHour": by_hour}


def in_batches(documents: Iterator[Json]) -> Iterator[list[Json]]:
    while batch := list(islice(documents, BATCH)):
        yield batch


class Filling:
    """30 days that are over, and today as far as it is; hours of yesterday and today, and the rows of the last hour that is over."""

    def __init__(self, suite: Suite) -> None:
        self.db = suite.mongo()
        self.traffic = Traffic()
        self.dice = random.Random(7)
        self.now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
        self.today = self.now.replace(hour=0)
        self.start = self.today - DAYS * DAY

    def _insert(self, collection: str, documents: Iterator[Json]) -> None:
        for batch in in_batches(documents):
            self.db[collection].insert_many(batch, ordered=False)

    def _write_day(self, day: datetime, count: int, hours: int, with_hours: bool) -> None:
        """`count` rows, evenly over its first `hours`."""
        days: dict[str, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        rows = [self.traffic.row(day + n * hours * HOUR / count) for n in range(count)]
        if with_hours:
            of_hours = hours_of(rows)
            for identifier, sums in of_hours.items():
                days[identifier.partition("T")[0]][int(identifier[-2:])] = sums
            for collection in HOURS:
                self._insert(collection, (hour_document(i, sums, self.dice) for i, sums in of_hours.items() if hours_collection_of(i) == collection))
        else:
            for row in rows:
                added = figures(row)
                by_subject = [(row["apiKeyId"], added), (row["apiKeyId"], of_key(row)), (ALL_KEYS, added), *of_owners(row).items()]
                for subject, sums in by_subject:
                    days[f"{subject}|{day:%Y-%m-%d}"][row["timestamp"].hour].update(sums)
        for collection in ("api_metrics", "api_metrics_total", "api_metrics_owners"):
            documents = (day_document(i, of, self.dice) for i, of in days.items() if collection_of(i) == collection)
            self._insert(collection, documents)
        last = self.today - HOUR
        if day == last.replace(hour=0):
            self._insert("api_usage", (row for row in rows if row["timestamp"] >= last))

    def run(self) -> None:
        so_far = self.now.hour
        per_day = ROWS * 24 // (DAYS * 24 + so_far)
        for n in range(DAYS):
            self._write_day(self.start + n * DAY, per_day, 24, n == DAYS - 1)
        if so_far:
            self._write_day(self.today, ROWS - DAYS * per_day, so_far, True)


def check_hour(suite: Suite, hour: datetime) -> None:
    """Usage makes the sums of that hour again from its rows and compares."""
    usage = suite.processes["usage"]
    command = [*usage.command, "rebuild", "--from", f"{hour:%Y-%m-%dT%H:%M:%SZ}", "--to", f"{hour + HOUR:%Y-%m-%dT%H:%M:%SZ}", "--dry-run"]
    done = subprocess.run(command, env={**os.environ, **usage.env}, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"the sums are not what usage makes of the rows: {done.stdout}{done.stderr}")


def check_days(suite: Suite, filling: Filling) -> None:
    """Usage folds yesterday of some keys again, and that of all."""
    date, db = filling.today - DAY, suite.mongo()
    days = [suite.mongo()["api_metrics"].find_one({"apiKeyId": key, "date": date}) for key in filling.traffic.keys[:3]]
    days += [suite.mongo()[name].find_one({"date": date}) for name in ("api_metrics_total", "api_metrics_owners")]
    for day in days:
        of_day = {"apiKeyId": day["apiKeyId"], "date": {"$gte": date, "$lt": date + DAY}}
        db[hours_collection_of(day["_id"])].update_one(of_day, {"$set": {"dirty": True, "rev": Int64(1)}})
    eventually(lambda: not any(db[name].count_documents({"dirty": True}) for name in HOURS), "the fold", 120)
    for old in days:
        new = suite.mongo()[collection_of(old["_id"])].find_one({"_id": old["_id"]})
        was, is_now = ({p: n for p, n in stored(d, "metrics", "hist", "hours", "byHour").items() if p not in DERIVED} for d in (old, new))
        wrong = differences(old["_id"], was, is_now)
        if wrong or old["gen"] == new["gen"]:
            raise RuntimeError(f"a day is not what usage makes of its hours: {wrong}")


def cpu_s(suite: Suite, name: str) -> float:
    process = suite.processes[name]
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(suite: Suite, ask: Callable[[], Any]) -> Json:
    names = ("admin-gw", "usage", "mongo")
    before = {name: cpu_s(suite, name) for name in names}
    took = []
    for _ in range(CALLS):
        began = time.monotonic()
        ask()
        took.append((time.monotonic() - began) * 1000)
    took.sort()
    cpu = {f"{name}_cpu_ms": round((cpu_s(suite, name) - before[name]) * 1000 / CALLS, 2) for name in names}
    return {"p50_ms": round(statistics.median(took), 1), "p99_ms": round(took[-1], 1), **cpu}


def overviews(suite: Suite, filling: Filling, note: Callable[[Json], None]) -> None:
    day = f"from={filling.start:%Y-%m-%dT%H:%M:%SZ}&to={filling.today + DAY:%Y-%m-%dT%H:%M:%SZ}&interval=day"
    busy = filling.traffic.keys[0]
    rest = {"all keys": f"/admin/usage?{day}", "one key": f"/admin/usage/{busy}?{day}", "costs": f"/admin/costs?{day}"}
    rest |= {f"by {group}": f"/admin/usage?{day}&groupBy={group}" for group in ("model", "client", "key")}
    span = {"from": f"{filling.start:%Y-%m-%dT%H:%M:%SZ}", "to": f"{filling.today + DAY:%Y-%m-%dT%H:%M:%SZ}", "interval": "day"}
    rpc = suite.rpc("usage", suite.admin_key)
    with httpx.Client(base_url=suite.admin_url, headers={"Authorization": f"Bearer {suite.admin_key}"}, timeout=120) as client:
        for name, path in rest.items():
            began = time.monotonic()
            eventually(lambda: client.get(path).status_code == 200, f"an answer to {path}", 300)  # the first report by key sums the days
            first_ms = round((time.monotonic() - began) * 1000)
            note({"overview": name, "by": "REST", "first_ms": first_ms, **measure(suite, lambda: client.get(path).raise_for_status())})
    for name, method, more in (("all keys", "GetUsage", {}), ("one key", "GetKeyUsage", {"apiKeyId": str(busy)}), ("by key", "GetUsage", {"groupBy": "key"})):
        note({"overview": name, "by": "gRPC", **measure(suite, lambda: rpc.call(f"apirelay.usage.v1.UsageService/{method}", {**span, **more}))})


def run_overview(folder: Path, build: Path, note: Callable[[Json], None]) -> None:
    folder.mkdir()
    suite = Suite(folder, build, tls=False)
    try:
        suite.start(only=("mongo", "redis", "auth", "usage", "admin-gw"))
        filling = Filling(suite)
        filling.run()
        check_hour(suite, filling.today - HOUR)
        check_days(suite, filling)
        overviews(suite, filling, note)
    finally:
        suite.stop()
