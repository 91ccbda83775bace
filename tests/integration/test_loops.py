"""Relays that point at each other, here one at itself: the request ends soon, and says why."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from harness.ports import eventually
from harness.suite import Suite

HOPS_MAX = 3
MODEL = "in-a-circle"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("loops")).start()
    relay = suite.processes["relay"]
    relay.stop()
    relay.env["RELAY_CREDENTIAL_SELF"] = str(suite.make_key(name="the relay itself")["key"])
    own = {"name": "self", "kind": "openai", "baseUrl": f"http://127.0.0.1:{suite.port['relay']}/v1", "credential": "env:RELAY_CREDENTIAL_SELF"}
    suite.write_relay_config([own], [{"model": MODEL, "targets": [{"provider": "self", "maxRetries": 2}]}])
    relay.start()
    yield suite
    suite.stop()


def asked(suite: Suite) -> int:
    samples = httpx.get(suite.ops_url("relay", "/metrics"), timeout=30).text.splitlines()
    return int(sum(float(line.split()[-1]) for line in samples if line.startswith('relay_requests_total{endpoint="chat"')))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_route_to_the_relay_itself_ends_in_508(suite: Suite, stream: bool) -> None:
    key = str(suite.make_key()["key"])
    eventually(lambda: suite.get("/v1/models", key).status_code == 200, "the relay knows the key")
    before = asked(suite)
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "round and round"}]}
    answer = httpx.post(f"{suite.relay_url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert answer.status_code == 508, answer.text
    assert answer.json()["error"]["code"] == "loop_detected"
    assert answer.headers["x-should-retry"] == "false"
    eventually(lambda: asked(suite) - before >= HOPS_MAX + 1, "all of them counted")
    assert asked(suite) - before == HOPS_MAX + 1, "each relay on the way asks once"
