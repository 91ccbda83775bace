"""Live counters: of all replicas of usage by way of Redis, of one while Redis is away, as answers and as a stream."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness.ingest import Spool, Stream
from harness.ports import eventually, free_ports
from harness.process import Process
from harness.rpc import RpcClient
from harness.suite import Suite

METRICS = "apirelay.usage.v1.UsageService/GetMetrics"
WATCH = "apirelay.usage.v1.UsageService/WatchMetrics"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("live")).start(only=("mongo", "redis", "auth", "usage"))
    yield suite
    statuses = suite.stop()
    assert statuses["usage"] == 0


@pytest.fixture(scope="module")
def second(stack: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gRPC target of another replica of usage on the same stores."""
    grpc_port, ops_port = free_ports(2)
    first = stack.processes["usage"]
    env = {**first.env, "USAGE_GRPC_LISTEN": f"127.0.0.1:{grpc_port}", "USAGE_OPS_LISTEN": f"127.0.0.1:{ops_port}"}
    log: Path = tmp_path_factory.mktemp("second") / "usage.log"
    replica = Process("usage-2", first.command, log, env)
    replica.start()
    yield f"127.0.0.1:{grpc_port}"
    assert replica.stop() == 0


def welcomed(client: RpcClient, spool: Spool) -> Stream:
    def welcome() -> Stream:
        stream = Stream(client, spool)
        try:
            stream.welcome()
        except grpc.RpcError as e:
            stream.close()
            raise AssertionError("not yet") from e
        return stream

    return eventually(welcome, "a welcome")


def live_frame(spool: Spool, requests: int) -> dict[str, Any]:
    counter = {"api_key_id": spool.api_key_id.binary, "model": "gpt-4.1", "requests": requests, "errors": 1, "prompt_tokens": 10, "duration": [{"index": 57, "count": requests}]}
    return {"second": int(time.time()) - 1, "open_streams": 2, "in_flight": 3, "counters": [counter]}


def asked(client: RpcClient, spool: Spool) -> Any:
    return client.call(METRICS, {"apiKeyId": str(spool.api_key_id)})


def test_any_replica_shows_what_all_relays_reported(stack: Suite, second: str) -> None:
    spool, other = Spool(), Spool()
    other.api_key_id = spool.api_key_id
    with stack.rpc_as("relay", "usage") as one, RpcClient(second, stack.tokens["relay"]) as two:
        streams = [welcomed(one, spool), welcomed(two, other)]
        streams[0].send(live=live_frame(spool, 4))
        streams[1].send(live=live_frame(other, 6))
        with stack.rpc("usage", stack.admin_key) as first_asked, RpcClient(second, stack.admin_key) as second_asked:
            for client in (first_asked, second_asked):

                def shows_both() -> Any:
                    answer = asked(client, spool)
                    assert answer.scope == "all" and answer.totals.requests == 10
                    return answer

                answer = eventually(shows_both, "the counters of both replicas")
                assert answer.totals.errors == 2 and [g.group for g in answer.models] == ["gpt-4.1"]
                assert 96 < answer.totals.performance.p50_response_time < 104
        assert stack.redis().ttl(f"live:{int(time.time()) - 2}") <= 120
        for stream in streams:
            stream.close()


def test_a_watch_tells_each_second_and_ends_with_its_replica(stack: Suite) -> None:
    with stack.rpc("usage", stack.admin_key) as admin:
        answers = admin.stream(WATCH, {"windowSeconds": 5})
        seconds = [next(answers).metrics.at.seconds for _ in range(3)]
        assert seconds == sorted(seconds) and seconds[-1] > seconds[0]
        with pytest.raises(grpc.RpcError) as refused:
            next(admin.stream(WATCH, {"windowSeconds": 61}))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
        began = time.monotonic()
        stack.restart("usage")
        with pytest.raises(grpc.RpcError) as ended:
            for _ in answers:
                pass
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        assert time.monotonic() - began < 9, "a watch keeps no replica from ending"


def succeeds(call: Callable[[], Any]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True


@contextmanager
def viewer_key(stack: Suite, name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """An admin key, and how to revoke it."""
    with stack.rpc("auth", stack.admin_key) as owner:
        made = owner.call("apirelay.auth.v1.AdminService/CreateAdminKey", {"adminKey": {"name": name, "role": "viewer"}})
        yield made.key, lambda: owner.call("apirelay.auth.v1.AdminService/RevokeAdminKey", {"id": made.admin_key.id})


def test_a_watch_ends_with_its_credential(stack: Suite) -> None:
    with viewer_key(stack, "watches") as (key, revoke), stack.rpc("usage", key) as viewer:
        answers = viewer.stream(WATCH, {})
        for _ in range(3):  # checked between them, and good
            next(answers)
        revoke()
        with pytest.raises(grpc.RpcError) as ended:
            for _ in answers:
                pass
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_a_watch_keeps_no_session_from_its_idle_end(stack: Suite) -> None:
    with stack.rpc_as("admin-gw", "auth") as gateway:
        token = gateway.call("apirelay.auth.v1.SessionService/CreateSession", {"username": "admin", "password": stack.owner_password}).token
    assert stack.redis().pexpire("auth:session:" + hashlib.sha256(token.encode()).hexdigest(), 7000)  # of the 30 min
    with stack.rpc("usage", token) as viewer:
        answers = viewer.stream(WATCH, {})
        with pytest.raises(grpc.RpcError) as ended:  # a check is good, the next one is not
            for _ in answers:
                pass
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_a_watch_goes_on_while_auth_is_away(stack: Suite) -> None:
    with viewer_key(stack, "goes on") as (key, revoke), stack.rpc("usage", key) as viewer:
        answers = viewer.stream(WATCH, {})
        next(answers)
        stack.processes["auth"].kill()
        try:
            for _ in range(4):
                next(answers)
        finally:
            stack.processes["auth"].start()
        eventually(lambda: succeeds(revoke), "auth is back")
        with pytest.raises(grpc.RpcError) as ended:
            for _ in answers:
                pass
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_while_redis_is_away_a_replica_shows_its_own(stack: Suite) -> None:
    spool = Spool()
    with stack.rpc_as("relay", "usage") as relay, stack.rpc("usage", stack.admin_key) as admin:
        stream = welcomed(relay, spool)
        stack.processes["redis"].kill()

        def shows_its_own() -> bool:
            stream.send(live=live_frame(spool, 3))
            answer = asked(admin, spool)
            assert answer.scope == "replica" and answer.totals.requests >= 3
            return True

        eventually(shows_its_own, "this replica's counters")
        stack.processes["redis"].start()

        def is_back() -> bool:
            stream.send(live=live_frame(spool, 3))
            answer = asked(admin, spool)
            assert answer.scope == "all" and answer.totals.requests >= 3
            return True

        eventually(is_back, "the counters of all replicas")
        stream.close()
