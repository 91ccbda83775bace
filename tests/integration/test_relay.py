"""The relay with its stores and auth, but without usage: its configuration over gRPC, and what it does while others are away."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from harness.ports import eventually
from harness.rpc import RpcClient, as_dict
from harness.suite import Suite, base62

PROVIDERS = "apirelay.relay.v1.ProviderService"
KEYS = "apirelay.auth.v1.ApiKeyService"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("relay")).start(only=("mongo", "redis", "openai", "librechat", "auth", "relay"))
    yield suite
    statuses = suite.stop()
    assert statuses["relay"] == 0 and statuses["auth"] == 0


@pytest.fixture(scope="module")
def admin(stack: Suite) -> Iterator[RpcClient]:
    with stack.rpc("relay", stack.admin_key) as client:
        yield client


@pytest.fixture(scope="module")
def key(stack: Suite) -> str:
    with stack.rpc("auth", stack.admin_key) as auth:
        return str(auth.call(f"{KEYS}/CreateApiKey", {"apiKey": {"name": "a key"}}).key)


def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as e:
        call()
    code: grpc.StatusCode = e.value.code()  # type: ignore[attr-defined]
    return code


def make_provider(stack: Suite, admin: RpcClient, **fields: Any) -> Any:
    provider = {"name": f"p-{base62(6).lower()}", "kind": "openai", "baseUrl": f"{stack.upstream_url}/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    return admin.call(f"{PROVIDERS}/CreateProvider", {"provider": {**provider, **fields}}).provider


def make_route(admin: RpcClient, model: str, provider: str, **fields: Any) -> Any:
    route = {"model": model, "targets": [{"provider": provider}], **fields}
    return admin.call(f"{PROVIDERS}/CreateModelRoute", {"modelRoute": route}).model_route


def test_answers_go_out_while_usage_is_away_and_wait_in_the_spool(stack: Suite, key: str) -> None:
    for stream in (False, True):
        assert stack.chat(key, stream=stream).status_code == 200
    metrics = httpx.get(stack.ops_url("relay", "/metrics"), timeout=30).text
    assert "relay_spool" in metrics and 'relay_requests_total{' in metrics
    assert stack.get("/v1/usage", key).status_code == 503


def test_a_provider_and_a_route_made_over_grpc_serve_within_seconds_and_stop_again(stack: Suite, admin: RpcClient, key: str) -> None:
    assert stack.chat(key, "new-model").status_code == 404
    provider = make_provider(stack, admin)
    route = make_route(admin, "new-*", provider.name, listedModels=["new-model"], ownedBy="us")
    eventually(lambda: stack.chat(key, "new-model").status_code == 200, "the new route")
    listed = {m["id"]: m for m in stack.get("/v1/models", key).json()["data"]}
    assert listed["new-model"]["owned_by"] == "us"
    assert refused(lambda: admin.call(f"{PROVIDERS}/DeleteProvider", {"name": provider.name})) == grpc.StatusCode.FAILED_PRECONDITION
    admin.call(f"{PROVIDERS}/DeleteModelRoute", {"id": route.id})
    eventually(lambda: stack.chat(key, "new-model").status_code == 404, "the route is gone")
    admin.call(f"{PROVIDERS}/DeleteProvider", {"name": provider.name})
    assert refused(lambda: admin.call(f"{PROVIDERS}/GetProvider", {"name": provider.name})) == grpc.StatusCode.NOT_FOUND


def test_providers_of_the_file_are_shown_and_cannot_be_changed(admin: RpcClient) -> None:
    listed = {p.name: p for p in admin.call(f"{PROVIDERS}/ListProviders").providers}
    assert listed["scripted"].source == "file"
    update = {"name": "scripted", "provider": {"status": "disabled"}, "updateMask": "status"}
    assert refused(lambda: admin.call(f"{PROVIDERS}/UpdateProvider", update)) == grpc.StatusCode.FAILED_PRECONDITION


BAD_PROVIDERS: dict[str, dict[str, Any]] = {
    "no name": {"name": ""},
    "bad name": {"name": "Not A Name!"},
    "unknown kind": {"kind": "carrier-pigeon"},
    "ftp": {"baseUrl": "ftp://127.0.0.1/v1"},
    "userinfo": {"baseUrl": "http://user:pass@127.0.0.1/v1"},
    "query": {"baseUrl": "http://127.0.0.1/v1?x=1"},
    "environment at large": {"credential": "env:PATH"},
    "a path": {"credential": "file:../../etc/passwd"},
    "a negative time": {"connectTimeoutMs": -1},
    "an unknown transport": {"transport": "pigeon"},
    "tools of a server that has none": {"exposeServerTools": True},
    "users of a server that has none": {"requireUserKey": True},
    "balances of a server that has none": {"checkBalance": True},
    "sign-in to a server that has none": {"signInAsUser": True},
    "sign-in beside keys": {"kind": "librechat", "signInAsUser": True, "requireUserKey": True},
}


@pytest.mark.parametrize("case", BAD_PROVIDERS, ids=str)
def test_a_provider_that_breaks_the_rules_is_refused(stack: Suite, admin: RpcClient, case: str) -> None:
    assert refused(lambda: make_provider(stack, admin, **BAD_PROVIDERS[case])) == grpc.StatusCode.INVALID_ARGUMENT


def test_a_provider_moved_to_another_host_needs_its_credential_anew(stack: Suite, admin: RpcClient) -> None:
    provider = make_provider(stack, admin)
    moved = {"name": provider.name, "provider": {"baseUrl": "http://127.0.0.2:1/v1"}, "updateMask": "baseUrl"}
    assert refused(lambda: admin.call(f"{PROVIDERS}/UpdateProvider", moved)) in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
    same = {"name": provider.name, "provider": {"idleTimeoutMs": "5000"}, "updateMask": "idleTimeoutMs"}
    changed = admin.call(f"{PROVIDERS}/UpdateProvider", same).provider
    assert changed.idle_timeout_ms == 5000 and changed.etag != provider.etag
    stale = {**same, "etag": provider.etag}
    assert refused(lambda: admin.call(f"{PROVIDERS}/UpdateProvider", stale)) == grpc.StatusCode.ABORTED


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://[fe80::1]/v1", "http://0.0.0.0:1/v1", "http://10.0.0.1/v1", "http://localtest.invalid/v1"])
def test_an_address_that_is_not_allowed_is_never_connected_to(stack: Suite, admin: RpcClient, key: str, url: str) -> None:
    name = f"ssrf-{base62(5).lower()}"
    try:
        provider = make_provider(stack, admin, baseUrl=url, connectTimeoutMs="2000")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
        return
    make_route(admin, name, provider.name)
    answer = eventually(lambda: (a := stack.chat(key, name)).status_code != 404 and a, "the route")
    assert answer.status_code in (502, 503), answer.text


def test_a_new_price_book_prices_the_next_request(stack: Suite, admin: RpcClient, key: str) -> None:
    book = as_dict(admin.call(f"{PROVIDERS}/GetPriceBook").price_book)
    assert book["version"] == "2026-11" and book["source"] == "file"
    new = {"prices": [{"model": "gpt-4o", "promptPerMillionNanoUsd": "1000000", "completionPerMillionNanoUsd": "2000000"}]}
    admin.call(f"{PROVIDERS}/PutPriceBook", {"priceBook": new})
    with stack.rpc("relay", key) as chat:
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}).encode()
        request = {"openaiJson": base64.b64encode(body).decode()}
        rpc = "apirelay.relay.v1.ChatService/CreateChatCompletion"
        eventually(lambda: chat.call(rpc, request).usage.cost_nano_usd == 5 * 1 + 3 * 2, "the new prices")


def test_the_relay_starts_from_its_snapshot_while_mongodb_is_away(stack: Suite, admin: RpcClient, key: str) -> None:
    provider = make_provider(stack, admin)
    make_route(admin, "kept-model", provider.name)
    eventually(lambda: stack.chat(key, "kept-model").status_code == 200, "the route")
    stack.processes["mongo"].kill()
    try:
        stack.processes["relay"].stop()
        stack.processes["relay"].start()
        answer = eventually(lambda: (a := stack.chat(key, "kept-model")) and a, "the relay listens")
        assert answer.status_code in (200, 503), answer.text  # 503 while auth cannot read the key
    finally:
        stack.processes["mongo"].start()
        stack.await_ready("auth", "relay")
    eventually(lambda: stack.chat(key, "kept-model").status_code == 200, "everything is back")


def run_relay(stack: Suite, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    process = stack.processes["relay"]
    return subprocess.run([*process.command, *arguments], env={**process.env, **env}, capture_output=True, text=True, timeout=120)


def test_a_bad_configuration_file_is_told_whole_and_ends_the_start(stack: Suite) -> None:
    bad = {"providers": [{"name": "x", "kind": "wrong", "baseUrl": "ftp://x"}], "models": [{"model": "", "targets": [{"provider": "nobody"}]}]}
    path = stack.path("bad.yaml")
    path.write_text(json.dumps(bad))
    ports = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_GRPC_LISTEN": "127.0.0.1:0", "RELAY_OPS_LISTEN": "127.0.0.1:0"}
    done = run_relay(stack, RELAY_CONFIG_FILE=str(path), RELAY_SPOOL_DIR=str(stack.path("other-spool")), **ports)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert all(field in text for field in ("providers[0].kind", "providers[0].baseUrl", "models[0].model")), text


def test_a_second_relay_cannot_take_the_same_spool(stack: Suite) -> None:
    ports = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_GRPC_LISTEN": "127.0.0.1:0", "RELAY_OPS_LISTEN": "127.0.0.1:0"}
    done = run_relay(stack, **ports)
    assert done.returncode != 0 and "spool" in done.stdout + done.stderr


def test_help_version_and_docs_name_every_setting(stack: Suite) -> None:
    shown = run_relay(stack, "--help").stdout
    assert "RELAY_SPOOL_DIR" in shown and "RELAY_LISTEN" in shown
    assert run_relay(stack, "--version").returncode == 0
    assert "| " in run_relay(stack, "--print-docs").stdout
