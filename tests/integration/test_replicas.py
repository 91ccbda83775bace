"""Two replicas of each service behind one target: one is killed, or both are restarted one after the other, under load."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from harness.ports import eventually
from harness.rpc import RpcClient
from harness.suite import NO_TLS, Suite

THREADS = 4
WRITERS = 16
SETTLED = 40  # calls after which a change has been lived through
READS = {"auth": "/admin/api-keys", "usage": "/admin/usage", "relay": "/admin/providers"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("replicas"), replicas=True).start()
    yield suite
    statuses = suite.stop()
    assert all(status == 0 for name, status in statuses.items() if name.removesuffix("-2") in (*READS, "admin-gw")), statuses


class Load:
    """Threads that make the same call over and over, each on a connection of its own."""

    def __init__(self, call: Callable[[httpx.Client], httpx.Response]) -> None:
        self._call = call
        self._stop = threading.Event()
        self.good = 0
        self.bad: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def _run(self) -> None:
        with httpx.Client(timeout=30, verify=NO_TLS) as client:
            while not self._stop.is_set():
                answer = self._call(client)
                with self._lock:
                    if answer.status_code == 200:
                        self.good += 1
                    else:
                        self.bad.append(f"{answer.status_code} {answer.text[:200]}")

    def await_more(self, count: int = SETTLED) -> None:
        before = self.good
        eventually(lambda: self.good >= before + count, f"{count} more good calls; bad: {self.bad[:5]}")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.await_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def reads(suite: Suite, service: str) -> Load:
    headers = {"authorization": f"Bearer {suite.admin_key}"}
    return Load(lambda client: client.get(suite.admin_url + READS[service], headers=headers))


def writes(suite: Suite) -> Load:
    """Resuming an active key: a call that is not to be repeated, with an entry in the audit log."""
    path = f"{suite.admin_url}/admin/api-keys/{suite.make_key()['id']}/resume"
    headers = {"authorization": f"Bearer {suite.admin_key}"}
    return Load(lambda client: client.post(path, headers=headers, json={}))


def answered(suite: Suite, name: str) -> float:
    """Calls that a replica answered, all rpcs of ours together."""
    text = httpx.get(suite.ops_url(name, "/metrics"), timeout=30, verify=NO_TLS).text
    return sum(float(n) for n in re.findall(r'^rpc_server_calls_total\{method="apirelay[^}]*\} (\S+)', text, re.M))


def await_share(suite: Suite, name: str) -> None:
    """A replica takes part again."""
    before = answered(suite, name)
    eventually(lambda: answered(suite, name) > before, f"calls to {name}")


def test_many_changes_of_one_key_at_two_replicas_all_succeed(stack: Suite) -> None:
    """Each takes a number, a turn at the key and two at the audit log, all of which the others want, too."""
    key = stack.make_key()
    replicas = [stack.grpc_target("auth"), f"127.0.0.2:{stack.port['grpc_auth-2']}"]

    def change(number: int) -> None:
        with RpcClient(replicas[number % 2], stack.admin_key) as auth:
            auth.call("apirelay.auth.v1.ApiKeyService/UpdateApiKey", {"id": key["id"], "apiKey": {"name": f"number {number}"}}, timeout=60)

    before = stack.shown("/admin/audit/verify")["headSeq"]
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(change, range(3 * WRITERS)))
    chain = stack.shown("/admin/audit/verify")
    assert chain["intact"] and chain["headSeq"] == before + 2 * 3 * WRITERS, chain


@pytest.mark.parametrize("service", READS)
def test_killing_one_of_two_fails_no_idempotent_call(stack: Suite, service: str) -> None:
    with reads(stack, service) as load:
        for name in (service, f"{service}-2"):
            await_share(stack, name)
            stack.processes[name].kill()
            load.await_more()
            stack.processes[name].start()
            stack.await_ready(name)
            await_share(stack, name)
    assert load.bad == []


def test_killing_one_of_two_fails_no_more_writes_than_were_in_flight(stack: Suite) -> None:
    with writes(stack) as load:
        await_share(stack, "auth-2")
        stack.processes["auth-2"].kill()
        load.await_more()
        stack.processes["auth-2"].start()
        stack.await_ready("auth-2")
        await_share(stack, "auth-2")
    assert len(load.bad) <= THREADS, load.bad


@pytest.mark.parametrize("service", READS)
def test_a_rolling_restart_fails_no_call_at_all(stack: Suite, service: str) -> None:
    with reads(stack, service) as load:
        for name in (service, f"{service}-2"):
            await_share(stack, name)
            stack.processes[name].send(signal.SIGTERM)
            assert stack.processes[name].wait() == 0
            load.await_more()
            stack.processes[name].start()
            stack.await_ready(name)
            await_share(stack, name)
    assert load.bad == []


def test_a_rolling_restart_fails_no_write_either(stack: Suite) -> None:
    with writes(stack) as load:
        for name in ("auth", "auth-2"):
            await_share(stack, name)
            stack.processes[name].send(signal.SIGTERM)
            assert stack.processes[name].wait() == 0
            load.await_more()
            stack.processes[name].start()
            stack.await_ready(name)
            await_share(stack, name)
    assert load.bad == []


def test_a_frozen_replica_is_given_up_by_keepalive(stack: Suite) -> None:
    """It still holds its connections: only pings without an answer tell, 25 s after it fell silent."""
    frozen = stack.processes["auth-2"]
    with reads(stack, "auth") as load:
        await_share(stack, "auth-2")
        frozen.send(signal.SIGSTOP)
        try:
            load.await_more(10 * SETTLED)
            bad = len(load.bad)
            load.await_more(10 * SETTLED)
            assert len(load.bad) == bad
        finally:
            frozen.send(signal.SIGCONT)
        await_share(stack, "auth-2")
    assert all(text.startswith("504") for text in load.bad), load.bad


def test_requests_and_their_usage_survive_the_loss_of_an_auth_and_a_usage(stack: Suite) -> None:
    """New keys are looked up, and every answered request has its row, while one replica of each is away."""
    for name in ("auth-2", "usage-2"):
        stack.processes[name].kill()
    try:
        answers = [stack.chat(stack.make_key()["key"]) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 5
        for answer in answers:
            stack.row(answer.headers["x-request-id"])
    finally:
        for name in ("auth-2", "usage-2"):
            stack.processes[name].start()
            stack.await_ready(name)
