"""Sessions of admins: listed, ended one by one or all at once, and by a change of the password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite, base62

AGENT = "Browser/1.0 (a test)"


class Admin:
    """An admin with a password, who signs in as often as is wanted."""

    def __init__(self, suite: Suite, role: str) -> None:
        self.suite, self.role = suite, role
        self.password = base62(20)
        user = {"username": f"sessions-{base62(8).lower()}", "password": self.password, "role": role}
        answer = suite.admin("POST", "/admin/users", json=user)
        assert answer.status_code == 200, answer.text
        self.id, self.username = answer.json()["adminUser"]["id"], user["username"]

    @contextmanager
    def browser(self, password: str | None = None, agent: str = AGENT) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.suite.admin_url, timeout=30, headers={"User-Agent": agent}, verify=self.suite.verify) as http:
            answer = http.post("/admin/session", json={"username": self.username, "password": password or self.password})
            assert answer.status_code == 200, answer.text
            http.headers["X-CSRF-Token"] = answer.json()["csrfToken"]
            yield http


@pytest.fixture
def viewer(suite: Suite) -> Admin:
    return Admin(suite, "viewer")


@pytest.fixture
def owner(suite: Suite) -> Admin:
    return Admin(suite, "owner")


def sessions(http: httpx.Client, query: str = "") -> list[dict[str, Any]]:
    answer = http.get(f"/admin/sessions{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["sessions"])


def ended(http: httpx.Client) -> bool:
    """Positive answers about a credential are kept for up to a second."""
    return bool(eventually(lambda: http.get("/admin/session").status_code == 401, "the end of a session"))


def test_an_admin_sees_the_own_sessions_newest_first(viewer: Admin) -> None:
    with viewer.browser(agent="First/1") as first, viewer.browser(agent="Second/2") as second:
        seen = sessions(first)
        assert [s["userAgent"] for s in seen] == ["Second/2", "First/1"] and [s.get("current", False) for s in seen] == [False, True]
        assert all(s["adminId"] == viewer.id and s["address"] in ("127.0.0.1", "::1") and len(s["id"]) == 64 for s in seen)
        assert all(s["createdAt"] <= s["lastUsedAt"] < s["expiresAt"] for s in seen)
        assert second.delete("/admin/session").status_code == 200
        assert [s["userAgent"] for s in sessions(first)] == ["First/1"]


def test_one_session_is_ended_by_its_id(viewer: Admin) -> None:
    with viewer.browser() as first, viewer.browser() as second:
        (other,) = [s["id"] for s in sessions(first) if not s.get("current")]
        assert first.delete(f"/admin/sessions/{other}").status_code == 200
        assert ended(second) and first.get("/admin/session").status_code == 200
        assert first.delete(f"/admin/sessions/{other}").status_code == 404
        assert first.delete("/admin/sessions/nonsense").status_code == 400


def test_others_sessions_are_an_owners_to_see_and_end(suite: Suite, viewer: Admin, owner: Admin) -> None:
    with viewer.browser() as theirs, owner.browser() as mine:
        assert theirs.get(f"/admin/sessions?adminId={owner.id}").status_code == 403
        (own_id,) = [s["id"] for s in sessions(mine)]
        assert theirs.delete(f"/admin/sessions/{own_id}").status_code == 404
        assert theirs.delete(f"/admin/users/{owner.id}/sessions").status_code == 403
        (their_id,) = [s["id"] for s in sessions(mine, f"?adminId={viewer.id}")]
        assert mine.delete(f"/admin/sessions/{their_id}").status_code == 200
        assert ended(theirs) and sessions(mine, f"?adminId={viewer.id}") == []
        assert mine.get(f"/admin/sessions?adminId={'0' * 24}").status_code == 404
    entries = suite.shown(f"/admin/audit?action=session.revoke&target={viewer.id}")["entries"]
    assert entries and entries[0]["actorName"] == owner.username


def test_all_sessions_are_ended_at_once(suite: Suite, viewer: Admin) -> None:
    with viewer.browser() as first, viewer.browser() as second:
        assert first.delete(f"/admin/users/{viewer.id}/sessions").status_code == 200
        assert ended(first) and ended(second)
        with viewer.browser() as again:
            assert len(sessions(again)) == 1
            assert suite.admin("DELETE", f"/admin/users/{viewer.id}/sessions").status_code == 200, "an owner's admin key may"
            assert ended(again)
    assert suite.admin("DELETE", f"/admin/users/{'0' * 24}/sessions").status_code == 404


def test_an_admin_key_has_no_sessions_of_its_own(suite: Suite, viewer: Admin) -> None:
    assert suite.admin("GET", "/admin/sessions").json()["error"]["status"] == "FAILED_PRECONDITION"
    with viewer.browser():
        assert len(suite.shown(f"/admin/sessions?adminId={viewer.id}")["sessions"]) == 1
    body = {"currentPassword": "x" * 12, "newPassword": "y" * 12}
    assert suite.admin("POST", "/admin/session/password", json=body).json()["error"]["status"] == "FAILED_PRECONDITION"


def test_a_changed_password_ends_every_session(suite: Suite, viewer: Admin) -> None:
    new = base62(20)
    with viewer.browser() as first, viewer.browser() as second:
        changed = first.post("/admin/session/password", json={"currentPassword": viewer.password, "newPassword": new})
        assert changed.status_code == 200, changed.text
        assert ended(first) and ended(second)
    with httpx.Client(base_url=suite.admin_url, verify=suite.verify, timeout=30) as http:
        old = http.post("/admin/session", json={"username": viewer.username, "password": viewer.password})
        assert old.status_code == 401
    with viewer.browser(new) as again:
        assert len(sessions(again)) == 1
    entries = suite.shown(f"/admin/audit?action=admin_user.change_password&target={viewer.id}")["entries"]
    assert [e["phase"] for e in entries] == ["result", "intent"] and new not in str(entries) and viewer.password not in str(entries)


def test_a_wrong_current_password_changes_nothing_and_is_throttled(viewer: Admin) -> None:
    with viewer.browser() as http:
        for body, field in (
            ({"currentPassword": "wrong" * 3, "newPassword": base62(20)}, "currentPassword"),
            ({"currentPassword": viewer.password, "newPassword": "short"}, "newPassword"),
            ({"currentPassword": viewer.password, "newPassword": viewer.password}, "newPassword"),
            ({"newPassword": base62(20)}, "currentPassword"),
        ):
            answer = http.post("/admin/session/password", json=body)
            assert answer.status_code == 400, answer.text
            assert field in answer.text
        assert http.get("/admin/session").status_code == 200, "a mistake does not sign anybody out"
        statuses = [http.post("/admin/session/password", json={"currentPassword": base62(12), "newPassword": base62(20)}).status_code for _ in range(12)]
        assert statuses[-1] == 429 and set(statuses) == {400, 429}
