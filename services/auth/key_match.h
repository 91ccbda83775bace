/*
 * Key match: whether a presented API key is one of a record's secrets.
 *
 * Verifiers are compared in constant time, and there are always as many comparisons as a key can have secrets: an
 * unknown key, a wrong secret and a key with older secrets in their grace cost the same. Argon2id runs elsewhere, on
 * workers, and only for secrets whose verifier is missing or of a retired pepper.
 *
 * Thread: pure.
 */
#pragma once

#include "api_key.h"
#include "peppers.h"

#define KEY_MATCH_SLOW_MAX (1 + API_KEY_PREVIOUS_MAX)

typedef struct key_match {
    const api_key_secret *secret; /* the one that fits; NULL when none (yet) */
    /* Secrets that only Argon2id can tell, in order; empty when `secret` is set. */
    const api_key_secret *slow[KEY_MATCH_SLOW_MAX];
    size_t slow_count;
    size_t compared; /* HMACs made */
} key_match;

/* `k` NULL: no such key. Previous secrets count until their grace ends. */
key_match key_match_secrets(const peppers *p, const api_key_record *k, gw_str presented,
                            int64_t now_ms);
