"""The management REST: its routes, its shapes, and everything that can be wrong with a request."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from harness.raw_http import request_bytes
from harness.rpc import HTTP_FIELD, schema
from harness.suite import Suite, base62

KEYS = "/admin/api-keys"
ASKED_FOR = {  # DATA.md, Management API
    "GET /admin/api-keys", "POST /admin/api-keys", "GET /admin/api-keys/{id}", "PUT /admin/api-keys/{id}", "DELETE /admin/api-keys/{id}",
    "POST /admin/api-keys/{id}/regenerate", "POST /admin/api-keys/{id}/suspend", "POST /admin/api-keys/{id}/resume",
    "GET /admin/usage", "GET /admin/usage/{apiKeyId}", "GET /admin/metrics", "GET /admin/costs", "GET /admin/logs",
    "GET /admin/alerts", "POST /admin/alerts",
}
ADDED = {
    "PATCH /admin/api-keys/{id}", "POST /admin/session", "GET /admin/session", "DELETE /admin/session",
    "POST /admin/users", "GET /admin/users", "PUT /admin/users/{id}", "PATCH /admin/users/{id}", "DELETE /admin/users/{id}",
    "POST /admin/admin-keys", "GET /admin/admin-keys", "DELETE /admin/admin-keys/{id}", "GET /admin/audit", "GET /admin/audit/verify",
    "POST /admin/alert-rules", "GET /admin/alert-rules", "DELETE /admin/alert-rules/{id}",
    "POST /admin/providers", "GET /admin/providers", "GET /admin/providers/{name}", "PUT /admin/providers/{name}",
    "PATCH /admin/providers/{name}", "DELETE /admin/providers/{name}",
    "POST /admin/models", "GET /admin/models", "GET /admin/models/{id}", "PUT /admin/models/{id}", "PATCH /admin/models/{id}", "DELETE /admin/models/{id}", "POST /admin/models/try",
    *(f"{method} /admin/{each}/{path}" for each in ("providers/{name}", "models/{id}") for method, path in (("GET", "versions"), ("GET", "versions/{version}"), ("POST", "restore"))),
    "GET /admin/prices", "PUT /admin/prices", "GET /admin/prices/versions", "GET /admin/prices/export", "POST /admin/prices/import",
    "POST /admin/prices/rerate",
    "GET /admin/metrics/stream", "POST /admin/accounting/rebuild", "GET /admin/accounting/spools", "POST /admin/accounting/spools/{id}/lost", "GET /admin/accounting/losses",
    "GET /admin/accounting/rejects", "POST /admin/accounting/rejects/replay",
    "GET /admin/limits", "GET /admin/limits/{kind}", "GET /admin/limits/{kind}/{id}", "PUT /admin/limits/{kind}/{id}",
    "PATCH /admin/limits/{kind}/{id}", "DELETE /admin/limits/{kind}/{id}",
    "POST /admin/api-keys/{id}/signing-secret", "DELETE /admin/api-keys/{id}/signing-secret",
    "POST /admin/api-keys/{id}/librechat-key", "DELETE /admin/api-keys/{id}/librechat-key",
    "GET /admin/ledgers/silent", "POST /admin/ledgers/forgive",
    "GET /admin/settings", "PUT /admin/settings", "PATCH /admin/settings",
    "GET /admin/sessions", "DELETE /admin/sessions/{id}", "DELETE /admin/users/{id}/sessions", "POST /admin/session/password",
}


def error_of(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == status and error["status"] == name and error["message"], error
    assert answer.headers["content-type"].startswith("application/json") and answer.headers["x-request-id"]
    return error


def fields_of(error: dict[str, Any]) -> list[str]:
    bad = [d for d in error.get("details", []) if d["@type"] == "type.googleapis.com/google.rpc.BadRequest"]
    assert all(v["description"] for d in bad for v in d["fieldViolations"])
    return [v["field"] for d in bad for v in d["fieldViolations"]]


# ---- routes ----


def bindings() -> list[tuple[str, str]]:
    rules = [schema().option(method, HTTP_FIELD) for method in schema().methods()]
    flat = itertools.chain.from_iterable([rule, *rule.additional_bindings] for rule in rules)
    return [(kind.upper(), getattr(rule, kind)) for rule in flat if (kind := rule.WhichOneof("pattern"))]


def in_words_of_json(path: str) -> str:
    return path.replace("{api_key_id}", "{apiKeyId}")


def test_the_routes_are_the_asked_for_ones_and_the_ones_we_added() -> None:
    bound = {f"{method} {in_words_of_json(path)}" for method, path in bindings()}
    assert bound == ASKED_FOR | ADDED


@pytest.mark.smoke
def test_every_route_is_served_and_in_the_openapi_document(suite: Suite) -> None:
    document = httpx.get(f"{suite.admin_url}/openapi.json", timeout=30).json()
    for method, path in bindings():
        assert method.lower() in document["paths"][in_words_of_json(path)], (method, path)
        target = path.replace("{id}", "0" * 24).replace("{name}", "nobody").replace("{api_key_id}", "0" * 24).replace("{kind}", "clients").replace("{version}", "1")
        answer = httpx.request(method, suite.admin_url + target, json={} if method in ("POST", "PUT", "PATCH") else None, timeout=30)
        assert answer.status_code in (401, 400), (method, path, answer.text)  # it exists, and wants to know who asks


def references(node: Any) -> Any:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        yield from itertools.chain.from_iterable(map(references, node.values()))
    elif isinstance(node, list):
        yield from itertools.chain.from_iterable(map(references, node))


def test_the_openapi_document_is_whole(suite: Suite) -> None:
    document = httpx.get(f"{suite.admin_url}/openapi.json", timeout=30).json()
    assert document["openapi"].startswith("3.1") and document["info"]["title"] and document["info"]["version"]
    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    ids = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["responses"], path
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert all(p["required"] for p in operation.get("parameters", []) if p["in"] == "path")
            assert named == {part.strip("{}") for part in path.split("/") if part.startswith("{")}, path
    assert len(ids) == len(set(ids))


def test_unknown_paths_are_404_and_wrong_methods_405(suite: Suite) -> None:
    error_of(suite.admin("GET", "/admin/nothing"), 404, "NOT_FOUND")
    error_of(suite.admin("GET", f"{KEYS}/a/b/c"), 404, "NOT_FOUND")
    answer = suite.admin("DELETE", KEYS)
    assert answer.status_code == 405 and {m.strip() for m in answer.headers["allow"].split(",")} >= {"GET", "POST"}


# ---- keys: shapes ----

FULL = {
    "name": "whole key", "env": "stage", "userId": "0123456789abcdef01234567", "clientId": "app-1",
    "permissions": {"models": ["gpt-4o*"], "endpoints": ["/v1/chat/completions"], "maxTokens": 500, "features": {"streaming": True, "functionCalling": False, "vision": False}},
    "limits": {"requestsPerMinute": 60, "requestsPerDay": 1000, "tokensPerDay": 10**12, "tokensPerMonth": 10**13, "requestsInFlight": 8, "costLimit": 0.1},
    "security": {"ipWhitelist": ["10.0.0.0/8", "::1"], "domains": ["https://a.example"], "expiresAt": "2199-01-02T03:04:05.678Z"},
    "onDisconnect": "drain", "client": {"kind": "librechat"}, "maxAgeDays": 90,
}


def test_a_key_comes_back_as_it_was_made(suite: Suite) -> None:
    answer = suite.admin("POST", KEYS, json=FULL)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["key"].startswith("lc_stage_") and len(made["key"]) == len("lc_stage_") + 50
    key = made["apiKey"]
    for name, value in FULL.items():
        if name != "limits":
            assert key[name] == value, name
    assert key["limits"] == {**FULL["limits"], "costLimitNanoUsd": "100000000"}  # type: ignore[dict-item]
    assert key["status"] == "active" and key["etag"] and len(key["id"]) == 24 and made["key"].startswith(f"lc_stage_{key['keyId']}")
    assert key["createdAt"].endswith("Z") and "." in key["createdAt"]
    read = suite.admin("GET", f"{KEYS}/{key['id']}")
    assert read.json()["apiKey"] == key and made["key"] not in read.text


def test_an_owner_is_shown_as_it_is_stored_from_the_first_answer_on(suite: Suite) -> None:
    owner = "ABCDEF0123456789ABCDEF01"
    key = suite.make_key(userId=owner)
    assert key["userId"] == owner.lower() == suite.shown(f"{KEYS}/{key['id']}")["apiKey"]["userId"]
    moved = suite.admin("PATCH", f"{KEYS}/{key['id']}", json={"userId": owner[::-1]}).json()["apiKey"]
    assert moved["userId"] == owner[::-1].lower()


def test_defaults_are_stated(suite: Suite) -> None:
    key = suite.admin("POST", KEYS, json={"name": "plain"}).json()["apiKey"]
    assert key["env"] == "prod" and key["permissions"]["features"] == {"streaming": True, "functionCalling": True, "vision": True}
    assert key["onDisconnect"] == "close" and key["client"]["kind"] == "app"


BAD_KEYS: dict[str, tuple[Any, list[str]]] = {
    "no name": ({}, ["name"]),
    "unknown member": ({"name": "a", "colour": "red"}, ["colour"]),
    "unknown nested member": ({"name": "a", "permissions": {"modles": []}}, ["permissions.modles"]),
    "wrong type": ({"name": 5}, ["name"]),
    "number as text": ({"name": "a", "permissions": {"maxTokens": "many"}}, ["permissions.maxTokens"]),
    "fraction for a count": ({"name": "a", "permissions": {"maxTokens": 1.5}}, ["permissions.maxTokens"]),
    "list of a wrong type": ({"name": "a", "permissions": {"models": "gpt"}}, ["permissions.models"]),
    "item of a wrong type": ({"name": "a", "permissions": {"models": ["a", 7]}}, ["permissions.models[1]"]),
    "bool of a wrong type": ({"name": "a", "permissions": {"features": {"vision": "no"}}}, ["permissions.features.vision"]),
    "bad time": ({"name": "a", "security": {"expiresAt": "tomorrow"}}, ["security.expiresAt"]),
    "time that is over": ({"name": "a", "security": {"expiresAt": "2001-01-01T00:00:00Z"}}, ["security.expiresAt"]),
    "address with bits below its prefix": ({"name": "a", "security": {"ipWhitelist": ["10.0.0.1/8"]}}, ["security.ipWhitelist[0]"]),
    "prefix beyond its address": ({"name": "a", "security": {"ipWhitelist": ["::/129", "10.0.0.0/33", ""]}}, [f"security.ipWhitelist[{i}]" for i in range(3)]),
    "bad address": ({"name": "a", "security": {"ipWhitelist": ["10.0.0.0/8", "300.1.1.1"]}}, ["security.ipWhitelist[1]"]),
    "bad origin": ({"name": "a", "security": {"domains": ["app.example"]}}, ["security.domains[0]"]),
    "origin with a path": ({"name": "a", "security": {"domains": ["https://a.example/", "https://a.example/app"]}}, ["security.domains[0]", "security.domains[1]"]),
    "origin of all": ({"name": "a", "security": {"domains": ["*", "https://*.example", "null"]}}, [f"security.domains[{i}]" for i in range(3)]),
    "time before 1970": ({"name": "a", "security": {"expiresAt": "1969-12-31T23:59:59.999Z"}}, ["security.expiresAt"]),
    "zero limit": ({"name": "a", "limits": {"requestsPerDay": 0}}, ["limits.requestsPerDay"]),
    "negative limit": ({"name": "a", "limits": {"tokensPerDay": -1}}, ["limits.tokensPerDay"]),
    "no request in flight": ({"name": "a", "limits": {"requestsInFlight": 0}}, ["limits.requestsInFlight"]),
    "huge limit": ({"name": "a", "limits": {"requestsPerDay": 10**15 + 1}}, ["limits.requestsPerDay"]),
    "more a minute than is counted": ({"name": "a", "limits": {"requestsPerMinute": 10**8 + 1}}, ["limits.requestsPerMinute"]),
    "limit beyond int64": ({"name": "a", "limits": {"tokensPerMonth": 2**63}}, ["limits.tokensPerMonth"]),
    "limit that is no number": ({"name": "a", "limits": {"tokensPerMonth": "1e"}}, ["limits.tokensPerMonth"]),
    "fraction for a limit": ({"name": "a", "limits": {"requestsPerDay": 0.5}}, ["limits.requestsPerDay"]),
    "cost of nothing": ({"name": "a", "limits": {"costLimit": 0}}, ["limits.costLimit"]),
    "negative cost": ({"name": "a", "limits": {"costLimit": -0.01}}, ["limits.costLimit"]),
    "cost beyond exact doubles": ({"name": "a", "limits": {"costLimit": 9_007_199.01}}, ["limits.costLimit"]),
    "nano-cost beyond exact doubles": ({"name": "a", "limits": {"costLimitNanoUsd": str(2**53)}}, ["limits.costLimitNanoUsd"]),
    "nano-cost beyond int64": ({"name": "a", "limits": {"costLimitNanoUsd": "9223372036854775808"}}, ["limits.costLimitNanoUsd"]),
    "cost that is no number": ({"name": "a", "limits": {"costLimit": "NaN"}}, ["limits.costLimit"]),
    "two different costs": ({"name": "a", "limits": {"costLimit": 1, "costLimitNanoUsd": "5"}}, ["limits.costLimit"]),
    "read-only member": ({"name": "a", "status": "revoked"}, ["status"]),
    "bad env": ({"name": "a", "env": "PROD"}, ["env"]),
    "bad owner": ({"name": "a", "userId": "me"}, ["userId"]),
    "several at once": ({"name": 5, "colour": "red", "permissions": {"maxTokens": "x"}}, ["name", "colour", "permissions.maxTokens"]),
}


@pytest.mark.parametrize("case", BAD_KEYS, ids=str)
def test_a_bad_key_is_refused_with_every_path(suite: Suite, case: str) -> None:
    body, fields = BAD_KEYS[case]
    error = error_of(suite.admin("POST", KEYS, json=body), 400, "INVALID_ARGUMENT")
    assert sorted(fields_of(error)) == sorted(fields), error


def test_all_broken_rules_are_told_at_once(suite: Suite) -> None:
    error = error_of(suite.admin("POST", KEYS, json={"name": "", "env": "!", "limits": {"requestsPerMinute": 0}}), 400, "INVALID_ARGUMENT")
    assert sorted(fields_of(error)) == ["env", "limits.requestsPerMinute", "name"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"name":"a","name":"b"}', b'{"name":"\xff"}', b'{"name":' + b"[" * 200 + b"]" * 200 + b"}"])
def test_a_body_that_is_no_object_is_refused(suite: Suite, body: bytes) -> None:
    error_of(suite.admin("POST", KEYS, content=body, headers={"Content-Type": "application/json"}), 400, "INVALID_ARGUMENT")


# ---- keys: changes ----


def test_put_changes_what_is_in_the_body_and_null_clears(suite: Suite) -> None:
    key = suite.admin("POST", KEYS, json=FULL).json()["apiKey"]
    url = f"{KEYS}/{key['id']}"
    edited = suite.admin("PUT", url, json={"name": "new name", "limits": {"requestsPerDay": None}}).json()["apiKey"]
    assert edited["name"] == "new name" and edited["limits"] == {k: v for k, v in key["limits"].items() if k != "requestsPerDay"}
    assert edited["permissions"] == key["permissions"] and edited["etag"] != key["etag"]
    cleared = suite.admin("PATCH", url, json={"security": None}).json()["apiKey"]
    assert not cleared.get("security", {}).get("ipWhitelist") and "expiresAt" not in cleared.get("security", {})
    narrowed = suite.admin("PUT", f"{url}?updateMask=name", json={"name": "third", "clientId": "other"}).json()["apiKey"]
    assert narrowed["name"] == "third" and narrowed["clientId"] == "app-1"


def test_a_patch_that_changes_nothing_makes_no_version(suite: Suite) -> None:
    key = suite.admin("POST", KEYS, json=FULL).json()["apiKey"]
    url = f"{KEYS}/{key['id']}"
    shown = suite.shown(url)["apiKey"]
    same = {name: shown[name] for name in ("name", "clientId", "permissions", "limits", "security", "etag")}
    for body in (same, {"name": shown["name"]}, {"limits": {"requestsPerDay": 1000}}, {"privacy": None}):
        answer = suite.admin("PATCH", url, json=body)
        assert answer.status_code == 200 and answer.json()["apiKey"] == shown, answer.text
    assert {e["action"] for e in suite.shown(f"/admin/audit?target={key['id']}")["entries"]} == {"api_key.create"}
    error_of(suite.admin("PATCH", url, json={"name": shown["name"], "etag": "v99"}), 409, "ABORTED")
    assert suite.admin("PATCH", url, json={"name": "other"}).json()["apiKey"]["etag"] != shown["etag"]


@pytest.mark.parametrize("name", ["  ", "a\x85b", "\u202egnp", "a\u2028b", "\u2066a"])
def test_names_are_seen_as_they_are(suite: Suite, name: str) -> None:
    targets = [{"provider": "scripted"}]
    for path, body, fields in (
        (KEYS, {"name": name}, ["name"]),
        ("/admin/admin-keys", {"name": name, "role": "viewer"}, ["name"]),
        ("/admin/alert-rules", {"name": name, "kind": "errors", "threshold": 1, "model": name}, ["model", "name"]),
        ("/admin/models", {"model": name, "targets": targets}, ["model"]),
        ("/admin/providers", {"name": name, "kind": "openai", "baseUrl": "http://127.0.0.1:1/v1"}, ["name"]),
        ("/admin/users", {"username": name, "password": "p" * 20, "role": "viewer"}, ["username"]),
    ):
        assert sorted(fields_of(error_of(suite.admin("POST", path, json=body), 400, "INVALID_ARGUMENT"))) == fields, path


def test_put_refuses_unknown_and_read_only_members_with_their_path(suite: Suite) -> None:
    url = f"{KEYS}/{suite.make_key()['id']}"
    for body, field in (({"nmae": "x"}, "nmae"), ({"keyId": "x"}, "keyId"), ({"createdAt": "2026-01-01T00:00:00Z"}, "createdAt"), ({"env": "stage"}, "env")):
        assert fields_of(error_of(suite.admin("PUT", url, json=body), 400, "INVALID_ARGUMENT")) == [field], body


def test_a_stale_etag_is_refused_in_body_and_header(suite: Suite) -> None:
    key = suite.make_key()
    url = f"{KEYS}/{key['id']}"
    assert suite.admin("PUT", url, json={"name": "second", "etag": key["etag"]}).status_code == 200
    error_of(suite.admin("PUT", url, json={"name": "third", "etag": key["etag"]}), 409, "ABORTED")
    error_of(suite.admin("PUT", url, json={"name": "third"}, headers={"If-Match": f'"{key["etag"]}"'}), 409, "ABORTED")
    fresh = suite.admin("GET", url).json()["apiKey"]["etag"]
    assert suite.admin("PUT", url, json={"name": "third"}, headers={"If-Match": f'"{fresh}"'}).status_code == 200


@pytest.mark.parametrize("id_", ["f" * 24, "nonsense", "%00", "a" * 300, "..%2f..%2fx"])
@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/regenerate")])
def test_an_unknown_id_is_404_and_a_malformed_one_no_more_than_400(suite: Suite, id_: str, method: str, action: str) -> None:
    answer = suite.admin(method, f"{KEYS}/{id_}{action}", json={"name": "x"} if method == "PUT" else {} if method == "POST" else None)
    assert answer.status_code == 404 if id_ == "f" * 24 else answer.status_code in (400, 404), answer.text


# ---- keys: lists ----


def test_a_list_is_walked_by_cursor_newest_first(suite: Suite) -> None:
    client = base62(10)
    made = [suite.make_key(name=f"listed {i}", clientId=client)["id"] for i in range(7)]
    seen, cursor = [], ""
    while True:
        page = suite.admin("GET", f"{KEYS}?clientId={client}&pageSize=3&cursor={cursor}").json()
        seen += [key["id"] for key in page["apiKeys"]]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    assert seen == made[::-1]
    assert suite.admin("DELETE", f"{KEYS}/{made[0]}").status_code == 200
    ids = [key["id"] for key in suite.admin("GET", f"{KEYS}?clientId={client}").json()["apiKeys"]]
    assert ids == made[:0:-1]
    assert [k["id"] for k in suite.admin("GET", f"{KEYS}?clientId={client}&status=revoked").json()["apiKeys"]] == [made[0]]


def test_text_filters_are_substrings_never_patterns(suite: Suite) -> None:
    mark = base62(8)
    suite.make_key(name=f"{mark} a.c*[x] $where")
    for q, found in ((f"{mark} a.c*[x]", 1), (f"{mark} abc", 0), (f"{mark}.*", 0), ("$where", 1), (mark.lower() + "(", 0)):
        keys = suite.admin("GET", KEYS, params={"q": q}).json().get("apiKeys", [])
        assert len([k for k in keys if mark in k["name"]]) == found, q


def test_a_bad_page_or_cursor_is_refused(suite: Suite) -> None:
    for _ in range(2):
        suite.make_key(clientId="cursor-app")
    cursor = suite.admin("GET", f"{KEYS}?pageSize=1&clientId=cursor-app").json()["nextCursor"]
    assert suite.admin("GET", f"{KEYS}?pageSize=1&clientId=cursor-app&cursor={cursor}").status_code == 200
    flipped = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for query in (
        f"pageSize=1&clientId=another&cursor={cursor}", f"pageSize=1&clientId=cursor-app&cursor={flipped}", "cursor=garbage",
        "pageSize=501", "pageSize=-1", "pageSize=many", "status=sleeping", "colour=red", "pageSize=1&pageSize=2", "q=%ff",
    ):
        error_of(suite.admin("GET", f"{KEYS}?{query}"), 400, "INVALID_ARGUMENT")
    error_of(suite.admin("GET", f"/admin/logs?cursor={cursor}"), 400, "INVALID_ARGUMENT")


# ---- edges ----


def test_a_host_we_do_not_serve_and_bodies_too_large_are_refused(suite: Suite) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        with suite.raw("admin") as raw:
            raw.send(request_bytes("GET", KEYS, {"Authorization": f"Bearer {suite.admin_key}"}, host=host))
            answer = raw.answer()
            assert answer is not None and answer.status in (403, 421), answer
    answer = suite.admin("POST", KEYS, json={"name": "a" * (2 << 20)})
    assert answer.status_code == 413


def test_a_body_must_be_json_by_its_content_type(suite: Suite) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = suite.admin("POST", KEYS, content=b'{"name":"a"}', headers={"Content-Type": content_type} if content_type else {})
        assert answer.status_code == 415, answer.text
