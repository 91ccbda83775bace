"""Settings and files that change under running services; a settings file with every mistake at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.raw_http import request_bytes
from harness.suite import SERVICES, TOP, Suite, base62

BIN = Path(os.environ.get("BUILD_DIR", TOP / "build" / "dev")) / "bin"
KNOWN_SECRET = "file-secret-that-nobody-may-see"


def prefix_of(service: str) -> str:
    return service.upper().replace("-", "_") + "_"


def file_of(suite: Suite, service: str) -> Path:
    return suite.path(f"{service}-settings.yaml")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Every service with a settings file, and providers whose credential is a file."""
    suite = Suite(tmp_path_factory.mktemp("reload"))
    for service in SERVICES:
        settings = file_of(suite, service)
        settings.write_text("shutdown_grace: 2s\n")
        process = suite.processes[service]
        process.command = [*process.command, "--config", str(settings)]
        for name in ("LOG_LEVEL", "SHUTDOWN_GRACE", "BODY_MAX"):
            process.env.pop(prefix_of(service) + name, None)
    suite.path("credentials").mkdir()
    suite.path("credentials", "upstream").write_text("sk-first-provider-key\n")
    suite.processes["relay"].env["RELAY_CREDENTIALS_DIR"] = str(suite.path("credentials"))
    suite.start()
    yield suite
    statuses = suite.stop()
    assert all(statuses[service] == 0 for service in SERVICES)


def reload(suite: Suite, service: str) -> dict[str, Any]:
    """SIGHUP, and the line of the reload."""
    process = suite.processes[service]
    before = len(process.events("settings_reloaded"))
    process.send(signal.SIGHUP)
    return eventually(lambda: process.events("settings_reloaded")[before:], f"reload of {service}")[0]


def change(suite: Suite, service: str, text: str, action: str = "settings_reloaded") -> dict[str, Any]:
    """Another settings file; the watch tells the service."""
    process = suite.processes[service]
    before = len(process.events(action))
    file = file_of(suite, service)
    made = file.with_suffix(".new")
    made.write_text(text)
    made.rename(file)  # the watch sees one or the other, never half of it
    return eventually(lambda: process.events(action)[before:], f"{action} of {service}")[0]


def names(line: dict[str, Any], field: str) -> set[str]:
    return set(filter(None, str(line[field]).split(",")))


# ---- what a reload does ----


@pytest.mark.parametrize("service", SERVICES)
def test_a_changed_file_is_taken_over_and_what_needs_a_restart_is_named(stack: Suite, service: str) -> None:
    line = change(stack, service, "shutdown_grace: 3s\nlog_level: debug\ncore_dumps: true\n")
    assert names(line, "settings.changed") == {"shutdown_grace", "log_level"}
    assert names(line, "settings.need_restart") == {"core_dumps"}
    line = change(stack, service, "shutdown_grace: 2s\n")
    assert names(line, "settings.changed") == {"shutdown_grace", "log_level"}
    assert names(line, "settings.need_restart") == set(), "it is as it was at the start again"
    assert httpx.get(stack.ops_url(service), timeout=30).status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_a_bad_file_names_every_mistake_and_changes_nothing(stack: Suite, service: str) -> None:
    bad = f"shutdown_grace: soon\nlog_level: loud\nno_such_setting: {KNOWN_SECRET}\nshutdown_delay: -1s\n"
    line = change(stack, service, bad, "settings_reload_failed")
    assert line["mistakes"] == 4 and line["log.level"] == "error"
    for name in ("shutdown_grace", "log_level", "no_such_setting", "shutdown_delay"):
        assert name in line["error.message"]
    assert KNOWN_SECRET not in stack.processes[service].text()
    assert httpx.get(stack.ops_url(service), timeout=30).status_code == 200
    assert names(change(stack, service, "shutdown_grace: 2s\n"), "settings.changed") == set()


def test_a_bound_of_the_relay_holds_at_once(stack: Suite) -> None:
    key = stack.make_key()["key"]
    assert stack.chat(key, text="x" * 2000).status_code == 200
    assert names(change(stack, "relay", "shutdown_grace: 2s\nbody_max: 1000B\n"), "settings.changed") == {"body_max"}
    assert stack.chat(key, text="x" * 2000).status_code == 413
    change(stack, "relay", "shutdown_grace: 2s\nbody_memory_max: 1000B\n")
    assert stack.chat(key, text="x" * 2000).status_code == 503
    change(stack, "relay", "shutdown_grace: 2s\n")
    assert stack.chat(key, text="x" * 2000).status_code == 200


def test_more_requests_than_the_flight_table_has_room_for_need_a_restart(stack: Suite) -> None:
    change(stack, "relay", "shutdown_grace: 2s\nmax_inflight: 100000\n")
    assert eventually(lambda: stack.processes["relay"].events("max_inflight_bounded"), "the warning")[0]["max_inflight"] == 1000
    change(stack, "relay", "shutdown_grace: 2s\n")


def test_hosts_of_admin_gw_are_taken_over(stack: Suite) -> None:
    host = {"Host": "admin.example"}
    assert stack.admin("GET", "/admin/api-keys", headers=host).status_code >= 400
    change(stack, "admin-gw", "shutdown_grace: 2s\nallowed_hosts: [127.0.0.1, admin.example]\n")
    assert stack.admin("GET", "/admin/api-keys", headers=host).status_code == 200
    change(stack, "admin-gw", "shutdown_grace: 2s\nbody_max: 10B\n")
    assert stack.admin("POST", "/admin/api-keys", json={"name": "longer than ten"}).status_code == 413
    change(stack, "admin-gw", "shutdown_grace: 2s\n")
    assert stack.admin("POST", "/admin/api-keys", json={"name": "longer than ten"}).status_code == 200


def test_rows_expire_as_the_settings_of_now_say(stack: Suite) -> None:
    def expiry() -> int:
        return int(stack.mongo()["api_usage"].index_information()["timestamp_1"]["expireAfterSeconds"])

    assert expiry() == 90 * 86400
    change(stack, "usage", "shutdown_grace: 2s\nretention_days: 30\n")
    eventually(lambda: expiry() == 30 * 86400, "the index with the new expiry")
    change(stack, "usage", "shutdown_grace: 2s\n")
    eventually(lambda: expiry() == 90 * 86400, "the index with the first expiry again")


# ---- files that are no settings ----


def write_tokens(stack: Suite, *generations: dict[str, str]) -> None:
    stack.path("service-tokens").write_text("".join(f"{name} {token}\n" for tokens in generations for name, token in tokens.items()))


def test_service_tokens_are_exchanged_without_a_gap(stack: Suite) -> None:
    key = stack.make_key()["key"]
    old, new = stack.tokens, {service: f"lcsvc_{base62(40)}" for service in SERVICES}

    def everything_works() -> bool:
        signed_in = stack.admin("POST", "/admin/session", json={"username": "admin", "password": stack.owner_password})
        return stack.chat(key).status_code == 200 and stack.get("/v1/usage", key).status_code == 200 and signed_in.status_code == 200

    assert everything_works()
    for generations in ((old, new), (new, old), (new,)):
        before = {service: len(stack.processes[service].events("service_tokens_reloaded")) for service in SERVICES}
        write_tokens(stack, *generations)
        for service in SERVICES:
            eventually(lambda: len(stack.processes[service].events("service_tokens_reloaded")) > before[service], f"{service} has read the tokens")
        assert everything_works()
    fresh = stack.make_key()["key"]  # the relay asks auth for it, with the new token
    assert stack.chat(fresh).status_code == 200
    write_tokens(stack, {"relay": "short"})
    for service in SERVICES:
        process = stack.processes[service]
        eventually(lambda: process.events("service_tokens_reload_failed"), f"{service} refuses the file")
    assert everything_works()
    write_tokens(stack, old)
    for service in SERVICES:  # who presents one and who takes it
        process = stack.processes[service]
        eventually(lambda: len(process.events("service_tokens_reloaded")) >= 4, f"the first tokens again in {service}")
    for service in SERVICES:
        text = stack.processes[service].text()
        assert not any(token in text for token in (*old.values(), *new.values())), f"{service} logs a token"


def test_a_sign_in_whose_body_is_slow_outlives_the_file_it_began_with(stack: Suite) -> None:
    admin_gw, old, further = stack.processes["admin-gw"], stack.tokens, {"further": f"lcsvc_{base62(40)}"}
    sign_in = request_bytes("POST", "/admin/session", body={"username": "admin", "password": stack.owner_password})
    with stack.raw("admin") as slow:
        slow.send(sign_in[:-1])
        for generations in ((old, further), (old,)):
            before = len(admin_gw.events("service_tokens_reloaded"))
            write_tokens(stack, *generations)
            eventually(lambda: len(admin_gw.events("service_tokens_reloaded")) > before, "admin-gw has read the tokens")
        slow.send(sign_in[-1:])
        answer = slow.answer()
        assert answer is not None and answer.status == 200


def test_providers_and_their_credentials_are_read_again(stack: Suite) -> None:
    key = stack.make_key()["key"]

    def is_served_with(credential: str) -> bool:
        answer = stack.chat(key, "gpt-4o-mini")
        return answer.status_code == 200 and dict(stack.upstream_log()[-1]["headers"])["authorization"] == f"Bearer {credential}"

    assert is_served_with("sk-scripted-provider-key")
    provider = {"name": "by-file", "kind": "openai", "baseUrl": f"{stack.upstream_url}/v1", "credential": "file:upstream"}
    stack.write_relay_config([provider], [{"model": "gpt-*", "targets": [{"provider": "by-file"}]}])
    eventually(lambda: is_served_with("sk-first-provider-key"), "the new provider")
    stack.path("credentials", "upstream").write_text("sk-second-provider-key\n")
    reload(stack, "relay")
    eventually(lambda: is_served_with("sk-second-provider-key"), "the new credential")
    stack.path("credentials", "upstream").unlink()  # a change of the folder is seen without a signal
    eventually(lambda: stack.chat(key, "gpt-4o-mini").status_code == 503, "no credential, no calls")
    stack.path("credentials", "upstream").write_text("sk-third-provider-key\n")
    eventually(lambda: is_served_with("sk-third-provider-key"), "the third credential")
    stack.write_relay_config([{**provider, "kind": "carrier-pigeon"}], [])
    eventually(lambda: stack.processes["relay"].events("relay_config_reload_failed"), "the mistake")
    assert is_served_with("sk-third-provider-key")
    stack.write_relay_config()
    eventually(lambda: is_served_with("sk-scripted-provider-key"), "the first configuration again")
    assert "-provider-key" not in stack.processes["relay"].text()


# ---- every mistake at once ----

BAD = {
    "BOOL": "maybe",
    "INT": "many",
    "PORT": "65536",
    "HOST:PORT": "nowhere",
    "DURATION": "soon",
    "BYTES": "big",
    "PATH": '""',
    "URL": f"'{KNOWN_SECRET}'",
    "LIST": "'a,,b'",
    "CIDRS": "10.0.0.1/8",
    "CHOICE": "loud",
    "USER[:GROUP]": "no-such-user-here",
}
ROW = re.compile(r"^\| `(\w+)`[^|]*\| [^|]*\| ([^|]+?) \|", re.M)


@pytest.mark.parametrize("service", SERVICES)
def test_a_settings_file_with_every_mistake_names_each_of_them(service: str, tmp_path: Path) -> None:
    page = (TOP / "docs/generated" / f"{service}.md").read_text()
    types = {env.removeprefix(prefix_of(service)).lower(): kind for env, kind in ROW.findall(page)}
    wrong = {name: BAD[kind] for name, kind in types.items() if kind in BAD}
    assert len(wrong) > 8, "the page was not understood"
    settings = tmp_path / "settings.yaml"
    settings.write_text("".join(f"{name}: {value}\n" for name, value in wrong.items()) + f"no_such_setting: {KNOWN_SECRET}\n")
    env = {prefix_of(service) + "NO_SUCH_VARIABLE": KNOWN_SECRET}
    command = [str(BIN / service), "--config", str(settings), "--no-such-flag", f"--also-none={KNOWN_SECRET}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for name in wrong:
        assert any(line.startswith(f"{service}: {name}: ") for line in lines), f"{name} is not named:\n{done.stderr}"
    for name in ("no_such_setting", "NO_SUCH_VARIABLE", "no-such-flag", "also-none"):
        assert sum(name in line for line in lines) == 1, name
    assert KNOWN_SECRET not in done.stderr
    assert f"{len(lines) - 1} mistakes in the settings" in lines[-1]


@pytest.mark.parametrize("service", SERVICES)
def test_a_start_names_every_file_that_is_not_there_and_every_store_that_is_none(service: str, tmp_path: Path) -> None:
    """In one go with the rest, before anything is opened: not the first of them as a failed start."""
    page = (TOP / "docs/generated" / f"{service}.md").read_text()
    files = [env for env, kind in ROW.findall(page) if env.endswith("_FILE") and kind == "PATH"]
    assert len(files) >= 4, "the page was not understood"
    env = {name: str(tmp_path / name) for name in files} | {prefix_of(service) + "LOG_LEVEL": "loud"}
    expected = [f"{name.removeprefix(prefix_of(service)).lower()}: cannot open {tmp_path / name}: No such file or directory" for name in files]
    if service != "admin-gw":
        env |= {prefix_of(service) + "MONGO_URI": "http://127.0.0.1:1/", prefix_of(service) + "REDIS_URL": "https://127.0.0.1:1/"}
        expected += ["mongo_uri: has to begin with mongodb:// or mongodb+srv://", "redis_url: has to begin with redis:// or rediss://"]
    if service == "auth":
        env |= {"AUTH_OWNER_USERNAME": "Not A Name", "AUTH_OWNER_PASSWORD": "short", "AUTH_BOOTSTRAP_ADMIN_KEY": "lcadm_none"}
        expected += ["owner_username: must match", "owner_password: must have", "bootstrap_admin_key: must be"]
    done = subprocess.run([str(BIN / service)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    for mistake in (*expected, 'log_level: "loud"'):
        assert f"{service}: {mistake}" in done.stderr, f"{mistake} is missing:\n{done.stderr}"
    assert "start_failed" not in done.stderr


@pytest.mark.parametrize(
    ("lease", "quarantine", "mistake"),
    [
        ("100ms", "7s", "ledger_lease_ms: must be at least 500 ms"),
        ("3s", "3s", "ledger_quarantine_ms: must be longer than ledger_lease_ms"),
        ("10s", "7s", "ledger_quarantine_ms: must be longer than ledger_lease_ms"),
    ],
)
def test_timers_with_which_ledgers_would_be_oversold_are_mistakes(lease: str, quarantine: str, mistake: str) -> None:
    env = {"RELAY_LEDGER_LEASE": lease, "RELAY_LEDGER_QUARANTINE": quarantine, "RELAY_LOG_LEVEL": "loud"}
    done = subprocess.run([str(BIN / "relay")], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert f"relay: {mistake}" in done.stderr, done.stderr
