"""Admins: sign-in, cookie, CSRF, roles, admin keys, and the audit log that says who did what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite, base62

KEYS = "/admin/api-keys"


@pytest.fixture
def browser(suite: Suite) -> Iterator[httpx.Client]:
    """Keeps cookies, as a browser does."""
    with httpx.Client(base_url=suite.admin_url, timeout=30) as http:
        yield http


def sign_in(http: httpx.Client, username: str, password: str) -> dict[str, Any]:
    answer = http.post("/admin/session", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def make_user(suite: Suite, role: str = "admin") -> dict[str, Any]:
    user = {"username": f"user-{base62(8).lower()}", "password": base62(20), "role": role}
    answer = suite.admin("POST", "/admin/users", json=user)
    assert answer.status_code == 200, answer.text
    assert user["password"] not in answer.text
    return {**answer.json()["adminUser"], "password": user["password"]}


@pytest.mark.smoke
def test_sign_in_gives_a_cookie_that_no_script_reads_and_a_csrf_token(suite: Suite, browser: httpx.Client) -> None:
    answer = browser.post("/admin/session", json={"username": "admin", "password": suite.owner_password})
    body = answer.json()
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Domain" not in cookie
    assert body["csrfToken"] and body["expiresAt"] and body["admin"]["role"] == "owner" and "token" not in body
    assert browser.cookies[suite.session_cookie] not in answer.text
    who = browser.get("/admin/session").json()
    assert who["admin"]["username"] == "admin" and who["csrfToken"] == body["csrfToken"]
    assert browser.get(KEYS).status_code == 200


def test_a_change_by_cookie_needs_the_csrf_token_of_the_session(suite: Suite, browser: httpx.Client) -> None:
    token = sign_in(browser, "admin", suite.owner_password)["csrfToken"]
    with httpx.Client(base_url=suite.admin_url, timeout=30) as other:
        foreign = sign_in(other, "admin", suite.owner_password)["csrfToken"]
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": foreign}, {"X-CSRF-Token": ""}):
        assert browser.post(KEYS, json={"name": "forged"}, headers=headers).status_code == 403, headers
    assert browser.post(KEYS, json={"name": "mine"}, headers={"X-CSRF-Token": token}).status_code == 200
    assert not [k for k in suite.shown(f"{KEYS}?q=forged").get("apiKeys", [])]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1.evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_a_page_of_another_site_can_change_nothing_and_not_sign_in(suite: Suite, browser: httpx.Client, headers: dict[str, str]) -> None:
    credentials = {"username": "admin", "password": suite.owner_password}
    assert browser.post("/admin/session", json=credentials, headers=headers).status_code == 403
    token = sign_in(browser, "admin", suite.owner_password)["csrfToken"]
    assert browser.post(KEYS, json={"name": "x"}, headers={**headers, "X-CSRF-Token": token}).status_code == 403
    own = {"Origin": suite.admin_url, "X-CSRF-Token": token}
    assert browser.post(KEYS, json={"name": "x"}, headers=own).status_code == 200


def test_sign_out_ends_the_session_for_good(suite: Suite, browser: httpx.Client) -> None:
    token = sign_in(browser, "admin", suite.owner_password)["csrfToken"]
    stolen = browser.cookies[suite.session_cookie]
    answer = browser.delete("/admin/session", headers={"X-CSRF-Token": token})
    assert answer.status_code == 200, answer.text
    # a positive answer of auth may be kept for a second
    eventually(lambda: httpx.get(suite.admin_url + KEYS, cookies={suite.session_cookie: stolen}, timeout=30).status_code == 401, "signed out")


def test_wrong_passwords_and_unknown_users_look_the_same_and_are_throttled(suite: Suite) -> None:
    user = make_user(suite)
    answers = [
        httpx.post(f"{suite.admin_url}/admin/session", json={"username": name, "password": "wrong password"}, timeout=30)
        for name in (user["username"], "nobody-of-that-name")
    ]
    assert {a.status_code for a in answers} == {401}
    assert answers[0].json()["error"]["message"] == answers[1].json()["error"]["message"]

    def is_throttled() -> bool:
        body = {"username": user["username"], "password": "wrong password"}
        answer = httpx.post(f"{suite.admin_url}/admin/session", json=body, timeout=30)
        assert answer.status_code == 401 or 0 < int(answer.headers["retry-after"]) <= 900
        return answer.status_code == 429

    for _ in range(50):
        if is_throttled():
            break
    else:
        raise AssertionError("50 wrong passwords were not throttled")
    good = {"username": user["username"], "password": user["password"]}
    assert httpx.post(f"{suite.admin_url}/admin/session", json=good, timeout=30).status_code == 429


@pytest.mark.parametrize("body", [{}, {"username": "admin"}, {"username": 5, "password": "x"}, {"username": "a", "password": "b", "address": "10.0.0.1"}, {"token": "x"}])
def test_a_sign_in_that_is_none_is_refused(suite: Suite, body: Any) -> None:
    assert httpx.post(f"{suite.admin_url}/admin/session", json=body, timeout=30).status_code in (400, 401)


@pytest.mark.parametrize("credential", ["", "Bearer ", "Bearer nonsense", "Basic YTpi"])
def test_without_a_credential_everything_is_401(suite: Suite, credential: str) -> None:
    headers = {"Authorization": credential.strip()} if credential else {}
    for method, path in (("GET", KEYS), ("POST", KEYS), ("GET", "/admin/usage"), ("GET", "/admin/logs"), ("GET", "/admin/metrics")):
        answer = httpx.request(method, suite.admin_url + path, headers=headers, json={"name": "x"} if method == "POST" else None, timeout=30)
        assert answer.status_code == 401 and answer.json()["error"]["status"] == "UNAUTHENTICATED", (method, path)
    assert httpx.get(f"{suite.admin_url}/openapi.json", timeout=30).status_code == 200


def test_roles_end_where_they_end(suite: Suite, shared_key: str) -> None:
    viewer = suite.admin("POST", "/admin/admin-keys", json={"name": "v", "role": "viewer"}).json()["key"]
    admin = suite.admin("POST", "/admin/admin-keys", json={"name": "a", "role": "admin"}).json()["key"]
    assert suite.admin("GET", KEYS, credential=viewer).status_code == 200
    user = {"username": "climber", "password": base62(20), "role": "owner"}
    for credential, method, path, body in (
        (viewer, "POST", KEYS, {"name": "x"}), (admin, "POST", "/admin/users", user), (admin, "GET", "/admin/admin-keys", None),
    ):
        answer = suite.admin(method, path, credential=credential, json=body)
        assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED"), path
    assert suite.admin("POST", KEYS, credential=admin, json={"name": "by an admin"}).status_code == 200
    assert suite.admin("GET", KEYS, credential=shared_key).status_code == 401, "an API key is no admin's credential"


def test_a_new_password_or_role_ends_the_sessions(suite: Suite) -> None:
    for change in ({"password": base62(20)}, {"role": "viewer"}):
        user = make_user(suite)
        with httpx.Client(base_url=suite.admin_url, timeout=30) as http:
            sign_in(http, user["username"], user["password"])
            assert http.get(KEYS).status_code == 200
            answer = suite.admin("PUT", f"/admin/users/{user['id']}", json=change)
            assert answer.status_code == 200, answer.text
            eventually(lambda: http.get(KEYS).status_code == 401, f"the session is over after {list(change)}")


def test_a_change_that_changes_nothing_ends_no_session(suite: Suite) -> None:
    user = make_user(suite)
    path = f"/admin/users/{user['id']}"
    same = {name: suite.admin("PUT", path, json={"status": "active"}).json()["adminUser"][name] for name in ("role", "status", "etag")}
    with httpx.Client(base_url=suite.admin_url, timeout=30) as http:
        sign_in(http, user["username"], user["password"])
        answer = suite.admin("PUT", path, json=same)
        assert answer.status_code == 200 and answer.json()["adminUser"]["etag"] == same["etag"], answer.text
        with suite.rpc("auth", suite.admin_key) as client:
            client.call("apirelay.auth.v1.AdminService/UpdateAdminUser", {"id": user["id"]})
        assert http.get("/admin/session").status_code == 200


def test_a_read_only_member_is_named_as_it_was_sent(suite: Suite) -> None:
    path = f"/admin/users/{make_user(suite)['id']}"
    for field in ("createdAt", "lastSignInAt", "username"):
        error = suite.admin("PUT", path, json={field: None}).json()["error"]
        assert [v["field"] for v in error["details"][0]["fieldViolations"]] == [field], error


def test_the_last_owner_stays(suite: Suite) -> None:
    owners = [u for u in suite.shown("/admin/users?pageSize=500")["adminUsers"] if u["role"] == "owner" and u["username"] == "admin"]
    other = make_user(suite, "owner")
    assert suite.admin("DELETE", f"/admin/users/{other['id']}").status_code == 200
    for user in [u for u in suite.shown("/admin/users?pageSize=500")["adminUsers"] if u["role"] == "owner" and u["id"] != owners[0]["id"]]:
        suite.admin("DELETE", f"/admin/users/{user['id']}")
    for answer in (
        suite.admin("DELETE", f"/admin/users/{owners[0]['id']}"),
        suite.admin("PUT", f"/admin/users/{owners[0]['id']}", json={"role": "admin"}),
    ):
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION"), answer.text


def test_admin_keys_expire_and_are_revoked(suite: Suite) -> None:
    soon = (datetime.now(timezone.utc) + timedelta(seconds=1.5)).isoformat()
    expiring = suite.admin("POST", "/admin/admin-keys", json={"name": "short", "role": "viewer", "expiresAt": soon}).json()
    revoked = suite.admin("POST", "/admin/admin-keys", json={"name": "gone", "role": "viewer"}).json()
    assert suite.admin("GET", KEYS, credential=expiring["key"]).status_code == 200
    assert suite.admin("GET", KEYS, credential=revoked["key"]).status_code == 200
    assert suite.admin("DELETE", f"/admin/admin-keys/{revoked['adminKey']['id']}").status_code == 200
    for made in (expiring, revoked):
        eventually(lambda: suite.admin("GET", KEYS, credential=made["key"]).status_code == 401, made["adminKey"]["name"])
    document = suite.mongo()["admin_keys"].find_one({"name": "gone"})
    assert revoked["key"] not in str(document) and revoked["key"][-32:] not in str(document)


def test_every_change_is_in_the_audit_log_and_the_chain_holds(suite: Suite) -> None:
    key = suite.make_key(name="audited")
    suite.admin("POST", f"{KEYS}/{key['id']}/suspend", json={"reason": "for the log"})
    suite.admin("PUT", f"{KEYS}/{key['id']}", json={"limits": {"requestsPerDay": 0}})  # refused, and told
    entries = suite.shown(f"/admin/audit?target={key['id']}")["entries"]
    actions = {(e["action"], e["phase"]) for e in entries}
    assert {phase for action, phase in actions if "suspend" in action} == {"intent", "result"}
    assert all(e["actorKind"] and e["actorId"] and e["at"] for e in entries)
    assert {e["outcome"] for e in entries if e["phase"] == "result"} >= {"ok"} or {e["outcome"] for e in entries if e["phase"] == "result"} >= {"OK"}
    verified = suite.shown("/admin/audit/verify")
    assert verified["intact"] is True and verified["checked"] > 0
    sequence = [d["seq"] for d in suite.mongo()["audit_log"].find().sort("seq", 1)]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
    assert key["key"] not in str(entries)


def test_alert_rules_and_accounting_are_in_the_audit_log(suite: Suite) -> None:
    """What usage does for admins; a dry run is none of it."""

    def told(target: str) -> list[tuple[str, str, str]]:
        entries = suite.shown(f"/admin/audit?target={target}&pageSize=500")["entries"]
        return [(e["action"], e["phase"], e["outcome"]) for e in reversed(entries)]

    made = suite.admin("POST", "/admin/alert-rules", json={"name": "logged", "kind": "errors", "threshold": 1})
    rule = made.json()["alertRule"]["id"]
    assert suite.admin("DELETE", f"/admin/alert-rules/{rule}").status_code == 200
    assert suite.admin("DELETE", f"/admin/alert-rules/{rule}").status_code == 404
    (spool,) = [s["id"] for s in suite.shown("/admin/accounting/spools")["spools"] if s["state"] == "live"][:1]
    assert suite.admin("POST", f"/admin/accounting/spools/{spool}/lost", json={}).status_code == 400, "its relay lives"
    hours, rebuilds = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}, len(told("hours"))
    for dry_run in (True, False):
        suite.admin("POST", "/admin/accounting/rebuild", json={**hours, "dryRun": dry_run})
    assert suite.admin("POST", "/admin/accounting/rejects/replay", json={"reason": "bad_id"}).status_code == 200

    assert told(rule) == [
        ("alert_rule.create", "intent", ""),
        ("alert_rule.create", "result", "ok"),
        ("alert_rule.delete", "intent", ""),
        ("alert_rule.delete", "result", "ok"),
        ("alert_rule.delete", "intent", ""),
        ("alert_rule.delete", "result", "NOT_FOUND"),
    ]
    (intent, *_) = [e for e in suite.shown(f"/admin/audit?target={rule}")["entries"] if e["action"] == "alert_rule.create" and e["phase"] == "intent"]
    assert '"name":"logged"' in intent["payloadJson"] and intent["requestId"] and intent["address"]
    assert (intent["actorKind"], intent["actorName"]) == ("admin_key", "bootstrap")
    assert told(spool)[-2:] == [("accounting.lose_spool", "intent", ""), ("accounting.lose_spool", "result", "FAILED_PRECONDITION")]
    assert [entry[:2] for entry in told("hours")[rebuilds:]] == [("accounting.rebuild_hours", "intent"), ("accounting.rebuild_hours", "result")]
    assert told("rejects")[-2:] == [("accounting.replay_rejects", "intent", ""), ("accounting.replay_rejects", "result", "ok")]
