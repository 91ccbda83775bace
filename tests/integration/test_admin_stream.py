"""Streams over REST: GET /admin/metrics/stream is WatchMetrics as server-sent events."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.ports import eventually, free_ports
from harness.process import Process
from harness.suite import Suite

STREAM = "/admin/metrics/stream"
KEEP_ALIVE = "200ms"  # shorter than the second between two messages
LIFE_S = 2
TIMER_S = 0.01  # timers count whole milliseconds


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("stream"))
    suite.processes["admin-gw"].env["ADMIN_GW_STREAM_KEEP_ALIVE"] = KEEP_ALIVE
    suite.start(only=("mongo", "redis", "auth", "usage", "admin-gw"))
    yield suite
    statuses = suite.stop()
    assert statuses["admin-gw"] == 0 and statuses["usage"] == 0


@contextmanager
def opened(suite: Suite, path: str = STREAM, base: str = "", **headers: str) -> Iterator[httpx.Response]:
    headers = {"Authorization": f"Bearer {suite.admin_key}", **headers}
    with httpx.stream("GET", (base or suite.admin_url) + path, headers=headers, timeout=30, verify=suite.verify) as answer:
        yield answer


def events(answer: httpx.Response) -> Iterator[tuple[str, str]]:
    """(name, data) of each event; a comment is ("", "")."""
    name, data = "", ""
    for line in answer.iter_lines():
        assert re.match(r"(data: |event: error$|: keep-alive$|$)", line), line
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            assert not data, "one line of data an event"
            data = line.removeprefix("data: ")
        elif not line:
            yield name, data
            name, data = "", ""


def messages(said: Iterator[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for name, data in said:
        assert not name, data
        if data:
            yield json.loads(data)


def error_at_end(said: Iterator[tuple[str, str]]) -> dict[str, Any]:
    *_, (name, data) = said
    assert name == "error", data
    error: dict[str, Any] = json.loads(data)["error"]
    return error


def streams_ended(suite: Suite) -> list[dict[str, Any]]:
    return [e for e in suite.processes["admin-gw"].events("request_finished") if e.get("rpc.method") == "WatchMetrics"]


def watches_ended(suite: Suite) -> float:
    """How many calls of WatchMetrics usage has seen the end of."""
    text = httpx.get(suite.ops_url("usage", "/metrics"), timeout=30).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("rpc_server_calls_total{") and "WatchMetrics" in line)


def test_each_message_is_an_event_and_silence_a_comment(stack: Suite) -> None:
    with opened(stack, f"{STREAM}?windowSeconds=5") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-request-id"]
        assert "content-length" not in answer.headers
        said = events(answer)
        seen = [next(said) for _ in range(6)]
    metrics = [json.loads(data)["metrics"] for _, data in seen if data]
    assert metrics and all(m["windowSeconds"] == 5 and m["scope"] for m in metrics), metrics
    assert ("", "") in seen, "no comment within the second between two messages"


def test_it_shows_what_the_unary_rpc_shows(stack: Suite) -> None:
    with opened(stack) as answer:
        streamed = next(messages(events(answer)))["metrics"]
    assert streamed.keys() == stack.shown("/admin/metrics").keys()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"{STREAM}?windowSeconds=9999", {}, 400),
        (f"{STREAM}?nothing=1", {}, 400),
        (STREAM, {"Authorization": "Bearer lcadm_" + "a" * 44}, 401),
        (STREAM, {"Authorization": ""}, 401),
        (STREAM, {"Host": "evil.example"}, 403),
    ],
)
def test_what_fails_before_the_first_event_is_an_answer_like_any_other(stack: Suite, path: str, headers: dict[str, str], status: int) -> None:
    with opened(stack, path, **headers) as answer:
        answer.read()
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json" and answer.json()["error"]["code"] == status


def test_a_post_is_405_and_a_head_has_no_body(stack: Suite) -> None:
    answer = stack.admin("POST", STREAM)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    before = watches_ended(stack)
    answer = stack.admin("HEAD", STREAM)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "text/event-stream", b"")
    assert stack.admin("HEAD", STREAM, credential="lcadm_" + "a" * 44).status_code == 401
    eventually(lambda: watches_ended(stack) > before, "the end of its call")


def test_a_caller_that_leaves_ends_the_call(stack: Suite) -> None:
    ended, before = len(streams_ended(stack)), watches_ended(stack)
    with opened(stack) as one, opened(stack) as two:
        next(messages(events(one))), next(messages(events(two)))
    eventually(lambda: watches_ended(stack) >= before + 2, "the end of both calls")
    eventually(lambda: [e["complete"] for e in streams_ended(stack)[ended:]] == [False, False], "both in the log")
    assert stack.admin("GET", "/admin/metrics").status_code == 200


def test_a_backend_that_goes_is_an_event_and_the_end(stack: Suite) -> None:
    with opened(stack) as answer:
        said = events(answer)
        next(messages(said))
        stack.processes["usage"].kill()
        try:
            error = error_at_end(said)
        finally:
            stack.processes["usage"].start()
            stack.await_ready("usage")
    assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
    assert stack.processes["usage"].env["USAGE_GRPC_LISTEN"] not in json.dumps(error), "where the backend is, is nobody's business"


@pytest.fixture
def other(stack: Suite, tmp_path: Path) -> Iterator[tuple[str, Process]]:
    """Another admin-gw on the same backends: its address, and the process."""
    port, ops_port = free_ports(2)
    first = stack.processes["admin-gw"]
    env = {
        **first.env,
        "ADMIN_GW_LISTEN": f"127.0.0.1:{port}",
        "ADMIN_GW_OPS_LISTEN": f"127.0.0.1:{ops_port}",
        "ADMIN_GW_STREAM_LIFE": f"{LIFE_S}s",
        "ADMIN_GW_SHUTDOWN_GRACE": "15s",
    }
    process = Process("admin-gw-2", first.command, tmp_path / "admin-gw.log", env)
    process.start()

    base = stack.admin_url.rsplit(":", 1)[0] + f":{port}"

    def reaches_usage() -> bool:
        return httpx.get(f"{base}/admin/metrics", headers={"Authorization": f"Bearer {stack.admin_key}"}, timeout=30).status_code == 200

    eventually(reaches_usage, "the other admin-gw, and usage behind it")
    yield base, process
    assert process.stop() == 0


def test_a_stream_has_an_end_so_that_its_credential_is_asked_for_again(stack: Suite, other: tuple[str, Process]) -> None:
    base, process = other
    started = time.monotonic()
    with opened(stack, base=base) as answer:
        assert all(not name for name, _ in events(answer)), "an end, not a failure"
    assert time.monotonic() - started >= LIFE_S - TIMER_S
    eventually(lambda: [e["complete"] for e in process.events("request_finished") if e["url.path"].endswith("/stream")] == [True], "its line in the log")


def test_a_gateway_that_shuts_down_says_so_and_does_not_wait(stack: Suite, other: tuple[str, Process]) -> None:
    base, process = other
    with opened(stack, base=base) as answer:
        said = events(answer)
        next(messages(said))
        started = time.monotonic()
        assert process.stop() == 0
        error = error_at_end(said)
    assert time.monotonic() - started < 10, "it waited for the stream"
    assert (error["status"], error["message"]) == ("UNAVAILABLE", "the gateway is shutting down")
