"""The official OpenAI SDK against the whole suite: what an app developer sees."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import openai
import pytest
from harness.suite import LISTED_MODELS, Suite

HELLO: Any = [{"role": "user", "content": "Hello there"}]
HELLO_USAGE = (5, 3, 8)  # two words and three for the message; "Echo: Hello there"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


def figures(usage: Any) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


@pytest.mark.parametrize("mark", ["", "+crlf", "+bytes-1"])
def test_a_provider_over_libcurl_answers_alike(client: openai.OpenAI, mark: str) -> None:
    answer = client.chat.completions.create(model="curled+plain" + mark, messages=HELLO)
    assert (answer.choices[0].message.content or "").endswith("Echo: Hello there") and figures(answer.usage)[0] == HELLO_USAGE[0]
    chunks = list(client.chat.completions.create(model="curled+plain" + mark, messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).endswith("Echo: Hello there")


@pytest.mark.smoke
def test_a_chat_completion_comes_back_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content == "Echo: Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert figures(answer.usage) == HELLO_USAGE


def test_every_answer_names_our_request_id_and_nothing_of_the_provider(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    assert raw.request_id and not raw.request_id.startswith("req_upstream")
    for name in ("set-cookie", "openai-organization", "x-ratelimit-limit-requests"):
        assert raw.headers.get(name) in (None, ""), name
    assert raw.headers.get("server") != "scripted-upstream"


@pytest.mark.smoke
def test_a_stream_without_include_usage_has_no_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Echo: Hello there"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks)


def test_a_stream_with_include_usage_ends_with_it(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and figures(chunks[-1].usage) == HELLO_USAGE
    assert all(c.usage is None for c in chunks[:-1])


@pytest.mark.parametrize("mark", ["crlf", "cr", "bytes-1", "comments", "usage-on-content", "usage-every-chunk", "fail-close"])
def test_streams_of_every_shape_read_the_same(client: openai.OpenAI, mark: str) -> None:
    chunks = list(client.chat.completions.create(model=f"gpt-4o-mini+{mark}", messages=HELLO, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.endswith("Echo: Hello there")
    assert ("世界! 🙂" in text) == (mark == "bytes-1")
    assert all(c.usage is None for c in chunks)


async def test_the_async_client_streams_and_runs_calls_side_by_side(suite: Suite, shared_key: str) -> None:
    import asyncio

    async with openai.AsyncOpenAI(base_url=f"{suite.relay_url}/v1", api_key=shared_key, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == "Echo: Hello there"
        many = [sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"number {i}"}]) for i in range(50)]
        answers = await asyncio.gather(*many)
        assert [a.choices[0].message.content for a in answers] == [f"Echo: number {i}" for i in range(50)]


def test_several_choices_and_a_ceiling(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, n=3, max_tokens=2)
    assert [c.message.content for c in answer.choices] == ["Echo: Hello"] * 3
    assert {c.finish_reason for c in answer.choices} == {"length"}


def test_a_tool_is_called_and_its_result_understood(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "call get_weather for Berlin"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]  # type: ignore[index]
    assert json.loads(call.function.arguments) == {"city": "Berlin"}
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    final = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    assert final.choices[0].message.content == "Tool said: sunny"


def test_a_streamed_tool_call_arrives_in_pieces(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "call get_weather for Berlin"}]
    with client.chat.completions.stream(model="gpt-4o", messages=messages, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]  # type: ignore[index]
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Berlin"}


def test_images_reach_the_model(client: openai.OpenAI) -> None:
    content: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "Echo: What is this? [1 image]"
    assert answer.usage is not None and answer.usage.prompt_tokens == 3 + 3 + 85


def test_structured_output_parses(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "count": {"type": "integer"}}}
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "in Berlin"}],
        response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Berlin", "count": 1}


def test_embeddings_are_the_same_as_floats_and_as_base64(client: openai.OpenAI) -> None:
    texts = ["one text", "and another"]
    floats = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float", dimensions=8)
    default = client.embeddings.create(model="text-embedding-3-small", input=texts, dimensions=8)  # base64 on the wire
    raw = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="base64", dimensions=8)
    assert len(floats.data) == 2 and len(floats.data[0].embedding) == 8
    for plain, decoded, encoded in zip(floats.data, default.data, raw.data):
        assert decoded.embedding == pytest.approx(plain.embedding, abs=1e-6)
        unpacked = struct.unpack("<8f", base64.b64decode(str(encoded.embedding)))
        assert list(unpacked) == pytest.approx(plain.embedding, abs=1e-6)
    assert floats.usage.prompt_tokens == floats.usage.total_tokens > 0


def test_legacy_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello there")
    assert answer.choices[0].text == "Echo: Hello there" and answer.usage is not None
    chunks = list(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello there", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == "Echo: Hello there"


def test_models_are_listed_and_retrieved_also_with_slashes(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert sorted(listed) == sorted(LISTED_MODELS)
    for name in listed:
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as e:
        client.models.retrieve("no/such/model")
    assert e.value.code == "model_not_found"


def test_an_alias_goes_up_under_its_real_name(suite: Suite, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="alias-gpt", messages=[{"role": "user", "content": "by an alias"}])
    assert answer.choices[0].message.content == "Echo: by an alias"
    sent = [json.loads(r["body"]) for r in suite.upstream_log() if "by an alias" in r["body"]]
    assert [body["model"] for body in sent] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("no-such-model", openai.NotFoundError, "model_not_found"),
        ("gpt-4o-mini+fail-status-400", openai.BadRequestError, None),
        ("gpt-4o-mini+fail-status-409", openai.ConflictError, "conflict"),
        ("gpt-4o-mini+fail-status-422", openai.UnprocessableEntityError, "unprocessable_entity"),
        ("gpt-4o-mini+fail-status-429", openai.RateLimitError, "upstream_rate_limited"),
        ("gpt-4o-mini+fail-status-500", openai.InternalServerError, "upstream_error"),
        ("gpt-4o-mini+fail-status-503", openai.InternalServerError, "upstream_unavailable"),
        ("gpt-4o-mini+fail-status-401", openai.InternalServerError, "upstream_auth_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_each_failure_is_its_class_of_error(client: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str | None, stream: bool) -> None:
    with pytest.raises(error) as e:
        client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert type(e.value) is error
    assert e.value.code == code and e.value.request_id
    assert isinstance(e.value.body, dict) and e.value.body["message"]


def test_a_wrong_key_is_an_authentication_error(suite: Suite) -> None:
    with pytest.raises(openai.AuthenticationError) as e:
        openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key="lc_prod_nonsense", max_retries=0).models.list()
    assert e.value.code == "invalid_api_key"


def test_a_missing_permission_is_a_permission_error(suite: Suite) -> None:
    key = suite.make_key(permissions={"features": {"functionCalling": False}})["key"]
    with pytest.raises(openai.PermissionDeniedError, match="functionCalling"):
        openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=key, max_retries=0).chat.completions.create(
            model="gpt-4o", messages=HELLO, tools=TOOLS
        )


def test_a_failure_in_mid_stream_is_an_error_not_an_end(client: openai.OpenAI) -> None:
    text = ""
    with pytest.raises(openai.APIError) as e:
        for chunk in client.chat.completions.create(model="gpt-4o-mini+fail-cut-3", messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text and "Echo: Hello there".startswith(text)
    assert not isinstance(e.value, openai.APIStatusError) and e.value.code == "upstream_cut"


def test_the_sdk_retries_what_may_be_retried(suite: Suite, shared_key: str) -> None:
    with openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=shared_key, max_retries=2) as sdk:
        answer = sdk.chat.completions.create(model="gpt-4o-mini+fail-first-1", messages=HELLO)
    assert answer.choices[0].message.content == "Echo: Hello there"
