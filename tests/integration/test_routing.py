"""Routes with several targets, set up over the API and asked by callers: weights, failover, credentials, and a relay that dies between attempts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from harness.ports import eventually
from harness.rpc import RpcClient, as_dict
from harness.suite import Suite, base62

PROVIDERS = "apirelay.relay.v1.ProviderService"


def await_admin(suite: Suite) -> None:
    """Until admin-gw has a connection to a relay that has just begun."""
    eventually(lambda: suite.admin("GET", "/admin/providers").status_code == 200, "admin-gw has found the relay")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    settings = {"CREDENTIAL_SECOND": "sk-second-provider-key", "BREAKER_FAILURES": "3", "BREAKER_OPEN": "500ms"}
    suite = Suite(tmp_path_factory.mktemp("routing"), relay_settings=settings).start()
    await_admin(suite)
    yield suite
    statuses = suite.stop()
    assert statuses["relay"] == 0


@pytest.fixture(scope="module")
def admin(suite: Suite) -> Iterator[RpcClient]:
    with suite.rpc("relay", suite.admin_key) as client:
        yield client


@pytest.fixture(scope="module")
def key(suite: Suite) -> str:
    return str(suite.make_key()["key"])


def make_provider(suite: Suite, **fields: Any) -> str:
    """Over REST."""
    provider = {"name": f"p-{base62(6).lower()}", "kind": "openai", "baseUrl": f"{suite.upstream_url}/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    answer = suite.admin("POST", "/admin/providers", json={**provider, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["provider"]["name"])


def make_route(suite: Suite, key: str, *targets: dict[str, Any]) -> str:
    model = f"m-{base62(6).lower()}"
    answer = suite.admin("POST", "/admin/models", json={"model": model, "targets": list(targets)})
    assert answer.status_code == 200, answer.text
    assert [t["provider"] for t in answer.json()["modelRoute"]["targets"]] == [t["provider"] for t in targets]
    eventually(lambda: model in {m["id"] for m in suite.get("/v1/models", key).json()["data"]}, "the route")
    return model


def last_models(suite: Suite, text: str) -> list[str]:
    """Of the requests with this text, in the order in which they came."""
    return [json.loads(r["body"])["model"] for r in suite.upstream_log() if text in r["body"]]


def test_a_route_comes_back_from_the_api_as_it_was_given(suite: Suite, admin: RpcClient, key: str) -> None:
    provider = make_provider(suite, moreCredentials=["env:RELAY_CREDENTIAL_SECOND"])
    target = {
        "provider": provider, "upstreamModel": "gpt-4o", "weight": 7, "tier": 2, "maxRetries": 3,
        "connectTimeoutMs": 1, "firstByteTimeoutMs": 2, "idleTimeoutMs": 3, "totalTimeoutMs": 4,
    }
    model = make_route(suite, key, target, {"provider": provider})
    routes = {r.model: as_dict(r) for r in admin.call(f"{PROVIDERS}/ListModelRoutes", {"pageSize": 500}).model_routes}
    kept = routes[model]["targets"][0]
    assert {name: type(value)(kept[name]) for name, value in target.items()} == target
    assert suite.shown(f"/admin/providers/{provider}")["provider"]["moreCredentials"] == ["env:RELAY_CREDENTIAL_SECOND"]


BAD_TARGETS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "none": ([], "modelRoute.targets"),
    "too many": ([{"provider": "scripted", "upstreamModel": f"m{i}"} for i in range(33)], "modelRoute.targets"),
    "twice the same": ([{"provider": "scripted"}, {"provider": "local"}, {"provider": "scripted"}], "modelRoute.targets[2]"),
    "a provider that does not exist": ([{"provider": "scripted"}, {"provider": "nobody"}], "targets[1].provider"),
    "a weight": ([{"provider": "scripted"}, {"provider": "local", "weight": 1001}], "modelRoute.targets[1].weight"),
    "a tier": ([{"provider": "scripted", "tier": -1}], "modelRoute.targets[0].tier"),
    "retries": ([{"provider": "scripted", "maxRetries": 6}], "modelRoute.targets[0].maxRetries"),
    "a timeout": ([{"provider": "scripted", "idleTimeoutMs": -1}], "modelRoute.targets[0].idleTimeoutMs"),
}


@pytest.mark.parametrize("case", BAD_TARGETS, ids=str)
def test_a_route_that_breaks_the_rules_is_refused_by_field(suite: Suite, case: str) -> None:
    targets, field = BAD_TARGETS[case]
    answer = suite.admin("POST", "/admin/models", json={"model": "never", "targets": targets})
    assert answer.status_code == 400, answer.text
    violations = answer.json()["error"]["details"][0]["fieldViolations"]
    assert violations[0]["field"].removeprefix("modelRoute.") == field.removeprefix("modelRoute."), violations


def test_every_mistake_is_a_violation_of_its_own(suite: Suite) -> None:
    """Not one that is named and others in the text of its message."""
    wrong = {
        "POST /admin/providers": ({"name": "A B", "kind": "pigeon", "baseUrl": "ftp://x"}, {"name", "kind", "baseUrl"}),
        "POST /admin/models": ({"targets": [{"weight": -1}]}, {"model", "targets[0].provider", "targets[0].weight"}),
        "PUT /admin/prices": ({"prices": [{"model": "a", "promptPerMillionNanoUsd": -1}, {}]}, {"prices[0].promptPerMillionNanoUsd", "prices[1].model"}),
    }
    for route, (body, fields) in wrong.items():
        answer = suite.admin(*route.split(), json=body)
        assert answer.status_code == 400, answer.text
        violations = answer.json()["error"]["details"][0]["fieldViolations"]
        assert fields <= {v["field"] for v in violations}, (route, violations)
        assert not any("; " in v["description"] for v in violations), violations


def test_a_price_book_is_not_emptied_by_a_body_that_says_nothing(suite: Suite) -> None:
    before = suite.shown("/admin/prices")
    for body in ({}, {"note": "why"}, {"prices": []}):
        answer = suite.admin("PUT", "/admin/prices", json=body)
        assert answer.status_code == 400 and answer.json()["error"]["details"][0]["fieldViolations"][0]["field"] == "prices", answer.text
    assert suite.shown("/admin/prices") == before


def test_more_credentials_do_not_follow_a_provider_to_another_host(suite: Suite, admin: RpcClient) -> None:
    name = make_provider(suite, moreCredentials=["env:RELAY_CREDENTIAL_SECOND"])
    moved = {"baseUrl": "http://127.0.0.2:1/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    with pytest.raises(grpc.RpcError) as e:
        admin.call(f"{PROVIDERS}/UpdateProvider", {"name": name, "provider": moved, "updateMask": "baseUrl,credential"})
    assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "baseUrl" in e.value.details()  # type: ignore[attr-defined]
    moved["moreCredentials"] = ["env:RELAY_CREDENTIAL_SECOND"]  # type: ignore[assignment]
    admin.call(f"{PROVIDERS}/UpdateProvider", {"name": name, "provider": moved, "updateMask": "baseUrl,credential,moreCredentials"})


def test_a_tier_is_shared_by_weight(suite: Suite, key: str) -> None:
    provider = make_provider(suite)
    model = make_route(
        suite, key, {"provider": provider, "upstreamModel": "gpt-4o", "weight": 3}, {"provider": provider, "upstreamModel": "gpt-4o-mini", "weight": 1},
        {"provider": provider, "upstreamModel": "gpt-4.1", "tier": 1, "weight": 1000},
    )
    text = f"weights {base62(8)}"
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: suite.chat(key, model, text).status_code, range(200))) == {200}
    counts = Counter(last_models(suite, text))
    assert counts.keys() == {"gpt-4o", "gpt-4o-mini"} and 115 <= counts["gpt-4o"] <= 180, counts


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_retry_and_then_the_next_target_make_one_answer_and_one_row(suite: Suite, key: str, stream: bool) -> None:
    provider = make_provider(suite)
    model = make_route(
        suite, key, {"provider": provider, "upstreamModel": f"gpt-4o-mini+fail-status-503+{stream}", "maxRetries": 1},
        {"provider": "scripted", "upstreamModel": "gpt-4o-mini", "tier": 1},
    )
    text = f"retries {base62(8)}"
    answer = suite.chat(key, model, text, stream=stream)
    assert answer.status_code == 200 and answer.headers["x-relay-attempts"] == "3"
    assert last_models(suite, text) == [f"gpt-4o-mini+fail-status-503+{stream}"] * 2 + ["gpt-4o-mini"]
    row = suite.row(answer.headers["x-request-id"])
    assert (row["provider"], row["upstreamModel"], row["attempts"], row["outcome"]) == ("scripted", "gpt-4o-mini", 3, "complete")
    assert row["request"]["model"] == model and row["billingBasis"] == "reported" and row["usage"]["costNanoUsd"] > 0


def test_other_dialects_stand_by_for_each_other(suite: Suite, key: str) -> None:
    fails, text = "+fail-status-500", f"dialects {base62(8)}"
    model = make_route(
        suite, key, {"provider": "anthropic", "upstreamModel": f"claude-sonnet-4-6{fails}"}, {"provider": "google", "upstreamModel": f"gemini-2.5-flash{fails}", "tier": 1},
        {"provider": "local", "upstreamModel": f"llama-3{fails}", "tier": 2}, {"provider": "librechat", "upstreamModel": "agent_echo", "tier": 3},
    )
    answer = suite.chat(key, model, text)
    assert answer.status_code == 200 and answer.headers["x-relay-attempts"] == "4"
    assert text in answer.json()["choices"][0]["message"]["content"] and answer.json()["model"] == model


def test_credentials_take_turns_and_one_that_is_limited_rests(suite: Suite, key: str) -> None:
    provider = make_provider(suite, moreCredentials=["env:RELAY_CREDENTIAL_SECOND"])
    model = make_route(suite, key, {"provider": provider, "upstreamModel": "gpt-4o-mini"})
    text = f"credentials {base62(8)}"
    for _ in range(4):
        assert suite.chat(key, model, text).status_code == 200
    used = Counter(dict(r["headers"])["authorization"] for r in suite.upstream_log() if text in r["body"])
    assert used == {"Bearer sk-scripted-provider-key": 2, "Bearer sk-second-provider-key": 2}


def test_a_breaker_opens_refuses_and_closes_again(suite: Suite, key: str) -> None:
    failing = f"gpt-4o-mini+fail-first-3+{base62(6)}"
    model = make_route(suite, key, {"provider": "scripted", "upstreamModel": failing})
    assert [suite.chat(key, model).status_code for _ in range(3)] == [503] * 3
    refused = suite.chat(key, model)
    assert refused.status_code == 503 and "is failing" in refused.text and refused.headers["retry-after"] == "1"
    eventually(lambda: suite.chat(key, model).status_code == 200, "one request is let through")
    assert suite.chat(key, model).status_code == 200

    def changes() -> list[str]:
        lines = [line for line in suite.path("log", "relay.log").read_text().splitlines() if failing in line and '"event.action":"breaker_' in line]
        return [json.loads(line)["event.action"] for line in lines]

    eventually(lambda: changes() == ["breaker_opened", "breaker_closed"], "one change of each kind in the log")


def test_a_key_needs_the_targets_model_too(suite: Suite, key: str) -> None:
    model = make_route(suite, key, {"provider": "scripted", "upstreamModel": "gpt-4o"})
    only_name = suite.make_key(permissions={"models": [model]})["key"]
    both = suite.make_key(permissions={"models": [model, "gpt-4*"]})["key"]
    assert suite.chat(only_name, model).status_code == 404 and suite.chat(both, model).status_code == 200


def try_model(suite: Suite, model: str, every_target: bool = False) -> dict[str, Any]:
    answer = suite.admin("POST", "/admin/models/try", json={"model": model, "everyTarget": every_target})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_route_is_tried_step_by_step(suite: Suite, key: str) -> None:
    model = make_route(
        suite, key, {"provider": "refused"}, {"provider": "scripted", "upstreamModel": "gpt-4o+fail-status-429", "tier": 1},
        {"provider": "scripted", "upstreamModel": "gpt-4o+fail-html", "tier": 2}, {"provider": "anthropic", "upstreamModel": "claude-sonnet-4-6", "tier": 3},
        {"provider": "google", "upstreamModel": "gemini-2.5-flash", "tier": 4},
    )
    tried = try_model(suite, model)
    steps = tried["steps"]
    assert tried["route"] == model and tried["answered"] is True
    assert [s.get("errorCode", "") for s in steps] == ["upstream_unavailable", "upstream_rate_limited", "upstream_invalid_response", ""]
    assert [s.get("status", 0) for s in steps] == [0, 429, 200, 200]
    good = steps[-1]
    assert good["provider"] == "anthropic" and good["upstreamModel"] == "claude-sonnet-4-6" and good["url"] == f"{suite.url_of('anthropic')}/v1/messages"
    assert "ok" in good["text"] and good["finishReason"] == "stop" and good["promptTokens"] > 0 and good["completionTokens"] > 0
    assert str(suite.port["nobody"]) in steps[0]["errorMessage"]
    assert not any(secret in json.dumps(tried) for secret in ("sk-scripted", "sk-ant"))
    assert [s["provider"] for s in try_model(suite, model, every_target=True)["steps"]][3:] == ["anthropic", "google"]
    after = suite.chat(key, model)  # events are claimed in order: one of a trial would be there before this one's
    suite.row(after.headers["x-request-id"])
    assert [row["requestId"] for row in suite.rows(**{"request.model": model})] == [after.headers["x-request-id"]]


def test_a_trial_stands_in_the_audit_log(suite: Suite, key: str) -> None:
    model = make_route(suite, key, {"provider": "refused"}, {"provider": "scripted", "upstreamModel": "gpt-4o", "tier": 1})
    try_model(suite, model)
    result, intent = suite.shown(f"/admin/audit?action=model_route.try&target={model}")["entries"]
    assert (intent["phase"], json.loads(intent["payloadJson"])) == ("intent", {"model": model, "everyTarget": False})
    assert (result["phase"], result["outcome"], json.loads(result["payloadJson"])) == ("result", "ok", {"answered": True, "steps": 2})


@pytest.mark.parametrize("base", ["http://10.0.0.1", "http://10.0.0.1:8080", "http://[fd00::1]", "https://[fd00::1]:8443"])
def test_a_step_shows_the_url_that_is_asked(suite: Suite, key: str, base: str) -> None:
    [step] = try_model(suite, make_route(suite, key, {"provider": make_provider(suite, baseUrl=f"{base}/v1")}))["steps"]
    assert (step["url"], step["errorCode"]) == (f"{base}/v1/chat/completions", "upstream_address_refused")


def test_a_trial_needs_a_route_and_an_admin(suite: Suite, key: str) -> None:
    for body, status in (({"model": "nothing-like-it"}, 404), ({}, 400), ({"model": "x" * 300}, 400)):
        answer = suite.admin("POST", "/admin/models/try", json=body)
        assert answer.status_code == status and "model" in answer.text, answer.text
    assert suite.admin("POST", "/admin/models/try", json={"model": "gpt-4o"}, credential=key).status_code == 401


def test_a_trial_tells_of_breakers_and_asks_all_the_same(suite: Suite, key: str) -> None:
    failing = f"gpt-4o-mini+fail-status-500+{base62(6)}"
    model = make_route(suite, key, {"provider": "scripted", "upstreamModel": failing})
    eventually(lambda: "is failing" in suite.chat(key, model).text, "the breaker is open")
    step = try_model(suite, model)["steps"][0]
    assert step["breakerOpen"] is True and step["status"] == 500 and step["errorCode"] == "upstream_error"


def test_a_trial_of_a_silent_provider_ends_before_the_call_does(suite: Suite, key: str) -> None:
    model = make_route(suite, key, {"provider": "scripted", "upstreamModel": "gpt-4o+fail-stall", "firstByteTimeoutMs": 200}, {"provider": "scripted", "upstreamModel": "gpt-4o"})
    codes = [s.get("errorCode", "") for s in try_model(suite, model, every_target=True)["steps"]]
    assert codes == ["upstream_timeout", ""]


def test_a_relay_killed_in_the_second_attempt_leaves_a_row_of_that_attempt(suite: Suite, key: str) -> None:
    second = make_provider(suite)
    model = make_route(
        suite, key, {"provider": "scripted", "upstreamModel": "gpt-4o-mini+fail-status-500"}, {"provider": second, "upstreamModel": "gpt-4o-mini+slow-200+long-50", "tier": 1}
    )
    with httpx.stream("POST", f"{suite.relay_url}/v1/chat/completions", headers={"Authorization": f"Bearer {key}"}, verify=suite.verify, timeout=30,
                      json={"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}) as answer:
        assert answer.status_code == 200 and answer.headers["x-relay-attempts"] == "2"
        request_id = answer.headers["x-request-id"]
        chunks = answer.iter_bytes()  # whoever drops it hangs up
        next(chunks)
        suite.processes["relay"].kill()
    suite.processes["relay"].start()
    suite.await_ready("relay")
    await_admin(suite)
    row = suite.row(request_id)
    assert (row["outcome"], row["provider"], row["attempts"], row["billingBasis"]) == ("interrupted", second, 2, "estimated")
    assert row["usage"]["costNanoUsd"] > 0


def test_a_budget_pays_for_the_dearest_target_or_for_the_first_one_only(suite: Suite, key: str) -> None:
    """gpt-4o-mini costs 600 nano-USD a token, claude-opus-4-6 25,000: 1,000 tokens of it do not fit into this budget."""
    model = make_route(
        suite, key, {"provider": "scripted", "upstreamModel": "gpt-4o-mini+fail-status-500+budget"}, {"provider": "anthropic", "upstreamModel": "claude-opus-4-6", "tier": 1}
    )
    poor, rich = (suite.make_key(limits={"costLimitNanoUsd": str(nano)})["key"] for nano in (5_000_000, 1_000_000_000))
    answer = suite.chat(rich, model, max_tokens=1000)
    assert answer.status_code == 200 and answer.headers["x-relay-attempts"] == "2"
    answer = suite.chat(poor, model, max_tokens=1000)
    assert answer.status_code == 502 and answer.headers["x-relay-attempts"] == "1"
    row = suite.row(answer.headers["x-request-id"])
    assert row["usage"]["costNanoUsd"] == 0 and row["provider"] == "scripted"
    assert suite.chat(poor, "gpt-4o-mini", max_tokens=1000).status_code == 200


def test_a_provider_whose_credential_is_missing_is_reported_and_others_go_on(suite: Suite, key: str) -> None:
    without = make_provider(suite, credential="env:RELAY_CREDENTIAL_NOBODY_SET")
    alone = make_route(suite, key, {"provider": without, "upstreamModel": "gpt-4o-mini"})
    model = make_route(suite, key, {"provider": without, "upstreamModel": "gpt-4o-mini"}, {"provider": "scripted", "upstreamModel": "gpt-4o-mini", "tier": 1})
    refused = suite.chat(key, alone)
    assert refused.status_code == 503 and f"the provider {without} is not set up" in refused.text
    answer = suite.chat(key, model)
    assert answer.status_code == 200 and answer.headers["x-relay-attempts"] == "1"
    assert suite.row(answer.headers["x-request-id"])["provider"] == "scripted"
    log = suite.path("log", "relay.log").read_text()
    assert f"provider {without}: credential missing" in log
