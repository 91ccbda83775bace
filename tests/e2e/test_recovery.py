"""Stores and services go away and come back: waits are bounded, errors clear, nothing is lost, nothing is counted twice."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness.ports import PATIENCE, eventually
from harness.raw_http import request_bytes
from harness.suite import SERVICES, Suite

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One suite for the tests that break things and mend them again."""
    suite = Suite(tmp_path_factory.mktemp("fragile")).start()
    yield suite
    statuses = suite.stop()
    assert not [name for name in SERVICES if statuses[name]], statuses


@pytest.fixture(autouse=True)
def everything_runs_again(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "fragile" in request.fixturenames:
        suite: Suite = request.getfixturevalue("fragile")
        for process in suite.processes.values():
            if not process.is_running:
                process.start()
        suite.await_ready()


def bounded(call: Any, seconds: float = 30.0) -> httpx.Response:
    """An answer that came within a bound, whatever it says."""
    started = time.monotonic()
    answer: httpx.Response = call()
    assert time.monotonic() - started < seconds * PATIENCE, f"took {time.monotonic() - started:.1f} s"
    return answer


def sums_and_rows_agree(suite: Suite, key_id: str, count: int) -> None:
    db = suite.mongo()

    def agreed() -> bool:
        rows = suite.rows(keyId=key_id)
        assert len(rows) == count and len({row["requestId"] for row in rows}) == count, len(rows)
        hours = list(db["api_metrics_hourly"].find({"apiKeyId": rows[0]["apiKeyId"]}))
        assert sum(hour["metrics"]["requests"]["total"] for hour in hours) == count
        assert sum(hour["metrics"]["cost"]["estimatedNanoUsd"] for hour in hours) == sum(row["usage"]["costNanoUsd"] for row in rows)
        return True

    eventually(agreed, f"{count} rows and their sums")


# ---- stores ----


def test_without_stores_at_start_the_services_wait_and_say_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    suite = Suite(tmp_path_factory.mktemp("bare")).start(without=("mongo", "redis"))
    try:
        for service in ("auth", "usage"):
            answer = eventually(lambda: (a := httpx.get(suite.ops_url(service), timeout=30)).status_code == 503 and a, f"{service} is not ready")
            assert "mongo" in answer.text.lower(), answer.text
            assert httpx.get(suite.ops_url(service, "/healthz"), timeout=30).status_code == 200
            with suite.rpc(service) as client:
                assert client.call("grpc.health.v1.Health/Check", {"service": ""}).status == 2, service  # NOT_SERVING
        answer = bounded(lambda: suite.admin("GET", "/admin/api-keys"))
        assert answer.status_code == 503 and answer.json()["error"]["status"] == "UNAVAILABLE"
        answer = eventually(lambda: (a := bounded(lambda: suite.chat("lc_prod_" + "a" * 50))) is not None and a, "the relay listens")
        assert answer.status_code in (401, 503) and answer.json()["error"]["code"]
        for name in ("mongo", "redis"):
            suite.processes[name].start()
        suite.await_ready()
        key = suite.make_key()
        suite.row(suite.chat(key["key"]).headers["x-request-id"])
        lines = [line for line in suite.processes["auth"].text().splitlines() if "mongo" in line.lower() and '"error"' in line.lower()]
        assert len(lines) < 20, "the change is logged, not every attempt"
    finally:
        suite.stop()


def test_mongodb_gone_in_flight_does_not_stop_known_keys_and_loses_no_row(fragile: Suite) -> None:
    key = fragile.make_key()
    fragile.row(fragile.chat(key["key"]).headers["x-request-id"])
    fragile.processes["mongo"].kill()
    for _ in range(5):
        assert bounded(lambda: fragile.chat(key["key"])).status_code == 200
    answer = bounded(lambda: fragile.admin("GET", "/admin/api-keys"), 20)
    assert (answer.status_code, answer.json()["error"]["status"]) in ((503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")), answer.text
    answer = bounded(lambda: fragile.admin("POST", "/admin/api-keys", json={"name": "x"}), 20)
    assert answer.status_code in (503, 504), answer.text
    fragile.processes["mongo"].start()
    eventually(lambda: fragile.admin("GET", "/admin/api-keys").status_code == 200, "auth is back")
    sums_and_rows_agree(fragile, key["keyId"], 6)


def test_redis_gone_in_flight_stops_no_request_and_sign_in_comes_back(fragile: Suite) -> None:
    key = fragile.make_key()
    fragile.processes["redis"].kill()
    for _ in range(3):
        assert bounded(lambda: fragile.chat(key["key"])).status_code == 200
    assert bounded(lambda: fragile.admin("POST", f"/admin/api-keys/{key['id']}/suspend", json={})).status_code == 200
    eventually(lambda: fragile.chat(key["key"]).status_code == 403, "changes go on without Redis")
    credentials = {"username": "admin", "password": fragile.owner_password}
    answer = bounded(lambda: httpx.post(f"{fragile.admin_url}/admin/session", json=credentials, timeout=30))
    assert answer.status_code == 503, answer.text
    fragile.processes["redis"].start()
    eventually(
        lambda: httpx.post(f"{fragile.admin_url}/admin/session", json=credentials, timeout=30).status_code == 200, "sign-in"
    )


# ---- services ----


def test_auth_killed_known_keys_go_on_and_changes_apply_after_it_is_back(fragile: Suite) -> None:
    known, unseen = fragile.make_key(), fragile.make_key()
    assert fragile.chat(known["key"]).status_code == 200
    fragile.processes["auth"].kill()
    assert bounded(lambda: fragile.chat(known["key"])).status_code == 200
    answer = bounded(lambda: fragile.chat(unseen["key"]))
    assert answer.status_code == 503, answer.text
    assert bounded(lambda: fragile.admin("GET", "/admin/api-keys")).status_code == 503
    fragile.processes["auth"].start()
    fragile.await_ready()
    eventually(lambda: fragile.chat(unseen["key"]).status_code == 200, "an unseen key")
    eventually(lambda: fragile.admin("DELETE", f"/admin/api-keys/{known['id']}").status_code == 200, "revoke")
    eventually(lambda: fragile.chat(known["key"]).status_code == 401, "the watch is up again")


def test_usage_away_requests_go_on_and_their_rows_come_later(fragile: Suite) -> None:
    key = fragile.make_key()
    fragile.processes["usage"].kill()
    for i in range(20):
        assert fragile.chat(key["key"], stream=i % 2 == 0).status_code == 200
    assert bounded(lambda: fragile.get("/v1/usage", key["key"])).status_code in (503, 504)
    fragile.processes["usage"].start()
    sums_and_rows_agree(fragile, key["keyId"], 21)  # with the refused question for usage


def test_usage_killed_again_and_again_counts_every_request_once(fragile: Suite) -> None:
    key = fragile.make_key()
    stop = threading.Event()
    asked: list[int] = []

    def ask() -> None:
        while not stop.is_set():
            asked.append(fragile.chat(key["key"], "gpt-4o-mini").status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for at_least in (30, 60, 90):
            eventually(lambda: len(asked) >= at_least, "requests")
            fragile.restart("usage", kill=True)
    finally:
        stop.set()
        thread.join()
    assert set(asked) == {200}
    sums_and_rows_agree(fragile, key["keyId"], len(asked))


def test_a_relay_killed_in_mid_stream_bills_what_was_delivered_and_loses_no_answer(fragile: Suite) -> None:
    key = fragile.make_key()
    answered = [fragile.chat(key["key"]).headers["x-request-id"] for _ in range(30)]
    body = {"model": "gpt-4o-mini+slow-20+long-2000", "messages": [{"role": "user", "content": "Hello there"}], "stream": True}
    with fragile.raw("relay") as raw:
        raw.send(request_bytes("POST", CHAT, {"Authorization": f"Bearer {key['key']}"}, body))
        head = raw.answer(head_only=True)
        assert head is not None
        text = b""
        while b"word20" not in text:
            text += raw.receive()
        fragile.processes["relay"].kill()
    fragile.processes["relay"].start()
    fragile.await_ready("relay")
    row = fragile.row(str(head.header("x-request-id")))
    assert (row["outcome"], row["response"]["error"], row["billingBasis"]) == ("interrupted", "interrupted", "estimated")
    assert 0 < row["usage"]["completionTokens"] < 2000 and row["usage"]["costNanoUsd"] > 0
    assert fragile.chat(key["key"]).status_code == 200
    sums_and_rows_agree(fragile, key["keyId"], 32)
    assert {r["requestId"] for r in fragile.rows(keyId=key["keyId"])} > set(answered)


@pytest.mark.parametrize("service", ["admin-gw", "relay"])
def test_a_killed_front_comes_back_by_itself(fragile: Suite, service: str) -> None:
    key = fragile.make_key()
    fragile.restart(service, kill=True)
    eventually(lambda: fragile.admin("GET", f"/admin/api-keys/{key['id']}").status_code == 200, "REST")
    eventually(lambda: fragile.chat(key["key"]).status_code == 200, "chat")
    eventually(lambda: fragile.admin("GET", "/admin/providers").status_code == 200, "the way to the relay")


# ---- shutdown ----


def test_sigterm_lets_a_short_stream_finish_and_ends_a_long_one_with_an_error(fragile: Suite) -> None:
    key = fragile.make_key()
    answers: dict[str, httpx.Response] = {}

    def ask(model: str) -> None:
        answers[model] = fragile.chat(key["key"], model, stream=True)

    started = fragile.upstream_stats()["requests"]
    models = ["gpt-4o-mini+slow-20+long-40", "gpt-4o-mini+slow-20+long-2000"]
    threads = [threading.Thread(target=ask, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    fragile.upstream_stats(f"requests={started + 2}")
    fragile.processes["relay"].send(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert fragile.processes["relay"].wait() == 0
    short, long = (answers[model].text for model in models)
    assert short.rstrip().endswith("data: [DONE]") and "word40" in short
    last = json.loads(long.rstrip().rpartition("data: ")[2])
    assert last["error"]["code"] == "shutting_down" and "[DONE]" not in long
    fragile.processes["relay"].start()
    fragile.await_ready("relay")
    sums_and_rows_agree(fragile, key["keyId"], 2)


@pytest.mark.parametrize("service", SERVICES)
def test_sigterm_ends_a_service_with_0(fragile: Suite, service: str) -> None:
    started = time.monotonic()
    assert fragile.processes[service].stop() == 0
    assert time.monotonic() - started < 20 * PATIENCE
