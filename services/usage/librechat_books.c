#include "librechat_books.h"

#include "core/clock.h"
#include "mongo/bson_read.h"

#include <math.h>

#define TOKENS_MAX  1e12
#define CREDITS_MAX 1e12 /* a million dollars, as the most that an event may cost */

/* What was spent, from 0 up: its sign in the books is a minus. */
static double spent_at(const bson_t *t, const char *path, double most)
{
    double v = 0;
    return gw_bson_double(t, path, &v) ? fmin(fmax(-v, 0), most) : 0;
}

static int64_t tokens_at(const bson_t *t, const char *path)
{
    return llround(spent_at(t, path, TOKENS_MAX));
}

/* Made by the driver of whoever booked it: its first four bytes are the second. */
static int64_t made_ms(const bson_t *t)
{
    gw_object_id id;
    if (!gw_bson_oid(t, "_id", &id))
        return 0;
    uint32_t s = (uint32_t)id.bytes[0] << 24 | (uint32_t)id.bytes[1] << 16 |
                 (uint32_t)id.bytes[2] << 8 | id.bytes[3];
    return (int64_t)s * GW_MS_PER_S;
}

static void note_model(librechat_booking *b, const bson_t *t, double credits)
{
    gw_str model;
    if (!gw_bson_str(t, "model", &model) || (b->model[0] && credits <= b->dearest_credits))
        return;
    size_t len = gw_str_utf8_cut(model, sizeof(b->model) - 1);
    memcpy(b->model, model.ptr, len);
    b->model[len] = '\0';
    b->dearest_credits = credits;
}

void librechat_booking_add(librechat_booking *b, const bson_t *t)
{
    gw_str type = GW_STR("");
    (void)gw_bson_str(t, "tokenType", &type);
    bool is_prompt = gw_str_eq_c(type, "prompt");
    if (!is_prompt && !gw_str_eq_c(type, "completion"))
        return;
    double credits = spent_at(t, "tokenValue", CREDITS_MAX);
    int64_t *tokens = is_prompt ? &b->prompt_tokens : &b->completion_tokens;
    *tokens += tokens_at(t, "rawAmount");
    b->cache_read_tokens += tokens_at(t, "readTokens");
    b->cache_write_tokens += tokens_at(t, "writeTokens");
    b->credits += credits;
    b->newest_ms = GW_MAX(b->newest_ms, made_ms(t));
    b->has_user = gw_bson_oid(t, "user", &b->user) || b->has_user;
    b->transactions++;
    note_model(b, t, credits);
}

int64_t librechat_booking_nano_usd(const librechat_booking *b)
{
    return llround(fmin(b->credits, CREDITS_MAX) * LIBRECHAT_NANO_A_CREDIT);
}

void librechat_append_fields(bson_t *opts)
{
    static const char *const fields[] = {"messageId",  "tokenType",   "rawAmount", "tokenValue",
                                         "readTokens", "writeTokens", "model",     "user"};
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &d);
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        (void)BSON_APPEND_INT32(&d, fields[i], 1);
    (void)bson_append_document_end(opts, &d);
}
