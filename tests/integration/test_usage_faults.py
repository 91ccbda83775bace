"""Processes die, or stop for a while, at each numbered step between an answer and its sums: every answer is one row, and sums agree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite

RELAY_POINTS = ("event.opened", "event.done", "spool.commit", "spool.committed", "slot.freed", "frame.sent", "ack.taken")
USAGE_POINTS = ("resume.read", "resume.confirmed", "claim.made_up", "claim.answered", "rows.written", "keys.written", "hours.written", "finish.begun")
USAGE_POINTS += ("finish.answered", "day.read", "hours.read", "day.written")
BACK_SECONDS = 90.0  # a relay gives up a usage that stopped after 25 s, and days that a killed one left are folded every 30
STALL_SECONDS = float(os.environ.get("STALL_SECONDS", "0"))  # at least; ./dev test faults says a minute


@pytest.fixture(scope="module", autouse=True)
def built_with_fault_points(tmp_path_factory: pytest.TempPathFactory) -> None:
    if b"claim.made_up" not in (Suite(tmp_path_factory.mktemp("probe")).bin / "usage").read_bytes():
        pytest.skip("this build has no fault points")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("usage-faults")).start()
    yield suite
    suite.stop()


@pytest.fixture(scope="module")
def stopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("usage-stops"), replicas=True).start()
    yield suite
    suite.stop()


def answered(suite: Suite, key: str, count: int) -> list[str]:
    """The ids of those requests whose answer came whole."""
    ids = []
    for _ in range(count):
        try:
            answer = suite.chat(key)
        except httpx.HTTPError:  # the relay died with it
            continue
        if answer.status_code == 200:
            ids.append(answer.headers["x-request-id"])
    return ids


def each_answer_is_one_row(suite: Suite, key_id: str, ids: list[str]) -> None:
    db = suite.mongo()

    def agreed() -> bool:
        rows = list(db["api_usage"].find({"keyId": key_id}))
        have = [row["requestId"] for row in rows]
        assert len(have) == len(set(have)) and not set(ids) - set(have), set(ids) - set(have)
        assert all(row["outcome"] == "complete" for row in rows if row["requestId"] in ids)
        for collection in ("api_metrics_hourly", "api_metrics"):
            sums = [d["metrics"] for d in db[collection].find({"apiKeyId": rows[0]["apiKeyId"]})]
            assert sum(s["requests"]["total"] for s in sums) == len(rows), collection
            assert sum(s["tokens"]["total"] for s in sums) == sum(row["usage"]["totalTokens"] for row in rows), collection
        return True

    eventually(agreed, f"a row for each of {len(ids)} answers, and sums of them", BACK_SECONDS)


def start_with_fault(suite: Suite, name: str, fault: str) -> None:
    process = suite.processes[name]
    process.stop()
    process.env["GW_FAULT"] = fault
    process.start()
    del process.env["GW_FAULT"]


@pytest.mark.parametrize("point", USAGE_POINTS)
def test_usage_killed_at(stack: Suite, point: str) -> None:
    key = stack.make_key()
    start_with_fault(stack, "usage", f"{point}:kill")
    ids = answered(stack, key["key"], 3)
    assert len(ids) == 3  # no answer waits for usage
    eventually(lambda: not stack.processes["usage"].is_running, f"usage dies at {point}", BACK_SECONDS)
    stack.processes["usage"].start()
    ids += answered(stack, key["key"], 2)
    each_answer_is_one_row(stack, key["keyId"], ids)


@pytest.mark.parametrize("point", RELAY_POINTS)
def test_relay_killed_at(stack: Suite, point: str) -> None:
    key = stack.make_key()
    start_with_fault(stack, "relay", f"{point}:kill:2")
    relay_is_dead = lambda: not stack.processes["relay"].is_running  # noqa: E731
    eventually(lambda: relay_is_dead() or httpx.get(stack.ops_url("relay"), timeout=30).status_code == 200, "the relay listens", BACK_SECONDS)
    ids: list[str] = []

    def dies() -> bool:
        """One frame or commit may take what several requests left: the second needs another request."""
        ids.extend(answered(stack, key["key"], 3))
        return relay_is_dead()

    eventually(dies, f"the relay dies at {point}", BACK_SECONDS)
    stack.processes["relay"].start()
    stack.await_ready("relay")
    ids += answered(stack, key["key"], 2)
    assert len(ids) >= 2
    each_answer_is_one_row(stack, key["keyId"], ids)


@pytest.mark.parametrize("point", ("claim.made_up", "claim.answered", "rows.written", "keys.written", "hours.written"))
def test_a_replica_that_stops_in_a_batch_and_goes_on_later_counts_nothing_twice(stopping: Suite, point: str) -> None:
    key = stopping.make_key()
    for name in ("usage", "usage-2"):  # whichever has the stream
        start_with_fault(stopping, name, f"{point}:stop")
    ids = answered(stopping, key["key"], 4)
    names = ("usage", "usage-2")
    stopped = eventually(lambda: [n for n in names if stopping.processes[n].is_frozen], f"a replica stops at {point}", BACK_SECONDS)
    other = next(n for n in names if n != stopped[0])
    since = time.monotonic()
    stopping.restart(other, kill=True)  # without the fault: it takes over, the first one is a zombie
    ids += answered(stopping, key["key"], 2)
    while time.monotonic() < since + STALL_SECONDS:  # claims, sweeps and folds go on without it
        ids += answered(stopping, key["key"], 10)
    each_answer_is_one_row(stopping, key["keyId"], ids)
    stopping.processes[stopped[0]].send(18)  # SIGCONT: what it was about to do happens now
    ids += answered(stopping, key["key"], 2)
    each_answer_is_one_row(stopping, key["keyId"], ids)
