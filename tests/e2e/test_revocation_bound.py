"""
Suspend, revoke and edit with three relays under load: a second after the admin's call has answered, no relay goes by the old policy.
Without auth what is cached lives at most RELAY_KEY_STALE_MAX.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from harness.ledgers import await_rest, ledger
from harness.ports import PATIENCE, eventually, kept
from harness.raw_http import request_bytes
from harness.suite import Suite
from harness.three_relays import RELAYS, start_three, three_relays, url_of

BOUND = 1.0
STALE_MAX = 3.0
WATCH_GRACE = 1.0  # a watch counts as up so long after its last sign of life
AFTER = 15  # answers of each relay that are looked at beyond the bound
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    s = start_three(three_relays(tmp_path_factory.mktemp("three"), relay_settings={"KEY_STALE_MAX": f"{int(STALE_MAX)}s"}))
    yield s
    s.stop()


@dataclass
class Caller:
    """One who asks a relay again and again, and notes when each question was begun and what it got."""

    url: str
    key: str
    seen: list[tuple[float, int]] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(timeout=30) as client:
            while not stop.is_set():
                begun = time.monotonic()
                self.seen.append((begun, client.post(f"{self.url}/v1/chat/completions", headers=headers, json=CHAT).status_code))


class Callers:
    def __init__(self, suite: Suite, key: str, load_key: str) -> None:
        self.of_key = [Caller(url_of(suite, relay), key) for relay in RELAYS]
        self.load = [Caller(url_of(suite, relay), load_key) for relay in RELAYS]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=caller.run, args=(self._stop,)) for caller in (*self.of_key, *self.load)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_statuses(self, expected: int, since: float, count: int = AFTER) -> None:
        """Each relay has answered so many questions that were begun after `since`, the last ones as expected."""

        def enough() -> bool:
            recent = [[status for begun, status in list(caller.seen) if begun >= since] for caller in self.of_key]
            return all(len(statuses) >= count and set(statuses[-count:]) == {expected} for statuses in recent)

        eventually(enough, f"{count} answers {expected} of each relay")

    def late(self, since: float, expected: int) -> list[float]:
        """Of each relay: how long after `since` the last question was begun that was not answered as expected."""
        return [max((begun - since for begun, status in caller.seen if begun > since and status != expected), default=0.0) for caller in self.of_key]


def path_of(key: dict[str, Any], action: str = "") -> str:
    return f"/admin/api-keys/{key['id']}{action}"


CHANGES: dict[str, tuple[Callable[[Suite, dict[str, Any]], httpx.Response], int]] = {
    "suspend": (lambda suite, key: suite.admin("POST", path_of(key, "/suspend"), json={"reason": "a test"}), 403),
    "revoke": (lambda suite, key: suite.admin("DELETE", path_of(key)), 401),
    "edit of models": (lambda suite, key: suite.admin("PATCH", path_of(key), json={"permissions": {"models": ["gpt-4.1*"]}}), 404),
    "edit of addresses": (lambda suite, key: suite.admin("PATCH", path_of(key), json={"security": {"ipWhitelist": ["10.0.0.0/8"]}}), 403),
    "new secret": (lambda suite, key: suite.admin("POST", path_of(key, "/regenerate"), json={}), 401),
    "signing required": (lambda suite, key: require_signing(suite, key), 401),
}


def require_signing(suite: Suite, key: dict[str, Any]) -> httpx.Response:
    assert suite.admin("POST", path_of(key, "/signing-secret"), json={}).status_code == 200
    return suite.admin("PATCH", path_of(key), json={"signing": {"required": True}})


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_is_applied_by_three_relays_within_a_second_under_load(stack: Suite, change: str, record_property: Callable[[str, object], None]) -> None:
    act, expected = CHANGES[change]

    def measure() -> float:
        key, other = stack.make_key(), stack.make_key()
        with Callers(stack, key["key"], other["key"]) as callers:
            callers.await_statuses(200, 0.0, 5)
            answer = act(stack, key)
            answered = time.monotonic()
            assert answer.status_code == 200, answer.text
            callers.await_statuses(expected, answered + BOUND)
        assert {status for caller in callers.load for _, status in caller.seen} == {200}
        return max(callers.late(answered, expected))

    record_property("seconds", kept(measure, BOUND, change))


def test_a_resumed_key_is_served_by_three_relays_within_a_second(stack: Suite) -> None:
    def measure() -> float:
        key, other = stack.make_key(), stack.make_key()
        assert stack.admin("POST", path_of(key, "/suspend"), json={}).status_code == 200
        with Callers(stack, key["key"], other["key"]) as callers:
            callers.await_statuses(403, 0.0, 5)
            assert stack.admin("POST", path_of(key, "/resume"), json={}).status_code == 200
            answered = time.monotonic()
            callers.await_statuses(200, answered + BOUND)
        return max(callers.late(answered, 200))

    kept(measure, BOUND, "resume")


def expire(suite: Suite, key: dict[str, Any]) -> httpx.Response:
    soon = datetime.now(timezone.utc) + timedelta(milliseconds=500)
    answer = suite.admin("PATCH", path_of(key), json={"security": {"expiresAt": soon.isoformat()}})
    eventually(lambda: datetime.now(timezone.utc) > soon, "it is over")
    return answer


@pytest.mark.parametrize("change", [*CHANGES, "expiry", "nothing but the name"], ids=str)
def test_a_body_that_was_on_its_way_is_held_to_the_key_as_it_is_when_it_came(stack: Suite, change: str) -> None:
    rename = (lambda suite, key: suite.admin("PATCH", path_of(key), json={"name": "another"})), 200
    act, expected = {**CHANGES, "expiry": (expire, 401), "nothing but the name": rename}[change]
    key = stack.make_key()
    whole = request_bytes("POST", "/v1/chat/completions", {"Authorization": f"Bearer {key['key']}"}, CHAT)
    assert stack.chat(key["key"]).status_code == 200
    heads = 'relay_stage_transitions_total{stage="read_body"}'
    before = stack.metric("relay", heads)
    with stack.raw("relay") as connection:
        connection.send(whole[:-20])
        eventually(lambda: stack.metric("relay", heads) > before, "its head was read")
        answer = act(stack, key)
        assert answer.status_code == 200, answer.text
        eventually(lambda: stack.chat(key["key"]).status_code == expected, "the relay knows")
        connection.send(whole[-20:])
        late = connection.answer()
    assert late is not None and late.status == expected, late


@pytest.mark.parametrize("change", ["suspend", "edit of models", "signing required"], ids=str)
def test_a_request_that_waits_for_its_hold_is_held_to_the_key_as_it_is_then(stack: Suite, change: str) -> None:
    """Redis has lost everything: for the quarantine nothing is sold."""
    act, expected = CHANGES[change]
    key = stack.make_key(limits={"requestsPerDay": 10})
    answers: list[httpx.Response] = []
    stack.redis().flushall()
    waiting = threading.Thread(target=lambda: answers.append(stack.chat(key["key"])))
    waiting.start()
    eventually(lambda: ledger(stack, key).is_there, "it waits for its hold")
    assert not answers and act(stack, key).status_code == 200
    waiting.join()
    assert answers[0].status_code == expected, answers[0].text
    assert await_rest(stack, key, 0) == 0


def test_without_auth_what_is_cached_lives_as_long_as_the_setting_says(stack: Suite) -> None:
    key, other, unseen = stack.make_key(), stack.make_key(), stack.make_key()
    with Callers(stack, key["key"], other["key"]) as callers:
        callers.await_statuses(200, 0.0, 5)
        stack.processes["auth"].kill()
        gone = time.monotonic()
        try:
            assert stack.chat(unseen["key"]).status_code == 503
            callers.await_statuses(503, gone, 1)
            served = [max(begun - gone for begun, status in caller.seen if status == 200) for caller in callers.of_key]
            assert {status for caller in callers.of_key for _, status in caller.seen} == {200, 503}
        finally:
            stack.processes["auth"].start()
            stack.await_ready("auth")
        back = time.monotonic()
        callers.await_statuses(200, back)
    # Their last sign of life came before the kill, at most a heartbeat of 250 ms.
    assert all(WATCH_GRACE < seconds <= STALE_MAX + 0.5 * PATIENCE for seconds in served), served


def test_what_changed_just_before_auth_went_is_known_when_it_is_back(stack: Suite) -> None:
    """The relay may have missed it, so its watch goes on from where it was."""
    key, other = stack.make_key(), stack.make_key()
    with Callers(stack, key["key"], other["key"]) as callers:
        callers.await_statuses(200, 0.0, 5)
        assert stack.admin("POST", path_of(key, "/suspend"), json={}).status_code == 200
        stack.processes["auth"].kill()
        stack.processes["auth"].start()
        stack.await_ready("auth")
        callers.await_statuses(403, time.monotonic())
