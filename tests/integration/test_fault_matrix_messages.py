"""The fault matrix for callers of Anthropic's dialect: the same outcomes and bills as in OpenAI's, told in their words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from harness.suite import Suite
from test_fault_matrix import CASES, PRICED, TEXT, Case, config_of, expected

LONE = {name: case for name, case in CASES.items() if not case.pair}
OVERLOADED = 529  # what OpenAI's callers see as 503


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("matrix"))
    suite.write_relay_config(*config_of(suite))
    yield suite.start()
    assert suite.stop()["relay"] == 0


def ask(suite: Suite, key: str, case: Case) -> httpx.Response:
    messages = [{"role": "user", "content": f"{TEXT} {case.name}"}]
    return suite.post("/v1/messages", key, json={"model": case.name, "max_tokens": 100, "messages": messages, "stream": case.stream})


@pytest.fixture(scope="module")
def seen(suite: Suite) -> dict[str, tuple[httpx.Response, dict[str, Any]]]:
    """Answers and rows."""
    key = suite.make_key()["key"]
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(LONE, pool.map(lambda case: ask(suite, key, case), LONE.values())))
    rows = suite.rows_of(answers)
    return {name: (answer, rows[name]) for name, answer in answers.items()}


def events_of(answer: httpx.Response) -> list[Any]:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return [answer.json()]
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("name", LONE)
def test_the_matrix(seen: dict[str, tuple[httpx.Response, dict[str, Any]]], name: str) -> None:
    case, (answer, row) = LONE[name], seen[name]
    want = expected(case.kind, case.fault, case.stream)
    assert answer.status_code == (OVERLOADED if want.status == 503 else want.status), answer.text
    *_, last = events = events_of(answer)
    if want.code is None:
        assert last["type"] == ("message_stop" if case.stream else "message")
    else:
        assert last["type"] == "error" and last["error"]["details"]["error_code"] == want.code
        assert last["request_id"] == answer.headers["request-id"] and all(e["type"] != "message_stop" for e in events)
    basis = want.basis if case.kind in PRICED else "unpriced"
    assert (row["outcome"], row["billingBasis"], row["attempts"]) == (want.outcome, basis, 1)
    assert row["request"]["endpoint"] == "/v1/messages" and (row["usage"]["costNanoUsd"] > 0) == (basis != "unpriced")
