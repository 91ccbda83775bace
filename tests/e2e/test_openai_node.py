"""The official openai SDK for Node against the whole suite: tests/clients/openai_node.mjs calls, this file judges."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from harness.node import environment, require_node, results_of
from harness.node import run_node as run_script
from harness.ports import PATIENCE, eventually
from harness.suite import LISTED_MODELS, TOP, Suite

SCRIPT = TOP / "tests/clients/openai_node.mjs"
HELLO_USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
LEAVES = ("abort", "abort_before_the_answer")


def run_node(suite: Suite, key: str, *scenarios: str, trusted: bool = True) -> subprocess.CompletedProcess[str]:
    return run_script(SCRIPT, suite, key, *scenarios, trusted=trusted)


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    require_node("openai")


@pytest.fixture(scope="module")
def results(suite: Suite, shared_key: str, node: None) -> dict[str, Any]:
    """All scenarios but those that leave early."""
    return results_of(SCRIPT, suite, shared_key, without=LEAVES)


def figures(usage: dict[str, Any]) -> dict[str, int]:
    return {name: usage[name] for name in HELLO_USAGE}


def test_an_answer_comes_back_whole(suite: Suite, results: dict[str, Any]) -> None:
    answer = results["unary"]
    assert (answer["text"], answer["finish"], figures(answer["usage"])) == ("Echo: Hello there", "stop", HELLO_USAGE)
    assert suite.row(answer["requestId"])["usage"]["totalTokens"] == 8


def test_a_stream_ends_with_its_usage(results: dict[str, Any]) -> None:
    answer = results["stream"]
    assert (answer["text"], answer["finish"], figures(answer["usage"])) == ("Echo: Hello there", "stop", HELLO_USAGE)


def test_calls_side_by_side_get_their_own_answers(results: dict[str, Any]) -> None:
    assert results["side_by_side"] == [f"Echo: number {i}" for i in range(20)]


def test_tools_are_called_whole_and_streamed(results: dict[str, Any]) -> None:
    assert results["tools"] == {"finish": "tool_calls", "arguments": {"city": "Berlin"}, "text": "Tool said: sunny"}
    assert results["streamed_tools"] == {"name": "get_weather", "arguments": {"city": "Berlin"}}


def test_embeddings_and_models_are_read(results: dict[str, Any]) -> None:
    assert results["embeddings"] == [8, 8]
    assert sorted(results["models"]) == sorted(LISTED_MODELS)


@pytest.mark.parametrize(
    ("scenario", "error", "status", "code"),
    [
        ("key", "AuthenticationError", 401, "invalid_api_key"),
        ("model", "NotFoundError", 404, "model_not_found"),
        ("body", "BadRequestError", 400, "invalid_value"),
        ("limit", "RateLimitError", 429, "upstream_rate_limited"),
        ("provider", "InternalServerError", 502, "upstream_error"),
        ("stream", "InternalServerError", 503, "upstream_unavailable"),
    ],
)
def test_each_failure_is_its_class_of_error(results: dict[str, Any], scenario: str, error: str, status: int, code: str) -> None:
    failure = results["errors"][scenario]
    assert (failure["class"], failure["status"], failure["code"]) == (error, status, code)
    assert failure["requestId"].startswith("req_") and failure["message"]


def test_a_failure_in_mid_stream_is_an_error_not_an_end(results: dict[str, Any]) -> None:
    answer = results["cut_in_mid_stream"]
    assert answer["text"] and "Echo: Hello there".startswith(answer["text"])
    assert answer["failed"]["class"] == "APIError" and answer["failed"]["code"] == "upstream_cut"


def test_an_aborted_stream_stops_the_provider_and_bills_what_was_delivered(suite: Suite, shared_key: str) -> None:
    before = suite.upstream_stats()["cancelled"]
    done = run_node(suite, shared_key, "abort")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert 5 <= result["chunks"] < 2000  # what the SDK had read already still comes
    eventually(lambda: suite.upstream_stats()["cancelled"] > before, "the provider is left")
    row = suite.row(result["requestId"])
    assert row["outcome"] == "partial" and 0 < row["usage"]["completionTokens"] < 2000


def test_an_abort_before_the_answer_is_the_sdks_own_error(suite: Suite, shared_key: str) -> None:
    before = suite.upstream_stats()
    command = ["node", str(SCRIPT), "abort_before_the_answer"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(suite, shared_key), text=True, **pipes) as node:
        eventually(lambda: suite.upstream_stats()["requests"] > before["requests"], "the provider has the request")
        out, err = node.communicate("now\n", timeout=30 * PATIENCE)
    assert node.returncode == 0, err
    assert json.loads(out)["result"]["class"] == "APIUserAbortError"
    eventually(lambda: suite.upstream_stats()["cancelled"] > before["cancelled"], "the provider is left")


def test_an_authority_that_is_not_trusted_gets_no_request(suite: Suite, shared_key: str) -> None:
    if not suite.tls:
        pytest.skip("certificates need a suite over TLS")
    done = run_node(suite, shared_key, "unary", trusted=False)
    assert done.returncode != 0 and "APIConnectionError" in done.stderr
