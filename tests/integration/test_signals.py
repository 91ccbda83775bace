"""Signals, limits and users of the real processes: how each service stops, what it may do, who it is."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness.ports import PATIENCE, eventually
from harness.process import Process
from harness.suite import SERVICES, Suite

OF_GRPC = ("auth", "relay", "usage")
DELAY = "1500ms"
DELAY_SECONDS = 1.5


def prefix_of(service: str) -> str:
    return service.upper().replace("-", "_") + "_"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("signals"))
    for service in SERVICES:
        suite.processes[service].env[prefix_of(service) + "SHUTDOWN_DELAY"] = DELAY
    suite.start()
    health(suite, "auth")  # the first use of the protos compiles them, which is longer than the delay
    yield suite
    suite.stop()


@pytest.fixture
def process(stack: Suite, request: pytest.FixtureRequest) -> Iterator[Process]:
    """One of the suite's, running again afterwards."""
    process = stack.processes[request.param]
    yield process
    process.kill()
    process.start()
    stack.await_ready(process.name)


def begin_shutdown(process: Process) -> None:
    before = len(process.events("shutdown_begun"))
    process.send(signal.SIGTERM)
    eventually(lambda: len(process.events("shutdown_begun")) > before, f"{process.name} begins to shut down")


def status_line(process: Process, name: str) -> str:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(name + ":"))


def health(stack: Suite, service: str) -> int:
    with stack.rpc(service) as client:
        return int(client.call("grpc.health.v1.Health/Check", {}).status)


# ---- stopping ----


@pytest.mark.parametrize("process", SERVICES, indirect=True)
def test_a_second_sigterm_ends_a_service_at_once_with_130(process: Process) -> None:
    begin_shutdown(process)
    process.send(signal.SIGTERM)
    assert process.wait() == 130


@pytest.mark.parametrize("process", SERVICES, indirect=True)
def test_during_the_delay_a_service_is_not_ready_and_still_serves(stack: Suite, process: Process) -> None:
    began = time.monotonic()
    begin_shutdown(process)
    ready = httpx.get(stack.ops_url(process.name), timeout=30)
    assert (ready.status_code, ready.text) == (503, "draining\n")
    assert httpx.get(stack.ops_url(process.name, "/healthz"), timeout=30).status_code == 200
    if process.name in OF_GRPC:
        assert health(stack, process.name) == 2  # NOT_SERVING, and asked over a connection made just now
    if process.name == "relay":
        assert httpx.get(stack.relay_url + "/v1/models", timeout=30).status_code == 401
    if process.name == "admin-gw":
        assert stack.admin("GET", "/admin/api-keys").status_code == 200
    assert process.wait() == 0
    assert time.monotonic() - began >= DELAY_SECONDS
    order = [line["event.action"] for action in ("shutdown_begun", "drain_started", "service_stopped") for line in process.events(action)[-1:]]
    assert order == ["shutdown_begun", "drain_started", "service_stopped"]


@pytest.mark.parametrize("process", ["relay"], indirect=True)
def test_a_second_sigterm_cuts_an_open_stream(stack: Suite, process: Process) -> None:
    key = stack.make_key()
    failed: list[Exception] = []

    def ask() -> None:
        try:
            stack.chat(key["key"], "gpt-4o-mini+slow-20+long-2000", stream=True)
        except httpx.TransportError as e:
            failed.append(e)

    started = stack.upstream_stats()["requests"]
    thread = threading.Thread(target=ask)
    thread.start()
    stack.upstream_stats(f"requests={started + 1}")
    drains = len(process.events("drain_started"))
    begin_shutdown(process)
    eventually(lambda: len(process.events("drain_started")) > drains, "the drain")
    process.send(signal.SIGTERM)
    assert process.wait() == 130
    thread.join()
    assert failed, "a stream that is cut has no end"


@pytest.mark.parametrize("process", ["usage", "auth"], indirect=True)
def test_the_open_streams_of_a_relay_do_not_hold_a_service_back(stack: Suite, process: Process) -> None:
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < DELAY_SECONDS + 5 * PATIENCE


# A call that each service answers from MongoDB.
SLOW_CALLS = {
    "auth": "apirelay.auth.v1.ApiKeyService/ListApiKeys",
    "usage": "apirelay.usage.v1.AlertService/ListAlertRules",
    "relay": "apirelay.relay.v1.ProviderService/ListProviders",
}


def calls_in_flight(stack: Suite, service: str) -> int:
    metrics = httpx.get(stack.ops_url(service, "/metrics"), timeout=30).text
    method = SLOW_CALLS[service]
    return sum(int(value) for value in re.findall(rf'^rpc_server_calls_in_flight{{method="{method}"}} (\d+)', metrics, re.M))


@pytest.fixture
def frozen_mongo(stack: Suite) -> Iterator[Process]:
    """MongoDB, to be frozen and thawed by the test; it goes on in any case."""
    if "mongo" not in stack.processes:
        pytest.skip("the database is not ours to stop")
    yield stack.processes["mongo"]
    stack.processes["mongo"].send(signal.SIGCONT)


@pytest.mark.parametrize("process", OF_GRPC, indirect=True)
def test_a_call_in_flight_is_answered_though_its_service_stops(stack: Suite, process: Process, frozen_mongo: Process) -> None:
    service = process.name
    with stack.rpc(service, stack.admin_key) as client:
        method = SLOW_CALLS[service]
        answers: list[object] = []
        thread: threading.Thread | None = None

        def waits_for_mongo() -> bool:
            """Who calls is known for a second, or it is that question that waits: a slow machine may need another try."""
            nonlocal thread
            client.call(method, {})
            frozen_mongo.send(signal.SIGSTOP)
            thread = threading.Thread(target=lambda: answers.append(client.call(method, {})))
            thread.start()
            try:
                return eventually(lambda: calls_in_flight(stack, service) == 1, "the call is in flight")
            except AssertionError:
                frozen_mongo.send(signal.SIGCONT)
                thread.join()
                answers.clear()
                return False

        eventually(waits_for_mongo, "a call that waits for MongoDB")
        drains = len(process.events("drain_started"))
        begin_shutdown(process)
        eventually(lambda: len(process.events("drain_started")) > drains, "the drain")
        frozen_mongo.send(signal.SIGCONT)
        assert thread
        thread.join()
    assert len(answers) == 1
    assert process.wait() == 0


GRACE_SECONDS, SETTLE_SECONDS, CLOSE_SECONDS = 10, 5, 2


@pytest.mark.parametrize("process", ["usage"], indirect=True)
def test_usage_ends_in_its_time_though_mongodb_hangs_and_nothing_is_lost(stack: Suite, process: Process, frozen_mongo: Process) -> None:
    key = stack.make_key()["key"]
    answers = {"before": stack.chat(key)}
    stack.rows_of(answers)
    frozen_mongo.send(signal.SIGSTOP)
    answers |= {f"meanwhile {i}": stack.chat(key) for i in range(3)}
    began = time.monotonic()
    begin_shutdown(process)
    assert process.wait() == 0
    assert time.monotonic() - began < DELAY_SECONDS + GRACE_SECONDS + SETTLE_SECONDS + CLOSE_SECONDS + PATIENCE
    assert process.events("close_cut")
    frozen_mongo.send(signal.SIGCONT)
    process.start()
    assert all(row["response"]["statusCode"] == 200 for row in stack.rows_of(answers).values())


@pytest.mark.parametrize("process", ["auth", "relay"], indirect=True)
def test_a_service_ends_in_its_time_though_mongodb_hangs(process: Process, frozen_mongo: Process) -> None:
    frozen_mongo.send(signal.SIGSTOP)
    began = time.monotonic()
    begin_shutdown(process)
    assert process.wait() == 0
    assert time.monotonic() - began < DELAY_SECONDS + CLOSE_SECONDS + 3 * PATIENCE


@pytest.mark.parametrize("process", ["admin-gw"], indirect=True)
def test_a_rest_call_in_flight_is_answered_though_admin_gw_stops(stack: Suite, process: Process, frozen_mongo: Process) -> None:
    frozen_mongo.send(signal.SIGSTOP)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(stack.admin("GET", "/admin/api-keys")))
    thread.start()
    eventually(lambda: calls_in_flight(stack, "auth") == 1, "the call has reached auth")
    drains = len(process.events("drain_started"))
    begin_shutdown(process)
    eventually(lambda: len(process.events("drain_started")) > drains, "the drain")
    frozen_mongo.send(signal.SIGCONT)
    thread.join()
    assert answers[0].status_code == 200, answers[0].text
    assert process.wait() == 0


@pytest.mark.parametrize("process", ["admin-gw"], indirect=True)
def test_a_rest_call_that_outlasts_the_grace_is_told_so(stack: Suite, process: Process, frozen_mongo: Process) -> None:
    process.kill()
    before = process.env.get("ADMIN_GW_SHUTDOWN_GRACE")
    process.env["ADMIN_GW_SHUTDOWN_GRACE"] = "100ms"
    try:
        process.start()
        stack.await_ready("admin-gw")
    finally:
        process.env.pop("ADMIN_GW_SHUTDOWN_GRACE") if before is None else process.env.update(ADMIN_GW_SHUTDOWN_GRACE=before)
    frozen_mongo.send(signal.SIGSTOP)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(stack.admin("GET", "/admin/api-keys")))
    thread.start()
    eventually(lambda: calls_in_flight(stack, "auth") == 1, "the call has reached auth")
    process.send(signal.SIGTERM)
    thread.join()
    assert answers[0].status_code == 503 and "shut" in answers[0].text, answers[0].text
    assert process.wait() == 0


@pytest.mark.parametrize("service", SERVICES)
def test_sighup_ends_nobody(stack: Suite, service: str) -> None:
    process = stack.processes[service]
    before = len(process.events("settings_reloaded"))
    process.send(signal.SIGHUP)
    eventually(lambda: len(process.events("settings_reloaded")) > before, "the reload")
    assert httpx.get(stack.ops_url(service, "/healthz"), timeout=30).status_code == 200


# ---- limits ----


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_leaves_no_core_and_gains_nothing(stack: Suite, service: str) -> None:
    process = stack.processes[service]
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    assert status_line(process, "NoNewPrivs") == "1"
    assert status_line(process, "Umask") == "0077"
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    assert all("NoNewPrivs:\t1" in (task / "status").read_text() for task in tasks), "some thread may gain privileges"


def test_files_of_the_relay_are_its_users_alone(stack: Suite) -> None:
    files = [path for folder in ("spool", "relay-state") for path in stack.path(folder).rglob("*") if path.is_file()]
    assert files
    assert {oct(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in files} == {"0o0"}


def test_too_few_descriptors_are_refused_with_both_figures(stack: Suite) -> None:
    process = stack.processes["admin-gw"]
    command = ["bash", "-c", "ulimit -n 512; exec " + process.command[0]]
    env = {**process.env, "ADMIN_GW_MAX_CONNECTIONS": "1000"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "start_failed" in done.stderr and "1064 open descriptors, the limit is 512" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_build_is_in_the_metrics(stack: Suite, service: str) -> None:
    version = subprocess.run([stack.processes[service].command[0], "--version"], capture_output=True, text=True, timeout=120).stdout.split()[1]
    metrics = httpx.get(stack.ops_url(service, "/metrics"), timeout=30).text
    assert f'build_info{{service="{service}",version="{version}"}} 1' in metrics


@pytest.mark.parametrize("service", SERVICES)
def test_the_ops_listener_answers_as_http_wants_it(stack: Suite, service: str) -> None:
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404), ("/metrics/", 404), ("/healthz?x=1", 200)):
        url = stack.ops_url(service, path)
        get, head = httpx.get(url, timeout=30), httpx.head(url)
        assert (get.status_code, head.status_code) == (status, status), path
        assert head.content == b"" and "content-length" in head.headers
        assert get.headers["cache-control"] == "no-store" and get.headers["content-type"].startswith("text/plain")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = httpx.request(method, stack.ops_url(service, "/readyz"), timeout=30)
        assert refused.status_code == 405 and refused.headers["allow"] == "GET, HEAD"
    everything = "".join(httpx.get(stack.ops_url(service, path), timeout=30).text for path in ("/healthz", "/readyz", "/metrics"))
    for secret in (*stack.tokens.values(), stack.admin_key, stack.owner_password):
        assert secret not in everything


# ---- users ----


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_user_it_is_told_and_can_read_its_files_again(stack: Suite) -> None:
    warned = stack.processes["relay"].events("running_as_root")
    assert warned, "root without run_as is a warning"
    folder = Path(tempfile.mkdtemp(prefix="run-as-"))
    try:
        folder.chmod(0o755)
        for name in ("service-tokens", "relay.yaml", "master-keys"):
            shutil.copy(stack.path(name), folder / name)
            shutil.chown(folder / name, "nobody")
        home = folder / "home"
        home.mkdir()
        relay = stack.processes["relay"]
        env = {
            **relay.env,
            "RELAY_RUN_AS": "nobody",
            "RELAY_LISTEN": "127.0.0.1:0",
            "RELAY_GRPC_LISTEN": "127.0.0.1:0",
            "RELAY_OPS_LISTEN": "127.0.0.1:0",
            "RELAY_SERVICE_TOKENS_FILE": str(folder / "service-tokens"),
            "RELAY_CONFIG_FILE": str(folder / "relay.yaml"),
            "RELAY_MASTER_KEYS_FILE": str(folder / "master-keys"),
            "RELAY_SPOOL_DIR": str(home / "spool"),
            "RELAY_STATE_DIR": str(home / "state"),
            "RELAY_SHUTDOWN_DELAY": "0s",
        }
        env.pop("RELAY_PRICE_BOOK_FILE")
        other = Process("relay", relay.command, folder / "log", env)
        other.start()
        try:
            eventually(lambda: other.events("service_ready"), f"the relay is ready: {other.tail()}")
            assert len(set(status_line(other, "Uid").split())) == 1 and status_line(other, "Uid").split()[0] != "0"
            assert "0" not in status_line(other, "Gid").split()
            assert int(status_line(other, "CapPrm"), 16) == 0 and int(status_line(other, "CapEff"), 16) == 0
            for path in (home / "spool", home / "state"):
                assert path.owner() == "nobody" and stat.S_IMODE(path.stat().st_mode) == 0o700
            other.send(signal.SIGHUP)
            eventually(lambda: other.events("settings_reloaded"), "the reload as another user")
            assert not other.events("service_tokens_reload_failed") and not other.events("relay_config_reload_failed")
        finally:
            assert other.stop() == 0, other.tail()
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_user_could_not_read_again_fails_the_start(stack: Suite) -> None:
    process = stack.processes["usage"]
    password = stack.path("redis-password")
    password.write_text("a password that only root can read")
    env = {**process.env, "USAGE_RUN_AS": "nobody", "USAGE_REDIS_PASSWORD_FILE": str(password)}
    done = subprocess.run(process.command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "start_failed" in done.stderr and "as user nobody: redis_password: " in done.stderr and "Permission denied" in done.stderr
    assert "only root can read" not in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_user_that_does_not_exist_is_a_mistake_in_the_settings(stack: Suite, service: str) -> None:
    process = stack.processes[service]
    env = {**process.env, prefix_of(service) + "RUN_AS": "no-such-user-here"}
    done = subprocess.run(process.command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert 'run_as: "no-such-user-here" from' in done.stderr and "is not a user of this system" in done.stderr
