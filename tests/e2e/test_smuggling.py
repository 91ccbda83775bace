"""Requests that two readers could read in two ways: each is refused and the connection closed, and nothing goes up."""

from __future__ import annotations

import pytest
from harness.raw_http import RawAnswer, request_bytes
from harness.suite import Suite

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"smuggled"}]}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
START = "POST /v1/chat/completions HTTP/1.1"
HOST = "Host: relay.test"
LENGTH = f"Content-Length: {len(BODY)}"
TE = "Transfer-Encoding: chunked"

# name: (lines of the head, body); every one has to be answered 400 and closed
TABLE: dict[str, tuple[list[str], bytes]] = {
    "length and chunked": ([START, HOST, LENGTH, TE], CHUNKED),
    "chunked and length": ([START, HOST, TE, LENGTH], CHUNKED),
    "two equal lengths": ([START, HOST, LENGTH, LENGTH], BODY),
    "two different lengths": ([START, HOST, LENGTH, "Content-Length: 5"], BODY),
    "a list of lengths": ([START, HOST, f"Content-Length: {len(BODY)}, {len(BODY)}"], BODY),
    "a signed length": ([START, HOST, f"Content-Length: +{len(BODY)}"], BODY),
    "a negative length": ([START, HOST, "Content-Length: -1"], BODY),
    "a hexadecimal length": ([START, HOST, "Content-Length: 0x10"], BODY),
    "an empty length": ([START, HOST, "Content-Length:"], BODY),
    "a length that overflows": ([START, HOST, "Content-Length: 18446744073709551617"], BODY),
    "an unknown coding": ([START, HOST, "Transfer-Encoding: gzip"], CHUNKED),
    "gzip, chunked": ([START, HOST, "Transfer-Encoding: gzip, chunked"], CHUNKED),
    "chunked twice": ([START, HOST, "Transfer-Encoding: chunked, chunked"], CHUNKED),
    "two coding lines": ([START, HOST, TE, TE], CHUNKED),
    "identity": ([START, HOST, "Transfer-Encoding: identity", LENGTH], BODY),
    "chunked, identity": ([START, HOST, "Transfer-Encoding: chunked, identity"], CHUNKED),
    "x chunked": ([START, HOST, "Transfer-Encoding: xchunked"], CHUNKED),
    "chunked in quotes": ([START, HOST, 'Transfer-Encoding: "chunked"'], CHUNKED),
    "a vertical tab before chunked": ([START, HOST, "Transfer-Encoding: \x0bchunked"], CHUNKED),
    "space before the colon": ([START, HOST, f"Content-Length : {len(BODY)}"], BODY),
    "tab before the colon": ([START, HOST, f"Content-Length\t: {len(BODY)}"], BODY),
    "obsolete folding": ([START, HOST, "X-A: 1", " folded", LENGTH], BODY),
    "folding on the first line": ([START, " X-A: 1", HOST, LENGTH], BODY),
    "a bare CR in a value": ([START, HOST, "X-A: 1\rX-B: 2", LENGTH], BODY),
    "a NUL in a value": ([START, HOST, "X-A: 1\x00", LENGTH], BODY),
    "a NUL in a name": ([START, HOST, "X\x00A: 1", LENGTH], BODY),
    "a space in a name": ([START, HOST, "X A: 1", LENGTH], BODY),
    "an empty name": ([START, HOST, ": 1", LENGTH], BODY),
    "a line without a colon": ([START, HOST, "nonsense", LENGTH], BODY),
    "two hosts": ([START, HOST, "Host: other.test", LENGTH], BODY),
    "no host": ([START, LENGTH], BODY),
    "absolute form for another host": (["POST http://other.test/v1/chat/completions HTTP/1.1", HOST, LENGTH], BODY),
    "two spaces in the request line": (["POST  /v1/chat/completions HTTP/1.1", HOST, LENGTH], BODY),
    "a tab in the request line": (["POST\t/v1/chat/completions HTTP/1.1", HOST, LENGTH], BODY),
    "no version": (["POST /v1/chat/completions", HOST, LENGTH], BODY),
    "an unknown version": (["POST /v1/chat/completions HTTP/3.7", HOST, LENGTH], BODY),
    "a CR in the target": (["POST /v1/chat\rX /completions HTTP/1.1", HOST, LENGTH], BODY),
    "a chunk size with a sign": ([START, HOST, TE], b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with 0x": ([START, HOST, TE], b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size that overflows": ([START, HOST, TE], b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "an empty chunk size": ([START, HOST, TE], b"\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": ([START, HOST, TE], b"3\r\nhello\r\n0\r\n\r\n"),
    "a chunk ended by LF": ([START, HOST, TE], b"5\nhello\n0\n\n"),
}


def exchange(suite: Suite, key: str, lines: list[str], body: bytes) -> tuple[RawAnswer | None, bool]:
    """The first answer, and whether the connection was closed right after it."""
    with suite.raw("relay") as raw:
        lines = [lines[0], *lines[1:], f"Authorization: Bearer {key}", "Content-Type: application/json"]
        raw.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        answer = raw.answer()
        return answer, answer is None or raw.is_closed()


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_what_could_be_read_in_two_ways_is_refused_and_closed(suite: Suite, shared_key: str, case: str) -> None:
    answer, closed = exchange(suite, shared_key, *TABLE[case])
    assert closed, answer
    assert answer is not None and answer.status == 400, answer
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_nothing_of_the_table_reached_a_provider(suite: Suite, shared_key: str) -> None:
    for lines, body in TABLE.values():
        exchange(suite, shared_key, lines, body)
    assert not [request for request in suite.upstream_log() if "smuggled" in request["body"]]


def test_a_smuggled_second_request_is_not_answered(suite: Suite, shared_key: str) -> None:
    """The classic: a front reads the length, a back reads the chunks."""
    inner = request_bytes("GET", "/v1/models", {"Authorization": f"Bearer {shared_key}"})
    with suite.raw("relay") as raw:
        body = b"0\r\n\r\n" + inner
        head = f"{START}\r\n{HOST}\r\nAuthorization: Bearer {shared_key}\r\nContent-Length: {len(body)}\r\n{TE}\r\n\r\n"
        raw.send(head.encode() + body)
        first = raw.answer()
        assert first is not None and first.status == 400
        assert raw.answer() is None


def test_well_formed_requests_of_every_framing_pass(suite: Suite, shared_key: str) -> None:
    for name, (lines, body) in {
        "length": ([START, HOST, LENGTH], BODY.replace(b"smuggled", b"wellmade")),
        "chunked": ([START, HOST, TE], CHUNKED.replace(b"smuggled", b"wellmade")),
        "chunked with an extension and a trailer": (
            [START, HOST, TE],
            b"%x;a=b\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(BODY), BODY.replace(b"smuggled", b"wellmade")),
        ),
        "absolute form for the same host": ([f"POST http://relay.test/v1/chat/completions HTTP/1.1", HOST, LENGTH], BODY.replace(b"smuggled", b"wellmade")),
    }.items():
        with suite.raw("relay") as raw:
            raw.send("\r\n".join([*lines, f"Authorization: Bearer {shared_key}"]).encode() + b"\r\n\r\n" + body)
            answer = raw.answer()
            assert answer is not None and answer.status == 200, name


def test_pipelined_requests_are_answered_one_by_one_and_in_order(suite: Suite, shared_key: str) -> None:
    auth = {"Authorization": f"Bearer {shared_key}"}
    with suite.raw("relay") as raw:
        texts = [f"piped {i}" for i in range(5)]
        for text in texts:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
            raw.send(request_bytes("POST", "/v1/chat/completions", auth, body))
        for text in texts:
            answer = raw.answer()
            assert answer is not None and answer.status == 200
            assert answer.json()["choices"][0]["message"]["content"] == f"Echo: {text}"


UPSTREAM_TRICKS = ["fail-leftover", "fail-two-lengths", "fail-length-and-chunked", "fail-length", "fail-head-flood"]


@pytest.mark.parametrize("mark", UPSTREAM_TRICKS)
def test_a_provider_cannot_answer_the_next_caller(suite: Suite, shared_key: str, mark: str) -> None:
    for stream in (False, True):
        suite.chat(shared_key, f"gpt-4o-mini+{mark}", stream=stream)
        after = [suite.chat(shared_key, text=f"after {i}") for i in range(3)]
        assert [a.json()["choices"][0]["message"]["content"] for a in after] == [f"Echo: after {i}" for i in range(3)]


NEVER_UP = {
    "Cookie": "a=1", "Forwarded": "for=1.2.3.4", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil", "X-Tenant-Id": "t",
    "OpenAI-Organization": "o", "OpenAI-Project": "p", "TE": "trailers", "X-Custom": "1", "Connection": "X-Custom",
}


def test_only_listed_headers_go_up_and_the_callers_key_never(suite: Suite, shared_key: str) -> None:
    suite.chat(shared_key, text="headers please", headers=NEVER_UP)
    request = next(r for r in reversed(suite.upstream_log()) if "headers please" in r["body"])
    sent = {name.lower(): value for name, value in request["headers"]}
    assert sent["authorization"] == "Bearer sk-scripted-provider-key"
    assert not {name.lower() for name in NEVER_UP if name != "Connection"} & set(sent)
    assert shared_key not in str(request)


@pytest.mark.parametrize(
    "duplicate",
    ['"model":"gpt-4o-mini"', '"MODEL":"gpt-4o-mini"', '"mode\\u006c":"gpt-4o-mini"', '"Messages":[]', '"stream":false,"stream":true', '"Max_Tokens":5', '"ſtream":true'],
)
def test_a_member_given_twice_or_in_another_case_is_refused(suite: Suite, shared_key: str, duplicate: str) -> None:
    body = BODY.decode().replace("smuggled", "twice")[:-1] + f",{duplicate}}}"
    answer = suite.post("/v1/chat/completions", shared_key, content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "duplicate_parameter", answer.text
    assert not [request for request in suite.upstream_log() if '"twice"' in request["body"]]
