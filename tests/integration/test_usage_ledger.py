"""LoadLedger on a real store: what a subject used without a load id's events, behind the spools of the relays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from bson import ObjectId
from harness.ingest import Spool, Stream
from harness.rpc import RpcClient
from harness.suite import Suite

LOAD = "apirelay.usage.v1.LedgerService/LoadLedger"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("ledger")).start(only=("mongo", "redis", "auth", "usage"))
    yield suite
    assert suite.stop()["usage"] == 0


@pytest.fixture(scope="module")
def relay(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc("usage", stack.tokens["relay"]) as client:
        yield client


class Telling:
    """A stream whose relay tells its status twice a second."""

    def __init__(self, relay: RpcClient, spool: Spool, **hello: Any) -> None:
        self.stream = Stream(relay, spool, **hello)
        self.stream.welcome()
        self.tail = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell)
        self._thread.start()

    def _tell(self) -> None:
        while not self._over.wait(0.5):
            self.stream.send(status={"tail": self.tail, "oldest": 1 if self.tail else 0, "oldest_timestamp_ms": int(time.time() * 1000)})

    def __enter__(self) -> "Telling":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.stream.close()


def today() -> int:
    return int(time.time()) // 86400


def test_a_ledger_is_told_all_but_its_own_events(relay: RpcClient) -> None:
    spool, owner = Spool(), ObjectId()
    common = {"client_id": "app.$one", "user_id": owner.binary, "timestamp_ms": int(time.time() * 1000)}
    spool.add(4, **common)
    spool.add(3, **common, key_load_id=70, client_load_id=80, owner_load_id=90)
    spool.add(2, **common, outcome="refused", status_code=429, repeat_count=50, key_load_id=70)
    with Telling(relay, spool) as told:
        told.stream.events(1, 9)
        told.tail = 9
        told.stream.acked(9)
        for subject, load_id in (({"apiKeyId": str(spool.api_key_id)}, 70), ({"clientId": "app.$one"}, 80), ({"userId": str(owner)}, 90)):
            answer = relay.call(LOAD, {**subject, "loadId": load_id, "day": today()}, timeout=30)
            assert (answer.requests_today, answer.tokens_today, answer.tokens_this_month) == (4, 60, 60), subject
            assert answer.cost_nano_usd_this_month == 4000 and answer.spools >= 1
            other = relay.call(LOAD, {**subject, "loadId": 99, "day": today(), "fresh": True}, timeout=30)
            assert other.requests_today == 7 and other.spools == 0
            assert relay.call(LOAD, {**subject, "loadId": 99, "day": today() + 1, "fresh": True}).requests_today == 0


def test_what_a_relay_still_has_is_waited_for(stack: Suite, relay: RpcClient) -> None:
    spool = Spool()
    spool.add(6)
    request = {"apiKeyId": str(spool.api_key_id), "loadId": 5, "day": today()}
    with Telling(relay, spool) as told, stack.rpc("usage", stack.tokens["relay"]) as other:
        told.stream.events(1, 2)
        told.stream.acked(2)
        told.tail = 6  # four more are on its disk
        with pytest.raises(grpc.RpcError) as early:
            relay.call(LOAD, request, timeout=4)
        assert early.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)  # type: ignore[attr-defined]
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(other.call(LOAD, request, timeout=30)))
        waiting.start()
        told.stream.events(3, 4)
        waiting.join()
        assert answers[0].requests_today == 6


def test_a_bad_question_is_refused(stack: Suite, relay: RpcClient) -> None:
    good = {"clientId": "c", "loadId": 1, "day": today()}
    for fields in ({**good, "loadId": 0}, {**good, "day": -1}, {"loadId": 1, "day": 1}, {**good, "clientId": ""}, {"apiKeyId": "zz", "loadId": 1}):
        with pytest.raises(grpc.RpcError) as refused:
            relay.call(LOAD, fields)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, fields  # type: ignore[attr-defined]
    with stack.rpc("usage", stack.admin_key) as admin, pytest.raises(grpc.RpcError) as stranger:
        admin.call(LOAD, good)
    assert stranger.value.code() == grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]


def test_a_replica_that_ends_keeps_nobody_waiting(stack: Suite, relay: RpcClient) -> None:
    spool = Spool()
    spool.add(3)
    failures: list[Any] = []
    with Telling(relay, spool) as told, stack.rpc("usage", stack.tokens["relay"]) as other:
        told.tail = 3

        def ask() -> None:
            try:
                other.call(LOAD, {"clientId": "c", "loadId": 1, "day": today()}, timeout=60)
            except grpc.RpcError as e:
                failures.append(e)

        waiting = threading.Thread(target=ask)
        waiting.start()
        waiting.join(1.5)
        assert waiting.is_alive()
        stack.restart("usage")
        waiting.join(10)
        assert not waiting.is_alive() and failures[0].code() == grpc.StatusCode.UNAVAILABLE
