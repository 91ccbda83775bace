"""The limits of a key, on two relays, with real stores: never over, exact at rest, and what callers are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from harness.ledgers import await_rest, ledger, ledger_of, rows_of
from harness.ports import eventually
from harness.suite import NO_TLS, Suite

CALLERS = 24
WORDS = 20  # what an answer is cut to, and so bills as its hold says
LEDGER_OPEN_S = 30.0  # quarantine of a new Redis and the build-up from usage


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("limits"), replicas=True).start()
    yield stack
    statuses = stack.stop()
    assert all(status == 0 for name, status in statuses.items() if name.startswith(("auth", "usage", "relay"))), statuses


def urls(suite: Suite) -> list[str]:
    return [suite.relay_url, f"http://127.0.0.1:{suite.port['http_relay-2']}"]


def ask(client: httpx.Client, url: str, key: str, **body: Any) -> httpx.Response:
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}], **body}
    return client.post(url + "/v1/chat/completions", json=request, headers={"Authorization": f"Bearer {key}"})


def flood(suite: Suite, key: str, count: int, meanwhile: Callable[[], None] = lambda: None, **body: Any) -> list[httpx.Response]:
    """`count` calls by many callers on both relays; those that a relay did not live to answer are left out."""
    answers: list[httpx.Response] = []
    numbers = iter(range(count))
    lock = threading.Lock()

    def run(url: str) -> None:
        with httpx.Client(timeout=60, verify=NO_TLS) as client:
            while True:
                with lock:
                    if next(numbers, None) is None:
                        return
                try:
                    answer = ask(client, url, key, **body)
                except httpx.TransportError:
                    continue
                with lock:
                    answers.append(answer)

    threads = [threading.Thread(target=run, args=(urls(suite)[i % 2],)) for i in range(CALLERS)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    return answers


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status_code] = found.get(answer.status_code, 0) + 1
    return found


def test_requests_a_day_are_sold_to_the_last_one_and_no_further(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 60})
    answers = flood(suite, key["key"], 150)
    found = statuses(answers)
    assert set(found) <= {200, 429}, [a.text for a in answers if a.status_code not in (200, 429)][:3]
    assert 59 <= found[200] <= 60, found
    assert await_rest(suite, key, 0) == found[200]
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) > 0 and refused.headers["x-should-retry"] == "false"


def test_a_budget_is_never_overspent_by_many_callers_on_two_relays(suite: Suite) -> None:
    hold_tokens = 9 + WORDS  # of the estimate of "Hello there", and the ceiling
    key = suite.make_key(limits={"tokensPerDay": 60 * hold_tokens})
    answers = flood(suite, key["key"], 200, model="gpt-4o-mini+long-100", max_tokens=WORDS)
    found = statuses(answers)
    assert set(found) == {200, 429}, found
    spent = sum(a.json()["usage"]["total_tokens"] for a in answers if a.status_code == 200)
    assert await_rest(suite, key, 1) == spent
    assert 0.9 * 60 * hold_tokens <= spent <= 60 * hold_tokens


def test_a_cost_limit_is_a_quota_and_ends_in_shorter_answers(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 0.0001})  # 100,000 nano-USD; gpt-4o-mini: 600 a token
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        first = ask(client, suite.relay_url, key["key"], model="gpt-4o-mini+long-5000", max_tokens=4000)
        assert first.status_code == 200, first.text
        assert first.json()["choices"][0]["finish_reason"] == "length"
        answers = [ask(client, suite.relay_url, key["key"], model="gpt-4o-mini+long-5000", max_tokens=4000) for _ in range(4)]
    refused = answers[-1]
    assert refused.status_code == 429, refused.text
    assert refused.json()["error"]["type"] == "insufficient_quota" and refused.headers["x-should-retry"] == "false"
    assert await_rest(suite, key, 3) <= 100_000


def test_every_completion_of_every_prompt_is_held(suite: Suite) -> None:
    key = suite.make_key(limits={"tokensPerDay": 250})
    with httpx.Client(timeout=60, verify=NO_TLS, headers={"Authorization": f"Bearer {key['key']}"}) as client:
        asked = {"model": "gpt-4o-mini+long-500", "prompt": ["a"] * 10, "max_tokens": 50}
        best = client.post(suite.relay_url + "/v1/completions", json={**asked, "best_of": 2})
        assert best.status_code == 429 and best.json()["error"]["param"] == "limits.tokensPerDay", best.text
        assert "the whole limit of this API key is 250 tokens per day" in best.json()["error"]["message"], best.text
        assert "retry-after" not in best.headers and best.headers["x-should-retry"] == "false"
        answer = client.post(suite.relay_url + "/v1/completions", json=asked)
    assert answer.status_code == 200 and len(answer.json()["choices"]) == 10, answer.text
    assert 10 * 16 <= answer.json()["usage"]["completion_tokens"] <= 250  # shorter ones, as the limit pays for no more
    assert await_rest(suite, key, 1) <= 250
    row = rows_of(suite, key)[0]
    assert not row.get("ceilingIgnored"), row


def test_requests_a_minute_refill_and_the_headers_say_so(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerMinute": 20})
    start = time.monotonic()
    answers = flood(suite, key["key"], 60)
    seconds = time.monotonic() - start
    found = statuses(answers)
    assert set(found) == {200, 429}, found
    assert 15 <= found[200] <= 20 + seconds / 3 + 1, (found, seconds)
    good, refused = (next(a for a in answers if a.status_code == s) for s in (200, 429))
    assert good.headers["x-ratelimit-limit-requests"] == "20" and int(good.headers["x-ratelimit-remaining-requests"]) < 20
    assert 1 <= int(refused.headers["retry-after"]) <= 4 and "x-should-retry" not in refused.headers
    shown = suite.get("/v1/usage", key["key"]).json()
    assert int(shown["limits"]["requestsPerMinute"]) == 20


def test_answers_that_hold_nothing_have_the_headers_of_limits_too(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 20, "tokensPerDay": 100_000})
    names = [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]
    fresh = suite.chat(key["key"], model="no-such-model")
    assert fresh.status_code == 404 and fresh.headers["x-ratelimit-limit-requests"] == "20"  # this relay knows no more
    good = suite.chat(key["key"])
    assert good.status_code == 200 and good.headers["x-ratelimit-remaining-requests"] == "19"
    answers = {
        400: suite.post("/v1/chat/completions", key["key"], content=b"{"),
        404: suite.chat(key["key"], model="no-such-model"),
        413: suite.post("/v1/chat/completions", key["key"], content=b" " * (5 << 20)),
        405: suite.get("/v1/embeddings", key["key"]),
        200: suite.get("/v1/models", key["key"]),
    }
    assert {answer.status_code for answer in answers.values()} == set(answers)
    assert "x-ratelimit-limit-requests" not in answers.pop(405).headers  # asked of nobody: whose key it is was not looked at
    for answer in answers.values():
        told = [answer.headers.get(name) for name in names]
        assert told[:2] == ["20", "19"] and told[3:5] == ["100000", good.headers["x-ratelimit-remaining-tokens"]], (answer.url, told)
        assert told[2] and told[5]
    usage = suite.get("/v1/usage", key["key"])
    left = {state["name"]: str(state["left"]) for state in usage.json()["limitStates"]}
    assert left == {"requestsPerDay": "19", "tokensPerDay": usage.headers["x-ratelimit-remaining-tokens"]}


def test_a_hot_key_with_every_limit_costs_hardly_a_command_to_redis(suite: Suite) -> None:
    """Counted over both relays, once their grants have the size of the traffic; hundred keys and cold ones: grant_use_test.c."""
    limits = {"requestsPerMinute": 10**6, "requestsPerDay": 10**6, "tokensPerDay": 10**9, "tokensPerMonth": 10**9, "costLimit": 1000, "requestsInFlight": 500}
    key, requests = suite.make_key(limits=limits), 1000

    def commands() -> float:
        return sum(suite.metric(relay, 'relay_ledger_commands_total{command="state"}') for relay in ("relay", "relay-2"))

    assert statuses(flood(suite, key["key"], requests)) == {200: requests}

    def each() -> float:
        before = commands()
        assert statuses(flood(suite, key["key"], 2 * requests)) == {200: 2 * requests}
        return (commands() - before) / (2 * requests)

    # a relay that gets no processor for a second gives back what it has and has to buy again
    assert any(each() <= 0.1 for _ in range(3))


def test_the_greatest_limits_are_held_as_they_are_stored(suite: Suite) -> None:
    most = {"requestsPerMinute": 10**8, "requestsPerDay": 10**15, "tokensPerDay": 10**15, "tokensPerMonth": 10**15, "requestsInFlight": 10**15}
    key = suite.make_key(limits={**most, "costLimitNanoUsd": "9007199000000000"})["key"]
    assert suite.chat(key).status_code == 200
    states = suite.get("/v1/usage", key).json()["limitStates"]
    assert {state["name"]: state["limit"] for state in states} == {**most, "costLimitNanoUsd": 9007199000000000}


def test_requests_in_flight_stay_within_the_limit_on_two_relays(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsInFlight": 4})
    httpx.delete(suite.upstream_url + "/_stats", timeout=30)
    answers: list[httpx.Response] = []

    def slots_were_used_again() -> bool:
        answers.extend(flood(suite, key["key"], 80, model="gpt-4o-mini+slow-200"))
        return statuses(answers)[200] >= 8 and suite.upstream_stats()["most_in_flight"] >= 3

    eventually(slots_were_used_again, "most of the slots, each of them more than once")
    found, stats = statuses(answers), suite.upstream_stats()
    assert set(found) == {200, 429}, found
    assert stats["most_in_flight"] <= 4 and stats["requests"] == found[200], (stats, found)
    refused = next(a for a in answers if a.status_code == 429)
    error = refused.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("rate_limit_exceeded", "rate_limit_error", "limits.requestsInFlight")
    assert refused.headers["retry-after"] == "1" and "x-should-retry" not in refused.headers
    eventually(lambda: (there := ledger(suite, key)).is_there and (there.live, there.slots) == (0, 0), f"no slot left: {ledger(suite, key)}")


def test_slots_of_a_relay_that_is_killed_are_free_when_it_is_back(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsInFlight": 3})

    def kill() -> None:
        eventually(lambda: ledger(suite, key).slots > 0 and suite.upstream_stats()["in_flight"] > 0, "requests under way")
        suite.restart("relay-2", kill=True)

    flood(suite, key["key"], 3, meanwhile=kill, model="gpt-4o-mini+slow-3000")  # on both relays, until it is seen
    eventually(lambda: (there := ledger(suite, key)).is_there and (there.live, there.slots) == (0, 0), f"no slot left: {ledger(suite, key)}")
    assert statuses(flood(suite, key["key"], 3, model="gpt-4o-mini+slow-100")) == {200: 3}


def set_shared(suite: Suite, kind: str, name: str, **limits: Any) -> None:
    answer = suite.admin("PUT", f"/admin/limits/{kind}/{name}", json={"limits": limits})
    assert answer.status_code == 200, answer.text


def states_of(suite: Suite, key: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Where the limits stand, by level and name; numbers as numbers."""
    shown = suite.get("/v1/usage", key["key"])
    assert shown.status_code == 200, shown.text
    numbers = ("limit", "used", "held", "left")
    return {(s["level"], s["name"]): {k: int(v) if k in numbers else v for k, v in s.items()} for s in shown.json()["limitStates"]}


def test_usage_says_at_once_what_this_relay_has_settled(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 50, "requestsPerMinute": 600, "tokensPerDay": 100_000, "costLimit": 5})
    spent = 0
    for requests in range(1, 6):
        answer = suite.chat(key["key"])
        spent += answer.json()["usage"]["total_tokens"]
        used = {name: state["used"] for (_, name), state in states_of(suite, key).items()}
        assert (used["requestsPerDay"], used["tokensPerDay"]) == (requests, spent) and used["costLimitNanoUsd"] > 0, used
        assert 1 <= used["requestsPerMinute"] <= requests, used  # it refills ten a second


def await_level_rest(suite: Suite, subject: str, window: int, amount: int) -> None:
    eventually(
        lambda: (there := ledger_of(suite, subject)).is_there and there.live == 0 and there.taken[window] == amount,
        f"rest of {subject} at {amount}: {ledger_of(suite, subject)}",
    )


def test_limits_of_two_keys_of_one_client_bind_in_turn(suite: Suite) -> None:
    client, owner = "app-of-two-keys", "0123456789abcdef01234567"
    set_shared(suite, "clients", client, requestsPerDay=50)
    set_shared(suite, "users", owner, tokensPerMonth=10_000_000)
    first = suite.make_key(clientId=client, userId=owner, limits={"requestsPerDay": 30})
    second = suite.make_key(clientId=client, limits={"requestsPerDay": 30})
    answers = flood(suite, first["key"], 60)
    found = statuses(answers)
    assert set(found) == {200, 429} and 29 <= found[200] <= 30, found
    refused = next(a for a in answers if a.status_code == 429).json()["error"]
    assert refused["param"] == "limits.requestsPerDay" and "this API key" in refused["message"], refused
    more = flood(suite, second["key"], 60)
    of_client = statuses(more)
    assert set(of_client) == {200, 429} and found[200] + of_client[200] in (49, 50), (found, of_client)
    refused = next(a for a in more if a.status_code == 429).json()["error"]
    assert refused["param"] == "clientLimits.requestsPerDay" and "the client of this API key" in refused["message"], refused
    # A refusal at the client's ledger has left nothing at the key's.
    assert await_rest(suite, first, 0) == found[200]
    assert await_rest(suite, second, 0) == of_client[200]
    await_level_rest(suite, f"c:{client}", 0, found[200] + of_client[200])
    await_level_rest(suite, f"o:{owner}", 2, sum(row["usage"]["totalTokens"] for row in rows_of(suite, first)))
    for level in ("key", "client"):
        sample = f'relay_ledger_refused_total{{level="{level}",dimension="requestsPerDay"}}'
        assert sum(suite.metric(relay, sample) for relay in ("relay", "relay-2")) > 0, level
    states = states_of(suite, second)
    assert states["client", "requestsPerDay"]["used"] == found[200] + of_client[200]
    assert states["key", "requestsPerDay"]["left"] == 30 - of_client[200]


def test_a_killed_relay_closes_its_positions_at_every_level(suite: Suite) -> None:
    client = "app-of-a-killed-relay"
    set_shared(suite, "clients", client, tokensPerDay=1_000_000)
    key = suite.make_key(clientId=client, limits={"requestsPerDay": 300})

    def kill() -> None:
        eventually(lambda: ledger_of(suite, f"c:{client}").taken[1] > 500, "requests under way")
        suite.restart("relay-2", kill=True)

    flood(suite, key["key"], 200, meanwhile=kill, model="gpt-4o-mini+slow-50")
    await_rest(suite, key, 0)
    await_level_rest(suite, f"c:{client}", 1, sum(row["usage"]["totalTokens"] for row in rows_of(suite, key)))


def test_limits_that_were_lifted_come_back_with_what_was_used_meanwhile(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 10})
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        assert ask(client, suite.relay_url, key["key"]).status_code == 200
        await_rest(suite, key, 0)
        assert suite.admin("PATCH", f"/admin/api-keys/{key['id']}", json={"limits": {"requestsPerDay": None}}).status_code == 200
        eventually(lambda: "x-ratelimit-limit-requests" not in ask(client, suite.relay_url, key["key"]).headers, "no limits")
        assert all(ask(client, suite.relay_url, key["key"]).status_code == 200 for _ in range(10))
        assert suite.admin("PATCH", f"/admin/api-keys/{key['id']}", json={"limits": {"requestsPerDay": 10}}).status_code == 200
        eventually(lambda: ask(client, suite.relay_url, key["key"]).status_code == 429, "refused")


def test_a_key_sees_where_its_limits_stand(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 100, "tokensPerMonth": 100_000, "costLimit": 1, "requestsPerMinute": 600, "requestsInFlight": 5})
    before = states_of(suite, key)
    names = {"requestsPerDay", "tokensPerMonth", "costLimitNanoUsd", "requestsPerMinute", "requestsInFlight"}
    assert set(before) == {("key", name) for name in names}
    assert before["key", "costLimitNanoUsd"]["limit"] == before["key", "costLimitNanoUsd"]["left"] == 10**9
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        answer = ask(client, suite.relay_url, key["key"])
        assert answer.status_code == 200
    await_rest(suite, key, 0)
    after = states_of(suite, key)
    for state in after.values():
        assert state["used"] + state["held"] + state["left"] == state["limit"], state
    tokens = answer.json()["usage"]["total_tokens"]
    assert after["key", "tokensPerMonth"]["used"] == tokens and after["key", "tokensPerMonth"]["held"] == 0
    assert after["key", "requestsPerDay"]["left"] == 99 and after["key", "requestsInFlight"]["left"] == 5
    assert after["key", "requestsPerDay"]["resetsAt"].endswith("T00:00:00.000Z") and "-01T00:00:00.000Z" in after["key", "tokensPerMonth"]["resetsAt"]
    assert "resetsAt" not in after["key", "requestsInFlight"]
    held = threading.Thread(target=lambda: suite.chat(key["key"], "gpt-4o-mini+slow-1500"))
    held.start()
    eventually(lambda: states_of(suite, key)["key", "requestsInFlight"]["held"] == 1, "one in flight")
    assert states_of(suite, key)["key", "tokensPerMonth"]["held"] > 0
    held.join()
    with suite.rpc("usage", key["key"]) as rpc:
        own = rpc.call("apirelay.usage.v1.UsageService/GetOwnUsage")
    assert {(s.level, s.name) for s in own.limit_states} == {("key", n) for n in ("requestsPerDay", "tokensPerMonth", "costLimitNanoUsd")}


def test_a_relay_that_is_killed_closes_its_positions_when_it_is_back(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 300, "tokensPerDay": 1_000_000})

    def kill() -> None:
        eventually(lambda: ledger(suite, key).taken[0] > 40, "requests under way")
        suite.restart("relay-2", kill=True)

    found = statuses(flood(suite, key["key"], 400, meanwhile=kill, model="gpt-4o-mini+slow-50"))
    assert found[200] <= 300, found
    used = await_rest(suite, key, 0)
    assert found[200] <= used <= 300
    await_rest(suite, key, 1)


def test_a_redis_that_lost_everything_gives_nobody_a_second_budget(suite: Suite) -> None:
    key = suite.make_key(limits={"requestsPerDay": 40})
    first = statuses(flood(suite, key["key"], 25))
    assert first[200] == 25, first
    suite.redis().flushall()
    found = statuses(flood(suite, key["key"], 60))
    assert found[200] + first[200] <= 40, (first, found)
    assert found[200] + first[200] >= 39, (first, found)
    await_rest(suite, key, 0)


def test_a_redis_that_may_evict_ledgers_makes_a_relay_unready(suite: Suite) -> None:
    suite.redis().config_set("maxmemory-policy", "allkeys-lru")
    try:
        suite.processes["relay-2"].stop()
        suite.processes["relay-2"].start()
        answer = eventually(lambda: (a := httpx.get(suite.ops_url("relay-2"), timeout=30)).status_code == 503 and "maxmemory-policy" in a.text and a, "unready")
        assert "noeviction" in answer.text
    finally:
        suite.redis().config_set("maxmemory-policy", "noeviction")
    suite.restart("relay-2")
    eventually(lambda: httpx.get(suite.ops_url("relay-2"), timeout=30).status_code == 200, "ready")


def test_a_provider_that_ignores_its_ceiling_is_flagged(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 1})
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        answer = ask(client, suite.relay_url, key["key"], model="gpt-4o-mini+reasoning-500", max_tokens=20)
        assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] > 20, answer.text
    row = eventually(lambda: rows_of(suite, key), "its row")[0]
    assert row["ceilingIgnored"] is True
    await_rest(suite, key, 3)


def test_without_redis_keys_with_windows_wait_and_others_are_served(suite: Suite) -> None:
    limited = suite.make_key(limits={"tokensPerMonth": 1_000_000})
    paced = suite.make_key(limits={"requestsPerMinute": 600})
    free = suite.make_key()
    with httpx.Client(timeout=60, verify=NO_TLS) as client:
        for key in (limited, paced, free):
            assert ask(client, suite.relay_url, key["key"]).status_code == 200
        suite.processes["redis"].kill()
        eventually(lambda: ask(client, suite.relay_url, limited["key"]).status_code == 503, "refused")
        refused = ask(client, suite.relay_url, limited["key"])
        assert refused.json()["error"]["code"] == "service_unavailable"
        assert ask(client, suite.relay_url, free["key"]).status_code == 200
        served = [eventually(lambda: (answer := ask(client, suite.relay_url, paced["key"])).status_code == 200 and answer, "local rate") for _ in range(3)]
        suite.processes["redis"].start()
        eventually(lambda: ask(client, suite.relay_url, limited["key"]).status_code == 200, "served again")
    rows = suite.rows_of({str(number): answer for number, answer in enumerate(served)})
    assert all(abs((row["timestamp"] - datetime.now(timezone.utc)).total_seconds()) < 120 for row in rows.values()), rows
    await_rest(suite, limited, 2)
