"""
Streams of providers that ignore the ceiling they were given: they go on as long as the key's limits pay for them, and are ended honestly
when nothing is left. Both dialects, each kind of provider, limits in tokens and in money.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from harness.ledgers import COST_MONTH, TOKENS_DAY, TOKENS_MONTH, await_rest, rows_of
from harness.raw_http import request_bytes
from harness.suite import Suite

CEILING = 20
MODEL = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-6", "google": "gemini-2.5-flash"}
LIMIT = 300  # tokens
EXTENDED, REFUSED = (f'relay_hold_extensions_total{{outcome="{outcome}"}}' for outcome in ("extended", "refused"))

kinds = pytest.mark.parametrize("kind", MODEL)
dialects = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])


@dataclass(frozen=True)
class Seen:
    request_id: str
    events: list[tuple[str, Any]]  # name, data

    @property
    def text(self) -> str:
        said: list[str] = []
        for _, data in self.events:
            for choice in data.get("choices", ()):
                said.append(choice["delta"].get("content") or "")
            said.append(data.get("delta", {}).get("text") or "")
        return "".join(said)

    @property
    def error(self) -> dict[str, Any] | None:
        return next((data["error"] for _, data in self.events if "error" in data), None)

    @property
    def is_whole(self) -> bool:
        return any(name == "message_stop" or data == {"done": True} for name, data in self.events)


def parse(body: str) -> Iterator[tuple[str, Any]]:
    for event in body.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in lines:
            yield lines.get("event", ""), {"done": True} if lines["data"] == "[DONE]" else json.loads(lines["data"])


def stream(suite: Suite, key: dict[str, Any], path: str, model: str) -> Seen:
    body = {"model": model, "max_tokens": CEILING, "stream": True, "messages": [{"role": "user", "content": "Hello there"}]}
    answer = suite.post(path, key["key"], json=body)
    assert answer.status_code == 200, answer.text
    return Seen(answer.headers["x-request-id"], list(parse(answer.text)))


def only_row(suite: Suite, key: dict[str, Any], window: int) -> dict[str, Any]:
    """Of the key's one request, once its ledger says the same."""
    taken = await_rest(suite, key, window)
    (row,) = rows_of(suite, key)
    assert taken == (row["usage"]["costNanoUsd"] if window == COST_MONTH else row["usage"]["totalTokens"])
    return row


@kinds
@dialects
def test_with_budget_left_the_stream_goes_on_to_its_end(suite: Suite, kind: str, path: str) -> None:
    key = suite.make_key(limits={"tokensPerDay": 1_000_000, "costLimit": 50})
    before = suite.metric("relay", EXTENDED)
    seen = stream(suite, key, path, f"{MODEL[kind]}+long-400+unbounded+slow-3")
    assert seen.is_whole and seen.error is None and len(seen.text.split()) == 400
    row = only_row(suite, key, TOKENS_DAY)
    assert row["outcome"] == "complete" and row["billingBasis"] == "reported" and row["ceilingIgnored"] is True
    assert row["usage"]["completionTokens"] == 400
    assert suite.metric("relay", EXTENDED) > before


@kinds
@dialects
@pytest.mark.parametrize(
    ("window", "limits", "code"),
    [
        (TOKENS_DAY, {"tokensPerDay": LIMIT}, "rate_limit_exceeded"),
        (TOKENS_MONTH, {"tokensPerMonth": LIMIT}, "insufficient_quota"),
        (COST_MONTH, {}, "insufficient_quota"),
    ],
)
def test_with_nothing_left_the_stream_is_ended_and_says_so(suite: Suite, kind: str, path: str, window: int, limits: dict[str, int], code: str) -> None:
    output_nano_usd = {"openai": 600, "anthropic": 15000, "google": 2500}[kind]
    limit: dict[str, Any] = limits or {"costLimit": LIMIT * output_nano_usd / 1e9}
    key = suite.make_key(limits=limit)
    before = suite.metric("relay", REFUSED)
    seen = stream(suite, key, path, f"{MODEL[kind]}+long-4000+unbounded+slow-1")
    words = len(seen.text.split())
    assert not seen.is_whole and 200 < words < 4000
    assert seen.error is not None and "went on beyond what was held for it" in seen.error["message"]
    if path == "/v1/messages":
        assert seen.events[-1][0] == "error" and seen.events[-1][1]["type"] == "error"
        assert seen.error["type"] == "rate_limit_error"
    else:
        assert seen.events[-1][1]["error"]["code"] == code and seen.error["param"] == f"limits.{next(iter(limit))}"
    row = only_row(suite, key, window)
    assert row["outcome"] == "partial" and row["response"]["error"] == code and row["ceilingIgnored"] is True
    assert row["response"]["statusCode"] == 200
    assert row["billingBasis"] == "estimated" and row["usage"]["completionTokens"] == max((len(seen.text) + 3) // 4, words)
    assert suite.metric("relay", REFUSED) == before + 1
    again = suite.chat(key["key"], MODEL[kind])
    assert again.status_code == 429, again.text


@dialects
def test_what_a_provider_counts_as_it_goes_is_what_it_is_ended_and_billed_by(suite: Suite, path: str) -> None:
    key = suite.make_key(limits={"tokensPerDay": LIMIT})
    seen = stream(suite, key, path, "gpt-4o-mini+long-4000+unbounded+slow-1+usage-every-chunk")
    assert not seen.is_whole and seen.error is not None
    row = only_row(suite, key, TOKENS_DAY)
    assert row["billingBasis"] == "reported" and row["outcome"] == "partial" and row["ceilingIgnored"] is True
    assert row["usage"]["completionTokens"] == len(seen.text.split())


@kinds
@dialects
def test_a_stream_within_its_ceiling_is_not_ended_by_a_budget_that_is_used_up(suite: Suite, kind: str, path: str) -> None:
    key = suite.make_key(limits={"tokensPerDay": 60})
    seen = stream(suite, key, path, f"{MODEL[kind]}+long-400")
    assert seen.is_whole and seen.error is None and len(seen.text.split()) == CEILING
    assert only_row(suite, key, TOKENS_DAY)["usage"]["completionTokens"] == CEILING


@dialects
def test_a_json_answer_is_delivered_whole_and_flagged(suite: Suite, path: str) -> None:
    key = suite.make_key(limits={"tokensPerDay": LIMIT})
    body = {"model": "gpt-4o-mini+long-400+unbounded", "max_tokens": CEILING, "messages": [{"role": "user", "content": "Hello there"}]}
    answer: httpx.Response = suite.post(path, key["key"], json=body)
    assert answer.status_code == 200 and "word400" in answer.text
    row = only_row(suite, key, TOKENS_DAY)
    assert row["ceilingIgnored"] is True and row["outcome"] == "complete" and row["usage"]["completionTokens"] == 400
    (logged,) = suite.shown(f"/admin/logs?apiKeyId={key['id']}")["logs"]
    assert logged["ceilingIgnored"] is True


def test_a_local_server_without_a_price_is_held_to_limits_of_tokens(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": LIMIT})
    seen = stream(suite, key, "/v1/chat/completions", "llama-3+long-4000+unbounded+slow-1")
    assert not seen.is_whole and seen.error is not None and seen.error["code"] == "rate_limit_exceeded"
    assert only_row(suite, key, TOKENS_DAY)["ceilingIgnored"] is True


def test_over_grpc_the_stream_ends_in_a_status(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": LIMIT})
    body = {"model": "gpt-4o-mini+long-4000+unbounded+slow-1", "max_tokens": CEILING, "messages": [{"role": "user", "content": "Hello there"}]}
    asked = {"openaiJson": base64.b64encode(json.dumps(body).encode()).decode()}
    chunks: list[Any] = []
    with suite.rpc("relay", key["key"]) as client, pytest.raises(grpc.RpcError) as e:
        for chunk in client.stream("apirelay.relay.v1.ChatService/StreamChatCompletion", asked):
            chunks.append(chunk)
    assert len(chunks) > 200 and e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
    assert only_row(suite, key, TOKENS_DAY)["outcome"] == "partial"


def test_an_answer_that_goes_on_without_its_caller_is_held_to_limits_too(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": LIMIT}, onDisconnect="drain")
    body = {"model": "gpt-4o-mini+long-4000+unbounded+slow-1", "max_tokens": CEILING, "stream": True, "messages": [{"role": "user", "content": "Hello there"}]}
    with suite.raw("relay") as raw:
        raw.send(request_bytes("POST", "/v1/chat/completions", {"Authorization": f"Bearer {key['key']}"}, body))
        answer = raw.answer(head_only=True)
        assert answer is not None and answer.status == 200
    row = only_row(suite, key, TOKENS_DAY)
    assert row["response"]["error"] == "rate_limit_exceeded" and row["outcome"] == "partial" and LIMIT < row["usage"]["totalTokens"] < 8000


def test_many_such_streams_leave_the_ledger_exact(suite: Suite) -> None:
    """What they made beyond the limit is theirs, and counted."""
    key = suite.make_key(limits={"tokensPerDay": 10 * LIMIT})
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: stream(suite, key, "/v1/chat/completions", "gpt-4o-mini+long-1500+unbounded+slow-1"), range(8)))
    spent = await_rest(suite, key, TOKENS_DAY)
    rows = rows_of(suite, key)
    assert len(rows) == 8 and sum(row["usage"]["totalTokens"] for row in rows) == spent
    assert [s.error is None for s in seen] == [s.is_whole for s in seen]
    assert any(s.error for s in seen) and spent > 10 * LIMIT - 2 * CEILING

