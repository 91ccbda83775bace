"""Secrets and prompts are planted everywhere and then searched for everywhere they must not be (SECURITY.md, Logs)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bson
import httpx
import pytest
from harness.signing import signed
from harness.suite import SERVICES, Suite, base62

PROMPT = f"canary-prompt-{base62(16)}"
ADMIN_PASSWORD = f"canary-password-{base62(16)}"
CLIENT_SECRET = f"canary-header-{base62(16)}"
QUERY_SECRET = f"canary-query-{base62(16)}"
# A prompt may stand where the caller put it as a name; it may not stand in what the relay keeps.


@pytest.fixture(scope="module")
def canaries(suite: Suite) -> dict[str, str]:
    """Traffic with every secret in it, of every outcome; returns what must not be found."""
    made = suite.make_key(name="canary")
    key = made["key"]
    headers = {"Cookie": f"session={CLIENT_SECRET}", "X-Custom-Token": CLIENT_SECRET, "OpenAI-Organization": CLIENT_SECRET}
    models = [
        "gpt-4o", "agent_echo", "gpt-4o-mini+fail-leak", "gpt-4o-mini+fail-status-401", "gpt-4o-mini+fail-html", "gpt-4o-mini+fail-cut-4",
        "gpt-4o-mini+fail-garbage-stream", "refused-gpt", "no-such-model", "agent_fail_mid_2",
    ]
    last = None
    for model in models:
        for stream in (False, True):
            last = suite.chat(key, model, PROMPT, headers=headers, stream=stream)
    said = {"role": "user", "content": [{"type": "text", "text": PROMPT}]}
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": PROMPT}}]}
    broken = {"role": "user", "content": [{"type": "video", "data": PROMPT}]}
    for model in [*models, "claude-sonnet-4-6", "claude-sonnet-4-6+fail-leak", "claude-sonnet-4-6+fail-cut-5", "gemini-2.5-flash"]:
        for messages in ([said], [said, called, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": PROMPT}]}], [broken]):
            for stream in (False, True):
                body = {"model": model, "max_tokens": 100, "system": PROMPT, "messages": messages, "stream": stream}
                suite.post("/v1/messages", key, json=body, headers=headers)
    suite.post("/v1/chat/completions", key, content=f'{{"model":"gpt-4o","messages":[{{"content":"{PROMPT}"'.encode())
    suite.post("/v1/embeddings", key, json={"model": "text-embedding-3-small", "input": PROMPT})
    suite.get(f"/v1/models?api_key={QUERY_SECRET}", key)
    suite.chat(key[:-1] + ("A" if key[-1] != "A" else "B"), "gpt-4o", PROMPT)
    wrong = key[:30] + ("A" if key[30] != "A" else "B") + key[31:]
    suite.chat(wrong, "gpt-4o", PROMPT)
    user = {"username": f"canary-{base62(6).lower()}", "password": ADMIN_PASSWORD, "role": "viewer"}
    assert suite.admin("POST", "/admin/users", json=user).status_code == 200
    signed_in = httpx.post(f"{suite.admin_url}/admin/session", json={"username": user["username"], "password": ADMIN_PASSWORD}, timeout=30)
    httpx.post(f"{suite.admin_url}/admin/session", json={"username": user["username"], "password": ADMIN_PASSWORD + "x"}, timeout=30)
    admin_key = suite.admin("POST", "/admin/admin-keys", json={"name": "canary", "role": "viewer"}).json()["key"]
    suite.admin("GET", f"/admin/usage?from={QUERY_SECRET}")
    regenerated = suite.admin("POST", f"/admin/api-keys/{made['id']}/regenerate", json={}).json()["key"]
    signing = suite.admin("POST", f"/admin/api-keys/{made['id']}/signing-secret", json={}).json()["signingSecret"]
    librechat = f"sk-{base62(64)}"
    place = f"/admin/api-keys/{made['id']}/librechat-key"
    assert suite.admin("POST", place, json={"origin": suite.librechat_url, "key": librechat}).status_code == 200
    wrong_form = f"sk-{base62(300)}"  # a key all the same, as far as whoever sent it knows
    assert suite.admin("POST", place, json={"origin": "no origin", "key": wrong_form}).status_code == 400
    refused = f"sk-invalid{base62(60)}"
    for key_of_user, path in ((librechat, "agent_echo"), (refused, "agent_echo"), (librechat, "agent_fail_pre_500"), (librechat, "agent_fail_mid_2")):
        assert suite.admin("POST", place, json={"origin": suite.librechat_url, "key": key_of_user}).status_code == 200
        for stream in (False, True):
            suite.chat(regenerated, path, PROMPT, stream=stream)
    suite.chat(regenerated, "gpt-4o", PROMPT, headers=signed("lcsig_" + base62(43)))
    served = suite.chat(regenerated, "gpt-4o", PROMPT)
    suite.row(served.headers["x-request-id"])
    assert last is not None
    return {
        "user's LibreChat key": librechat, "user's LibreChat key of another form": wrong_form, "user's LibreChat key that is refused": refused,
        "signing secret": signing, "API key": key, "secret of the API key": key[-38:-6], "regenerated key": regenerated, "prompt": PROMPT, "admin password": ADMIN_PASSWORD,
        "session token": signed_in.cookies[suite.session_cookie], "admin key": admin_key, "bootstrap key": suite.admin_key, "owner's password": suite.owner_password,
        "provider key": "sk-scripted-provider-key", "LibreChat key": "sk-librechat-provider-key", "Anthropic key": "sk-ant-provider-key", "client header": CLIENT_SECRET, "query": QUERY_SECRET,
        **{f"service token of {name}": token for name, token in suite.tokens.items()},
    }


def found_in(text: bytes, canaries: dict[str, str]) -> list[str]:
    return [name for name, canary in canaries.items() if canary.encode() in text]


def test_no_log_holds_one(suite: Suite, canaries: dict[str, str]) -> None:
    for service in SERVICES:
        text = suite.processes[service].log.read_bytes()
        assert text and not found_in(text, canaries), service


def test_no_metric_holds_one(suite: Suite, canaries: dict[str, str]) -> None:
    for service in SERVICES:
        answer = httpx.get(suite.ops_url(service, "/metrics"), timeout=30)
        assert answer.status_code == 200 and not found_in(answer.content, canaries), service
        for path in ("/healthz", "/readyz"):
            assert not found_in(httpx.get(suite.ops_url(service, path), timeout=30).content, canaries)


def test_no_document_holds_one(suite: Suite, canaries: dict[str, str]) -> None:
    db = suite.mongo()
    searched = 0
    for name in db.list_collection_names():
        for document in db[name].find():
            searched += 1
            assert not found_in(bson.encode(document), canaries), (name, document.get("_id"))
    assert searched > 30


def redis_values(suite: Suite) -> Any:
    store = suite.redis()
    for key in store.scan_iter():
        yield key
        kind = store.type(key)
        if kind == b"string":
            yield store.get(key)
        elif kind == b"hash":
            yield from (part for pair in store.hgetall(key).items() for part in pair)
        elif kind in (b"set", b"zset", b"list"):
            yield repr(store.dump(key)).encode()


def test_nothing_in_redis_holds_one(suite: Suite, canaries: dict[str, str]) -> None:
    values = [value for value in redis_values(suite) if value]
    assert values and not found_in(b"\n".join(values), canaries)


@pytest.mark.parametrize("folder", ["spool", "relay-state"])
def test_no_file_of_the_relay_holds_one(suite: Suite, canaries: dict[str, str], folder: str) -> None:
    files = [path for path in Path(suite.path(folder)).rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not found_in(path.read_bytes(), canaries), path


def test_no_answer_of_an_admin_route_holds_one(suite: Suite, canaries: dict[str, str]) -> None:
    for path in ("/admin/api-keys?pageSize=500", "/admin/logs?pageSize=500", "/admin/audit?pageSize=500", "/admin/providers", "/admin/models", "/admin/admin-keys", "/admin/users"):
        assert not found_in(suite.admin("GET", path).content, canaries), path


def test_the_logs_are_json_lines_with_ecs_names(suite: Suite, canaries: dict[str, str]) -> None:
    import json

    for service in SERVICES:
        lines = [json.loads(line) for line in suite.processes[service].text().splitlines() if line.startswith("{")]
        assert lines and all("@timestamp" in line and "log.level" in line for line in lines), service
