"""Anthropic's and Google's models through the official OpenAI SDK: what an app sees, what the provider gets, what is billed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from harness.suite import Suite

CLAUDE, GEMINI = "claude-sonnet-4-6", "gemini-2.5-flash"
UPSTREAM = {CLAUDE: "anthropic", GEMINI: "google"}
PRICE = {CLAUDE: (3000, 300, 15000), GEMINI: (300, 30, 2500)}  # nano-USD a token: prompt, cached, completion
CACHE_WRITE_PRICE, LONG_CACHE_WRITE_PRICE = 3750, 6000  # Claude's
HELLO: Any = [{"role": "user", "content": "Hello there"}]
HELLO_USAGE = (5, 3, 8)
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def tool(name: str, **properties: str) -> Any:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [tool("get_weather", city="string"), tool("now")]
both = pytest.mark.parametrize("model", [CLAUDE, GEMINI])


def figures(usage: Any) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def text_of(chunks: Any) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def sent_to(suite: Suite, model: str, text: str) -> dict[str, Any]:
    """The last request with `text` in it that the model's provider got."""
    return [r for r in suite.upstream_log(of=UPSTREAM[model]) if text in r["body"]][-1]


def assert_billed(suite: Suite, model: str, request_id: str, prompt: int, cached: int, completion: int, written: int = 0) -> None:
    row = suite.row(request_id)
    usage = row["usage"]
    assert (usage["promptTokens"], usage["completionTokens"], usage["totalTokens"]) == (prompt, completion, prompt + completion)
    assert usage.get("cachedTokens", 0) == cached and row["billingBasis"] == "reported" and row["outcome"] == "complete"
    prices = PRICE[model]
    assert row["usage"]["costNanoUsd"] == (prompt - cached - written) * prices[0] + cached * prices[1] + written * CACHE_WRITE_PRICE + completion * prices[2]
    assert row["provider"] == UPSTREAM[model]


@both
@pytest.mark.smoke
def test_a_completion_comes_back_whole_and_is_billed(suite: Suite, client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Echo: Hello there" and answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion" and answer.model == model and answer.created > 1_700_000_000
    assert figures(answer.usage) == HELLO_USAGE
    assert_billed(suite, model, str(raw.request_id), 5, 0, 3)


@both
@pytest.mark.smoke
def test_a_stream_is_openais_and_is_billed(suite: Suite, client: openai.OpenAI, model: str) -> None:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    with client.chat.completions.with_streaming_response.create(model=model, messages=HELLO, **options) as raw:
        request_id = raw.headers["x-request-id"]
        chunks = list(raw.parse())
    assert text_of(chunks) == "Echo: Hello there" and chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert {c.object for c in chunks} == {"chat.completion.chunk"} and len({c.id for c in chunks}) == 1
    assert chunks[-1].choices == [] and figures(chunks[-1].usage) == HELLO_USAGE
    assert_billed(suite, model, request_id, 5, 0, 3)
    assert all(c.usage is None for c in client.chat.completions.create(model=model, messages=HELLO, stream=True))


@both
@pytest.mark.parametrize("mark", ["crlf", "cr", "bytes-1", "comments", "fail-close"])
def test_streams_of_every_shape_read_the_same(client: openai.OpenAI, model: str, mark: str) -> None:
    text = text_of(client.chat.completions.create(model=f"{model}+{mark}", messages=HELLO, stream=True))
    assert text == ("Grüße, 世界! 🙂 Echo: Hello there" if mark == "bytes-1" else "Echo: Hello there")


@both
async def test_the_async_client_streams(suite: Suite, shared_key: str, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{suite.relay_url}/v1", api_key=shared_key, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model=model, messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Echo: Hello there"


@both
def test_the_credential_goes_up_as_the_provider_wants_it_and_no_other_way(suite: Suite, shared_key: str, model: str) -> None:
    answer = suite.chat(shared_key, model, "with a credential", headers={"anthropic-beta": "one-beta", "Cookie": "a=1", "x-goog-user-project": "p"})
    assert answer.status_code == 200, answer.text
    sent = {name.lower(): value for name, value in sent_to(suite, model, "with a credential")["headers"]}
    assert not {"authorization", "cookie", "x-goog-user-project"} & set(sent) and shared_key not in sent.values()
    if model == CLAUDE:
        assert (sent["x-api-key"], sent["anthropic-version"], sent["anthropic-beta"]) == ("sk-ant-provider-key", "2023-06-01", "one-beta")
    else:
        assert sent["x-goog-api-key"] == "AIza-google-provider-key" and not {"anthropic-version", "anthropic-beta"} & set(sent)


@both
def test_cached_and_reasoning_tokens_are_counted_once(suite: Suite, client: openai.OpenAI, model: str) -> None:
    name = f"{model}+cached-2+reasoning-4" + ("+written-1" if model == CLAUDE else "+exclusive")
    raw = client.chat.completions.with_raw_response.create(model=name, messages=HELLO)
    answer = raw.parse()
    assert figures(answer.usage) == (5, 7, 12)
    assert answer.usage.prompt_tokens_details.cached_tokens == 2  # type: ignore[union-attr]
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4  # type: ignore[union-attr]
    assert answer.choices[0].message.reasoning_content.split() == ["think"] * 4  # type: ignore[attr-defined]
    written = int(model == CLAUDE)
    assert_billed(suite, model, str(raw.request_id), 5, 2, 7, written)
    with client.chat.completions.with_streaming_response.create(model=name, messages=HELLO, stream=True) as streamed:
        request_id = streamed.headers["x-request-id"]
        thoughts = [getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in streamed.parse()]
    assert "".join(thoughts).split() == ["think"] * 4
    assert_billed(suite, model, request_id, 5, 2, 7, written)


def test_figures_that_come_late_replace_the_early_zeros(suite: Suite, client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(model=f"{CLAUDE}+late-usage+cached-2", messages=HELLO, stream=True) as raw:
        request_id = raw.headers["x-request-id"]
        assert text_of(raw.parse()) == "Echo: Hello there"
    assert_billed(suite, CLAUDE, request_id, 5, 2, 3)


@both
def test_usage_that_nobody_reports_is_estimated_not_zero(suite: Suite, client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=f"{model}+fail-no-usage", messages=HELLO)
    assert raw.parse().usage is None
    row = suite.row(str(raw.request_id))
    assert row["billingBasis"] == "estimated" and row["usage"]["promptTokens"] > 0 and row["usage"]["completionTokens"] > 0


# ---- tools ----


@both
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_parallel_tool_calls_and_their_results(client: openai.OpenAI, model: str, stream: bool) -> None:
    messages: Any = [{"role": "system", "content": "You know tools."}, {"role": "user", "content": "use all tools for Berlin"}]
    if stream:
        with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0]  # type: ignore[assignment]
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == [("get_weather", {"city": "Berlin"}), ("now", {})]
    assert len({c.id for c in calls}) == 2
    asked = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}} for c in calls]
    results = [{"role": "tool", "tool_call_id": c.id, "content": said} for c, said in zip(calls, ("sunny", "noon"))]
    messages += [{"role": "assistant", "content": None, "tool_calls": asked}, *results]
    final = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert final.choices[0].message.content == "Tool said: noon"


@both
def test_a_choice_of_tools_is_the_callers(client: openai.OpenAI, model: str) -> None:
    forced: Any = {"type": "function", "function": {"name": "now"}}
    for choice, called in ((forced, ["now"]), ("required", ["get_weather"]), ("none", [])):
        answer = client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS, tool_choice=choice)
        assert [c.function.name for c in answer.choices[0].message.tool_calls or []] == called  # type: ignore[union-attr]


def test_thinking_goes_back_unchanged_on_a_tool_turn(suite: Suite, client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "think, then call get_weather for Rome"}]
    for stream in (False, True):
        model = f"{CLAUDE}+reasoning-3"
        if stream:
            with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as events:
                message = events.get_final_completion().choices[0].message.model_dump(exclude_none=True)
        else:
            message = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message.model_dump(exclude_none=True)
        for call in message["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        message.pop("parsed", None)
        turn = [*messages, message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}]
        answer = client.chat.completions.create(model=CLAUDE, messages=turn, tools=TOOLS)  # its signature is checked
        assert answer.choices[0].message.content == "Tool said: sunny"
        sent = json.loads(sent_to(suite, CLAUDE, "sunny")["body"])["messages"][1]["content"]
        assert [b["type"] for b in sent] == ["thinking", "tool_use"] and sent[0]["thinking"].split() == ["think"] * 3


def test_a_thought_signature_goes_back_with_its_call(client: openai.OpenAI) -> None:
    model = f"{GEMINI}+signed"
    messages: Any = [{"role": "user", "content": "call get_weather for Rome"}]
    message = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message
    assert message.tool_calls
    turn = [*messages, message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    assert client.chat.completions.create(model=model, messages=turn, tools=TOOLS).choices[0].message.content == "Tool said: sunny"
    turn[1]["tool_calls"][0].pop("extra_content")
    with pytest.raises(openai.BadRequestError, match="thought_signature"):
        client.chat.completions.create(model=model, messages=turn, tools=TOOLS)


# ---- what else is asked ----


@both
def test_images_reach_the_model_by_url_and_as_data(suite: Suite, client: openai.OpenAI, model: str) -> None:
    urls = [PIXEL, "https://example.com/cat.png"]
    content: Any = [{"type": "text", "text": "What are these?"}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "Echo: What are these? [2 images]"
    assert answer.usage is not None and answer.usage.prompt_tokens == 3 + 3 + 2 * 85
    body = sent_to(suite, model, "What are these?")["body"]
    assert PIXEL.partition(",")[2] in body and "https://example.com/cat.png" in body and "data:" not in body


@both
def test_structured_output_parses(client: openai.OpenAI, model: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "count": {"type": "integer"}}, "additionalProperties": False}
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "in Berlin"}],
        response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Berlin", "count": 1}


@both
def test_ceilings_and_stops_are_obeyed(client: openai.OpenAI, model: str) -> None:
    short = client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=2)
    assert short.choices[0].message.content == "Echo: Hello" and short.choices[0].finish_reason == "length"
    stopped = client.chat.completions.create(model=model, messages=HELLO, stop=["there"])
    assert (stopped.choices[0].message.content or "").strip() == "Echo: Hello" and stopped.choices[0].finish_reason == "stop"


def test_a_key_with_a_budget_sets_the_ceiling(suite: Suite) -> None:
    key = suite.make_key(permissions={"maxTokens": 2})["key"]
    for model in (CLAUDE, GEMINI, "llama-3"):
        answer = suite.chat(key, model)
        assert answer.json()["choices"][0]["message"]["content"] == "Echo: Hello", answer.text


def test_several_choices_where_the_provider_makes_them(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=GEMINI, messages=HELLO, n=2)
    assert [c.message.content for c in answer.choices] == ["Echo: Hello there"] * 2
    chunks = list(client.chat.completions.create(model=f"{GEMINI}+early-stop", messages=HELLO, n=2, stream=True))
    for index in (0, 1):
        said = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == index]
        assert "".join(c.delta.content or "" for c in said) == "Echo: Hello there" and said[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("model", "asked", "param"),
    [
        (CLAUDE, {"seed": 1}, "seed"),
        (CLAUDE, {"n": 2}, "n"),
        (CLAUDE, {"logprobs": True}, "logprobs"),
        (CLAUDE, {"response_format": {"type": "json_object"}}, "response_format"),
        (GEMINI, {"parallel_tool_calls": False, "tools": TOOLS}, "parallel_tool_calls"),
        (GEMINI, {"logit_bias": {"1": 1}}, "logit_bias"),
    ],
)
def test_what_a_provider_cannot_do_is_refused_by_name(suite: Suite, client: openai.OpenAI, model: str, asked: Any, param: str) -> None:
    before = len(suite.upstream_log(of=UPSTREAM[model]))
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=model, messages=HELLO, **asked)
    assert (e.value.code, e.value.param) == ("unsupported_parameter", param)
    assert len(suite.upstream_log(of=UPSTREAM[model])) == before


def test_a_route_may_drop_it_and_say_so(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="lenient-claude", messages=HELLO, seed=1, logprobs=True, temperature=2)
    assert raw.parse().choices[0].message.content == "Echo: Hello there"
    assert {name.strip() for name in raw.headers["x-relay-ignored-params"].split(",")} == {"seed", "logprobs", "temperature"}


@both
def test_only_chat_is_served(suite: Suite, shared_key: str, model: str) -> None:
    for path, body in (("/v1/embeddings", {"input": "x"}), ("/v1/completions", {"prompt": "x"})):
        answer = suite.post(path, shared_key, json={"model": model, **body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_supported")


# ---- what goes wrong ----


@both
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.InternalServerError, "upstream_auth_error"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "upstream_rate_limited"),
        (500, openai.InternalServerError, "upstream_error"),
        (503, openai.InternalServerError, "upstream_unavailable"),
        (529, openai.InternalServerError, "upstream_unavailable"),
    ],
)
def test_each_failure_is_its_class_of_error(client: openai.OpenAI, model: str, stream: bool, status: int, error: type[openai.APIStatusError], code: str | None) -> None:
    with pytest.raises(error) as e:
        client.chat.completions.create(model=f"{model}+fail-status-{status}", messages=HELLO, stream=stream)
    assert e.value.code == code and isinstance(e.value.body, dict) and e.value.body["message"]


@both
def test_a_providers_words_do_not_tell_its_credential(suite: Suite, shared_key: str, model: str) -> None:
    answer = suite.chat(shared_key, f"{model}+fail-leak")
    assert answer.status_code == 400 and "provider-key" not in answer.text and "***" in answer.text


def events_of(answer: httpx.Response) -> list[Any]:
    datas = [line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:")]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (f"{CLAUDE}+fail-cut-5", "upstream_cut"),
        (f"{CLAUDE}+fail-end-5", "upstream_cut"),
        (f"{CLAUDE}+no-done", "upstream_cut"),
        (f"{CLAUDE}+fail-error-event-5", "upstream_error"),
        (f"{CLAUDE}+fail-garbage-stream-5", "upstream_invalid_response"),
        (f"{GEMINI}+fail-cut-2", "upstream_cut"),
        (f"{GEMINI}+fail-end-2", "upstream_cut"),
        (f"{GEMINI}+no-done", "upstream_cut"),
        (f"{GEMINI}+fail-error-event-2", "upstream_error"),
        (f"{GEMINI}+fail-garbage-stream-2", "upstream_invalid_response"),
    ],
)
def test_a_stream_that_fails_ends_in_an_error_and_is_billed_as_far_as_it_went(suite: Suite, shared_key: str, model: str, code: str) -> None:
    answer = suite.chat(shared_key, model, stream=True)
    events = events_of(answer)
    assert answer.status_code == 200 and events[-1]["error"]["code"] == code and "[DONE]" not in events
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "partial" and row["usage"]["completionTokens"] > 0 and row["usage"]["costNanoUsd"] > 0


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/messages"])
def test_a_stream_that_is_cut_is_billed_by_the_prompt_that_its_begin_stated(suite: Suite, shared_key: str, endpoint: str) -> None:
    body = {"model": f"{CLAUDE}+cached-2+written-1+fail-cut-5", "max_tokens": 100, "stream": True, "messages": HELLO}
    row = suite.row(suite.post(endpoint, shared_key, json=body).headers["x-request-id"])
    usage, price = row["usage"], PRICE[CLAUDE]
    assert (row["outcome"], row["billingBasis"]) == ("partial", "estimated") and usage["completionTokens"] > 0
    assert (usage["promptTokens"], usage["cachedTokens"], usage["cacheWriteTokens"]) == (5, 2, 1)
    assert usage["costNanoUsd"] == 2 * price[0] + 2 * price[1] + CACHE_WRITE_PRICE + usage["completionTokens"] * price[2]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/messages"])
def test_what_is_kept_in_the_cache_for_an_hour_is_billed_as_such(suite: Suite, shared_key: str, endpoint: str, stream: bool) -> None:
    body = {"model": f"{CLAUDE}+cached-1+written-3+hour-2", "max_tokens": 100, "stream": stream, "messages": HELLO}
    row = suite.row(suite.post(endpoint, shared_key, json=body).headers["x-request-id"])
    usage, price = row["usage"], PRICE[CLAUDE]
    assert row["billingBasis"] == "reported"
    assert (usage["promptTokens"], usage["cachedTokens"], usage["cacheWriteTokens"], usage["longCacheWriteTokens"]) == (5, 1, 3, 2)
    prompt = price[0] + price[1] + CACHE_WRITE_PRICE + 2 * LONG_CACHE_WRITE_PRICE
    assert usage["costNanoUsd"] == prompt + usage["completionTokens"] * price[2]
    shown = suite.shown(f"/admin/logs?requestId={row['requestId']}")["logs"][0]
    assert shown["usage"]["longCacheWriteTokens"] == 2


@both
@pytest.mark.parametrize(
    ("mark", "status", "code"),
    [
        ("fail-error-event-0", 502, "upstream_error"),
        ("fail-cut-0", 502, "upstream_cut"),
        ("fail-html", 502, "upstream_invalid_response"),
        ("fail-garbage-json", 502, "upstream_invalid_response"),
    ],
)
def test_a_stream_that_fails_before_its_content_is_a_status(suite: Suite, shared_key: str, model: str, mark: str, status: int, code: str) -> None:
    answer = suite.chat(shared_key, f"{model}+{mark}", stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_blocked_prompt_is_an_answer_that_was_filtered(suite: Suite, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=f"{GEMINI}+blocked", messages=HELLO)
    assert raw.parse().choices[0].finish_reason == "content_filter"
    assert suite.row(str(raw.request_id))["usage"]["promptTokens"] == 5
    chunks = list(client.chat.completions.create(model=f"{GEMINI}+blocked", messages=HELLO, stream=True))
    assert chunks[-1].choices[0].finish_reason == "content_filter"


def test_a_local_server_gets_the_ceiling_by_the_name_it_knows(suite: Suite, client: openai.OpenAI) -> None:
    messages: Any = [{"role": "developer", "content": "to a local one"}, *HELLO]
    answer = client.chat.completions.create(model="llama-3", messages=messages, max_completion_tokens=2)
    assert answer.choices[0].message.content == "Echo: Hello"
    sent = [json.loads(r["body"]) for r in suite.upstream_log() if "to a local one" in r["body"]][-1]
    assert sent["max_tokens"] == 2 and [m["role"] for m in sent["messages"]] == ["system", "user"]
