"""Anthropic's official SDK and the models of everybody else: what an app sees, what the provider gets, what is billed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from harness.ports import eventually
from harness.suite import Suite

GPT, LOCAL, GEMINI, AGENT = "gpt-4o-mini", "llama-3", "gemini-2.5-flash", "agent_echo"
UPSTREAM = {GPT: "openai", LOCAL: "openai", GEMINI: "google", AGENT: "librechat"}
PROVIDER = {GPT: "scripted", LOCAL: "local", GEMINI: "google", AGENT: "librechat"}
PRICE = {GPT: (150, 75, 600), GEMINI: (300, 30, 2500)}  # nano-USD a token: prompt, cached, completion
HELLO: Any = [{"role": "user", "content": "Hello there"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"name": "now", "input_schema": {"type": "object"}},
]
every = pytest.mark.parametrize("model", [GPT, LOCAL, GEMINI, AGENT])
capable = pytest.mark.parametrize("model", [GPT, LOCAL, GEMINI])
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture
def claude(suite: Suite, shared_key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=shared_key, max_retries=0, timeout=30) as sdk:
        yield sdk


def ask(sdk: anthropic.Anthropic, stream: bool, model: str, messages: Any = HELLO, **asked: Any) -> tuple[Any, str]:
    """The message and the id of its request."""
    asked = {"max_tokens": 100, **asked, "model": model, "messages": messages}
    if stream:
        with sdk.messages.stream(**asked) as events:
            return events.get_final_message(), str(events.request_id)
    raw = sdk.messages.with_raw_response.create(**asked)
    return raw.parse(), str(raw.headers["request-id"])


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def sent_for(suite: Suite, model: str, text: str) -> Any:
    return json.loads([r for r in suite.upstream_log(of=UPSTREAM[model]) if text in r["body"]][-1]["body"])


@every
@both_ways
@pytest.mark.smoke
def test_a_message_comes_back_and_is_billed(suite: Suite, claude: anthropic.Anthropic, model: str, stream: bool) -> None:
    answer, request_id = ask(claude, stream, model)
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn") and answer.id
    assert text_of(answer).startswith("Echo: Hello there")
    row = suite.row(request_id)
    usage = row["usage"]
    assert (row["request"]["endpoint"], row["provider"], row["outcome"]) == ("/v1/messages", PROVIDER[model], "complete")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (usage["promptTokens"], usage["completionTokens"])
    assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"] and row["finishReason"] == "stop"
    if model in PRICE:
        assert (usage["promptTokens"], usage["completionTokens"], row["billingBasis"]) == (5, 3, "reported")
        assert usage["costNanoUsd"] == 5 * PRICE[model][0] + 3 * PRICE[model][2]


@every
def test_events_come_in_anthropics_order(claude: anthropic.Anthropic, model: str) -> None:
    with claude.messages.create(model=model, max_tokens=100, messages=HELLO, stream=True) as stream:
        events: list[Any] = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta").startswith("Echo: Hello there")


@every
async def test_the_async_client_streams(suite: Suite, shared_key: str, model: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=suite.relay_url, api_key=shared_key, max_retries=0) as sdk:
        async with sdk.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
            assert "".join([text async for text in stream.text_stream]).startswith("Echo: Hello there")


@capable
@pytest.mark.parametrize("mark", ["crlf", "cr", "bytes-1", "comments", "fail-close"])
def test_streams_of_every_shape_read_the_same(claude: anthropic.Anthropic, model: str, mark: str) -> None:
    answer, _ = ask(claude, True, f"{model}+{mark}")
    assert text_of(answer) == ("Grüße, 世界! 🙂 Echo: Hello there" if mark == "bytes-1" else "Echo: Hello there")


@pytest.mark.parametrize("model", [GPT, GEMINI])
@both_ways
def test_cached_and_reasoning_tokens_are_counted_once(suite: Suite, claude: anthropic.Anthropic, model: str, stream: bool) -> None:
    mark = "+exclusive" if model == GEMINI else ""
    answer, request_id = ask(claude, stream, f"{model}+cached-2+reasoning-4{mark}")
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (3, 2, 7)
    assert usage.output_tokens_details.thinking_tokens == 4
    row = suite.row(request_id)
    prompt, cached, completion = PRICE[model]
    assert (row["usage"]["promptTokens"], row["usage"]["cachedTokens"], row["usage"]["totalTokens"]) == (5, 2, 12)
    assert row["usage"]["costNanoUsd"] == 3 * prompt + 2 * cached + 7 * completion


def test_usage_that_nobody_reports_is_estimated_in_both_places(suite: Suite, claude: anthropic.Anthropic) -> None:
    answer, request_id = ask(claude, True, f"{GPT}+fail-no-usage")
    row = suite.row(request_id)
    assert row["billingBasis"] == "estimated" and answer.usage.output_tokens > 0
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (row["usage"]["promptTokens"], row["usage"]["completionTokens"])


# ---- tools ----


@capable
@both_ways
def test_parallel_tools_and_their_results(suite: Suite, claude: anthropic.Anthropic, model: str, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "use all tools for Berlin"}]
    answer, _ = ask(claude, stream, model, messages, tools=TOOLS, system="You know tools.")
    assert answer.stop_reason == "tool_use"
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [("get_weather", {"city": "Berlin"}), ("now", {})]
    assert len({call.id for call in calls}) == 2
    results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": said} for call, said in zip(calls, ("sunny", "noon"))]
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    final, _ = ask(claude, stream, model, messages, tools=TOOLS)
    assert text_of(final) == "Tool said: noon"


@capable
def test_a_choice_of_tools_is_the_callers(claude: anthropic.Anthropic, model: str) -> None:
    for choice, called in (({"type": "tool", "name": "now"}, ["now"]), ({"type": "any"}, ["get_weather"]), ({"type": "none"}, [])):
        answer, _ = ask(claude, False, model, tools=TOOLS, tool_choice=choice)
        assert [block.name for block in answer.content if block.type == "tool_use"] == called


@both_ways
def test_a_thought_signature_goes_back_with_its_call(claude: anthropic.Anthropic, stream: bool) -> None:
    model = f"{GEMINI}+signed"
    messages: Any = [{"role": "user", "content": "call get_weather for Rome"}]
    answer, _ = ask(claude, stream, model, messages, tools=TOOLS)
    assert [block.type for block in answer.content] == ["redacted_thinking", "tool_use"]
    result = [{"type": "tool_result", "tool_use_id": answer.content[1].id, "content": "sunny"}]
    turn = [*messages, {"role": "assistant", "content": answer.content}, {"role": "user", "content": result}]
    assert text_of(ask(claude, stream, model, turn, tools=TOOLS)[0]) == "Tool said: sunny"
    turn[1] = {"role": "assistant", "content": answer.content[1:]}
    with pytest.raises(anthropic.BadRequestError, match="thought_signature"):
        ask(claude, stream, model, turn, tools=TOOLS)


@pytest.mark.parametrize("model", [GPT, GEMINI])
def test_thinking_is_shown_and_may_be_sent_back(suite: Suite, claude: anthropic.Anthropic, model: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer, _ = ask(claude, True, f"{model}+reasoning-3", thinking=thinking, max_tokens=2000)
    if model == GEMINI:
        assert answer.content[0].type == "thinking" and answer.content[0].thinking.split() == ["think"] * 3
    turn = [*HELLO, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "and more thoughts?"}]
    assert text_of(ask(claude, False, model, turn)[0]) == "Echo: and more thoughts?"
    asked = sent_for(suite, model, "Hello there")
    assert "think" not in json.dumps([asked.get("messages"), asked.get("contents")])


# ---- what else is asked ----


@capable
def test_images_reach_the_model_by_url_and_as_data(suite: Suite, claude: anthropic.Anthropic, model: str) -> None:
    sources: Any = [{"type": "base64", "media_type": "image/png", "data": PIXEL}, {"type": "url", "url": "https://example.com/cat.png"}]
    content: Any = [{"type": "text", "text": "What are these?"}, *({"type": "image", "source": source} for source in sources)]
    answer, _ = ask(claude, False, model, [{"role": "user", "content": content}])
    assert text_of(answer) == "Echo: What are these? [2 images]"


def test_images_in_a_tools_result_are_seen(claude: anthropic.Anthropic) -> None:
    shot: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    turn: Any = [
        {"role": "user", "content": "call now"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [shot]}, {"type": "text", "text": "What is it?"}]},
    ]
    answer, _ = ask(claude, False, GPT, turn)
    assert text_of(answer).endswith("What is it? [1 image]")


@capable
def test_structured_output_parses(claude: anthropic.Anthropic, model: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "count": {"type": "integer"}}, "additionalProperties": False}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer, _ = ask(claude, False, model, [{"role": "user", "content": "in Berlin"}], output_config=config)
    assert json.loads(text_of(answer)) == {"city": "Berlin", "count": 1}


@capable
def test_ceilings_and_stops_are_obeyed(claude: anthropic.Anthropic, model: str) -> None:
    short, _ = ask(claude, False, model, max_tokens=2)
    assert text_of(short) == "Echo: Hello" and short.stop_reason == "max_tokens"
    stopped, _ = ask(claude, True, model, stop_sequences=["there"])
    assert text_of(stopped).strip() == "Echo: Hello"


def test_parameters_of_the_older_api_version_go_on(suite: Suite, claude: anthropic.Anthropic) -> None:
    ask(claude, False, GPT, [{"role": "user", "content": "rather warm"}], system="Be kind.", extra_body={"temperature": 0.3, "top_p": 0.8}, metadata={"user_id": "u-7"})
    sent = sent_for(suite, GPT, "rather warm")
    assert (sent["temperature"], sent["top_p"], sent["user"], sent["max_completion_tokens"]) == (0.3, 0.8, "u-7", 100)
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}


def test_a_budget_cuts_the_ceiling_here_too(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": "60"})["key"]
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=key, max_retries=0) as sdk:
        ask(sdk, False, GPT, [{"role": "user", "content": "within means"}], max_tokens=1000)
    assert 16 <= sent_for(suite, GPT, "within means")["max_completion_tokens"] < 60


@pytest.mark.parametrize(
    ("model", "asked", "name"),
    [
        (GPT, {"extra_body": {"top_k": 5}}, "top_k"),
        (GPT, {"extra_body": {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}}, "context_management"),
        (GPT, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        (GPT, {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}, "messages[0].content[0]"),
        (GEMINI, {"tools": TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "tool_choice.disable_parallel_tool_use"),
        (AGENT, {"tools": TOOLS}, "tools"),
    ],
)
def test_what_a_provider_cannot_do_is_refused_by_name(suite: Suite, claude: anthropic.Anthropic, model: str, asked: Any, name: str) -> None:
    before = len(suite.upstream_log(of=UPSTREAM[model]))
    with pytest.raises(anthropic.BadRequestError) as e:
        ask(claude, False, model, **{"messages": HELLO, **asked})
    assert name in str(e.value.api_message) and e.value.error_code == "unsupported_parameter"
    assert len(suite.upstream_log(of=UPSTREAM[model])) == before


# ---- what goes wrong ----


@capable
@both_ways
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (503, anthropic.OverloadedError),
    ],
)
def test_each_failure_is_its_class_of_error(claude: anthropic.Anthropic, model: str, stream: bool, status: int, error: type[anthropic.APIStatusError]) -> None:
    with pytest.raises(error) as e:
        ask(claude, stream, f"{model}+fail-status-{status}")
    body: Any = e.value.body
    assert body["type"] == "error" and body["request_id"] == e.value.request_id and "provider-key" not in str(body)


@pytest.mark.parametrize("model", [f"{GPT}+fail-cut-3", f"{GPT}+fail-error-event-3", f"{LOCAL}+fail-end-3", f"{GEMINI}+fail-cut-2", f"{GEMINI}+no-done"])
def test_a_stream_that_fails_says_so_and_never_stops_well(suite: Suite, claude: anthropic.Anthropic, model: str) -> None:
    said: list[str] = []
    with pytest.raises(anthropic.APIStatusError) as e:
        with claude.messages.create(model=model, max_tokens=100, messages=HELLO, stream=True) as stream:
            said += [event.type for event in stream]
    assert "message_stop" not in said and e.value.type == "api_error"
    assert suite.row(str(e.value.request_id))["outcome"] == "partial"


def test_a_revoked_key_is_out(suite: Suite) -> None:
    made = suite.make_key()
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=made["key"], max_retries=0) as sdk:
        assert text_of(ask(sdk, False, GPT)[0]) == "Echo: Hello there"
        assert suite.admin("DELETE", f"/admin/api-keys/{made['id']}").status_code == 200

        def is_out() -> bool:
            try:
                ask(sdk, False, GPT)
            except anthropic.AuthenticationError:
                return True
            return False

        eventually(is_out, "the revoked key is refused")
