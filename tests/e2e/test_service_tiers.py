"""Service tiers and predictions: what a provider bills at another price, or beside what it makes, does not pass a budget by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite

MILLION = 10**6


def price(model: str, prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """Nano-USD a token."""
    return {"model": model, "promptPerMillionNanoUsd": str(prompt * MILLION), "completionPerMillionNanoUsd": str(completion * MILLION), **more}


def tier(name: str, prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"tier": name, "promptPerMillionNanoUsd": str(prompt * MILLION), "completionPerMillionNanoUsd": str(completion * MILLION), **more}


BOOK = [
    price("gpt-4o*", 10, 20, tiers=[tier("priority", 30, 50), tier("flex", 5, 7)]),
    price("gpt-5*", 10, 20, tiers=[tier("priority", 30, 50, appliesUnasked=True)]),
    price("gpt-4.1*", 10, 20),
    price("gpt-4-*", 10, 20, longPrompts=[{"abovePromptTokens": 20, "promptPerMillionNanoUsd": str(30 * MILLION), "completionPerMillionNanoUsd": str(50 * MILLION)}]),
    price("claude-*", 10, 20, tiers=[tier("priority", 30, 50)]),
    price("gemini-*", 10, 20),
    price("claude-opus-*", 10, 20, tiers=[tier("fast", 60, 120)]),
]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("tiers")).start()
    eventually(lambda: stack.admin("GET", "/admin/prices").status_code == 200, "the way to the relay")
    answer = stack.admin("PUT", "/admin/prices", json={"prices": BOOK})
    assert answer.status_code == 200, answer.text
    version = answer.json()["priceBook"]["version"]
    key = stack.make_key()["key"]
    eventually(lambda: asked(stack, key, "gpt-4o")["priceBookVersion"] == version, "the book in force")
    yield stack
    assert stack.stop()["relay"] == 0


@pytest.fixture(scope="module")
def budget(suite: Suite) -> str:
    return suite.make_key(limits={"costLimit": 5})["key"]


def asked(suite: Suite, key: str, model: str, **body: Any) -> dict[str, Any]:
    """The row of a request that was answered."""
    answer = suite.chat(key, model, **body)
    assert answer.status_code == 200, answer.text
    return suite.row(answer.headers["x-request-id"])


def message(suite: Suite, key: str, model: str, **body: Any) -> dict[str, Any]:
    request = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **body}
    answer = suite.post("/v1/messages", key, json=request)
    assert answer.status_code == 200, answer.text
    return suite.row(answer.headers["x-request-id"])


def assert_billed(row: dict[str, Any], name: str, prompt: int, completion: int) -> None:
    usage = row["usage"]
    assert row["billingBasis"] == "reported" and row.get("serviceTier", "") == name, row
    assert usage["costNanoUsd"] == usage["promptTokens"] * prompt + usage["completionTokens"] * completion


def test_all_of_a_request_with_a_long_prompt_costs_more(suite: Suite, budget: str) -> None:
    assert_billed(asked(suite, budget, "gpt-4-turbo"), "", 10, 20)
    row = asked(suite, budget, "gpt-4-turbo", messages=[{"role": "user", "content": "word " * 100}])
    assert row["usage"]["promptTokens"] > 20
    assert_billed(row, "", 30, 50)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "tier_asked", "billed"),
    [
        ("gpt-4o", None, ("", 10, 20)),
        ("gpt-4o", "auto", ("", 10, 20)),
        ("gpt-4o", "priority", ("priority", 30, 50)),
        ("gpt-4o", "flex", ("flex", 5, 7)),
        ("gpt-4o+tier-default", "priority", ("", 10, 20)),
        ("gpt-5+tier-priority", None, ("priority", 30, 50)),
        ("gpt-5", "default", ("", 10, 20)),
    ],
)
def test_a_request_is_billed_by_the_tier_that_answered(
    suite: Suite, budget: str, model: str, tier_asked: str | None, billed: tuple[str, int, int], stream: bool
) -> None:
    body = {} if tier_asked is None else {"service_tier": tier_asked}
    row = asked(suite, budget, model, stream=stream, **body)
    assert_billed(row, *billed)
    shown = suite.shown(f"/admin/logs?requestId={row['requestId']}")["logs"][0]
    assert shown.get("serviceTier", "") == billed[0]


def test_a_request_that_its_relay_did_not_survive_keeps_the_tier_that_it_asked_for(suite: Suite, budget: str) -> None:
    began = suite.upstream_stats()["requests"]
    body = {"model": "gpt-4o+slow-100+long-2000", "messages": [{"role": "user", "content": "Hello"}], "stream": True, "service_tier": "priority"}
    with httpx.stream("POST", suite.relay_url + "/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {budget}"}, timeout=60) as answer:
        suite.upstream_stats(f"requests={began + 1}")
        suite.processes["relay"].kill()
    suite.processes["relay"].start()
    suite.await_ready("relay")
    row = suite.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["billingBasis"], row["serviceTier"]) == ("interrupted", "estimated", "priority")
    usage = row["usage"]
    assert usage["costNanoUsd"] == usage["promptTokens"] * 30 + usage["completionTokens"] * 50


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_answers_state_their_tier_in_the_usage(suite: Suite, budget: str, stream: bool) -> None:
    assert_billed(message(suite, budget, "claude-sonnet-4-6", stream=stream, service_tier="standard_only"), "", 10, 20)
    assert_billed(message(suite, budget, "claude-sonnet-4-6+tier-priority", stream=stream), "priority", 30, 50)
    assert_billed(asked(suite, budget, "claude-sonnet-4-6+tier-priority", stream=stream), "priority", 30, 50)


@pytest.mark.parametrize("stream", [False, True])
def test_a_speed_of_anthropics_is_a_tier(suite: Suite, budget: str, stream: bool) -> None:
    assert_billed(message(suite, budget, "claude-opus-4-6", stream=stream, speed="fast"), "fast", 60, 120)
    assert_billed(message(suite, budget, "claude-opus-4-6+speed-standard", stream=stream, speed="fast"), "", 10, 20)
    assert_billed(message(suite, budget, "claude-opus-4-6", stream=stream, speed="standard"), "", 10, 20)
    request = {"model": "claude-sonnet-4-6", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], "speed": "fast"}
    answer = suite.post("/v1/messages", budget, json={**request, "stream": stream})
    error = answer.json()["error"]
    assert answer.status_code == 403 and error["details"]["error_code"] == "service_tier_not_priced" and "leave out speed" in error["message"]


def test_other_models_are_not_for_keys_that_are_held_to_some(suite: Suite, budget: str) -> None:
    few = suite.make_key(permissions={"models": ["gpt-*", "claude-*"]})["key"]
    free = suite.make_key()["key"]
    for name, model in (("models", "gpt-4o"), ("fallbacks", "gpt-4o")):
        for key in (budget, few):
            answer = suite.chat(key, model, **{name: ["gpt-5-pro"]})
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["code"] == "unsupported_parameter" and answer.json()["error"]["param"] == name
        assert suite.chat(budget, model, **{name: []}).status_code == 200
    request = {"model": "claude-opus-4-6", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    for key in (budget, few):
        assert suite.post("/v1/messages", key, json={**request, "fallbacks": [{"model": "claude-opus-5"}]}).status_code == 400
    answer = suite.post("/v1/messages", free, json={**request, "fallbacks": [{"model": "claude-opus-5"}]})
    assert answer.status_code == 400 and "fallbacks" in answer.text  # the provider's own, to whom it is passed
    assert suite.upstream_log(of="anthropic")[-1]["path"] == "/v1/messages"


@pytest.mark.parametrize(("model", "name"), [("gpt-4.1", "priority"), ("gpt-4o", "scale"), ("gpt-5", "flex")])
def test_a_tier_without_a_price_is_refused_where_there_is_a_budget(suite: Suite, budget: str, model: str, name: str) -> None:
    for stream in (False, True):
        answer = suite.chat(budget, model, service_tier=name, stream=stream)
        assert answer.status_code == 403, answer.text
        error = answer.json()["error"]
        assert error["code"] == "service_tier_not_priced" and error["param"] == "service_tier"
        assert f"`{name}`" in error["message"] and f"`{model}`" in error["message"] and "price book" in error["message"]
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["response"]["error"] == "service_tier_not_priced" and row["attempts"] == 0
    assert suite.chat(budget, model).status_code == 200


def test_for_others_it_is_free_and_flagged(suite: Suite) -> None:
    row = asked(suite, suite.make_key()["key"], "gpt-4.1", service_tier="priority")
    assert row["billingBasis"] == "unpriced" and row["usage"]["costNanoUsd"] == 0 and row["serviceTier"] == "priority"
    assert_billed(asked(suite, suite.make_key()["key"], "gpt-4.1+tier-default", service_tier="priority"), "", 10, 20)


def test_a_tier_that_nobody_asked_for_counts_by_the_models_price_and_is_told_of(suite: Suite, budget: str) -> None:
    row = asked(suite, budget, "gpt-4.1+tier-scale")
    assert_billed(row, "scale", 10, 20)
    told = [e for e in suite.processes["relay"].events("service_tier_unpriced") if e["request.id"] == row["requestId"]]
    assert [e["service_tier"] for e in told] == ["scale"]


def test_a_hold_is_for_the_dearest_tier(suite: Suite) -> None:
    """The budget pays for the standard tier's hold, not for priority's: the answer is cut to what it pays for, or refused."""
    body = {"max_tokens": 1000}
    key = suite.make_key(limits={"costLimit": 0.00003})["key"]  # 30,000 nano-USD: 1,000 tokens at 20, 600 at 50
    sent = suite.chat(key, "gpt-4o", **body, service_tier="priority", text="a mark of the dearer")
    assert sent.status_code == 200, sent.text
    body_sent = json.loads([r for r in suite.upstream_log() if "a mark of the dearer" in r["body"]][-1]["body"])
    assert 500 < body_sent["max_tokens"] < 600
    key = suite.make_key(limits={"costLimit": 0.0000009})["key"]  # 16 tokens at 50 and the prompt come to more
    assert suite.chat(key, "gpt-5", **body).status_code == 429, "it may be billed as priority"
    assert suite.chat(key, "gpt-5", **body, service_tier="default").status_code == 200


def test_past_requests_are_priced_again_by_their_tier(suite: Suite) -> None:
    made = suite.make_key()
    rows = [asked(suite, made["key"], "gpt-4o", service_tier=name) for name in ("priority", "flex", "default")]
    cost = sum(row["usage"]["costNanoUsd"] for row in rows)

    def rated(**question: Any) -> tuple[int, int]:
        answer = suite.admin("POST", "/admin/prices/rerate", json={"apiKeyId": made["id"], **question})
        assert answer.status_code == 200, answer.text
        totals = answer.json()["totals"]
        return int(totals["ratedNanoUsd"]), int(totals.get("changed", 0))

    assert rated() == (cost, 0)
    dearer = [price("gpt-4o*", 10, 20, tiers=[tier("priority", 31, 50), tier("flex", 5, 7)])]
    assert rated(priceBook={"prices": dearer}) == (cost + rows[0]["usage"]["promptTokens"], 1)


def test_tiers_are_exported_imported_and_merged(suite: Suite) -> None:
    exported = suite.shown("/admin/prices/export")
    assert [{**t, "appliesUnasked": False, "longPrompts": []} for t in BOOK[0]["tiers"]] == exported["prices"][0]["tiers"] and exported["prices"][1]["tiers"][0]["appliesUnasked"] is True
    same = suite.admin("POST", "/admin/prices/import", json={**exported, "dryRun": True}).json()
    assert not any(int(same.get(name, 0)) for name in ("added", "changed", "removed"))
    change = {"prices": [price("gpt-4o*", 10, 20, tiers=[tier("priority", 30, 51)])], "merge": True, "dryRun": True}
    assert suite.admin("POST", "/admin/prices/import", json=change).json()["changed"] == 1


@pytest.mark.parametrize(
    ("wrong", "field", "says"),
    [
        (price("a", 2_000_001, 1), "prices[0].promptPerMillionNanoUsd", "0 to 2000000000000 nano-USD"),
        (price("a", 1, 1, requestNanoUsd="100000000001"), "prices[0].requestNanoUsd", "0 to 100000000000"),
        (price("a", 1, 1, imageNanoUsd="100000001"), "prices[0].imageNanoUsd", "0 to 100000000"),
        (price("a", 1, 1, tiers=[tier("default", 1, 1)]), "prices[0].tiers[0].tier", "the model's own"),
        (price("a", 1, 1, tiers=[{"tier": "flex"}]), "prices[0].tiers[0].promptPerMillionNanoUsd", "must be given"),
        (price("a", 1, 1, tiers=[tier("flex", 1, 1), tier("flex", 1, 1)]), "prices[0].tiers[1].tier", "second price"),
    ],
)
def test_prices_out_of_range_are_refused_by_name(suite: Suite, wrong: dict[str, Any], field: str, says: str) -> None:
    answer = suite.admin("PUT", "/admin/prices", json={"prices": [wrong]})
    assert answer.status_code == 400 and f'"{field}"' in answer.text and says in answer.text, answer.text


# ---- predictions ----


def test_a_prediction_is_held_for_and_billed_as_output(suite: Suite) -> None:
    prediction = {"type": "content", "content": "word " * 2000}
    key = suite.make_key(limits={"tokensPerDay": 1000})["key"]
    refused = suite.chat(key, "gpt-4o", max_tokens=50, prediction=prediction)
    assert refused.status_code == 429 and refused.json()["error"]["param"] == "limits.tokensPerDay", refused.text
    assert suite.chat(key, "gpt-4o", max_tokens=50).status_code == 200

    row = asked(suite, suite.make_key(limits={"tokensPerDay": 100000})["key"], "gpt-4o+rejected-500", max_tokens=50, prediction=prediction)
    assert_billed(row, "", 10, 20)
    assert row["usage"]["completionTokens"] > 500 and "ceilingIgnored" not in row, "what was predicted in vain is not beyond the ceiling"


def test_what_is_billed_beside_tokens_is_refused_to_a_budget_by_name(suite: Suite, budget: str) -> None:
    free = suite.make_key()["key"]
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    spoken = [{"role": "user", "content": [sound]}]
    for model, member, value in (
        ("gpt-4o", "modalities", ["text", "audio"]),
        ("gpt-4o", "web_search_options", {}),
        ("gpt-4o", "messages", spoken),
        ("gemini-2.5-flash", "messages", spoken),
    ):
        refused = suite.chat(budget, model, **{member: value})
        error = refused.json()["error"]
        assert refused.status_code == 403 and error["code"] == "feature_not_priced" and error["param"] == member, refused.text
        assert suite.chat(free, model, **{member: value}).status_code == 200
    search = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    search["tools"] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
    refused = suite.post("/v1/messages", budget, json=search)
    assert refused.status_code == 403 and refused.json()["error"]["details"]["error_code"] == "feature_not_priced", refused.text
    passed = suite.post("/v1/messages", free, json=search)
    assert suite.row(passed.headers["x-request-id"])["attempts"] == 1, passed.text  # the scripted one has no such tool
