"""What a model costs, and what becomes of requests for one that nobody has set a price for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness.ports import eventually
from harness.suite import Suite

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def time_in(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def price(model: str, prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """Nano-USD a token."""
    return {"model": model, "promptPerMillionNanoUsd": str(prompt * 10**6), "completionPerMillionNanoUsd": str(completion * 10**6), **more}


def put(suite: Suite, *prices: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = suite.admin("PUT", "/admin/prices", json={"prices": list(prices), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["priceBook"]


def in_force(suite: Suite) -> dict[str, Any]:
    return suite.shown("/admin/prices")["priceBook"]


def asked(suite: Suite, key: str, model: str, **body: Any) -> dict[str, Any]:
    """The row of a request that was answered."""
    answer = suite.chat(key, model, **body)
    assert answer.status_code == 200, answer.text
    return suite.row(answer.headers["x-request-id"])


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("prices")).start()
    eventually(lambda: stack.admin("GET", "/admin/prices").status_code == 200, "the way to the relay")
    yield stack
    assert stack.stop()["relay"] == 0


def add_route(suite: Suite, model: str, *targets: dict[str, Any]) -> None:
    answer = suite.admin("POST", "/admin/models", json={"model": model, "targets": list(targets)})
    assert answer.status_code == 200, answer.text


def assert_unpriced(answer: Any, model: str) -> None:
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert error["code"] == "model_not_priced" and error["param"] == "model"
    assert f"`{model}`" in error["message"] and "price book" in error["message"]


# ---- a model without a price ----


@pytest.mark.parametrize("whose", ["key", "client", "owner"])
def test_a_model_without_a_price_is_refused_where_there_is_a_budget(suite: Suite, whose: str) -> None:
    ids = {"client": {"clientId": "budgeted"}, "owner": {"userId": "64b7f0a1c2d3e4f5a6b7c8d9"}}.get(whose, {})
    if whose == "key":
        key = suite.make_key(limits={"costLimit": 5})
    else:
        path = f"/admin/limits/{whose}s/{next(iter(ids.values()))}".replace('owners', 'users')
        answer = suite.admin("PUT", path, json={"limits": {"costLimit": 5}})
        assert answer.status_code == 200, (path, answer.text)
        key = suite.make_key(**ids)
    refused = suite.chat(key["key"], "llama-nobody-priced")
    assert_unpriced(refused, "llama-nobody-priced")
    row = suite.row(refused.headers["x-request-id"])
    assert row["outcome"] == "refused" and row["response"]["error"] == "model_not_priced" and row["attempts"] == 0
    assert suite.chat(key["key"], "gpt-4o").status_code == 200
    streamed = suite.chat(key["key"], "llama-nobody-priced", stream=True)
    assert_unpriced(streamed, "llama-nobody-priced")


def test_anthropics_callers_are_told_in_their_words(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 5})["key"]
    body = {"model": "llama-nobody-priced", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    answer = suite.post("/v1/messages", key, json=body)
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert error["type"] == "permission_error" and "`llama-nobody-priced`" in error["message"]


def test_for_others_it_is_free_and_flagged(suite: Suite) -> None:
    for limits in ({}, {"tokensPerDay": 100000}):
        key = suite.make_key(limits=limits)["key"]
        answer = suite.chat(key, "llama-nobody-priced")
        assert answer.status_code == 200, answer.text
        row = suite.row(answer.headers["x-request-id"])
        assert row["billingBasis"] == "unpriced" and row["usage"]["costNanoUsd"] == 0 and row["usage"]["totalTokens"] > 0


def test_a_name_of_the_book_stands_for_the_name_asked_for(suite: Suite) -> None:
    """An alias is priced by what is asked of the provider; a glob of the book counts like a name."""
    key = suite.make_key(limits={"costLimit": 5})["key"]
    add_route(suite, "house-model", {"provider": "local", "upstreamModel": "gpt-4o-mini-house"})
    answer = suite.chat(key, "house-model")
    assert answer.status_code == 200, answer.text
    usage = suite.row(answer.headers["x-request-id"])["usage"]
    assert usage["costNanoUsd"] == usage["promptTokens"] * 150 + usage["completionTokens"] * 600


def test_of_several_targets_a_budget_is_spent_at_those_with_a_price(suite: Suite) -> None:
    budget, free = suite.make_key(limits={"costLimit": 5})["key"], suite.make_key()["key"]
    add_route(suite, "mixed-first", {"provider": "local", "upstreamModel": "llama-free"}, {"provider": "scripted", "upstreamModel": "gpt-4o", "tier": 1})
    add_route(suite, "mixed-then", {"provider": "refused", "upstreamModel": "gpt-4o"}, {"provider": "local", "upstreamModel": "llama-free", "tier": 1})
    add_route(suite, "dearer", {"provider": "refused", "upstreamModel": "gpt-4o"}, {"provider": "local", "upstreamModel": "gpt-4.1", "tier": 1})

    def asked(key: str, model: str) -> dict[str, Any]:
        answer = suite.chat(key, model)
        assert answer.status_code == 200, answer.text
        return suite.row(answer.headers["x-request-id"])

    row = asked(budget, "mixed-first")
    assert row["upstreamModel"] == "gpt-4o" and row["attempts"] == 1 and row["usage"]["costNanoUsd"] > 0
    row = asked(free, "mixed-first")
    assert row["upstreamModel"] == "llama-free" and row["billingBasis"] == "unpriced"
    assert suite.chat(budget, "mixed-then").status_code == 503, "what has no price does not stand in for what fails"
    row = asked(free, "mixed-then")
    assert row["upstreamModel"] == "llama-free" and row["attempts"] == 2 and row["billingBasis"] == "unpriced"
    row = asked(budget, "dearer")
    assert row["attempts"] == 2 and row["usage"]["costNanoUsd"] == row["usage"]["promptTokens"] * 2000 + row["usage"]["completionTokens"] * 8000


def test_who_changed_a_provider_or_a_route_stands_beside_it(suite: Suite) -> None:
    provider = {"name": "signed", "kind": "local", "baseUrl": "http://127.0.0.1:9"}
    made = suite.admin("POST", "/admin/providers", json=provider).json()["provider"]
    route = suite.admin("POST", "/admin/models", json={"model": "signed-model", "targets": [{"provider": "signed"}]}).json()["modelRoute"]
    assert made["updatedBy"] and made["updatedBy"] == route["updatedBy"]
    answer = suite.admin("PATCH", "/admin/providers/signed", json={"updatedBy": "somebody else"})
    assert answer.status_code == 400 and "is read only" in answer.text


@pytest.mark.parametrize(
    ("path", "body", "change", "name"),
    [
        ("/admin/providers", {"name": "explained", "kind": "local", "baseUrl": "http://127.0.0.1:9"}, {"status": "disabled"}, "provider"),
        ("/admin/models", {"model": "explained-model", "targets": [{"provider": "scripted"}]}, {"maxOutputTokens": 9}, "modelRoute"),
    ],
)
def test_why_it_was_changed_is_of_the_last_change(suite: Suite, path: str, body: dict[str, Any], change: dict[str, Any], name: str) -> None:
    made = suite.admin("POST", path, json={**body, "note": "a trial"}).json()[name]
    one = f"{path}/{made.get('id', made.get('name'))}"
    assert suite.shown(one)[name]["note"] == "a trial"
    changed = suite.admin("PATCH", one, json={**change, "note": "it was too dear"})
    assert changed.status_code == 200 and changed.json()[name]["note"] == "it was too dear", changed.text
    assert suite.admin("PATCH", one, json=change).json()[name].get("note", "") == "", "nobody said why"
    for bad in ("x" * 501, "two\nlines"):
        refused = suite.admin("PATCH", one, json={"note": bad})
        assert refused.status_code == 400 and '"field":"note"' in refused.text.replace(" ", ""), refused.text
    assert suite.admin("DELETE", one).status_code == 200


# ---- the book: these come last, since the file's prices are over once the API has some ----


def test_a_book_is_stored_with_who_and_why_and_read_back(suite: Suite) -> None:
    before = in_force(suite)
    assert before["source"] == "file" and before.get("etag", "") == ""
    book = put(suite, price("gpt-4o", 7, 11), price("local-*", 1, 2, provider="local"), note="the new contract")
    assert book["source"] == "api" and book["note"] == "the new contract" and book["updatedBy"] and book["effectiveFrom"] == book["updatedAt"]
    assert in_force(suite) == book
    row = asked(suite, suite.make_key()["key"], "gpt-4o")
    assert row["priceBookVersion"] == book["version"]
    assert row["usage"]["costNanoUsd"] == row["usage"]["promptTokens"] * 7 + row["usage"]["completionTokens"] * 11
    listed = suite.shown("/admin/prices/versions")["priceBooks"][0]
    assert (listed["version"], listed["note"], listed["updatedBy"], listed["priceCount"], listed["inForce"]) == (book["version"], book["note"], book["updatedBy"], 2, True)
    files = suite.shown(f"/admin/prices?version={before['version']}")["priceBook"]
    assert files["prices"] == before["prices"]


@pytest.mark.parametrize(
    ("book", "field"),
    [
        ({"prices": [price("gpt-4o", -1, 1)]}, "prices[0].promptPerMillionNanoUsd"),
        ({"prices": [price("", 1, 1)]}, "prices[0].model"),
        ({"prices": [price("a", 1, 1), price("b", 1, 1, imageNanoUsd="-5")]}, "prices[1].imageNanoUsd"),
        ({"prices": [price("a", 1, 1, maxOutputTokens=-5)]}, "prices[0].maxOutputTokens"),
        ({"prices": [price("a", 1, 1, provider="Not A Name")]}, "prices[0].provider"),
        ({"prices": [price("a", 1, 1), price("b", 1, 1), price("a", 2, 2)]}, "prices[2]"),
        ({"note": "x" * 501}, "note"),
        ({"note": "two\nlines"}, "note"),
        ({"effectiveFrom": "2200-01-01T00:00:00Z"}, "effectiveFrom"),
        ({"version": "mine"}, "version"),
        ({"updatedBy": "somebody else"}, "updatedBy"),
        ({"prices": [{"model": "a", "pricePerToken": 1}]}, "prices[0].pricePerToken"),
    ],
)
def test_a_book_that_is_none_is_refused_by_name_and_nothing_is_stored(suite: Suite, book: dict[str, Any], field: str) -> None:
    before = suite.shown("/admin/prices/versions")
    answers = [suite.admin("PUT", "/admin/prices", json=book)]
    if field != "version":  # an import passes over it, since what was exported has one
        answers.append(suite.admin("POST", "/admin/prices/import", json={"prices": [price("a", 1, 1)], **book}))
    for answer in answers:
        assert answer.status_code == 400 and field in answer.text, answer.text
    assert suite.shown("/admin/prices/versions") == before


def test_an_import_of_nothing_is_refused(suite: Suite) -> None:
    answer = suite.admin("POST", "/admin/prices/import", json={})
    assert answer.status_code == 400 and "prices" in answer.text


def test_a_change_on_top_of_another_is_refused(suite: Suite) -> None:
    first = put(suite, price("gpt-4o", 7, 11))
    put(suite, price("gpt-4o", 8, 11), etag=first["etag"])
    answer = suite.admin("PUT", "/admin/prices", json={"prices": [price("gpt-4o", 9, 11)], "etag": first["etag"]})
    assert answer.status_code == 409 and answer.json()["error"]["status"] == "ABORTED"
    answer = suite.admin("PUT", "/admin/prices", json={"prices": [price("gpt-4o", 9, 11)]}, headers={"If-Match": first["etag"]})
    assert answer.status_code == 409
    assert in_force(suite)["prices"][0]["promptPerMillionNanoUsd"] == str(8 * 10**6)


def test_a_book_takes_force_when_its_time_comes(suite: Suite) -> None:
    key = suite.make_key()["key"]
    now = put(suite, price("gpt-4o", 5, 5))
    later = put(suite, price("gpt-4o", 6, 6), effectiveFrom=time_in(3600), note="in an hour")
    assert in_force(suite)["version"] == now["version"] and in_force(suite)["etag"] == later["etag"]
    assert asked(suite, key, "gpt-4o")["priceBookVersion"] == now["version"]
    soon = put(suite, price("gpt-4o", 9, 9), effectiveFrom=time_in(2))

    def is_priced() -> bool:
        row = asked(suite, key, "gpt-4o")
        return bool(row["priceBookVersion"] == soon["version"] and row["usage"]["costNanoUsd"] == row["usage"]["totalTokens"] * 9)

    eventually(is_priced, "the book of two seconds later")
    assert in_force(suite)["version"] == soon["version"]
    suite.restart("relay")
    eventually(is_priced, "the same after a restart")
    flags = {book["version"]: book.get("inForce", False) for book in suite.shown("/admin/prices/versions")["priceBooks"]}
    assert flags[soon["version"]] and not flags[later["version"]] and not flags[now["version"]]


def test_a_book_takes_force_while_mongodb_is_away(suite: Suite) -> None:
    if "mongo" not in suite.processes:
        pytest.skip("MongoDB is not the suite's to stop")
    key = suite.make_key()["key"]
    assert suite.chat(key, "gpt-4o").status_code == 200  # the key is known
    soon = put(suite, price("gpt-4o", 31, 31), effectiveFrom=time_in(3))
    suite.processes["mongo"].stop()
    try:
        relay = suite.processes["relay"]
        eventually(lambda: any(e["version"] == soon["version"] for e in relay.events("price_book_took_force")), "the book of three seconds later")
        answer = suite.chat(key, "gpt-4o")
    finally:
        suite.processes["mongo"].start()
    assert answer.status_code == 200, answer.text
    row = suite.row(answer.headers["x-request-id"])
    assert row["priceBookVersion"] == soon["version"] and row["usage"]["costNanoUsd"] == row["usage"]["totalTokens"] * 31
    eventually(lambda: suite.admin("GET", "/admin/prices").status_code == 200, "the way to MongoDB")


def test_a_book_for_the_past_prices_nothing_anew(suite: Suite) -> None:
    before = in_force(suite)
    past = put(suite, price("gpt-4o", 1, 1), effectiveFrom="2020-01-01T00:00:00Z")
    assert in_force(suite)["version"] == before["version"] != past["version"]


def test_versions_are_listed_page_by_page(suite: Suite) -> None:
    whole = suite.shown("/admin/prices/versions?pageSize=500")["priceBooks"]
    assert len(whole) >= 5 and sum(book.get("inForce", False) for book in whole) == 1
    pages, cursor = [], ""
    while True:
        page = suite.shown(f"/admin/prices/versions?pageSize=2&cursor={cursor}")
        pages += page["priceBooks"]
        if not (cursor := page.get("nextCursor", "")):
            break
    assert pages == whole
    assert suite.admin("GET", "/admin/prices/versions?cursor=made-up").status_code == 400
    assert suite.admin("GET", "/admin/prices?version=index").status_code == 404


def test_a_book_that_was_stored_before_there_was_an_index_is_in_force(suite: Suite) -> None:
    """As relays did that knew no dates: each version under its name, and the one in force as "current"."""
    book = put(suite, price("gpt-4o", 21, 22))
    books = suite.mongo()["price_books"]
    index = books.find_one_and_delete({"_id": "index"})
    old = {name: value for name, value in books.find_one({"_id": book["version"]}).items() if name not in ("effectiveFrom", "updatedBy")}
    books.replace_one({"_id": book["version"]}, old)
    books.insert_one({**old, "_id": "current"})
    try:
        assert in_force(suite)["version"] == book["version"]
        later = put(suite, price("gpt-4o", 23, 24))
        assert in_force(suite)["version"] == later["version"]
        listed = suite.shown("/admin/prices/versions")["priceBooks"]
        assert [b["version"] for b in listed] == [later["version"], book["version"]]
        assert asked(suite, suite.make_key()["key"], "gpt-4o")["priceBookVersion"] == later["version"]
    finally:
        books.delete_one({"_id": "current"})
        books.replace_one({"_id": "index"}, index)


def test_what_is_exported_can_be_imported_whole_or_merged(suite: Suite) -> None:
    book = put(suite, price("a", 1, 2), price("b", 3, 4), price("b", 5, 6, provider="local"))
    exported = suite.shown("/admin/prices/export")
    assert set(exported) == {"version", "prices"} and exported["prices"] == book["prices"]
    again = suite.admin("POST", "/admin/prices/import", json={**exported, "dryRun": True}).json()
    assert {name: again.get(name, 0) for name in ("added", "changed", "removed")} == {"added": 0, "changed": 0, "removed": 0}

    change = {"prices": [price("b", 30, 40), price("c", 7, 8)], "note": "a change"}
    tried = suite.admin("POST", "/admin/prices/import", json={**change, "merge": True, "dryRun": True}).json()
    assert (tried["added"], tried["changed"], tried.get("removed", 0)) == (1, 1, 0)
    assert in_force(suite)["version"] == book["version"], "a dry run stores nothing"
    merged = suite.admin("POST", "/admin/prices/import", json={**change, "merge": True}).json()["priceBook"]
    assert [(p["model"], p.get("provider", ""), p["promptPerMillionNanoUsd"]) for p in merged["prices"]] == [
        ("a", "", "1000000"), ("b", "", "30000000"), ("b", "local", "5000000"), ("c", "", "7000000"),
    ]
    assert in_force(suite) == merged and merged["note"] == "a change" and merged["updatedBy"]
    whole = suite.admin("POST", "/admin/prices/import", json={**exported, "etag": merged["etag"]}).json()
    assert (whole.get("added", 0), whole["changed"], whole["removed"]) == (0, 1, 1)
    assert whole["priceBook"]["prices"] == book["prices"]
    old = suite.admin("POST", "/admin/prices/import", json={**exported, "etag": merged["etag"]})
    assert old.status_code == 409


def test_images_requests_and_reasoning_have_their_prices(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 5})["key"]
    put(suite, price("gpt-4o*", 1, 2, reasoningPerMillionNanoUsd="5000000", cachedPromptPerMillionNanoUsd="0", requestNanoUsd="1000", imageNanoUsd="70000"))
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "What are these?"}, image, image]
    row = asked(suite, key, "gpt-4o+reasoning-4", messages=[{"role": "user", "content": content}])
    usage = row["usage"]
    assert usage["images"] == 2 and usage["reasoningTokens"] == 4
    assert usage["costNanoUsd"] == usage["promptTokens"] + (usage["completionTokens"] - 4) * 2 + 4 * 5 + 1000 + 2 * 70000
    shown = suite.shown(f"/admin/logs?requestId={row['requestId']}")["logs"][0]["usage"]
    assert int(shown["images"]) == 2
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    body = {"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    answer = suite.post("/v1/messages", key, json=body)
    assert answer.status_code == 200, answer.text
    usage = suite.row(answer.headers["request-id"])["usage"]
    assert usage["images"] == 1 and usage["costNanoUsd"] == usage["promptTokens"] + usage["completionTokens"] * 2 + 1000 + 70000


def test_the_most_that_a_model_can_make_is_the_ceiling(suite: Suite) -> None:
    key = suite.make_key(limits={"costLimit": 5})["key"]
    put(suite, price("gpt-4o*", 1, 2, maxOutputTokens=100))
    text = "no ceiling of mine"
    assert suite.chat(key, "gpt-4o", text).status_code == 200
    sent = next(r for r in reversed(suite.upstream_log()) if text in r["body"])
    assert '"max_completion_tokens":100' in sent["body"].replace(" ", "")


# ---- the past by other prices ----


def rerated(suite: Suite, **question: Any) -> dict[str, Any]:
    answer = suite.admin("POST", "/admin/prices/rerate", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def figures(counts: dict[str, Any]) -> dict[str, int]:
    names = ("requests", "costNanoUsd", "ratedNanoUsd", "differenceNanoUsd", "changed", "unpriced", "formerlyUnpriced")
    return {name: int(counts.get(name, 0)) for name in names}


def test_a_past_period_is_priced_anew_and_nothing_is_written(suite: Suite) -> None:
    put(suite, price("gpt-4o*", 10, 20))
    start = time_in(0)
    made = suite.make_key()
    other = suite.make_key()["key"]
    rows = [asked(suite, made["key"], "gpt-4o") for _ in range(3)] + [asked(suite, made["key"], "gpt-4o+cached-2")]
    rows.append(asked(suite, made["key"], "llama-nobody-priced"))
    asked(suite, other, "gpt-4o-mini")
    before = list(suite.mongo()["api_usage"].find(sort=[("_id", 1)]))
    period = {"from": start, "apiKeyId": made["id"]}
    cost = sum(row["usage"]["costNanoUsd"] for row in rows)

    same = rerated(suite, **period)
    assert figures(same["totals"]) == {
        "requests": 5, "costNanoUsd": cost, "ratedNanoUsd": cost, "differenceNanoUsd": 0, "changed": 0, "unpriced": 1, "formerlyUnpriced": 1,
    }
    assert same["versions"][-1] == rows[0]["priceBookVersion"] and "nextFrom" not in same

    proposed = {"prices": [price("gpt-4o*", 11, 20, cachedPromptPerMillionNanoUsd="1000000"), price("llama-*", 1, 1)]}
    tried = rerated(suite, **period, priceBook=proposed)
    tokens = [(row["usage"]["promptTokens"], row["usage"].get("cachedTokens", 0), row["usage"]["completionTokens"]) for row in rows]
    new = sum((p - c) * 11 + c + o * 20 for p, c, o in tokens[:4]) + tokens[4][0] + tokens[4][2]
    assert figures(tried["totals"]) == {
        "requests": 5, "costNanoUsd": cost, "ratedNanoUsd": new, "differenceNanoUsd": new - cost, "changed": 5, "unpriced": 0, "formerlyUnpriced": 1,
    }
    groups = {group["model"]: figures(group["figures"]) for group in tried["groups"]}
    assert set(groups) == {"gpt-4o", "gpt-4o+cached-2", "llama-nobody-priced"} and groups["gpt-4o"]["requests"] == 3
    assert groups["llama-nobody-priced"]["ratedNanoUsd"] == tokens[4][0] + tokens[4][2]
    assert tried["versions"] == [""]

    by_key = rerated(suite, **{"from": start}, groupBy="key", model="gpt-4o")
    assert {group["apiKeyId"] for group in by_key["groups"]} == {made["id"]} and figures(by_key["totals"])["requests"] == 3
    assert list(suite.mongo()["api_usage"].find(sort=[("_id", 1)])) == before


def test_a_correction_of_the_past_shows_when_it_is_rated_by_what_was_in_force(suite: Suite) -> None:
    wrong = put(suite, price("gpt-4o*", 10, 20))
    start = time_in(0)
    made = suite.make_key()
    first = asked(suite, made["key"], "gpt-4o")
    right = put(suite, price("gpt-4o*", 12, 20), effectiveFrom=start, note="as the contract says")
    second = asked(suite, made["key"], "gpt-4o")
    assert (first["priceBookVersion"], second["priceBookVersion"]) == (wrong["version"], right["version"])
    period = {"from": start, "apiKeyId": made["id"]}
    shown = rerated(suite, **period)
    assert figures(shown["totals"])["differenceNanoUsd"] == first["usage"]["promptTokens"] * 2 and figures(shown["totals"])["changed"] == 1
    named = rerated(suite, **period, version=wrong["version"])
    assert figures(named["totals"])["differenceNanoUsd"] == -second["usage"]["promptTokens"] * 2 and named["versions"] == [wrong["version"]]


@pytest.mark.parametrize(
    ("question", "status", "field"),
    [
        ({"version": "no-such-book"}, 404, "version"),
        ({"version": "x", "priceBook": {"prices": []}}, 400, "priceBook"),
        ({"priceBook": {"prices": [price("a", -1, 1)]}}, 400, "priceBook.prices[0].promptPerMillionNanoUsd"),
        ({"priceBook": {"prices": [price("a", 1, 1), price("a", 1, 1)]}}, 400, "priceBook.prices[1]"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, 400, "to"),
        ({"apiKeyId": "short"}, 400, "apiKeyId"),
        ({"groupBy": "weather"}, 400, "groupBy"),
        ({"model": "m" * 600}, 400, "model"),
    ],
)
def test_questions_that_are_none_are_refused_by_name(suite: Suite, question: dict[str, Any], status: int, field: str) -> None:
    answer = suite.admin("POST", "/admin/prices/rerate", json=question)
    assert answer.status_code == status and f'"{field}"' in answer.text, answer.text


def test_usage_that_is_away_is_said_to_be_away(suite: Suite) -> None:
    suite.processes["usage"].stop()
    answer = suite.admin("POST", "/admin/prices/rerate", json={})
    assert answer.status_code == 503, answer.text
    suite.restart("usage")
