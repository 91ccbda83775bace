"""`auth rotate-secrets`: signing secrets and LibreChat keys under a new master key, while they are in use."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from harness.ports import eventually
from harness.signing import chat, signed
from harness.suite import Suite


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("rotate")).start()
    yield suite
    assert not [name for name, status in suite.stop().items() if name in ("auth", "relay") and status]


@pytest.fixture(scope="module")
def old(stack: Suite) -> str:
    """The line of the master key that everything is sealed under at first."""
    return stack.path("master-keys").read_text()


def new_line(kid: str) -> str:
    return f"{kid} {base64.b64encode(os.urandom(32)).decode()}\n"


def rotate(stack: Suite, *arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    process = stack.processes["auth"]
    done = subprocess.run(
        [*process.command, "rotate-secrets", *arguments], env={**process.env, **env}, capture_output=True, text=True, timeout=60
    )
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if "secrets_rotat" in line]
    assert lines, done
    return done.returncode, lines[-1]


def kids(stack: Suite, key: dict[str, Any]) -> list[str]:
    """Of the master keys that the key's secrets are sealed under: signing secrets, the current one's first, then the LibreChat key."""
    document = stack.mongo()["api_keys"].find_one({"keyId": key["keyId"]})
    parts = (document["signing"], document["signing"].get("previous"), document.get("librechat"))
    sealed = [part["secret"] for part in parts if part and "secret" in part]
    return [bytes(s)[1 : 1 + bytes(s)[0]].decode() for s in sealed]


def make_signer(stack: Suite) -> dict[str, Any]:
    key = stack.make_key()
    answer = stack.admin("POST", f"/admin/api-keys/{key['id']}/signing-secret", json={})
    assert answer.status_code == 200, answer.text
    return {**key, "signingSecret": answer.json()["signingSecret"]}


def make_user(stack: Suite) -> dict[str, Any]:
    """A key with the LibreChat key of its user, and without a signing secret."""
    key, librechat = stack.make_key(), f"sk-user{secrets.token_hex(30)}"
    body = {"origin": stack.librechat_url, "key": librechat}
    answer = stack.admin("POST", f"/admin/api-keys/{key['id']}/librechat-key", json=body)
    assert answer.status_code == 200, answer.text
    return {**key, "librechatKey": librechat}


def credentials(stack: Suite) -> list[str]:
    """That LibreChat's agents were asked with, one after the other."""
    asked = [entry for entry in stack.upstream_log(librechat=True) if entry["method"] == "POST"]
    return [value.removeprefix("Bearer ") for entry in asked for name, value in entry["headers"] if name.lower() == "authorization"]


def is_served_as_itself(stack: Suite, key: dict[str, Any]) -> bool:
    if stack.chat(key["key"], "agent_echo").status_code != 200:
        return False
    return credentials(stack)[-1] == key["librechatKey"]


def serves(stack: Suite, key: dict[str, Any]) -> bool:
    return chat(stack, key["key"], signed(key["signingSecret"])).status_code == 200


def test_secrets_move_to_the_new_master_key_while_they_are_in_use(stack: Suite, old: str) -> None:
    key, graceful, revoked = (make_signer(stack) for _ in range(3))
    again = stack.admin("POST", f"/admin/api-keys/{graceful['id']}/signing-secret", json={"graceSeconds": 600}).json()
    assert stack.admin("DELETE", f"/admin/api-keys/{revoked['id']}").status_code == 200
    user = make_user(stack)
    assert is_served_as_itself(stack, user) and kids(stack, user) == ["k1"]
    assert serves(stack, key) and (kids(stack, key), kids(stack, graceful)) == (["k1"], ["k1", "k1"])
    new = new_line("k2")
    stack.path("master-keys").write_text(new + old)  # a relay reads it again by itself
    status, said = rotate(stack)
    assert status == 0 and (said["keys"], said["rotated"]) == (4, 4), said
    assert kids(stack, user) == ["k2"]
    assert (kids(stack, key), kids(stack, graceful), kids(stack, revoked)) == (["k2"], ["k2", "k2"], ["k2"])
    assert rotate(stack)[1]["rotated"] == 0
    stack.path("master-keys").write_text(new)
    stack.restart("relay")
    stack.restart("auth")
    eventually(lambda: serves(stack, key), "the same secret, under the new master key")
    assert is_served_as_itself(stack, user)
    assert serves(stack, graceful) and serves(stack, {**graceful, "signingSecret": again["signingSecret"]})
    entries = [(e["action"], e["phase"], e["actorKind"]) for e in stack.shown("/admin/audit")["entries"] if e["action"] == "secrets.rotate"]
    assert entries[:2] == [("secrets.rotate", "result", "system"), ("secrets.rotate", "intent", "system")]
    assert stack.shown("/admin/audit/verify")["intact"]


def test_a_lost_master_key_is_named_and_stops_nothing_else(stack: Suite) -> None:
    lost, user = make_signer(stack), make_user(stack)
    (kid,) = set(kids(stack, lost))
    stack.path("master-keys").write_text(new_line("k9"))
    status, said = rotate(stack)
    assert status == 1 and said["rotated"] == 0 and said["failed"] == said["keys"] > 0
    assert kid in said["error.message"] and said["error.code"] == "FAILED_PRECONDITION"
    assert kids(stack, lost) == [kid] == kids(stack, user)

    def is_refused() -> bool:
        answer = stack.chat(user["key"], "agent_echo")
        return answer.status_code == 503 and "LibreChat key of this API key cannot be read" in answer.text

    eventually(is_refused, "the relay has read that the master key is gone")
    assert "librechat_key_unreadable" in stack.processes["relay"].text()
    assert all(sent.startswith("sk-user") for sent in credentials(stack)), "nobody else's account took its place"


@pytest.mark.parametrize(
    ("arguments", "env", "why"),
    [
        (("x",), {}, "usage: auth rotate-secrets"),
        ((), {"AUTH_MASTER_KEYS_FILE": ""}, "master_keys_file"),
        ((), {"AUTH_MASTER_KEYS_FILE": "/dev/null"}, "/dev/null"),
    ],
)
def test_what_cannot_begin_says_why_and_ends_with_2(stack: Suite, arguments: tuple[str, ...], env: dict[str, str], why: str) -> None:
    status, said = rotate(stack, *arguments, **env)
    assert status == 2 and why in said["error.message"], said
