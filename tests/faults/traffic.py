"""Mixed traffic on both relays: what callers do, well and badly, at a pace that the seed sets."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from faults.client_log import UNSENT, ClientLog, Entry
from faults.http import Connection
from harness.suite import Suite

CALLERS = 24
PAUSE_S = 0.4  # mean
HUNG_S = 90.0  # a request that takes longer has been forgotten
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
NOBODY = {"key": "lc_prod_" + "a" * 50, "keyId": ""}
NEW_KEY_EVERY_S = 2.0
ALLOWED_AWAY = {503: ("refused", "failed"), 504: ("refused", "failed")}


def chat(model: str, **members: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello there, whoever you are"}], **members}


@dataclass(frozen=True)
class Kind:
    """`answers`: by status, the outcomes that the row of an answered request may have. `times`: one after the other, at once."""

    weight: int
    key: str
    answers: dict[int, tuple[str, ...]]
    body: Any = None
    path: str = CHAT
    leaves: Callable[[random.Random], int] | None = None
    times: int = 1


COMPLETE = {200: ("complete",)}
USAGE = {"stream_options": {"include_usage": True}}
# Whoever leaves may have read all there was to read.
SLOW = chat("gpt-4o-mini+slow-20+long-80", stream=True)


def in_the_middle(dice: random.Random) -> int:
    return dice.randrange(1, 12000)


KINDS: dict[str, Kind] = {
    "unary": Kind(12, "any", COMPLETE, chat("gpt-4o")),
    "unary, slow": Kind(6, "any", COMPLETE, chat("gpt-4o-mini+slow-700+cached-2+reasoning-4")),
    "stream": Kind(12, "any", COMPLETE, chat("gpt-4o-mini+slow-5+long-20", stream=True, **USAGE)),
    "stream, long": Kind(8, "any", COMPLETE, {**SLOW, **USAGE}),
    "stream without usage": Kind(3, "any", COMPLETE, chat("gpt-4o-mini+fail-no-usage+slow-5", stream=True)),
    "embedding": Kind(4, "any", COMPLETE, {"model": "text-embedding-3-small", "input": "Hello there"}, EMBEDDINGS),
    "agent": Kind(2, "any", COMPLETE, chat("agent_echo", stream=True)),
    "unpriced": Kind(2, "any", COMPLETE, chat("org/model.with$dots/and-slashes")),
    "models": Kind(2, "any", COMPLETE, path="/v1/models"),
    "own usage": Kind(2, "any", {**COMPLETE, **ALLOWED_AWAY}, path="/v1/usage"),
    "gone": Kind(5, "any", COMPLETE, SLOW, leaves=in_the_middle),
    "gone at once": Kind(3, "any", COMPLETE, SLOW, leaves=lambda dice: 0),
    "gone, draining": Kind(4, "drains", COMPLETE, SLOW, leaves=in_the_middle),
    "no JSON": Kind(3, "any", {400: ("refused",)}, b'{"model": "gpt-4o", "messages": ['),
    "no model": Kind(2, "any", {400: ("refused",)}, {"messages": []}),
    "unknown model": Kind(4, "any", {404: ("refused",)}, chat("nobody-has-this")),
    "suspended": Kind(3, "suspended", {403: ("refused",)}, chat("gpt-4o")),
    "forbidden": Kind(3, "narrow", {403: ("refused",)}, chat("gpt-4o", stream=True)),
    "storm of refusals": Kind(1, "storm", {403: ("refused",)}, chat("gpt-4o"), times=30),
    "provider fails": Kind(3, "any", {502: ("failed",)}, chat("gpt-4o-mini+fail-status-500")),
    "provider away": Kind(2, "any", {503: ("failed",), 502: ("failed",)}, chat("refused-gpt")),
    "provider cuts": Kind(4, "any", {200: ("partial",)}, chat("gpt-4o-mini+fail-cut-4", stream=True)),
    "no key": Kind(2, "nobody", {401: ()}, chat("gpt-4o")),
}


@dataclass
class Keys:
    """Pools by name. "any" grows while the traffic runs: a key that no relay has seen needs auth."""

    pools: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @staticmethod
    def made(suite: Suite) -> "Keys":
        owned = {"userId": "0123456789abcdef01234567", "clientId": "an.app$"}
        suspended = [suite.make_key(name="suspended"), suite.make_key(name="storm")]
        for key in suspended:
            assert suite.admin("POST", f"/admin/api-keys/{key['id']}/suspend", json={}).status_code == 200
        return Keys({
            "any": [suite.make_key(), suite.make_key(**owned), suite.make_key(clientId="other"), suite.make_key(onDisconnect="drain")],
            "drains": [suite.make_key(name="drains", onDisconnect="drain", **owned)],
            "suspended": suspended[:1],
            "storm": suspended[1:],
            "narrow": [suite.make_key(name="narrow", permissions={"features": {"streaming": False}})],
            "nobody": [NOBODY],
        })

    async def grow(self, suite: Suite, until_s: float) -> None:
        while time.monotonic() < until_s:
            try:
                self.pools["any"].append(await asyncio.to_thread(suite.make_key))
            except (AssertionError, httpx.HTTPError):
                pass  # auth, its store or both are away
            await asyncio.sleep(NEW_KEY_EVERY_S)


class Caller:
    def __init__(self, suite: Suite, keys: Keys, log: ClientLog, seed: int, number: int) -> None:
        self._dice = random.Random(f"{seed}/{number}")
        self._keys, self._log = keys, log
        self._number = number
        self._count = 0
        self._relay = self._dice.choice(("relay", "relay-2"))
        self._connection = Connection(suite.port["relay" if self._relay == "relay" else "http_relay-2"])

    async def run(self, until_s: float) -> None:
        names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
        while time.monotonic() < until_s:
            name = self._dice.choices(names, weights)[0]
            for _ in range(KINDS[name].times):
                if await self._ask(name) == UNSENT:
                    break
            await asyncio.sleep(self._dice.expovariate(1 / PAUSE_S))
        self._connection.close()

    async def _ask(self, name: str) -> str:
        """How it ended."""
        kind = KINDS[name]
        key = self._dice.choice(self._keys.pools[kind.key])
        self._count += 1
        entry = Entry(f"caller{self._number}-{self._count}", name, key["keyId"], self._relay, time.monotonic())
        leave_after = kind.leaves(self._dice) if kind.leaves else None
        body = b"" if kind.body is None else kind.body
        asked = self._connection.ask(
            entry, "GET" if kind.body is None else "POST", kind.path, {"Authorization": f"Bearer {key['key']}"}, body, leave_after
        )
        try:
            await asyncio.wait_for(asked, HUNG_S)
        except TimeoutError:
            entry.error = "hung"
            self._connection.close()
        entry.ended_s = time.monotonic()
        self._log.add(entry)
        return entry.end


async def traffic(suite: Suite, keys: Keys, log: ClientLog, seed: int, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    callers = [Caller(suite, keys, log, seed, number) for number in range(CALLERS)]
    await asyncio.gather(keys.grow(suite, until_s), *(caller.run(until_s) for caller in callers))
