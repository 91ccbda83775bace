"""Agents of a LibreChat behind the relay: its whitelist, its odd streams, and errors that look like success."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from harness.ports import eventually
from harness.suite import Suite

HELLO: Any = [{"role": "user", "content": "Hello there"}]
ODD_TEXT = "Grüße, 世界! 🙂 Echo: Hello there"


def text_of(chunks: Any) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def events_of(answer: httpx.Response) -> list[Any]:
    datas = [line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:")]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


@pytest.mark.smoke
def test_the_same_key_reaches_an_agent(suite: Suite, client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(model="agent_echo", messages=HELLO)
    said = answer.parse()
    assert (said.choices[0].message.content or "").startswith("Echo: Hello there") and said.model == "agent_echo"
    row = suite.row(str(answer.request_id))
    assert row["provider"] == "librechat" and row["usage"]["promptTokens"] == 2 and row["outcome"] == "complete"
    assert row["usage"]["totalTokens"] == said.usage.total_tokens  # type: ignore[union-attr]


def test_only_whitelisted_members_and_headers_reach_it(suite: Suite, shared_key: str) -> None:
    extra = {
        "temperature": 0.1, "max_tokens": 50, "user": "someone", "ephemeralAgent": {"execute_code": True}, "manualSkills": ["x"],
        "conversation_id": "conversation-1", "metadata": {"a": "b"}, "stop": ["x"],
    }
    answer = suite.chat(shared_key, "agent_echo", headers={"X-Tenant-Id": "t", "Cookie": "a=1", "Accept-Encoding": "gzip"}, **extra)
    assert answer.status_code == 200, answer.text
    content = answer.json()["choices"][0]["message"]["content"]
    assert set(content.partition("fields=")[2].split(",")) <= {"model", "messages", "stream"}
    ignored = answer.headers["x-relay-ignored-params"]
    assert "temperature" in ignored
    sent = {name.lower(): value for name, value in suite.upstream_log(librechat=True)[-1]["headers"]}
    assert sent["authorization"] == "Bearer sk-librechat-provider-key"
    assert not {"x-tenant-id", "cookie"} & set(sent) and sent.get("accept-encoding", "identity") == "identity"


@pytest.mark.parametrize("agent", ["agent_echo", "agent_slow_5", "agent_tools", "agent_reason", "agent_nostream", "agent_bigusage", "agent_gzip", "agent_split"])
def test_every_agent_streams_plain_openai_chunks(suite: Suite, client: openai.OpenAI, agent: str) -> None:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    with client.chat.completions.with_streaming_response.create(model=agent, messages=HELLO, **options) as raw:
        request_id = raw.headers["x-request-id"]
        chunks = list(raw.parse())
    assert "Echo: Hello there" in text_of(chunks)
    if agent == "agent_split":
        assert text_of(chunks).startswith(ODD_TEXT)
    assert {c.model for c in chunks} == {agent} and {c.object for c in chunks} == {"chat.completion.chunk"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert not any(c.choices[0].delta.tool_calls for c in chunks if c.choices)
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    row = suite.row(request_id)
    assert row["usage"]["totalTokens"] == chunks[-1].usage.total_tokens and row["billingBasis"] in ("reported", "unpriced")
    if agent == "agent_bigusage":
        assert row["usage"]["promptTokens"] == 120_000 and row["usage"]["completionTokens"] == 30_000


def test_tools_of_the_server_are_shown_where_its_provider_says_so(suite: Suite, client: openai.OpenAI) -> None:
    shown = {"name": "shown-tools", "kind": "librechat", "credential": "env:RELAY_CREDENTIAL_LIBRECHAT", "exposeServerTools": True}
    provider = suite.admin("POST", "/admin/providers", json={**shown, "baseUrl": suite.librechat_url})
    assert provider.status_code == 200 and provider.json()["provider"]["exposeServerTools"] is True, provider.text
    target = {"provider": "shown-tools", "upstreamModel": "agent_tools"}
    route = suite.admin("POST", "/admin/models", json={"model": "agent_shown", "targets": [target]})
    assert route.status_code == 200, route.text
    try:
        eventually(lambda: suite.get("/v1/models/agent_shown", suite.make_key()["key"]).status_code == 200, "the route")
        chunks = list(client.chat.completions.create(model="agent_shown", messages=HELLO, stream=True))
    finally:
        for path in (f"/admin/models/{route.json()['modelRoute']['id']}", "/admin/providers/shown-tools"):
            suite.admin("DELETE", path)
    calls = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
    assert calls and calls[0].function and calls[0].function.name
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]


def test_usage_is_withheld_from_who_did_not_ask_but_not_from_a_librechat(suite: Suite, client: openai.OpenAI) -> None:
    assert all(c.usage is None for c in client.chat.completions.create(model="agent_echo", messages=HELLO, stream=True))
    key = suite.make_key(client={"kind": "librechat"})["key"]
    with openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=key, max_retries=0) as librechat:
        chunks = list(librechat.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 8


def test_a_failure_that_looks_like_content_becomes_an_error(suite: Suite, shared_key: str) -> None:
    answer = suite.chat(shared_key, "agent_fail_mid_2", stream=True)
    assert answer.status_code == 200
    events = events_of(answer)
    assert "error" in events[-1] and "[DONE]" not in events
    said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1])
    assert "Error:" not in said and "Echo: Hello there".startswith(said.strip())
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] in ("failed", "partial") and row["response"]["error"]


@pytest.mark.parametrize(("agent", "code", "said"), [("agent_fail_mid_0", "upstream_error", True), ("agent_cut_1", "upstream_cut", False)])
def test_a_run_that_ends_without_an_answer_is_billed_by_an_estimate(suite: Suite, shared_key: str, agent: str, code: str, said: bool) -> None:
    answer = suite.chat(shared_key, agent, stream=True)
    assert answer.status_code == 502 and answer.json()["error"]["code"] == code, answer.text
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "failed" and row["billingBasis"] in ("estimated", "unpriced"), row
    assert row["usage"]["promptTokens"] > 0 and (row["usage"]["completionTokens"] > 0) == said, row


def test_text_that_only_begins_like_an_error_is_text(suite: Suite, shared_key: str) -> None:
    answer = suite.chat(shared_key, "agent_echo", "\n\nError: is what I said", stream=True)
    events = events_of(answer)
    said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1])
    assert events[-1] == "[DONE]" and "Error: is what I said" in said


@pytest.mark.parametrize(
    ("agent", "status", "code"),
    [
        ("agent_fail_pre_429", 429, "upstream_rate_limited"),
        ("agent_fail_pre_500", 502, "upstream_error"),
        ("agent_fail_pre_503", 503, "upstream_unavailable"),
        ("agent_private", 502, "upstream_auth_error"),
        ("agent_nobody", 404, "model_not_found"),
        ("agent_cut_0", 502, "upstream_cut"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_its_errors_are_ours(suite: Suite, shared_key: str, agent: str, status: int, code: str, stream: bool) -> None:
    answer = suite.chat(shared_key, agent, stream=stream)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code and "sk-librechat" not in answer.text


def test_a_stream_cut_after_content_ends_in_an_error(suite: Suite, shared_key: str) -> None:
    answer = suite.chat(shared_key, "agent_cut_3", "a few more words to say", stream=True)
    events = events_of(answer)
    assert events[-1]["error"]["code"] == "upstream_cut" and "[DONE]" not in events


def test_an_answer_without_text_is_an_end_not_a_call(suite: Suite, shared_key: str) -> None:
    for stream in (False, True):
        answer = suite.chat(shared_key, "agent_notext", stream=stream)
        assert answer.status_code == 200 and "call_server_1" not in answer.text and '"tool_calls"' not in answer.text.replace('"finish_reason":"tool_calls"', "")
        assert '"finish_reason":"stop"' in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "a", "content": "y"}]}, "messages"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_it_cannot_do_is_refused_not_dropped(suite: Suite, shared_key: str, body: dict[str, Any], param: str) -> None:
    answer = suite.post("/v1/chat/completions", shared_key, json={"model": "agent_echo", "messages": HELLO, **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "unsupported_parameter" and (error["param"] or "").startswith(param)


def test_agents_speak_chat_only_and_developer_messages_become_system(suite: Suite, shared_key: str) -> None:
    for path, body in (("/v1/embeddings", {"input": "x"}), ("/v1/completions", {"prompt": "x"})):
        answer = suite.post(path, shared_key, json={"model": "agent_echo", **body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_supported"), path
    messages = [{"role": "developer", "content": "be brief"}, *HELLO]
    answer = suite.post("/v1/chat/completions", shared_key, json={"model": "agent_echo", "messages": messages})
    assert answer.status_code == 200, answer.text
    assert [m["role"] for m in json.loads(suite.upstream_log(librechat=True)[-1]["body"])["messages"]] == ["system", "user"]


def test_a_body_over_its_limit_is_our_own_413(suite: Suite, shared_key: str) -> None:
    started = suite.upstream_stats(librechat=True)
    answer = suite.chat(shared_key, "agent_echo", "x" * (3 << 20))
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"
    assert suite.upstream_stats(librechat=True)["requests"] == started["requests"]
