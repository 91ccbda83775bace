/*
 * Key resolution: from a presented API key to its record, as the relay and CheckCredential need it.
 *
 *     parse, tag ─▶ MongoDB: find by key id, compare verifiers; of a key that may be meant, the limits of
 *     its client and owner ─▶ (Argon2 worker, only where a verifier is missing or its pepper retired; the
 *     verifier is then made anew)
 *
 * An unknown key, a wrong secret and a wrong tag are all found = false.
 *
 * Thread: the loop's; `done` on the loop.
 */
#pragma once

#include "api_key.h"
#include "auth.h"
#include "key_match.h"
#include "limit_policy_store.h"

typedef struct key_resolution key_resolution;
struct key_resolution {
    /* What came out; valid during `done`. */
    bool found;
    api_key_record record;
    const api_key_secret *secret; /* of the record: the one presented */
    shared_limits shared; /* of the key's client and owner */
    int64_t generation; /* newest that this replica had applied before it read */
    int64_t now_ms;
    gw_arena *arena;

    /* Private from here. */
    auth *auth;
    gw_mongo_job job;
    argon2_task argon2;
    gw_str presented;
    gw_key_parts parts;
    bool exists;
    key_match match;
    size_t slow_at;
    void (*done)(key_resolution *r, gw_status rc, const gw_error *err);
    void *arg;
};

/* `done` exactly once; the resolution is freed when it returns. */
void key_resolve(auth *a, gw_str presented,
                 void (*done)(key_resolution *r, gw_status rc, const gw_error *err), void *arg);
