"""Redis fails in every way it knows while three relays are at work on one budget: nobody gets a second one, and it goes on by itself."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import redis
from faults.crowd import Crowd, chat
from harness.ledgers import REQUESTS_DAY, TOKENS_DAY, await_rest, ledger, rows_of
from harness.ports import PATIENCE, eventually, free_ports
from harness.process import Process
from harness.suite import Suite
from harness.three_relays import RELAYS, start_three, three_relays

LEASE_S = 1.0  # of the suite
REQUESTS = 400
SECONDS = 90.0 * PATIENCE
BODIES = [chat("gpt-4o-mini+slow-30+long-10", max_tokens=20), chat("gpt-4o-mini+slow-5+long-10", max_tokens=20, stream=True)]

pytestmark = pytest.mark.timeout(round(240 * PATIENCE))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = start_three(three_relays(tmp_path_factory.mktemp("redis-faults")))
    yield suite
    statuses = suite.stop()
    assert not [name for name, status in statuses.items() if name.startswith(("auth", "usage", "relay")) and status], statuses


def make_key(stack: Suite) -> dict[str, Any]:
    return stack.make_key(limits={"requestsPerDay": REQUESTS, "tokensPerDay": 10**9})


def crowd_of(stack: Suite, key: dict[str, Any]) -> Crowd:
    return Crowd(stack, key, BODIES, callers=24)


def is_over(crowd: Crowd) -> bool:
    """The last requests of the day were refused by the limit."""
    return crowd.served > 0 and {entry.status for entry in crowd.entries[-60:]} == {429} and crowd.is_used_up(2.0)


def settles(stack: Suite, key: dict[str, Any], crowd: Crowd, allowed: set[int], least: int = REQUESTS) -> None:
    assert set(crowd.statuses) <= {200, 429} | allowed, crowd.statuses
    used = await_rest(stack, key, REQUESTS_DAY)
    assert least <= used <= REQUESTS, (used, crowd.statuses)
    assert crowd.served <= used
    await_rest(stack, key, TOKENS_DAY)


# ---- one that answers wrongly, late or not at all ----


@contextmanager
def late(stack: Suite) -> Iterator[None]:
    stack.redis().client_pause(round(2000 * LEASE_S), all=True)
    yield


@contextmanager
def away(stack: Suite) -> Iterator[None]:
    """Stopped: connections stand and say nothing."""
    stack.processes["redis"].send(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.processes["redis"].send(signal.SIGCONT)


@contextmanager
def killed(stack: Suite) -> Iterator[None]:
    stack.processes["redis"].kill()
    try:
        yield
    finally:
        stack.processes["redis"].start()


@contextmanager
def out_of_memory(stack: Suite) -> Iterator[None]:
    stack.redis().config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.ResponseError, match="OOM|used memory"):
            stack.redis().set("anything", 1)
        yield
    finally:
        stack.redis().config_set("maxmemory", "0")


@contextmanager
def read_only(stack: Suite) -> Iterator[None]:
    """A replica of one that is not there, as after a failover that it has not been told of."""
    stack.redis().slaveof("127.0.0.1", str(stack.port["nobody"]))
    try:
        with pytest.raises(redis.exceptions.ReadOnlyError):
            stack.redis().set("anything", 1)
        yield
    finally:
        stack.redis().slaveof()


@contextmanager
def busy(stack: Suite) -> Iterator[None]:
    """Somebody's script does not end."""
    stack.redis().config_set("busy-reply-threshold", 50)

    def spin() -> None:
        with pytest.raises((redis.ResponseError, redis.ConnectionError)):
            stack.redis().eval("while true do end", 0)

    script = threading.Thread(target=spin)
    script.start()

    def is_busy() -> bool:
        try:
            stack.redis().get("anything")
            return False
        except redis.ResponseError as e:
            return "BUSY" in str(e)

    try:
        eventually(is_busy, "BUSY")
        yield
    finally:
        stack.redis().script_kill()
        script.join()
        stack.redis().config_set("busy-reply-threshold", 5000)


@contextmanager
def loading(stack: Suite) -> Iterator[None]:
    """Started again with so much to read, so slowly, that it answers LOADING for a while."""
    process = stack.processes["redis"]
    command = list(process.command)
    with stack.redis().pipeline(transaction=False) as pipe:
        for i in range(6000):
            pipe.set(f"ballast:{i}", i)
        pipe.execute()
    process.kill()
    process.command = [*command, "--key-load-delay", "500"]
    process.start()
    process.command = command

    def is_loading() -> bool:
        try:
            return not stack.redis().ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.exceptions.ConnectionError:
            return False

    eventually(is_loading, "LOADING")
    yield
    eventually(lambda: stack.redis().config_set("key-load-delay", 0) if not is_loading() else False, "the end of LOADING")


Fault = Callable[[Suite], AbstractContextManager[None]]
FAULTS: dict[str, Fault] = {
    "late": late,
    "away": away,
    "killed": killed,
    "out of memory": out_of_memory,
    "read only": read_only,
    "busy": busy,
    "loading": loading,
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_redis_that_fails_stops_limited_keys_for_a_while_and_nothing_else(stack: Suite, fault: str) -> None:
    key, free = make_key(stack), stack.make_key()
    assert stack.chat(free["key"]).status_code == 200

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= REQUESTS // 8, "requests")
        with FAULTS[fault](stack):
            began = len(crowd.entries)
            eventually(lambda: 503 in {entry.status for entry in crowd.entries[began:]}, f"refused while {fault}")
            assert stack.chat(free["key"]).status_code == 200
        began = len(crowd.entries)
        eventually(lambda: 200 in {entry.status for entry in crowd.entries[began:]}, "served again without a restart")

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, {503})
    for relay in RELAYS:
        log = stack.processes[relay]
        changes = len(log.events("ledger_lost")) + len(log.events("ledger_found"))
        assert changes <= 2 * (1 + len(FAULTS)) * 3, f"{relay}: each change of state once, not each request"


def test_scripts_and_functions_that_are_flushed_again_and_again_are_not_missed(stack: Suite) -> None:
    key = make_key(stack)

    def flush(crowd: Crowd) -> None:
        for at_least in range(0, REQUESTS, 20):
            eventually(lambda: crowd.served >= at_least, "requests")
            stack.redis().script_flush()
            stack.redis().function_flush()

    crowd = crowd_of(stack, key).run(is_over, SECONDS, flush)
    settles(stack, key, crowd, set())


# ---- one that has lost data ----


def test_flushed_under_load_with_spools_that_usage_has_not_seen(stack: Suite) -> None:
    """What the ledgers are built up from is still on the disks of three relays."""
    key = make_key(stack)

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= REQUESTS // 8, "requests")
        stack.processes["usage"].send(signal.SIGSTOP)
        try:
            unseen = crowd.served
            eventually(lambda: crowd.served >= unseen + REQUESTS // 8, "requests that usage does not know")
            eventually(lambda: all(stack.metric(relay, "relay_spool_waiting_events") > 0 for relay in RELAYS), "spools with events")
            stack.redis().flushall()
            eventually(lambda: ledger(stack, key).is_there, "a ledger made anew")
        finally:
            stack.processes["usage"].send(signal.SIGCONT)

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, {503})
    assert sum(stack.metric(relay, 'relay_ledger_loads_total{kind="rebuild"}') for relay in RELAYS) > 0


def test_flushed_again_and_again_under_load(stack: Suite) -> None:
    key = make_key(stack)

    def act(crowd: Crowd) -> None:
        for n in (1, 2, 3):
            eventually(lambda: crowd.served >= n * REQUESTS // 5, "requests")
            stack.redis().flushall()

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, {503})


def test_restarted_without_its_last_second(stack: Suite) -> None:
    """Its file as it was a moment before, under positions that have gone on since."""
    key = make_key(stack)
    folder, older = stack.path("redis", "appendonlydir"), stack.path("redis-older")
    shutil.rmtree(older, ignore_errors=True)

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= REQUESTS // 8, "requests")
        shutil.copytree(folder, older)
        then = ledger(stack, key).taken[REQUESTS_DAY]
        eventually(lambda: ledger(stack, key).taken[REQUESTS_DAY] >= then + REQUESTS // 8, "sales that will be forgotten")
        stack.processes["redis"].kill()
        shutil.rmtree(folder)
        shutil.copytree(older, folder)
        stack.processes["redis"].start()

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, {503})


def test_failed_over_to_a_replica_that_lags(stack: Suite) -> None:
    key = make_key(stack)
    first, folder = stack.processes["redis"], stack.path("redis-replica")
    folder.mkdir()
    port = free_ports(1)[0]
    command = ["redis-server", "--bind", "127.0.0.1", "--dir", str(folder), "--port", str(port), "--save", "", "--appendonly", "yes"]
    replica = Process("redis", [*command, "--replicaof", "127.0.0.1", str(stack.port["redis"])], stack.path("log", "redis-replica.log"))
    replica.start()
    client = redis.Redis(port=port)

    def is_in_step() -> bool:
        try:
            return client.info("replication")["master_link_status"] == "up"
        except redis.RedisError:
            return False

    eventually(is_in_step, "a replica")

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= REQUESTS // 8, "requests")
        replica.send(signal.SIGSTOP)
        then = ledger(stack, key).taken[REQUESTS_DAY]
        eventually(lambda: ledger(stack, key).taken[REQUESTS_DAY] >= then + REQUESTS // 8, "sales that the replica does not know")
        first.kill()
        replica.send(signal.SIGCONT)
        client.slaveof()
        client.config_set("port", stack.port["redis"])
        stack.processes["redis"] = replica

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, {503})


def test_a_relay_stopped_for_longer_than_its_lease_keeps_to_the_limit(stack: Suite) -> None:
    key = make_key(stack)

    def act(crowd: Crowd) -> None:
        eventually(lambda: crowd.served >= REQUESTS // 8, "requests")
        stack.processes["relay-2"].send(signal.SIGSTOP)
        try:
            served = crowd.served
            eventually(lambda: ledger(stack, key).taken[REQUESTS_DAY] >= served + REQUESTS // 4, "the others go on")
        finally:
            stack.processes["relay-2"].send(signal.SIGCONT)

    crowd = crowd_of(stack, key).run(is_over, SECONDS, act)
    settles(stack, key, crowd, set())
    assert len(rows_of(stack, key)) == REQUESTS
