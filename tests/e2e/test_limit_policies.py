"""Limits of clients and owners: what admins may write, and what the relays are told of it, within a second."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from harness.ports import eventually, kept
from harness.rpc import RpcClient
from harness.suite import Suite, base62

ACCESS = "apirelay.auth.v1.KeyAccessService"
APPLIES_SECONDS = 1.0  # the bound of DESIGN.md, on every replica


@pytest.fixture(scope="module")
def relay(suite: Suite) -> Iterator[RpcClient]:
    with suite.rpc_as("relay", "auth") as client:
        yield client


@pytest.fixture
def client_id() -> str:
    return "app/" + base62(8)


def path_of(client_id: str) -> str:
    return "/admin/limits/clients/" + client_id.replace("/", "%2F")


def policy_of(relay: RpcClient, key: str) -> Any:
    found = relay.call(f"{ACCESS}/Resolve", {"presentedKey": base64.b64encode(key.encode()).decode()})
    assert found.found
    return found.policy


def put(suite: Suite, path: str, status: int = 200, **body: Any) -> Any:
    answer = suite.admin("PUT", path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["limitPolicy"] if status == 200 else answer.json()["error"]


@contextmanager
def watched(relay: RpcClient, start: int) -> Iterator[list[tuple[float, Any]]]:
    """The events of Watch after `start`, with when they came."""
    events: list[tuple[float, Any]] = []
    call = relay.stream(f"{ACCESS}/Watch", {"fromGeneration": start})

    def read() -> None:
        try:
            for event in call:
                events.append((time.monotonic(), event))
        except grpc.RpcError:
            pass

    thread = threading.Thread(target=read)
    thread.start()
    try:
        eventually(lambda: events, "the first heartbeat")
        yield events
    finally:
        call.cancel()
        thread.join()


def limits_changes(events: list[tuple[float, Any]]) -> list[tuple[float, Any]]:
    return [(at, e.limits_change) for at, e in events if e.WhichOneof("event") == "limits_change"]


def test_limits_are_set_changed_shown_listed_and_lifted(suite: Suite, client_id: str) -> None:
    path = path_of(client_id)
    assert suite.admin("GET", path).status_code == 404
    made = put(suite, path, limits={"requestsPerDay": 100, "costLimit": 2.5})
    assert (made["kind"], made["id"]) == ("clients", client_id)
    assert made["limits"]["requestsPerDay"] == 100 and made["limits"]["costLimitNanoUsd"] == "2500000000"
    changed = put(suite, path, limits={"requestsPerDay": None, "tokensPerDay": 7})
    assert "requestsPerDay" not in changed["limits"] and changed["limits"]["tokensPerDay"] == 7
    assert changed["generation"] > made["generation"] and changed["createdAt"] == made["createdAt"]
    assert suite.shown(path)["limitPolicy"] == changed
    assert changed in suite.shown("/admin/limits/clients?pageSize=500")["limitPolicies"]
    assert changed not in suite.shown("/admin/limits/users?pageSize=500")["limitPolicies"]
    for _ in range(2):
        assert suite.admin("DELETE", path).status_code == 200
    assert suite.admin("GET", path).status_code == 404
    assert changed["id"] not in [p["id"] for p in suite.shown("/admin/limits?pageSize=500")["limitPolicies"]]


def test_pages_follow_one_another(suite: Suite) -> None:
    prefix = "page-" + base62(8)
    for i in range(5):
        put(suite, path_of(f"{prefix}-{i}"), limits={"requestsPerDay": i + 1})
    seen: list[str] = []
    cursor = ""
    while True:
        page = suite.shown(f"/admin/limits/clients?pageSize=2&cursor={cursor}")
        seen += [p["id"] for p in page["limitPolicies"]]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    assert [s for s in seen if s.startswith(prefix)] == [f"{prefix}-{i}" for i in range(5)] and len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "limits, field",
    [
        ({"requestsPerDay": 0}, "limits.requestsPerDay"),
        ({"tokensPerMonth": -1}, "limits.tokensPerMonth"),
        ({"requestsPerMinute": 10**16}, "limits.requestsPerMinute"),
        ({"tokensPerDay": "many"}, "limits.tokensPerDay"),
        ({"costLimit": 9_007_199.01}, "limits.costLimit"),
        ({"costLimitNanoUsd": str(2**53)}, "limits.costLimitNanoUsd"),
        ({"costLimit": "much"}, "limits.costLimit"),
        ({"costLimit": -0.5}, "limits.costLimit"),
        ({"costLimitNanoUsd": "9223372036854775808"}, "limits.costLimitNanoUsd"),
        ({"costLimit": 1, "costLimitNanoUsd": "1"}, "limits.costLimit"),
        ({"requestsPerYear": 1}, "limits.requestsPerYear"),
    ],
)
def test_a_bad_limit_is_refused_by_its_name(suite: Suite, client_id: str, limits: dict[str, Any], field: str) -> None:
    error = put(suite, path_of(client_id), 400, limits=limits)
    assert field in [v["field"] for d in error["details"] for v in d.get("fieldViolations", [])], error
    assert suite.admin("GET", path_of(client_id)).status_code == 404


def test_whose_limits_is_checked_too(suite: Suite) -> None:
    for path in ("/admin/limits/users/alice", "/admin/limits/keys/x", path_of("with%20space"), path_of("x" * 129)):
        put(suite, path, 400, limits={"requestsPerDay": 1})
    put(suite, path_of("x"), 400, limits={"requestsPerDay": 1}, kind="clients")


def test_an_etag_is_a_condition(suite: Suite, client_id: str) -> None:
    path = path_of(client_id)
    put(suite, path, 409, limits={"requestsPerDay": 1}, etag="v1")
    first = put(suite, path, limits={"requestsPerDay": 1})
    put(suite, path, limits={"requestsPerDay": 2}, etag=first["etag"])
    assert put(suite, path, 409, limits={"requestsPerDay": 3}, etag=first["etag"])["status"] == "ABORTED"
    assert suite.admin("DELETE", path, headers={"If-Match": first["etag"]}).status_code == 409
    assert suite.shown(path)["limitPolicy"]["limits"]["requestsPerDay"] == 2


def test_viewers_read_and_admins_write_and_the_log_has_it(suite: Suite, client_id: str) -> None:
    made = suite.admin("POST", "/admin/admin-keys", json={"name": "limits viewer", "role": "viewer"}).json()
    path = path_of(client_id)
    put(suite, path, limits={"requestsPerDay": 1})
    assert suite.admin("GET", path, credential=made["key"]).status_code == 200
    assert suite.admin("PUT", path, credential=made["key"], json={"limits": {}}).status_code == 403
    assert suite.admin("DELETE", path, credential=made["key"]).status_code == 403
    entries = suite.shown(f"/admin/audit?target=clients/{client_id}")["entries"]
    assert [(e["action"], e["phase"]) for e in entries] == [("limit_policy.update", "result"), ("limit_policy.update", "intent")]


def test_relays_are_told_of_both_with_their_generations(suite: Suite, relay: RpcClient, client_id: str) -> None:
    owner = "65a1b2c3d4e5f6" + format(int(time.time()) % 10**10, "010d")
    key = suite.make_key(clientId=client_id, userId=owner)["key"]
    before = policy_of(relay, key)
    assert not before.HasField("client_limits") and not before.HasField("owner_limits")
    client = put(suite, path_of(client_id), limits={"requestsPerDay": 3})
    user = put(suite, f"/admin/limits/users/{owner.upper()}", limits={"costLimit": 1})
    policy = policy_of(relay, key)
    assert policy.client_limits.limits.requests_per_day == 3 and policy.client_limits.generation == client["generation"]
    assert policy.owner_limits.limits.cost_limit_nano_usd == 10**9 and policy.owner_limits.generation == user["generation"]
    assert suite.admin("DELETE", path_of(client_id)).status_code == 200
    lifted = policy_of(relay, key).client_limits
    assert lifted.generation > client["generation"] and not lifted.limits.WhichOneof("requests_per_day_presence")


def test_a_change_is_watched_within_a_second(suite: Suite, relay: RpcClient, client_id: str) -> None:
    def measure() -> float:
        start = put(suite, path_of(client_id), limits={"requestsPerDay": 1})["generation"]
        with watched(relay, start) as events:
            generation = put(suite, path_of(client_id), limits={"requestsPerDay": 2})["generation"]
            done = time.monotonic()
            (at, change), *_ = eventually(lambda: limits_changes(events), "the change")
            assert (change.client_id, change.user_id, change.generation) == (client_id, "", generation)
            return at - done

    kept(measure, APPLIES_SECONDS, "the watch")


def client_limit(suite: Suite, key: str) -> int:
    """Requests a day of the key's client as the relay has them; 0 without, -1 when it cannot tell."""
    shown = suite.get("/v1/usage", key)
    if shown.status_code != 200:
        return -1
    states = shown.json().get("limitStates", [])
    return next((int(s["limit"]) for s in states if (s["level"], s["name"]) == ("client", "requestsPerDay")), 0)


def test_the_relay_applies_each_change_to_keys_it_holds(suite: Suite, client_id: str) -> None:
    keys = [suite.make_key(clientId=client_id)["key"] for _ in range(2)]
    put(suite, path_of(client_id), limits={"requestsPerDay": 4})
    eventually(lambda: all(client_limit(suite, key) == 4 for key in keys), "a ledger that is open")
    put(suite, path_of(client_id), limits={"requestsPerDay": 7})
    eventually(lambda: all(client_limit(suite, key) == 7 for key in keys), "the change")
    assert suite.admin("DELETE", path_of(client_id)).status_code == 200
    eventually(lambda: all(client_limit(suite, key) == 0 for key in keys), "the end of the limits")
    put(suite, path_of(client_id), limits={"requestsPerDay": 9})
    eventually(lambda: all(client_limit(suite, key) == 9 for key in keys), "new limits")


def test_a_writer_that_died_holds_nobody_up_and_cannot_come_back(suite: Suite, relay: RpcClient, client_id: str) -> None:
    """Announced, never written: the readers fence it, also where no limits were set yet."""
    start = put(suite, path_of(base62(8)), limits={"requestsPerDay": 1})["generation"]
    log, policies = suite.mongo()["key_changes"], suite.mongo()["limit_policies"]
    with watched(relay, start) as events:
        number = log.find_one(sort=[("_id", -1)])["_id"] + 1
        log.insert_one({"_id": number, "generation": number, "clientId": client_id})
        eventually(lambda: any(c.generation == number for _, c in limits_changes(events)), "the change")
    assert policies.find_one({"_id": f"client:{client_id}"}) == {"_id": f"client:{client_id}", "generation": number}
    assert suite.admin("GET", path_of(client_id)).status_code == 404
    assert put(suite, path_of(client_id), limits={"requestsPerDay": 1})["generation"] > number


def test_many_writers_at_once_each_get_their_number(suite: Suite, client_id: str) -> None:
    generations: list[int] = []

    def write(i: int) -> None:
        generations.append(put(suite, path_of(client_id), limits={"requestsPerDay": i + 1})["generation"])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(generations)) == 8
    assert suite.shown(path_of(client_id))["limitPolicy"]["generation"] == max(generations)
