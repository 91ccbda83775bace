"""Signs requests with the code of docs/signing.md itself."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import httpx

from harness.snippets import blocks
from harness.suite import Suite

PAGE = "docs/signing.md"
CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}).encode()
CHAT_PATH = "/v1/chat/completions"

_documented: dict[str, Any] = {}
exec(blocks(PAGE, "Python", "python")[0], _documented)  # noqa: S102
signature = _documented["signature"]


def signed(secret: str, method: str = "POST", target: str = CHAT_PATH, body: bytes = CHAT, *, at: float | None = None, nonce: str = "") -> dict[str, str]:
    """The three headers."""
    timestamp, nonce = str(int(time.time() if at is None else at)), nonce or secrets.token_urlsafe(24)
    return {
        "X-Relay-Timestamp": timestamp,
        "X-Relay-Nonce": nonce,
        "X-Relay-Signature": signature(secret, timestamp, nonce, method, target, body),
    }


def chat(suite: Suite, key: str, headers: dict[str, str], url: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    return httpx.post((url or suite.relay_url) + CHAT_PATH, headers=headers, content=CHAT, timeout=30, verify=suite.verify)


def verdict(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else None


def audit(suite: Suite, target: str, action: str) -> list[dict[str, Any]]:
    """Entries of one key in the audit log, oldest first."""
    entries = suite.mongo()["audit_log"].find({"target": target, "action": action}).sort("seq", 1)
    return list(entries)
