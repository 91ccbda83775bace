"""What a relay held that is gone for good: shown to admins, forgiven by them, and exact even if it comes back after all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from harness.ledgers import COST_MONTH, LEDGER, RECORD, Record, await_rest, ledger, ledger_of
from harness.ports import eventually
from harness.suite import Suite
from redis.crc import key_slot

LAPSE_MS = 900_000  # longer than a request may live
SILENT, FORGIVE = "/admin/ledgers/silent", "/admin/ledgers/forgive"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("silent"), replicas=("relay",)).start()
    yield suite
    assert not [name for name, status in suite.stop().items() if name.startswith(("auth", "usage", "relay")) and status]


def let_time_pass(suite: Suite, subject: str) -> Record:
    """As if its only live record had been heard before the lapse. What it holds then."""
    name = next(suite.redis().scan_iter(f"ledger:*:{subject}", count=1000))
    record = next(r for r in ledger_of(suite, subject).records if not r.is_dead)
    field = f"r:{record.holder}"
    numbers = list(RECORD.unpack(suite.redis().hget(name, field)))
    numbers[1] = record.at_ms - 2 * LAPSE_MS
    suite.redis().hset(name, field, RECORD.pack(*numbers))
    return record


def silent(suite: Suite, page_size: int = 500) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while True:
        page = suite.shown(f"{SILENT}?pageSize={page_size}&cursor={cursor}")
        found += page.get("positions", [])
        cursor = page.get("nextCursor", "")
        if not cursor:
            return found


def forgive(suite: Suite, ledger: str, holder: str, **options: Any) -> Any:
    return suite.admin("POST", FORGIVE, json={"ledger": ledger, "holder": holder}, **options)


def killed_in_flight(suite: Suite, key: dict[str, Any], subject: str) -> Record:
    """relay is killed with a request under way, and nobody hears of it for long."""
    caller = threading.Thread(target=lambda: pytest.raises(Exception, suite.chat, key["key"], "gpt-4o-mini+slow-5000", max_tokens=1000))
    caller.start()
    eventually(lambda: any(r.lent[COST_MONTH] for r in ledger_of(suite, subject).records) and suite.upstream_stats()["in_flight"], "a hold")
    suite.processes["relay"].kill()
    caller.join()
    return let_time_pass(suite, subject)


def test_what_a_lost_relay_holds_is_shown_and_forgiven_and_exact_if_it_comes_back(stack: Suite) -> None:
    key = stack.make_key(limits={"costLimit": 1, "requestsInFlight": 5})
    subject = f"k:{key['id']}"
    assert silent(stack) == []
    dead = killed_in_flight(stack, key, subject)
    (shown,) = silent(stack)
    assert (shown["ledger"], shown["holder"]) == (subject, dead.holder)
    assert int(shown["costNanoUsd"]) == dead.lent[COST_MONTH] > 0 and int(shown["requestsInFlight"]) == 1
    assert shown["lastHeardAt"].startswith("20")
    assert ledger(stack, key).taken[COST_MONTH] == dead.lent[COST_MONTH]

    answer = forgive(stack, subject, dead.holder)
    assert answer.status_code == 200 and answer.json()["position"] == shown, answer.text
    after = ledger(stack, key)
    assert after.taken[COST_MONTH] == 0 and after.slots == 0
    assert silent(stack) == []
    assert forgive(stack, subject, dead.holder).status_code == 404
    entries = stack.shown(f"/admin/audit?target={subject}")["entries"][2:]  # before the one that found nothing
    assert [(e["action"], e["phase"], e.get("outcome", "")) for e in entries] == [("ledger.forgive", "result", "ok"), ("ledger.forgive", "intent", "")]
    assert entries[0]["actorKind"] == "admin_key" and dead.holder in entries[1]["payloadJson"]
    assert stack.shown("/admin/audit/verify")["intact"]

    stack.processes["relay"].start()  # its disk was found after all
    stack.await_ready("relay")
    assert await_rest(stack, key, COST_MONTH) > 0


def test_a_relay_that_is_alive_is_not_forgiven(stack: Suite) -> None:
    key = stack.make_key(limits={"costLimit": 1})
    subject = f"k:{key['id']}"
    caller = threading.Thread(target=lambda: stack.chat(key["key"], "gpt-4o-mini+slow-3000"))
    caller.start()
    eventually(lambda: any(r.lent[COST_MONTH] for r in ledger(stack, key).records), "a hold")
    holder = next(r.holder for r in ledger(stack, key).records if not r.is_dead)
    answer = forgive(stack, subject, holder)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION"), answer.text
    caller.join()
    await_rest(stack, key, COST_MONTH)
    outcomes = [e.get("outcome", "") for e in stack.shown(f"/admin/audit?target={subject}")["entries"]]
    assert outcomes == ["FAILED_PRECONDITION", ""]


def test_many_ledgers_are_paged_through(stack: Suite) -> None:
    subjects = [f"k:{i:024x}" for i in range(12)]  # nobody's: only listed
    names = [f"ledger:{{{key_slot(subject.encode()) % 64:02}}}:{subject}" for subject in subjects]
    with stack.redis().pipeline(transaction=False) as pipe:
        for name in names:
            record = RECORD.pack(1, 5, 0, 0, 1, 99999, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0)
            pipe.hset(name, mapping={"l": LEDGER.pack(1, 0, 0, 0, 0, 99999, *[0] * 8, 1, 0, 0, 0, 9, 9, 9, 9, 0, 0), "r:0011223344.1.0": record})
        pipe.execute()
    try:
        found = silent(stack, page_size=5)
        assert sorted({p["ledger"] for p in found}) == sorted(subjects)
        assert {(p["requestsPerDay"], p["tokensPerDay"], p["tokensPerMonth"], p["costNanoUsd"]) for p in found} == {(1, 2, 3, "4")}
    finally:
        stack.redis().delete(*names)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["holder", "ledger"]),
        ({"ledger": "x:1", "holder": "0011223344.1.0"}, ["ledger"]),
        ({"ledger": "k:1", "holder": "*"}, ["holder"]),
        ({"ledger": "k:" + "1" * 200, "holder": "0" * 60}, ["holder", "ledger"]),
    ],
)
def test_what_is_no_position_is_refused_by_its_name(stack: Suite, body: dict[str, str], fields: list[str]) -> None:
    error = stack.admin("POST", FORGIVE, json=body).json()["error"]
    assert error["status"] == "INVALID_ARGUMENT", error
    assert sorted(v["field"] for d in error["details"] for v in d.get("fieldViolations", [])) == fields, error


def test_a_bad_page_is_refused(stack: Suite) -> None:
    for query in ("pageSize=501", "pageSize=-1", "cursor=*", "cursor=" + "1" * 30):
        assert stack.admin("GET", f"{SILENT}?{query}").status_code == 400, query


def test_viewers_look_and_admins_forgive(stack: Suite) -> None:
    viewer = stack.admin("POST", "/admin/admin-keys", json={"name": "ledger viewer", "role": "viewer"}).json()["key"]
    assert stack.admin("GET", SILENT, credential=viewer).status_code == 200
    assert forgive(stack, "k:1", "0011223344.1.0", credential=viewer).status_code == 403


def test_while_auth_or_redis_is_away_nothing_is_done(stack: Suite) -> None:
    redis = stack.processes["redis"]
    redis.kill()
    try:
        assert stack.admin("GET", SILENT).status_code == 503
        assert forgive(stack, "k:1", "0011223344.1.0").status_code == 503
    finally:
        redis.start()
    eventually(lambda: stack.admin("GET", SILENT).status_code == 200, "Redis is back")


def test_services_write_their_own_acts_into_the_audit_log_and_no_others(stack: Suite) -> None:
    record = "apirelay.auth.v1.AuditService/RecordAct"
    act = {"actorKind": "admin", "actorId": "1", "action": "ledger.forgive", "target": "k:1", "phase": "intent"}
    with stack.rpc_as("admin-gw", "auth") as gateway:
        assert gateway.outcome(record).name == "PERMISSION_DENIED"
    with stack.rpc_as("usage", "auth") as usage:
        for action in ("ledger.forgive", "api_key.create"):
            with pytest.raises(Exception, match="must"):
                usage.call(record, {**act, "action": action})
    with stack.rpc_as("relay", "auth") as relay:
        for wrong in ({"action": "api_key.create"}, {"action": "alert_rule.create"}, {"actorKind": "system"}, {"phase": "later"}, {"payloadJson": "x" * 5000}):
            with pytest.raises(Exception, match="must"):
                relay.call(record, {**act, **wrong})
