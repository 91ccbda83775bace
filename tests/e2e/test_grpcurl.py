"""grpcurl, which knows nothing of our protos: what reflection says is enough to list, describe and call everything."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest
from harness.certificates import authority
from harness.rpc import schema
from harness.snippets import GO_TOOLS, tools
from harness.suite import Suite

GRPCURL = GO_TOOLS / "grpcurl"
OWNERS = ("auth", "relay", "usage")
BUILT_IN = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
CHAT = "apirelay.relay.v1.ChatService"


@pytest.fixture(scope="module", autouse=True)
def grpcurl() -> None:
    if not GRPCURL.exists():
        pytest.skip("grpcurl is not in build/tools: ./dev test installs it where Go and its modules can be had")


def ask(suite: Suite, owner: str, *arguments: str, credential: str = "", body: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """`arguments`: flags, then the verb or the rpc, without the address."""
    command = [str(GRPCURL), *(("-cacert", str(authority().file)) if suite.tls else ("-plaintext",)), "-max-time", "20", "-format-error"]
    command += ["-H", f"authorization: Bearer {credential}"] if credential else []
    command += ["-d", json.dumps(body)] if body is not None else []
    return subprocess.run([*command, suite.grpc_target(owner), *arguments], env=tools(), capture_output=True, text=True, timeout=120)


def answers(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """The JSON objects that were printed, one after the other."""
    assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def failure(done: subprocess.CompletedProcess[str]) -> tuple[int, dict[str, Any]]:
    """The code, and each detail by its type's last name."""
    assert done.returncode != 0, done.stdout
    error = json.loads(done.stderr)
    return error["code"], {detail["@type"].rpartition(".")[2]: detail for detail in error.get("details", [])}


def chat_body(model: str = "gpt-4o-mini") -> dict[str, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello there"}]}
    return {"openai_json": base64.b64encode(json.dumps(body).encode()).decode()}


@pytest.mark.parametrize("owner", OWNERS)
def test_every_service_and_rpc_is_listed_and_described(suite: Suite, owner: str) -> None:
    methods = [m for m in schema().methods() if m.full_name.startswith(f"apirelay.{owner}.")]
    listed = set(ask(suite, owner, "list").stdout.split())
    assert listed == {m.containing_service.full_name for m in methods} | BUILT_IN
    for service in listed - BUILT_IN:
        described = ask(suite, owner, "describe", service)
        for method in (m for m in methods if m.containing_service.full_name == service):
            assert f"rpc {method.name} (" in described.stdout, described.stderr
            assert f".{method.input_type.full_name} )" in described.stdout
    assert "option (.apirelay.options.v1.access) = {" in described.stdout  # extensions are known too


@pytest.mark.parametrize("owner", OWNERS)
def test_health_is_serving(suite: Suite, owner: str) -> None:
    assert answers(ask(suite, owner, "grpc.health.v1.Health/Check")) == [{"status": "SERVING"}]


def test_calls_of_every_owner_are_answered(suite: Suite, shared_key: str) -> None:
    [keys] = answers(ask(suite, "auth", "apirelay.auth.v1.ApiKeyService/ListApiKeys", credential=suite.admin_key, body={"page_size": 1}))
    assert len(keys["apiKeys"]) == 1
    [providers] = answers(ask(suite, "relay", "apirelay.relay.v1.ProviderService/ListProviders", credential=suite.admin_key))
    assert "scripted" in {provider["name"] for provider in providers["providers"]}
    [used] = answers(ask(suite, "usage", "apirelay.usage.v1.UsageService/GetUsage", credential=suite.admin_key, body={"group_by": "model"}))
    assert "from" in used and "to" in used
    [answer] = answers(ask(suite, "relay", f"{CHAT}/CreateChatCompletion", credential=shared_key, body=chat_body()))
    assert json.loads(base64.b64decode(answer["openaiJson"]))["choices"][0]["message"]["content"] == "Echo: Hello there"


def test_a_stream_comes_to_its_usage(suite: Suite, shared_key: str) -> None:
    events = answers(ask(suite, "relay", f"{CHAT}/StreamChatCompletion", credential=shared_key, body=chat_body()))
    assert all("chunkJson" in event for event in events[:-1])
    assert (events[-1]["usage"]["totalTokens"], events[-1]["usage"]["outcome"]) == ("8", "complete")


@pytest.mark.parametrize(
    ("owner", "rpc", "body", "code", "field"),
    [
        ("auth", "apirelay.auth.v1.ApiKeyService/CreateApiKey", {}, 3, "name"),
        ("relay", "apirelay.relay.v1.ProviderService/CreateProvider", {"provider": {"kind": "openai"}}, 3, "name"),
        ("usage", "apirelay.usage.v1.UsageService/GetUsage", {"group_by": "colour"}, 3, "groupBy"),
        ("auth", "apirelay.auth.v1.ApiKeyService/GetApiKey", {"id": "0" * 24}, 5, None),
    ],
)
def test_errors_have_their_details(suite: Suite, owner: str, rpc: str, body: dict[str, Any], code: int, field: str | None) -> None:
    found, details = failure(ask(suite, owner, rpc, credential=suite.admin_key, body=body))
    assert found == code and details["ErrorInfo"]["domain"] == "apirelay" and details["ErrorInfo"]["reason"]
    if field:
        assert field in [violation["field"] for violation in details["BadRequest"]["fieldViolations"]]


@pytest.mark.parametrize(
    ("owner", "rpc"),
    [
        ("auth", "apirelay.auth.v1.ApiKeyService/ListApiKeys"),
        ("relay", f"{CHAT}/CreateChatCompletion"),
        ("usage", "apirelay.usage.v1.UsageService/WatchMetrics"),
    ],
)
def test_without_a_credential_nothing_is_told(suite: Suite, owner: str, rpc: str) -> None:
    found, details = failure(ask(suite, owner, rpc))
    assert found == 16 and details["ErrorInfo"]["domain"] == "apirelay"
