"""/admin/settings: what new keys get, how old secrets may become, and what of them is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId
from harness.ports import eventually
from harness.suite import Suite

PATH = "/admin/settings"
CLEARED = {"keyDefaults": None, "environments": [], "rotationDuePercent": None}


@pytest.fixture
def settings(suite: Suite) -> Iterator[Any]:
    """Writes settings; they are as before afterwards."""

    def put(status: int = 200, **body: Any) -> Any:
        answer = suite.admin("PUT", PATH, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()["settings"] if status == 200 else answer.json()["error"]

    yield put
    put(**CLEARED)


def fields_of(error: dict[str, Any]) -> list[str]:
    return [v["field"] for d in error["details"] for v in d.get("fieldViolations", [])]


def test_settings_that_nobody_has_set_have_their_defaults(suite: Suite, settings: Any) -> None:
    settings(**CLEARED)
    shown = suite.shown(PATH)["settings"]
    assert shown["rotationDuePercent"] == 80 and shown["keyDefaults"] == {} and not shown.get("environments")


def test_new_keys_get_the_defaults_and_what_a_request_names_wins(suite: Suite, settings: Any) -> None:
    settings(
        keyDefaults={
            "permissions": {"models": ["gpt-4o*"], "features": {"vision": False}},
            "limits": {"requestsPerDay": 100, "costLimit": 5},
            "security": {"ipWhitelist": ["127.0.0.0/8"], "autoSuspend": {"limitExceeded": {"count": 900, "windowSeconds": 60}}},
        },
        environments=[{"env": "stage", "maxAgeDays": 30}],
    )
    plain = suite.make_key()
    assert plain["permissions"]["models"] == ["gpt-4o*"] and plain["permissions"]["features"] == {
        "streaming": True, "functionCalling": True, "vision": False,
    }
    assert plain["limits"] == {"requestsPerDay": 100, "costLimit": 5.0, "costLimitNanoUsd": "5000000000"}
    assert plain["security"]["ipWhitelist"] == ["127.0.0.0/8"] and "maxAgeDays" not in plain
    assert plain["security"]["autoSuspend"] == {"limitExceeded": {"count": 900, "windowSeconds": 60}}
    own = suite.make_key(env="stage", permissions={"models": ["*"], "features": {"vision": True}}, limits={"costLimitNanoUsd": "7"})
    assert own["permissions"]["models"] == ["*"] and own["permissions"]["features"]["vision"] is True
    assert own["limits"]["costLimitNanoUsd"] == "7" and own["limits"]["costLimit"] == 7e-9 and own["limits"]["requestsPerDay"] == 100
    assert own["maxAgeDays"] == 30
    assert suite.shown(f"/admin/api-keys/{own['id']}")["apiKey"]["limits"] == own["limits"]
    freed = suite.admin("PATCH", f"/admin/api-keys/{own['id']}", json={"limits": {"requestsPerDay": None}}).json()["apiKey"]
    assert "requestsPerDay" not in freed["limits"]


def test_imported_keys_get_them_too(suite: Suite, settings: Any) -> None:
    settings(keyDefaults={"limits": {"tokensPerDay": 77}})
    with suite.rpc("auth", suite.admin_key) as client:
        made = client.send_all("apirelay.auth.v1.ApiKeyService/ImportApiKeys", [{"apiKey": {"name": "a"}}, {"apiKey": {"name": "b", "limits": {"tokensPerDay": "5"}}}])
    limits = [suite.shown(f"/admin/api-keys/{key.id}")["apiKey"]["limits"]["tokensPerDay"] for key in made.api_keys]
    assert limits == [77, 5]


def test_every_mistake_is_named_at_once(suite: Suite, settings: Any) -> None:
    error = settings(
        400,
        keyDefaults={
            "limits": {"requestsPerDay": 0, "costLimit": 1e10},
            "permissions": {"models": [""]},
            "security": {"ipWhitelist": ["10.0.0.1/8"], "expiresAt": "2099-01-01T00:00:00Z"},
        },
        environments=[{"env": "prod", "maxAgeDays": 0}, {"env": "prod"}],
        rotationDuePercent=0,
    )
    assert set(fields_of(error)) == {
        "keyDefaults.limits.requestsPerDay", "keyDefaults.limits.costLimit", "keyDefaults.permissions.models[0]",
        "keyDefaults.security.ipWhitelist[0]", "keyDefaults.security.expiresAt",
        "environments[0].maxAgeDays", "environments[1].env", "rotationDuePercent",
    }  # fmt: skip
    assert fields_of(settings(400, updatedAt="2026-01-01T00:00:00Z")) == ["updatedAt"]


def test_an_etag_is_a_condition_and_the_log_has_the_change(suite: Suite, settings: Any) -> None:
    first = settings(rotationDuePercent=50)
    settings(409, rotationDuePercent=60, etag="v999999")
    assert settings(rotationDuePercent=60, etag=first["etag"])["rotationDuePercent"] == 60
    settings(409, rotationDuePercent=70, etag=first["etag"])
    entries = suite.shown("/admin/audit?action=settings.update&pageSize=4")["entries"]
    assert {e["phase"] for e in entries} == {"intent", "result"} and "ABORTED" in {e.get("outcome") for e in entries}


def test_viewers_read_them_and_admins_write_them(suite: Suite, settings: Any) -> None:
    viewer, admin = (
        suite.admin("POST", "/admin/admin-keys", json={"name": f"settings {role}", "role": role}).json()["key"] for role in ("viewer", "admin")
    )
    assert suite.admin("GET", PATH, credential=viewer).status_code == 200
    assert suite.admin("PUT", PATH, credential=viewer, json={"rotationDuePercent": 1}).status_code == 403
    assert suite.admin("PUT", PATH, credential=admin, json={"rotationDuePercent": 90}).status_code == 200


def age(suite: Suite, key: dict[str, Any], days: float) -> None:
    made = datetime.now(timezone.utc) - timedelta(days=days)
    suite.mongo()["api_keys"].update_one({"_id": ObjectId(key["id"])}, {"$set": {"secretCreatedAt": made}})


def test_rotation_is_due_by_the_keys_own_age_else_its_environments(suite: Suite, settings: Any) -> None:
    old, own = suite.make_key(env="vault", clientId="rotation"), suite.make_key(env="vault", clientId="rotation", maxAgeDays=3650)
    settings(environments=[{"env": "vault", "maxAgeDays": 10}])
    for key in (old, own):
        age(suite, key, 8.5)
    shown = {k["id"]: k for k in suite.shown("/admin/api-keys?clientId=rotation")["apiKeys"]}
    assert shown[old["id"]]["rotationDue"] is True and not shown[own["id"]].get("rotationDue")
    assert "maxAgeDays" not in shown[old["id"]], "keys that exist stay as they are"
    assert suite.get("/v1/models", old["key"]).status_code == 200
    settings(rotationDuePercent=95)
    assert not suite.shown(f"/admin/api-keys/{old['id']}")["apiKey"].get("rotationDue")
    settings(rotationDuePercent=50)
    assert suite.shown(f"/admin/api-keys/{old['id']}")["apiKey"]["rotationDue"] is True
    fresh = suite.admin("POST", f"/admin/api-keys/{old['id']}/regenerate", json={}).json()["apiKey"]
    assert not fresh.get("rotationDue") and fresh["secretCreatedAt"] > old["secretCreatedAt"]


def test_the_reason_of_a_status_is_shown_until_it_is_resumed(suite: Suite) -> None:
    key = suite.make_key()
    path = f"/admin/api-keys/{key['id']}"
    assert suite.admin("POST", f"{path}/suspend", json={"reason": "found in a repository"}).status_code == 200
    shown = suite.shown(path)["apiKey"]
    assert (shown["status"], shown["statusReason"]) == ("suspended", "found in a repository")
    assert suite.admin("POST", f"{path}/resume", json={}).status_code == 200
    assert not suite.shown(path)["apiKey"].get("statusReason")
    assert suite.admin("POST", f"{path}/suspend", json={}).status_code == 200
    assert suite.shown(path)["apiKey"]["statusReason"].startswith("by ")
    for reason in ("x" * 501, "two\nlines", "\x1b[2J"):
        assert suite.admin("POST", f"{path}/suspend", json={"reason": reason}).status_code == 400


def test_ended_secrets_leave_the_document(suite: Suite) -> None:
    key = suite.make_key()
    for _ in range(2):
        answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/regenerate", json={"graceSeconds": 3600})
        assert answer.status_code == 200, answer.text
    keys = suite.mongo()["api_keys"]
    ended = datetime.now(timezone.utc) - timedelta(seconds=1)
    keys.update_one({"_id": ObjectId(key["id"])}, {"$set": {"previous.1.expiresAt": ended}})
    assert suite.get("/v1/models", key["key"]).status_code == 401, "refused whatever is stored"
    suite.restart("auth")
    kept = eventually(lambda: len(p := keys.find_one({"_id": ObjectId(key["id"])})["previous"]) == 1 and p, "the sweep")
    assert kept[0]["expiresAt"] > ended
    eventually(lambda: suite.admin("GET", PATH).status_code == 200, "admin-gw finds auth again")
