"""Signed requests: docs/signing.md as it stands there, and everything that is to be refused."""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from harness.ports import eventually
from harness.raw_http import request_bytes
from harness.rpc import as_dict
from harness.signing import CHAT, CHAT_PATH, PAGE, audit, chat, signature, signed, verdict
from harness.snippets import blocks, environment, section
from harness.suite import TOP, Suite

CREATE = "apirelay.relay.v1.ChatService/CreateChatCompletion"


@pytest.fixture(scope="module")
def key(suite: Suite) -> dict[str, Any]:
    """One that has to sign; tests leave it as it is."""
    made = suite.make_key(name="signs", signing={"required": True})
    assert made["signingSecret"].startswith("lcsig_") and made["signing"]["configured"]
    return made


def rotate(suite: Suite, key: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/signing-secret", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---- the page ----


def test_the_vectors_of_the_page_hold_and_are_those_of_the_unit_test() -> None:
    text = section(PAGE, "Vectors")
    secret, timestamp, nonce = re.findall(r"`([^`]+)`", text.splitlines()[1])
    rows = re.findall(r"^\| (\w+) \| `([^`]+)` \| `?([^`|]*?)`? \| `(v1=\w+)` \|$", text, re.M)
    unit_test = (TOP / "services/relay/request_signature_test.c").read_text()
    assert len(rows) == 3
    for method, target, body, expected in rows:
        assert signature(secret, timestamp, nonce, method, target, body.encode()) == expected
        assert expected.removeprefix("v1=") in unit_test


def test_the_python_of_the_page_signs_what_the_sdk_sends(suite: Suite, key: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("\n".join(blocks(PAGE, "Python", "python")))
    env = environment(suite, key["key"], SIGNING_SECRET=key["signingSecret"])
    if suite.tls:
        env["SSL_CERT_FILE"] = env["CA_FILE"]
    told = subprocess.run([sys.executable, "client.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "answer Echo: Say hello\n"


# ---- what is served ----


def test_a_signed_request_is_served_with_and_without_a_body(suite: Suite, key: dict[str, Any]) -> None:
    answer = chat(suite, key["key"], signed(key["signingSecret"]))
    assert answer.status_code == 200, answer.text
    assert suite.row(answer.headers["x-request-id"])["outcome"] == "complete"
    target = "/v1/usage?groupBy=model&interval=day"
    assert suite.get(target, key["key"]).status_code == 401
    headers = {"Authorization": f"Bearer {key['key']}", **signed(key["signingSecret"], "GET", target, b"")}
    assert httpx.get(suite.relay_url + target, headers=headers, verify=suite.verify, timeout=30).status_code == 200


def test_the_signature_headers_go_no_further(suite: Suite, key: dict[str, Any]) -> None:
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200
    sent = {name.lower() for name, _ in suite.upstream_log()[-1]["headers"]}
    assert sent and not sent & {"x-relay-timestamp", "x-relay-nonce", "x-relay-signature"}


def test_a_stream_is_signed_like_any_other(suite: Suite, key: dict[str, Any]) -> None:
    body = CHAT[:-1] + b', "stream": true}'
    headers = {"Authorization": f"Bearer {key['key']}", **signed(key["signingSecret"], body=body)}
    answer = httpx.post(suite.relay_url + CHAT_PATH, headers=headers, content=body, timeout=30, verify=suite.verify)
    assert answer.status_code == 200 and answer.text.endswith("data: [DONE]\n\n")


def test_over_grpc_the_method_path_and_the_json_are_signed(suite: Suite, key: dict[str, Any]) -> None:
    request = {"openaiJson": base64.b64encode(CHAT).decode()}
    with suite.rpc("relay", key["key"]) as client:
        headers = signed(key["signingSecret"], target=f"/{CREATE}")
        client.metadata = [(name.lower(), value) for name, value in headers.items()]
        assert b"Echo: Hello there" in client.call(CREATE, request).openai_json
        with pytest.raises(grpc.RpcError) as replayed:
            client.call(CREATE, request)
        assert replayed.value.code() == grpc.StatusCode.UNAUTHENTICATED and "X-Relay-Nonce" in replayed.value.details()
        client.metadata = [(name.lower(), value) for name, value in signed(key["signingSecret"]).items()]  # of the HTTP path
        with pytest.raises(grpc.RpcError) as wrong:
            client.call(CREATE, request)
        assert wrong.value.code() == grpc.StatusCode.UNAUTHENTICATED
        client.metadata = [*client.metadata, client.metadata[1]]
        with pytest.raises(grpc.RpcError) as twice:
            client.call(CREATE, request)
        assert twice.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        client.metadata = []
        with pytest.raises(grpc.RpcError) as unsigned:
            client.call(CREATE, request)
        assert unsigned.value.code() == grpc.StatusCode.UNAUTHENTICATED


# ---- what is refused ----


def change(headers: dict[str, str], name: str, value: str | None) -> dict[str, str]:
    changed = {**headers, name: value}
    return {name: value for name, value in changed.items() if value is not None}


REFUSED: dict[str, tuple[Any, int, str]] = {
    "unsigned": (lambda s: {}, 401, "signature_required"),
    "another secret": (lambda s: signed("lcsig_" + "x" * 43), 401, "invalid_signature"),
    "another body": (lambda s: signed(s, body=CHAT + b" "), 401, "invalid_signature"),
    "another path": (lambda s: signed(s, target="/v1/completions"), 401, "invalid_signature"),
    "another method": (lambda s: signed(s, "PUT"), 401, "invalid_signature"),
    "too old": (lambda s: signed(s, at=time.time() - 310), 401, "signature_expired"),
    "too new": (lambda s: signed(s, at=time.time() + 310), 401, "signature_expired"),
    "no timestamp": (lambda s: change(signed(s), "X-Relay-Timestamp", None), 401, "invalid_signature"),
    "no nonce": (lambda s: change(signed(s), "X-Relay-Nonce", None), 401, "invalid_signature"),
    "no signature": (lambda s: change(signed(s), "X-Relay-Signature", None), 401, "invalid_signature"),
    "a short nonce": (lambda s: signed(s, nonce="0123456789abcde"), 401, "invalid_signature"),
    "a nonce with a slash": (lambda s: signed(s, nonce="0123456789/abcdef"), 401, "invalid_signature"),
    "a text for a time": (lambda s: change(signed(s), "X-Relay-Timestamp", "now"), 401, "invalid_signature"),
    "half a signature": (lambda s: change(signed(s), "X-Relay-Signature", "v1=" + "ab" * 16), 401, "invalid_signature"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_does_not_hold_is_refused_and_asks_nobody(suite: Suite, key: dict[str, Any], case: str) -> None:
    make, status, code = REFUSED[case]
    before = suite.upstream_stats()["requests"]
    answer = chat(suite, key["key"], make(key["signingSecret"]))
    assert verdict(answer) == (status, code)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert suite.upstream_stats()["requests"] == before


@pytest.mark.parametrize("name", ["X-Relay-Timestamp", "X-Relay-Nonce", "X-Relay-Signature"])
def test_a_header_given_twice_is_400(suite: Suite, key: dict[str, Any], name: str) -> None:
    headers = {"Authorization": f"Bearer {key['key']}", "Content-Length": str(len(CHAT)), **signed(key["signingSecret"])}
    with suite.raw("relay") as raw:
        head = request_bytes("POST", CHAT_PATH, headers)
        twice = head.replace(f"{name}:".encode(), f"{name}: {headers[name]}\r\n{name}:".encode(), 1)
        raw.send(twice + CHAT)
        answer = raw.answer()
    assert answer is not None and answer.status == 400 and name.lower().encode() in answer.body


def test_a_replay_is_refused_with_a_code_of_its_own(suite: Suite, key: dict[str, Any]) -> None:
    headers = signed(key["signingSecret"])
    assert chat(suite, key["key"], headers).status_code == 200
    assert verdict(chat(suite, key["key"], headers)) == (401, "nonce_used")
    resigned = signed(key["signingSecret"], nonce=headers["X-Relay-Nonce"], at=time.time() + 5)
    assert verdict(chat(suite, key["key"], resigned)) == (401, "nonce_used")


def test_of_many_at_once_with_one_nonce_one_is_served(suite: Suite, key: dict[str, Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    headers = signed(key["signingSecret"])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: chat(suite, key["key"], headers).status_code, range(16)))
    assert sorted(answers) == [200] + [401] * 15


def test_a_nonce_outlives_its_timestamp_and_is_stored_only_when_the_signature_held(suite: Suite, key: dict[str, Any]) -> None:
    bad, good = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    assert chat(suite, key["key"], signed("lcsig_" + "x" * 43, nonce=bad)).status_code == 401
    assert chat(suite, key["key"], signed(key["signingSecret"], nonce=good)).status_code == 200
    store = suite.redis()
    assert not store.exists(f"{{{key['keyId']}}}:nonce:{bad}")
    request_timeout_s = 600
    assert 650 < store.ttl(f"{{{key['keyId']}}}:nonce:{good}") - request_timeout_s <= 660


def test_a_body_is_not_asked_for_when_the_headers_cannot_hold(suite: Suite, key: dict[str, Any]) -> None:
    head = {"Authorization": f"Bearer {key['key']}", "Content-Length": str(len(CHAT)), "Expect": "100-continue"}
    cases = ((signed(key["signingSecret"]), 100), ({}, 401), (signed(key["signingSecret"], at=0), 401))
    for headers, expected in cases:
        with suite.raw("relay") as raw:
            raw.send(request_bytes("POST", CHAT_PATH, {**head, **headers}))
            answer = raw.answer()
            assert answer is not None and answer.status == expected


# ---- the secret's life ----


def test_optional_signing_checks_what_is_sent(suite: Suite) -> None:
    key = suite.make_key(name="may sign")
    assert not key["signing"]["configured"]
    assert chat(suite, key["key"], signed("lcsig_" + "x" * 43)).status_code == 200  # no secret: no notice is taken
    secret = rotate(suite, key)["signingSecret"]
    eventually(lambda: verdict(chat(suite, key["key"], signed("lcsig_" + "x" * 43))) == (401, "invalid_signature"), "checked")
    assert chat(suite, key["key"], {}).status_code == 200
    assert chat(suite, key["key"], signed(secret)).status_code == 200


def test_a_new_secret_leaves_the_old_one_its_grace(suite: Suite) -> None:
    key = suite.make_key(name="rotates", signing={"required": True})
    answer = rotate(suite, key, graceSeconds=2)
    started = time.monotonic()
    new = answer["signingSecret"]
    assert answer["apiKey"]["signing"]["previousExpiresAt"] and new != key["signingSecret"]
    eventually(lambda: chat(suite, key["key"], signed(new)).status_code == 200, "the new one holds")
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200
    eventually(lambda: chat(suite, key["key"], signed(key["signingSecret"])).status_code == 401, "the grace is over")
    assert time.monotonic() - started >= 1.5
    assert chat(suite, key["key"], signed(new)).status_code == 200


def test_without_grace_the_old_secret_ends_within_a_second(suite: Suite) -> None:
    key = suite.make_key(name="rotates at once", signing={"required": True})
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200
    new = rotate(suite, key)["signingSecret"]
    eventually(lambda: chat(suite, key["key"], signed(key["signingSecret"])).status_code == 401, "the old one ended")
    assert chat(suite, key["key"], signed(new)).status_code == 200


def test_the_secret_goes_only_when_it_is_not_required(suite: Suite) -> None:
    key = suite.make_key(name="stops", signing={"required": True})
    path = f"/admin/api-keys/{key['id']}"
    assert suite.admin("DELETE", f"{path}/signing-secret").json()["error"]["status"] == "FAILED_PRECONDITION"
    assert suite.admin("PATCH", path, json={"signing": {"required": False}}).status_code == 200
    assert suite.admin("DELETE", f"{path}/signing-secret").json()["apiKey"]["signing"]["configured"] is False
    assert suite.admin("DELETE", f"{path}/signing-secret").status_code == 200
    eventually(lambda: chat(suite, key["key"], {}).status_code == 200, "unsigned is served")
    refused = suite.admin("PATCH", path, json={"signing": {"required": True}})
    assert refused.status_code == 400 and "signing.required" in refused.text


def test_what_is_wrong_with_a_rotation_is_named(suite: Suite, key: dict[str, Any]) -> None:
    for body, field in (({"graceSeconds": -1}, "graceSeconds"), ({"graceSeconds": 2592001}, "graceSeconds"), ({"etag": "v999"}, "etag")):
        answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/signing-secret", json=body)
        assert answer.status_code in (400, 409) and field in answer.text, answer.text
    revoked = suite.make_key()
    suite.admin("DELETE", f"/admin/api-keys/{revoked['id']}")
    assert suite.admin("POST", f"/admin/api-keys/{revoked['id']}/signing-secret", json={}).status_code == 400


def test_the_secret_stands_nowhere_in_clear(suite: Suite, key: dict[str, Any]) -> None:
    """Not in a document, the audit log, Redis or a log; what is stored is bound to its key."""
    secret = key["signingSecret"]
    document = suite.mongo()["api_keys"].find_one({"keyId": key["keyId"]})
    sealed = bytes(document["signing"]["secret"])
    assert sealed[1:3] == b"k1" and len(sealed) == 1 + 2 + 12 + len(secret) + 16
    rotated = rotate(suite, suite.make_key(name="audited"))["signingSecret"]
    texts = [str(d) for name in suite.mongo().list_collection_names() for d in suite.mongo()[name].find()]
    texts += [suite.processes[name].text() for name in ("auth", "relay", "usage", "admin-gw")]
    texts += [repr(name) for name in suite.redis().scan_iter()]
    for one in (secret, rotated):
        assert not [text for text in texts if one in text]


def test_the_audit_log_tells_who_gave_and_took_it(suite: Suite) -> None:
    key = suite.make_key(name="audited")
    rotate(suite, key, graceSeconds=5)
    suite.admin("DELETE", f"/admin/api-keys/{key['id']}/signing-secret")
    for action in ("api_key.rotate_signing_secret", "api_key.remove_signing_secret"):
        assert [e["phase"] for e in audit(suite, key["id"], action)] == ["intent", "result"]


# ---- Redis and master keys away ----


@pytest.fixture
def own_suite(tmp_path: Path) -> Iterator[Suite]:
    s = Suite(tmp_path).start()
    yield s
    s.stop()


def test_without_redis_keys_that_sign_are_503_and_others_are_served(own_suite: Suite) -> None:
    suite = own_suite
    key, other = suite.make_key(signing={"required": True}), suite.make_key()
    assert chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200
    assert chat(suite, other["key"], {}).status_code == 200
    suite.processes["redis"].kill()
    eventually(lambda: verdict(chat(suite, key["key"], signed(key["signingSecret"]))) == (503, "service_unavailable"), "refused")
    assert verdict(chat(suite, key["key"], signed("lcsig_" + "x" * 43))) == (401, "invalid_signature")
    assert chat(suite, other["key"], {}).status_code == 200
    suite.processes["redis"].start()
    eventually(lambda: chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200, "served again")


def test_a_master_key_that_the_relay_lacks_is_503_until_its_file_has_it(own_suite: Suite) -> None:
    suite = own_suite
    key = suite.make_key(signing={"required": True})
    text = suite.path("master-keys").read_text()
    other = f"k0 {base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    suite.path("master-keys").write_text(other)
    eventually(lambda: verdict(chat(suite, key["key"], signed(key["signingSecret"]))) == (503, "service_unavailable"), "refused")
    (trouble,) = suite.processes["relay"].events("signing_secret_unreadable")
    assert '"k1"' in trouble["error.message"] and key["signingSecret"] not in str(trouble)
    suite.path("master-keys").write_text("no master key\n")
    eventually(lambda: suite.processes["relay"].events("master_keys_reload_failed"), "a bad file changes nothing")
    suite.path("master-keys").write_text(other + text)
    eventually(lambda: chat(suite, key["key"], signed(key["signingSecret"])).status_code == 200, "served again")


def test_the_policy_travels_sealed(suite: Suite, key: dict[str, Any]) -> None:
    with suite.rpc_as("relay", "auth") as auth:
        request = {"presentedKey": base64.b64encode(key["key"].encode()).decode()}
        policy = as_dict(auth.call("apirelay.auth.v1.KeyAccessService/Resolve", request))["policy"]
    assert policy["signingRequired"] and key["signingSecret"].encode() not in base64.b64decode(policy["signingSecretSealed"])
