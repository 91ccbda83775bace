"""One key with a budget for 100 holds, 200 callers at once, 3 relays: never over, used to its end, exact at rest."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from faults.crowd import Body, Crowd, chat
from harness.ledgers import COST_MONTH, Ledger, await_rest, ledger, rows_of, used, watched
from harness.ports import PATIENCE, eventually
from harness.suite import Suite
from harness.three_relays import RELAYS, start_three, three_relays

HOLDS = 100
CEILING = 100  # tokens of output that are asked for
SECONDS = 90.0 * PATIENCE
MODEL = "gpt-4o-mini+slow-40"
PROMPT_NANO_USD, OUTPUT_NANO_USD = 150, 600  # a token of gpt-4o-mini

pytestmark = pytest.mark.timeout(round(240 * PATIENCE))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = start_three(three_relays(tmp_path_factory.mktemp("budget")))
    yield suite
    statuses = suite.stop()
    assert not [name for name, status in statuses.items() if name.startswith(("auth", "usage", "relay")) and status], statuses


def hold_of(stack: Suite, model: str, max_tokens: int) -> int:
    """What such a request is held for, in nano-USD: asked of the relay while one is under way."""
    key = stack.make_key(limits={"costLimit": 1})

    def look() -> int:
        states = stack.get("/v1/usage", key["key"]).json()["limitStates"]
        return next((int(s["held"]) for s in states if s["name"] == "costLimitNanoUsd"), 0)

    caller = threading.Thread(target=lambda: stack.chat(key["key"], f"{model}+slow-2000", max_tokens=max_tokens))
    caller.start()
    held = eventually(look, "a hold")
    caller.join()
    await_rest(stack, key, COST_MONTH)
    return held


@pytest.fixture(scope="module")
def hold(stack: Suite) -> int:
    return hold_of(stack, "gpt-4o-mini", CEILING)


def prompt_of(hold: int) -> int:
    """Tokens of the prompt that, with all of the output, cost exactly the hold."""
    tokens, rest = divmod(hold - CEILING * OUTPUT_NANO_USD, PROMPT_NANO_USD)
    assert rest == 0 and tokens > 0
    return tokens


def make_key(stack: Suite, hold: int, **fields: Any) -> dict[str, Any]:
    return stack.make_key(limits={"costLimitNanoUsd": str(HOLDS * hold)}, **fields)


def asked(model: str, **members: Any) -> Body:
    return chat(f"{MODEL}+{model}", max_tokens=CEILING, **members)


def never_over(seen: list[tuple[int, int]], limit: int) -> None:
    assert len(seen) >= 5 and {of for _, of in seen} == {limit}
    assert max(taken for taken, _ in seen) <= limit, max(seen)


def test_answers_that_cost_their_hold_use_the_budget_to_the_last_one(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    bodies = [asked(f"prompt-{prompt_of(hold)}+long-{CEILING}"), asked(f"prompt-{prompt_of(hold)}+long-{CEILING}", stream=True)]
    bodies[1].request["model"] = bodies[1].request["model"].replace("slow-40", "slow-2")
    with watched(stack, key, COST_MONTH) as seen:
        crowd = Crowd(stack, key, bodies).run(Crowd.is_used_up, SECONDS)
    never_over(seen, HOLDS * hold)
    assert set(crowd.statuses) == {200, 429}, crowd.statuses
    assert await_rest(stack, key, COST_MONTH) == HOLDS * hold
    # What is left of two grants may each pay for a shorter answer, where one whole would have been left of one.
    costs = [row["usage"]["costNanoUsd"] for row in rows_of(stack, key)]
    assert sum(costs) == HOLDS * hold and 0 < min(costs) and max(costs) == hold, sorted(costs)[:5]
    assert costs.count(hold) >= HOLDS - len(RELAYS), sorted(costs)[:5]


def test_answers_that_cost_a_tenth_of_their_hold_use_99_percent(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    tenth = asked(f"prompt-{hold // 10 // PROMPT_NANO_USD - 4 * 4}+long-4")
    with watched(stack, key, COST_MONTH) as seen:
        crowd = Crowd(stack, key, [tenth]).run(Crowd.is_used_up, SECONDS)
    never_over(seen, HOLDS * hold)
    assert set(crowd.statuses) == {200, 429}, crowd.statuses
    spent = await_rest(stack, key, COST_MONTH)
    assert 0.99 * HOLDS * hold <= spent <= HOLDS * hold, (spent / hold, crowd.statuses)
    assert all(row["usage"]["costNanoUsd"] <= hold / 10 for row in rows_of(stack, key))


def test_one_answer_beyond_its_ceiling_is_all_that_goes_over(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    honest = asked(f"prompt-{prompt_of(hold)}+long-{CEILING}")
    excess = 3 * CEILING
    offending = f"gpt-4o-mini+slow-3000+prompt-{prompt_of(hold)}+long-{CEILING}+reasoning-{excess}"
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(stack.chat(key["key"], offending, max_tokens=CEILING)))
    caller.start()
    eventually(lambda: ledger(stack, key).taken[COST_MONTH] == hold, "the offender's hold")
    crowd = Crowd(stack, key, [honest]).run(Crowd.is_used_up, SECONDS)
    caller.join()
    spent = await_rest(stack, key, COST_MONTH)
    over = excess * OUTPUT_NANO_USD
    flagged = [row for row in rows_of(stack, key) if row.get("ceilingIgnored")]
    assert answers[0].status_code == 200, answers[0].text
    assert len(flagged) == 1 and flagged[0]["usage"]["costNanoUsd"] == hold + over
    assert HOLDS * hold - hold < spent <= HOLDS * hold + over, (spent - HOLDS * hold, over)
    assert crowd.served + 1 == len(rows_of(stack, key))
    assert sum(stack.metric(relay, "relay_ledger_overrun_nano_usd_total") for relay in RELAYS) >= over


def test_answers_beyond_their_ceilings_go_over_by_their_own_excess_only(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    bodies = [asked(f"prompt-{prompt_of(hold)}+long-{CEILING}+reasoning-{CEILING}")]
    Crowd(stack, key, bodies).run(Crowd.is_used_up, SECONDS)
    spent = await_rest(stack, key, COST_MONTH)
    rows = rows_of(stack, key)
    assert all(row["ceilingIgnored"] for row in rows)
    assert spent <= HOLDS * hold + sum(row["usage"]["costNanoUsd"] - hold for row in rows)
    assert len(rows) <= HOLDS


def test_a_short_answer_to_a_short_prompt_is_held_for_at_most_three_times_its_cost(stack: Suite) -> None:
    key = stack.make_key()
    answer = stack.chat(key["key"], "gpt-4o-mini+long-40", max_tokens=40)
    row = stack.row(answer.headers["x-request-id"])
    assert row["usage"]["completionTokens"] == 40
    assert row["usage"]["costNanoUsd"] <= hold_of(stack, "gpt-4o-mini", 40) <= 3 * row["usage"]["costNanoUsd"]


MIXED = (
    asked("long-30"),
    asked("long-60", stream=True),
    chat("gpt-4o-mini+slow-15+long-60", leave_after=3000, stream=True, max_tokens=CEILING),
    chat("gpt-4o-mini+slow-100+long-60", leave_after=0, stream=True, max_tokens=CEILING),
    asked("fail-status-503"),
    asked("fail-cut-5+long-60", stream=True),
    asked("fail-cut-head"),
    asked("long-90", n=2),
    asked("fail-no-usage+long-60", stream=True),
)


def test_streams_retries_and_callers_that_leave_change_nothing(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    with watched(stack, key, COST_MONTH) as seen:
        crowd = Crowd(stack, key, MIXED).run(Crowd.is_used_up, SECONDS)
    never_over(seen, HOLDS * hold)
    assert {200, 429} <= set(crowd.statuses) <= {0, 200, 429, 502, 503}, crowd.statuses
    spent = await_rest(stack, key, COST_MONTH)
    assert 0.99 * HOLDS * hold <= spent <= HOLDS * hold, (spent / hold, crowd.statuses)
    outcomes = {row["outcome"] for row in rows_of(stack, key)}
    assert {"complete", "partial", "failed"} <= outcomes, outcomes


def kill_in_the_middle(stack: Suite, key: dict[str, Any], crowd: Crowd) -> Ledger:
    """relay-3 is killed with requests of its under way; what Redis holds of the ledger just after."""

    def open_there() -> bool:
        spool = spool_of(stack, "relay-3")
        return crowd.served >= HOLDS // 4 and any(r.spool == spool and r.lent[COST_MONTH] > 0 for r in ledger(stack, key).records)

    eventually(open_there, "holds at relay-3")
    stack.processes["relay-3"].kill()
    return ledger(stack, key)


def spool_of(stack: Suite, relay: str) -> str:
    opened = stack.processes[relay].events("spool_opened")[-1]
    return str(opened["spool_id"])


def test_a_killed_relay_closes_exactly_with_its_spool(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)

    def kill(crowd: Crowd) -> None:
        kill_in_the_middle(stack, key, crowd)
        stack.processes["relay-3"].start()
        stack.await_ready("relay-3")

    with watched(stack, key, COST_MONTH) as seen:
        Crowd(stack, key, [asked("long-30"), asked("long-30", stream=True)]).run(Crowd.is_used_up, SECONDS, kill)
    never_over(seen, HOLDS * hold)
    assert stack.metric("relay-3", "relay_ledger_final_total") >= 1
    assert 0.95 * HOLDS * hold <= await_rest(stack, key, COST_MONTH) <= HOLDS * hold


def test_what_a_relay_had_that_was_killed_with_its_spool_stays_counted(stack: Suite, hold: int) -> None:
    key = make_key(stack, hold)
    lost: list[str] = []

    def kill(crowd: Crowd) -> None:
        kill_in_the_middle(stack, key, crowd)
        lost.append(spool_of(stack, "relay-3"))
        folder = stack.path("spool_dir-3")
        shutil.rmtree(folder)
        folder.mkdir()
        stack.processes["relay-3"].start()
        stack.await_ready("relay-3")

    with watched(stack, key, COST_MONTH) as seen:
        Crowd(stack, key, [asked("long-30"), asked("long-30", stream=True)]).run(Crowd.is_used_up, SECONDS, kill)
    never_over(seen, HOLDS * hold)
    assert spool_of(stack, "relay-3") != lost[0]

    def rest() -> bool:
        there = ledger(stack, key)
        dead = [record for record in there.records if record.spool == lost[0]]
        others = sum(row["usage"]["costNanoUsd"] for row in rows_of(stack, key) if row["_id"].binary[4:9].hex() != lost[0])
        assert there.live == len(dead) == 1 and dead[0].lent[COST_MONTH] > 0, there
        assert there.taken[COST_MONTH] == others + dead[0].spent[COST_MONTH] + dead[0].lent[COST_MONTH], (there, others)
        return True

    eventually(rest, "the others' spend and what the dead one had")
    assert used(stack, key, COST_MONTH) <= ledger(stack, key).taken[COST_MONTH] <= HOLDS * hold
