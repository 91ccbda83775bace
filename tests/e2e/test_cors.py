"""Browsers: preflights of origins that some key lists, answers for those that the key itself lists, and never credentials or a wildcard."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite

CHAT = "/v1/chat/completions"
OURS, OURS_TOO = "https://app.example", "http://localhost:3000"
CORS = "access-control-"


def preflight(suite: Suite, origin: str, path: str = CHAT, method: str = "POST", wanted: str = "authorization, content-type") -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": wanted}
    return httpx.options(suite.relay_url + path, headers=headers, verify=suite.verify, timeout=30)


def cors_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith(CORS)}


@pytest.fixture(scope="module")
def key(suite: Suite) -> dict[str, Any]:
    made = suite.make_key(name="browser", security={"domains": [OURS, OURS_TOO]})
    for origin in (OURS, OURS_TOO):  # of the two, one may be another key's already
        eventually(lambda: cors_of(preflight(suite, origin)), f"{origin} is known")
    return made


def test_a_preflight_of_a_listed_origin_is_granted(suite: Suite, key: dict[str, Any]) -> None:
    for origin in (OURS, OURS_TOO):
        answer = preflight(suite, origin)
        assert answer.status_code == 204 and answer.headers["vary"] == "Origin"
        assert cors_of(answer) == {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": "POST, OPTIONS",
            "access-control-allow-headers": "authorization, content-type",
            "access-control-max-age": "600",
        }
    assert cors_of(preflight(suite, OURS, "/v1/models", "GET"))["access-control-allow-methods"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example", "http://app.example", "https://app.example:8443", "null", "*", ""])
def test_a_preflight_of_another_origin_gets_no_cors_header(suite: Suite, key: dict[str, Any], origin: str) -> None:
    answer = preflight(suite, origin)
    assert answer.status_code == 204 and not cors_of(answer)


def test_options_without_a_preflights_headers_only_tells_the_methods(suite: Suite, key: dict[str, Any]) -> None:
    answer = httpx.options(suite.relay_url + CHAT, headers={"Origin": OURS}, verify=suite.verify, timeout=30)
    assert answer.headers["allow"] == "POST, OPTIONS" and not cors_of(answer)


def test_an_origin_comes_and_goes_with_the_keys_that_list_it(suite: Suite) -> None:
    origin = "https://fleeting.example"
    assert not cors_of(preflight(suite, origin))
    one, two = suite.make_key(security={"domains": [origin]}), suite.make_key(security={"domains": [origin]})
    eventually(lambda: cors_of(preflight(suite, origin)), "granted")
    assert suite.admin("DELETE", f"/admin/api-keys/{one['id']}").status_code == 200
    assert suite.admin("PATCH", f"/admin/api-keys/{two['id']}", json={"security": {"domains": []}}).status_code == 200
    eventually(lambda: not cors_of(preflight(suite, origin)), "refused")


def test_the_answer_names_the_origin_of_its_own_key_alone(suite: Suite, key: dict[str, Any]) -> None:
    other = suite.make_key(security={"domains": ["https://other.example"]})
    eventually(lambda: cors_of(preflight(suite, "https://other.example")), "known")
    good = suite.chat(key["key"], headers={"Origin": OURS})
    assert good.status_code == 200 and good.headers["access-control-allow-origin"] == OURS and good.headers["vary"] == "Origin"
    wrong = suite.chat(key["key"], headers={"Origin": "https://other.example"})
    assert wrong.status_code == 403 and not cors_of(wrong)
    assert suite.chat(other["key"], headers={"Origin": OURS}).status_code == 403
    without = suite.chat(suite.make_key()["key"], headers={"Origin": OURS})
    assert without.status_code == 200 and not cors_of(without)


def test_a_browser_may_read_refusals_too(suite: Suite, key: dict[str, Any]) -> None:
    answer = suite.chat(key["key"], "no-such-model", headers={"Origin": OURS})
    assert answer.status_code == 404 and answer.headers["access-control-allow-origin"] == OURS


ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
REFUSALS: dict[str, tuple[str, str, dict[str, str], Any, int]] = {
    # method, path, headers beside Origin and the key, body, status
    "no key": ("POST", CHAT, {"Authorization": ""}, ASKED, 401),
    "a key that is none": ("GET", "/v1/models", {"Authorization": "Bearer lc_prod_nonsense"}, None, 401),
    "an endpoint that is none": ("POST", "/v1/files", {}, ASKED, 404),
    "a wrong method": ("GET", CHAT, {}, None, 405),
    "a body too large": ("POST", CHAT, {}, {**ASKED, "user": "x" * (5 << 20)}, 413),
    "a wrong method of Anthropic's": ("GET", "/v1/messages", {}, None, 405),
    "no key, in Anthropic's words": ("POST", "/v1/messages", {"Authorization": ""}, {}, 401),
}


def refusal(suite: Suite, key: dict[str, Any], case: str, origin: str) -> httpx.Response:
    method, path, headers, body, _ = REFUSALS[case]
    headers = {"Authorization": f"Bearer {key['key']}", **headers, "Origin": origin}
    return httpx.request(method, suite.relay_url + path, headers=headers, json=body, timeout=30, verify=suite.verify)


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_page_reads_why_it_was_refused_also_when_no_key_is_known(suite: Suite, key: dict[str, Any], case: str) -> None:
    """Without these headers a browser gives the page a network error: neither a status nor a text."""
    answer = refusal(suite, key, case, OURS)
    assert answer.status_code == REFUSALS[case][-1] and answer.json()["error"]["message"]
    assert answer.headers["access-control-allow-origin"] == OURS and answer.headers["vary"] == "Origin"
    shown = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"x-request-id", "request-id"} & set(answer.headers) <= shown


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_page_that_no_key_lists_reads_nothing(suite: Suite, key: dict[str, Any], case: str) -> None:
    answer = refusal(suite, key, case, "https://evil.example")
    assert answer.status_code == REFUSALS[case][-1] and not cors_of(answer)
    assert answer.headers["vary"] == "Origin"  # it may be another's to read


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_page_gets_to_see_that_there_is_no_such_path(suite: Suite, key: dict[str, Any], method: str) -> None:
    """What a preflight does not grant is never asked."""
    granted = preflight(suite, OURS, "/v1/files", method)
    assert granted.status_code == 204 and method in granted.headers["access-control-allow-methods"].split(", ")
    assert granted.headers["access-control-allow-origin"] == OURS and "allow" not in granted.headers
    other = preflight(suite, "https://evil.example", "/v1/files", method)
    assert other.status_code == 404 and not cors_of(other)


def test_a_key_that_is_known_decides_alone(suite: Suite, key: dict[str, Any]) -> None:
    """Another key's origin is not shared with, whatever is wrong with the request."""
    other = suite.make_key(security={"domains": ["https://stranger.example"]})
    assert cors_of(refusal(suite, key, "a body too large", OURS))
    assert not cors_of(refusal(suite, other, "a body too large", OURS))


def test_every_header_that_is_ours_can_be_read_by_a_page(suite: Suite) -> None:
    """The SDKs in a browser obey `x-should-retry` and `retry-after` only where they see them."""
    limited = suite.make_key(limits={"requestsPerDay": 1, "tokensPerDay": 100_000}, security={"domains": [OURS]})
    asked = {"Origin": OURS, "X-Relay-End-User": "somebody"}
    good, refused = (suite.chat(limited["key"], headers=asked) for _ in range(2))
    failed = suite.chat(suite.make_key(security={"domains": [OURS]})["key"], "gpt-4o+fail-status-401", headers=asked)
    claude = suite.post("/v1/messages", limited["key"], headers=asked, json={"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": []})
    assert (good.status_code, refused.status_code, failed.status_code, claude.status_code) == (200, 429, 502, 429)
    assert refused.headers["x-should-retry"] == failed.headers["x-should-retry"] == "false"
    for answer in (good, refused, failed, claude):
        shown = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        ours = {name for name in answer.headers if name.startswith(("x-r", "x-should", "retry-", "request-", "anthropic-"))}
        assert ours and ours <= shown, ours - shown


def test_neither_credentials_nor_a_wildcard_are_ever_allowed(suite: Suite, key: dict[str, Any]) -> None:
    cookie = {"Origin": OURS, "Cookie": "a=b", "Access-Control-Request-Method": "POST"}
    answers = [preflight(suite, OURS), suite.chat(key["key"], headers=cookie), httpx.options(suite.relay_url + CHAT, headers=cookie, verify=suite.verify, timeout=30)]
    for answer in answers:
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == OURS


def test_a_domain_with_a_wildcard_or_a_path_is_refused(suite: Suite) -> None:
    for domain in ("*", "https://*.example", "https://app.example/path", "app.example", "https://APP.example", "null", "https://app.example:443", "http://app.example:80", "https://app.example:99999", "https://a..example"):
        answer = suite.admin("POST", "/admin/api-keys", json={"name": "k", "security": {"domains": [domain]}})
        assert answer.status_code == 400 and "security.domains[0]" in answer.text, domain
