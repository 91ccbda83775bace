"""One key, the SDKs as they are, and five models on five kinds of provider: the same prompt, streamed and not, with its usage and its cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from harness.ports import eventually
from harness.suite import Suite

PROMPT = "What is new on five providers?"
# Provider, then nano-USD a token: prompt, completion. No two are alike, so that a cost tells whose price it is.
MODELS = {
    "gpt-4o-mini": ("scripted", 151, 601),
    "llama-3": ("local", 7, 11),
    "claude-sonnet-4-6": ("anthropic", 3001, 15001),
    "gemini-2.5-flash": ("google", 307, 2503),
    "agent_echo": ("librechat", 13, 17),
}
every = pytest.mark.parametrize("model", MODELS)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    folder = tmp_path_factory.mktemp("five")
    prices = [
        {"model": model, "provider": provider, "promptPerMillionNanoUsd": prompt * 10**6, "completionPerMillionNanoUsd": completion * 10**6}
        for model, (provider, prompt, completion) in MODELS.items()
    ]
    book = folder / "prices.yaml"
    book.write_text(json.dumps({"version": "five", "prices": prices}))
    stack = Suite(folder, relay_settings={"PRICE_BOOK_FILE": str(book)}).start()
    yield stack
    assert stack.stop()["relay"] == 0


@pytest.fixture(scope="module")
def key(suite: Suite) -> str:
    """With a budget, so that each of the models needs its price."""
    return str(suite.make_key(limits={"costLimit": 5})["key"])


def by_openai(suite: Suite, key: str, model: str, stream: bool) -> tuple[str, int, int, str]:
    """Text, prompt and completion tokens as the caller is told them, and the id of the request."""
    with openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=key, max_retries=0) as sdk:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        if not stream:
            raw = sdk.chat.completions.with_raw_response.create(**asked)
            answer: Any = raw.parse()
            return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens, raw.headers["x-request-id"]
        raw = sdk.chat.completions.with_raw_response.create(**asked, stream=True, stream_options={"include_usage": True})
        text, usage = "", None
        for chunk in raw.parse():
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
        assert usage is not None
        return text, usage.prompt_tokens, usage.completion_tokens, raw.headers["x-request-id"]


def by_anthropic(suite: Suite, key: str, model: str, stream: bool) -> tuple[str, int, int, str]:
    with anthropic.Anthropic(base_url=suite.relay_url, api_key=key, max_retries=0) as sdk:
        asked: Any = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
        if stream:
            with sdk.messages.stream(**asked) as events:
                answer: Any = events.get_final_message()
                request_id = str(events.request_id)
        else:
            raw = sdk.messages.with_raw_response.create(**asked)
            answer, request_id = raw.parse(), str(raw.headers["request-id"])
        text = "".join(block.text for block in answer.content if block.type == "text")
        return text, answer.usage.input_tokens, answer.usage.output_tokens, request_id


@every
@both_ways
@pytest.mark.parametrize("sdk", [by_openai, by_anthropic], ids=["openai", "anthropic"])
def test_the_same_prompt_is_answered_and_accounted_for(suite: Suite, key: str, sdk: Any, model: str, stream: bool) -> None:
    provider, prompt_price, completion_price = MODELS[model]
    text, prompt, completion, request_id = sdk(suite, key, model, stream)
    assert text.startswith(f"Echo: {PROMPT}")
    row = suite.row(request_id)
    assert (row["provider"], row["request"]["model"], row["outcome"], row["billingBasis"]) == (provider, model, "complete", "reported")
    assert (row["stream"], row["response"]["statusCode"], row["attempts"], row["finishReason"]) == (stream, 200, 1, "stop")
    usage = row["usage"]
    assert (usage["promptTokens"], usage["completionTokens"]) == (prompt, completion) and prompt > 0 and completion > 0
    assert usage["totalTokens"] == prompt + completion
    assert usage["costNanoUsd"] == prompt * prompt_price + completion * completion_price
    assert usage["cost"] == pytest.approx(usage["costNanoUsd"] / 1e9)


def test_the_sums_are_those_of_the_rows(suite: Suite, key: str) -> None:
    """What the key's owner is shown, when all of it has arrived: last in this file."""
    rows = [row for row in suite.rows() if row["attempts"] > 0]
    assert len(rows) == 2 * 2 * len(MODELS)
    wanted = {model: sum(row["usage"]["costNanoUsd"] for row in rows if row["request"]["model"] == model) for model in MODELS}

    def shown() -> dict[str, int]:
        groups = suite.get("/v1/usage?groupBy=model", key).json()["groups"]
        return {group["group"]: int(group["totals"]["costNanoUsd"]) for group in groups}

    eventually(lambda: shown() == wanted, "the sums of the rows, which are there before them")
