"""
What a LibreChat writes down of a run that went well, in its own MongoDB, as v0.8.8-rc1 does on its Agents API: a transaction for the
prompt and one for the completion, both named by the answer's id, and the balance of the user whose key it was, debited and never below
0; a user without one gets one of 0 credits. It never looks at a balance first.

Needs pymongo, which only the tests' environment has.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import datetime, timezone
from typing import Any

from upstreams.answers import Json

RATES = {"prompt": 2.5, "completion": 10.0}  # credits a token: US dollars a million
MODEL = "gpt-4o"
USER_MARK = "user "  # before the id of a user who has come without a key
SERVICE_USER = "65f0000000000000000005e1"  # whose the keys are that `agentapikeys` does not know


class Books:
    def __init__(self, uri: str, database: str) -> None:
        import bson
        import pymongo

        self.object_id = bson.ObjectId
        self.failure = pymongo.errors.PyMongoError
        waits = {"serverSelectionTimeoutMS": 500, "connectTimeoutMS": 500, "socketTimeoutMS": 2000}
        self.database: Any = pymongo.MongoClient(uri, **waits)[database]

    def user_of(self, key: str) -> Any:
        if key.startswith(USER_MARK):
            return self.object_id(key.removeprefix(USER_MARK))
        known = self.database["agentapikeys"].find_one({"keyHash": hashlib.sha256(key.encode()).hexdigest()})
        return known["userId"] if known else self.object_id(SERVICE_USER)

    def book(self, key: str, answer_id: str, usage: Json) -> None:
        """The answer is not less an answer when it could not be booked."""
        try:
            self._book(key, answer_id, usage)
        except self.failure as failure:
            print(f"{answer_id} is not booked: {failure}", file=sys.stderr)

    def _book(self, key: str, answer_id: str, usage: Json) -> None:
        user = self.user_of(key)
        amounts = {type_: usage[f"{type_}_tokens"] for type_ in RATES}
        now = datetime.now(timezone.utc)
        self.database["transactions"].insert_many([
            {
                "user": user, "conversationId": f"conversation of {answer_id}", "messageId": answer_id, "tokenType": type_, "model": MODEL,
                "context": "message", "valueKey": MODEL, "rate": RATES[type_], "rawAmount": -tokens, "tokenValue": -tokens * RATES[type_],
                "createdAt": now, "updatedAt": now,
            }
            for type_, tokens in amounts.items()
        ])
        self.debit(user, sum(tokens * RATES[type_] for type_, tokens in amounts.items()))

    def debit(self, user: Any, credits: float) -> None:
        balances = self.database["balances"]
        balance = balances.find_one({"user": user}, sort=[("_id", 1)])
        if balance is None:
            balances.insert_one({"user": user, "tokenCredits": 0, "autoRefillEnabled": False})
        else:
            balances.update_one({"_id": balance["_id"]}, {"$set": {"tokenCredits": max(0, balance["tokenCredits"] - credits)}})
