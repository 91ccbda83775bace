"""As many owners in an hour as no single document has room for; OWNERS=40000 takes some minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId, encode
from harness.ingest import Spool, Stream
from harness.ports import eventually
from harness.rpc import RpcClient
from harness.suite import Suite

OWNERS = int(os.environ.get("OWNERS", "2000"))
FRAME = 500
KEYS = 100
LARGEST = 1 << 20
HOURS = ("api_metrics_hourly", "api_metrics_owners_hourly")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("owners")).start(only=("mongo", "redis", "auth", "usage"))
    yield suite
    assert suite.stop()["usage"] == 0


def call(stack: Suite, token: str, method: str, fields: dict[str, Any]) -> Any:
    with stack.rpc("usage", token) as client:
        return client.call(f"apirelay.usage.v1.{method}", fields, timeout=300)


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_each_owner_has_its_sums_however_many_there_are(stack: Suite) -> None:
    spool, keys = Spool(), [ObjectId().binary for _ in range(KEYS)]
    owners = [ObjectId() for _ in range(OWNERS)]
    clients = [f"an application.{n:05} of a department" for n in range(OWNERS)]
    hour = time.time() // 3600 * 3600 - 3600
    for n in range(OWNERS):
        spool.add(1, client_id=clients[n], user_id=owners[n].binary, api_key_id=keys[n % KEYS], timestamp_ms=int(hour * 1000) + 1,
                  client_load_id=80, owner_load_id=90)  # fmt: skip
    with stack.rpc("usage", stack.tokens["relay"]) as relay:
        for first in range(1, OWNERS + 1, FRAME):
            stream = Stream(relay, spool, registered=first > 1, acked=first - 1)
            stream.welcome()
            stream.events(first, min(FRAME, OWNERS + 1 - first))
            stream.acked(min(first + FRAME - 1, OWNERS))
            stream.close()
    mongo = stack.mongo()

    def is_folded() -> bool:
        all_keys = mongo["api_metrics_hourly"].find_one({"apiKeyId": "*"})
        assert all_keys and all_keys["metrics"]["requests"]["total"] == OWNERS
        assert not any(mongo[name].count_documents({"dirty": True}) for name in HOURS)
        return True

    eventually(is_folded, "the hour is folded", 300)
    for name in (*HOURS, "api_metrics_total", "api_metrics_owners"):
        assert max(len(encode(document)) for document in mongo[name].find()) < LARGEST
    assert len(list(mongo["api_metrics_hourly"].find())) == KEYS + 1
    for name in ("api_metrics_owners_hourly", "api_metrics_owners"):
        assert sum(len(part["metrics"].get("users", {})) for part in mongo[name].find()) == OWNERS

    day = int(hour) // 86400
    for subject, load_id in (({"userId": str(owners[7])}, 90), ({"clientId": clients[7]}, 80)):
        other = call(stack, stack.tokens["relay"], "LedgerService/LoadLedger", {**subject, "loadId": 5, "day": day, "fresh": True})
        assert (other.requests_today, other.tokens_today) == (1, 15), subject
        own = call(stack, stack.tokens["relay"], "LedgerService/LoadLedger", {**subject, "loadId": load_id, "day": day, "fresh": True})
        assert own.requests_today == 0, subject
    for group in ("userId", "clientId"):
        answer = call(stack, stack.admin_key, "UsageService/GetUsage", {"from": iso(hour), "to": iso(hour + 3600), "groupBy": group})
        assert len(answer.groups) == 1000 and answer.totals.requests == OWNERS
        assert sum(g.totals.requests for g in answer.groups) == OWNERS
    rebuilt = call(stack, stack.admin_key, "AccountingService/RebuildHours", {"from": iso(hour), "to": iso(hour + 3600)})
    assert (rebuilt.rows, rebuilt.differing_figures) == (OWNERS, 0)
