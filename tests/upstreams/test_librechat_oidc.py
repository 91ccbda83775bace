"""How the scripted LibreChat takes tokens: OpenSSL signs them, users are a list."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from upstreams.librechat_oidc import Oidc, TokenRefused, UserRefused, is_url_allowed

ISSUER, AUDIENCE = "https://login.example", "https://chat.example"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Users:
    """As much of a collection as is asked for."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = [{"_id": number, **document} for number, document in enumerate(documents)]

    def find_one(self, filter_: dict[str, Any]) -> Any:
        def fits(document: dict[str, Any]) -> bool:
            return all(
                document.get(name) in wanted["$in"] if isinstance(wanted, dict) else document.get(name) == wanted
                for name, wanted in filter_.items()
            )

        return next((document for document in self.documents if fits(document)), None)

    def update_one(self, filter_: dict[str, Any], change: dict[str, Any]) -> None:
        self.documents[filter_["_id"]].update(change["$set"])


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.key = Path(folder.name) / "key"
        cls.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(cls.key))
        modulus = cls.openssl("rsa", "-in", str(cls.key), "-noout", "-modulus").decode().strip().partition("=")[2]
        cls.jwk = {"kid": "k1", "kty": "RSA", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}

    @staticmethod
    def openssl(*arguments: str, text: bytes = b"") -> bytes:
        return subprocess.run(["openssl", *arguments], check=True, input=text, capture_output=True).stdout

    def oidc(self, *users: dict[str, Any]) -> Oidc:
        oidc = Oidc(ISSUER, f"{ISSUER}/jwks", AUDIENCE, Users(*users))
        oidc.keys, oidc.fetched_at_s = {"k1": self.jwk}, time.monotonic()
        return oidc

    def token(self, head: Any = None, **claims: Any) -> str:
        now_s = int(time.time())
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now_s, "exp": now_s + 60, **claims}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k1", **(head or {})}, whole))
        return f"{signed}.{encoded(self.openssl('dgst', '-sha256', '-sign', str(self.key), text=signed.encode()))}"

    def test_what_openssl_signs_is_taken_and_what_was_changed_is_not(self) -> None:
        anna = {"provider": "openid", "openidId": "anna", "openidIssuer": ISSUER}
        oidc, token = self.oidc(anna), self.token()
        self.assertEqual(oidc.user_of(token)["openidId"], "anna")
        head, claims, signature = token.split(".")
        other = encoded(json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "bert", "exp": time.time() + 60}).encode())
        for wrong in (f"{head}.{other}.{signature}", f"{head}.{claims}.{signature[:-8]}AAAAAAAA", f"{head}.{claims}.", "sk-key"):
            with self.subTest(wrong), self.assertRaises(TokenRefused):
                oidc.user_of(wrong)

    def test_tokens_of_another_place_or_time_are_refused(self) -> None:
        oidc = self.oidc({"provider": "openid", "openidId": "anna", "openidIssuer": ISSUER})
        for claims in ({"iss": "https://evil.example"}, {"aud": "https://other.example"}, {"exp": int(time.time())}):
            with self.subTest(claims), self.assertRaises(TokenRefused):
                oidc.user_of(self.token(**claims))
        with self.assertRaises(TokenRefused):
            oidc.user_of(self.token({"alg": "none"}))

    def test_users_are_found_by_subject_and_issuer_then_by_email(self) -> None:
        for user, refusal in (
            ({"openidId": "anna", "openidIssuer": "https://elsewhere.example"}, TokenRefused),
            ({"provider": "local", "email": "anna@example"}, UserRefused),
            ({"provider": "openid", "openidId": "other", "email": "anna@example"}, UserRefused),
            ({"provider": "openid", "openidId": "anna", "openidIssuer": "https://elsewhere.example", "email": "anna@example"}, UserRefused),
        ):
            with self.subTest(user), self.assertRaises(refusal):
                self.oidc(user).user_of(self.token(email="anna@example"))

    def test_who_was_known_by_his_email_alone_is_the_tokens_from_then_on(self) -> None:
        oidc = self.oidc({"provider": "openid", "email": "anna@example"})
        oidc.user_of(self.token(email="anna@example"))
        self.assertEqual(oidc.users.documents[0]["openidId"], "anna")
        self.assertEqual(oidc.users.documents[0]["openidIssuer"], ISSUER)

    def test_key_sets_come_over_https_or_from_this_machine(self) -> None:
        self.assertTrue(all(map(is_url_allowed, ("https://a.example", "http://127.0.0.1:1", "http://[::1]", "http://a.localhost"))))
        self.assertFalse(any(map(is_url_allowed, ("http://a.example", "ftp://localhost", "localhost"))))


if __name__ == "__main__":
    unittest.main()
