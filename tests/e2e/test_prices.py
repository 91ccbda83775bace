"""What a model costs, and what becomes of requests for one that nobody has set a price for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.ports import eventually
from harness.suite import Suite

SECONDS = 10.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("prices")).start()
    eventually(lambda: stack.admin("GET", "/admin/prices").status_code == 200, "the way to the relay", SECONDS)
    yield stack
    assert stack.stop()["relay"] == 0


def add_route(suite: Suite, model: str, *targets: dict[str, Any]) -> None:
    answer = suite.admin("POST", "/admin/models", json={"model": model, "targets": list(targets)})
    assert answer.status_code == 200, answer.text


def assert_unpriced(answer: Any, model: str) -> None:
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert error["code"] == "model_not_priced" and error["param"] == "model"
    assert f"`{model}`" in error["message"] and "price book" in error["message"]


# ---- a model without a price ----


@pytest.mark.parametrize("whose", ["key", "client", "owner"])
def test_a_model_without_a_price_is_refused_where_there_is_a_budget(suite: Suite, whose: str) -> None:
    ids = {"client": {"clientId": "budgeted"}, "owner": {"userId": "64b7f0a1c2d3e4f5a6b7c8d9"}}.get(whose, {})
    if whose == "key":
        key = suite.make_key(limits={"costLimit": 5})
    else:
        path = f"/admin/limits/{whose}s/{next(iter(ids.values()))}".replace('owners', 'users')
        answer = suite.admin("PUT", path, json={"limits": {"costLimit": 5}})
        assert answer.status_code == 200, (path, answer.text)
        key = suite.make_key(**ids)
    refused = suite.chat(key["key"], "llama-nobody-priced")
    assert_unpriced(refused, "llama-nobody-priced")
    row = suite.row(refused.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["response"]["error"] == "model_not_priced" and row["attempts"] == 0
    assert suite.chat(key["key"], "gpt-4o").status_code == 200
    streamed = suite.chat(key["key"], "llama-nobody-priced", stream=True)
    assert_unpriced(streamed, "llama-nobody-priced")


def test_anthropics_callers_are_told_in_their_words(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 5})["key"]
    body = {"model": "llama-nobody-priced", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    answer = suite.post("/v1/messages", key, json=body)
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert error["type"] == "permission_error" and "`llama-nobody-priced`" in error["message"]


def test_for_others_it_is_free_and_flagged(suite: Suite) -> None:
    for limits in ({}, {"tokensPerDay": 100000}):
        key = suite.make_key(limits=limits)["key"]
        answer = suite.chat(key, "llama-nobody-priced")
        assert answer.status_code == 200, answer.text
        row = suite.row(answer.headers["x-request-id"])
        assert row["billingBasis"] == "unpriced" and row["usage"]["costNanoUsd"] == 0 and row["usage"]["totalTokens"] > 0


def test_a_name_of_the_book_stands_for_the_name_asked_for(suite: Suite) -> None:
    """An alias is priced by what is asked of the provider; a glob of the book counts like a name."""
    key = suite.make_key(limits={"costLimit": 5})["key"]
    add_route(suite, "house-model", {"provider": "local", "upstreamModel": "gpt-4o-mini-house"})
    answer = suite.chat(key, "house-model")
    assert answer.status_code == 200, answer.text
    usage = suite.row(answer.headers["x-request-id"])["usage"]
    assert usage["costNanoUsd"] == usage["promptTokens"] * 150 + usage["completionTokens"] * 600


def test_of_several_targets_a_budget_is_spent_at_those_with_a_price(suite: Suite) -> None:
    budget, free = suite.make_key(limits={"costLimit": 5})["key"], suite.make_key()["key"]
    add_route(suite, "mixed-first", {"provider": "local", "upstreamModel": "llama-free"}, {"provider": "scripted", "upstreamModel": "gpt-4o", "tier": 1})
    add_route(suite, "mixed-then", {"provider": "refused", "upstreamModel": "gpt-4o"}, {"provider": "local", "upstreamModel": "llama-free", "tier": 1})
    add_route(suite, "dearer", {"provider": "refused", "upstreamModel": "gpt-4o"}, {"provider": "local", "upstreamModel": "gpt-4.1", "tier": 1})

    def asked(key: str, model: str) -> dict[str, Any]:
        answer = suite.chat(key, model)
        assert answer.status_code == 200, answer.text
        return suite.row(answer.headers["x-request-id"])

    row = asked(budget, "mixed-first")
    assert row["upstreamModel"] == "gpt-4o" and row["attempts"] == 1 and row["usage"]["costNanoUsd"] > 0
    row = asked(free, "mixed-first")
    assert row["upstreamModel"] == "llama-free" and row["billingBasis"] == "unpriced"
    assert suite.chat(budget, "mixed-then").status_code == 503, "what has no price does not stand in for what fails"
    row = asked(free, "mixed-then")
    assert row["upstreamModel"] == "llama-free" and row["attempts"] == 2 and row["billingBasis"] == "unpriced"
    row = asked(budget, "dearer")
    assert row["attempts"] == 2 and row["usage"]["costNanoUsd"] == row["usage"]["promptTokens"] * 2000 + row["usage"]["completionTokens"] * 8000
