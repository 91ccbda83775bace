#include "key_match.h"

/* NULL, or one without a verifier of a pepper at hand, is compared with nothing: the work is the same. */
static bool verifier_fits(const peppers *p, const api_key_secret *s, gw_str presented)
{
    static const uint8_t nothing[GW_SHA256_SIZE];
    uint8_t hmac[GW_SHA256_SIZE];
    bool made = peppers_verifier(p, s ? s->pepper_id : peppers_current(p), presented, hmac);
    bool equal = s ? gw_secret_eq(hmac, sizeof(hmac), s->hmac.ptr, s->hmac.len)
                   : gw_secret_eq(hmac, sizeof(hmac), nothing, sizeof(nothing));
    return made && s && equal;
}

static void match_one(const peppers *p, const api_key_secret *s, gw_str presented, key_match *m)
{
    bool has_verifier = s && s->hmac.len > 0 && peppers_has(p, s->pepper_id);
    bool fits = verifier_fits(p, has_verifier ? s : NULL, presented);
    m->compared++;
    if (fits && !m->secret)
        m->secret = s;
    if (s && !has_verifier && s->phc.len)
        m->slow[m->slow_count++] = s;
}

/* The secret at a place from 0, the current one, on; NULL when there is none that still counts. */
static const api_key_secret *secret_at(const api_key_record *k, size_t place, int64_t now_ms)
{
    if (!k || place > k->previous_count)
        return NULL;
    if (place == 0)
        return &k->current;
    return k->previous[place - 1].expires_ms > now_ms ? &k->previous[place - 1] : NULL;
}

key_match key_match_secrets(const peppers *p, const api_key_record *k, gw_str presented,
                            int64_t now_ms)
{
    key_match m = {0};
    for (size_t place = 0; place <= API_KEY_PREVIOUS_MAX; place++)
        match_one(p, secret_at(k, place, now_ms), presented, &m);
    if (m.secret)
        m.slow_count = 0;
    return m;
}
