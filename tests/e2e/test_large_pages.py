"""Lists of items as large as they may be: pages are shorter then, and nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import ObjectId
from harness.ports import eventually
from harness.suite import Suite

KEYS = 80
LARGE_KEY: dict[str, Any] = {
    "permissions": {"models": [f"m{i:03d}" + "x" * 252 for i in range(100)], "endpoints": [f"/v1/{i:03d}" + "y" * 249 for i in range(100)]},
    "security": {"ipWhitelist": [f"2001:db8:{i:x}::/48" for i in range(100)], "domains": [f"https://a{i:03d}." + "b" * 60 + ".example" for i in range(100)]},
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("large"))
    stack.start()
    eventually(lambda: stack.admin("GET", "/admin/providers").status_code == 200, "the way to the relay")
    with ThreadPoolExecutor(4) as many:
        made = many.map(lambda i: stack.admin("POST", "/admin/api-keys", json={"name": f"large {i}", **LARGE_KEY}), range(KEYS))
        assert {answer.status_code for answer in made} == {200}
    yield stack
    statuses = stack.stop()
    assert statuses["auth"] == statuses["relay"] == statuses["admin-gw"] == 0


def walk(suite: Suite, path: str, member: str) -> list[list[dict[str, Any]]]:
    pages, cursor = [], ""
    while not pages or cursor:
        answer = suite.admin("GET", f"{path}pageSize=500&cursor={cursor}")
        assert answer.status_code == 200, answer.text
        pages.append(answer.json()[member])
        cursor = answer.json()["nextCursor"]
        assert len(pages) < 100
    return pages


def test_large_keys_come_in_shorter_pages(suite: Suite) -> None:
    pages = walk(suite, "/admin/api-keys?", "apiKeys")
    assert len(pages) > 1 and all(pages)
    assert sorted(k["name"] for page in pages for k in page) == sorted(f"large {i}" for i in range(KEYS))


def test_so_do_their_entries_in_the_audit_log(suite: Suite) -> None:
    pages = walk(suite, "/admin/audit?action=api_key.create&", "entries")
    assert len(pages) > 1 and all(pages)
    assert sum(len(page) for page in pages) == 2 * KEYS and suite.shown("/admin/audit/verify")["intact"]


def test_what_can_only_be_refused_does_not_fill_the_audit_log(suite: Suite) -> None:
    key = suite.make_key()
    for _ in range(6):
        assert suite.admin("PATCH", f"/admin/api-keys/{key['id']}", json={"name": "n" * 900_000}).status_code == 400
    with suite.rpc("auth", suite.admin_key) as client, pytest.raises(Exception, match="INVALID_ARGUMENT"):
        client.call("apirelay.auth.v1.ApiKeyService/RevokeApiKey", {"id": "0" * 3_000_000})
    answer = suite.admin("GET", "/admin/audit?pageSize=50")
    assert answer.status_code == 200 and len(answer.content) < 4 << 20, answer.text[:200]
    (refused, *_) = [e for e in suite.shown(f"/admin/audit?target={key['id']}")["entries"] if e["phase"] == "intent" and e["action"] == "api_key.update"]
    assert refused["payloadJson"].startswith('{"omittedBytes":90'), refused["payloadJson"][:100]
    assert suite.shown(f"/admin/audit?target={'0' * 256}")["entries"], "so much of it is kept"


def test_large_routes_come_in_shorter_pages(suite: Suite) -> None:
    for r in range(16):
        names = [f"wide-{r}-{i:03d}".ljust(256, "z") for i in range(1000)]
        answer = suite.admin("POST", "/admin/models", json={"model": f"wide-{r}-*", "targets": [{"provider": "scripted"}], "listedModels": names})
        assert answer.status_code == 200, answer.text
    pages = walk(suite, "/admin/models?", "modelRoutes")
    patterns = [m["model"] for page in pages for m in page]
    assert len(pages) > 1 and all(pages) and len(set(patterns)) == len(patterns)
    assert {f"wide-{r}-*" for r in range(16)} <= set(patterns)


def test_large_rejects_come_in_shorter_pages(suite: Suite) -> None:
    now = datetime.now(timezone.utc)
    event = b"\x2a\x80\x7d" + b"r" * 16_000  # a UsageEvent of nothing but its request_id
    suite.mongo()["usage_rejects"].insert_many({"_id": ObjectId(), "reason": "name_too_long", "S": "large", "seq": i, "at": now, "raw": event} for i in range(300))
    pages = walk(suite, "/admin/accounting/rejects?spoolId=large&", "rejects")
    assert len(pages) > 1 and all(pages)
    assert [int(r.get("seq", 0)) for page in pages for r in page] == list(reversed(range(300))) and len(pages[0][0]["requestId"]) == 16_000
