"""Keys that suspend themselves by a rule of their own: counted over all relays, told to all, undone by resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.ports import eventually
from harness.signing import audit, chat, signed, verdict
from harness.suite import Suite

WRONG = "lcsig_" + "x" * 43


def bad(count: int, seconds: int = 60) -> dict[str, Any]:
    return {"autoSuspend": {"badSignatures": {"count": count, "windowSeconds": seconds}}}


def limited(count: int, seconds: int = 60) -> dict[str, Any]:
    return {"autoSuspend": {"limitExceeded": {"count": count, "windowSeconds": seconds}}}


def shown(suite: Suite, key: dict[str, Any]) -> dict[str, Any]:
    return suite.shown(f"/admin/api-keys/{key['id']}")["apiKey"]


def await_suspended(suite: Suite, key: dict[str, Any], url: str = "") -> None:
    eventually(lambda: verdict(chat(suite, key["key"], {}, url)) == (403, "key_suspended"), "suspended")


def resume(suite: Suite, key: dict[str, Any]) -> None:
    answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/resume", json={})
    assert answer.status_code == 200 and answer.json()["apiKey"]["status"] == "active"
    assert not answer.json()["apiKey"].get("statusReason")


def test_bad_signatures_suspend_a_key_and_resume_undoes_it(suite: Suite) -> None:
    key = suite.make_key(name="guarded", signing={"required": True}, security=bad(3))
    for _ in range(2):
        assert verdict(chat(suite, key["key"], signed(WRONG))) == (401, "invalid_signature")
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200  # two are not three
    assert verdict(chat(suite, key["key"], signed(WRONG))) == (401, "invalid_signature")
    await_suspended(suite, key)
    assert shown(suite, key)["status"] == "suspended"
    assert shown(suite, key)["statusReason"] == "by the rule security.autoSuspend.badSignatures: a signature did not hold 3 times within 60 s"
    resume(suite, key)
    eventually(lambda: chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200, "resumed")
    for _ in range(2):  # counting begins anew
        assert chat(suite, key["key"], signed(WRONG)).status_code == 401
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200
    assert chat(suite, key["key"], signed(WRONG)).status_code == 401
    await_suspended(suite, key)


def test_replays_and_old_timestamps_count_and_unsigned_requests_do_not(suite: Suite) -> None:
    key = suite.make_key(signing={"required": True}, security=bad(2))
    for _ in range(4):
        assert verdict(chat(suite, key["key"], {})) == (401, "signature_required")
    headers = signed(key["signingSecret"])
    assert chat(suite, key["key"], headers).status_code == 200
    assert verdict(chat(suite, key["key"], headers)) == (401, "nonce_used")
    assert verdict(chat(suite, key["key"], signed(key["signingSecret"], at=0))) == (401, "signature_expired")
    await_suspended(suite, key)


def test_exceeded_limits_suspend_a_key(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 1}, security=limited(3))
    assert chat(suite, key["key"], {}).status_code == 200
    for _ in range(3):
        assert verdict(chat(suite, key["key"], {})) == (429, "rate_limit_exceeded")
    await_suspended(suite, key)
    assert shown(suite, key)["statusReason"] == "by the rule security.autoSuspend.limitExceeded: a limit was exceeded 3 times within 60 s"


def test_what_others_used_up_suspends_nobody(suite: Suite) -> None:
    assert suite.admin("PUT", "/admin/limits/clients/crowd", json={"limits": {"requestsPerDay": 1}}).status_code == 200
    other, key = suite.make_key(clientId="crowd"), suite.make_key(clientId="crowd", security=limited(1))
    assert chat(suite, other["key"], {}).status_code == 200
    for _ in range(3):
        answer = chat(suite, key["key"], {})
        assert verdict(answer) == (429, "rate_limit_exceeded") and answer.json()["error"]["param"] == "clientLimits.requestsPerDay"
    assert not list(suite.redis().scan_iter(f"{{{key['keyId']}}}:offences:*"))
    assert shown(suite, key)["status"] == "active"


def test_the_audit_log_names_the_rule_as_the_actor(suite: Suite) -> None:
    key = suite.make_key(signing={"required": True}, security=bad(1))
    assert chat(suite, key["key"], signed(WRONG)).status_code == 401
    await_suspended(suite, key)
    entries = eventually(lambda: len(found := audit(suite, key["id"], "api_key.suspend")) == 2 and found, "both entries")
    assert [(e["phase"], e["actorKind"], e["actorId"]) for e in entries] == [("intent", "rule", "bad_signatures"), ("result", "rule", "bad_signatures")]
    assert entries[1]["outcome"] == "ok"
    assert suite.shown("/admin/audit/verify")["intact"] is True


def test_only_so_many_within_the_window_suspend(suite: Suite) -> None:
    key = suite.make_key(signing={"required": True}, security=bad(2, 1))
    store = suite.redis()
    for _ in range(3):
        assert chat(suite, key["key"], signed(WRONG)).status_code == 401
        names = eventually(lambda: list(store.scan_iter(f"{{{key['keyId']}}}:offences:*")), "counted")
        assert len(names) == 1
        eventually(lambda: not store.exists(names[0]), "the window is over")
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200


def test_a_key_without_rules_is_not_counted(suite: Suite) -> None:
    key = suite.make_key(signing={"required": True})
    for _ in range(5):
        assert chat(suite, key["key"], signed(WRONG)).status_code == 401
    assert not list(suite.redis().scan_iter(f"{{{key['keyId']}}}:offences:*"))


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"badSignatures": {"count": 0, "windowSeconds": 60}}, "security.autoSuspend.badSignatures.count"),
        ({"badSignatures": {"count": 5}}, "security.autoSuspend.badSignatures.windowSeconds"),
        ({"limitExceeded": {"count": 1001, "windowSeconds": 60}}, "security.autoSuspend.limitExceeded.count"),
        ({"limitExceeded": {"count": 5, "windowSeconds": 86401}}, "security.autoSuspend.limitExceeded.windowSeconds"),
        ({"tooManyCooks": {}}, "tooManyCooks"),
    ],
    ids=str,
)
def test_a_rule_that_is_none_is_refused_and_named(suite: Suite, rule: dict[str, Any], field: str) -> None:
    answer = suite.admin("POST", "/admin/api-keys", json={"name": "k", "security": {"autoSuspend": rule}})
    assert answer.status_code == 400 and field in answer.text


def test_a_rule_is_set_changed_and_cleared_like_any_field(suite: Suite) -> None:
    key = suite.make_key(security=bad(5))
    path = f"/admin/api-keys/{key['id']}"
    changed = suite.admin("PATCH", path, json={"security": {"autoSuspend": {"badSignatures": {"count": 7}}}}).json()["apiKey"]
    assert changed["security"]["autoSuspend"] == {"badSignatures": {"count": 7, "windowSeconds": 60}}
    cleared = suite.admin("PATCH", path, json={"security": {"autoSuspend": None}}).json()["apiKey"]
    assert not cleared["security"].get("autoSuspend")


def test_what_auth_is_told_late_or_twice_changes_nothing(suite: Suite) -> None:
    key = suite.make_key(security=bad(3))
    method = "apirelay.auth.v1.KeyAccessService/SuspendByRule"
    request = {"apiKeyId": key["id"], "rule": "bad_signatures", "generation": key["generation"]}
    with suite.rpc_as("relay", "auth") as auth:
        assert not auth.call(method, {**request, "rule": "limit_exceeded"}).suspended  # the key has no such rule
        assert not auth.call(method, {**request, "generation": int(key["generation"]) - 1}).suspended
        assert audit(suite, key["id"], "api_key.suspend") == []
        assert auth.call(method, request).suspended
        assert not auth.call(method, request).suspended
        resume(suite, key)
        assert not auth.call(method, request).suspended
    assert shown(suite, key)["status"] == "active"
    assert len(audit(suite, key["id"], "api_key.suspend")) == 2


# ---- two relays, and outages ----


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    s = Suite(tmp_path_factory.mktemp("suspending"), replicas=("relay",)).start()
    yield s
    s.stop()


def test_what_two_relays_see_is_counted_together_and_both_refuse(stack: Suite) -> None:
    urls = [stack.relay_url, f"http://127.0.0.1:{stack.port['http_relay-2']}"]
    key = stack.make_key(signing={"required": True}, security=bad(4))
    for url in urls * 2:
        assert verdict(chat(stack, key["key"], signed(WRONG), url)) == (401, "invalid_signature")
    for url in urls:
        await_suspended(stack, key, url)
    told = sum(stack.metric(relay, 'relay_keys_suspended_total{rule="bad_signatures"}') for relay in ("relay", "relay-2"))
    assert told == 1 and len(audit(stack, key["id"], "api_key.suspend")) == 2


def test_while_auth_is_away_the_suspension_waits_for_it(stack: Suite) -> None:
    key = stack.make_key(signing={"required": True}, security=bad(2))
    assert chat(stack, key["key"], signed(key["signingSecret"])).status_code == 200  # cached
    stack.processes["auth"].kill()
    for _ in range(2):
        assert chat(stack, key["key"], signed(WRONG)).status_code == 401
    stack.processes["auth"].start()
    stack.await_ready("auth")
    eventually(lambda: shown(stack, key)["status"] == "suspended", "suspended")


def test_while_redis_is_away_nothing_is_counted_and_nothing_breaks(stack: Suite) -> None:
    key = stack.make_key(signing={"required": True}, security=bad(1))
    assert chat(stack, key["key"], signed(key["signingSecret"])).status_code == 200
    stack.processes["redis"].kill()
    for _ in range(3):
        assert verdict(chat(stack, key["key"], signed(WRONG))) == (401, "invalid_signature")
    stack.processes["redis"].start()

    def suspended() -> bool:
        chat(stack, key["key"], signed(WRONG))
        return verdict(chat(stack, key["key"], {})) == (403, "key_suspended")

    eventually(suspended, "counted again")
