"""usage alone with its stores, fed by a scripted relay: frames repeated, cut, out of order and spoilt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from harness.ingest import Spool, Stream, message
from harness.ports import eventually
from harness.rpc import RpcClient
from harness.suite import Suite

USAGE = "apirelay.usage.v1.UsageService"
CONFLICT, GONE, FORMAT, PROTOCOL = 1, 2, 3, 4


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("usage")).start(only=("mongo", "redis", "auth", "usage"))
    yield suite
    statuses = suite.stop()
    assert statuses["usage"] == 0


@pytest.fixture(scope="module")
def relay(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc_as("relay", "usage") as client:
        yield client


@pytest.fixture
def spool() -> Spool:
    return Spool()


def rows(stack: Suite, spool: Spool) -> list[Any]:
    return list(stack.mongo()["api_usage"].find({"apiKeyId": spool.api_key_id}))


def total(stack: Suite, spool: Spool, collection: str = "api_metrics_hourly") -> int:
    return sum(d["metrics"]["requests"]["total"] for d in stack.mongo()[collection].find({"apiKeyId": spool.api_key_id}))


def settled(stack: Suite, spool: Spool, count: int) -> None:
    def agreed() -> bool:
        assert (len(rows(stack, spool)), total(stack, spool), total(stack, spool, "api_metrics")) == (count, count, count)
        return True

    eventually(agreed, f"{count} rows, and hours and days of {count}")


def test_events_become_rows_hours_and_days(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(700)
    stream = Stream(relay, spool)
    assert stream.welcome().n == 0
    stream.events(1, 500)
    stream.events(501, 200)
    stream.acked(700)
    settled(stack, spool, 700)
    stream.close()
    hour = stack.mongo()["api_metrics_hourly"].find_one({"apiKeyId": spool.api_key_id})
    assert hour["metrics"]["cost"]["estimatedNanoUsd"] == 700_000 and hour["metrics"]["models"]["gpt-4o"]["requests"] == 700
    day = stack.mongo()["api_metrics"].find_one({"apiKeyId": spool.api_key_id})
    assert day["metrics"]["performance"]["avgResponseTime"] == 100.0
    assert abs(day["metrics"]["performance"]["p95ResponseTime"] - 100) <= 100 / 32


def test_repeated_frames_and_streams_count_once(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(20)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 10)
    stream.acked(10)
    stream.events(5, 10)  # overlaps what is known
    stream.acked(14)
    stream.close()
    again = Stream(relay, spool, registered=True, acked=10)
    welcome = again.welcome()
    assert welcome.n == 14 and welcome.last_event_id == message("UsageEvent").FromString(spool.events[13]).event_id
    again.events(1, 20)
    again.acked(20)
    again.close()
    settled(stack, spool, 20)


def test_two_streams_of_one_spool_count_once(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(40)
    first, second = Stream(relay, spool), Stream(relay, spool)
    for stream in (first, second):
        try:
            stream.welcome()
            stream.events(1, 40)
        except (AssertionError, grpc.RpcError, StopIteration):
            pass  # one of the two may be told to go
    settled(stack, spool, 40)
    first.close()
    second.close()


def test_usage_killed_between_claim_and_rows_finishes_them_once(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(400)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 400)
    stack.processes["usage"].kill()
    stack.processes["usage"].start()
    stack.await_ready("usage")

    def resumed() -> Stream:
        fresh = Stream(relay, spool, registered=True)
        try:
            fresh.welcome_n = fresh.welcome().n  # type: ignore[attr-defined]
        except (grpc.RpcError, AssertionError) as e:
            fresh.close()
            raise AssertionError("not yet") from e
        return fresh

    try:
        again = eventually(resumed, "welcome after the restart")
    except AssertionError:
        again = Stream(relay, spool)  # killed before it was registered
        again.welcome_n = again.welcome().n  # type: ignore[attr-defined]
    n = again.welcome_n  # type: ignore[attr-defined]
    if n < 400:
        again.events(n + 1, 400 - n)
        again.acked(400)
    settled(stack, spool, 400)
    again.close()


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"registered": True, "spool_id": b"never"}, GONE),
        ({"boot": b"another boot 16b"}, CONFLICT),
        ({"format": 99}, FORMAT),
        ({"spool_id": b"short"[:3]}, None),
        ({"spool_id": b""}, None),
    ],
    ids=["unknown though registered", "another boot", "another format", "short id", "no id"],
)
def test_a_hello_that_cannot_be_right_is_refused(relay: RpcClient, spool: Spool, hello: dict[str, Any], code: int | None) -> None:
    known = Stream(relay, spool)
    known.welcome()
    known.close()
    stream = Stream(relay, spool, **hello)
    if code is None:
        with pytest.raises((grpc.RpcError, StopIteration, AssertionError)):
            stream.welcome()
    else:
        assert stream.error() == code
    stream.close()


def test_a_gap_in_the_sequence_is_an_error_and_nothing_of_it_is_taken(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(10)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(3, 5)
    assert stream.error() == PROTOCOL
    stream.close()
    assert rows(stack, spool) == [] and total(stack, spool) == 0


def test_a_spoilt_event_is_set_aside_and_the_others_count(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(2)
    spool.events.append(b"\xff\xff\xff not a message")
    spool.add(1, cost_nano_usd=-5)
    spool.add(1, timestamp_ms=int(time.time() * 1000) + 3_600_000)
    spool.add(1, timestamp_ms=1_000)
    spool.add(2)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 8)
    stream.acked(8)
    settled(stack, spool, 4)
    stream.close()
    rejects = list(stack.mongo()["usage_rejects"].find({"S": spool.id.hex()})) or list(stack.mongo()["usage_rejects"].find({"S": spool.id}))
    assert sorted(r["seq"] for r in rejects) == [3, 4, 5, 6] and all(r["reason"] for r in rejects)


def test_a_sum_that_is_too_large_stops_no_spool(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    """A price that is wrong by far: $inc is refused where a sum would leave its 64 bits."""
    day_ms = int((time.time() - 40 * 24 * 3600) * 1000)
    spool.add(9500, timestamp_ms=day_ms, cost_nano_usd=10**15)
    stream = Stream(relay, spool)
    stream.welcome()
    for first in range(1, 9501, 500):
        stream.events(first, 500)
    stream.acked(9500)
    settled(stack, spool, 9500)
    stream.close()
    for collection in ("api_metrics_hourly", "api_metrics"):
        costs = [d["metrics"]["cost"]["estimatedNanoUsd"] for d in stack.mongo()[collection].find({"apiKeyId": spool.api_key_id})]
        assert costs == [2**63 - 1], collection


def test_a_refusal_counts_under_its_route_and_names_with_dots_are_safe(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(1, model="made.up.$name", status_code=404, outcome="refused", error="model_not_found", upstream_accepted=False, attempts=0)
    spool.add(1, model="gpt-4.1", upstream_accepted=True)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 2)
    stream.acked(2)
    settled(stack, spool, 2)
    stream.close()
    metrics = stack.mongo()["api_metrics"].find_one({"apiKeyId": spool.api_key_id})["metrics"]
    assert set(metrics["models"]) == {"gpt-*", "gpt-4%2E1"}
    assert metrics["requests"]["errors"] == {"model_not_found": 1} and metrics["requests"]["failed"] == 1
    with stack.rpc("usage", stack.admin_key) as admin:
        answer = admin.call(f"{USAGE}/GetKeyUsage", {"apiKeyId": str(spool.api_key_id), "groupBy": "model"})
    assert {g.group for g in answer.groups} == {"gpt-*", "gpt-4.1"}


def test_periods_intervals_and_zones_cut_where_they_should(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    now_ms = int(time.time() * 1000)
    for hours in (1, 30, 60):
        spool.add(1, timestamp_ms=now_ms - hours * 3_600_000)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 3)
    stream.acked(3)
    settled(stack, spool, 3)
    stream.close()

    def iso(hours_ago: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms / 1000 - hours_ago * 3600))

    with stack.rpc("usage", stack.admin_key) as admin:
        for start, end, expected in ((70, 0, 3), (40, 0, 2), (70, 40, 1), (20, 2, 0)):
            for zone in ("UTC", "Asia/Kolkata", "Europe/Berlin"):
                fields = {"apiKeyId": str(spool.api_key_id), "from": iso(start), "to": iso(end), "interval": "day", "timeZone": zone}
                answer = admin.call(f"{USAGE}/GetKeyUsage", fields)
                assert answer.totals.requests == expected == sum(p.totals.requests for p in answer.series), (start, end, zone)


def test_the_log_has_rows_of_a_relay_whose_clock_is_ahead(stack: Suite, relay: RpcClient, spool: Spool) -> None:
    spool.add(1, timestamp_ms=int((time.time() + 500) * 1000))
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 1)
    stream.acked(1)
    settled(stack, spool, 1)
    stream.close()
    request_id = rows(stack, spool)[0]["requestId"]
    with stack.rpc("usage", stack.admin_key) as admin:
        for asked in ({"apiKeyId": str(spool.api_key_id)}, {"requestId": request_id}, {"pageSize": 5}):
            assert request_id in [row.request_id for row in admin.call(f"{USAGE}/ListLogs", asked).logs], asked


def test_indexes_stand_as_written(stack: Suite) -> None:
    def keys(collection: str) -> list[tuple[Any, ...]]:
        return [tuple(i["key"]) for i in stack.mongo()[collection].list_indexes()]

    assert {("apiKeyId", "timestamp"), ("requestId",), ("timestamp",)} <= set(keys("api_usage"))
    for name in ("api_metrics", "api_metrics_hourly", "api_metrics_owners_hourly"):
        assert {("apiKeyId", "date"), ("date",)} <= set(keys(name)), name
    ttl = [i for i in stack.mongo()["api_usage"].list_indexes() if "expireAfterSeconds" in i]
    assert ttl and ttl[0]["expireAfterSeconds"] == 90 * 86_400
