"""RELAY_ON_REDIS_LOSS=allow: what is used while Redis is away is counted when it is back, once, also by a relay that is killed meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness.ledgers import AMOUNTS, TOKENS_DAY, await_rest, ledger
from harness.ports import eventually
from harness.suite import Suite


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("allowed"), relay_settings={"ON_REDIS_LOSS": "allow"}).start()
    yield suite
    assert suite.stop()["relay"] == 0


@contextmanager
def without_redis(suite: Suite) -> Iterator[None]:
    """It stands still and loses nothing, as behind a network that is cut."""
    suite.processes["redis"].send(signal.SIGSTOP)
    try:
        yield
    finally:
        suite.processes["redis"].send(signal.SIGCONT)


def limited(suite: Suite) -> dict[str, Any]:
    """A key whose ledger is built up, and whose position is closed again."""
    key = suite.make_key(limits={"tokensPerDay": 1_000_000, "costLimit": 100})
    assert suite.chat(key["key"]).status_code == 200
    await_rest(suite, key, TOKENS_DAY)
    return key


def use(suite: Suite, key: dict[str, Any], count: int) -> None:
    assert {suite.chat(key["key"]).status_code for _ in range(count)} == {200}


def all_windows_agree(suite: Suite, key: dict[str, Any], requests: int) -> None:
    for window in range(len(AMOUNTS)):
        await_rest(suite, key, window)
    assert ledger(suite, key).taken[0] == requests


def test_it_is_counted_when_redis_is_back(suite: Suite) -> None:
    known, unused = limited(suite), limited(suite)
    with without_redis(suite):
        use(suite, known, 5)
        use(suite, unused, 1)
    all_windows_agree(suite, known, 6)
    all_windows_agree(suite, unused, 2)
    use(suite, known, 2)
    all_windows_agree(suite, known, 8)


def test_it_is_counted_by_the_next_start_of_a_relay_that_was_killed(suite: Suite) -> None:
    key = limited(suite)
    with without_redis(suite):
        use(suite, key, 4)
        suite.processes["relay"].kill()
    suite.processes["relay"].start()
    suite.await_ready("relay")
    all_windows_agree(suite, key, 5)


def test_a_ledger_that_is_made_afterwards_has_it_once(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": 1_000_000})
    with without_redis(suite):
        use(suite, key, 4)
    eventually(lambda: len(suite.rows(keyId=key["keyId"])) == 4, "rows")
    use(suite, key, 1)
    all_windows_agree(suite, key, 5)
