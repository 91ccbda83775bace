#include "key_match.h"

/* Compares with the verifier when its pepper is at hand; false leaves it to Argon2id. */
static bool try_verifier(const peppers *p, const api_key_secret *s, gw_str presented,
                         bool *ret_equal)
{
    uint8_t hmac[GW_SHA256_SIZE];
    if (s->hmac.len == 0 || !peppers_verifier(p, s->pepper_id, presented, hmac))
        return false;
    *ret_equal = gw_secret_eq(hmac, sizeof(hmac), s->hmac.ptr, s->hmac.len);
    return true;
}

static void match_one(const peppers *p, const api_key_secret *s, gw_str presented, key_match *m)
{
    bool equal = false;
    if (try_verifier(p, s, presented, &equal)) {
        if (equal && !m->secret)
            m->secret = s;
    } else if (s->phc.len) {
        m->slow[m->slow_count++] = s;
    }
}

key_match key_match_secrets(const peppers *p, const api_key_record *k, gw_str presented,
                            int64_t now_ms)
{
    static const char nothing[GW_SHA256_SIZE];
    const api_key_secret nobody = {.pepper_id = peppers_current(p),
                                   .hmac = {nothing, sizeof(nothing)}};
    key_match m = {0};
    match_one(p, k ? &k->current : &nobody, presented, &m);
    if (!k)
        return (key_match){0};
    for (size_t i = 0; i < k->previous_count; i++) {
        if (k->previous[i].expires_ms > now_ms)
            match_one(p, &k->previous[i], presented, &m);
    }
    if (m.secret)
        m.slow_count = 0;
    return m;
}
