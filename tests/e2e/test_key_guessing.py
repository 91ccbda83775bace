"""Guessing keys: unknown and wrong look and cost the same, and a flood of invalid keys costs auth nothing. Work is counted, not timed."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from harness.api_keys import tagged, unknown_key, with_a_bad_tag, with_another_secret
from harness.rpc import RpcClient
from harness.suite import NO_TLS, Suite, base62

TRIES = 20
FLOOD = 400
SECRETS_OF_A_KEY = 5  # the current one and four in their grace
WORK = ("auth_key_reads_total", "auth_verifiers_compared_total", 'auth_argon2_runs_total{what="verify"}', 'auth_argon2_runs_total{what="hash"}',
        'auth_resolves_total{outcome="unknown"}', 'auth_resolves_total{outcome="found"}')


def work_of(suite: Suite) -> dict[str, float]:
    samples = dict(line.rsplit(" ", 1) for line in httpx.get(suite.ops_url("auth", "/metrics"), timeout=30, verify=NO_TLS).text.splitlines() if line[0] != "#")
    return {name: float(samples.get(name, 0)) for name in WORK}


def added(suite: Suite, act: Callable[[], None]) -> list[float]:
    before = work_of(suite)
    act()
    after = work_of(suite)
    return [after[name] - before[name] for name in WORK]


def look(suite: Suite, key: str) -> tuple[int, str, list[str]]:
    """All that a caller sees, but for what differs in any two answers."""
    answer = suite.get("/v1/models", key)
    return answer.status_code, answer.text, sorted(set(answer.headers) - {"date"})


def guesses(suite: Suite, key: str) -> list[str]:
    return [with_another_secret(suite, key) for _ in range(TRIES)]


@pytest.fixture(scope="module")
def kinds(suite: Suite) -> dict[str, list[str]]:
    """Keys to try, all with a good tag, each of them new to the relay."""
    plain, revoked, graceful = suite.make_key(), suite.make_key(), suite.make_key()
    assert suite.admin("DELETE", f"/admin/api-keys/{revoked['id']}").status_code == 200
    assert suite.admin("POST", f"/admin/api-keys/{graceful['id']}/regenerate", json={"graceSeconds": 600}).status_code == 200
    return {
        "unknown": [unknown_key(suite) for _ in range(TRIES)],
        "wrong secret": guesses(suite, plain["key"]),
        "wrong secret of a revoked key": guesses(suite, revoked["key"]),
        "wrong secret of a key with an older one in its grace": guesses(suite, graceful["key"]),
    }


def test_a_made_up_tag_is_the_right_one(suite: Suite) -> None:
    key = str(suite.make_key()["key"])
    assert tagged(suite, key[:-6]) == key


def test_unknown_and_wrong_cost_the_same_work_and_look_the_same(suite: Suite, kinds: dict[str, list[str]]) -> None:
    seen, work = {}, {}
    for kind, keys in kinds.items():
        looks: list[tuple[int, str, list[str]]] = []
        work[kind] = added(suite, lambda: looks.extend(look(suite, key) for key in keys))
        seen[kind] = looks
    #                      reads  comparisons              Argon2id  unknown found
    expected = [TRIES, TRIES * SECRETS_OF_A_KEY, 0, 0, TRIES, 0]
    assert work == {kind: expected for kind in kinds}
    assert {str(one) for looks in seen.values() for one in looks} == {str(seen["unknown"][0])}
    assert seen["unknown"][0][0] == 401


def test_the_right_key_costs_no_more_than_a_wrong_one(suite: Suite) -> None:
    key = suite.make_key()["key"]
    assert added(suite, lambda: [suite.get("/v1/models", key) for _ in range(3)] and None) == [1, SECRETS_OF_A_KEY, 0, 0, 0, 1]


def test_an_unknown_key_is_asked_for_once_in_a_while(suite: Suite) -> None:
    key = unknown_key(suite)
    assert added(suite, lambda: [suite.get("/v1/models", key) for _ in range(10)] and None)[0] == 1


def invalid_keys(suite: Suite) -> list[str]:
    """All that is no key of ours by its shape or its tag."""
    good = str(suite.make_key()["key"])
    kinds: list[Callable[[], str]] = [
        lambda: with_a_bad_tag(good),
        lambda: with_a_bad_tag(unknown_key(suite)),
        lambda: f"lc_prod_{base62(50)}",  # mostly of peppers that do not exist
        lambda: f"lc_prod_a{base62(49)}",
        lambda: f"lc_x_{base62(50)}",
        lambda: f"lc_prod_{base62(49)}",
        lambda: f"sk-{base62(48)}",
        lambda: "lc_prod_" + "a" * 200,
    ]
    return [kinds[i % len(kinds)]() for i in range(FLOOD)]


def test_a_flood_of_invalid_keys_asks_auth_nothing(suite: Suite, shared_key: str) -> None:
    """Neither a call, nor a read of MongoDB, nor an Argon2id run; those who have a good key are served meanwhile."""
    keys = invalid_keys(suite)
    assert suite.get("/v1/models", shared_key).status_code == 200
    calls = 'rpc_server_calls_total{method="apirelay.auth.v1.KeyAccessService/Resolve",code="OK"}'
    text = httpx.get(suite.ops_url("auth", "/metrics"), timeout=30, verify=NO_TLS).text
    assert re.search(re.escape(calls), text), "the name of the calls' counter"
    before, refused = suite.metric("auth", calls), suite.metric("relay", 'relay_key_lookups_total{result="refused"}')
    statuses: list[int] = []

    def flood() -> None:
        with ThreadPoolExecutor(8) as pool:
            statuses.extend(pool.map(lambda key: suite.get("/v1/models", key).status_code, keys))
        statuses.append(suite.get("/v1/models", shared_key).status_code)

    assert added(suite, flood) == [0] * len(WORK)
    assert statuses == [401] * FLOOD + [200]
    assert suite.metric("auth", calls) == before
    assert suite.metric("relay", 'relay_key_lookups_total{result="refused"}') == refused + FLOOD


@pytest.mark.parametrize(
    ("service", "method"),
    [("relay", "apirelay.relay.v1.ChatService/CreateChatCompletion"), ("usage", "apirelay.usage.v1.UsageService/GetOwnUsage")],
)
def test_over_grpc_a_flood_costs_no_read_either(suite: Suite, service: str, method: str) -> None:
    good = str(suite.make_key()["key"])
    keys = [with_a_bad_tag(good), *(f"lc_prod_a{base62(49)}" for _ in range(49))]
    codes: set[grpc.StatusCode] = set()

    def flood() -> None:
        with suite.rpc(service) as client:
            codes.update(refusal(client, method, key) for key in keys)

    reads, compared, verified, hashed, _, _ = added(suite, flood)
    assert (reads, compared, verified, hashed) == (0, 0, 0, 0)
    assert codes == {grpc.StatusCode.UNAUTHENTICATED}


def refusal(client: RpcClient, method: str, key: str) -> grpc.StatusCode:
    return client.outcome(method, key)
