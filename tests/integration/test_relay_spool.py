"""The relay's spool with real binaries: floods of refusals, kills, a full disk, its bound, and a relay that does not come back."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite

POSITIONS_BYTES = 4096 + 32768 * 200  # the table of positions, whole from the start
DISK_BYTES = (4 << 20) + POSITIONS_BYTES
SLOTS = 16 + 1024  # of requests: RELAY_MAX_INFLIGHT and what is beyond it


def mounted(folder: Path) -> bool:
    """A file system of its own for the spool; False where that is not allowed."""
    if os.geteuid() != 0:
        return False
    options = f"size={DISK_BYTES},mode=0700"
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("spool"), relay_settings={"MAX_INFLIGHT": "16", "SPOOL_MAX": "256KiB"})
    has_disk = mounted(suite.path("spool"))
    try:
        yield suite.start()
        assert suite.stop()["relay"] == 0
    finally:
        suite.stop()
        if has_disk:
            subprocess.run(["umount", str(suite.path("spool"))], check=True)


@pytest.fixture(autouse=True)
def as_before(stack: Suite) -> Iterator[None]:
    yield
    relay = stack.processes["relay"]
    if relay.env.pop("RELAY_SPOOL_FULL", None):
        relay.stop()
    for process in stack.processes.values():
        if not process.is_running:
            process.start()
    stack.await_ready()


def at_once(call: Any, count: int) -> list[httpx.Response]:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: call(), range(count)))


def refuse(stack: Suite, key: str, count: int) -> None:
    assert {a.status_code for a in at_once(lambda: stack.chat(key, "nobody-has-it"), count)} == {404}


def counted(stack: Suite, key_id: str, requests: int) -> list[dict[str, Any]]:
    """The key's rows, once they and the hours' sums stand for so many requests."""

    def agreed() -> list[dict[str, Any]]:
        rows = stack.rows(keyId=key_id)
        assert sum(row["repeatCount"] for row in rows) == requests, [row["repeatCount"] for row in rows]
        hours = stack.mongo()["api_metrics_hourly"].find({"apiKeyId": rows[0]["apiKeyId"]})
        assert sum(hour["metrics"]["requests"]["total"] for hour in hours) == requests
        return rows

    return eventually(agreed, f"{requests} requests in rows and sums")


def relay_command(stack: Suite, *words: str) -> tuple[int, str, str]:
    process = stack.processes["relay"]
    ran = subprocess.run([*process.command, *words], env=process.env, capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


def test_of_a_flood_of_refusals_one_row_counts_what_is_beyond_ten_a_second(stack: Suite) -> None:
    key = stack.make_key()
    before = stack.metric("relay", "relay_refusals_folded_total")
    refuse(stack, key["key"], 80)
    rows = counted(stack, key["keyId"], 80)
    assert len(rows) < 80 and {row["outcome"] for row in rows} == {"refused"}
    folded = 80 - len(rows)
    eventually(lambda: stack.metric("relay", "relay_refusals_folded_total") == before + folded, "the metric")


def test_refusals_that_a_row_counts_survive_kill_9_and_a_shutdown(stack: Suite) -> None:
    key = stack.make_key()
    for kill in (True, False):
        refuse(stack, key["key"], 50)
        stack.restart("relay", kill=kill)
    rows = counted(stack, key["keyId"], 100)
    assert len(rows) < 100


def test_a_full_disk_is_an_alarm_then_a_refusal_and_nothing_is_lost(stack: Suite) -> None:
    spool = stack.path("spool")
    if not os.path.ismount(spool):
        pytest.skip("needs to mount a small file system: run as root")
    key = stack.make_key()
    ballast = spool / "ballast"
    answers: list[httpx.Response] = []

    def alarmed() -> bool:
        """What the spool has on the disk already it uses up first."""
        with ballast.open("ab", buffering=0) as f, pytest.raises(OSError):
            while True:
                f.write(b"x" * 4096)
        answers.extend(at_once(lambda: stack.chat(key["key"]), 20))
        return stack.metric("relay", "relay_spool_disk_failed") == 1

    stack.processes["usage"].stop()  # else what it takes makes room for what comes, for ever
    try:
        eventually(alarmed, "the alarm")
        assert {a.status_code for a in answers} == {200}, "what is finished waits in the flight table"
        assert httpx.get(stack.ops_url("relay"), timeout=30).status_code == 503
        answers += at_once(lambda: stack.chat(key["key"]), SLOTS)
        statuses = [a.status_code for a in answers]
        assert set(statuses) == {200, 503} and statuses[-1] == 503
        assert answers[-1].json()["error"]["code"] == "spool_busy"
        assert stack.processes["relay"].is_running
    finally:
        ballast.unlink()
        stack.processes["usage"].start()
    eventually(lambda: stack.metric("relay", "relay_spool_disk_failed") == 0, "the disk is well again")
    stack.await_ready("relay")
    answers += [stack.chat(key["key"])]
    assert answers[-1].status_code == 200
    rows = counted(stack, key["keyId"], len(answers))
    complete = {row["requestId"] for row in rows if row["outcome"] == "complete"}
    assert complete == {a.headers["x-request-id"] for a in answers if a.status_code == 200}
    assert sum(row["repeatCount"] for row in rows if row["response"].get("error") == "spool_busy") == statuses.count(503)


def test_a_disk_that_fills_up_is_an_alarm_while_the_spool_still_uses_its_files_again(stack: Suite) -> None:
    spool = stack.path("spool")
    if not os.path.ismount(spool):
        pytest.skip("needs to mount a small file system: run as root")
    key = stack.make_key()
    ballast = spool / "ballast"
    try:
        with ballast.open("ab", buffering=0) as f, pytest.raises(OSError):
            while True:
                f.write(b"x" * 4096)
        eventually(lambda: stack.metric("relay", "relay_spool_disk_low") == 1, "the alarm")
        assert stack.processes["relay"].events("spool_disk_low")
        assert {a.status_code for a in at_once(lambda: stack.chat(key["key"]), 20)} == {200}
        assert stack.metric("relay", "relay_spool_disk_failed") == 0
    finally:
        ballast.unlink()
    eventually(lambda: stack.metric("relay", "relay_spool_disk_low") == 0, "the disk has room")
    counted(stack, key["keyId"], 20)


def fill(stack: Suite, key: str) -> set[str]:
    """Answers until the spool is at its bound; their ids."""
    stack.processes["usage"].stop()
    given: set[str] = set()

    def ask() -> None:
        answer = stack.chat(key)
        if answer.status_code == 200:
            given.add(answer.headers["x-request-id"])

    while stack.metric("relay", "relay_spool_full") != 1:
        at_once(ask, 50)
    assert stack.metric("relay", "relay_spool_filling") == 1
    assert stack.processes["relay"].events("spool_filled") and stack.processes["relay"].events("spool_full")
    return given


def test_at_its_bound_the_spool_refuses_until_usage_is_back(stack: Suite) -> None:
    key = stack.make_key()
    given = fill(stack, key["key"])
    answer = stack.chat(key["key"])
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "spool_busy"
    assert httpx.get(stack.ops_url("relay"), timeout=30).status_code == 503
    stack.processes["usage"].start()
    stack.await_ready()
    served = eventually(lambda: (a := stack.chat(key["key"])).status_code == 200 and a, "new traffic is served")
    given.add(served.headers["x-request-id"])

    def every_answer() -> bool:
        ids = [row["requestId"] for row in stack.rows(keyId=key["keyId"], outcome="complete")]
        assert set(ids) == given, f"{len(given - set(ids))} answers without a row, {len(set(ids) - given)} rows without an answer"
        return len(ids) == len(given)

    eventually(every_answer, "every answer")
    assert stack.metric("relay", 'relay_spool_dropped_total{reason="degraded"}') == 0


def test_degraded_it_serves_keys_without_limits_and_says_what_it_drops(stack: Suite) -> None:
    key, limited = stack.make_key(), stack.make_key(limits={"tokensPerDay": 1_000_000_000})
    stack.processes["relay"].stop()
    stack.processes["relay"].env["RELAY_SPOOL_FULL"] = "degrade"
    stack.processes["relay"].start()
    stack.await_ready("relay")
    fill(stack, key["key"])
    dropped = stack.metric("relay", 'relay_spool_dropped_total{reason="degraded"}')
    for stream in (False, True):
        assert stack.chat(key["key"], stream=stream).status_code == 200
    assert stack.chat(limited["key"]).status_code == 503
    assert httpx.get(stack.ops_url("relay"), timeout=30).status_code == 200, "what is served unrecorded needs a relay that gets traffic"
    told = eventually(lambda: (n := stack.metric("relay", 'relay_spool_dropped_total{reason="degraded"}')) >= dropped + 2 and n, "the metric")
    stack.processes["usage"].start()
    stack.await_ready()
    spools = stack.mongo()["usage_spools"]
    eventually(lambda: spools.find_one({"status.dropped": {"$gte": int(told)}}), "usage is told")


def told_by_relay(stack: Suite, command: str, folder: str) -> list[Any]:
    status, out, log = relay_command(stack, "spool", command, folder)
    assert status == 0, log
    return [json.loads(line) for line in out.splitlines()]


def test_what_a_lost_relay_has_is_replayed_once(stack: Suite) -> None:
    key = stack.make_key()
    folder = str(stack.path("spool"))
    stack.processes["usage"].stop()
    answers = at_once(lambda: stack.chat(key["key"]), 30)
    assert {a.status_code for a in answers} == {200}
    status, out, log = relay_command(stack, "spool", "replay", folder)
    assert status == 1 and "another process holds" in log, "the relay lives"
    asked = {a.headers["x-request-id"] for a in answers}
    eventually(lambda: asked <= {line["event"]["requestId"] for line in told_by_relay(stack, "export", folder)}, "all is exported")
    waiting = next(line["waiting"] for line in told_by_relay(stack, "inspect", folder) if line["name"] == "spool")
    assert waiting == len(told_by_relay(stack, "export", folder)) >= 30
    stack.processes["relay"].send(signal.SIGKILL)
    stack.processes["relay"].wait()
    stack.processes["usage"].start()
    stack.await_ready("usage")
    relay = stack.processes["relay"]
    target = relay.env.pop("RELAY_USAGE_TARGET")
    try:
        status, out, log = relay_command(stack, "spool", "replay", folder, "--to", target)
    finally:
        relay.env["RELAY_USAGE_TARGET"] = target
    said = json.loads(out)
    assert status == 0 and said["left"] == 0 and said["events"] == said["claimed"] >= 30, (said, log)
    counted(stack, key["keyId"], 30)
    status, out, log = relay_command(stack, "spool", "replay", folder)
    assert status == 0 and json.loads(out) == {"events": 0, "claimed": 0, "left": 0}, log
    relay.start()  # it does come back: nothing is sent twice
    stack.await_ready()
    assert stack.chat(key["key"]).status_code == 200
    counted(stack, key["keyId"], 31)


def test_replay_needs_a_spool_and_a_directory(stack: Suite, tmp_path: Path) -> None:
    status, _, log = relay_command(stack, "spool", "replay", str(tmp_path))
    assert status == 1 and "no spool" in log
    assert not list(tmp_path.iterdir())
    assert relay_command(stack, "spool", "replay")[0] == 2


def test_a_tail_that_did_not_reach_the_disk_is_lost_and_nothing_else(stack: Suite, tmp_path: Path) -> None:
    key = stack.make_key()
    relay, spool = stack.processes["relay"], stack.path("spool") / "spool"

    def recorded(count: int) -> set[str]:
        before = stack.metric("relay", "relay_spool_committed_events_total")
        answers = at_once(lambda: stack.chat(key["key"]), count)
        assert {a.status_code for a in answers} == {200}
        eventually(lambda: stack.metric("relay", "relay_spool_committed_events_total") == before + count, "all is committed")
        return {a.headers["x-request-id"] for a in answers}

    stack.processes["usage"].stop()
    kept = recorded(5)
    relay.send(signal.SIGSTOP)
    shutil.copytree(spool, tmp_path / "spool")
    relay.send(signal.SIGCONT)
    lost = recorded(5)
    relay.send(signal.SIGKILL)
    relay.wait()
    shutil.rmtree(spool)
    shutil.copytree(tmp_path / "spool", spool)
    relay.start()
    stack.await_ready("relay")
    kept |= recorded(3)  # their numbers are those of the tail that is gone
    stack.processes["usage"].start()

    def agreed() -> bool:
        ids = [row["requestId"] for row in stack.rows(keyId=key["keyId"])]
        assert len(ids) == len(set(ids)) and set(ids) - lost == kept
        return len(ids) >= 8

    eventually(agreed, "what was kept has a row each")
    counted(stack, key["keyId"], len(stack.rows(keyId=key["keyId"])))
    assert stack.metric("relay", 'relay_spool_resets_total{reason="copied"}') == 0, "usage has claimed none of it"


def test_a_read_only_file_system_is_an_error_at_start(stack: Suite, tmp_path: Path) -> None:
    relay = stack.processes["relay"]
    relay.stop()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)], capture_output=True).returncode != 0:
        pytest.skip("needs to mount a file system: run as root")
    try:
        ran = subprocess.run(relay.command, env={**relay.env, "RELAY_SPOOL_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert ran.returncode == 1 and "Read-only file system" in ran.stdout + ran.stderr, ran.stderr
