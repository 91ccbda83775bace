"""What Redis holds of a ledger, and when it agrees with the rows."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from harness.ports import eventually
from harness.suite import Suite

REQUESTS_DAY, TOKENS_DAY, TOKENS_MONTH, COST_MONTH = range(4)
AMOUNTS: tuple[Callable[[dict[str, Any]], int], ...] = (
    lambda row: 1,
    lambda row: row["usage"]["totalTokens"],
    lambda row: row["usage"]["totalTokens"],
    lambda row: row["usage"]["costNanoUsd"],
)


# As ledger.lua packs them.
RECORD, LEDGER = struct.Struct("<17d"), struct.Struct("<24d")


@dataclass(frozen=True)
class Record:
    """A position as Redis knows it (relay, ledger.lua)."""

    holder: str
    at_ms: int
    is_dead: bool
    spent: tuple[int, ...]
    lent: tuple[int, ...]

    @property
    def spool(self) -> str:
        return self.holder.partition(".")[0]

    @staticmethod
    def read(holder: str, packed: bytes) -> "Record":
        n = [int(number) for number in RECORD.unpack(packed)]
        return Record(holder, n[1], n[2] == 1, tuple(n[6:10]), tuple(n[10:14]))


@dataclass(frozen=True)
class Ledger:
    is_there: bool = False
    live: int = 0  # positions
    taken: tuple[int, ...] = (0, 0, 0, 0)
    slots: int = 0  # lent: requests in flight
    limits: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
    records: tuple[Record, ...] = ()

    @staticmethod
    def read(fields: dict[bytes, bytes]) -> "Ledger":
        n = [int(number) for number in LEDGER.unpack(fields[b"l"])]
        records = tuple(Record.read(name.decode()[2:], packed) for name, packed in fields.items() if name.startswith(b"r:"))
        return Ledger(True, n[14], tuple(n[6:10]), n[15], tuple(n[18:24]), records)


def ledger_of(suite: Suite, subject: str) -> Ledger:
    store = suite.redis()
    for name in store.scan_iter(f"ledger:*:{subject}", count=1000):
        fields = store.hgetall(name)
        return Ledger.read(fields) if fields else Ledger()
    return Ledger()


def ledger(suite: Suite, key: dict[str, Any]) -> Ledger:
    return ledger_of(suite, f"k:{key['id']}")


def rows_of(suite: Suite, key: dict[str, Any]) -> list[dict[str, Any]]:
    """Of requests that a provider was asked for: what limits count."""
    return [row for row in suite.rows(keyId=key["keyId"]) if row["attempts"] > 0]


def used(suite: Suite, key: dict[str, Any], window: int, since: datetime | None = None) -> int:
    """Of the rows; `since`: of those from then on."""
    return sum(AMOUNTS[window](row) for row in rows_of(suite, key) if not since or row["timestamp"] >= since)


def await_rest(suite: Suite, key: dict[str, Any], window: int, *, since: datetime | None = None, still_asked: bool = False) -> int:
    """
    Every position is closed, every event is a row, and what Redis counts is what the rows say: the figure. `since`: the window
    began then. `still_asked`: callers are being refused meanwhile, so positions stand, with nothing in them.
    """
    seen = ""

    def agrees() -> bool:
        nonlocal seen
        there, sum_ = ledger(suite, key), used(suite, key, window, since)
        seen = f"{sum_} in rows, {there}"
        rests = not any(sum(record.lent) for record in there.records) if still_asked else there.live == 0
        return rests and there.is_there and there.taken[window] == sum_

    try:
        eventually(agrees, f"rest of {key['keyId']}")
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen}") from None
    return used(suite, key, window, since)


@contextmanager
def watched(suite: Suite, key: dict[str, Any], window: int) -> Iterator[list[tuple[int, int]]]:
    """(taken, limit) of a window as often as Redis tells them."""
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            try:
                now = ledger(suite, key)
            except redis.RedisError:
                continue
            if now.is_there:
                seen.append((now.taken[window], now.limits[window]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
