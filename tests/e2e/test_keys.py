"""What keys may and may not do, and how fast a change of a key applies."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from harness.ports import PATIENCE, eventually
from harness.raw_http import request_bytes
from harness.suite import Suite

CHAT_BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def verdict(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else None


def until(suite: Suite, key: str, status: int, what: str) -> None:
    """The change applies; how soon is test_revocation_bound's."""
    eventually(lambda: suite.get("/v1/models", key).status_code == status, what)


def change(suite: Suite, key: dict[str, Any], action: str, **body: Any) -> Any:
    answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "credential",
    ["", "Bearer", "Bearer nonsense", "Basic bGM6eA==", "Bearer lc_prod_short", "Bearer lc_PROD_" + "a" * 50, "Bearer sk-" + "a" * 48, "Bearer lcadm_" + "a" * 44],
)
def test_what_is_no_key_is_refused_in_openais_form(suite: Suite, credential: str) -> None:
    headers = {"Authorization": credential} if credential else {}
    answer = httpx.post(f"{suite.relay_url}/v1/chat/completions", headers=headers, json=CHAT_BODY, timeout=30)
    assert verdict(answer) == (401, "invalid_api_key")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"} and answer.headers["x-request-id"]


def test_a_key_with_one_character_changed_is_refused(suite: Suite, shared_key: str) -> None:
    for at in (9, 20, 40, len(shared_key) - 1):
        wrong = shared_key[:at] + ("A" if shared_key[at] != "A" else "B") + shared_key[at + 1 :]
        assert verdict(suite.get("/v1/models", wrong)) == (401, "invalid_api_key"), at


def test_x_api_key_is_as_good_and_two_different_ones_are_refused(suite: Suite, shared_key: str) -> None:
    other = suite.make_key()["key"]
    url = f"{suite.relay_url}/v1/models"
    assert httpx.get(url, headers={"x-api-key": shared_key}, timeout=30).status_code == 200
    assert httpx.get(url, headers={"x-api-key": shared_key, "Authorization": f"Bearer {shared_key}"}, timeout=30).status_code == 200
    assert verdict(httpx.get(url, headers={"x-api-key": other, "Authorization": f"Bearer {shared_key}"}, timeout=30)) == (401, "invalid_api_key")


def test_suspended_and_resumed_apply_within_a_second(suite: Suite) -> None:
    key = suite.make_key()
    assert suite.get("/v1/models", key["key"]).status_code == 200
    assert change(suite, key, "suspend", reason="a test")["apiKey"]["status"] == "suspended"
    until(suite, key["key"], 403, "suspended")
    assert verdict(suite.get("/v1/models", key["key"])) == (403, "key_suspended")
    assert change(suite, key, "resume")["apiKey"]["status"] == "active"
    until(suite, key["key"], 200, "resumed")


def test_revoked_applies_within_a_second_and_is_final(suite: Suite) -> None:
    key = suite.make_key()
    assert suite.get("/v1/models", key["key"]).status_code == 200
    assert suite.admin("DELETE", f"/admin/api-keys/{key['id']}").json()["apiKey"]["status"] == "revoked"
    until(suite, key["key"], 401, "revoked")
    assert verdict(suite.get("/v1/models", key["key"])) == (401, "invalid_api_key")
    assert suite.admin("DELETE", f"/admin/api-keys/{key['id']}").status_code == 200
    for action in ("suspend", "resume", "regenerate"):
        answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/{action}", json={})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION"), action
    assert suite.admin("GET", f"/admin/api-keys/{key['id']}").json()["apiKey"]["status"] == "revoked"
    assert suite.get("/v1/models", key["key"]).status_code == 401


def test_an_edit_applies_within_a_second(suite: Suite) -> None:
    key = suite.make_key()
    assert suite.chat(key["key"]).status_code == 200
    edit = {"permissions": {"models": ["gpt-4.1*"]}}
    assert suite.admin("PUT", f"/admin/api-keys/{key['id']}", json=edit).status_code == 200
    eventually(lambda: suite.chat(key["key"]).status_code == 404, "gpt-4o is no longer allowed")
    assert suite.chat(key["key"], "gpt-4.1").status_code == 200
    assert [m["id"] for m in suite.get("/v1/models", key["key"]).json()["data"]] == []


def test_an_expiry_is_kept_to_the_moment(suite: Suite) -> None:
    expiry = datetime.now(timezone.utc) + timedelta(seconds=1.2 * PATIENCE)
    key = suite.make_key(security={"expiresAt": expiry.isoformat()})
    assert suite.get("/v1/models", key["key"]).status_code == 200
    eventually(lambda: suite.get("/v1/models", key["key"]).status_code == 401, "expired")
    assert datetime.now(timezone.utc) >= expiry
    assert verdict(suite.get("/v1/models", key["key"])) == (401, "invalid_api_key")


def test_regenerate_without_grace_ends_the_old_secret(suite: Suite) -> None:
    key = suite.make_key()
    assert suite.get("/v1/models", key["key"]).status_code == 200
    fresh = change(suite, key, "regenerate", graceSeconds=0)["key"]
    until(suite, key["key"], 401, "the old secret is gone")
    assert suite.get("/v1/models", fresh).status_code == 200


def test_regenerate_without_grace_ends_older_secrets_in_their_grace_too(suite: Suite) -> None:
    """One of them has leaked: what was promised to it ends."""
    key = suite.make_key()
    second = change(suite, key, "regenerate", graceSeconds=3600)["key"]
    assert suite.get("/v1/models", key["key"]).status_code == suite.get("/v1/models", second).status_code == 200
    answer = change(suite, key, "regenerate")
    assert "previousExpiresAt" not in answer["apiKey"]
    for old in (key["key"], second):
        until(suite, old, 401, "every older secret is gone")
    assert suite.get("/v1/models", answer["key"]).status_code == 200


def test_regenerate_keeps_the_old_secret_for_the_grace_and_no_longer(suite: Suite) -> None:
    key = suite.make_key()
    started = time.monotonic()
    answer = change(suite, key, "regenerate", graceSeconds=2)
    assert answer["key"] != key["key"] and answer["apiKey"]["previousExpiresAt"]
    assert suite.get("/v1/models", key["key"]).status_code == 200
    assert suite.get("/v1/models", answer["key"]).status_code == 200
    eventually(lambda: suite.get("/v1/models", key["key"]).status_code == 401, "the grace is over")
    assert time.monotonic() - started >= 1.9
    assert suite.get("/v1/models", answer["key"]).status_code == 200


def test_a_key_revoked_while_it_is_being_resolved_stays_revoked(suite: Suite) -> None:
    """Requests race with the revocation again and again; after the bound no cached policy may be left."""
    for attempt in range(6):
        key = suite.make_key()
        stop = threading.Event()

        def hammer() -> None:
            with httpx.Client() as http:
                while not stop.is_set():
                    http.get(f"{suite.relay_url}/v1/models", headers={"Authorization": f"Bearer {key['key']}"})

        threads = [threading.Thread(target=hammer) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert suite.admin("DELETE", f"/admin/api-keys/{key['id']}").status_code == 200
            until(suite, key["key"], 401, f"revoked, attempt {attempt}")
            for _ in range(20):
                assert suite.get("/v1/models", key["key"]).status_code == 401
        finally:
            stop.set()
            for thread in threads:
                thread.join()


# ---- permissions ----

PERMISSIONS: dict[str, tuple[dict[str, Any], dict[str, Any], int, str, str]] = {
    # fields of the key, body, status, code, word of the message
    "model": ({"permissions": {"models": ["gpt-4.1", "o*"]}}, {}, 404, "model_not_found", "gpt-4o"),
    "endpoint": ({"permissions": {"endpoints": ["/v1/embeddings"]}}, {}, 403, "permission_denied", "endpoints"),
    "streaming": ({"permissions": {"features": {"streaming": False}}}, {"stream": True}, 403, "permission_denied", "streaming"),
    "tools": ({"permissions": {"features": {"functionCalling": False}}}, {"tools": [TOOL]}, 403, "permission_denied", "functionCalling"),
    "vision": (
        {"permissions": {"features": {"vision": False}}}, {"messages": [{"role": "user", "content": [PIXEL]}]}, 403, "permission_denied", "vision",
    ),
    "max tokens": ({"permissions": {"maxTokens": 10}}, {"max_tokens": 11}, 400, "max_tokens_exceeded", "maxTokens"),
    "max completion tokens": ({"permissions": {"maxTokens": 10}}, {"max_completion_tokens": 11}, 400, "max_tokens_exceeded", "maxTokens"),
    "address": ({"security": {"ipWhitelist": ["10.0.0.0/8", "fd00::/8"]}}, {}, 403, "permission_denied", "ipWhitelist"),
}


@pytest.mark.parametrize("case", PERMISSIONS, ids=str)
def test_a_missing_permission_is_refused_and_named(suite: Suite, case: str) -> None:
    fields, body, status, code, word = PERMISSIONS[case]
    key = suite.make_key(**fields)["key"]
    answer = suite.post("/v1/chat/completions", key, json={**CHAT_BODY, **body})
    assert verdict(answer) == (status, code)
    assert word in answer.json()["error"]["message"]


def test_what_a_key_may_do_is_let_through(suite: Suite) -> None:
    key = suite.make_key(
        permissions={"models": ["gpt-4o*"], "endpoints": ["/v1/chat/completions"], "maxTokens": 10, "features": {"vision": True}},
        security={"ipWhitelist": ["127.0.0.0/8"]},
    )["key"]
    body = {**CHAT_BODY, "max_tokens": 10, "stream": True, "messages": [{"role": "user", "content": [PIXEL]}]}
    assert suite.post("/v1/chat/completions", key, json=body).status_code == 200
    assert suite.post("/v1/embeddings", key, json={"model": "gpt-4o", "input": "x"}).status_code == 403


def test_absent_max_tokens_are_set_to_what_the_key_allows(suite: Suite) -> None:
    key = suite.make_key(permissions={"maxTokens": 4})["key"]
    answer = suite.chat(key, text="one two three four five").json()
    assert answer["choices"][0] | {"message": None} == answer["choices"][0] | {"message": None, "finish_reason": "length"}
    assert answer["usage"]["completion_tokens"] == 4


def test_an_origin_is_answered_only_when_the_key_lists_it(suite: Suite) -> None:
    key = suite.make_key(security={"domains": ["https://app.example"]})["key"]
    good = suite.chat(key, headers={"Origin": "https://app.example"})
    assert good.status_code == 200 and good.headers["access-control-allow-origin"] == "https://app.example"
    assert suite.chat(key, headers={"Origin": "https://evil.example"}).status_code == 403
    assert suite.chat(key).status_code == 200


def test_forwarded_addresses_are_not_believed_by_default(suite: Suite) -> None:
    key = suite.make_key(security={"ipWhitelist": ["10.1.2.3"]})["key"]
    assert suite.chat(key, headers={"X-Forwarded-For": "10.1.2.3"}).status_code == 403


def test_a_body_is_only_asked_for_when_the_key_holds(suite: Suite, shared_key: str) -> None:
    for key, expected in ((shared_key, 100), ("lc_prod_" + "a" * 50, 401)):
        head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Content-Length": "20", "Expect": "100-continue"}
        with suite.raw("relay") as raw:
            raw.send(request_bytes("POST", "/v1/chat/completions", head))
            answer = raw.answer()
            assert answer is not None and answer.status == expected


def test_last_use_is_written_at_most_once_a_minute(suite: Suite) -> None:
    key = suite.make_key()
    for _ in range(3):
        suite.get("/v1/models", key["key"])
    document = eventually(
        lambda: (d := suite.mongo()["api_keys"].find_one({"keyId": key["keyId"]})) and d.get("lastUsedAt") and d, "lastUsedAt"
    )
    assert abs((datetime.now(timezone.utc) - document["lastUsedAt"]).total_seconds()) < 30


def test_the_key_document_holds_no_secret_in_clear(suite: Suite) -> None:
    key = suite.make_key(permissions={"maxTokens": 7}, limits={"costLimit": 12.5})
    document = suite.mongo()["api_keys"].find_one({"keyId": key["keyId"]})
    assert document["key"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    secret = key["key"][-38:-6]
    assert secret not in str(document) and key["key"] not in str(document)
    assert document["limits"]["costLimit"] == 12.5 and document["limits"]["costLimitNanoUsd"] == 12_500_000_000
    assert document["permissions"]["features"] == {"streaming": True, "functionCalling": True, "vision": True}
    assert document["status"] == "active" and document["env"] == "prod" and document["generation"] > 0
