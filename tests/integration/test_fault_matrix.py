"""
Every kind of provider x every fault x JSON and streams, with and without a second target: what the caller sees, what is billed, whether
the breaker opens, and how often the provider was asked.

A case has a provider of its own, so that breakers are its own too; one failure opens them. Each is asked twice: the second request tells
whether the breaker is open.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from harness.ports import PATIENCE
from harness.suite import Suite

TEXT = "one two three four five six"
QUIET_MS = int(400 * PATIENCE)
LIMITED_SECONDS = 1.0  # how long a 429 of these upstreams is remembered
KINDS = ("openai", "local", "anthropic", "google", "librechat")
UPSTREAM = {"openai": "openai", "local": "openai", "anthropic": "anthropic", "google": "google", "librechat": "librechat"}
CREDENTIAL = {"openai": "SCRIPTED", "local": "SCRIPTED", "anthropic": "ANTHROPIC", "google": "GOOGLE", "librechat": "LIBRECHAT"}
STANDBY_MODEL = "gpt-4.1-mini"
PRICED = ("openai", "anthropic", "google")
MODEL = {"openai": "gpt-4o-mini", "local": "llama-3", "anthropic": "claude-sonnet-4-6", "google": "gemini-2.5-flash"}

# The mark of the upstreams' model names (openai.py), or of the small LibreChat. Its events begin with a role, Google's with content.
MARK = {
    "refuse": ("", "agent_echo"),
    "reset": ("fail-cut-head", "agent_reset"),
    "stall": ("fail-stall", "agent_stall"),
    "cut early": ("fail-cut-1", "agent_cut_1"),
    "cut late": ("fail-cut-5", "agent_cut_5"),
    "garbage": ("fail-garbage", "agent_garbage"),
    "wrong length": ("fail-length", "agent_length"),
    "429": ("fail-status-429", "agent_fail_pre_429"),
    "quota": ("fail-quota", ""),
    "429 with a date": ("fail-retry-date-30", ""),
    "429 with RetryInfo": ("fail-retry-info-30", ""),
    "500": ("fail-status-500", "agent_fail_pre_500"),
    "529": ("fail-status-529", "agent_fail_pre_529"),
    "HTML 200": ("fail-html", "agent_html"),
}


@dataclass(frozen=True)
class Expected:
    """Of a route with that one target; `moves`: with a second one, it answers instead."""

    status: int
    code: str | None  # of the error, in the body or in the stream
    moves: bool
    opens: bool = True
    basis: str = "unpriced"
    outcome: str = "failed"
    calls: tuple[int, ...] = (1,)


BEFORE: dict[str, Expected] = {  # nothing of an answer has come
    "refuse": Expected(503, "upstream_unavailable", True, calls=(0,)),
    "reset": Expected(502, "upstream_cut", True, calls=(1, 2)),  # a connection that was used before is tried anew once
    "stall": Expected(504, "upstream_timeout", True),
    "garbage": Expected(502, "upstream_invalid_response", True),
    "429": Expected(429, "upstream_rate_limited", True, opens=False),
    "quota": Expected(429, "upstream_quota_exceeded", True, opens=False),
    "429 with a date": Expected(429, "upstream_rate_limited", True, opens=False),
    "429 with RetryInfo": Expected(429, "upstream_rate_limited", True, opens=False),
    "500": Expected(502, "upstream_error", True),
    "529": Expected(503, "upstream_unavailable", True),
    "HTML 200": Expected(502, "upstream_invalid_response", True),
}
LATE = Expected(200, "upstream_cut", False, basis="estimated", outcome="partial")
WHOLE = Expected(200, None, False, opens=False, basis="reported", outcome="complete")
CUT = Expected(502, "upstream_cut", True)


def expected(kind: str, fault: str, stream: bool) -> Expected:
    if fault in BEFORE:
        of = BEFORE[fault]
        if kind == "librechat" and fault in ("reset", "stall", "garbage", "500", "529", "HTML 200"):
            of = replace(of, moves=False)  # its agents' tools may have acted
        return of
    if not stream:  # the answer broke off: it was made
        return replace(CUT, moves=False)
    if fault == "wrong length":  # all of the answer came, and the framing says that it did not
        return WHOLE if kind == "anthropic" else replace(LATE, basis="reported")
    if fault == "cut late" or kind == "google":
        return LATE
    if kind == "librechat":  # its agent ran, whatever came of it
        return replace(CUT, moves=False, basis="estimated")
    return CUT


@dataclass(frozen=True)
class Case:
    kind: str
    fault: str
    stream: bool
    pair: bool

    @property
    def name(self) -> str:
        return "-".join((self.kind, self.fault.replace(" ", "-").lower(), "sse" if self.stream else "json", "pair" if self.pair else "lone"))

    @property
    def upstream_model(self) -> str:
        mark, agent = MARK[self.fault]
        return agent if self.kind == "librechat" else "+".join(filter(None, (MODEL[self.kind], mark)))


CASES = {
    case.name: case
    for kind in KINDS
    for fault in MARK
    for stream in (False, True)
    for pair in (False, True)
    if stream or fault != "cut late"
    if kind != "librechat" or MARK[fault][1] or fault == "refuse"
    for case in [Case(kind, fault, stream, pair)]
}


@dataclass(frozen=True)
class Seen:
    """Of the first request; `again`: of the second one."""

    answer: httpx.Response
    again: httpx.Response
    calls: int
    calls_again: int
    row: dict[str, Any]
    gap_seconds: float  # from the first answer to the second

    @property
    def error(self) -> dict[str, Any] | None:
        if not self.is_stream:
            return self.answer.json().get("error")
        return next((e["error"] for e in map(json.loads, self.events) if "error" in e), None)

    @property
    def is_stream(self) -> bool:
        return self.answer.headers["content-type"].startswith("text/event-stream")

    @property
    def events(self) -> list[str]:
        data = [line[6:] for line in self.answer.text.splitlines() if line.startswith("data: ")]
        return [text for text in data if text != "[DONE]"]

    @property
    def done(self) -> bool:
        return "data: [DONE]" in self.answer.text


def config_of(suite: Suite) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    scripted = {"kind": "openai", "baseUrl": f"{suite.upstream_url}/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    providers: list[dict[str, Any]] = [{"name": "standby", **scripted}]
    models = []
    for name, case in CASES.items():
        url = suite.url_of("nobody" if case.fault == "refuse" else UPSTREAM[case.kind]) + ("/v1" if case.kind == "openai" else "")
        providers.append({"name": name, "kind": case.kind, "baseUrl": url, "credential": f"env:RELAY_CREDENTIAL_{CREDENTIAL[case.kind]}"})
        first = {"provider": name, "upstreamModel": case.upstream_model, "firstByteTimeoutMs": QUIET_MS, "idleTimeoutMs": QUIET_MS}
        standby = [{"provider": "standby", "upstreamModel": STANDBY_MODEL, "tier": 1}] if case.pair else []
        models.append({"model": name, "targets": [first, *standby]})
    return providers, models


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("matrix"), relay_settings={"BREAKER_FAILURES": "1", "BREAKER_OPEN": "60s"})
    suite.write_relay_config(*config_of(suite))
    yield suite.start()
    statuses = suite.stop()
    assert statuses["relay"] == 0



def asked_model(request: dict[str, Any]) -> str:
    """Google's stands in the path."""
    return json.loads(request["body"]).get("model") or unquote(request["path"]).rpartition("/")[2].partition(":")[0]


def play(suite: Suite, key: str, case: Case) -> tuple[httpx.Response, httpx.Response, float]:
    def ask(turn: str) -> httpx.Response:
        return suite.chat(key, case.name, f"{TEXT} {case.name} {turn}.", stream=case.stream)

    first, at = ask("first"), time.monotonic()
    return first, ask("again"), time.monotonic() - at


@pytest.fixture(scope="module")
def seen(suite: Suite) -> dict[str, Seen]:
    key = suite.make_key()["key"]
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(CASES, pool.map(lambda case: play(suite, key, case), CASES.values())))
    rows = suite.rows_of({name: first for name, (first, _, _) in answers.items()})  # refusals of open breakers may share a row
    logs = {of: suite.upstream_log(of=of) for of in set(UPSTREAM.values())}

    def calls(case: Case, turn: str) -> int:
        mark = f"{case.name} {turn}."
        return sum(mark in r["body"] and asked_model(r) == case.upstream_model for r in logs[UPSTREAM[case.kind]])

    return {
        name: Seen(first, again, calls(CASES[name], "first"), calls(CASES[name], "again"), rows[name], gap)
        for name, (first, again, gap) in answers.items()
    }


def assert_standby_answered(s: Seen, case: Case) -> None:
    assert s.answer.status_code == 200 and s.error is None and s.done == case.stream
    assert s.row["provider"] == "standby" and s.row["upstreamModel"] == STANDBY_MODEL
    assert s.row["attempts"] == 2 and s.answer.headers["x-relay-attempts"] == "2"
    assert s.row["outcome"] == "complete" and s.row["billingBasis"] == "reported" and s.row["usage"]["costNanoUsd"] > 0


@pytest.mark.parametrize("name", CASES)
def test_the_matrix(seen: dict[str, Seen], name: str) -> None:
    case, s = CASES[name], seen[name]
    want = expected(case.kind, case.fault, case.stream)
    assert s.calls in want.calls
    if case.pair and want.moves:
        assert_standby_answered(s, case)
    else:
        assert s.answer.status_code == want.status, s.answer.text
        assert (s.error or {}).get("code") == want.code
        assert s.done == (case.stream and want.code is None)
        assert s.row["provider"] == name and s.row["attempts"] == 1 and s.answer.headers["x-relay-attempts"] == "1"
        basis = want.basis if case.kind in PRICED else "unpriced"
        assert (s.row["outcome"], s.row["billingBasis"]) == (want.outcome, basis)
        assert (s.row["usage"]["totalTokens"] > 0) == (want.basis != "unpriced")
        assert (s.row["usage"]["costNanoUsd"] > 0) == (basis != "unpriced")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if BEFORE.get(case.fault, CUT).status == 429 and not case.pair])
def test_the_caller_is_told_when_to_come_back(seen: dict[str, Seen], name: str) -> None:
    case, head = CASES[name], seen[name].answer.headers
    if case.fault == "quota":
        assert "retry-after" not in head and head["x-should-retry"] == "false"
    else:
        seconds = {"429 with a date": (29, 30), "429 with RetryInfo": (31,)}.get(case.fault, (1,))
        if case.kind == "librechat" and "retry-after" not in head:
            return  # the small one does not say
        assert int(head["retry-after"]) in seconds and "x-should-retry" not in head


@pytest.mark.parametrize("name", CASES)
def test_the_breaker_opens_when_the_provider_is_to_blame(seen: dict[str, Seen], name: str) -> None:
    case, s = CASES[name], seen[name]
    want = expected(case.kind, case.fault, case.stream)
    if not want.opens and not (case.pair and want.moves):
        assert s.calls_again >= 1
        return
    if not want.opens and case.fault == "429" and s.gap_seconds >= LIMITED_SECONDS:
        pytest.skip("the machine was too slow: the 429 is forgotten")
    assert s.calls_again == 0
    if case.pair:  # the standby is asked at once
        assert s.again.status_code == 200 and s.again.headers["x-relay-attempts"] == "1"
    else:
        assert s.again.status_code == 503 and 1 <= int(s.again.headers["retry-after"]) <= 60
        assert "x-relay-attempts" not in s.again.headers and "is failing" in s.again.json()["error"]["message"]


def test_the_breakers_are_counted_and_logged_once_each(suite: Suite, seen: dict[str, Seen]) -> None:
    opens = sum(expected(c.kind, c.fault, c.stream).opens for c in CASES.values())
    assert suite.metric("relay", "relay_breakers_open") == opens
    assert suite.metric("relay", 'relay_breaker_changes_total{state="opened"}') == opens
    log = suite.path("log", "relay.log").read_text().splitlines()
    assert sum('"event.action":"breaker_opened"' in line for line in log) == opens
