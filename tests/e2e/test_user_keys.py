"""A user's own LibreChat key: his relay key asks LibreChat's agents as him, and nobody else does."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from harness.ports import eventually, kept
from harness.suite import Suite, base62

CREATE = "apirelay.relay.v1.ChatService/CreateChatCompletion"
AGENT = "agent_echo"
SERVICE = "sk-librechat-provider-key"
Making = Callable[..., str]


def librechat_key(name: str) -> str:
    """In LibreChat's form; the stub goes by how it begins."""
    return f"sk-{name}{secrets.token_hex(32)}"[:67]


def set_key(suite: Suite, key: dict[str, Any], value: str, origin: str = "", **more: Any) -> httpx.Response:
    body = {"origin": origin or suite.librechat_url, "key": value, **more}
    return suite.admin("POST", f"/admin/api-keys/{key['id']}/librechat-key", json=body)


def remove_key(suite: Suite, key: dict[str, Any]) -> httpx.Response:
    return suite.admin("DELETE", f"/admin/api-keys/{key['id']}/librechat-key")


def user(suite: Suite, name: str) -> tuple[dict[str, Any], str]:
    """A relay key, and the LibreChat key that it has."""
    made, value = suite.make_key(name=name), librechat_key(name)
    answer = set_key(suite, made, value)
    assert answer.status_code == 200, answer.text
    return made, value


def credentials(suite: Suite) -> list[str]:
    """That agents were asked with, one after the other: the list of models is asked for at any time."""
    asked = [entry for entry in suite.upstream_log(librechat=True) if entry["method"] == "POST"]
    return [value.removeprefix("Bearer ") for entry in asked for name, value in entry["headers"] if name.lower() == "authorization"]


def asked_as(suite: Suite, key: dict[str, Any], model: str = AGENT, **body: Any) -> str:
    """The credential that LibreChat was asked with for this key."""
    answer = suite.chat(key["key"], model, **body)
    assert answer.status_code == 200, answer.text
    return credentials(suite)[-1]


def rpc(suite: Suite, key: dict[str, Any], model: str) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return suite.rpc("relay", key["key"]).call(CREATE, {"openaiJson": base64.b64encode(json.dumps(body).encode()).decode()})


def runs_so_far(suite: Suite) -> int:
    return suite.upstream_stats(librechat=True)["runs"]["started"]


def fields_of(answer: httpx.Response) -> list[str]:
    return [v["field"] for d in answer.json()["error"]["details"] for v in d.get("fieldViolations", [])]


@pytest.fixture
def route(suite: Suite) -> Iterator[Making]:
    """Makes a provider of kind librechat and a model on it; both go again."""
    made: list[str] = []

    def make(**provider: Any) -> str:
        name = f"own-{base62(6).lower()}"
        body = {"name": name, "kind": "librechat", "baseUrl": suite.librechat_url, **provider}
        answer = suite.admin("POST", "/admin/providers", json=body)
        assert answer.status_code == 200, answer.text
        target = {"provider": name, "upstreamModel": AGENT}
        answer = suite.admin("POST", "/admin/models", json={"model": f"of-{name}", "targets": [target]})
        assert answer.status_code == 200, answer.text
        made.extend((f"/admin/models/{answer.json()['modelRoute']['id']}", f"/admin/providers/{name}"))
        reader = suite.make_key()["key"]
        eventually(lambda: suite.get(f"/v1/models/of-{name}", reader).status_code == 200, "the route")
        return f"of-{name}"

    yield make
    for path in made:
        suite.admin("DELETE", path)


def test_two_users_and_the_service_are_asked_for_each_as_itself(suite: Suite) -> None:
    (anna, annas), (bert, berts), nobody = user(suite, "anna"), user(suite, "bert"), suite.make_key()
    for stream in (False, True):
        asked = [asked_as(suite, key, stream=stream) for key in (anna, bert, nobody, anna)]
        assert asked == [annas, berts, SERVICE, annas]
    assert rpc(suite, anna, AGENT).openai_json
    said = suite.post("/v1/messages", anna["key"], json={"model": AGENT, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]})
    assert said.status_code == 200, said.text
    assert credentials(suite)[-2:] == [annas, annas]
    assert suite.chat(anna["key"], "gpt-4o").status_code == 200
    assert annas not in str(suite.upstream_log()[-1]["headers"])


def test_what_is_shown_of_it_is_where_it_goes_and_how_it_begins(suite: Suite) -> None:
    key, value = user(suite, "shown")
    shown = suite.shown(f"/admin/api-keys/{key['id']}")["apiKey"]["librechat"]
    assert shown["origin"] == suite.librechat_url and shown["keyPrefix"] == value[:8] and shown["setAt"]
    again = librechat_key("again")
    assert set_key(suite, key, again).json()["apiKey"]["librechat"]["keyPrefix"] == again[:8]
    eventually(lambda: asked_as(suite, key) == again, "the new one")
    regenerated = suite.admin("POST", f"/admin/api-keys/{key['id']}/regenerate", json={}).json()
    assert asked_as(suite, regenerated) == again
    stored = suite.mongo()["api_keys"].find_one({"keyId": key["keyId"]})["librechat"]
    assert set(stored) == {"origin", "keyPrefix", "setAt", "secret"} and again.encode() not in bytes(stored["secret"])
    entries = [e for e in suite.shown("/admin/audit?pageSize=500")["entries"] if e["target"] == key["id"] and e["action"] == "api_key.set_librechat_key"]
    assert len(entries) == 4 and value not in str(entries) and suite.librechat_url in str(entries)


def test_it_is_set_and_removed_within_a_second(suite: Suite) -> None:
    key, value = user(suite, "brief")

    def applies_s() -> float:
        assert set_key(suite, key, value).status_code == 200
        began = time.monotonic()
        eventually(lambda: asked_as(suite, key) == value, "it is used")
        set_s = time.monotonic() - began
        assert remove_key(suite, key).status_code == 200
        began = time.monotonic()
        eventually(lambda: asked_as(suite, key) == SERVICE, "the removal")
        return max(set_s, time.monotonic() - began)

    kept(applies_s, 1.0, "a change of a LibreChat key reaches the relay")
    assert remove_key(suite, key).status_code == 200 and "librechat" not in suite.shown(f"/admin/api-keys/{key['id']}")["apiKey"]
    assert set_key(suite, key, value).status_code == 200
    eventually(lambda: asked_as(suite, key) == value, "it is back")
    assert suite.admin("DELETE", f"/admin/api-keys/{key['id']}").status_code == 200
    assert "librechat" not in suite.mongo()["api_keys"].find_one({"keyId": key["keyId"]})
    assert set_key(suite, key, value).json()["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"origin": "http://chat.example/api"}, "origin"),
        ({"origin": "chat.example"}, "origin"),
        ({"origin": ""}, "origin"),
        ({"key": "sk-short"}, "key"),
        ({"key": "pk-" + "a" * 64}, "key"),
        ({"key": "sk-" + "a" * 32 + "\r\nX-Evil: 1"}, "key"),
        ({"etag": "v99"}, "etag"),
    ],
    ids=str,
)
def test_what_is_no_key_or_no_origin_is_named(suite: Suite, body: dict[str, Any], field: str) -> None:
    key = suite.make_key()
    answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/librechat-key", json={"origin": suite.librechat_url, "key": librechat_key("x"), **body})
    assert answer.status_code == (409 if field == "etag" else 400) and fields_of(answer) == [field], answer.text
    assert not body.get("key") or body["key"] not in answer.text
    assert "librechat" not in suite.shown(f"/admin/api-keys/{key['id']}")["apiKey"]


def test_nobody_writes_it_as_a_member_of_the_key(suite: Suite) -> None:
    key, _ = user(suite, "member")
    written = {"librechat": {"origin": "https://evil.example"}}
    for method, path in (("PATCH", f"/{key['id']}"), ("PUT", f"/{key['id']}"), ("POST", "")):
        answer = suite.admin(method, f"/admin/api-keys{path}", json={"name": "x", **written})
        assert answer.status_code == 400 and fields_of(answer)[0].startswith("librechat"), answer.text
    assert suite.admin("PATCH", f"/admin/api-keys/{key['id']}", json={"name": "renamed"}).status_code == 200
    assert suite.shown(f"/admin/api-keys/{key['id']}")["apiKey"]["librechat"]["origin"] == suite.librechat_url


def test_a_provider_elsewhere_is_not_given_it(suite: Suite, route: Making) -> None:
    key = suite.make_key()
    value = librechat_key("far")
    assert set_key(suite, key, value, "https://chat.example").status_code == 200
    assert asked_as(suite, key) == SERVICE
    moved = suite.librechat_url.replace("127.0.0.1", "localhost")  # another name of the same server is another origin
    model = route(baseUrl=moved, credential="env:RELAY_CREDENTIAL_LIBRECHAT")
    assert set_key(suite, key, value).status_code == 200
    eventually(lambda: asked_as(suite, key) == value, "the new origin")
    assert asked_as(suite, key, model) == SERVICE


def test_a_provider_may_serve_users_alone(suite: Suite, route: Making) -> None:
    model = route(requireUserKey=True)  # it has no credential at all
    (anna, annas), nobody = user(suite, "anna"), suite.make_key()
    assert asked_as(suite, anna, model) == annas
    before = runs_so_far(suite)
    refused = suite.chat(nobody["key"], model)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "user_key_required", refused.text
    row = suite.row(refused.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["response"]["error"] == "user_key_required" and row["attempts"] == 0
    said = suite.post("/v1/messages", nobody["key"], json={"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    assert said.status_code == 403 and said.json()["error"]["type"] == "permission_error"
    with pytest.raises(grpc.RpcError) as failed:
        rpc(suite, nobody, model)
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    (tried,) = suite.admin("POST", "/admin/models/try", json={"model": model}).json()["steps"]
    assert tried["errorCode"] == "user_key_required"
    assert runs_so_far(suite) == before


def test_a_key_that_its_librechat_refuses_is_its_users_trouble_alone(suite: Suite) -> None:
    """More of them than open a breaker; the service key and another user go on."""
    bad, value = user(suite, "invalid")
    (anna, annas), alarms = user(suite, "anna"), "relay_upstream_auth_errors_total"

    def alarm() -> list[str]:
        return [line for line in httpx.get(suite.ops_url("relay", "/metrics")).text.splitlines() if line.startswith(alarms)]

    before = alarm()
    for stream in [False, True] * 6:
        answer = suite.chat(bad["key"], AGENT, stream=stream)
        error = answer.json()["error"]
        assert answer.status_code == 502 and error["code"] == "upstream_auth_error", answer.text
        assert "the LibreChat key of this API key was refused" in error["message"] and value not in answer.text
    assert asked_as(suite, anna) == annas and asked_as(suite, suite.make_key()) == SERVICE
    assert alarm() == before
    norole, _ = user(suite, "norole")
    denied = suite.chat(norole["key"], AGENT)
    assert denied.status_code == 502 and f"may not use {AGENT}" in denied.json()["error"]["message"]
    assert set_key(suite, bad, librechat_key("good")).status_code == 200
    eventually(lambda: suite.chat(bad["key"], AGENT).status_code == 200, "the new key")
