"""`auth rotate-secrets`: signing secrets under a new master key, while they are in use."""

from __future__ import annotations

import base64
import json
import os
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
    """Of the master keys that the key's signing secrets are sealed under, the current one's first."""
    signing = stack.mongo()["api_keys"].find_one({"keyId": key["keyId"]})["signing"]
    sealed = [signing["secret"], *([signing["previous"]["secret"]] if "previous" in signing else [])]
    return [bytes(s)[1 : 1 + bytes(s)[0]].decode() for s in sealed]


def make_signer(stack: Suite) -> dict[str, Any]:
    key = stack.make_key()
    answer = stack.admin("POST", f"/admin/api-keys/{key['id']}/signing-secret", json={})
    assert answer.status_code == 200, answer.text
    return {**key, "signingSecret": answer.json()["signingSecret"]}


def serves(stack: Suite, key: dict[str, Any]) -> bool:
    return chat(stack, key["key"], signed(key["signingSecret"])).status_code == 200


def test_secrets_move_to_the_new_master_key_while_they_are_in_use(stack: Suite, old: str) -> None:
    key, graceful, revoked = (make_signer(stack) for _ in range(3))
    again = stack.admin("POST", f"/admin/api-keys/{graceful['id']}/signing-secret", json={"graceSeconds": 600}).json()
    assert stack.admin("DELETE", f"/admin/api-keys/{revoked['id']}").status_code == 200
    assert serves(stack, key) and (kids(stack, key), kids(stack, graceful)) == (["k1"], ["k1", "k1"])
    new = new_line("k2")
    stack.path("master-keys").write_text(new + old)  # a relay reads it again by itself
    status, said = rotate(stack)
    assert status == 0 and (said["keys"], said["rotated"]) == (3, 3), said
    assert (kids(stack, key), kids(stack, graceful), kids(stack, revoked)) == (["k2"], ["k2", "k2"], ["k2"])
    assert rotate(stack)[1]["rotated"] == 0
    stack.path("master-keys").write_text(new)
    stack.restart("relay")
    stack.restart("auth")
    eventually(lambda: serves(stack, key), "the same secret, under the new master key")
    assert serves(stack, graceful) and serves(stack, {**graceful, "signingSecret": again["signingSecret"]})
    entries = [(e["action"], e["phase"], e["actorKind"]) for e in stack.shown("/admin/audit")["entries"] if e["action"] == "secrets.rotate"]
    assert entries[:2] == [("secrets.rotate", "result", "system"), ("secrets.rotate", "intent", "system")]
    assert stack.shown("/admin/audit/verify")["intact"]


def test_a_lost_master_key_is_named_and_stops_nothing_else(stack: Suite) -> None:
    lost = make_signer(stack)
    (kid,) = set(kids(stack, lost))
    stack.path("master-keys").write_text(new_line("k9"))
    status, said = rotate(stack)
    assert status == 1 and said["rotated"] == 0 and said["failed"] == said["keys"] > 0
    assert kid in said["error.message"] and said["error.code"] == "FAILED_PRECONDITION"
    assert kids(stack, lost) == [kid]


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
