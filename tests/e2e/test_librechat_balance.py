"""LibreChat's own balances bound what is asked with its users' own keys, where a provider says so; they are read and never written."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

import bson
import grpc
import pytest
from harness.ports import eventually
from harness.suite import Suite

MODEL = "of-balances"
ENOUGH, EMPTY = {"tokenCredits": 1000}, {"tokenCredits": 0}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("balances"), books=True).start()
    provider = {"name": "balances", "kind": "librechat", "baseUrl": suite.librechat_url, "requireUserKey": True, "checkBalance": True}
    answer = suite.admin("POST", "/admin/providers", json=provider)
    assert answer.status_code == 200 and answer.json()["provider"]["checkBalance"] is True, answer.text
    answer = suite.admin("POST", "/admin/models", json={"model": MODEL, "targets": [{"provider": "balances", "upstreamModel": "agent_echo"}]})
    assert answer.status_code == 200, answer.text
    reader = suite.make_key()["key"]
    eventually(lambda: suite.get(f"/v1/models/{MODEL}", reader).status_code == 200, "the route")
    yield suite
    suite.stop()


def balances(suite: Suite) -> Any:
    return suite._mongo_client[suite.librechat_database]["balances"]


def user(suite: Suite, *documents: dict[str, Any], owned: bool = True, **fields: Any) -> dict[str, Any]:
    """A relay key of a LibreChat user with these balances, the oldest first, and with his LibreChat key."""
    id_ = bson.ObjectId()
    key = suite.make_key(**({"userId": str(id_)} if owned else {}), **fields)
    own = f"sk-{secrets.token_hex(32)}"
    suite._mongo_client[suite.librechat_database]["agentapikeys"].insert_one({"keyHash": hashlib.sha256(own.encode()).hexdigest(), "userId": id_})
    for document in documents:
        balances(suite).insert_one({"user": id_, **document})
    answer = suite.admin("POST", f"/admin/api-keys/{key['id']}/librechat-key", json={"origin": suite.librechat_url, "key": own})
    assert answer.status_code == 200, answer.text
    eventually(lambda: "user_key_required" not in suite.chat(key["key"], MODEL).text, "its LibreChat key")
    return {**key, "user": id_}


def runs(suite: Suite) -> int:
    return suite.upstream_stats(librechat=True)["runs"]["started"]


def assert_refused(suite: Suite, key: dict[str, Any], words: str) -> None:
    before = runs(suite)
    answer = suite.chat(key["key"], MODEL)
    assert answer.status_code == 429 and answer.headers["x-should-retry"] == "false", answer.text
    error = answer.json()["error"]
    assert error["type"] == error["code"] == "insufficient_quota" and words in error["message"], error
    assert runs(suite) == before
    row = suite.row(answer.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["usage"]["costNanoUsd"] == 0 and row["response"]["error"] == "insufficient_quota"


@pytest.mark.parametrize(
    "documents",
    [[ENOUGH], [{"tokenCredits": 1000, "reservedCredits": 999}], [{"tokenCredits": 0.5}], [{"tokenCredits": bson.Int64(7)}], [ENOUGH, EMPTY]],
    ids=["enough", "some-reserved", "half-a-credit", "int64", "two-and-the-oldest-has"],
)
def test_who_has_credits_is_served(stack: Suite, documents: list[dict[str, Any]]) -> None:
    answer = stack.chat(user(stack, *documents)["key"], MODEL)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "documents",
    [[EMPTY], [{"tokenCredits": 50, "reservedCredits": 50}], [{"autoRefillEnabled": False}], [{"tokenCredits": "many"}], [EMPTY, ENOUGH]],
    ids=["empty", "all-reserved", "no-figure", "odd-figure", "two-and-the-oldest-has-none"],
)
def test_who_has_none_is_refused(stack: Suite, documents: list[dict[str, Any]]) -> None:
    assert_refused(stack, user(stack, *documents), "balance")


def test_who_was_never_in_librechat_is_refused_and_gets_no_balance_of_zero(stack: Suite) -> None:
    key = user(stack)
    assert_refused(stack, key, "sign in to LibreChat")
    assert balances(stack).count_documents({"user": key["user"]}) == 0


def test_a_key_of_no_user_is_refused_by_name(stack: Suite) -> None:
    answer = stack.chat(user(stack, owned=False)["key"], MODEL)
    assert answer.status_code == 403 and answer.json()["error"]["param"] == "userId", answer.text


def test_the_refusal_is_in_every_callers_words(stack: Suite) -> None:
    key = user(stack, EMPTY)
    asked = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    answer = stack.post("/v1/messages", key["key"], json=asked)
    assert answer.status_code == 429 and answer.json()["error"]["type"] == "rate_limit_error" and "balance" in answer.text, answer.text
    streamed = stack.chat(key["key"], MODEL, stream=True)
    assert streamed.status_code == 429 and streamed.json()["error"]["code"] == "insufficient_quota"
    with pytest.raises(grpc.RpcError) as refused:
        stack.rpc("relay", key["key"]).call("apirelay.relay.v1.ChatService/CreateChatCompletion", {"openaiJson": encoded(asked)})
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "balance" in str(refused.value.details())


def encoded(body: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def test_what_is_used_up_is_refused_and_what_is_put_in_is_served(stack: Suite) -> None:
    key = user(stack, {"tokenCredits": 20})  # less than one run costs
    eventually(lambda: stack.chat(key["key"], MODEL).status_code == 429, "the refusal")
    assert balances(stack).find_one({"user": key["user"]})["tokenCredits"] == 0
    balances(stack).update_one({"user": key["user"]}, {"$set": {"tokenCredits": 500}})
    eventually(lambda: stack.chat(key["key"], MODEL).status_code == 200, "the service")


def test_a_refusal_uses_nothing_up_of_the_keys_own_limits(stack: Suite) -> None:
    key = user(stack, EMPTY, limits={"requestsPerDay": 2})
    for _ in range(3):
        assert_refused(stack, key, "balance")
    balances(stack).update_one({"user": key["user"]}, {"$set": {"tokenCredits": 5000}})
    eventually(lambda: stack.chat(key["key"], MODEL).status_code == 200, "the service")
    assert stack.chat(key["key"], MODEL).status_code == 200
    last = stack.chat(key["key"], MODEL)
    assert last.status_code == 429 and "balance" not in last.text, last.text


def test_the_services_own_account_is_not_looked_at(stack: Suite) -> None:
    assert stack.chat(stack.make_key()["key"], "agent_echo").status_code == 200
    assert stack.chat(user(stack, EMPTY)["key"], "agent_echo").status_code == 200  # a provider that does not say so


def test_an_option_of_another_kind_is_refused_by_name(stack: Suite) -> None:
    provider = {"name": "not-one", "kind": "openai", "baseUrl": stack.upstream_url, "checkBalance": True}
    answer = stack.admin("POST", "/admin/providers", json=provider)
    assert answer.status_code == 400 and "checkBalance" in answer.text, answer.text


@pytest.mark.skipif("MONGO_URI" in os.environ, reason="the database is not ours to stop")
def test_while_mongodb_is_away_a_keys_own_limits_decide(stack: Suite) -> None:
    key = user(stack, EMPTY)
    assert_refused(stack, key, "balance")
    unknown = lambda: stack.metric("relay", 'relay_balance_checks_total{answer="unknown"}')  # noqa: E731
    said = stack.processes["relay"].events
    stack.processes["mongo"].kill()
    try:
        eventually(lambda: stack.chat(key["key"], MODEL).status_code == 200, "what cannot be looked up is served")
        assert unknown() >= 1 and len(said("librechat_balances_lost")) == 1
    finally:
        stack.processes["mongo"].start()
        stack.await_ready()
    eventually(lambda: stack.chat(key["key"], MODEL).status_code == 429, "balances that are read again")
    eventually(lambda: len(said("librechat_balances_found")) == 1, "the line that says so")
