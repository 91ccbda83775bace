"""API keys with the right tag, made as auth makes them (SECURITY.md, API keys): for those who try to guess."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

from harness.suite import Suite, base62

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def tag_key(suite: Suite) -> bytes:
    """HKDF-SHA256 with an empty salt and the info "tag"."""
    pepper = base64.b64decode(suite.path("peppers").read_text().split()[1])
    return _hmac(_hmac(bytes(32), pepper), b"tag\x01")


def tagged(suite: Suite, untagged: str) -> str:
    bits = int.from_bytes(_hmac(tag_key(suite), untagged.encode())[:5], "big") >> 5
    tag = ""
    for _ in range(6):
        bits, digit = divmod(bits, 62)
        tag = ALPHABET[digit] + tag
    return untagged + tag


def unknown_key(suite: Suite) -> str:
    """Of an id that does not exist."""
    return tagged(suite, f"lc_prod_a{base62(11)}{base62(32)}")


def with_another_secret(suite: Suite, key: str) -> str:
    return tagged(suite, key[:-38] + base62(32))


def with_a_bad_tag(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")
