"""Backup and restore as docs/operate.md has it: its own commands, on a suite that goes on working."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.ports import eventually
from harness.snippets import section, shell, tools
from harness.suite import TOP, Suite

PAGE = "docs/operate.md"
MONGO_TOOLS = TOP / "tests/harness/mongo_tools.py"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One for all: each test leaves it working, with more spools than before."""
    s = Suite(tmp_path_factory.mktemp("backup"), tls=False).start()
    yield s
    assert not [name for name, status in s.stop().items() if status]


def steps(heading: str) -> list[str]:
    """The commands under "### heading", in order."""
    text = section(PAGE, "Backup and restore")
    part = re.search(rf"^### {heading}\n(.*?)(?=^### |\Z)", text, re.M | re.S)
    assert part
    return [textwrap.dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```$", part[1], re.M | re.S)]


class Operator:
    """Has the variables of the page and MongoDB's tools; `do` performs one of its blocks."""

    def __init__(self, suite: Suite) -> None:
        bin_ = suite.path("bin")
        bin_.mkdir()
        if not shutil.which("mongodump"):
            for verb in ("mongodump", "mongorestore"):
                (bin_ / verb).write_text(f'#!/bin/sh\nexec python3 {MONGO_TOOLS} {verb} "$@"\n')
                (bin_ / verb).chmod(0o755)
        env = tools()
        self.suite = suite
        self.env = {
            **env,
            "PATH": f"{bin_}:{env['PATH']}",
            "MONGO_URI": suite.mongo_uri,
            "MONGO_DATABASE": suite.database,
            "REDIS_URL": suite.redis_url,
            "REDIS_DIR": str(suite.path("redis")),
            "PEPPERS_FILE": str(suite.path("peppers")),
            "BACKUP": str(suite.path("backup")),
            "BACKUP_SECRETS": str(suite.path("backup-secrets")),
        }

    def do(self, block: str) -> str:
        return shell(block, self.suite.folder, self.env, 60)

    def stop(self, *names: str) -> None:
        for name in names:
            assert self.suite.processes[name].stop() == 0

    def start(self, *names: str) -> None:
        for name in names:
            self.suite.processes[name].start()
        self.suite.await_ready(*(name for name in names if name != "redis"))


@pytest.fixture(scope="module")
def operator(suite: Suite) -> Operator:
    return Operator(suite)


def ask(suite: Suite, key: dict[str, Any], count: int) -> set[str]:
    answers = [suite.chat(key["key"]) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.headers["x-request-id"] for answer in answers}


def rows_are(suite: Suite, expected: set[str], key: dict[str, Any]) -> None:
    """Each request once, and sums that agree."""

    def agreed() -> bool:
        ids = [row["requestId"] for row in suite.rows(keyId=key["keyId"])]
        assert sorted(ids) == sorted(expected), (len(ids), len(expected))
        hours = list(suite.mongo()["api_metrics_hourly"].find({"apiKeyId": suite.rows(keyId=key["keyId"])[0]["apiKeyId"]}))
        assert sum(hour["metrics"]["requests"]["total"] for hour in hours) == len(expected)
        return True

    eventually(agreed, f"{len(expected)} rows and their sums")


def spool_resets(suite: Suite, reason: str) -> int:
    text = httpx.get(suite.ops_url("relay", "/metrics"), timeout=30).text
    found = re.search(rf'^relay_spool_resets_total{{reason="{reason}"}} (\d+)$', text, re.M)
    return int(found[1]) if found else 0


def spool_ids(suite: Suite) -> set[str]:
    return {spool["_id"] for spool in suite.mongo()["usage_spools"].find()}


def spool_folder(suite: Suite) -> Path:
    return Path(suite.processes["relay"].env["RELAY_SPOOL_DIR"])


def sign_in(suite: Suite) -> httpx.Client:
    client = httpx.Client(base_url=suite.admin_url, timeout=30)
    answer = client.post("/admin/session", json={"username": "admin", "password": suite.owner_password})
    assert answer.status_code == 200, answer.text
    return client


def differing_figures(suite: Suite) -> int:
    """Of the sums of the last two hours and their rows."""
    now = datetime.now(UTC)
    period = {"from": (now - timedelta(hours=1)).isoformat(), "to": (now + timedelta(hours=1)).isoformat()}
    answer = suite.admin("POST", "/admin/accounting/rebuild", json={**period, "dryRun": True})
    assert answer.status_code == 200 and answer.json()["rows"] > 0, answer.text
    return int(answer.json().get("differingFigures", 0))


def test_the_steps_bring_an_older_state_back_and_count_nothing_twice(suite: Suite, operator: Operator) -> None:
    [backup] = steps("To back up")
    restore, restore_redis = steps("To restore")
    key, leaked = suite.make_key(name="kept"), suite.make_key(name="leaked")
    saved = ask(suite, key, 5)
    rows_are(suite, saved, key)
    suite.mongo()["conversations"].insert_one({"_id": "of LibreChat", "title": "before"})
    session = sign_in(suite)

    operator.stop("usage")
    waiting = ask(suite, key, 2)
    operator.do(backup)
    operator.start("usage")
    rows_are(suite, saved | waiting, key)

    # Life goes on, and then everything is lost but the relay's disk.
    later = ask(suite, key, 4)
    rows_are(suite, saved | waiting | later, key)
    suite.mongo()["conversations"].update_one({}, {"$set": {"title": "after"}})
    assert suite.admin("DELETE", f"/admin/api-keys/{leaked['id']}").status_code == 200
    eventually(lambda: suite.chat(leaked["key"]).status_code == 401, "the leaked key is revoked")
    rejected = {row["requestId"] for row in suite.rows(keyId=leaked["keyId"])}
    spools = spool_ids(suite)
    operator.stop("auth", "usage", "admin-gw", "redis")
    for name in set(suite.mongo().list_collection_names()) - {"conversations"}:
        suite.mongo()[name].drop()
    shutil.rmtree(suite.path("redis"))
    suite.path("redis").mkdir()
    suite.path("peppers").unlink()
    held = ask(suite, key, 3)

    operator.do(restore)
    operator.do(restore_redis)
    operator.start("redis", "auth", "usage", "admin-gw")
    lost = eventually(lambda: suite.processes["relay"].events("usage_claims_lost"), "the relay notices")
    eventually(lambda: spool_resets(suite, "restored") == 1, "it is counted")
    operator.stop("relay")
    operator.start("relay")

    rows_are(suite, saved | held, key)
    assert len(lost) == 1 and lost[0]["events_lost"] == lost[0]["acked"] - lost[0]["claimed"] >= len(waiting | later), lost
    assert len(spool_ids(suite) - spools) == 1, "what was held came under a new id"
    assert differing_figures(suite) == 0
    assert rejected.isdisjoint(row["requestId"] for row in suite.rows())
    assert suite.mongo()["conversations"].find_one()["title"] == "after"
    assert suite.shown("/admin/audit/verify")["intact"] is True
    assert session.get("/admin/session").status_code == 200, "Redis has its sessions again"

    # The backup knows nothing of what was revoked since.
    assert suite.chat(leaked["key"]).status_code == 200
    assert suite.admin("DELETE", f"/admin/api-keys/{leaked['id']}").status_code == 200
    eventually(lambda: suite.chat(leaked["key"]).status_code == 401, "it is revoked again")
    rows_are(suite, saved | held | ask(suite, key, 2), key)


def test_the_page_names_every_collection_of_ours(suite: Suite) -> None:
    names = re.search(r'ours="([^"]+)"', steps("To restore")[0])
    assert names
    ours = set(names[1].split())
    key = suite.make_key()
    suite.row(suite.chat(key["key"]).headers["x-request-id"])
    suite.admin("POST", "/admin/providers", json={"name": "local", "kind": "openai", "baseUrl": "http://127.0.0.1:1/v1"})
    assert set(suite.mongo().list_collection_names()) - {"conversations"} <= ours
    page = section("docs/architecture.md", "Who owns what")
    assert set(re.findall(r"`(\w+_\w+|providers|alerts)`", page.partition("\n| relay")[0])) - {"api_keys"} <= ours


def test_a_spool_that_moves_brings_its_events_along(suite: Suite, operator: Operator, tmp_path: Path) -> None:
    key = suite.make_key()
    asked = ask(suite, key, 2)
    rows_are(suite, asked, key)
    spools = spool_ids(suite)
    operator.stop("usage")
    asked |= ask(suite, key, 3)
    operator.stop("relay")
    spool_folder(suite).rename(tmp_path / "moved")
    suite.processes["relay"].env["RELAY_SPOOL_DIR"] = str(tmp_path / "moved")
    operator.start("usage", "relay")
    rows_are(suite, asked, key)
    assert spool_ids(suite) == spools


def test_an_old_copy_of_a_spool_is_noticed_and_counted_no_second_time(suite: Suite, operator: Operator, tmp_path: Path) -> None:
    key = suite.make_key()
    asked = ask(suite, key, 3)
    rows_are(suite, asked, key)
    spools, folder = spool_ids(suite), spool_folder(suite)
    operator.stop("relay")
    shutil.copytree(folder, tmp_path / "copy")
    operator.start("relay")
    asked |= ask(suite, key, 4)
    rows_are(suite, asked, key)
    operator.stop("relay")
    shutil.rmtree(folder)
    (tmp_path / "copy").rename(folder)
    operator.start("relay")
    eventually(lambda: suite.processes["relay"].events("spool_rolled_back"), "the relay notices")
    asked |= ask(suite, key, 2)
    rows_are(suite, asked, key)
    assert len(spool_ids(suite) - spools) == 1 and spool_resets(suite, "copied") == 1
    assert [path for path in folder.iterdir() if re.fullmatch(r"spool\.\w+\.conflict", path.name)]
