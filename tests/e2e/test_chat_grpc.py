"""Chat over gRPC: the same checks, the same accounting, OpenAI's JSON as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from harness.rpc import RpcClient
from harness.suite import Suite

CREATE = "apirelay.relay.v1.ChatService/CreateChatCompletion"
STREAM = "apirelay.relay.v1.ChatService/StreamChatCompletion"
COST = 5 * 2_500 + 3 * 10_000


@pytest.fixture
def chat(suite: Suite, shared_key: str) -> Iterator[RpcClient]:
    with suite.rpc("relay", shared_key) as client:
        yield client


def request(model: str = "gpt-4o", text: str = "Hello there", **more: Any) -> dict[str, Any]:
    import base64

    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"openaiJson": base64.b64encode(json.dumps(body).encode()).decode()}


def said(chunks: list[Any]) -> str:
    data = [json.loads(c.chunk_json) for c in chunks if c.WhichOneof("event") == "chunk_json"]
    return "".join(d["choices"][0]["delta"].get("content") or "" for d in data if d["choices"])


@pytest.mark.smoke
def test_a_whole_answer_comes_with_its_usage_and_its_row(suite: Suite, chat: RpcClient) -> None:
    answer = chat.call(CREATE, request())
    assert json.loads(answer.openai_json)["choices"][0]["message"]["content"] == "Echo: Hello there"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cost_nano_usd) == (5, 3, 8, COST)
    assert (usage.outcome, usage.billing_basis, usage.finish_reason) == ("complete", "reported", "stop")
    row = suite.row(answer.request_id)
    assert row["usage"]["costNanoUsd"] == COST and row["request"]["endpoint"] == "/v1/chat/completions" and row["request"]["ip"] == "127.0.0.1"


def test_a_stream_ends_with_its_usage_and_has_its_row(suite: Suite, chat: RpcClient) -> None:
    chunks = list(chat.stream(STREAM, request()))
    assert said(chunks) == "Echo: Hello there"
    usage = chunks[-1].usage
    assert chunks[-1].WhichOneof("event") == "usage" and (usage.total_tokens, usage.cost_nano_usd) == (8, COST)
    assert all(b"[DONE]" not in c.chunk_json for c in chunks)
    assert suite.row(usage.request_id)["stream"] is True


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"openaiJson": "e30="}, grpc.StatusCode.INVALID_ARGUMENT),
        (request("no-such-model"), grpc.StatusCode.NOT_FOUND),
        (request("gpt-4o-mini+fail-status-429"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (request("gpt-4o-mini+fail-html"), grpc.StatusCode.UNAVAILABLE),
        (request("impatient+fail-stall"), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=lambda v: v.name if isinstance(v, grpc.StatusCode) else "",
)
def test_failures_have_their_status(chat: RpcClient, fields: dict[str, Any], code: grpc.StatusCode) -> None:
    for call in (lambda: chat.call(CREATE, fields), lambda: list(chat.stream(STREAM, fields))):
        with pytest.raises(grpc.RpcError) as e:
            call()
        assert e.value.code() == code and "sk-scripted" not in str(e.value)  # type: ignore[attr-defined]


def test_a_limit_says_when_to_come_back(chat: RpcClient) -> None:
    with pytest.raises(grpc.RpcError) as e:
        chat.call(CREATE, request("gpt-4o-mini+fail-status-429"))
    details = dict(e.value.trailing_metadata())["grpc-status-details-bin"]  # type: ignore[attr-defined]
    assert b"type.googleapis.com/google.rpc.RetryInfo" in details and details.endswith(b"\x0a\x02\x08\x01"), "one second"


def test_a_failure_in_mid_stream_is_a_status_after_the_text(chat: RpcClient) -> None:
    chunks: list[Any] = []
    with pytest.raises(grpc.RpcError) as e:
        for chunk in chat.stream(STREAM, request("gpt-4o-mini+fail-cut-4")):
            chunks.append(chunk)
    assert said(chunks) and e.value.code() == grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


def test_permissions_hold_here_too(suite: Suite) -> None:
    key = suite.make_key(permissions={"features": {"streaming": False}, "models": ["gpt-4o"]})["key"]
    with suite.rpc("relay", key) as chat:
        with pytest.raises(grpc.RpcError) as e:
            list(chat.stream(STREAM, request()))
        assert e.value.code() == grpc.StatusCode.PERMISSION_DENIED and "streaming" in e.value.details()  # type: ignore[attr-defined]
        with pytest.raises(grpc.RpcError) as e:
            chat.call(CREATE, request("gpt-4.1"))
        assert e.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
        assert chat.call(CREATE, request()).usage.total_tokens == 8


def test_a_cancelled_stream_ends_the_call_upstream(suite: Suite, chat: RpcClient) -> None:
    cancelled = suite.upstream_stats()["cancelled"]
    call = chat.stream(STREAM, request("gpt-4o-mini+slow-50+long-2000"))
    next(iter(call))
    call.cancel()
    assert suite.upstream_stats(f"cancelled={cancelled + 1}")["cancelled"] == cancelled + 1


def test_the_callers_deadline_is_carried_on(suite: Suite, chat: RpcClient) -> None:
    cancelled = suite.upstream_stats()["cancelled"]
    with pytest.raises(grpc.RpcError) as e:
        list(chat.stream(STREAM, request("gpt-4o-mini+slow-50+long-2000"), timeout=0.5))
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
    assert suite.upstream_stats(f"cancelled={cancelled + 1}")["cancelled"] >= cancelled + 1
