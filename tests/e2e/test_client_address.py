"""Where a key may be used from: blocks of IPv4 and IPv6, and X-Forwarded-For of the proxies that are configured, and of no others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.suite import Suite


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Loopback and a private block are proxies."""
    s = Suite(tmp_path_factory.mktemp("proxied"), relay_settings={"TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8,fd00::/8"}).start()
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


@pytest.mark.parametrize("block", ["198.51.100.1/24", "198.51.100.0/33", "300.1.1.1", "2001:db8::1/32", "::/129", "localhost", "", "1.2.3.4/", "10.0.0.0/8 "])
def test_a_block_that_is_none_is_refused_and_named(suite: Suite, block: str) -> None:
    answer = suite.admin("POST", "/admin/api-keys", json={"name": "k", "security": {"ipWhitelist": [block]}})
    assert answer.status_code == 400 and "security.ipWhitelist[0]" in answer.text
