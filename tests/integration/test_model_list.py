"""/v1/models with what providers say they have: behind globs only, filtered by the key, stale when a provider fails, and gone with its route."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness.ports import eventually
from harness.suite import Suite

PAGE = 2


def openai_page(names: list[str], _: dict[str, list[str]]) -> Any:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def anthropic_page(names: list[str], query: dict[str, list[str]]) -> Any:
    start = names.index(query["after_id"][0]) + 1 if "after_id" in query else 0
    page = names[start : start + PAGE]
    return {"data": [{"type": "model", "id": name} for name in page], "has_more": start + PAGE < len(names), "last_id": page[-1]}


def google_page(names: list[str], query: dict[str, list[str]]) -> Any:
    start = int(query["pageToken"][0].removesuffix("&=/")) if "pageToken" in query else 0
    page = {"models": [{"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]} for name in names[start : start + PAGE]]}
    return {**page, "nextPageToken": f"{start + PAGE}&=/"} if start + PAGE < len(names) else page


class Lister:
    """A provider that is only asked for its models."""

    def __init__(self, page: Any = openai_page) -> None:
        self.models, self.status = ["lm-a", "lm-b", "gpt-of-theirs", "nobodys"], 200
        self.seen: list[dict[str, str]] = []
        lister = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lister.seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
                body = json.dumps(page(lister.models, parse_qs(urlsplit(self.path).query))).encode()
                self.send_response(lister.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def asked_again(self) -> None:
        before = len(self.seen)
        eventually(lambda: len(self.seen) > before + 1, "asked, and the answer before it taken")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("models"), relay_settings={"MODEL_LIST_REFRESH": "200ms"})
    try:
        suite.start()
        eventually(lambda: suite.admin("GET", "/admin/providers").status_code == 200, "the way to the relay")
        yield suite
        assert suite.stop()["relay"] == 0
    finally:
        suite.stop()


@pytest.fixture
def lister(stack: Suite) -> Iterator[Lister]:
    provider = Lister()
    body = {"name": "lister", "kind": "local", "baseUrl": provider.url, "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    assert stack.admin("POST", "/admin/providers", json=body).status_code == 200
    answer = stack.admin("POST", "/admin/models", json={"model": "lm-*", "targets": [{"provider": "lister"}]})
    assert answer.status_code == 200, answer.text
    route = answer.json()["modelRoute"]["id"]
    yield provider
    for path in (f"/admin/models/{route}", "/admin/providers/lister"):
        stack.admin("DELETE", path)
    provider.close()


def listed(stack: Suite, key: str) -> set[str]:
    answer = stack.get("/v1/models", key)
    assert answer.status_code == 200
    return {model["id"] for model in answer.json()["data"]}


def test_what_a_provider_has_behind_a_glob_is_listed(stack: Suite, lister: Lister) -> None:
    key, narrow = stack.make_key(), stack.make_key(permissions={"models": ["lm-b", "gpt-4o"]})
    eventually(lambda: {"lm-a", "lm-b", "gpt-4o"} <= listed(stack, key["key"]), "the names")
    names = listed(stack, key["key"])
    assert not names & {"gpt-of-theirs", "nobodys"}, "other routes and no route have these"
    assert listed(stack, narrow["key"]) == {"lm-b", "gpt-4o"}
    seen = lister.seen[0]
    assert seen["path"] == "/v1/models" and seen["authorization"] == "Bearer sk-scripted-provider-key"
    owned = {m["id"]: m["owned_by"] for m in stack.get("/v1/models", key["key"]).json()["data"]}
    assert owned["lm-a"] == "lister" and owned["gpt-4o"] == "scripted"


def test_an_alias_is_listed_for_keys_that_have_a_model_behind_it(stack: Suite) -> None:
    everyones = stack.make_key()["key"]
    targets = [{"provider": "scripted", "upstreamModel": model} for model in ("gpt-4o", "gpt-5")]
    answer = stack.admin("POST", "/admin/models", json={"model": "lm-alias", "targets": targets})
    assert answer.status_code == 200, answer.text
    try:
        eventually(lambda: "lm-alias" in listed(stack, everyones), "the route")
        for models, is_theirs in ((["lm-alias"], False), (["gpt-5"], False), (["lm-alias", "gpt-5"], True), ([], True)):
            key = stack.make_key(permissions={"models": models})["key"]
            assert ("lm-alias" in listed(stack, key)) == is_theirs, models
            assert (stack.get("/v1/models/lm-alias", key).status_code == 200) == is_theirs, models
            assert (stack.chat(key, model="lm-alias").status_code == 200) == is_theirs, models
    finally:
        stack.admin("DELETE", f"/admin/models/{answer.json()['modelRoute']['id']}")


def test_a_provider_that_fails_leaves_what_was_known(stack: Suite, lister: Lister) -> None:
    key = stack.make_key()["key"]
    eventually(lambda: "lm-a" in listed(stack, key), "the names")
    lister.status = 500
    lister.asked_again()
    assert "lm-a" in listed(stack, key)
    assert [e for e in stack.processes["relay"].events("models_unread") if e["provider"] == "lister"]
    lister.models, lister.status = ["lm-c"], 200
    eventually(lambda: "lm-c" in listed(stack, key) and "lm-a" not in listed(stack, key), "the new names")


def test_names_go_with_their_route_and_come_with_the_relay(stack: Suite, lister: Lister) -> None:
    key = stack.make_key()["key"]
    eventually(lambda: "lm-a" in listed(stack, key), "the names")
    stack.restart("relay")
    eventually(lambda: "lm-a" in listed(stack, key), "the names")
    route = next(r for r in stack.shown("/admin/models")["modelRoutes"] if r["model"] == "lm-*")
    assert stack.admin("DELETE", f"/admin/models/{route['id']}").status_code == 200
    eventually(lambda: "lm-a" not in listed(stack, key), "they are gone")


@pytest.mark.parametrize("kind, page, header", [("anthropic", anthropic_page, "x-api-key"), ("google", google_page, "x-goog-api-key")])
def test_every_page_of_a_provider_is_read(stack: Suite, kind: str, page: Any, header: str) -> None:
    provider, key = Lister(page), stack.make_key()["key"]
    provider.models = [f"{kind}-paged-{n}" for n in range(5)]
    body = {"name": f"{kind}-lister", "kind": kind, "baseUrl": provider.url, "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
    assert stack.admin("POST", "/admin/providers", json=body).status_code == 200
    answer = stack.admin("POST", "/admin/models", json={"model": f"{kind}-paged-*", "targets": [{"provider": f"{kind}-lister"}]})
    assert answer.status_code == 200, answer.text
    try:
        eventually(lambda: set(provider.models) <= listed(stack, key), "the names of three pages")
        assert all(seen[header] == "sk-scripted-provider-key" for seen in provider.seen)
        provider.models = [f"{kind}-paged-0", f"{kind}-paged-9", f"{kind}-paged-8"]
        eventually(lambda: {f"{kind}-paged-8"} <= listed(stack, key), "the names of two pages")
        assert f"{kind}-paged-4" not in listed(stack, key)
    finally:
        for path in (f"/admin/models/{answer.json()['modelRoute']['id']}", f"/admin/providers/{kind}-lister"):
            stack.admin("DELETE", path)
        provider.close()


def test_of_a_librechat_a_user_is_shown_what_he_may_use(stack: Suite) -> None:
    def user(name: str) -> tuple[dict[str, Any], str]:
        made = stack.make_key()
        return made, become(made, name)

    def become(made: dict[str, Any], name: str) -> str:
        own = f"sk-{name}{secrets.token_hex(30)}"
        body = {"origin": stack.librechat_url, "key": own}
        answer = stack.admin("POST", f"/admin/api-keys/{made['id']}/librechat-key", json=body)
        assert answer.status_code == 200, answer.text
        return own

    (anna, annas), (without, _), nobody = user("anna"), user("noacl"), stack.make_key()
    eventually(lambda: "agent_tools" in listed(stack, nobody["key"]), "what the service's key may use")
    assert {"agent_tools", "gpt-4o"} <= listed(stack, anna["key"]) == listed(stack, nobody["key"])
    of_nobody = {name for name in listed(stack, nobody["key"]) if not name.startswith("agent_")}
    assert listed(stack, without["key"]) == {*of_nobody, "agent_echo"}, "which the configuration names"
    headers = [value for entry in stack.upstream_log(librechat=True) if entry["method"] == "GET" for _, value in entry["headers"]]
    assert headers.count(f"Bearer {annas}") == 1, "it is remembered"
    become(without, "allowed")
    eventually(lambda: "agent_tools" in listed(stack, without["key"]), "a key that is set anew is asked for anew")
    become(anna, "invalid")
    eventually(lambda: "agent_tools" not in listed(stack, anna["key"]), "a key that is refused shows nothing")
    eventually(lambda: stack.processes["relay"].events("user_models_unread"), "the line that says why")
