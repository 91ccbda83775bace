"""Looking after the accounting on a real store: hours made again, spools that do not come back, rejects tried again."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from harness.ingest import Spool, Stream, message
from harness.ports import eventually
from harness.rpc import RpcClient
from harness.suite import Suite

ACCOUNTING = "apirelay.usage.v1.AccountingService"
HOUR = 3600


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("accounting"))
    suite.processes["usage"].env |= {"USAGE_SPOOL_SILENT": "1500ms", "USAGE_SPOOL_LOST": "4s"}
    suite.start(only=("mongo", "redis", "auth", "usage"))
    yield suite
    assert suite.stop()["usage"] == 0


@pytest.fixture(scope="module")
def relay(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc("usage", stack.tokens["relay"]) as client:
        yield client


@pytest.fixture(scope="module")
def owner(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc("usage", stack.admin_key) as client:
        yield client


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def sent(relay: RpcClient, spool: Spool, count: int, **fields: Any) -> Stream:
    spool.add(count, **fields)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, count)
    stream.acked(count)
    return stream


def usage_command(stack: Suite, *words: str) -> tuple[int, list[Any]]:
    """Exit status and what was printed of `usage …` with the service's own settings."""
    process = stack.processes["usage"]
    ran = subprocess.run([*process.command, *words], env=process.env, capture_output=True, text=True, timeout=120)
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


def hours_of(stack: Suite, spool: Spool) -> list[Any]:
    return list(stack.mongo()["api_metrics_hourly"].find({"apiKeyId": spool.api_key_id}))


def hour_is_settled(stack: Suite, spool: Spool, count: int) -> None:
    def agreed() -> bool:
        assert sum(h["metrics"]["requests"]["total"] for h in hours_of(stack, spool)) == count
        return True

    eventually(agreed, f"an hour of {count}")


# ---- rebuild ----


def test_a_rebuild_tells_every_difference_and_mends_it(stack: Suite, relay: RpcClient, owner: RpcClient) -> None:
    earlier, spool = Spool(), Spool()
    now = time.time()
    sent(relay, earlier, 3, timestamp_ms=int((now - 5 * HOUR) * 1000)).close()
    sent(relay, spool, 50, timestamp_ms=int((now - 2 * HOUR) * 1000), key_load_id=7).close()
    hour_is_settled(stack, spool, 50)
    period = {"from": iso(now - 6 * HOUR), "to": iso(now)}
    clean = owner.call(f"{ACCOUNTING}/RebuildHours", period)
    assert (clean.differing_figures, clean.rewritten_documents) == (0, 0) and clean.rows >= 53
    hours = stack.mongo()["api_metrics_hourly"]
    hours.update_one({"apiKeyId": spool.api_key_id}, {"$inc": {"metrics.tokens.total": 11, "ledger.k.load.tokens": -1}})
    tried = owner.call(f"{ACCOUNTING}/RebuildHours", {**period, "dryRun": True})
    assert (tried.differing_documents, tried.differing_figures, tried.rewritten_documents) == (1, 2, 0)
    assert {d.path: d.stored - d.computed for d in tried.differences} == {"metrics.tokens.total": 11, "ledger.k.load.tokens": -1}
    mended = owner.call(f"{ACCOUNTING}/RebuildHours", period)
    assert (mended.differing_figures, mended.rewritten_documents) == (2, 1)
    assert owner.call(f"{ACCOUNTING}/RebuildHours", period).differing_figures == 0

    def day_follows() -> bool:
        day = list(stack.mongo()["api_metrics"].find({"apiKeyId": spool.api_key_id}))
        assert sum(d["metrics"]["tokens"]["total"] for d in day) == 750
        return True

    eventually(day_follows, "the day of the mended hour")


def test_a_rebuild_refuses_what_it_must(owner: RpcClient) -> None:
    now = time.time()
    for fields, code in (
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"from": iso(now), "to": iso(now - 60)}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"from": iso(now - 40 * 24 * HOUR), "to": iso(now)}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"from": iso(now - 90 * 24 * HOUR), "to": iso(now - 89 * 24 * HOUR)}, grpc.StatusCode.FAILED_PRECONDITION),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            owner.call(f"{ACCOUNTING}/RebuildHours", fields)
        assert refused.value.code() == code, fields  # type: ignore[attr-defined]


def test_a_rebuild_under_traffic_finds_nothing(relay: RpcClient, owner: RpcClient) -> None:
    spool = Spool()
    spool.add(3000)
    stream = Stream(relay, spool)
    stream.welcome()
    now = time.time()
    found = []
    for first in range(1, 3001, 250):
        stream.events(first, 250)
        found.append(owner.call(f"{ACCOUNTING}/RebuildHours", {"from": iso(now - 60), "to": iso(now + 60)}))
    stream.acked(3000)
    assert all((r.differing_figures, r.rewritten_documents) == (0, 0) for r in found)
    assert owner.call(f"{ACCOUNTING}/RebuildHours", {"from": iso(now - 60), "to": iso(now + 60)}).rows >= 3000
    stream.close()


def test_the_command_line_rebuilds_too(stack: Suite, relay: RpcClient) -> None:
    older, spool = Spool(), Spool()
    now = time.time()
    sent(relay, older, 1, timestamp_ms=int((now - 30 * HOUR) * 1000)).close()
    sent(relay, spool, 5, timestamp_ms=int((now - 28 * HOUR) * 1000)).close()
    hour_is_settled(stack, spool, 5)
    period = ("--from", iso(now - 29 * HOUR), "--to", iso(now - 27 * HOUR))
    assert usage_command(stack, "rebuild", *period)[0] == 0
    stack.mongo()["api_metrics_hourly"].update_one({"apiKeyId": spool.api_key_id}, {"$inc": {"metrics.status.200": 1}})
    status, lines = usage_command(stack, "rebuild", *period, "--dry-run")
    assert status == 3 and lines[0]["path"] == "metrics.status.200" and (lines[0]["stored"], lines[0]["computed"]) == (6, 5)
    assert lines[-1]["differingFigures"] == 1 and lines[-1]["rewrittenDocuments"] == 0
    assert usage_command(stack, "rebuild", *period)[0] == 3
    assert usage_command(stack, "rebuild", *period)[0] == 0
    assert usage_command(stack, "rebuild", "--from", "yesterday", "--to", "now")[0] == 2
    assert usage_command(stack, "rebuild", "--from", iso(0), "--to", iso(now))[0] == 1


def test_totals_do_not_shrink_because_rows_expire(stack: Suite, relay: RpcClient, owner: RpcClient) -> None:
    spool = Spool()
    now = time.time()
    sent(relay, spool, 8, timestamp_ms=int((now - 50 * HOUR) * 1000)).close()
    hour_is_settled(stack, spool, 8)
    stack.mongo()["api_usage"].delete_many({"timestamp": {"$lt": datetime.datetime.fromtimestamp(now - 49 * HOUR, datetime.UTC)}})
    asked = {"apiKeyId": str(spool.api_key_id), "from": iso(now - 72 * HOUR), "to": iso(now)}
    assert owner.call("apirelay.usage.v1.UsageService/GetKeyUsage", asked).totals.requests == 8
    rebuilt = owner.call(f"{ACCOUNTING}/RebuildHours", {"from": iso(now - 51 * HOUR), "to": iso(now - 49 * HOUR)})
    assert rebuilt.kept_documents == rebuilt.differing_documents >= 2 and rebuilt.rewritten_documents == 0
    assert owner.call("apirelay.usage.v1.UsageService/GetKeyUsage", asked).totals.requests == 8


# ---- lost spools ----


def spool_state(owner: RpcClient, spool: Spool) -> Any:
    cursor = ""
    while True:
        page = owner.call(f"{ACCOUNTING}/ListSpools", {"pageSize": 2, "cursor": cursor})
        for found in page.spools:
            if found.id == spool.id.hex():
                return found
        cursor = page.next_cursor
        assert cursor, "every spool is on some page"


def test_a_silent_spool_is_alerted_written_down_and_resumes(stack: Suite, relay: RpcClient, owner: RpcClient) -> None:
    spool = Spool()
    spool.add(30)
    stream = Stream(relay, spool, host="relay-x")
    stream.welcome()
    stream.events(1, 10)
    stream.acked(10)
    stream.send(status={"tail": 30, "oldest": 11, "open_slots": 4})

    def is_known() -> bool:
        found = spool_state(owner, spool)
        assert (found.state, found.claimed, found.tail, found.waiting, found.open_slots) == ("live", 10, 30, 20, 4)
        return True

    eventually(is_known, "what the status said")
    stream.close()

    def alert() -> Any:
        alerts = owner.call("apirelay.usage.v1.AlertService/ListAlerts", {"status": "firing"}).alerts
        return [a for a in alerts if a.kind == "spool_silent" and a.value == 20 and spool.id.hex() in a.message]

    assert "4 requests were in flight" in eventually(alert, "an alert")[0].message

    def loss() -> Any:
        return [x for x in owner.call(f"{ACCOUNTING}/ListLosses").losses if x.spool_id == spool.id.hex()]

    lost = eventually(loss, "a loss")[0]
    assert (lost.events, lost.open_slots, lost.host, lost.written_by) == (20, 4, "relay-x", "")
    eventually(lambda: not alert(), "the end of the alert")
    again = Stream(relay, spool, registered=True, acked=10)
    assert again.welcome().n == 10
    again.events(11, 20)
    again.acked(30)
    again.close()
    eventually(lambda: loss()[0].HasField("returned_at"), "the loss that came back")
    assert spool_state(owner, spool).waiting == 0
    hour_is_settled(stack, spool, 30)


def test_an_admin_writes_a_spool_down_as_lost(stack: Suite, relay: RpcClient, owner: RpcClient) -> None:
    spool = Spool()
    spool.add(9)
    stream = Stream(relay, spool)
    stream.welcome()
    with pytest.raises(grpc.RpcError) as live:
        owner.call(f"{ACCOUNTING}/LoseSpool", {"id": spool.id.hex()})
    assert live.value.code() == grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as unknown:
        owner.call(f"{ACCOUNTING}/LoseSpool", {"id": "0000000000"})
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
    stream.close()
    stack.mongo()["usage_spools"].update_one({"_id": spool.id.hex()}, [{"$set": {"seen": {"$dateSubtract": {"startDate": "$seen", "unit": "minute", "amount": 1}}}}])
    status, lines = usage_command(stack, "spool", "lost", spool.id.hex())
    assert status == 0 and lines[0]["S"] == spool.id.hex() and int(lines[0]["events"]) == 9
    assert any(line["_id"] == spool.id.hex() for line in usage_command(stack, "spool", "list")[1])


# ---- rejects ----


def test_rejects_are_listed_and_tried_again(stack: Suite, relay: RpcClient, owner: RpcClient) -> None:
    spool = Spool()
    future = int((time.time() + 2 * HOUR) * 1000)
    spool.add(3, timestamp_ms=future)
    spool.add(2)
    spool.add(2, cost_nano_usd=-1)
    stream = Stream(relay, spool)
    stream.welcome()
    stream.events(1, 7)
    stream.acked(7)
    stream.close()
    hour_is_settled(stack, spool, 2)
    asked = {"spoolId": spool.id.hex(), "pageSize": 2}
    listed: list[Any] = []
    while True:
        page = owner.call(f"{ACCOUNTING}/ListRejects", asked)
        listed += page.rejects
        if not page.next_cursor:
            break
        asked["cursor"] = page.next_cursor
    assert sorted(r.seq for r in listed) == [1, 2, 3, 6, 7]
    assert {r.reason for r in listed} == {"in_the_future", "bad_figure"} and {r.api_key_id for r in listed} == {str(spool.api_key_id)}
    status, lines = usage_command(stack, "rejects", "list", "--reason", "in_the_future")
    assert status == 0 and sorted(line["seq"] for line in lines if line["S"] == spool.id.hex()) == [1, 2, 3]
    nothing = owner.call(f"{ACCOUNTING}/ReplayRejects", {"reason": "in_the_future"})
    assert nothing.replayed == 0 and nothing.still_rejected >= 3
    # As if a newer version judged them otherwise: what is stored is judged anew.
    rejects = stack.mongo()["usage_rejects"]
    for seq in (1, 2, 3):
        event = message("UsageEvent")
        event.ParseFromString(spool.events[seq - 1])
        event.timestamp_ms = int(time.time() * 1000)
        rejects.update_one({"S": spool.id.hex(), "seq": seq}, {"$set": {"raw": event.SerializeToString()}})
    assert owner.call(f"{ACCOUNTING}/ReplayRejects", {"reason": "in_the_future", "limit": 2}).replayed == 2
    status, lines = usage_command(stack, "rejects", "replay", "--reason", "in_the_future")
    assert status == 0 and lines[-1]["replayed"] == 1
    hour_is_settled(stack, spool, 5)
    assert owner.call(f"{ACCOUNTING}/ReplayRejects", {}).replayed == 0
    assert stack.mongo()["api_usage"].count_documents({"apiKeyId": spool.api_key_id}) == 5
    assert {line["reason"] for line in usage_command(stack, "rejects", "list", "--reason", "bad_figure")[1]} == {"bad_figure"}


def test_a_reason_that_there_is_not_is_refused_with_those_there_are(stack: Suite, owner: RpcClient) -> None:
    """An empty list would read as if nothing had been set aside."""
    for action in ("list", "replay"):
        status, lines = usage_command(stack, "rejects", action, "--reason", "foo")
        assert status == 2 and not lines
    for method in ("ListRejects", "ReplayRejects"):
        with pytest.raises(grpc.RpcError) as refused:
            owner.call(f"{ACCOUNTING}/{method}", {"reason": "foo"})
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert all(name in refused.value.details() for name in ("malformed", "in_the_future", "too_old"))
