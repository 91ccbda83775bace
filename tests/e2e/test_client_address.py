"""
Where a key may be used from, and an admin signs in from: blocks of IPv4 and IPv6, and X-Forwarded-For of the proxies that are configured,
and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from harness.suite import Suite


PROXIES = "127.0.0.0/8,10.0.0.0/8,fd00::/8"
TRIES_AN_ADDRESS = 50


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Loopback and a private block are proxies."""
    s = Suite(tmp_path_factory.mktemp("proxied"), relay_settings={"TRUSTED_PROXIES": PROXIES})
    s.processes["admin-gw"].env["ADMIN_GW_TRUSTED_PROXIES"] = PROXIES
    s.start()
    yield s
    s.stop()


def status(suite: Suite, whitelist: list[str], forwarded: str | None) -> int:
    key = suite.make_key(security={"ipWhitelist": whitelist})["key"]
    return suite.chat(key, headers={} if forwarded is None else {"X-Forwarded-For": forwarded}).status_code


V4, V6 = ["198.51.100.0/24"], ["2001:db8::/32"]

CASES: dict[str, tuple[list[str], str | None, int]] = {
    "in the block": (V4, "198.51.100.7", 200),
    "first of the block": (V4, "198.51.100.0", 200),
    "one past the block": (V4, "198.51.101.0", 403),
    "one host": (["198.51.100.7"], "198.51.100.7", 200),
    "another host": (["198.51.100.7"], "198.51.100.8", 403),
    "everywhere of IPv4": (["0.0.0.0/0"], "198.51.100.7", 200),
    "IPv4 is not in all of IPv6": (["::/0"], "198.51.100.7", 403),
    "IPv6 in the block": (V6, "2001:db8:ffff::1", 200),
    "IPv6 in another spelling": (V6, "2001:DB8:0:0:0:0:0:1", 200),
    "IPv6 past the block": (V6, "2001:db9::1", 403),
    "one IPv6 host": (["2001:db8::7"], "2001:db8::7", 200),
    "IPv4 mapped into IPv6 is IPv4": (V4, "::ffff:198.51.100.7", 200),
    "either of two blocks": (V4 + V6, "2001:db8::1", 200),
    "past our own proxies": (V4, "198.51.100.7, 10.1.2.3, fd00::1", 200),
    "what a stranger forged before it": (V4, "198.51.100.7, 203.0.113.9, 10.1.2.3", 403),
    "malformed: the peer": (V4, "198.51.100.7, unknown", 403),
    "malformed, and the peer may": (["127.0.0.1"], "198.51.100.7, unknown", 200),
    "a port is no address": (V4, "198.51.100.7:1234", 403),
    "no header: the peer": (["127.0.0.0/8"], None, 200),
    "no header, and the peer may not": (V4, None, 403),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_client_behind_configured_proxies_is_held_to_the_keys_list(behind_proxy: Suite, case: str) -> None:
    whitelist, forwarded, expected = CASES[case]
    assert status(behind_proxy, whitelist, forwarded) == expected


def test_the_row_of_a_request_has_the_clients_address(behind_proxy: Suite) -> None:
    answer = behind_proxy.chat(behind_proxy.make_key()["key"], headers={"X-Forwarded-For": "2001:db8::9, 10.1.2.3"})
    assert behind_proxy.row(answer.headers["x-request-id"])["request"]["ip"] == "2001:db8::9"


def test_without_configured_proxies_nobodys_word_is_taken(suite: Suite) -> None:
    assert status(suite, V4, "198.51.100.7") == 403
    assert status(suite, ["127.0.0.1/32"], "198.51.100.7") == 200


# ---- admins ----


def sign_in(suite: Suite, forwarded: str, username: str = "admin") -> httpx.Response:
    body = {"username": username, "password": suite.owner_password}
    return httpx.post(f"{suite.admin_url}/admin/session", json=body, headers={"X-Forwarded-For": forwarded}, timeout=30, verify=suite.verify)


def addresses_of_sessions(suite: Suite) -> set[str]:
    owner = suite.shown("/admin/users")["adminUsers"][0]["id"]
    return {session["address"] for session in suite.shown(f"/admin/sessions?adminId={owner}")["sessions"]}


def test_a_session_is_listed_with_the_address_behind_the_proxy(behind_proxy: Suite) -> None:
    assert sign_in(behind_proxy, "198.51.100.7, 10.1.2.3").status_code == 200
    assert "198.51.100.7" in addresses_of_sessions(behind_proxy)


@pytest.mark.parametrize(
    ("guesses_from", "signs_in_from"),
    [("198.51.100.66", "198.51.100.67"), ("2001:db8:6:6::{:x}", "2001:db8:6:7::1")],
    ids=("one address", "a network of IPv6"),
)
def test_sign_in_is_throttled_by_the_address_behind_the_proxy(behind_proxy: Suite, guesses_from: str, signs_in_from: str) -> None:
    tries = range(1, TRIES_AN_ADDRESS + 2)
    statuses = [sign_in(behind_proxy, guesses_from.format(i), f"nobody-{i}").status_code for i in tries]
    assert statuses == [401] * TRIES_AN_ADDRESS + [429]
    assert sign_in(behind_proxy, guesses_from.format(0xFFFF)).status_code == 429
    assert sign_in(behind_proxy, signs_in_from).status_code == 200, "one who guesses shuts nobody else out"


def addresses_in_audit(suite: Suite, target: str, action: str) -> set[str]:
    entries = suite.shown(f"/admin/audit?target={target}&pageSize=500")["entries"]
    return {entry["address"] for entry in entries if action in entry["action"]}


def test_the_audit_log_has_the_address_behind_the_proxy(behind_proxy: Suite) -> None:
    """Of what auth does itself, and of what the relay does and has auth write down; a client's own word is nobody's."""
    key = behind_proxy.make_key()
    headers = {"X-Forwarded-For": "198.51.100.77, 10.1.2.3", "X-Relay-Client-Address": "203.0.113.1"}
    assert behind_proxy.admin("POST", f"/admin/api-keys/{key['id']}/suspend", json={}, headers=headers).status_code == 200
    assert addresses_in_audit(behind_proxy, key["id"], "suspend") == {"198.51.100.77"}
    made = behind_proxy.admin("POST", "/admin/providers", json={"name": "from-afar", "kind": "local", "baseUrl": "http://127.0.0.1:9"}, headers=headers)
    assert made.status_code == 200, made.text
    assert addresses_in_audit(behind_proxy, "from-afar", "provider") == {"198.51.100.77"}


def test_without_configured_proxies_an_admin_signs_in_from_where_the_connection_is_from(suite: Suite) -> None:
    assert sign_in(suite, "198.51.100.7").status_code == 200
    assert "198.51.100.7" not in addresses_of_sessions(suite)


@pytest.mark.parametrize("block", ["198.51.100.1/24", "198.51.100.0/33", "300.1.1.1", "2001:db8::1/32", "::/129", "localhost", "", "1.2.3.4/", "10.0.0.0/8 "])
def test_a_block_that_is_none_is_refused_and_named(suite: Suite, block: str) -> None:
    answer = suite.admin("POST", "/admin/api-keys", json={"name": "k", "security": {"ipWhitelist": [block]}})
    assert answer.status_code == 400 and "security.ipWhitelist[0]" in answer.text
