"""Who changed providers, routes and prices, when and why: in the audit log, and as versions that can be read and brought back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
import pytest
from harness.ports import eventually
from harness.suite import Suite

SERVICE = "apirelay.relay.v1.ProviderService"
HISTORY_MAX = 200
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = Suite(tmp_path_factory.mktemp("history"), replicas=("relay",)).start()
    eventually(lambda: stack.admin("GET", "/admin/providers").status_code == 200, "the way to the relay")
    yield stack
    assert {name: status for name, status in stack.stop().items() if name.startswith("relay") and status} == {}


@pytest.fixture(scope="module")
def viewer(suite: Suite) -> str:
    return str(suite.admin("POST", "/admin/admin-keys", json={"name": "history viewer", "role": "viewer"}).json()["key"])


def done(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int, name: str, field: str = "") -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    fields = [v["field"] for d in error["details"] for v in d.get("fieldViolations", [])]
    assert error["status"] == name and (not field or field in fields), error
    return str(error["message"])


def make_provider(suite: Suite, name: str, **more: Any) -> dict[str, Any]:
    return done(suite.admin("POST", "/admin/providers", json={"name": name, "kind": "local", "baseUrl": NOWHERE, **more}))["provider"]


def make_route(suite: Suite, model: str, **more: Any) -> dict[str, Any]:
    return done(suite.admin("POST", "/admin/models", json={"model": model, "targets": [{"provider": "scripted"}], **more}))["modelRoute"]


def versions(suite: Suite, path: str) -> list[dict[str, Any]]:
    return suite.shown(f"{path}/versions?pageSize=500")["versions"]


def audit(suite: Suite, target: str) -> list[dict[str, Any]]:
    """Entries about it, the oldest first."""
    return list(reversed(suite.shown(f"/admin/audit?target={target}&pageSize=500")["entries"]))


# ---- the audit log ----


def test_each_change_stands_in_the_audit_log_between_intent_and_result(suite: Suite) -> None:
    make_provider(suite, "audited", credential="env:RELAY_CREDENTIAL_SCRIPTED", note="a trial")
    route = make_route(suite, "audited-*", note="for the trial")
    one, other = "/admin/providers/audited", f"/admin/models/{route['id']}"
    done(suite.admin("PATCH", one, json={"status": "disabled", "note": "too slow"}))
    done(suite.admin("PATCH", other, json={"maxOutputTokens": 10}))
    done(suite.admin("DELETE", other + "?note=over"))
    done(suite.admin("POST", other + "/restore", json={"version": 1}))
    done(suite.admin("DELETE", one))
    done(suite.admin("POST", one + "/restore", json={"version": 1, "note": "it was not that slow"}))
    for target, area, acts in (("audited", "provider", "create update delete restore"), (route["id"], "model_route", "create update delete restore")):
        entries = audit(suite, target)
        expected = [(f"{area}.{act}", phase, "ok" if phase == "result" else "") for act in acts.split() for phase in ("intent", "result")]
        assert [(e["action"], e["phase"], e.get("outcome", "")) for e in entries] == expected
        assert {e["actorKind"] for e in entries} == {"admin_key"} and all(e["actorId"] and e["actorName"] and e["address"] for e in entries)
        assert all(a["requestId"] == b["requestId"] != "" for a, b in zip(entries[::2], entries[1::2]))
        assert [json.loads(e["payloadJson"])["version"] for e in entries[1::2]] == [1, 2, 3, 4]
    intent = json.loads(audit(suite, "audited")[0]["payloadJson"])
    assert intent["change"] == "create" and intent["note"] == "a trial" and intent["provider"]["credential"] == "env:RELAY_CREDENTIAL_SCRIPTED"
    assert json.loads(audit(suite, route["id"])[4]["payloadJson"])["note"] == "over"
    assert suite.shown("/admin/audit/verify")["intact"]


def test_prices_stand_in_the_audit_log_under_their_version(suite: Suite) -> None:
    price = {"model": "audited", "promptPerMillionNanoUsd": "1", "completionPerMillionNanoUsd": "2"}
    put = done(suite.admin("PUT", "/admin/prices", json={"prices": [price], "note": "the contract"}))["priceBook"]
    imported = done(suite.admin("POST", "/admin/prices/import", json={"prices": [{**price, "model": "more"}], "merge": True}))["priceBook"]
    for book, action, count in ((put, "price_book.put", 1), (imported, "price_book.import", 2)):
        intent, result = audit(suite, book["version"])
        assert (intent["action"], intent["phase"], result["phase"], result["outcome"]) == (action, "intent", "result", "ok")
        told = json.loads(intent["payloadJson"])
        assert told["version"] == book["version"] and told["priceCount"] == count and told["updatedBy"] == book["updatedBy"]
    head = suite.shown("/admin/audit/verify")["headSeq"]
    dry = done(suite.admin("POST", "/admin/prices/import", json={"prices": [price], "dryRun": True}))
    assert dry["removed"] == 1
    stale = suite.admin("PUT", "/admin/prices", json={"prices": [price], "etag": put["etag"]})
    refused(stale, 409, "ABORTED", "etag")
    assert suite.shown("/admin/audit/verify")["headSeq"] == head, "neither changes anything"
    old = suite.shown(f"/admin/prices?version={put['version']}")["priceBook"]
    assert done(suite.admin("PUT", "/admin/prices", json={"prices": old["prices"]}))["priceBook"]["prices"] == put["prices"], "the way back"


def test_what_is_refused_is_no_act_and_its_secrets_stay_out(suite: Suite) -> None:
    make_provider(suite, "guarded")
    head = suite.shown("/admin/audit/verify")["headSeq"]
    secret = "sk-mistaken-for-a-name-0123456789"
    for answer in (
        suite.admin("POST", "/admin/providers", json={"name": "leaky", "kind": "openai", "baseUrl": NOWHERE, "credential": secret}),
        suite.admin("PATCH", "/admin/providers/guarded", json={"credential": secret}),
        suite.admin("PATCH", "/admin/providers/guarded", json={"baseUrl": f"http://user:{secret}@host/"}),
    ):
        refused(answer, 400, "INVALID_ARGUMENT")
    refused(suite.admin("PATCH", "/admin/providers/guarded", json={"status": "disabled", "etag": "another"}), 409, "ABORTED")
    refused(suite.admin("POST", "/admin/models", json={"model": "x", "targets": [{"provider": "nobody"}]}), 400, "INVALID_ARGUMENT")
    refused(suite.admin("DELETE", "/admin/providers/nobody"), 404, "NOT_FOUND")
    assert suite.shown("/admin/audit/verify")["headSeq"] == head
    assert secret not in json.dumps(suite.shown("/admin/audit?pageSize=500")) + json.dumps(list(suite.mongo()["relay_history"].find()), default=str)


def test_without_an_audit_entry_nothing_changes(suite: Suite) -> None:
    """The newest entry is spoilt, so that none can follow it."""
    provider, route = make_provider(suite, "unaudited"), make_route(suite, "unaudited-*")
    before = suite.shown("/admin/prices")
    log = suite.mongo()["audit_log"]
    log.insert_one({"_id": 2**62})
    try:
        for method, path, body in (
            ("POST", "/admin/providers", {"name": "never", "kind": "local", "baseUrl": NOWHERE}),
            ("PATCH", "/admin/providers/unaudited", {"status": "disabled"}),
            ("DELETE", "/admin/providers/unaudited", None),
            ("POST", "/admin/providers/unaudited/restore", {"version": 1}),
            ("PATCH", f"/admin/models/{route['id']}", {"status": "disabled"}),
            ("DELETE", f"/admin/models/{route['id']}", None),
            ("PUT", "/admin/prices", {"prices": [{"model": "never"}]}),
        ):
            answer = suite.admin(method, path, json=body)
            assert answer.status_code >= 500 and "nothing was done, the audit log cannot be written" in answer.text, answer.text
    finally:
        log.delete_one({"_id": 2**62})
    assert suite.shown("/admin/providers/unaudited")["provider"] == provider and suite.shown(f"/admin/models/{route['id']}")["modelRoute"] == route
    assert suite.admin("GET", "/admin/providers/never").status_code == 404 and suite.shown("/admin/prices") == before
    assert [v["version"] for v in versions(suite, "/admin/providers/unaudited")] == [1]
    assert suite.shown("/admin/audit/verify")["intact"]


# ---- versions ----


@pytest.mark.parametrize("kind", ["provider", "route"])
def test_every_version_says_who_when_why_and_what_it_was(suite: Suite, viewer: str, kind: str) -> None:
    if kind == "provider":
        first, member, change = make_provider(suite, "told", note="new"), "provider", {"maxConnections": 7}
        path = "/admin/providers/told"
    else:
        first, member, change = make_route(suite, "told-*", note="new"), "modelRoute", {"maxOutputTokens": 7}
        path = f"/admin/models/{first['id']}"
    second = done(suite.admin("PATCH", path, json={**change, "note": "why not"}))[member]
    found = done(suite.admin("GET", f"{path}/versions", credential=viewer))
    assert "nextCursor" not in found or not found["nextCursor"]
    newest, oldest = found["versions"]
    assert newest[member] == second and oldest[member] == first
    for version, entity, number, act in ((newest, second, 2, "update"), (oldest, first, 1, "create")):
        assert (version["version"], version["change"], version["current"]) == (number, act, number == 2)
        assert all(version[name] == entity[name] for name in ("updatedAt", "updatedBy", "note", "etag"))
        assert done(suite.admin("GET", f"{path}/versions/{number}", credential=viewer))["version"] == version
    refused(suite.admin("POST", f"{path}/restore", json={"version": 1}, credential=viewer), 403, "PERMISSION_DENIED")

    done(suite.admin("DELETE", f"{path}?note=done%20with"))
    assert suite.admin("GET", path).status_code == 404
    last, *before = versions(suite, path)
    assert last["change"] == "delete" and last["note"] == "done with" and not last["current"] and member not in last
    assert before == [{**newest, "current": False}, oldest]


def test_what_there_is_none_of(suite: Suite) -> None:
    make_provider(suite, "lonely")
    for path in ("/admin/providers/nobody", "/admin/models/" + "0" * 24):
        refused(suite.admin("GET", f"{path}/versions"), 404, "NOT_FOUND")
        refused(suite.admin("GET", f"{path}/versions/1"), 404, "NOT_FOUND")
        refused(suite.admin("POST", f"{path}/restore", json={"version": 1}), 404, "NOT_FOUND")
    for version in ("0", "2", "-1", "9223372036854775807"):
        refused(suite.admin("GET", f"/admin/providers/lonely/versions/{version}"), 404, "NOT_FOUND", "version")
        refused(suite.admin("POST", "/admin/providers/lonely/restore", json={"version": int(version)}), 404, "NOT_FOUND", "version")
    for version in ("x", "1.5", "9223372036854775808"):
        refused(suite.admin("GET", f"/admin/providers/lonely/versions/{version}"), 400, "INVALID_ARGUMENT")
    assert suite.shown("/admin/providers/scripted/versions")["versions"] == [], "the settings file's has none"
    refused(suite.admin("GET", "/admin/providers/scripted/versions/1"), 404, "NOT_FOUND", "version")
    refused(suite.admin("POST", "/admin/providers/lonely/restore", json={"version": 1, "note": "two\nlines"}), 400, "INVALID_ARGUMENT", "note")
    refused(suite.admin("DELETE", "/admin/providers/lonely?note=" + "x" * 501), 400, "INVALID_ARGUMENT", "note")


def test_versions_come_in_pages_whose_cursors_hold_for_them_alone(suite: Suite) -> None:
    for name in ("paged", "paged-2"):
        make_provider(suite, name)
        for number in range(2, 8):
            done(suite.admin("PATCH", f"/admin/providers/{name}", json={"maxConnections": number}))
    numbers, cursor = [], ""
    while True:
        page = suite.shown(f"/admin/providers/paged/versions?pageSize=3&cursor={cursor}")
        assert len(page["versions"]) <= 3
        numbers += [v["version"] for v in page["versions"]]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
        refused(suite.admin("GET", f"/admin/providers/paged-2/versions?cursor={cursor}"), 400, "INVALID_ARGUMENT", "cursor")
        refused(suite.admin("GET", f"/admin/providers?cursor={cursor}"), 400, "INVALID_ARGUMENT", "cursor")
        if numbers[-1] == 5:  # one that comes meanwhile is not among those that follow
            done(suite.admin("PATCH", "/admin/providers/paged", json={"maxConnections": 99}))
    assert numbers == [7, 6, 5, 4, 3, 2, 1]
    for query in ("pageSize=501", "pageSize=-1", "cursor=x", "pageSize=x"):
        refused(suite.admin("GET", f"/admin/providers/paged/versions?{query}"), 400, "INVALID_ARGUMENT")


def test_large_versions_make_a_page_shorter(suite: Suite) -> None:
    names = [f"large-{i:04}" + "x" * 244 for i in range(1000)]  # a quarter of a megabyte
    route = make_route(suite, "large-*", listedModels=names)
    for number in range(2, 11):
        done(suite.admin("PATCH", f"/admin/models/{route['id']}", json={"maxOutputTokens": number}))
    numbers, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        page = suite.shown(f"/admin/models/{route['id']}/versions?pageSize=500&cursor={cursor}")
        assert all(v["modelRoute"]["listedModels"] == names for v in page["versions"])
        numbers += [v["version"] for v in page["versions"]]
        cursor, pages = page.get("nextCursor", ""), pages + 1
    assert numbers == list(range(10, 0, -1)) and pages > 2
    intent = json.loads(audit(suite, route["id"])[0]["payloadJson"])
    assert intent["change"] == "create" and "modelRoute" not in intent, "the log has no room for it; the history has"
    done(suite.admin("DELETE", f"/admin/models/{route['id']}"))


def test_grpc_shows_the_same(suite: Suite) -> None:
    make_provider(suite, "over-grpc")
    with suite.rpc("relay", suite.admin_key) as relay:
        relay.call(f"{SERVICE}/UpdateProvider", {"name": "over-grpc", "provider": {"maxConnections": 3, "note": "by rpc"}})
        listed = relay.call(f"{SERVICE}/ListProviderVersions", {"name": "over-grpc"}).versions
        assert [(v.version, v.change, v.note, v.provider.max_connections) for v in listed] == [(2, "update", "by rpc", 3), (1, "create", "", 0)]
        back = relay.call(f"{SERVICE}/RestoreProvider", {"name": "over-grpc", "version": 1}).provider
        assert back.max_connections == 0
        one = relay.call(f"{SERVICE}/GetProviderVersion", {"name": "over-grpc", "version": 3}).version
        assert (one.change, one.restored_version, one.current, one.provider.etag) == ("restore", 1, True, back.etag)
        with pytest.raises(grpc.RpcError) as e:
            relay.call(f"{SERVICE}/GetProviderVersion", {"name": "over-grpc", "version": 9})
        assert e.value.code() == grpc.StatusCode.NOT_FOUND


# ---- the way back ----


def test_a_restored_route_sends_where_it_sent_then(suite: Suite) -> None:
    key = suite.make_key()["key"]

    def await_status(*wanted: int) -> None:
        """Whichever relay made the change, this one has it within a second."""
        eventually(lambda: suite.chat(key, "went-well").status_code in wanted, f"{wanted}")

    route = make_route(suite, "went-well", targets=[{"provider": "scripted", "upstreamModel": "gpt-4o-mini"}])
    path = f"/admin/models/{route['id']}"
    await_status(200)
    done(suite.admin("PATCH", path, json={"targets": [{"provider": "refused"}], "note": "a mistake"}))
    await_status(502, 503)
    back = done(suite.admin("POST", f"{path}/restore", json={"version": 1, "note": "as it was"}))["modelRoute"]
    assert {**back, "etag": 0, "updatedAt": 0, "note": ""} == {**route, "etag": 0, "updatedAt": 0} and back["note"] == "as it was"
    await_status(200)
    newest = versions(suite, path)[0]
    assert (newest["version"], newest["change"], newest["restoredVersion"], newest["modelRoute"]) == (3, "restore", 1, back)
    done(suite.admin("DELETE", path))
    await_status(404)
    again = done(suite.admin("POST", f"{path}/restore", json={"version": 3}))["modelRoute"]
    assert again["id"] == route["id"]
    await_status(200)
    assert [v["change"] for v in versions(suite, path)] == ["restore", "delete", "restore", "update", "create"]


def test_what_cannot_be_brought_back_says_why(suite: Suite) -> None:
    provider, route = make_provider(suite, "gone"), make_route(suite, "gone-*", targets=[{"provider": "gone"}])
    one, other = "/admin/providers/gone", f"/admin/models/{route['id']}"
    refused(suite.admin("POST", f"{other}/restore", json={"version": 1, "etag": "another"}), 409, "ABORTED", "etag")
    done(suite.admin("DELETE", other))
    done(suite.admin("DELETE", one))
    refused(suite.admin("POST", f"{other}/restore", json={"version": 2}), 400, "INVALID_ARGUMENT", "version")
    refused(suite.admin("POST", f"{other}/restore", json={"version": 1}), 400, "INVALID_ARGUMENT", "targets[0].provider")
    refused(suite.admin("POST", f"{one}/restore", json={"version": 1, "etag": provider["etag"]}), 409, "ABORTED", "etag")
    done(suite.admin("POST", "/admin/providers", json={"name": "gone", "kind": "openai", "baseUrl": NOWHERE}))
    assert [v["change"] for v in versions(suite, one)] == ["create", "delete", "create"], "one history a name"
    assert "kind" in refused(suite.admin("POST", f"{one}/restore", json={"version": 1}), 400, "INVALID_ARGUMENT", "version")
    make_route(suite, "gone-*")
    refused(suite.admin("POST", f"{other}/restore", json={"version": 1}), 409, "ALREADY_EXISTS", "model")
    assert [v["change"] for v in versions(suite, other)] == ["delete", "create"], "what was refused left nothing"


def test_a_credential_comes_back_with_the_host_it_was_for(suite: Suite) -> None:
    make_provider(suite, "moved", credential="env:RELAY_CREDENTIAL_SCRIPTED")
    path = "/admin/providers/moved"
    refused(suite.admin("PATCH", path, json={"baseUrl": "http://127.0.0.2:9"}), 400, "INVALID_ARGUMENT", "credential")
    done(suite.admin("PATCH", path, json={"baseUrl": "http://127.0.0.2:9", "credential": "env:RELAY_CREDENTIAL_GOOGLE"}))
    back = done(suite.admin("POST", f"{path}/restore", json={"version": 1}))["provider"]
    assert (back["baseUrl"], back["credential"]) == (NOWHERE, "env:RELAY_CREDENTIAL_SCRIPTED")


# ---- several at once, and what died in between ----


def at_once(count: int, act: Any) -> list[Any]:
    results: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def one(i: int) -> None:
        gate.wait()
        results[i] = act(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_several_admins_at_once_one_wins_and_the_history_has_no_other(suite: Suite) -> None:
    """Both relays are asked: admin-gw goes round them."""
    etag = make_provider(suite, "contended")["etag"]
    path = "/admin/providers/contended"
    answers = at_once(6, lambda i: suite.admin("PATCH", path, json={"maxConnections": i + 1, "note": f"by {i}", "etag": etag}))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 5, [a.text for a in answers]
    winner = next(a.json()["provider"] for a in answers if a.status_code == 200)
    newest, first = versions(suite, path)
    assert newest["provider"] == winner and newest["current"] and first["change"] == "create"
    answers = at_once(6, lambda i: suite.admin("PATCH", path, json={"maxConnections": i + 11}))
    won = [a.json()["provider"] for a in answers if a.status_code == 200]
    assert won and {a.status_code for a in answers} <= {200, 409}
    assert sorted(v["etag"] for v in versions(suite, path)[: len(won)]) == sorted(p["etag"] for p in won)
    assert len(versions(suite, path)) == 2 + len(won)
    answers = at_once(4, lambda _: suite.admin("DELETE", path))
    assert sorted(a.status_code for a in answers)[0] == 200 and {a.status_code for a in answers} <= {200, 404, 409}
    assert [v["change"] for v in versions(suite, path)].count("delete") == [a.status_code for a in answers].count(200) == 1
    answers = at_once(4, lambda _: suite.admin("POST", "/admin/providers", json={"name": "contended", "kind": "local", "baseUrl": NOWHERE}))
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]
    assert [v["change"] for v in versions(suite, path)][:2] == ["create", "delete"]


def test_what_was_announced_and_never_written_is_passed_over(suite: Suite) -> None:
    """As a relay leaves it that dies between the two."""
    history = suite.mongo()["relay_history"]
    etag = make_provider(suite, "died")["etag"]
    path, before = "/admin/providers/died", versions(suite, "/admin/providers/died")
    body = history.find_one({"entity": "providers/died"})
    for change in ("update", "delete"):
        number = 2 + ("update", "delete").index(change)
        history.insert_one({**body, "_id": f"providers/died/{number}", "number": number, "etag": f"never-{change}", "before": etag, "change": change})
    assert versions(suite, path) == before
    refused(suite.admin("GET", f"{path}/versions/2"), 404, "NOT_FOUND")
    refused(suite.admin("POST", f"{path}/restore", json={"version": 2}), 404, "NOT_FOUND")
    done(suite.admin("PATCH", path, json={"maxConnections": 2}))
    assert [v["version"] for v in versions(suite, path)] == [4, 1]
    done(suite.admin("DELETE", path))
    assert [(v["version"], v["change"]) for v in versions(suite, path)] == [(5, "delete"), (4, "update"), (1, "create")]


def test_what_is_older_than_the_history_is_its_first_version(suite: Suite) -> None:
    """Also what a relay of an older release writes between two versions."""
    stored, history = suite.mongo()["providers"], suite.mongo()["relay_history"]
    old = make_provider(suite, "older", note="long ago")
    history.delete_many({"entity": "providers/older"})
    path = "/admin/providers/older"
    (only,) = versions(suite, path)
    assert (only["version"], only["change"], only["current"], only["note"], only["provider"]) == (1, "create", True, "long ago", old)
    assert done(suite.admin("GET", f"{path}/versions/1"))["version"] == only
    done(suite.admin("PATCH", path, json={"maxConnections": 2}))
    assert [(v["version"], v["provider"]["maxConnections"]) for v in versions(suite, path)] == [(2, 2), (1, 0)]
    stored.update_one({"_id": "older"}, {"$set": {"maxConnections": 3, "etag": "of-an-older-relay"}})
    assert [(v["version"], v["change"], v["provider"]["maxConnections"]) for v in versions(suite, path)] == [(3, "update", 3), (2, "update", 2), (1, "create", 0)]
    done(suite.admin("POST", f"{path}/restore", json={"version": 3}))
    assert [(v["version"], v["change"]) for v in versions(suite, path)] == [(4, "restore"), (3, "update"), (2, "update"), (1, "create")]


def test_a_version_expires_after_it_was_replaced_and_the_oldest_go(suite: Suite) -> None:
    history = suite.mongo()["relay_history"]
    assert [i["expireAfterSeconds"] for i in history.list_indexes() if "expiresAt" in i["key"]] == [0]
    made = make_provider(suite, "bounded")
    path = "/admin/providers/bounded"
    done(suite.admin("PATCH", path, json={"maxConnections": 2}))
    first, second = history.find({"entity": "providers/bounded"}, sort=[("number", 1)])
    days = (first["expiresAt"] - datetime.now(timezone.utc)) / timedelta(days=1)
    assert 399 < days < 401 and "expiresAt" not in second
    etag = second["etag"]
    for number in range(3, HISTORY_MAX + 1):  # as many as there may be, made quickly
        history.insert_one({**second, "_id": f"providers/bounded/{number}", "number": number, "etag": f"e{number}", "before": etag})
        etag = f"e{number}"
    suite.mongo()["providers"].update_one({"_id": "bounded"}, {"$set": {"etag": etag}})
    assert [v["version"] for v in versions(suite, path)] == list(range(HISTORY_MAX, 0, -1))
    done(suite.admin("PATCH", path, json={"maxConnections": 3}))
    assert [v["version"] for v in versions(suite, path)] == list(range(HISTORY_MAX + 1, 1, -1))
    assert history.count_documents({"entity": "providers/bounded", "expiresAt": {"$exists": False}}) == 1
    done(suite.admin("DELETE", path))
    assert history.count_documents({"entity": "providers/bounded", "expiresAt": {"$exists": False}}) == 0
    history.delete_many({"entity": "providers/bounded"})  # all have expired
    refused(suite.admin("GET", f"{path}/versions"), 404, "NOT_FOUND")
    assert make_provider(suite, "bounded")["createdAt"] > made["createdAt"] and [v["version"] for v in versions(suite, path)] == [1]
