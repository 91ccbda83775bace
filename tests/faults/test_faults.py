"""Mixed traffic while anything but the relays' disks may go at any time: in the end all of it is accounted for, once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from typing import Any

import pytest
from faults import verdict
from faults.chaos import Chaos
from faults.client_log import ClientLog
from faults.schedule import plan
from faults.traffic import Keys, traffic
from harness.ports import PATIENCE, eventually
from harness.suite import SERVICES, Suite

SECONDS = float(os.environ.get("FAULTS_SECONDS", "120"))
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
RELAYS = ("relay", "relay-2")
STALLED = ("auth", "usage", "usage-2", "mongo", "redis")
VICTIMS = (*RELAYS, *STALLED)
QUIET_S = 60.0  # more than a sweep (15 s) and a fold (30 s) one after the other
AMBUSHES_ENOUGH = 20  # that one of them has to succeed
SHOWN = 20

pytestmark = pytest.mark.timeout(SECONDS + (QUIET_S + 180) * PATIENCE)


def on_disk(suite: Suite, relay: str) -> list[Any]:
    """Its spool and its flight table, whether it runs or not."""
    process = suite.processes[relay]
    command = [*process.command, "spool", "inspect", process.env["RELAY_SPOOL_DIR"]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def is_quiet(suite: Suite) -> bool:
    """Nothing is under way: in flight, in a spool, in a claim, or before its fold."""
    db = suite.mongo()
    spools = list(db["usage_spools"].find({}, {"n": 1, "done": 1, "tail": 1}))
    assert all(spool["n"] == spool["done"] == spool["tail"] for spool in spools), spools
    for _ in range(2):  # the second sees in the spool what left the flight table between the two parts of the first
        left = verdict.disk_agrees({relay: on_disk(suite, relay) for relay in RELAYS}, spools)
        assert not left, left
    for name in ("api_metrics_hourly", "api_metrics_owners_hourly"):
        assert not db[name].count_documents({"dirty": True}), f"{name} before their fold"
    return True


def make_quiet(suite: Suite, chaos: Chaos) -> list[str]:
    """Everything up again, and at rest. What kept it from that."""
    for process in suite.processes.values():
        chaos.note_death(process)
        if not process.is_running:
            process.start()
    suite.await_ready()
    try:
        eventually(lambda: is_quiet(suite), "quiet")
    except AssertionError as e:
        return [str(e)]
    return []


def summary(entries: int, rows: int, tally: verdict.Tally, chaos: Chaos) -> str:
    kills, stalls = (", ".join(f"{name} {count}" for name, count in sorted(counts.items())) for counts in chaos.counts())
    ends = ", ".join(f"{count} {end}" for end, count in sorted(tally.by_end.items()))
    return (
        f"faults: seed {SEED}: {entries} requests ({ends}); {tally.answered} answered to a known key, {tally.unrecognised} to none; "
        f"{rows} rows, {tally.interrupted} interrupted, {tally.unread} complete but not read to the end, {tally.folded} folded; "
        f"kills: {kills}, {chaos.caught} of {chaos.ambushes} at a fault point; stalls: {stalls}"
    )


async def run(suite: Suite, keys: Keys, log: ClientLog, chaos: Chaos) -> None:
    await asyncio.gather(traffic(suite, keys, log, SEED, SECONDS), chaos.run())


def test_whatever_is_killed_each_answer_is_a_row_and_each_sum_is_right(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = Suite(tmp_path_factory.mktemp("faults"), replicas=("usage", "relay")).start()
    chaos = Chaos(suite.processes, plan(SEED, SECONDS, [name for name in VICTIMS if name in suite.processes], STALLED))
    log = ClientLog(suite.path("client-log.jsonl"))
    with capsys.disabled():
        print(f"\nfaults: seed {SEED}, {SECONDS:.0f} s, logs in {suite.folder}", flush=True)
    try:
        asyncio.run(run(suite, Keys.made(suite), log, chaos))
        found = make_quiet(suite, chaos)
        names = ("api_usage", "api_metrics_hourly", "api_metrics_owners_hourly", "api_metrics", "api_metrics_total", "api_metrics_owners")
        rows, hours, owner_hours, days, totals, owners = (list(suite.mongo()[name].find()) for name in names)
        names = ("usage_spools", "usage_rejects", "usage_losses")
        spools, rejects, losses = (list(suite.mongo()[name].find()) for name in names)
    finally:
        log.close()
        statuses = suite.stop()
    requests = verdict.Requests(log.entries, rows, chaos.kills)
    found += chaos.deaths + requests.findings()
    found += verdict.spools_are_taken(spools, len(RELAYS), len(rows), rejects, losses)
    found += verdict.disk_agrees({relay: on_disk(suite, relay) for relay in RELAYS}, spools)
    found += verdict.hours_are_sums_of_rows(rows, hours, owner_hours)
    found += verdict.days_are_sums_of_hours([*hours, *owner_hours], days, totals, owners)
    found += [f"{name} ended with status {status}" for name, status in statuses.items() if status and name.removesuffix("-2") in SERVICES]
    if chaos.ambushes >= AMBUSHES_ENOUGH and not chaos.caught:
        found.append(f"none of {chaos.ambushes} processes came to its fault point: is {suite.bin} built with them?")
    with capsys.disabled():
        print(summary(len(log.entries), len(rows), requests.tally, chaos), flush=True)
    assert not found, f"seed {SEED}: {len(found)} findings, the first of them:\n" + "\n".join(found[:SHOWN])
