"""Users of LibreChat who are signed in by the relay: their relay keys ask as them, by a token of a minute that LibreChat checks with the relay's own keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import grpc
import httpx
import pytest
from harness.certificates import authority
from harness.ports import eventually
from harness.shifted_clock import ShiftedClock
from harness.suite import Suite

ISSUER = "https://login.example/realms/staff"  # of who signs people in to LibreChat: its users are known by it
AGENT = "agent_echo"
MODEL = "signed-in"
SERVICE = "sk-librechat-provider-key"
JWKS = "/.well-known/jwks.json"


def new_key(path: Path) -> Path:
    """A private key of RSA; its public half beside it."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(path)], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(path), "-pubout", "-out", str(public(path))], check=True, capture_output=True)
    return path


def public(path: Path) -> Path:
    return path.with_suffix(".pub")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    folder = tmp_path_factory.mktemp("sign-in")
    key, old = new_key(folder / "oidc"), folder / "oidc-old"
    old.write_text(public(key).read_text())
    settings = {"OIDC_ISSUER": f"{ISSUER}/", "OIDC_KEY_FILE": str(key), "OIDC_OLD_KEY_FILE": str(old), "MODEL_LIST_REFRESH": "10m"}
    suite = Suite(folder, books=True, relay_settings=settings)
    librechat = suite.processes["librechat"]
    librechat.command = [*librechat.command, "--oidc-issuer", ISSUER, "--oidc-jwks", suite.relay_url + JWKS, "--oidc-audience", suite.librechat_url]
    if suite.tls:
        librechat.env["SSL_CERT_FILE"] = str(authority().file)
    suite.start()
    make_provider(suite, "signed", MODEL)
    answer = suite.admin("POST", "/admin/models", json={"model": "agent_*", "targets": [{"provider": "signed"}]})
    assert answer.status_code == 200, answer.text
    reader = suite.make_key()["key"]
    eventually(lambda: suite.chat(reader, AGENT).status_code == 403, "the route of all agents")
    yield suite
    suite.stop()


def make_provider(suite: Suite, name: str, model: str, **fields: Any) -> None:
    """A LibreChat that users are signed in to, and a model of its."""
    body = {"name": name, "kind": "librechat", "baseUrl": suite.librechat_url, "credential": "env:RELAY_CREDENTIAL_LIBRECHAT", "signInAsUser": True}
    answer = suite.admin("POST", "/admin/providers", json={**body, **fields})
    assert answer.status_code == 200 and answer.json()["provider"]["signInAsUser"] is True, answer.text
    answer = suite.admin("POST", "/admin/models", json={"model": model, "targets": [{"provider": name, "upstreamModel": AGENT}]})
    assert answer.status_code == 200, answer.text
    reader = suite.make_key()["key"]
    eventually(lambda: suite.get(f"/v1/models/{model}", reader).status_code == 200, "the route")


def users(suite: Suite) -> Any:
    return suite._mongo_client[suite.librechat_database]["users"]


def user(suite: Suite, **fields: Any) -> dict[str, Any]:
    """A user of LibreChat who signs in over OpenID, but for what `fields` say otherwise (None: it is not there), and a relay key of his."""
    id_ = bson.ObjectId()
    whole = {"provider": "openid", "openidId": f"sub-{id_}", "openidIssuer": ISSUER, "role": "USER", "email": f"{id_}@staff.example", **fields}
    document = {name: value for name, value in whole.items() if value is not None}
    users(suite).insert_one({"_id": id_, **document})
    return {**suite.make_key(userId=str(id_)), "user": id_, "document": users(suite).find_one({"_id": id_})}


def credentials(suite: Suite) -> list[str]:
    """That agents were asked with, one after the other."""
    asked = [entry for entry in suite.upstream_log(librechat=True) if entry["method"] == "POST"]
    return [value.removeprefix("Bearer ") for entry in asked for name, value in entry["headers"] if name.lower() == "authorization"]


def parts(token: str) -> list[dict[str, Any]]:
    """Head and claims."""
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def token_of(suite: Suite, key: dict[str, Any], model: str = MODEL, **body: Any) -> str:
    """What LibreChat was asked with for this key, and took."""
    answer = suite.chat(key["key"], model, **body)
    assert answer.status_code == 200, answer.text
    return credentials(suite)[-1]


def key_ids(suite: Suite) -> list[str]:
    answer = httpx.get(suite.relay_url + JWKS, verify=suite.verify, timeout=30)
    assert answer.status_code == 200, answer.text
    return [key["kid"] for key in answer.json()["keys"]]


def runs(suite: Suite) -> int:
    return suite.upstream_stats(librechat=True)["runs"]["started"]


def assert_refused(suite: Suite, key: dict[str, Any], status: int, code: str, words: str) -> None:
    """Nobody was asked, in anybody's name."""
    before = len(credentials(suite))
    answer = suite.chat(key["key"], MODEL)
    error = answer.json()["error"]
    assert answer.status_code == status and error["code"] == code and words in error["message"], answer.text
    assert len(credentials(suite)) == before
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["attempts"] == 0 and row["response"]["error"] == code


def test_each_user_is_asked_for_as_himself(stack: Suite) -> None:
    anna, bert = user(stack), user(stack)
    for stream in (False, True):
        for key in (anna, bert, anna):
            head, claims = parts(token_of(stack, key, stream=stream))
            assert head == {"alg": "RS256", "typ": "JWT", "kid": key_ids(stack)[0]}
            assert claims["iss"] == ISSUER and claims["aud"] == stack.librechat_url and claims["sub"] == f"sub-{key['user']}"
            assert claims["exp"] - claims["iat"] == 60 and 0 < claims["exp"] - time.time() <= 60 and "email" not in claims
    assert SERVICE not in credentials(stack)
    booked = stack._mongo_client[stack.librechat_database]["transactions"]
    eventually(lambda: booked.count_documents({"user": anna["user"]}) == 8, "her runs are on her account")


def test_in_every_dialect(stack: Suite) -> None:
    anna, nobody = user(stack), stack.make_key()
    asked = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    request = {"openaiJson": base64.b64encode(json.dumps(asked).encode()).decode()}
    answer = stack.post("/v1/messages", anna["key"], json=asked)
    assert answer.status_code == 200, answer.text
    assert stack.rpc("relay", anna["key"]).call("apirelay.relay.v1.ChatService/CreateChatCompletion", request).openai_json
    answer = stack.post("/v1/messages", nobody["key"], json=asked)
    assert answer.status_code == 403 and answer.json()["error"]["type"] == "permission_error" and "userId" in answer.text, answer.text
    with pytest.raises(grpc.RpcError) as refused:
        stack.rpc("relay", nobody["key"]).call("apirelay.relay.v1.ChatService/CreateChatCompletion", request)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]


def test_a_token_is_used_again_and_shown_to_nobody(stack: Suite) -> None:
    anna = user(stack)
    token = token_of(stack, anna)
    assert token_of(stack, anna) == token
    for process in ("relay", "usage", "auth", "admin-gw"):
        assert token not in stack.processes[process].text()
    assert token not in stack.chat(anna["key"], "agent_fail_pre_400").text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"provider": "local", "openidId": None, "openidIssuer": None}, "over OpenID"),
        ({"provider": None}, "over OpenID"),
        ({"provider": "google"}, "over OpenID"),
        ({"openidId": None}, "issuer"),
        ({"openidIssuer": "https://elsewhere.example"}, "issuer"),
        ({"openidIssuer": None}, "issuer"),
        ({"openidIssuer": f"{ISSUER}/"}, "issuer"),
        ({"openidId": "x" * 300}, "issuer"),
    ],
    ids=["local", "of-no-provider", "google", "no-subject", "another-issuer", "no-issuer", "a-slash", "a-long-subject"],
)
def test_whom_librechat_would_not_know_is_refused_and_changed_by_nobody(stack: Suite, fields: dict[str, Any], words: str) -> None:
    key = user(stack, **fields)
    assert_refused(stack, key, 403, "permission_denied", words)
    assert users(stack).find_one({"_id": key["user"]}) == key["document"]


def test_who_might_be_taken_for_another_is_refused(stack: Suite) -> None:
    subject = f"twice-{secrets.token_hex(8)}"
    for other in ({"tenantId": "b"}, {"openidIssuer": None}):
        name = subject + str(len(other))
        key = user(stack, openidId=name, tenantId="a")
        user(stack, openidId=name, **other)
        assert_refused(stack, key, 403, "permission_denied", "another user")
        subject = f"twice-{secrets.token_hex(8)}"
    key = user(stack, openidId=subject)
    user(stack, openidId=subject, openidIssuer="https://elsewhere.example")  # whom LibreChat does not look at
    assert parts(token_of(stack, key))[1]["sub"] == subject


def test_a_key_without_a_user_and_one_of_nobody_are_refused(stack: Suite) -> None:
    assert_refused(stack, stack.make_key(), 403, "permission_denied", "names no LibreChat user")
    assert_refused(stack, stack.make_key(userId=str(bson.ObjectId())), 403, "permission_denied", "no user of the id")


def test_who_signs_in_there_at_last_is_served_soon(stack: Suite) -> None:
    key = user(stack, openidIssuer=None)
    assert_refused(stack, key, 403, "permission_denied", "issuer")
    users(stack).update_one({"_id": key["user"]}, {"$set": {"openidIssuer": ISSUER}})
    eventually(lambda: stack.chat(key["key"], MODEL).status_code == 200, "the service")


def test_a_librechat_key_of_the_user_does_not_take_the_place_of_his_token(stack: Suite) -> None:
    anna = user(stack)
    body = {"origin": stack.librechat_url, "key": f"sk-{secrets.token_hex(32)}"}
    assert stack.admin("POST", f"/admin/api-keys/{anna['id']}/librechat-key", json=body).status_code == 200
    for _ in range(5):
        assert parts(token_of(stack, anna))[1]["sub"] == f"sub-{anna['user']}"


def test_a_refusal_by_librechat_concerns_its_user_alone(stack: Suite) -> None:
    without, anna = user(stack, role="NOROLE"), user(stack)
    for _ in range(3):
        answer = stack.chat(without["key"], MODEL)
        assert answer.status_code == 502 and answer.json()["error"]["code"] == "upstream_auth_error", answer.text
        assert f"may not use {MODEL}" in answer.text
    assert token_of(stack, anna)


def test_for_another_audience_a_token_is_of_no_use(stack: Suite) -> None:
    """A provider that is moved collects tokens that say where they were sent: LibreChat itself does not take them."""
    moved = stack.librechat_url.replace("127.0.0.1", "localhost")
    make_provider(stack, "moved", "moved", baseUrl=moved)
    anna, before = user(stack), runs(stack)
    answer = stack.chat(anna["key"], "moved")
    assert answer.status_code == 502 and answer.json()["error"]["code"] == "upstream_auth_error", answer.text
    assert "refused to sign in" in answer.text and runs(stack) == before
    assert parts(credentials(stack)[-1])[1]["aud"] == moved
    assert parts(token_of(stack, anna))[1]["aud"] == stack.librechat_url


def test_models_are_listed_as_the_user_is_told(stack: Suite) -> None:
    def listed(key: dict[str, Any]) -> set[str]:
        answer = stack.get("/v1/models", key["key"])
        assert answer.status_code == 200, answer.text
        return {model["id"] for model in answer.json()["data"] if model["id"].startswith("agent_")}

    anna, none, nobody = user(stack), user(stack, role="NOACL"), stack.make_key()
    shown = listed(anna)
    assert "agent_slow" in shown and "agent_private" not in shown
    assert "agent_slow" not in listed(none) and "agent_slow" not in listed(nobody)


def test_what_does_not_go_together_is_refused_by_name(stack: Suite) -> None:
    for fields in ({"kind": "openai"}, {"requireUserKey": True}):
        provider = {"name": "not-one", "kind": "librechat", "baseUrl": stack.librechat_url, "signInAsUser": True, **fields}
        answer = stack.admin("POST", "/admin/providers", json=provider)
        assert answer.status_code == 400 and "signInAsUser" in answer.text, answer.text


def test_the_keys_are_there_for_everybody_who_gets_them(stack: Suite) -> None:
    answer = httpx.get(stack.relay_url + JWKS, verify=stack.verify, timeout=30)
    assert answer.headers["content-type"] == "application/jwk-set+json" and answer.headers["cache-control"] == "public, max-age=60"
    assert all(set(key) == {"kty", "use", "alg", "kid", "n", "e"} for key in answer.json()["keys"])
    head = httpx.head(stack.relay_url + JWKS, verify=stack.verify, timeout=30)
    assert head.status_code == 200 and head.text == ""
    assert httpx.post(stack.relay_url + JWKS, verify=stack.verify, timeout=30).status_code == 405


def test_a_token_is_sent_for_three_quarters_of_its_minute(stack: Suite) -> None:
    anna = user(stack)
    first = token_of(stack, anna)
    end_s = parts(first)[1]["exp"]

    def another() -> str:
        """Looked for once it is due."""
        return "" if time.time() < end_s - 15.5 or (token := token_of(stack, anna)) == first else token

    later = eventually(another, "the next token", 90)
    assert time.time() < end_s and parts(later)[1]["exp"] >= end_s + 44


def test_keys_change_without_a_request_that_fails(stack: Suite) -> None:
    """The next key is shown before it signs, the one before afterwards."""
    anna, (first,) = user(stack), key_ids(stack)
    key, old = stack.path("oidc"), stack.path("oidc-old")
    following = new_key(stack.path("oidc-next"))

    def put(path: Path, text: str) -> None:
        made = path.with_suffix(".new")
        made.write_text(text)
        made.rename(path)

    assert parts(token_of(stack, anna))[0]["kid"] == first
    put(old, public(key).read_text() + public(following).read_text())
    eventually(lambda: len(key_ids(stack)) == 2, "both are shown")
    (second,) = set(key_ids(stack)) - {first}
    assert parts(token_of(stack, anna))[0]["kid"] == first
    put(key, following.read_text())

    def asked_with() -> str:
        return parts(token_of(stack, anna))[0]["kid"]

    eventually(lambda: asked_with() == second and set(key_ids(stack)) == {first, second}, "the next key signs")
    put(old, public(following).read_text())
    eventually(lambda: key_ids(stack) == [second], "the one before is gone")
    events = stack.processes["relay"].events
    before = {name: len(events(name)) for name in ("oidc_key_reload_failed", "settings_reloaded", "settings_reload_failed")}
    put(key, "no key\n")
    eventually(lambda: len(events("oidc_key_reload_failed")) > before["oidc_key_reload_failed"], "what is no key is named")
    assert str(key) in events("oidc_key_reload_failed")[-1]["error.message"]
    assert key_ids(stack) == [second] and asked_with() == second
    assert len(events("settings_reloaded")) > before["settings_reloaded"], "what else is in a reload waits for no key"
    assert len(events("settings_reload_failed")) == before["settings_reload_failed"]
    put(key, following.read_text())


def test_a_token_that_is_over_by_librechats_clock_is_refused(stack: Suite) -> None:
    librechat = stack.processes["librechat"]
    before, anna = dict(librechat.env), user(stack)

    def restart() -> None:
        stack.restart("librechat")
        eventually(lambda: httpx.get(f"{stack.librechat_url}/readyz", timeout=30).status_code == 200, "LibreChat")

    ShiftedClock(stack.folder).give(librechat, 120_000)
    try:
        restart()
        answer = stack.chat(anna["key"], MODEL)
        assert answer.status_code == 502 and "refused to sign in" in answer.text, answer.text
    finally:
        librechat.env = before
        restart()
    assert token_of(stack, user(stack))


def test_without_the_setting_such_a_provider_is_reported_and_others_go_on(stack: Suite) -> None:
    relay = stack.processes["relay"]
    before = dict(relay.env)
    relay.env = {name: value for name, value in before.items() if not name.startswith("RELAY_OIDC_")}
    anna, reports = user(stack), len(relay.events("relay_config_incomplete"))
    try:
        stack.restart("relay")
        answer = stack.chat(anna["key"], MODEL)
        assert answer.status_code == 503 and "not set up" in answer.text, answer.text
        assert stack.chat(anna["key"], "gpt-4o").status_code == 200
        assert httpx.get(stack.relay_url + JWKS, verify=stack.verify, timeout=30).status_code == 404
        assert any("RELAY_OIDC_ISSUER" in line["error.message"] for line in relay.events("relay_config_incomplete")[reports:])
    finally:
        relay.env = before
        stack.restart("relay")
    assert token_of(stack, anna)


def test_mistakes_in_the_settings_are_told_together(stack: Suite) -> None:
    relay = stack.processes["relay"]
    curve = stack.path("curve")
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(curve)], check=True, capture_output=True)

    def said(**settings: str) -> str:
        env = {**relay.env, "RELAY_OIDC_OLD_KEY_FILE": "", **{f"RELAY_OIDC_{name}": value for name, value in settings.items()}}
        done = subprocess.run(relay.command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    both = said(ISSUER="http://login.example", KEY_FILE=str(curve), OLD_KEY_FILE="/dev/null")
    assert all(word in both for word in ("oidc_issuer", "https://", "oidc_key_file", str(curve), "oidc_old_key_file", "/dev/null")), both
    assert "oidc_key_file" in said(KEY_FILE="")
    assert "oidc_issuer" in said(ISSUER="")
    assert "oidc_key_file" in said(ISSUER="", KEY_FILE="", OLD_KEY_FILE=str(public(stack.path("oidc"))))


@pytest.mark.skipif("MONGO_URI" in os.environ, reason="the database is not ours to stop")
def test_while_mongodb_is_away_who_has_a_token_is_asked_for_and_others_shall_come_back(stack: Suite) -> None:
    anna, bert = user(stack), user(stack)
    assert stack.get("/v1/usage", bert["key"]).status_code == 200  # the relay knows his key, and not him
    token = token_of(stack, anna)
    said = stack.processes["relay"].events
    lost, found = len(said("librechat_users_lost")), len(said("librechat_users_found"))
    stack.processes["mongo"].kill()
    try:
        answer = stack.chat(anna["key"], MODEL)  # LibreChat itself is without its users
        assert answer.status_code >= 500 and credentials(stack)[-1] == token, answer.text
        asked = len(credentials(stack))
        answer = stack.chat(bert["key"], MODEL)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "service_unavailable", answer.text
        assert "x-should-retry" not in answer.headers and "right now" in answer.text  # SDKs ask again
        assert len(credentials(stack)) == asked
        assert len(said("librechat_users_lost")) == lost + 1
    finally:
        stack.processes["mongo"].start()
        stack.await_ready()
    eventually(lambda: stack.chat(bert["key"], MODEL).status_code == 200, "users who are read again")
    assert len(said("librechat_users_found")) == found + 1
