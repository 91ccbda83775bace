"""What providers, routes and prices may not be, and how all that is wrong with one is told at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from harness.ports import eventually
from harness.suite import Suite

SERVICE = "apirelay.relay.v1.ProviderService"
NOWHERE = "http://127.0.0.1:9"
FIRST, SECOND = "env:RELAY_CREDENTIAL_SCRIPTED", "env:RELAY_CREDENTIAL_GOOGLE"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("input"))
    stack.start()
    eventually(lambda: stack.admin("GET", "/admin/providers").status_code == 200, "the way to the relay")
    yield stack
    assert stack.stop()["relay"] == 0


def violations(answer: Any) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT", error
    return {v["field"]: v["description"] for d in error["details"] for v in d.get("fieldViolations", [])}


def provider(**fields: Any) -> dict[str, Any]:
    return {"name": "tried", "kind": "local", "baseUrl": NOWHERE, **fields}


def route(*targets: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "tried", "targets": list(targets) or [{"provider": "scripted"}], **fields}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (provider(name="", kind="x", baseUrl="x", status="x", totalTimeoutMs=-1), ["baseUrl", "kind", "name", "status", "totalTimeoutMs"]),
        (provider(id="x", source="api", updatedBy="x"), ["id"]),  # shape comes before value
        (provider(source="api", createdAt="2026-01-01T00:00:00Z", updatedBy="x"), ["createdAt", "source", "updatedBy"]),
        (provider(baseUrl="http://169.254.169.254/v1"), ["baseUrl"]),
        (provider(baseUrl="http://[fe80::1]/v1"), ["baseUrl"]),
        (provider(baseUrl="http://0.0.0.0/v1"), ["baseUrl"]),
        (provider(baseUrl="http://[::ffff:169.254.169.254]/v1"), ["baseUrl"]),
        (provider(baseUrl="http://h/" + "a" * 2000), ["baseUrl"]),
        (provider(credential=FIRST, moreCredentials=[SECOND, FIRST, SECOND]), ["moreCredentials[1]", "moreCredentials[2]"]),
    ],
)
def test_what_no_provider_may_be(suite: Suite, body: dict[str, Any], fields: list[str]) -> None:
    assert sorted(violations(suite.admin("POST", "/admin/providers", json=body))) == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (route({"provider": "nobody"}, {"provider": "scripted"}, {"provider": "nobody-else"}), ["targets[0].provider", "targets[2].provider"]),
        (route({"provider": "scripted", "weight": 1001, "tier": -1}, {"provider": "", "maxRetries": 6}), ["targets[0].tier", "targets[0].weight", "targets[1].maxRetries", "targets[1].provider"]),
        (route({"provider": "scripted"}, {"provider": "local"}, {"provider": "scripted", "upstreamModel": "tried"}), ["targets[2]"]),
        (route(model="", status="x", note="x" * 501, unsupportedParams="x"), ["model", "note", "status", "unsupportedParams"]),
        (route(id="0" * 24, updatedAt="2026-01-01T00:00:00Z"), ["id", "updatedAt"]),
    ],
)
def test_what_no_route_may_be(suite: Suite, body: dict[str, Any], fields: list[str]) -> None:
    assert sorted(violations(suite.admin("POST", "/admin/models", json=body))) == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"prices": [{"model": "", "promptPerMillionNanoUsd": "-1"}, {"model": "x", "imageNanoUsd": "-1"}]}, ["prices[0].model", "prices[0].promptPerMillionNanoUsd", "prices[1].imageNanoUsd"]),
        ({"prices": [], "version": "x", "updatedAt": "2026-01-01T00:00:00Z", "updatedBy": "x"}, ["updatedAt", "updatedBy", "version"]),
        ({"prices": [{"model": "x"}, {"model": "y"}, {"model": "x"}, {"model": "y"}]}, ["prices[2]", "prices[3]"]),
    ],
)
def test_what_no_price_book_may_be(suite: Suite, body: dict[str, Any], fields: list[str]) -> None:
    assert sorted(violations(suite.admin("PUT", "/admin/prices", json=body))) == fields
    assert suite.shown("/admin/prices")["priceBook"]["source"] == "file"


def test_a_dry_run_is_refused_where_the_import_would_be(suite: Suite) -> None:
    body = {"prices": [{"model": "x"}], "dryRun": True}
    assert suite.admin("POST", "/admin/prices/import", json={**body, "etag": "another"}).status_code == 409
    shown = suite.admin("POST", "/admin/prices/import", json=body).json()["priceBook"]
    assert not shown.get("version") and [p["model"] for p in shown["prices"]] == ["x"]
    assert suite.shown("/admin/prices")["priceBook"]["source"] == "file"


def test_a_change_names_what_is_read_only_as_the_body_does(suite: Suite) -> None:
    made = suite.admin("POST", "/admin/models", json=route(model="whole")).json()["modelRoute"]
    fields = violations(suite.admin("PUT", f"/admin/models/{made['id']}", json=made))
    assert sorted(fields) == ["createdAt", "id", "source", "updatedAt", "updatedBy"]
    answer = suite.admin("PATCH", f"/admin/models/{made['id']}", json={"targets": [{"provider": "scripted"}, {"provider": "scripted", "upstreamModel": "whole"}]})
    assert list(violations(answer)) == ["targets[1]"]
    assert suite.admin("PATCH", f"/admin/models/{made['id']}", json={"model": "whole-*", **json.loads(answer.request.content)}).status_code == 200, "a glob asks for many"


@pytest.mark.parametrize(
    ("path", "body", "name", "defaults"),
    [
        ("/admin/providers", provider(name="cleared", status="disabled", transport="curl"), "provider", {"status": "active", "transport": "own"}),
        ("/admin/models", route(model="cleared", status="disabled", unsupportedParams="drop"), "modelRoute", {"status": "active", "unsupportedParams": "refuse"}),
    ],
)
def test_what_is_cleared_is_its_default_again(suite: Suite, path: str, body: dict[str, Any], name: str, defaults: dict[str, str]) -> None:
    made = suite.admin("POST", path, json=body).json()[name]
    assert {field: made[field] for field in defaults} == {field: body[field] for field in defaults}
    one = f"{path}/{made.get('id', made.get('name'))}"
    cleared = suite.admin("PATCH", one, json=dict.fromkeys(defaults)).json()[name]
    assert {field: cleared[field] for field in defaults} == defaults == {field: suite.shown(one)[name][field] for field in defaults}
    assert suite.admin("DELETE", one).status_code == 200


def test_over_grpc_all_of_it_is_told_too(suite: Suite) -> None:
    with suite.rpc("relay", suite.admin_key) as relay:
        with pytest.raises(grpc.RpcError) as e:
            relay.call(f"{SERVICE}/CreateProvider", {"provider": provider(kind="x", status="x", moreCredentials=[FIRST])})
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        details = dict(e.value.trailing_metadata())["grpc-status-details-bin"]
        assert all(field in details for field in (b"kind", b"status", b"credential"))
        for request in ("CreateProvider", "UpdateProvider", "CreateModelRoute", "PutPriceBook"):
            with pytest.raises(grpc.RpcError) as e:
                relay.call(f"{SERVICE}/{request}", {})
            assert e.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        relay.call(f"{SERVICE}/CreateProvider", {"provider": provider(name="masked", credential=FIRST, moreCredentials=[SECOND])})
        change = {"baseUrl": "http://127.0.0.2:9", "credential": SECOND, "moreCredentials": [FIRST]}
        for mask in ("baseUrl", "baseUrl,credential", "baseUrl,moreCredentials"):
            with pytest.raises(grpc.RpcError, match="anew"):
                relay.call(f"{SERVICE}/UpdateProvider", {"name": "masked", "provider": change, "updateMask": mask})
        relay.call(f"{SERVICE}/UpdateProvider", {"name": "masked", "provider": change, "updateMask": "baseUrl,credential,moreCredentials"})


def test_a_provider_does_not_go_while_a_route_to_it_comes(suite: Suite) -> None:
    """Either may be refused, or both; never is there a route whose provider is missing."""
    with ThreadPoolExecutor(2) as both:
        for i in range(10):
            name = f"leaving-{i}"
            assert suite.admin("POST", "/admin/providers", json=provider(name=name)).status_code == 200
            going = both.submit(suite.admin, "DELETE", f"/admin/providers/{name}?note=gone")
            coming = both.submit(suite.admin, "POST", "/admin/models", json=route({"provider": name}, model=name))
            statuses = going.result().status_code, coming.result().status_code
            there = suite.admin("GET", f"/admin/providers/{name}").status_code == 200
            routed = any(m["model"] == name for m in suite.shown("/admin/models?pageSize=500")["modelRoutes"])
            assert statuses in ((200, 400), (400, 200), (400, 400)), (going.result().text, coming.result().text)
            assert there is (statuses[0] == 400) and routed is (statuses[1] == 200)
            newest = suite.shown(f"/admin/providers/{name}/versions")["versions"][0]
            assert newest["change"] == ("create" if there else "delete"), newest


def test_a_provider_that_a_route_of_the_settings_file_names_is_not_deleted(suite: Suite) -> None:
    """Unless the file has one of that name, or another route stands in that one's place."""
    config = json.loads(suite.path("relay.yaml").read_text())
    suite.write_relay_config(config["providers"], [*config["models"], {"model": "of-the-file", "targets": [{"provider": "needed"}]}])
    eventually(lambda: any(m["model"] == "of-the-file" for m in suite.shown("/admin/models?pageSize=500")["modelRoutes"]), "the file is read again")
    for name in ("needed", "scripted"):
        assert suite.admin("POST", "/admin/providers", json=provider(name=name, kind="openai", baseUrl=f"{suite.upstream_url}/v1", credential=FIRST)).status_code == 200
    key = suite.make_key()["key"]
    eventually(lambda: suite.chat(key, "of-the-file").status_code == 200, "the route has its provider")
    refused = suite.admin("DELETE", "/admin/providers/needed")
    assert refused.status_code == 400 and "of-the-file" in refused.text, refused.text
    assert suite.chat(key, "of-the-file").status_code == 200
    assert suite.admin("DELETE", "/admin/providers/scripted").status_code == 200, "the file's is there again"
    assert suite.shown("/admin/providers/scripted")["provider"]["source"] == "file" and suite.chat(key, "gpt-4o").status_code == 200
    assert suite.admin("POST", "/admin/models", json=route(model="of-the-file")).status_code == 200
    assert suite.admin("DELETE", "/admin/providers/needed").status_code == 200
