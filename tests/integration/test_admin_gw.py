"""admin-gw with auth only: what it says of backends that are away, and its own edges."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from harness.ports import eventually
from harness.raw_http import request_bytes
from harness.suite import Suite

KEYS = "/admin/api-keys"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("admin-gw")).start(only=("mongo", "redis", "auth", "admin-gw"))
    yield suite
    statuses = suite.stop()
    assert statuses["admin-gw"] == 0


def test_a_backend_that_is_away_is_503_and_the_others_serve(stack: Suite) -> None:
    assert stack.admin("GET", KEYS).status_code == 200
    for path in ("/admin/usage", "/admin/logs", "/admin/metrics", "/admin/providers", "/admin/models"):
        started = time.monotonic()
        answer = stack.admin("GET", path)
        assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE"), path
        assert time.monotonic() - started < 10


def test_without_auth_it_is_not_ready_and_recovers_by_itself(stack: Suite) -> None:
    stack.processes["auth"].kill()
    try:
        eventually(lambda: httpx.get(stack.ops_url("admin-gw"), timeout=30).status_code == 503, "not ready")
        assert httpx.get(stack.ops_url("admin-gw", "/healthz"), timeout=30).status_code == 200
        answer = stack.admin("GET", KEYS)
        assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")
    finally:
        stack.processes["auth"].start()
    stack.await_ready("auth", "admin-gw")
    eventually(lambda: stack.admin("GET", KEYS).status_code == 200, "auth is back")


SMUGGLED = {
    "length and chunked": "POST /admin/api-keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "POST /admin/api-keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "space before the colon": "GET /admin/api-keys HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "folding": "GET /admin/api-keys HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n 2\r\n\r\n",
    "two hosts": "GET /admin/api-keys HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED, ids=str)
def test_its_edge_is_as_strict_as_the_relays(stack: Suite, case: str) -> None:
    with stack.raw("admin") as raw:
        raw.send(SMUGGLED[case].encode())
        answer = raw.answer()
        assert answer is not None and answer.status == 400 and raw.is_closed()


def test_a_credential_given_twice_or_in_two_ways_is_not_guessed_at(stack: Suite) -> None:
    key = stack.admin_key
    two = f"GET {KEYS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nAuthorization: Bearer {key}x\r\n\r\n"
    with stack.raw("admin") as raw:
        raw.send(two.encode())
        answer = raw.answer()
        assert answer is not None and answer.status in (400, 401)
    cookies = f"session=lcses_{'a' * 43}; session=lcses_{'b' * 43}"
    with stack.raw("admin") as raw:
        raw.send(request_bytes("GET", KEYS, {"Cookie": cookies}))
        answer = raw.answer()
        assert answer is not None and answer.status == 401


def test_a_request_id_is_on_every_answer_and_ours(stack: Suite) -> None:
    seen = set()
    for path in (KEYS, "/admin/nothing", "/openapi.json", "/"):
        answer = httpx.get(stack.admin_url + path, headers={"X-Request-Id": "mine"}, timeout=30)
        assert answer.headers["x-request-id"] and answer.headers["x-request-id"] != "mine", path
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 4


def test_what_is_no_request_has_an_id_too(stack: Suite) -> None:
    ids = set()
    for sent in (b"GET /admin/session HTTP/1.1\r\n\r\n", request_bytes("GET", "/admin/session", {"X-Large": "a" * 40_000})):
        with stack.raw("admin") as raw:
            raw.send(sent)
            answer = raw.answer()
        assert answer is not None and answer.status in (400, 431)
        told = next(d["requestId"] for d in answer.json()["error"]["details"] if "requestId" in d)
        assert told == answer.header("x-request-id")
        ids.add(told)
    assert len(ids) == 2


def test_secrets_in_paths_and_queries_stay_out_of_its_log(stack: Suite) -> None:
    answers = [
        stack.admin("GET", f"{KEYS}?q=canary-in-query"),
        stack.admin("GET", KEYS, headers={"X-Thing": "canary-in-header", "Cookie": "session=canary-in-cookie"}),
    ]
    for answer in answers:
        eventually(lambda: answer.headers["x-request-id"] in stack.processes["admin-gw"].text(), "the request's line")
    text = stack.processes["admin-gw"].text()
    assert "canary-in" not in text and stack.admin_key not in text
