"""GET /admin/audit/verify: the chain in parts, the first entry that does not fit, and heads that were signed before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from harness.suite import Suite

HASHED = ("actorKind", "actorId", "actorName", "address", "action", "target", "phase", "outcome", "requestId", "payloadHash", "prevHash")


@pytest.fixture
def log(suite: Suite) -> Iterator[Any]:
    """The collection with some entries, which is as it was afterwards."""
    for _ in range(3):
        suite.make_key()
    collection = suite.mongo()["audit_log"]
    before = {entry["_id"]: entry for entry in collection.find()}
    yield collection
    collection.delete_many({})
    collection.insert_many([before[seq] for seq in sorted(before)])
    assert verify(suite)["intact"]


def verify(suite: Suite, **query: Any) -> Any:
    return suite.shown("/admin/audit/verify?" + "&".join(f"{k}={v}" for k, v in query.items()))


def known(head: dict[str, Any]) -> dict[str, Any]:
    return {"knownSeq": head["headSeq"], "knownHash": head["headHash"], "knownSignature": head["headSignature"]}


def hash_of(entry: dict[str, Any]) -> str:
    fields = [str(entry["_id"]), str(int(round(entry["at"].timestamp() * 1000))), *(entry.get(name, "") for name in HASHED)]
    return hashlib.sha256("".join(f"{len(f.encode())}:{f}," for f in fields).encode()).hexdigest()


def test_a_part_of_the_chain_is_checked_on_its_own(suite: Suite, log: Any) -> None:
    head = verify(suite)
    assert head["intact"] and head["checked"] == head["headSeq"] == log.count_documents({})
    part = verify(suite, fromSeq=2, toSeq=4)
    assert part["intact"] and part["checked"] == 3
    log.update_one({"_id": 3}, {"$set": {"actorName": "somebody else"}})
    for query in ({}, {"fromSeq": 3}, {"fromSeq": 2, "toSeq": 3}):
        broken = verify(suite, **query)
        assert not broken.get("intact") and broken["brokenSeq"] == 3 and "altered" in broken["message"], broken
    assert verify(suite, fromSeq=4)["intact"] and verify(suite, toSeq=2)["intact"]
    for query in ("fromSeq=-1", "fromSeq=5&toSeq=4"):
        assert suite.admin("GET", f"/admin/audit/verify?{query}").status_code == 400


def test_a_period_that_ends_before_it_starts_is_refused(suite: Suite) -> None:
    """Else it reads as if nobody had done anything."""
    early, late = "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"
    for first, last in ((late, early), (early, early)):
        answer = suite.admin("GET", f"/admin/audit?from={first}&to={last}")
        assert answer.status_code == 400 and answer.json()["error"]["details"][0]["fieldViolations"][0]["field"] == "to"
    assert suite.shown("/admin/audit?to=1970-01-01T00:00:00Z")["entries"] == []


def test_a_missing_entry_is_named(suite: Suite, log: Any) -> None:
    log.delete_one({"_id": 4})
    for query in ({}, {"fromSeq": 2}, {"fromSeq": 4}, {"fromSeq": 5}):
        broken = verify(suite, **query)
        assert broken["brokenSeq"] == 4 and broken["message"] == "entry 4 is missing", (query, broken)


def test_an_entry_in_between_is_told_from_a_missing_one(suite: Suite, log: Any) -> None:
    log.insert_one({**log.find_one({"_id": 3}), "_id": 3.5})
    broken = verify(suite)
    assert broken["brokenSeq"] == 4 and broken["message"] == "entry 3 stands in the place of another", broken


def test_entries_that_are_asked_for_and_not_there_are_missing(suite: Suite, log: Any) -> None:
    """Whoever knows how far the chain went sees that its end was cut off."""
    head = verify(suite)["headSeq"]
    for query, first in (({"toSeq": head + 1}, head + 1), ({"fromSeq": 2, "toSeq": head + 9}, head + 1), ({"fromSeq": head + 5}, head + 1)):
        broken = verify(suite, **query)
        assert not broken.get("intact") and broken["brokenSeq"] == first and "missing" in broken["message"], (query, broken)
    assert verify(suite, toSeq=head)["intact"]
    since = verify(suite, fromSeq=head + 1)  # what came since a check that ended there: nothing yet
    assert since["intact"] and since["checked"] == 0
    assert verify(suite, toSeq=2**63 - 1)["brokenSeq"] == head + 1


def test_a_signed_head_shows_a_chain_that_was_cut_off(suite: Suite, log: Any) -> None:
    head = verify(suite)
    suite.make_key()
    assert verify(suite, **known(head))["intact"]
    log.delete_many({"_id": {"$gte": head["headSeq"]}})
    assert verify(suite)["intact"], "nothing in the chain tells"
    cut = verify(suite, **known(head))
    assert not cut.get("intact") and cut["brokenSeq"] == head["headSeq"] and "missing" in cut["message"]


def test_a_signed_head_shows_a_chain_that_was_written_anew(suite: Suite, log: Any) -> None:
    head = verify(suite)
    previous = "0" * 64
    for entry in log.find(sort=[("_id", 1)]):
        entry["actorName"], entry["prevHash"] = "somebody else", previous
        entry["hash"] = previous = hash_of(entry)
        log.replace_one({"_id": entry["_id"]}, entry)
    assert verify(suite)["intact"], "it fits in itself"
    forged = verify(suite, **known(head))
    assert not forged.get("intact") and forged["brokenSeq"] == head["headSeq"] and "signed" in forged["message"]


def test_what_nobody_signed_is_refused(suite: Suite, log: Any) -> None:
    head = verify(suite)
    good = known(head)
    for bad in ({"knownSeq": head["headSeq"] - 1}, {"knownHash": "0" * 64}, {"knownSignature": "0" * 64}, {"knownSignature": ""}, {"knownSeq": 0}):
        query = "&".join(f"{k}={v}" for k, v in {**good, **bad}.items() if v != "")
        assert suite.admin("GET", f"/admin/audit/verify?{query}").status_code == 400, bad
