"""The official @anthropic-ai/sdk for Node against the whole suite: tests/clients/anthropic_node.mjs calls, this file judges."""

from __future__ import annotations

from typing import Any

import pytest
from harness.node import require_node, results_of, run_node
from harness.ports import eventually
from harness.suite import TOP, Suite

SCRIPT = TOP / "tests/clients/anthropic_node.mjs"
PROVIDERS = {"anthropic": "anthropic", "openai": "scripted", "google": "google"}
PRICES = {"anthropic": (3000, 15000), "openai": (150, 600), "google": (300, 2500)}  # nano-USD a token
every = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    require_node("@anthropic-ai/sdk")


@pytest.fixture(scope="module")
def results(suite: Suite, shared_key: str, node: None) -> dict[str, Any]:
    """All scenarios but the one that leaves early."""
    return results_of(SCRIPT, suite, shared_key, without=("abort",))


@every
@pytest.mark.parametrize("way", ["unary", "stream"])
def test_a_message_comes_back_whole_and_is_billed(suite: Suite, results: dict[str, Any], way: str, provider: str) -> None:
    answer = results[way][provider]
    assert (answer["text"], answer["stop"], answer["input"], answer["output"]) == ("Echo: Hello there", "end_turn", 5, 3)
    assert answer.get("whole", answer["text"]) == answer["text"]
    row = suite.row(answer["requestId"])
    assert (row["request"]["endpoint"], row["provider"], row["outcome"], row["stream"]) == ("/v1/messages", PROVIDERS[provider], "complete", way == "stream")
    assert (row["usage"]["promptTokens"], row["usage"]["completionTokens"]) == (5, 3)
    prompt, completion = PRICES[provider]
    assert row["usage"]["costNanoUsd"] == 5 * prompt + 3 * completion


@every
def test_events_come_in_anthropics_order(results: dict[str, Any], provider: str) -> None:
    kinds = [kind for kind in results["events"][provider] if kind != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


@every
def test_tools_are_called_whole_and_streamed(results: dict[str, Any], provider: str) -> None:
    called = {"stop": "tool_use", "name": "get_weather", "input": {"city": "Berlin"}}
    assert results["tools"][provider] == {**called, "text": "Tool said: sunny"}
    assert results["streamed_tools"][provider] == called


@every
def test_images_arrive(results: dict[str, Any], provider: str) -> None:
    assert results["images"][provider] == "Echo: What is this? [1 image]"


def test_tokens_are_counted_where_the_provider_is_anthropic(results: dict[str, Any]) -> None:
    assert results["count_tokens"]["counted"] == 5
    elsewhere = results["count_tokens"]["elsewhere"]
    assert (elsewhere["class"], elsewhere["status"], elsewhere["type"]) == ("BadRequestError", 400, "invalid_request_error")
    assert "count_tokens is for Anthropic's own models" in elsewhere["message"]


def test_models_are_listed_and_keys_come_in_either_header(results: dict[str, Any]) -> None:
    assert "gpt-4o" in results["models"] and results["bearer"] == "Echo: Hello there"


def test_calls_side_by_side_get_their_own_answers(results: dict[str, Any]) -> None:
    assert results["side_by_side"] == [f"Echo: number {i}" for i in range(12)]


@pytest.mark.parametrize(
    ("scenario", "error", "status", "kind"),
    [
        ("key", "AuthenticationError", 401, "authentication_error"),
        ("model", "NotFoundError", 404, "not_found_error"),
        ("body", "BadRequestError", 400, "invalid_request_error"),
        *((f"{provider}_limit", "RateLimitError", 429, "rate_limit_error") for provider in PROVIDERS),
        *((f"{provider}_provider", "InternalServerError", 502, "api_error") for provider in PROVIDERS),
        *((f"{provider}_overloaded", "OverloadedError", 529, "overloaded_error") for provider in PROVIDERS),
    ],
)
def test_each_failure_is_its_class_of_error(results: dict[str, Any], scenario: str, error: str, status: int, kind: str) -> None:
    failure = results["errors"][scenario]
    assert (failure["class"], failure["status"], failure["type"]) == (error, status, kind), failure
    assert failure["requestId"].startswith("req_") and "provider-key" not in failure["message"]


@every
def test_a_failure_in_mid_stream_is_an_error_not_an_end(results: dict[str, Any], provider: str) -> None:
    answer = results["cut_in_mid_stream"][provider]
    assert answer["text"] and "Echo: Hello there".startswith(answer["text"])
    assert answer["failed"] and answer["failed"]["type"] == "api_error", answer


def test_an_aborted_stream_stops_the_provider(suite: Suite, shared_key: str) -> None:
    before = suite.upstream_stats()["cancelled"]
    done = run_node(SCRIPT, suite, shared_key, "abort")
    assert done.returncode == 0, done.stderr
    eventually(lambda: suite.upstream_stats()["cancelled"] > before, "the provider is left")
