"""
Limits while time passes and admins act, with grants out and requests in flight, on three relays whose clocks are 2 s apart. Redis,
whose clock is the one that counts, lives in the last minute of a month.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from faults.crowd import Crowd, chat
from harness.ledgers import REQUESTS_DAY, TOKENS_MONTH, await_rest, ledger, rows_of, used
from harness.ports import PATIENCE, eventually
from harness.shifted_clock import ShiftedClock
from harness.suite import Suite
from harness.three_relays import RELAYS, start_three, three_relays, url_of

LEAD_S = 15.0 + 10.0 * PATIENCE  # from when the suite is there to the end of the month
SKEW_MS = {"relay-2": 2000, "relay-3": 4000}
LIMIT = 120  # requests
TOKENS_OF_A_REQUEST = 15  # of these bodies, by the scripted upstream
SECONDS = 90.0 * PATIENCE
BODIES = [chat("gpt-4o-mini+slow-300+long-10", max_tokens=20), chat("gpt-4o-mini+slow-30+long-10", max_tokens=20, stream=True)]

pytestmark = pytest.mark.timeout(120 + 60 * PATIENCE)


@pytest.fixture(scope="module")
def month() -> datetime:
    """Of which Redis sees the beginning: in the past, because usage takes no rows of the future; a day ago at least, so that the windows are no real ones."""
    return (datetime.now(UTC) - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def await_redis(suite: Suite) -> None:
    """Until every relay has it again: before that keys with limits are refused."""
    key = eventually(lambda: suite.make_key(limits={"requestsPerDay": 10**6}), "a key", SECONDS)["key"]
    asked: dict[str, Any] = {"headers": {"Authorization": f"Bearer {key}"}, "json": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}, "timeout": 30}
    for relay in RELAYS:
        url = f"{url_of(suite, relay)}/v1/chat/completions"
        eventually(lambda: httpx.post(url, **asked).status_code == 200, f"{relay} has Redis", SECONDS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, month: datetime) -> Iterator[Suite]:
    suite = three_relays(tmp_path_factory.mktemp("time"))
    clock = ShiftedClock(suite.folder)
    for relay, shift_ms in SKEW_MS.items():
        clock.give(suite.processes[relay], shift_ms)
    try:
        start_three(suite)
        clock.give(suite.processes["redis"], round(1000 * (month.timestamp() - LEAD_S - time.time())))
        suite.restart("redis")  # it has no ledger yet
        suite.await_ready()
        await_redis(suite)
        yield suite
    finally:
        statuses = suite.stop()
    assert not [name for name, status in statuses.items() if name.startswith(("auth", "usage", "relay")) and status], statuses


def redis_now(stack: Suite) -> datetime:
    seconds, micros = stack.redis().time()
    return datetime.fromtimestamp(seconds + micros / 1e6, UTC)


def is_refused(crowd: Crowd, status: int) -> bool:
    return {entry.status for entry in crowd.entries[-60:]} == {status} and crowd.is_used_up(3.0)


def crowd_of(stack: Suite, key: dict[str, Any]) -> Crowd:
    return Crowd(stack, key, BODIES, callers=30)


def test_a_day_and_a_month_end_with_grants_out_and_requests_in_flight(stack: Suite, month: datetime) -> None:
    """Callers knock before the end, at it and after it: each window is used up, and each request belongs to the one it began in."""
    daily = stack.make_key(limits={"requestsPerDay": LIMIT})
    monthly = stack.make_key(limits={"tokensPerMonth": LIMIT * TOKENS_OF_A_REQUEST})
    assert redis_now(stack) < month, "the suite was slow to start"
    crowds = [crowd_of(stack, key) for key in (daily, monthly)]
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(lambda crowd: crowd.run(lambda c: c.is_used_up(3.0) and redis_now(stack) > month + timedelta(seconds=5), LEAD_S + SECONDS), crowds):
            pass
    for crowd in crowds:
        assert set(crowd.statuses) == {200, 429}, crowd.statuses
    assert crowds[0].served == 2 * LIMIT == used(stack, daily, REQUESTS_DAY)
    assert await_rest(stack, daily, REQUESTS_DAY, since=month) == LIMIT
    budget = LIMIT * TOKENS_OF_A_REQUEST
    after = await_rest(stack, monthly, TOKENS_MONTH, since=month)
    before = used(stack, monthly, TOKENS_MONTH) - after
    assert 0.95 * budget <= after <= budget and 0.95 * budget <= before <= budget, (before, after)


def test_a_lower_limit_binds_at_once_and_a_higher_one_lets_go_on(stack: Suite) -> None:
    key = stack.make_key(limits={"requestsPerDay": 10_000})
    path = f"/admin/api-keys/{key['id']}"
    seen: dict[str, int] = {}

    def edit(limit: int) -> None:
        assert stack.admin("PATCH", path, json={"limits": {"requestsPerDay": limit}}).status_code == 200
        eventually(lambda: ledger(stack, key).limits[REQUESTS_DAY] == limit, f"{limit} in Redis")

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= 100, "requests")
        edit(60)
        seen["taken"] = ledger(stack, key).taken[REQUESTS_DAY]
        began = len(crowd.entries)
        eventually(lambda: {e.status for e in crowd.entries[began:][-40:]} == {429}, "no more of them")
        seen["lowered"] = await_rest(stack, key, REQUESTS_DAY, still_asked=True)
        edit(seen["lowered"] + 50)
        seen["raised"] = crowd.served
        eventually(lambda: crowd.served > seen["raised"], "served again")

    Crowd(stack, key, BODIES, callers=30).run(lambda c: is_refused(c, 429) and "raised" in seen, SECONDS, act)
    assert 100 <= seen["lowered"] <= seen["taken"], seen
    assert await_rest(stack, key, REQUESTS_DAY) == seen["lowered"] + 50


def test_a_suspended_key_ends_what_it_has_begun_and_leaves_nothing_behind(stack: Suite) -> None:
    key = stack.make_key(limits={"requestsPerDay": 200, "requestsInFlight": 20})
    path = f"/admin/api-keys/{key['id']}"
    suspended: list[int] = []

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= 50, "requests")
        assert stack.admin("POST", path + "/suspend", json={}).status_code == 200
        began = len(crowd.entries)
        eventually(lambda: len(crowd.entries) > began + 60 and {e.status for e in crowd.entries[-40:]} == {403}, "all refused")
        suspended.append(await_rest(stack, key, REQUESTS_DAY))
        assert ledger(stack, key).slots == 0
        assert stack.admin("POST", path + "/resume", json={}).status_code == 200

    crowd = crowd_of(stack, key).run(lambda c: bool(suspended) and is_refused(c, 429), SECONDS, act)
    # 503: a relay that gets no processor for its lease takes Redis for lost
    assert {200, 403, 429} <= set(crowd.statuses) <= {200, 403, 429, 503}, crowd.statuses
    assert suspended[0] < await_rest(stack, key, REQUESTS_DAY) == 200 == crowd.served


def test_rows_have_the_time_of_redis_whatever_a_relays_clock_says(stack: Suite) -> None:
    key = stack.make_key(limits={"tokensPerMonth": 10**6})
    before = redis_now(stack) - timedelta(milliseconds=1)
    crowd = Crowd(stack, key, BODIES, callers=9).run(lambda c: c.served >= 60, SECONDS)
    await_rest(stack, key, TOKENS_MONTH)
    times = [row["timestamp"] for row in rows_of(stack, key)]
    assert crowd.served <= len(times)
    assert before <= min(times) and max(times) <= redis_now(stack), (before, min(times), max(times))
