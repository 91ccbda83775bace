"""Anthropic's official SDK against the relay, its models behind it: bytes pass, and are counted on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import anthropic
import httpx
import pytest
from harness.suite import Suite

CLAUDE = "claude-sonnet-4-6"
PROMPT, CACHED, WRITTEN, COMPLETION = 3000, 300, 3750, 15000  # nano-USD a token
HELLO: Any = [{"role": "user", "content": "Hello there"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"name": "now", "input_schema": {"type": "object"}},
]


@pytest.fixture
def claude(suite: Suite, shared_key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=shared_key, max_retries=0, timeout=30) as sdk:
        yield sdk


def row_of(suite: Suite, request_id: str | None) -> dict[str, Any]:
    assert request_id
    return suite.row(request_id)


def assert_billed(suite: Suite, request_id: str | None, prompt: int, completion: int, *, cached: int = 0, written: int = 0) -> None:
    row = row_of(suite, request_id)
    usage = row["usage"]
    assert (row["request"]["endpoint"], row["provider"], row["billingBasis"], row["outcome"]) == ("/v1/messages", "anthropic", "reported", "complete")
    assert (usage["promptTokens"], usage["completionTokens"], usage["totalTokens"]) == (prompt, completion, prompt + completion)
    assert usage.get("cachedTokens", 0) == cached
    assert usage["costNanoUsd"] == (prompt - cached - written) * PROMPT + cached * CACHED + written * WRITTEN + completion * COMPLETION


def sent_for(suite: Suite, text: str) -> dict[str, Any]:
    return [r for r in suite.upstream_log(of="anthropic") if text in r["body"]][-1]


@pytest.mark.smoke
def test_a_message_comes_back_and_is_billed(suite: Suite, claude: anthropic.Anthropic) -> None:
    raw = claude.messages.with_raw_response.create(model=CLAUDE, max_tokens=100, messages=HELLO)
    answer = raw.parse()
    assert [block.text for block in answer.content if block.type == "text"] == ["Echo: Hello there"]
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 5, 3)
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert_billed(suite, raw.headers["request-id"], 5, 3)


@pytest.mark.smoke
def test_a_stream_is_the_providers_own_and_is_billed(suite: Suite, claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model=CLAUDE, max_tokens=100, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "message_delta" in kinds
    assert final.content[0].text == "Echo: Hello there" and final.usage.output_tokens == 3  # type: ignore[union-attr]
    assert_billed(suite, stream.request_id, 5, 3)


async def test_the_async_client_streams(suite: Suite, shared_key: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=suite.relay_url, api_key=shared_key, max_retries=0) as sdk:
        async with sdk.messages.stream(model=CLAUDE, max_tokens=100, messages=HELLO) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Echo: Hello there"


def test_a_key_may_come_as_a_bearer(suite: Suite, shared_key: str) -> None:
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=None, auth_token=shared_key, max_retries=0) as sdk:
        assert sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO).stop_reason == "end_turn"


def test_the_body_goes_up_untouched(suite: Suite, shared_key: str) -> None:
    body = '{ "max_tokens":100,"messages" : [ {"role":"user","content":"left as it is: 1.50"} ], "temperature":0.10, "model":"claude-x" }'
    headers = {"content-type": "application/json", "x-api-key": shared_key, "anthropic-version": "2023-06-01", "anthropic-beta": "a-2025,b-2025"}
    answer = httpx.post(f"{suite.relay_url}/v1/messages?beta=true", content=body, headers=headers, verify=suite.verify, timeout=30)
    assert answer.status_code == 200, answer.text
    sent = sent_for(suite, "left as it is")
    assert sent["body"] == body
    names = {name.lower(): value for name, value in sent["headers"]}
    assert (names["x-api-key"], names["anthropic-beta"]) == ("sk-ant-provider-key", "a-2025,b-2025") and "authorization" not in names


@pytest.mark.parametrize("twice", ['"max_tokens":1,"max_tokens":9', '"max_tokens":1,"Max_Tokens":9', '"max_tokens":1,"model":"gpt-4o"', '"max_tokens":1,"\\u006dessages":[]'])
@pytest.mark.parametrize("model", [CLAUDE, "gpt-4o"])
def test_what_is_checked_and_priced_is_what_goes_up(suite: Suite, shared_key: str, model: str, twice: str) -> None:
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"smuggled"}}],{twice}}}'
    answer = suite.post("/v1/messages", shared_key, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["details"]["error_code"]) == (400, "duplicate_parameter")


def test_an_alias_and_a_budget_change_nothing_else(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": "40"})["key"]
    body = '{"model":"lenient-claude", "max_tokens":1000, "messages":[{"role":"user","content":"spliced"}], "top_k":5}'
    answer = suite.post("/v1/messages", key, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    sent = json.loads(sent_for(suite, "spliced")["body"])
    assert sent.pop("model") == CLAUDE and 16 <= sent.pop("max_tokens") < 40
    assert sent == {"messages": [{"role": "user", "content": "spliced"}], "top_k": 5}


def test_cached_tokens_are_counted_once(suite: Suite, claude: anthropic.Anthropic) -> None:
    model = f"{CLAUDE}+cached-2+written-1+reasoning-4"
    raw = claude.messages.with_raw_response.create(model=model, max_tokens=100, messages=HELLO)
    usage = raw.parse().usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (2, 2, 1, 7)
    assert_billed(suite, raw.headers["request-id"], 5, 7, cached=2, written=1)
    with claude.messages.stream(model=f"{model}+late-usage", max_tokens=100, messages=HELLO) as stream:
        stream.until_done()
    assert_billed(suite, stream.request_id, 5, 7, cached=2, written=1)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_tools_and_thinking_go_there_and_back(claude: anthropic.Anthropic, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "think, then use all tools for Berlin"}]
    asked: Any = {"model": f"{CLAUDE}+reasoning-3", "max_tokens": 100, "messages": messages, "tools": TOOLS}
    if stream:
        with claude.messages.stream(**asked) as events:
            answer: Any = events.get_final_message()
    else:
        answer = claude.messages.create(**asked)
    assert answer.stop_reason == "tool_use" and [block.type for block in answer.content] == ["thinking", "tool_use", "tool_use"]
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [("get_weather", {"city": "Berlin"}), ("now", {})]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": said} for call, said in zip(calls, ("sunny", "noon"))]
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    final: Any = claude.messages.create(model=CLAUDE, max_tokens=100, messages=messages, tools=TOOLS)
    assert final.content[0].text == "Tool said: noon"


def test_images_by_url_and_as_data(claude: anthropic.Anthropic) -> None:
    sources: Any = [{"type": "base64", "media_type": "image/png", "data": PIXEL}, {"type": "url", "url": "https://example.com/cat.png"}]
    content: Any = [{"type": "text", "text": "What are these?"}, *({"type": "image", "source": source} for source in sources)]
    answer: Any = claude.messages.create(model=CLAUDE, max_tokens=100, messages=[{"role": "user", "content": content}])
    assert answer.content[0].text == "Echo: What are these? [2 images]"


def test_tokens_are_counted_by_the_provider_and_cost_nothing(suite: Suite, claude: anthropic.Anthropic) -> None:
    raw = claude.messages.with_raw_response.count_tokens(model=CLAUDE, messages=HELLO, system="Be kind", tools=TOOLS)
    assert raw.parse().input_tokens == 5 + 5
    row = row_of(suite, raw.headers["request-id"])
    assert (row["request"]["endpoint"], row["billingBasis"], row["outcome"]) == ("/v1/messages/count_tokens", "unpriced", "complete")
    assert row["usage"].get("totalTokens", 0) == 0 and row["usage"].get("costNanoUsd", 0) == 0
    with pytest.raises(anthropic.BadRequestError, match="count_tokens is for Anthropic's own models"):
        claude.messages.count_tokens(model="gpt-4o", messages=HELLO)


def test_models_are_listed(claude: anthropic.Anthropic) -> None:
    assert "gpt-4o" in [model.id for model in claude.models.list()]
    assert claude.models.retrieve(CLAUDE).id == CLAUDE
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("nobody-knows")


# ---- what goes wrong ----


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.InternalServerError, "api_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.RequestTooLargeError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (504, anthropic.DeadlineExceededError, "timeout_error"),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ],
)
def test_each_failure_is_its_class_of_error(claude: anthropic.Anthropic, status: int, error: type[anthropic.APIStatusError], kind: str) -> None:
    with pytest.raises(error) as e:
        claude.messages.create(model=f"{CLAUDE}+fail-status-{status}", max_tokens=100, messages=HELLO)
    body: Any = e.value.body
    assert body["type"] == "error" and e.value.type == kind and body["request_id"] == e.value.request_id
    assert "provider-key" not in str(body)


@pytest.mark.parametrize("mark", ["fail-cut-5", "fail-end-5", "no-done", "fail-error-event-5", "fail-garbage-stream-5"])
def test_a_stream_that_fails_says_so_and_never_stops_well(suite: Suite, claude: anthropic.Anthropic, mark: str) -> None:
    said: list[str] = []
    with pytest.raises(anthropic.APIStatusError) as e:
        with claude.messages.stream(model=f"{CLAUDE}+{mark}", max_tokens=100, messages=HELLO) as stream:
            said += [event.type for event in stream]
    assert "message_stop" not in said and "api_error" in str(e.value.body)
    assert row_of(suite, e.value.request_id)["outcome"] == "partial"


def test_limits_speak_anthropics_headers(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerMinute": 2, "tokensPerDay": "10000"})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=key, max_retries=0) as sdk:
        headers = sdk.messages.with_raw_response.create(model=CLAUDE, max_tokens=100, messages=HELLO).headers
        assert (headers["anthropic-ratelimit-requests-limit"], headers["anthropic-ratelimit-tokens-limit"]) == ("2", "10000")
        assert int(headers["anthropic-ratelimit-requests-remaining"]) <= 1
        assert datetime.fromisoformat(headers["anthropic-ratelimit-tokens-reset"].replace("Z", "+00:00")) > datetime.now(timezone.utc)
        assert not any(name.startswith("x-ratelimit") for name in headers)
        with pytest.raises(anthropic.RateLimitError) as e:
            for _ in range(3):
                sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)
        assert e.value.error_code == "rate_limit_exceeded" and int(e.value.response.headers["retry-after"]) > 0


def test_the_rules_of_a_key_hold_here_too(suite: Suite) -> None:
    limited = suite.make_key(permissions={"models": ["gpt-*"], "endpoints": ["/v1/chat/completions"]})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=limited, max_retries=0) as sdk:
        with pytest.raises(anthropic.PermissionDeniedError, match="/v1/messages"):
            sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)
    models = suite.make_key(permissions={"models": ["gpt-*"]})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=models, max_retries=0) as sdk:
        with pytest.raises(anthropic.APIStatusError) as e:
            sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)
        assert e.value.status_code in (403, 404)
    short = suite.make_key(permissions={"maxTokens": 10})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=short, max_retries=0) as sdk:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)
    with anthropic.Anthropic(base_url=suite.relay_url, api_key="lc_prod_nobody", max_retries=0) as sdk:
        with pytest.raises(anthropic.AuthenticationError):
            sdk.messages.create(model=CLAUDE, max_tokens=100, messages=HELLO)


def test_several_lines_of_beta_are_one_list(suite: Suite, shared_key: str) -> None:
    headers = [("x-api-key", shared_key), ("anthropic-beta", "a-2025"), ("accept", "*/*"), ("Anthropic-Beta", "b-2025,c-2025"), ("anthropic-beta", "")]
    body = {"model": CLAUDE, "max_tokens": 10, "messages": [{"role": "user", "content": "with betas in lines"}]}
    answer = httpx.post(f"{suite.relay_url}/v1/messages", json=body, headers=headers, verify=suite.verify, timeout=30)
    assert answer.status_code == 200, answer.text
    sent = [(name.lower(), value) for name, value in sent_for(suite, "with betas in lines")["headers"]]
    assert [value for name, value in sent if name == "anthropic-beta"] == ["a-2025, b-2025,c-2025"]


def test_no_output_fills_the_prompt_cache(suite: Suite) -> None:
    """Also of a key with a budget, which holds the prompt only."""
    key = suite.make_key(limits={"tokensPerDay": 100_000})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=key, max_retries=0, timeout=30) as sdk:
        raw = sdk.messages.with_raw_response.create(model=f"{CLAUDE}+written-3", max_tokens=0, messages=[{"role": "user", "content": "to be cached"}])
    answer = raw.parse()
    assert answer.usage.output_tokens == 0 and answer.usage.cache_creation_input_tokens == 3
    assert json.loads(sent_for(suite, "to be cached")["body"])["max_tokens"] == 0
    assert_billed(suite, raw.headers["request-id"], 6, 0, written=3)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gemini-2.5-flash"])
def test_who_has_no_such_cache_is_not_asked_for_no_output(claude: anthropic.Anthropic, model: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model=model, max_tokens=0, messages=HELLO)
    assert "'max_tokens' 0" in str(refused.value)
