"""auth alone with its stores: what the other services rely on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from harness.ports import eventually, kept
from harness.rpc import RpcClient, as_dict
from harness.suite import Suite, base62

KEYS = "apirelay.auth.v1.ApiKeyService"
ACCESS = "apirelay.auth.v1.KeyAccessService"
IDENTITY = "apirelay.auth.v1.IdentityService/CheckCredential"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("auth")).start(only=("mongo", "redis", "auth"))
    yield suite
    assert suite.stop()["auth"] == 0


@pytest.fixture(scope="module")
def admin(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc("auth", stack.admin_key) as client:
        yield client


@pytest.fixture(scope="module")
def relay(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc_as("relay", "auth") as client:
        yield client


def create(admin: RpcClient, **fields: Any) -> Any:
    return admin.call(f"{KEYS}/CreateApiKey", {"apiKey": {"name": "a key", **fields}})


def resolve(relay: RpcClient, key: str) -> Any:
    return relay.call(f"{ACCESS}/Resolve", {"presentedKey": base64.b64encode(key.encode()).decode()})


def test_a_key_resolves_to_its_policy_and_a_wrong_one_to_nothing(admin: RpcClient, relay: RpcClient) -> None:
    made = create(admin, clientId="app", permissions={"maxTokens": 5, "models": ["gpt-*"]}, security={"ipWhitelist": ["10.0.0.0/8"]})
    found = resolve(relay, made.key)
    assert found.found and found.policy.key_id == made.api_key.key_id and found.policy.api_key_id == made.api_key.id
    assert found.policy.permissions.max_tokens == 5 and found.policy.permissions.features.streaming
    assert list(found.policy.security.ip_whitelist) == ["10.0.0.0/8"] and found.policy.status == "active"
    assert found.policy.generation > 0
    for wrong in (made.key[:-1], made.key[:30] + ("A" if made.key[30] != "A" else "B") + made.key[31:], "", "lc_prod_" + base62(50), "x" * 128):
        assert not resolve(relay, wrong).found


def test_unknown_wrong_and_right_secrets_take_the_same_time(admin: RpcClient, relay: RpcClient) -> None:
    """No measurement of microseconds: only that neither path has a 30 ms hash the other has not."""
    made = create(admin)

    def median(key: str) -> float:
        times = []
        for _ in range(15):
            started = time.perf_counter()
            resolve(relay, key)
            times.append(time.perf_counter() - started)
        return sorted(times)[7]

    right, wrong = median(made.key), median("lc_prod_" + base62(50))
    assert abs(right - wrong) < 0.02


def test_the_watch_tells_every_change_in_order_and_that_it_lives(admin: RpcClient, relay: RpcClient) -> None:
    made = create(admin)
    start = resolve(relay, made.key).generation
    events: list[Any] = []
    times: list[float] = []
    call = relay.stream(f"{ACCESS}/Watch", {"fromGeneration": start})

    def read() -> None:
        try:
            for event in call:
                times.append(time.monotonic())
                events.append(event)
        except grpc.RpcError:
            pass

    def generations() -> list[int]:
        changes = [e.change for e in events if e.WhichOneof("event") == "change"]
        return [c.generation for c in changes if c.key_id == made.api_key.key_id]

    thread = threading.Thread(target=read)
    thread.start()
    try:
        eventually(lambda: events, "the first heartbeat")
        for action in ("Suspend", "Resume", "Revoke"):
            before = len(generations())
            admin.call(f"{KEYS}/{action}ApiKey", {"id": made.api_key.id})
            eventually(lambda: len(generations()) > before, f"the change of {action}")  # a slow write is fenced, and told of twice
        assert generations() == sorted(set(generations()))

        def longest_gap() -> float:
            seen = len(times)
            eventually(lambda: len(times) >= seen + 8, "heartbeats")
            return max(b - a for a, b in zip(times[seen:], times[seen + 1 :]))

        kept(longest_gap, 1.0, "heartbeats: without one for that long the watch counts as down")
    finally:
        call.cancel()
        thread.join()


def test_a_watch_from_a_forgotten_past_begins_with_a_reset(relay: RpcClient) -> None:
    call = relay.stream(f"{ACCESS}/Watch", {"fromGeneration": "999999999"})
    kinds = [event.WhichOneof("event") for event, _ in zip(call, range(2))]
    call.cancel()
    assert "reset" in kinds


def test_two_changes_at_once_get_two_generations(admin: RpcClient, stack: Suite) -> None:
    made = create(admin)
    errors: list[Exception] = []

    def rename(i: int) -> None:
        try:
            admin.call(f"{KEYS}/UpdateApiKey", {"id": made.api_key.id, "apiKey": {"name": f"name {i}"}, "updateMask": "name"})
        except grpc.RpcError as e:
            errors.append(e)

    threads = [threading.Thread(target=rename, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    changes = [d["generation"] for d in stack.mongo()["key_changes"].find({"keyId": made.api_key.key_id})]
    assert len(changes) == len(set(changes)) >= 9


def test_every_credential_is_recognised_for_what_it_is(admin: RpcClient, relay: RpcClient, stack: Suite) -> None:
    made = create(admin)
    with stack.rpc_as("admin-gw", "auth") as gateway:
        session = gateway.call(
            "apirelay.auth.v1.SessionService/CreateSession", {"username": "admin", "password": stack.owner_password, "address": "127.0.0.1"}
        )
    for credential, kind, member in ((made.key, "api_key", "key_id"), (stack.admin_key, "admin", "admin_key_id"), (session.token, "admin", "session_id")):
        answer = relay.call(IDENTITY, {"credential": base64.b64encode(credential.encode()).decode()})
        assert answer.valid and answer.kind == kind and getattr(answer, member), as_dict(answer)
    for credential in ("", "nonsense", stack.admin_key[:-1], session.token + "x"):
        answer = relay.call(IDENTITY, {"credential": base64.b64encode(credential.encode()).decode()})
        assert not answer.valid and answer.reason


def test_a_check_that_nobody_is_at_work_for_is_no_use(stack: Suite, relay: RpcClient) -> None:
    def check(credential: str, unattended: bool) -> None:
        for _ in range(2):  # what the first one writes stands before the second is answered
            assert relay.call(IDENTITY, {"credential": base64.b64encode(credential.encode()).decode(), "unattended": unattended}).valid

    with stack.rpc_as("admin-gw", "auth") as gateway:
        token = gateway.call("apirelay.auth.v1.SessionService/CreateSession", {"username": "admin", "password": stack.owner_password}).token
    store, session = stack.redis(), "auth:session:" + hashlib.sha256(token.encode()).hexdigest()
    assert store.pexpire(session, 60_000)
    check(token, unattended=True)
    assert 0 < store.pttl(session) <= 60_000
    check(token, unattended=False)
    assert store.pttl(session) > 60_000

    with stack.rpc("auth", stack.admin_key) as owner:
        made = owner.call("apirelay.auth.v1.AdminService/CreateAdminKey", {"adminKey": {"name": "watches", "role": "viewer"}})
    used = lambda: [k for k in stack.mongo()["admin_keys"].find({"name": "watches"}) if k.get("lastUsedAt")]  # noqa: E731
    check(made.key, unattended=True)
    assert not used()
    check(made.key, unattended=False)
    assert used()


def test_sessions_are_hashed_in_redis(stack: Suite) -> None:
    with stack.rpc_as("admin-gw", "auth") as gateway:
        session = gateway.call("apirelay.auth.v1.SessionService/CreateSession", {"username": "admin", "password": stack.owner_password})
    store = stack.redis()
    keys = list(store.scan_iter())
    assert keys and not [k for k in keys if session.token.encode() in k]
    assert all(0 < store.ttl(k) <= 12 * 3600 for k in keys if b"session" in k)


def test_passwords_and_admin_keys_rest_hashed(stack: Suite) -> None:
    user = stack.mongo()["admin_users"].find_one({"username": "admin"})
    assert "$argon2id$" in str(user) and stack.owner_password not in str(user)
    assert stack.admin_key[-32:] not in str(list(stack.mongo()["admin_keys"].find()))


def test_the_audit_chain_shows_a_change_of_the_past(admin: RpcClient, stack: Suite) -> None:
    create(admin)
    verify = "apirelay.auth.v1.AuditService/VerifyAuditLog"
    assert admin.call(verify).intact
    log = stack.mongo()["audit_log"]
    entry = log.find_one({"seq": 2})
    log.update_one({"_id": entry["_id"]}, {"$set": {"actorName": "somebody else", "actor.name": "somebody else"}})
    broken = admin.call(verify)
    assert not broken.intact and broken.broken_seq in (2, 3), as_dict(broken)
    log.replace_one({"_id": entry["_id"]}, entry)
    assert admin.call(verify).intact


def run_auth(stack: Suite, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    process = stack.processes["auth"]
    return subprocess.run([*process.command, *arguments], env={**process.env, **env}, capture_output=True, text=True, timeout=120)


def test_keys_are_imported_in_bulk_and_then_resolve(stack: Suite, relay: RpcClient) -> None:
    path = stack.path("keys.jsonl")
    path.write_text("".join(json.dumps({"name": f"imported {i}", "permissions": {"maxTokens": i + 1}}) + "\n" for i in range(2000)))
    out = stack.path("made.jsonl")
    done = run_auth(stack, "import", "--no-argon2", "--out", str(out), str(path))
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(made) == 2000 and os.stat(out).st_mode & 0o777 == 0o600
    for i in (0, 1, 1999):
        assert resolve(relay, made[i]["key"]).policy.permissions.max_tokens == i + 1
    assert made[0]["key"] not in done.stdout + done.stderr


def import_status(admin: RpcClient, requests: list[dict[str, Any]], **kwargs: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as failure:
        admin.send_all(f"{KEYS}/ImportApiKeys", requests, **kwargs)
    return failure.value


def test_keys_are_imported_over_a_stream_and_resolve(stack: Suite, admin: RpcClient, relay: RpcClient) -> None:
    fields = [{"apiKey": {"name": f"streamed {i}", "permissions": {"maxTokens": i + 1}}} for i in range(5)]
    made = admin.send_all(f"{KEYS}/ImportApiKeys", fields, timeout=60).api_keys
    assert len({key.key for key in made}) == 5
    for i, key in enumerate(made):
        found = resolve(relay, key.key)
        assert found.found and found.policy.permissions.max_tokens == i + 1 and found.policy.key_id == key.key_id
    assert stack.mongo()["api_keys"].count_documents({"key": {"$regex": "^.argon2id"}, "keyId": {"$in": [key.key_id for key in made]}}) == 5
    entries = list(stack.mongo()["audit_log"].find({"action": "api_key.import"}))
    assert [entry["phase"] for entry in entries] == ["intent", "result"]
    assert all(key.key_id in entries[0]["payloadJson"] and key.key not in str(entries) for key in made)


def test_a_bad_key_in_a_stream_is_named_and_nothing_is_made(stack: Suite, admin: RpcClient) -> None:
    good = {"apiKey": {"name": "half of an import"}}
    bad = import_status(admin, [good, {"apiKey": {"name": "half of an import", "permissions": {"maxTokens": -1}}}, good])
    assert bad.code() == grpc.StatusCode.INVALID_ARGUMENT and "key 2, nothing was made" in bad.details()
    foreign = import_status(admin, [{**good, "key": "lc_prod_" + base62(50)}])
    assert foreign.code() == grpc.StatusCode.INVALID_ARGUMENT and "none of ours" in foreign.details()
    assert import_status(admin, []).code() == grpc.StatusCode.INVALID_ARGUMENT
    many = import_status(admin, [good] * 1001, timeout=60)
    assert many.code() == grpc.StatusCode.INVALID_ARGUMENT and "1000" in many.details()
    large = import_status(admin, [{"apiKey": {"name": "n" * 300_000}}])
    assert large.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stack.mongo()["api_keys"].count_documents({"name": "half of an import"}) == 0


def test_a_bad_import_says_which_lines_and_imports_nothing(stack: Suite) -> None:
    before = stack.mongo()["api_keys"].count_documents({})
    path = stack.path("bad.jsonl")
    path.write_text('{"name":"fine"}\n{"name":""}\nnonsense\n{"name":"x","colour":"red"}\n')
    done = run_auth(stack, "import", "--no-argon2", str(path))
    assert done.returncode != 0
    assert all(line in done.stderr for line in ("2", "3", "4")), done.stderr
    assert stack.mongo()["api_keys"].count_documents({}) == before


def test_bad_settings_are_all_told_at_once(stack: Suite) -> None:
    done = run_auth(stack, AUTH_MONGO_THREADS="many", AUTH_LOG_LEVEL="loud", AUTH_NONSENSE="1", AUTH_PEPPERS_FILE="")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("AUTH_MONGO_THREADS", "AUTH_LOG_LEVEL", "AUTH_NONSENSE", "AUTH_PEPPERS_FILE")), done.stderr
