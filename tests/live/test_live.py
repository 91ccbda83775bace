"""
The relay before real providers: create, stream and tools, by both SDKs. `./dev test live`, with keys in the environment:

    OPENAI_API_KEY                     LIVE_OPENAI_MODEL (gpt-4o-mini), LIVE_OPENAI_URL
    ANTHROPIC_API_KEY                  LIVE_ANTHROPIC_MODEL (claude-haiku-4-5), LIVE_ANTHROPIC_URL
    GOOGLE_API_KEY                     LIVE_GOOGLE_MODEL (gemini-2.5-flash), LIVE_GOOGLE_URL
    LIBRECHAT_URL, LIBRECHAT_API_KEY   LIVE_LIBRECHAT_MODEL, the id of an agent
    LIVE_LOCAL_URL                     LIVE_LOCAL_MODEL, of a vLLM, Ollama or llama.cpp; LIVE_LOCAL_KEY when it wants one

What is not there is skipped by its name. A run costs some cents. What a model says is its own affair; judged are forms, usage and
the rows of the account. tests/e2e/test_live_run.py runs all of this against the scripted upstreams.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from harness.suite import Suite

TIMEOUT_S = 120.0
CEILING = 2000  # thinking counts
WEATHER = "call get_weather for Berlin"
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


@dataclass(frozen=True)
class Provider:
    kind: str
    url: str
    key: str  # the variable
    model: str
    needs: tuple[str, ...]  # variables without which it is skipped

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if not os.environ.get(name)]


def provider(kind: str, url: str, key: str, model: str = "", *needs: str) -> Provider:
    upper = kind.upper()
    return Provider(kind, os.environ.get(f"LIVE_{upper}_URL", url), key, os.environ.get(f"LIVE_{upper}_MODEL", model), needs)


PROVIDERS = {
    p.kind: p
    for p in (
        provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4o-mini", "OPENAI_API_KEY"),
        provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        provider("google", "https://generativelanguage.googleapis.com", "GOOGLE_API_KEY", "gemini-2.5-flash", "GOOGLE_API_KEY"),
        provider("librechat", os.environ.get("LIBRECHAT_URL", ""), "LIBRECHAT_API_KEY", "", "LIBRECHAT_URL", "LIBRECHAT_API_KEY", "LIVE_LIBRECHAT_MODEL"),
        provider("local", "", "LIVE_LOCAL_KEY", "", "LIVE_LOCAL_URL", "LIVE_LOCAL_MODEL"),
    )
}
every = pytest.mark.parametrize("kind", PROVIDERS)
capable = pytest.mark.parametrize("kind", [kind for kind in PROVIDERS if kind != "librechat"])  # agents run their own tools
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


def model_of(kind: str) -> str:
    """The model asked for; skips by name what is not there."""
    p = PROVIDERS[kind]
    if p.missing:
        pytest.skip(f"{kind}: {', '.join(p.missing)} not in the environment")
    return p.model


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    usable = [p for p in PROVIDERS.values() if not p.missing]
    folder = tmp_path_factory.mktemp("live")
    prices = [{"model": p.model, "provider": p.kind, "promptPerMillionNanoUsd": 10**6, "completionPerMillionNanoUsd": 2 * 10**6} for p in usable]
    book = folder / "prices.yaml"
    book.write_text(json.dumps({"version": "live", "prices": prices}))
    keys = {f"CREDENTIAL_LIVE_{p.kind.upper()}": os.environ[p.key] for p in usable if os.environ.get(p.key)}
    stack = Suite(folder, relay_settings={"PRICE_BOOK_FILE": str(book), **keys})
    credentials = {p.kind: f"env:RELAY_CREDENTIAL_LIVE_{p.kind.upper()}" if os.environ.get(p.key) else "" for p in usable}
    stack.write_relay_config(
        [{"name": p.kind, "kind": p.kind, "baseUrl": p.url, "credential": credentials[p.kind]} for p in usable],
        [{"model": p.model, "targets": [{"provider": p.kind}]} for p in usable],
    )
    yield stack.start()
    assert stack.stop()["relay"] == 0


@pytest.fixture(scope="module")
def key(suite: Suite) -> str:
    return str(suite.make_key(limits={"costLimit": 1})["key"])


@pytest.fixture
def chat(suite: Suite, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=key, timeout=TIMEOUT_S) as sdk:
        yield sdk


@pytest.fixture
def messages(suite: Suite, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=key, timeout=TIMEOUT_S) as sdk:
        yield sdk


def assert_accounted(suite: Suite, request_id: str, kind: str, prompt: int, completion: int) -> None:
    """The row has the provider's own figures, as the caller was told them."""
    row = suite.row(request_id)
    usage = row["usage"]
    assert (row["provider"], row["outcome"], row["billingBasis"]) == (kind, "complete", "reported"), row
    assert (usage["promptTokens"], usage["completionTokens"]) == (prompt, completion) and prompt > 0 and completion > 0
    assert usage["costNanoUsd"] == prompt + 2 * completion


@every
@both_ways
def test_openais_sdk_gets_an_answer(suite: Suite, chat: openai.OpenAI, kind: str, stream: bool) -> None:
    asked: Any = {"model": model_of(kind), "messages": [{"role": "user", "content": "Say hello in one word."}]}
    if kind != "librechat":
        asked["max_completion_tokens"] = CEILING
    if stream:
        raw = chat.chat.completions.with_raw_response.create(**asked, stream=True, stream_options={"include_usage": True})
        chunks: list[Any] = list(raw.parse())
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage)
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    else:
        raw = chat.chat.completions.with_raw_response.create(**asked)
        answer: Any = raw.parse()
        text, usage = answer.choices[0].message.content, answer.usage
        assert answer.choices[0].finish_reason == "stop"
    assert text
    assert_accounted(suite, raw.headers["x-request-id"], kind, usage.prompt_tokens, usage.completion_tokens)


@every
@both_ways
def test_anthropics_sdk_gets_an_answer(suite: Suite, messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    asked: Any = {"model": model_of(kind), "max_tokens": CEILING, "messages": [{"role": "user", "content": "Say hello in one word."}]}
    if stream:
        with messages.messages.stream(**asked) as events:
            answer: Any = events.get_final_message()
            request_id = str(events.request_id)
    else:
        raw = messages.messages.with_raw_response.create(**asked)
        answer, request_id = raw.parse(), str(raw.headers["request-id"])
    assert answer.stop_reason == "end_turn" and "".join(block.text for block in answer.content if block.type == "text")
    prompt = answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) + (answer.usage.cache_creation_input_tokens or 0)
    assert_accounted(suite, request_id, kind, prompt, answer.usage.output_tokens)


@capable
@both_ways
def test_openais_sdk_calls_a_tool_and_gives_its_result(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": PARAMETERS}}]
    turn: Any = [{"role": "user", "content": WEATHER}]
    asked: Any = {"model": model_of(kind), "max_completion_tokens": CEILING, "tools": tools}
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    if stream:
        with chat.chat.completions.stream(**asked, messages=turn, tool_choice=choice) as events:
            said: Any = events.get_final_completion().choices[0].message
    else:
        said = chat.chat.completions.create(**asked, messages=turn, tool_choice=choice).choices[0].message
    [call] = said.tool_calls
    assert call.function.name == "get_weather" and json.loads(call.function.arguments)["city"]
    turn += [said.model_dump(exclude_none=True, exclude={"parsed"}), {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}]
    assert chat.chat.completions.create(**asked, messages=turn).choices[0].message.content


@capable
@both_ways
def test_anthropics_sdk_calls_a_tool_and_gives_its_result(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    tools: Any = [{"name": "get_weather", "description": "The weather of a city.", "input_schema": PARAMETERS}]
    turn: Any = [{"role": "user", "content": WEATHER}]
    asked: Any = {"model": model_of(kind), "max_tokens": CEILING, "tools": tools}
    choice: Any = {"type": "tool", "name": "get_weather"}
    if stream:
        with messages.messages.stream(**asked, messages=turn, tool_choice=choice) as events:
            answer: Any = events.get_final_message()
    else:
        answer = messages.messages.create(**asked, messages=turn, tool_choice=choice)
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "get_weather" and call.input["city"] and answer.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 21 degrees"}
    turn += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    final = messages.messages.create(**asked, messages=turn)
    assert "".join(block.text for block in final.content if block.type == "text")


@every
def test_a_model_that_a_provider_does_not_have_is_said_so(suite: Suite, key: str, kind: str) -> None:
    model_of(kind)
    name = f"live-nothing-{kind}"
    body = {"model": name, "targets": [{"provider": kind, "upstreamModel": "no-such-model-of-anybody+fail-status-404"}]}
    assert suite.admin("POST", "/admin/models", json=body).status_code == 200
    free = suite.make_key()["key"]
    answer = suite.chat(free, name)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["message"]
