"""What LibreChat has booked for an answer comes into its row, once, and into nothing else."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from harness.ports import eventually
from harness.suite import Suite
from upstreams.librechat_books import MODEL, RATES, SERVICE_USER

JOINED_SECONDS = 90.0  # a transaction rests for ten seconds, and a look follows within twenty


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("books"), replicas=("usage",), books=True, tls=False).start()
    yield suite
    suite.stop()


def librechats(suite: Suite) -> Any:
    return suite._mongo_client[suite.librechat_database]


def looked_up(suite: Suite, ids: list[str]) -> dict[str, Any]:
    """The rows of these requests, once each was looked up."""

    def all_of_them() -> list[dict[str, Any]]:
        return suite.rows(requestId={"$in": ids}, **{"librechat.booked": {"$exists": True}})

    eventually(lambda: len(all_of_them()) == len(ids), f"what was booked for {len(ids)} answers", JOINED_SECONDS)
    return {row["requestId"]: row for row in all_of_them()}


def agrees(suite: Suite, row: dict[str, Any]) -> None:
    """The row against the transactions, summed here."""
    transactions = list(librechats(suite)["transactions"].find({"messageId": row["upstreamResponseId"]}))
    tokens = {t["tokenType"]: -t["rawAmount"] for t in transactions}
    credits = sum(-t["tokenValue"] for t in transactions)
    got = row["librechat"]
    assert got["booked"] is True and got["transactions"] == len(transactions) == 2, got
    assert (got["promptTokens"], got["completionTokens"]) == (tokens["prompt"], tokens["completion"])
    assert got["credits"] == credits == sum(tokens[t] * RATES[t] for t in RATES) and got["costNanoUsd"] == round(credits * 1000)
    assert got["differenceTokens"] == sum(tokens.values()) - row["usage"]["totalTokens"] == 0
    assert got["differenceNanoUsd"] == got["costNanoUsd"] - row["usage"]["costNanoUsd"]
    assert got["model"] == MODEL and str(got["userId"]) == SERVICE_USER and "lookAt" not in got


def test_each_answer_meets_what_was_booked_for_it(booked: Suite) -> None:
    key = booked.make_key()
    asked = {"model": "agent_echo", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello there"}]}
    answers = [booked.chat(key["key"], "agent_echo"), booked.chat(key["key"], "agent_bigusage", stream=True), booked.post("/v1/messages", key["key"], json=asked)]
    assert [a.status_code for a in answers] == [200] * 3, [a.text for a in answers]
    failed = booked.chat(key["key"], "agent_fail_pre_500")
    direct = booked.chat(key["key"], "gpt-4o")
    ids = [a.headers["x-request-id"] for a in answers]
    before = {id_: booked.row(id_) for id_ in ids}
    rows = looked_up(booked, ids)
    for id_, row in rows.items():
        agrees(booked, row)
        assert {**before[id_], "librechat": 0} == {**row, "librechat": 0}  # all else is as it was
    assert rows[ids[0]]["upstreamResponseId"] == answers[0].json()["id"]
    for other in (failed, direct):
        row = booked.row(other.headers["x-request-id"])
        assert "librechat" not in row and "upstreamResponseId" not in row
    logs = booked.shown(f"/admin/logs?apiKeyId={key['id']}")["logs"]
    shown = {log["requestId"]: log for log in logs}
    assert shown[ids[0]]["librechat"]["costNanoUsd"] == str(rows[ids[0]]["librechat"]["costNanoUsd"])
    assert not shown[direct.headers["x-request-id"]].get("librechat")

    def summed() -> bool:
        days = list(booked.mongo()["api_metrics"].find({"apiKeyId": rows[ids[0]]["apiKeyId"]}))
        whole = [booked.row(i) for i in (*ids, failed.headers["x-request-id"], direct.headers["x-request-id"])]
        assert sum(d["metrics"]["tokens"]["total"] for d in days) == sum(r["usage"]["totalTokens"] for r in whole)
        return True

    eventually(summed, "sums that know of our own figures only")
    counted = sum(booked.metric(name, 'usage_librechat_rows_total{result="booked"}') for name in ("usage", "usage-2"))
    assert counted == 3  # by one of the replicas each


@pytest.mark.parametrize("point", ("librechat.read", "librechat.row"))
def test_usage_killed_at(booked: Suite, point: str) -> None:
    if b"librechat.read" not in (booked.bin / "usage").read_bytes():
        pytest.skip("this build has no fault points")
    booked.processes["usage-2"].send(signal.SIGSTOP)  # or it would do the work
    try:
        process = booked.processes["usage"]
        process.stop()
        process.env["GW_FAULT"] = f"{point}:kill"
        process.start()
        del process.env["GW_FAULT"]
        key = booked.make_key()["key"]
        answers = [booked.chat(key, "agent_echo", f"words of answer {n}") for n in range(3)]
        ids = [a.headers["x-request-id"] for a in answers]
        eventually(lambda: not process.is_running, f"usage dies at {point}", JOINED_SECONDS)
        before = list(librechats(booked)["transactions"].find())
        process.start()
    finally:
        booked.processes["usage-2"].send(signal.SIGCONT)
    for row in looked_up(booked, ids).values():
        agrees(booked, row)
    assert list(librechats(booked)["transactions"].find()) == before  # only ever read
