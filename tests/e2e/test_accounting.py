"""Every answered request is one row with the right tokens and cost, and every place that shows sums shows the same."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from bson import ObjectId
from bson.int64 import Int64
from harness.ports import eventually, kept
from harness.suite import Suite

# nano-USD a token, as in deploy/config/prices.yaml: prompt, cached prompt, completion
GPT_4O = (2_500, 1_250, 10_000)
GPT_4O_MINI = (150, 75, 600)
EMBEDDING_SMALL = (20, 20, 0)


def cost_of(price: tuple[int, int, int], prompt: int, completion: int, cached: int = 0) -> int:
    return (prompt - cached) * price[0] + cached * price[1] + completion * price[2]


def chat(text: str = "Hello there", **body: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **body}


CHAT = "/v1/chat/completions"
# what is asked → prompt, completion, cached, reasoning tokens and the cost
CALLS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int, int], int]] = {
    "json": (CHAT, chat(model="gpt-4o"), (5, 3, 0, 0), cost_of(GPT_4O, 5, 3)),
    "stream": (CHAT, chat(model="gpt-4o", stream=True), (5, 3, 0, 0), cost_of(GPT_4O, 5, 3)),
    "stream with usage": (
        CHAT, chat(model="gpt-4o", stream=True, stream_options={"include_usage": True}), (5, 3, 0, 0), cost_of(GPT_4O, 5, 3),
    ),
    "usage on a content chunk": (
        CHAT, chat(model="gpt-4o-mini+usage-on-content", stream=True), (5, 3, 0, 0), cost_of(GPT_4O_MINI, 5, 3),
    ),
    "usage on every chunk": (
        CHAT, chat(model="gpt-4o-mini+usage-every-chunk", stream=True), (5, 3, 0, 0), cost_of(GPT_4O_MINI, 5, 3),
    ),
    "cached and reasoning": (
        CHAT, chat(model="gpt-4o-mini+cached-2+reasoning-4"), (5, 7, 2, 4), cost_of(GPT_4O_MINI, 5, 7, 2),
    ),
    "cached and reasoning, streamed": (
        CHAT, chat(model="gpt-4o-mini+cached-2+reasoning-4", stream=True), (5, 7, 2, 4), cost_of(GPT_4O_MINI, 5, 7, 2),
    ),
    "several choices": (CHAT, chat(model="gpt-4o", n=3), (5, 9, 0, 0), cost_of(GPT_4O, 5, 9)),
    "long": (CHAT, chat(model="gpt-4o-mini+long-300", stream=True), (5, 300, 0, 0), cost_of(GPT_4O_MINI, 5, 300)),
    "one-byte writes": (CHAT, chat(model="gpt-4o-mini+bytes-1", stream=True), (5, 6, 0, 0), cost_of(GPT_4O_MINI, 5, 6)),
    "an alias has the price of its real name": (CHAT, chat(model="alias-gpt"), (5, 3, 0, 0), cost_of(GPT_4O, 5, 3)),
    "completion": (
        "/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello there"}, (2, 3, 0, 0), 2 * 500 + 3 * 1_500,
    ),
    "embedding": (
        "/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello there"}, (2, 0, 0, 0), cost_of(EMBEDDING_SMALL, 2, 0),
    ),
}


@pytest.mark.smoke
@pytest.mark.parametrize("case", CALLS, ids=str)
def test_the_row_stands_within_two_seconds_with_tokens_and_cost(suite: Suite, shared_key: str, case: str) -> None:
    path, body, (prompt, completion, cached, reasoning), cost = CALLS[case]
    answer = suite.post(path, shared_key, json=body)
    assert answer.status_code == 200, answer.text
    row = suite.row(answer.headers["x-request-id"])
    usage = row["usage"]
    assert (usage["promptTokens"], usage["completionTokens"], usage["totalTokens"]) == (prompt, completion, prompt + completion)
    assert (usage["cachedTokens"], usage["reasoningTokens"]) == (cached, reasoning)
    assert usage["costNanoUsd"] == cost
    assert usage["cost"] == pytest.approx(cost / 1e9)
    assert (row["outcome"], row["billingBasis"]) == ("complete", "reported")
    assert row["response"]["statusCode"] == 200 and not row["response"]["error"]
    assert row["request"]["model"] == body["model"] and row["request"]["endpoint"] == path


def test_a_row_has_the_asked_for_fields_in_their_types(suite: Suite) -> None:
    key = suite.make_key(clientId="some-app", userId="0123456789abcdef01234567", client={"kind": "trusted"})
    headers = {
        "User-Agent": "tester/1.0", "X-Request-Id": "client-id.1", "X-Relay-Conversation-Id": "talk 1", "X-Relay-Message-Id": "m-1",
        "X-Relay-Client-Version": "2.0", "X-Relay-End-User": "anna", "X-Stainless-Lang": "python", "X-Secret-Thing": "no",
        "Cookie": "no=1",
    }
    answer = suite.chat(key["key"], "gpt-4o", headers=headers, stream=True)
    before = datetime.now(timezone.utc)
    row = suite.row(answer.headers["x-request-id"])
    assert isinstance(row["_id"], ObjectId) and row["apiKeyId"] == ObjectId(key["id"])
    assert row["userId"] == ObjectId("0123456789abcdef01234567")
    assert abs((row["timestamp"] - before).total_seconds()) < 10
    assert row["request"]["method"] == "POST" and row["request"]["ip"] == "127.0.0.1" and row["request"]["userAgent"] == "tester/1.0"
    assert set(row["request"]["headers"]) <= {"content-type", "accept", "traceparent", "x-stainless-lang"}
    assert row["request"]["headers"]["x-stainless-lang"] == "python"
    assert row["metadata"] == {"conversationId": "talk 1", "messageId": "m-1", "clientVersion": "2.0"}
    plain = {"keyId": key["keyId"], "clientId": "some-app", "clientRequestId": "client-id.1", "endUser": "anna", "provider": "scripted"}
    assert {name: row[name] for name in plain} == plain
    assert row["stream"] is True and row["attempts"] == 1 and row["finishReason"] == "stop" and row["priceBookVersion"] == "2026-11"
    assert row["ttftMs"] >= 0 and row["repeatCount"] == 1
    for name in ("promptTokens", "completionTokens", "totalTokens", "costNanoUsd"):
        assert isinstance(row["usage"][name], Int64), name
    assert isinstance(row["usage"]["cost"], float) and row["response"]["duration"] >= row["ttftMs"]


def test_a_hundred_requests_with_the_same_client_id_are_a_hundred_rows(suite: Suite) -> None:
    key = suite.make_key(name="hundred")

    async def ask() -> list[str]:
        async with httpx.AsyncClient(base_url=suite.relay_url, timeout=30) as http:
            headers = {"Authorization": f"Bearer {key['key']}", "X-Request-Id": "always-the-same"}
            calls = [http.post(CHAT, headers=headers, json=chat(model="gpt-4o", stream=i % 2 == 0)) for i in range(100)]
            return [answer.headers["x-request-id"] for answer in await asyncio.gather(*calls)]

    ids = asyncio.run(ask())
    assert len(set(ids)) == 100 and "always-the-same" not in ids
    rows = eventually(lambda: (found := suite.rows(keyId=key["keyId"])) and len(found) >= 100 and found, "100 rows")
    assert sorted(row["requestId"] for row in rows) == sorted(ids)
    assert {row["clientRequestId"] for row in rows} == {"always-the-same"}


def test_a_row_is_there_within_two_seconds(suite: Suite) -> None:
    key = suite.make_key()

    def measure() -> float:
        request_id = suite.chat(key["key"]).headers["x-request-id"]
        answered = time.monotonic()
        suite.row(request_id)
        return time.monotonic() - answered

    kept(measure, 2.0, "the row")


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no model": ({"messages": []}, 400, "missing_required_parameter"),
    "unknown model": (chat(model="nobody-has-this"), 404, "model_not_found"),
    "model not allowed": (chat(model="gpt-4.1"), 404, "model_not_found"),
    "feature": (chat(model="gpt-4o", stream=True), 403, "permission_denied"),
    "max tokens": (chat(model="gpt-4o", max_tokens=1000), 400, "max_tokens_exceeded"),
}


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_refusal_is_a_row_that_costs_nothing(suite: Suite, case: str) -> None:
    body, status, error = REFUSALS[case]
    key = suite.make_key(permissions={"models": ["gpt-4o*", "nobody*"], "maxTokens": 100, "features": {"streaming": False}})
    answer = suite.post(CHAT, key["key"], json=body)
    assert answer.status_code == status, answer.text
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["response"]["statusCode"] == status and row["response"]["error"] == error
    assert row["usage"]["costNanoUsd"] == 0 and row["usage"]["totalTokens"] == 0 and row["attempts"] == 0


FAILURES: dict[str, tuple[dict[str, Any], str, int]] = {
    "refused connection": (chat(model="refused-gpt"), "failed", 0),
    "status 500": (chat(model="gpt-4o-mini+fail-status-500"), "failed", 0),
    "html": (chat(model="gpt-4o-mini+fail-html"), "failed", 0),
    "cut in mid-stream": (chat(model="gpt-4o-mini+fail-cut-4", stream=True), "partial", 1),
}


@pytest.mark.parametrize("case", FAILURES, ids=str)
def test_a_failure_is_a_row_and_delivered_text_is_billed_as_an_estimate(suite: Suite, shared_key: str, case: str) -> None:
    body, outcome, is_billed = FAILURES[case]
    answer = suite.post(CHAT, shared_key, json=body)
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == outcome and row["response"]["error"] and row["attempts"] >= 1
    assert row["response"]["statusCode"] == answer.status_code
    assert (row["usage"]["costNanoUsd"] > 0) == bool(is_billed)
    if is_billed:
        assert row["billingBasis"] == "estimated"


def test_an_answer_without_usage_is_estimated_and_an_unknown_price_is_said(suite: Suite, shared_key: str) -> None:
    for stream in (False, True):
        answer = suite.chat(shared_key, "gpt-4o-mini+fail-no-usage", stream=stream)
        row = suite.row(answer.headers["x-request-id"])
        assert row["billingBasis"] == "estimated" and row["usage"]["costNanoUsd"] > 0, stream
        assert row["outcome"] == "complete"
    answer = suite.chat(shared_key, "org/model/with-slashes")
    row = suite.row(answer.headers["x-request-id"])
    assert row["billingBasis"] == "unpriced" and row["usage"]["costNanoUsd"] == 0 and row["usage"]["totalTokens"] == 8


def test_an_unrecognised_key_makes_no_row(suite: Suite) -> None:
    answer = suite.chat("lc_prod_" + "a" * 50)
    assert answer.status_code == 401
    served = suite.chat(suite.make_key()["key"])
    suite.row(served.headers["x-request-id"])  # by now the other would be there too
    assert suite.rows(requestId=answer.headers["x-request-id"]) == []


# ---- sums ----

FIGURES = ("requests", "successful", "failed", "promptTokens", "completionTokens", "totalTokens", "costNanoUsd")


def sums_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    """A row stands for `repeatCount` requests: refusals of a flood are folded."""
    requests = sum(row["repeatCount"] for row in rows)
    good = [row for row in rows if row["response"]["statusCode"] < 400 and row["outcome"] not in ("failed", "refused", "interrupted")]
    ok = sum(row["repeatCount"] for row in good)
    sums = {"requests": requests, "successful": ok, "failed": requests - ok}
    return sums | {name: sum(row["usage"][name] for row in rows) for name in FIGURES[3:]}


def shown(totals: dict[str, Any]) -> dict[str, int]:
    return {name: int(totals.get(name, 0)) for name in FIGURES}


def stored(document: dict[str, Any]) -> dict[str, int]:
    metrics = document["metrics"]
    requests, tokens = metrics["requests"], metrics["tokens"]
    return {
        "requests": requests["total"], "successful": requests["successful"], "failed": requests["failed"],
        "promptTokens": tokens["prompt"], "completionTokens": tokens["completion"], "totalTokens": tokens["total"],
        "costNanoUsd": metrics["cost"]["estimatedNanoUsd"],
    }


def added(parts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in FIGURES}


def test_the_sums_agree_everywhere_they_are_shown(suite: Suite) -> None:
    key = suite.make_key(name="sums", permissions={"models": ["gpt-*", "refused-*"]})
    models = ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini+long-40", "gpt-4o-mini+cached-3", "claude-3", "refused-x", "gpt-4o-mini+fail-cut-4"]
    for i in range(21):
        suite.chat(key["key"], models[i % len(models)], stream=i % 2 == 0)
    rows = eventually(lambda: len(found := suite.rows(keyId=key["keyId"])) == 21 and found, "21 rows")
    expected = sums_of(rows)
    assert expected["successful"] >= 12 and expected["failed"] >= 6 and expected["costNanoUsd"] > 0

    def by_key() -> dict[str, Any]:
        body = suite.shown(f"/admin/usage/{key['id']}?groupBy=model&interval=day")
        assert shown(body["totals"]) == expected
        return body

    body = eventually(by_key, "the sums of the key over REST")
    assert added([shown(group["totals"]) for group in body["groups"]]) == expected
    assert added([shown(point["totals"]) for point in body["series"]]) == expected
    assert shown(suite.get("/v1/usage", key["key"]).json()["totals"]) == expected  # this call's own row comes after it

    logs: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = suite.shown(f"/admin/logs?apiKeyId={key['id']}&pageSize=5&cursor={cursor}")
        logs += page.get("logs", [])
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    chats = [log for log in logs if log["request"]["endpoint"] == CHAT]
    assert sorted(log["requestId"] for log in chats) == sorted(row["requestId"] for row in rows)
    assert sum(int(log["usage"].get("costNanoUsd", 0)) for log in logs) == expected["costNanoUsd"]


def test_hours_days_and_totals_in_the_database_are_sums_of_the_rows(suite: Suite) -> None:
    """Over everything the suite has done so far, at rest."""
    db = suite.mongo()
    suite.row(suite.chat(suite.make_key()["key"]).headers["x-request-id"])

    def agreed() -> bool:
        rows = list(db["api_usage"].find())
        expected = sums_of(rows)
        hours = list(db["api_metrics_hourly"].find())
        overall = [d for d in hours if d["apiKeyId"] == "*"]
        assert added([stored(d) for d in hours if d["apiKeyId"] != "*"]) == expected  # nothing else is there
        assert added([stored(d) for d in overall]) == expected
        by_owner = [*overall, *db["api_metrics_owners_hourly"].find()]  # those of none stand in overall
        for slices in ("clients", "users"):
            assert sum(of["requests"] for d in by_owner for of in d["metrics"].get(slices, {}).values()) == expected["requests"], slices
        assert added([stored(d) for d in db["api_metrics"].find()]) == expected
        assert added([stored(d) for d in db["api_metrics_total"].find()]) == expected
        return True

    eventually(agreed, "rows = hours = days = totals")
    for day in db["api_metrics"].find():
        assert isinstance(day["apiKeyId"], ObjectId) and isinstance(day["date"], datetime)
        assert set(day["metrics"]["performance"]) >= {"avgResponseTime", "p95ResponseTime", "p99ResponseTime"}
        assert day["metrics"]["cost"]["estimated"] == pytest.approx(day["metrics"]["cost"]["estimatedNanoUsd"] / 1e9)
        assert day["metrics"]["cost"]["billed"] == pytest.approx(day["metrics"]["cost"]["billedNanoUsd"] / 1e9)
        assert all("." not in name for name in day["metrics"]["models"])


def test_usage_and_costs_over_all_keys_agree(suite: Suite) -> None:
    suite.row(suite.chat(suite.make_key()["key"]).headers["x-request-id"])

    def agreed() -> bool:
        expected = sums_of(suite.rows())
        for group in ("apiKey", "model", "provider"):
            body = suite.shown(f"/admin/usage?groupBy={group}")
            assert shown(body["totals"]) == expected
            if group != "provider":  # a refusal has none
                assert added([shown(g["totals"]) for g in body["groups"]]) == expected, group
        costs = suite.shown("/admin/costs?groupBy=model")["totals"]
        assert int(costs["estimatedNanoUsd"]) == int(costs["billedNanoUsd"]) == expected["costNanoUsd"]
        assert costs["estimated"] == pytest.approx(expected["costNanoUsd"] / 1e9) and costs["requests"] == expected["requests"]
        return True

    eventually(agreed, "usage, costs and rows")


def test_the_live_metrics_show_what_just_happened(suite: Suite, shared_key: str) -> None:
    suite.chat(shared_key, "gpt-4o")
    body = eventually(
        lambda: (found := suite.shown("/admin/metrics"))["totals"].get("requests", 0) > 0 and found, "live counters"
    )
    assert any(group["group"] == "gpt-4o" for group in body["models"])


def test_a_period_without_requests_is_empty_and_a_bad_one_is_refused(suite: Suite, shared_key: str) -> None:
    body = suite.shown("/admin/usage?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z")
    assert shown(body["totals"]) == dict.fromkeys(FIGURES, 0)
    assert suite.get("/v1/usage?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z", shared_key).json()["totals"]["requests"] == 0
    for query in ("from=yesterday", "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "groupBy=colour", "interval=blink"):
        answer = suite.admin("GET", f"/admin/usage?{query}")
        assert answer.status_code == 400 and answer.json()["error"]["status"] == "INVALID_ARGUMENT", query
