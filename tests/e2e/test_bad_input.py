"""Whatever comes in wrong, from either side, is answered in OpenAI's form with the right status, and never looks like success."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.ports import PATIENCE, eventually
from harness.raw_http import request_bytes
from harness.suite import Suite

CHAT = "/v1/chat/completions"
GOOD = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
TEXT = "Hello there this is a sentence of many words"


def assert_openai_error(answer: httpx.Response, status: int, code: str | None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json") and answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"] and isinstance(error["type"], str)
    assert error["code"] == code, error
    return error


# ---- HTTP ----


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", CHAT, 405, "POST"),
        ("DELETE", CHAT, 405, "POST"),
        ("PUT", "/v1/embeddings", 405, "POST"),
        ("POST", "/v1/models", 405, "GET"),
        ("POST", "/v1/models/gpt-4o", 405, "GET"),
        ("DELETE", "/v1/usage", 405, "GET"),
        ("GET", "/", 404, ""),
        ("POST", "/v1/chat", 404, ""),
        ("POST", "/v1/chat/completions/", 404, ""),
        ("POST", "/v1/images/generations", 404, ""),
        ("GET", "/v1/../v1/models", 404, ""),
        ("GET", "/metrics", 404, ""),
    ],
)
def test_a_wrong_path_is_404_and_a_wrong_method_405_with_allow(suite: Suite, shared_key: str, method: str, path: str, status: int, allow: str) -> None:
    with suite.raw("relay") as raw:
        raw.send(request_bytes(method, path, {"Authorization": f"Bearer {shared_key}"}, b"{}" if method == "POST" else b""))
        answer = raw.answer()
    assert answer is not None and answer.status == status
    assert answer.json()["error"]["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert allow in (answer.header("allow") or "")


def test_a_head_too_large_is_431_and_closed(suite: Suite, shared_key: str) -> None:
    for headers in ({"X-Large": "a" * 40_000}, {f"X-{i}": "a" * 100 for i in range(400)}):
        with suite.raw("relay") as raw:
            raw.send(request_bytes("GET", "/v1/models", {"Authorization": f"Bearer {shared_key}", **headers}))
            answer = raw.answer()
            assert answer is not None and answer.status == 431 and raw.is_closed()


def test_a_body_too_large_is_413_announced_or_not(suite: Suite, shared_key: str) -> None:
    auth = {"Authorization": f"Bearer {shared_key}"}
    with suite.raw("relay") as raw:
        raw.send(request_bytes("POST", CHAT, {**auth, "Content-Length": str(5 << 20)}))
        answer = raw.answer()
        assert answer is not None and answer.status == 413 and answer.json()["error"]["code"] == "request_too_large"
    with suite.raw("relay") as raw:
        raw.send(request_bytes("POST", CHAT, {**auth, "Transfer-Encoding": "chunked"}))
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(70):
            raw.send(chunk)
        answer = raw.answer()
        assert answer is not None and answer.status == 413 and raw.is_closed()


def test_a_slow_head_or_body_is_408_and_closed(suite: Suite, shared_key: str) -> None:
    whole = request_bytes("POST", CHAT, {"Authorization": f"Bearer {shared_key}"}, GOOD)
    head = whole.index(b"\r\n\r\n") + 4
    for part in (whole[:20], whole[: head - 2], whole[: head + 10]):
        with suite.raw("relay") as raw:
            raw.send(part)
            answer = raw.answer()
            assert answer is not None and answer.status == 408, part
            assert raw.is_closed()


def test_a_truncated_request_is_dropped_without_a_call_upstream(suite: Suite, shared_key: str) -> None:
    body = {**GOOD, "messages": [{"role": "user", "content": "truncated"}]}
    whole = request_bytes("POST", CHAT, {"Authorization": f"Bearer {shared_key}"}, body)
    with suite.raw("relay") as raw:
        raw.send(whole[:-5])
        raw.end_sending()
        answer = raw.answer()
        assert answer is None or answer.status == 400
    assert not [r for r in suite.upstream_log() if "truncated" in r["body"]]


def test_garbage_instead_of_http_is_400_and_closed(suite: Suite) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, b"hello\r\n\r\n", b"\x00\xff\xfe\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with suite.raw("relay") as raw:
            raw.send(garbage)
            answer = raw.answer()
            assert answer is None or answer.status == 400
            assert answer is None or raw.is_closed()


def test_options_of_the_whole_server_tell_the_methods(suite: Suite) -> None:
    with suite.raw("relay") as raw:
        raw.send(request_bytes("OPTIONS", "*"))
        answer = raw.answer()
    assert answer is not None and answer.status == 204 and answer.header("allow") == "GET, HEAD, POST, OPTIONS"


REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "no such path": (request_bytes("GET", "/v2/nothing?secret=in-a-query"), 404, "none", "/v2/nothing"),
    "a key as the path": (request_bytes("GET", "/lc_prod_keyInTheWrongPlace00000000000000"), 404, "none", "/***"),
    "another method": (request_bytes("DELETE", CHAT), 405, "chat", CHAT),
    "no HTTP": (b"hello\r\n\r\n", 400, "none", ""),
    "a large head": (request_bytes("GET", "/v1/models", {"X-Large": "a" * 40_000}), 431, "none", ""),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused_before_its_key_has_a_line_and_is_counted(suite: Suite, case: str) -> None:
    request, status, endpoint, path = REFUSED[case]
    sample = f'relay_requests_total{{endpoint="{endpoint}",outcome="unrecognised"}}'
    before = suite.metric("relay", sample)
    with suite.raw("relay") as raw:
        raw.send(request)
        answer = raw.answer()
    assert answer is not None and answer.status == status
    events = suite.processes["relay"].events
    line = eventually(lambda: next((e for e in events("request_refused") if e["request.id"] == answer.header("x-request-id")), None), "its line")
    assert line["http.response.status_code"] == status and line["url.path"] == path
    assert line["error.code"] == answer.json()["error"]["code"]
    assert suite.metric("relay", sample) == before + 1
    log = suite.processes["relay"].text()
    assert "in-a-query" not in log and "keyInTheWrongPlace" not in log


# ---- JSON ----

BODIES: dict[str, tuple[bytes, int, str, str | None]] = {
    "empty": (b"", 400, "invalid_json", None),
    "no JSON": (b"hello", 400, "invalid_json", None),
    "cut": (b'{"model":"gpt-4o","messages":[', 400, "invalid_json", None),
    "trailing comma": (b'{"model":"gpt-4o",}', 400, "invalid_json", None),
    "comment": (b'{"model":"gpt-4o"/*x*/,"messages":[]}', 400, "invalid_json", None),
    "two documents": (b"{}{}", 400, "invalid_json", None),
    "single quotes": (b"{'model':'gpt-4o'}", 400, "invalid_json", None),
    "invalid UTF-8": (b'{"model":"gpt-4o\xff"}', 400, "invalid_json", None),
    "a lone surrogate": (b'{"model":"gpt-4o\\ud800"}', 400, "invalid_json", None),
    "a control character": (b'{"model":"gpt\x014o"}', 400, "invalid_json", None),
    "an array": (b"[]", 400, "invalid_json", None),
    "a number": (b"42", 400, "invalid_json", None),
    "no model": (b'{"messages":[]}', 400, "missing_required_parameter", "model"),
    "null model": (b'{"model":null,"messages":[]}', 400, "missing_required_parameter", "model"),
    "empty model": (b'{"model":"","messages":[]}', 400, "missing_required_parameter", "model"),
    "model of a wrong type": (b'{"model":5,"messages":[]}', 400, "invalid_value", "model"),
    "no messages": (b'{"model":"gpt-4o"}', 400, "missing_required_parameter", "messages"),
    "messages of a wrong type": (b'{"model":"gpt-4o","messages":"hi"}', 400, "invalid_value", "messages"),
    "stream of a wrong type": (b'{"model":"gpt-4o","messages":[],"stream":"yes"}', 400, "invalid_value", "stream"),
    "max_tokens zero": (b'{"model":"gpt-4o","messages":[],"max_tokens":0}', 400, "invalid_value", "max_tokens"),
    "max_tokens negative": (b'{"model":"gpt-4o","messages":[],"max_tokens":-1}', 400, "invalid_value", "max_tokens"),
    "max_tokens huge": (b'{"model":"gpt-4o","messages":[],"max_tokens":1e400}', 400, "invalid_json", None),
    "include_usage of a wrong type": (b'{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":"yes"}}', 400, "invalid_value", "stream_options.include_usage"),
    "n of a wrong type": (b'{"model":"gpt-4o","messages":[],"n":1.5}', 400, "invalid_value", "n"),
    "unknown model": (b'{"model":"who","messages":[]}', 404, "model_not_found", "model"),
}


def test_a_compressed_body_is_415_and_not_bad_json(suite: Suite, shared_key: str) -> None:
    for path in (CHAT, "/v1/embeddings"):
        packed = suite.post(path, shared_key, content=gzip.compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": "gzip"})
        error = assert_openai_error(packed, 415, "unsupported_media_type")
        assert "gzip" in error["message"]
    assert suite.post(CHAT, shared_key, json=GOOD, headers={"Content-Encoding": "identity"}).status_code == 200
    assert_openai_error(suite.post(CHAT, shared_key, content=b"{", headers={"Content-Encoding": "identity"}), 400, "invalid_json")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=2026-11-01T00:00:00Z&from=2026-11-02T00:00:00Z", "from"),
        ("groupBy=model&%67roupBy=model", "groupBy"),
        ("groupBy=key", "groupBy"),
        ("interval=minute", "interval"),
        ("timeZone=Nowhere/AtAll", "timeZone"),
        ("from=yesterday", "from"),
        ("from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "to"),
        ("apiKeyId=000000000000000000000000", "apiKeyId"),
        ("nothing=1", "nothing"),
    ],
)
def test_a_query_of_ones_own_usage_that_is_wrong_names_its_parameter(suite: Suite, shared_key: str, query: str, param: str) -> None:
    error = assert_openai_error(suite.get(f"/v1/usage?{query}", shared_key), 400, "invalid_value")
    assert error["param"] == param


@pytest.mark.parametrize("case", BODIES, ids=str)
def test_a_body_that_cannot_be_acted_on_is_refused_and_says_where(suite: Suite, shared_key: str, case: str) -> None:
    body, status, code, param = BODIES[case]
    answer = suite.post(CHAT, shared_key, content=body, headers={"Content-Type": "application/json"})
    error = assert_openai_error(answer, status, code)
    assert error["param"] == param
    if case in ("no JSON", "cut", "trailing comma", "two documents", "invalid UTF-8"):
        assert "byte" in error["message"]


def test_deep_nesting_is_refused_and_no_matter_of_a_providers(suite: Suite, shared_key: str) -> None:
    """A provider whose parser breaks off over it would look like one that fails, to everybody."""
    deep = {depth: "[" * depth + "]" * depth for depth in (100, 1_000, 500_000)}
    before = len(suite.upstream_log()) + len(suite.upstream_log(of="anthropic"))
    for depth in (1_000, 500_000):
        for body in (
            f'{{"model":"gpt-4o","messages":{deep[depth]}}}',
            f'{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}],"metadata":{{"a":{deep[depth]}}}}}',
            f'{{"model":"claude-sonnet-4-6","messages":[{{"role":"user","content":"Hello"}}],"tools":{deep[depth]}}}',
        ):
            answer = suite.post(CHAT, shared_key, content=body.encode(), headers={"Content-Type": "application/json"})
            assert "nested" in assert_openai_error(answer, 400, "invalid_json")["message"]
    arguments = json.dumps(f'{{"a":{deep[1_000]}}}')
    call = f'{{"id":"1","type":"function","function":{{"name":"f","arguments":{arguments}}}}}'
    called = f'{{"role":"assistant","tool_calls":[{call}]}},{{"role":"tool","tool_call_id":"1","content":"x"}}'
    body = f'{{"model":"claude-sonnet-4-6","messages":[{{"role":"user","content":"Hello"}},{called}]}}'
    assert_openai_error(suite.post(CHAT, shared_key, content=body.encode(), headers={"Content-Type": "application/json"}), 400, "invalid_value")
    assert len(suite.upstream_log()) + len(suite.upstream_log(of="anthropic")) == before
    within = f'{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}],"metadata":{{"a":{deep[100]}}}}}'
    assert suite.post(CHAT, shared_key, content=within.encode(), headers={"Content-Type": "application/json"}).status_code == 200


# ---- upstream ----

# model: (status and code of the JSON answer, of a stream that failed before the first content)
UPSTREAM: dict[str, tuple[int, str | None]] = {
    "refused-gpt": (503, "upstream_unavailable"),
    "impatient+fail-stall": (504, "upstream_timeout"),
    "gpt-4o-mini+fail-cut-head": (502, "upstream_cut"),
    "gpt-4o-mini+fail-garbage": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-html": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-garbage-json": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-dialect": (502, "upstream_invalid_response"),
    "claude-sonnet-4-6+fail-dialect": (502, "upstream_invalid_response"),
    "gemini-2.5-flash+fail-dialect": (502, "upstream_invalid_response"),
    "llama-3+fail-dialect": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-empty": (502, "upstream_invalid_response"),
    "claude-sonnet-4-6+fail-empty": (502, "upstream_invalid_response"),
    "gemini-2.5-flash+fail-empty": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-content-type": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-redirect": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-two-lengths": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-length-and-chunked": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-head-flood": (502, "upstream_invalid_response"),
    "gpt-4o-mini+fail-status-400": (400, None),
    "gpt-4o-mini+fail-status-401": (502, "upstream_auth_error"),
    "gpt-4o-mini+fail-status-403": (502, "upstream_auth_error"),
    "gpt-4o-mini+fail-status-404": (404, "model_not_found"),
    "gpt-4o-mini+fail-status-429": (429, "upstream_rate_limited"),
    "gpt-4o-mini+fail-status-500": (502, "upstream_error"),
    "gpt-4o-mini+fail-status-503": (503, "upstream_unavailable"),
    "gpt-4o-mini+fail-status-504": (504, "upstream_timeout"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("model", UPSTREAM)
def test_an_upstream_that_fails_before_its_answer_is_an_http_status(suite: Suite, shared_key: str, model: str, stream: bool) -> None:
    answer = suite.chat(shared_key, model, stream=stream)
    error = assert_openai_error(answer, *UPSTREAM[model])
    assert "sk-scripted" not in answer.text and "127.0.0.1" not in error["message"]


@pytest.mark.parametrize("mark", ["fail-cut", "fail-stall-1", "fail-length"])
def test_a_json_answer_that_breaks_off_is_a_bad_gateway(suite: Suite, shared_key: str, mark: str) -> None:
    model = f"impatient+{mark}" if "stall" in mark else f"gpt-4o-mini+{mark}"
    answer = suite.chat(shared_key, model)
    assert answer.status_code == (504 if "stall" in mark else 502), answer.text


def test_a_leak_of_the_providers_key_is_scrubbed(suite: Suite, shared_key: str) -> None:
    answer = suite.chat(shared_key, "gpt-4o-mini+fail-leak")
    assert answer.status_code == 400 and "sk-scripted-provider-key" not in answer.text


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_rate_limited_upstream_says_when_to_come_back(suite: Suite, shared_key: str, stream: bool) -> None:
    assert suite.chat(shared_key, "gpt-4o-mini+fail-status-429", stream=stream).headers["retry-after"] == "1"


def events_of(answer: httpx.Response) -> list[Any]:
    """The data of every event; [DONE] as text."""
    datas = [line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:")]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


MID_STREAM: dict[str, str] = {
    "gpt-4o-mini+fail-cut-4": "upstream_cut",
    "gpt-4o-mini+fail-end-4": "upstream_cut",
    "impatient+fail-stall-4": "upstream_timeout",
    "gpt-4o-mini+fail-error-event-4": "upstream_error",
    "gpt-4o-mini+fail-error-named-4": "upstream_error",
    "gpt-4o-mini+fail-garbage-stream-4": "upstream_invalid_response",
    "gpt-4o-mini+fail-huge-4": "upstream_invalid_response",
    "gpt-4o-mini+fail-utf8-4": "upstream_invalid_response",
    "curled+fail-huge-4": "upstream_invalid_response",
    "curled+fail-cut-4": "upstream_cut",
    "curled+fail-error-event-4": "upstream_error",
}


@pytest.mark.parametrize("model", MID_STREAM)
def test_a_stream_that_fails_after_content_ends_in_an_error_and_no_done(suite: Suite, shared_key: str, model: str) -> None:
    answer = suite.chat(shared_key, model, TEXT, stream=True)
    assert answer.status_code == 200
    events = events_of(answer)
    said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1])
    assert said and f"Echo: {TEXT}".startswith(said)
    assert events[-1]["error"]["code"] == MID_STREAM[model] and "[DONE]" not in events


@pytest.mark.parametrize("model", [model.removesuffix("-4") + "-1" for model in MID_STREAM])
def test_a_stream_that_fails_before_content_is_an_http_status(suite: Suite, shared_key: str, model: str) -> None:
    """The role chunk is no content: until the first word the status can still be told."""
    answer = suite.chat(shared_key, model, TEXT, stream=True)
    assert answer.status_code in (502, 504), answer.text
    assert answer.json()["error"]["code"].startswith("upstream_")


def test_a_complete_stream_without_done_is_not_given_one(suite: Suite, shared_key: str) -> None:
    events = events_of(suite.chat(shared_key, "gpt-4o-mini+no-done", stream=True))
    assert "[DONE]" not in events


def test_a_stale_pooled_connection_is_not_the_callers_problem(suite: Suite, shared_key: str) -> None:
    for _ in range(6):
        answer = suite.chat(shared_key, "gpt-4o-mini+fail-stale")
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("model", "basis"), [("gpt-4o-mini", "estimated"), ("curled", "unpriced")])
def test_a_caller_that_leaves_ends_the_call_upstream(suite: Suite, shared_key: str, model: str, basis: str) -> None:
    cancelled = suite.upstream_stats()["cancelled"]
    key = suite.make_key()
    body = {**GOOD, "model": f"{model}+slow-50+long-2000", "stream": True}
    with suite.raw("relay") as raw:
        raw.send(request_bytes("POST", CHAT, {"Authorization": f"Bearer {key['key']}"}, body))
        answer = raw.answer(head_only=True)
        assert answer is not None and answer.status == 200
        assert raw.receive()
    assert suite.upstream_stats(f"cancelled={cancelled + 1}")["cancelled"] == cancelled + 1
    row = suite.row(str(answer.header("x-request-id")))
    assert row["outcome"] == "partial" and row["billingBasis"] == basis and 0 < row["usage"]["completionTokens"] < 500


def test_a_key_that_drains_lets_the_call_finish_without_its_caller(suite: Suite) -> None:
    key = suite.make_key(onDisconnect="drain")
    body = {**GOOD, "model": "gpt-4o-mini+slow-5+long-60", "stream": True}
    with suite.raw("relay") as raw:
        raw.send(request_bytes("POST", CHAT, {"Authorization": f"Bearer {key['key']}"}, body))
        answer = raw.answer(head_only=True)
        assert answer is not None and raw.receive()
    row = suite.row(str(answer.header("x-request-id")))
    assert row["billingBasis"] == "reported" and row["usage"]["completionTokens"] == 60


def test_a_slow_reader_does_not_make_the_relay_hold_everything(suite: Suite, shared_key: str) -> None:
    """A megabyte of stream, read only at the end: it all arrives, in order."""
    body = {**GOOD, "model": "gpt-4o-mini+long-4000", "stream": True}
    with suite.raw("relay", timeout=30 * PATIENCE) as raw:
        raw.send(request_bytes("POST", CHAT, {"Authorization": f"Bearer {shared_key}"}, body))
        assert suite.chat(shared_key).status_code == 200  # the loop is free meanwhile
        answer = raw.answer()
    assert answer is not None and answer.body.rstrip().endswith(b"[DONE]") and b"word4000" in answer.body


IS_SANITIZED = Path(os.environ.get("BUILD_DIR", "")).name in ("asan", "tsan")


def memory_of(suite: Suite) -> int:
    """Of the relay, resident, in bytes."""
    with open(f"/proc/{suite.processes['relay'].pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def bytes_read_by(suite: Suite) -> int:
    with open(f"/proc/{suite.processes['relay'].pid}/io", encoding="ascii") as file:
        return int(file.readline().split()[1])


def test_a_reader_that_stops_pauses_its_upstream(suite: Suite, shared_key: str) -> None:
    """30 MB of stream that nobody reads: the relay reads no further and holds next to nothing of it."""
    body = {**GOOD, "model": "gpt-4o-mini+long-100000", "stream": True}
    assert suite.chat(shared_key).status_code == 200  # what is allocated once is
    memory, before = memory_of(suite), bytes_read_by(suite)
    last = before

    def rests() -> bool:
        nonlocal last
        read, last = bytes_read_by(suite) - last, bytes_read_by(suite)
        return last - before > 1_000_000 and read < 50_000

    with suite.raw("relay", timeout=30 * PATIENCE) as raw:
        raw.send(request_bytes("POST", CHAT, {"Authorization": f"Bearer {shared_key}"}, body))
        eventually(rests, "the relay reads no further")
        assert last - before < 25_000_000
        if not IS_SANITIZED:  # they keep what is freed
            assert memory_of(suite) - memory < 8_000_000
        assert suite.chat(shared_key).status_code == 200
