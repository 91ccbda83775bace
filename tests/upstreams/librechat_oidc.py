"""
How a LibreChat lets those in who show a token of OpenID Connect on its Agents API (endpoints.agents.remoteApi.auth.oidc), as v0.8.8-rc1 does:
the signature by a key of the issuer's set, kept for a minute and fetched again for a key that is not in it; issuer, audience and end; then
the user, by subject and issuer, else by email. It refuses users of another provider or issuer, and writes who was found for the first time
down as the token's: what a gateway must not bring about.

RS256 is checked by its arithmetic (RFC 8017 §8.2.2), as Python's own library has no RSA. Needs pymongo, which only the tests' environment has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import urllib.request
from typing import Any, Optional
from urllib.parse import urlsplit

from upstreams.answers import Json

SET_KEPT_S = 60
FETCH_S = 10
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
NO_ISSUER = (None, "")
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")  # DigestInfo, RFC 8017 §9.2 note 1


class TokenRefused(Exception):
    """The token is not one of this issuer for us; it may be an API key."""


class UserRefused(Exception):
    """The token is good, and its user is not to be let in."""


class Oidc:
    def __init__(self, issuer: str, jwks_uri: str, audience: str, users: Any) -> None:
        """`issuer` is what LibreChat signs in with itself, too; `users` the collection."""
        for url in (issuer, jwks_uri):
            if not is_url_allowed(url):
                raise ValueError(f"{url} must use https:// unless targeting localhost")
        self.issuer, self.jwks_uri, self.audience, self.users = issuer.rstrip("/"), jwks_uri, audience, users
        self.keys: dict[str, Json] = {}
        self.fetched_at_s = -float("inf")

    def user_of(self, token: str) -> Json:
        """The document of the token's user. Raises TokenRefused or UserRefused."""
        return self.find_user(self.claims_of(token))

    # ---- the token ----

    def claims_of(self, token: str) -> Json:
        try:
            signed, _, signature = token.rpartition(".")
            head, claims = (json.loads(decoded(part)) for part in signed.split("."))
        except (ValueError, binascii.Error):
            raise TokenRefused("no JWT") from None
        if head.get("alg") != "RS256" or not is_signed(signed.encode(), decoded(signature), self.key_of(head.get("kid"))):
            raise TokenRefused("the signature is wrong")
        if claims.get("exp", 0) <= time.time():
            raise TokenRefused("it has expired")
        if claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            raise TokenRefused("another issuer or audience")
        if not isinstance(claims.get("sub"), str) or not claims["sub"].strip():
            raise UserRefused("missing_sub_claim")
        return claims

    def key_of(self, kid: Any) -> Json:
        if kid not in self.keys or time.monotonic() - self.fetched_at_s > SET_KEPT_S:
            try:
                with urllib.request.urlopen(self.jwks_uri, timeout=FETCH_S) as answer:
                    self.keys = {key["kid"]: key for key in json.load(answer)["keys"]}
            except (OSError, ValueError, KeyError) as failure:
                raise TokenRefused(f"no key set: {failure}") from None
            self.fetched_at_s = time.monotonic()
        if kid not in self.keys:
            raise TokenRefused("no such key")
        return self.keys[kid]

    # ---- the user ----

    def find_user(self, claims: Json) -> Json:
        subject, email = claims["sub"], claims.get("email")
        user = self.users.find_one({"openidId": subject, "openidIssuer": self.issuer})
        user = user or self.users.find_one({"openidId": subject, "openidIssuer": {"$in": list(NO_ISSUER)}})
        if not user and email:
            user = self.users.find_one({"email": email})
            if user and user.get("provider", "openid") != "openid":
                raise UserRefused("registered with another provider")
            if user and user.get("openidId") not in (None, subject):
                raise UserRefused("another subject")
        if not user:
            raise TokenRefused("no such user")
        if user.get("openidId") and user.get("openidIssuer") not in (*NO_ISSUER, self.issuer):
            raise UserRefused("another issuer")
        if not user.get("openidId") or not user.get("openidIssuer"):
            migrated = {"provider": "openid", "openidId": subject, "openidIssuer": self.issuer}
            self.users.update_one({"_id": user["_id"]}, {"$set": migrated})
        return user


def is_url_allowed(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or (parts.scheme == "http" and (host in LOCAL_HOSTS or host.endswith(".localhost")))


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_signed(text: bytes, signature: bytes, key: Json) -> bool:
    n, e = (int.from_bytes(decoded(key[name]), "big") for name in ("n", "e"))
    size = (n.bit_length() + 7) // 8
    hashed = SHA256_PREFIX + hashlib.sha256(text).digest()
    expected = b"\x00\x01" + b"\xff" * (size - len(hashed) - 3) + b"\x00" + hashed
    value = int.from_bytes(signature, "big")
    return len(signature) == size and value < n and hmac.compare_digest(pow(value, e, n).to_bytes(size, "big"), expected)


def bearer_of(authorization: Optional[str]) -> Optional[str]:
    return authorization.removeprefix("Bearer ").strip() if authorization and authorization.startswith("Bearer ") else None
