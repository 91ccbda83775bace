"""The verdict itself: a test that finds nothing has to be one that would have found something."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import ObjectId
from faults import verdict
from faults.chaos import Kill
from faults.client_log import ANSWERED, CUT, LEFT, UNSENT, Entry
from faults.http import understand
from faults.schedule import POINTS, How, plan
from faults.sums import bucket, bucket_middle, days_of, hours_of
from harness.suite import TOP

KEY, KEY_ID = ObjectId("6b08be5b8d0e974721eb0265"), "aOa0qQd5EXu2"
AT = datetime(2026, 11, 26, 23, 59, 59, 999000, tzinfo=timezone.utc)


def entry(number: int, **fields: Any) -> Entry:
    usage = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
    times = {"connected_s": 10.0, "started_s": 10.0, "ended_s": 11.0}
    answer = {"end": ANSWERED, "status": 200, "request_id": f"req_{number}", "usage": usage}
    return Entry(**{"id": f"c-{number}", "kind": "unary", "key_id": KEY_ID, "relay": "relay", **times, **answer, **fields})


def row(number: int, **fields: Any) -> dict[str, Any]:
    tokens = {"promptTokens": 8, "completionTokens": 3, "totalTokens": 11, "cachedTokens": 2, "reasoningTokens": 0, "costNanoUsd": 47_500}
    return {
        "_id": ObjectId(), "apiKeyId": KEY, "keyId": KEY_ID, "timestamp": AT, "requestId": f"req_{number}", "clientRequestId": f"c-{number}",
        "clientId": "an.app$", "provider": "scripted", "route": "gpt-*", "request": {"model": "gpt-4.1"}, "upstreamAccepted": True,
        "response": {"statusCode": 200, "duration": 1234, "error": None}, "usage": tokens, "ttftMs": 100, "billingBasis": "reported",
        "outcome": "complete", "repeatCount": 1, **fields,
    }


def failed(number: int, status: int, outcome: str, **fields: Any) -> dict[str, Any]:
    return row(number, outcome=outcome, response={"statusCode": status, "duration": 1, "error": outcome}, **fields)


def judged(entries: list[Entry], rows: list[dict[str, Any]], kills: tuple[float, ...] = ()) -> list[str]:
    return verdict.Requests(entries, rows, [Kill("relay", at_s, at_s) for at_s in kills]).findings()


REFUSED = {"kind": "unknown model", "status": 404, "error": "refused", "usage": None}
CUT_STREAM = {"end": CUT, "kind": "stream", "usage": None, "is_stream": True}
FINE: dict[str, tuple[list[Entry], list[dict[str, Any]], tuple[float, ...]]] = {
    "answered": ([entry(1)], [row(1)], ()),
    "not sent": ([entry(1, end=UNSENT, status=0)], [], ()),
    "nobody's key": ([entry(1, key_id="", kind="no key", status=401)], [], ()),
    "a key that auth could not be asked about": ([entry(1, status=503, message=verdict.UNCHECKED)], [], ()),
    "refused": ([entry(1, **REFUSED)], [failed(1, 404, "refused")], ()),
    "refused, counted in another row": ([entry(1, **REFUSED), entry(2, **REFUSED)], [failed(1, 404, "refused", repeatCount=2)], ()),
    "cut before the head": ([entry(1, **CUT_STREAM | {"status": 0})], [], (10.5,)),
    "on a connection that had died before": ([entry(1, **CUT_STREAM | {"status": 0, "connected_s": 1.0})], [], (5.0,)),
    "interrupted": ([entry(1, **CUT_STREAM)], [failed(1, 200, "interrupted")], (10.5,)),
    "killed between the row and the last byte": ([entry(1, **CUT_STREAM)], [row(1)], (10.5,)),
    "left, and drained when the relay was killed": ([entry(1, **CUT_STREAM | {"end": LEFT})], [failed(1, 200, "interrupted")], (14.0,)),
}
WRONG: dict[str, tuple[list[Entry], list[dict[str, Any]], tuple[float, ...]]] = {
    "answered, no row": ([entry(1)], [], ()),
    "two rows": ([entry(1)], [row(1), row(1)], ()),
    "one id, two requests": ([entry(1), entry(2)], [row(1), row(2, requestId="req_1")], ()),
    "a row of nothing": ([entry(1)], [row(1), row(2)], ()),
    "a row of what was not sent": ([entry(1, end=UNSENT, status=0)], [row(1)], ()),
    "a good key refused": ([entry(1, status=401)], [], ()),
    "another status": ([entry(1)], [row(1, response={"statusCode": 499, "duration": 1, "error": None})], ()),
    "other tokens": ([entry(1)], [row(1, usage={**row(1)["usage"], "completionTokens": 2})], ()),
    "answered, said to be interrupted": ([entry(1)], [failed(1, 200, "interrupted")], (10.5,)),
    "interrupted by an earlier kill": ([entry(1, **CUT_STREAM, connected_s=1.0)], [failed(1, 200, "interrupted")], (5.0,)),
    "cut without a kill": ([entry(1, **CUT_STREAM)], [row(1)], (20.0,)),
    "begun, cut, no row": ([entry(1, **CUT_STREAM)], [], (10.5,)),
    "interrupted, billed for less": (
        [entry(1, **CUT_STREAM, text_bytes=13)], [failed(1, 200, "interrupted", billingBasis="estimated")], (10.5,),
    ),
    "a stream without an end": ([entry(1, kind="stream", is_stream=True)], [row(1)], ()),
    "a refusal in no row": ([entry(1, **REFUSED), entry(2, **REFUSED)], [failed(1, 404, "refused")], ()),
    "more refusals than were made": ([entry(1, **REFUSED)], [failed(1, 404, "refused", repeatCount=2)], ()),
    "no answer for ever": ([entry(1, end=CUT, status=0, error="hung")], [], (10.5,)),
    "a status of no kind": ([entry(1, status=500)], [failed(1, 500, "failed")], ()),
}


@pytest.mark.parametrize("case", FINE, ids=str)
def test_nothing_is_found_where_all_is_well(case: str) -> None:
    assert judged(*FINE[case]) == []


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_what_is_wrong_is_found(case: str) -> None:
    assert judged(*WRONG[case])


def documents() -> tuple[list[Any], ...]:
    """Rows, and the hours, owners' hours, days, totals and owners' days that belong to them, nested as they are stored."""
    rows = [row(1), row(2), failed(3, 404, "refused", repeatCount=3, ttftMs=None, userId=ObjectId("b00300000000000000000000"))]
    flat_hours = hours_of(rows)
    days = {id_: dict(sums) | ({} if is_of_owners(id_) else verdict.derived_of(sums)) for id_, sums in days_of(flat_hours).items()}
    hours, stored = ([nested(id_, sums) for id_, sums in flat.items()] for flat in (flat_hours, days))
    return (
        rows,
        [hour for hour in hours if not is_of_owners(hour["_id"])],
        [hour for hour in hours if is_of_owners(hour["_id"])],
        [day for day in stored if isinstance(day["apiKeyId"], ObjectId)],
        [day for day in stored if day["apiKeyId"] == "*"],
        [day for day in stored if is_of_owners(day["_id"])],
    )


def is_of_owners(id_: str) -> bool:
    return id_.partition("|")[0] in verdict.PARTS


def nested(id_: str, figures: dict[str, Any]) -> dict[str, Any]:
    subject = id_.partition("|")[0]
    document: dict[str, Any] = {"_id": id_, "apiKeyId": subject if subject.startswith("*") else ObjectId(subject)}
    for path, value in figures.items():
        *maps, last = path.split(".")
        at = document
        for name in maps:
            at = at.setdefault(name, {})
        at[last] = value
    return document


def test_sums_that_agree_are_fine_and_each_changed_figure_is_found() -> None:
    rows, hours, owner_hours, days, totals, owners = documents()

    def of_hours(rows: list[Any] = rows, hours: list[Any] = hours, owner_hours: list[Any] = owner_hours) -> list[str]:
        return verdict.hours_are_sums_of_rows(rows, hours, owner_hours)

    def of_days(days: list[Any] = days, totals: list[Any] = totals, owners: list[Any] = owners) -> list[str]:
        return verdict.days_are_sums_of_hours([*hours, *owner_hours], days, totals, owners)

    assert of_hours() == of_days() == []
    assert len(hours) == len(owner_hours) == 2 and len(days) == len(totals) == 1 and len(owners) == 2
    assert all(changes_found(hour, of_hours) > 6 for hour in (*hours, *owner_hours))
    assert changes_found(days[0], of_days) > 30
    assert changes_found(owners[0], of_days) > 6
    assert of_hours(hours=hours[1:]) and of_hours(owner_hours=owner_hours[1:]) and of_hours(rows[1:])
    assert of_hours(hours=[*hours, *owner_hours], owner_hours=[]) and of_hours(hours=[], owner_hours=[*hours, *owner_hours])
    assert of_days(totals=[]) and of_days([*days, *totals], []) and of_days(owners=[]) and of_days(totals=[*totals, *owners], owners=[])


def changes_found(document: dict[str, Any], find: Callable[[], list[str]]) -> int:
    """Adds 1 to each figure in turn, and takes it back."""
    changed = 0
    for name, value in document.items():
        if isinstance(value, dict):
            changed += changes_found(value, find)
        elif isinstance(value, int | float):
            document[name] += 1
            assert find(), name
            document[name] = value
            changed += 1
    return changed


def test_spools_have_to_be_applied_and_to_agree_with_the_disk() -> None:
    spool = {"_id": "0a1b2c3d4e", "n": 7, "done": 7, "tail": 7}
    assert verdict.spools_are_taken([spool], 1, 7, [], []) == []
    for changed in ({"done": 6}, {"tail": 8}, {"p": b""}, {"n": 8, "done": 8, "tail": 8}):
        assert verdict.spools_are_taken([spool | changed], 1, 7, [], []), changed
    for others in ((2, 7, [], []), (1, 6, [{}], []), (1, 7, [], [{}])):
        assert verdict.spools_are_taken([spool], *others), others
    disk = [{"name": "spool", "spool": "0a1b2c3d4e", "acked": 7, "tail": 7}, {"name": "flight", "open": 0, "done": 0}]
    assert verdict.disk_agrees({"relay": disk}, [spool]) == []
    damages = ((0, {"acked": 6}), (0, {"acked": 8, "tail": 8}), (0, {"spool": "ffffffffff"}), (1, {"open": 1}), (1, {"done": 1}))
    for number, changed in damages:
        other = copy.deepcopy(disk)
        other[number] |= changed
        assert verdict.disk_agrees({"relay": other}, [spool]), changed


def test_a_plan_is_made_by_its_seed_and_has_one_outage_of_a_process_at_a_time() -> None:
    names = ["auth", "relay", "usage", "mongo"]
    outages = plan(1, 600, names, names[:1])
    assert outages == plan(1, 600, names, names[:1]) != plan(2, 600, names, names[:1])
    assert {outage.name for outage in outages} == set(names)
    assert {outage.name for outage in outages if outage.how == How.STALL} == {"auth"}
    assert {outage.name for outage in outages if outage.how == How.AMBUSH} == {"relay", "usage"}
    for name in names:
        of_name = [outage for outage in outages if outage.name == name]
        assert all(first.end_s <= second.at_s for first, second in zip(of_name, of_name[1:]))


@pytest.mark.parametrize("service", POINTS)
def test_every_fault_point_that_is_named_stands_in_its_service(service: str) -> None:
    source = "".join(path.read_text() for path in (TOP / "services" / service).glob("*.c"))
    assert [point for point in POINTS[service] if f'gw_fault_point("{point}")' not in source] == []


def test_buckets_are_those_of_the_specification() -> None:
    assert {ms: bucket(ms) for ms in (0, 15, 16, 100, 1234, 60_000, 4_194_303, 10**9)} == {
        0: 0, 15: 15, 16: 16, 100: 57, 1234: 115, 60_000: 205, 4_194_303: 303, 10**9: 303,
    }
    assert all(abs(bucket_middle(bucket(ms)) - ms) <= ms / 32 for ms in range(1, 100_000, 7))


def test_a_cut_stream_is_understood_up_to_its_last_whole_event() -> None:
    read = entry(1, is_stream=True, usage=None)
    understand(read, b'data: {"choices":[{"delta":{"content":"word1 "}}]}\n\ndata: {"choices":[{"delta":{"cont')
    assert (read.text_bytes, read.is_done, read.error) == (6, False, "")
    understand(read, b'data: {"error":{"code":"upstream_cut","message":"it ended"}}\n\n')
    assert (read.error, read.message) == ("upstream_cut", "it ended")
    understand(read, b"data: [DONE]\n\n")
    assert read.is_done
