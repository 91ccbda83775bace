#include "event_codec.h"

#include "event_pack.h"

#include <stdlib.h>

#define STATUS_CLIENT_CLOSED 499 /* nginx's word for a client that got no status */
#define SHORT_TEXT_MAX       48

/* One text field cut to what fits; the copy lives as long as the packing. */
typedef struct cut_text {
    char **field;
    char copy[EVENT_MAX_BYTES];
} cut_text;

static size_t packed_size(const usage_event *e)
{
    return apirelay__usage__v1__usage_event__get_packed_size(e);
}

/* Shortens `*c->field` by at least `excess` bytes, to nothing if need be, on a character boundary. */
static void shorten(cut_text *c, size_t excess)
{
    gw_str text = gw_str_of(*c->field);
    size_t keep = text.len > excess ? text.len - excess : 0;
    keep = gw_str_utf8_cut(text, GW_MIN(keep, sizeof(c->copy) - 1));
    memcpy(c->copy, text.ptr, keep);
    c->copy[keep] = '\0';
    *c->field = c->copy;
}

/* Cuts what is least missed until `e` fits. The figures alone are far below any cap in use. */
static bool cut_to_fit(usage_event *e, size_t cap, cut_text texts[2],
                       char shorts[][SHORT_TEXT_MAX + 1])
{
    e->truncated = true;
    e->n_headers = 0;
    texts[0].field = &e->user_agent;
    texts[1].field = &e->error;
    for (int i = 0; i < 2; i++) {
        size_t size = packed_size(e);
        if (size <= cap)
            return true;
        shorten(&texts[i], size - cap);
    }
    char **rest[] = {&e->end_user,       &e->conversation_id, &e->message_id,
                     &e->client_version, &e->finish_reason,   &e->model,
                     &e->upstream_model, &e->route,           &e->endpoint};
    for (size_t i = 0; i < GW_ARRAY_LEN(rest) && packed_size(e) > cap; i++) {
        gw_str text = gw_str_of(*rest[i]);
        size_t keep = gw_str_utf8_cut(text, SHORT_TEXT_MAX);
        memcpy(shorts[i], text.ptr, keep);
        shorts[i][keep] = '\0';
        *rest[i] = shorts[i];
    }
    if (packed_size(e) > cap) /* as a whole: half a name is another's */
        e->upstream_response_id = (char *)(uintptr_t)protobuf_c_empty_string;
    return packed_size(e) <= cap;
}

size_t event_pack(const usage_event *e, uint8_t *out, size_t cap)
{
    event_figures unused = EVENT_FIGURES_NONE;
    size_t len = event_pack_usual(e, out, cap, &unused);
    if (len > 0)
        return len;
    if (packed_size(e) <= cap)
        return apirelay__usage__v1__usage_event__pack(e, out);
    usage_event copy = *e;
    cut_text texts[2];
    char shorts[9][SHORT_TEXT_MAX + 1];
    if (!cut_to_fit(&copy, cap, texts, shorts))
        return 0;
    return apirelay__usage__v1__usage_event__pack(&copy, out);
}

/* Figures from a disk may be anything; usage sets an event aside whose figures are beyond its bounds. */
static int64_t bounded_sum(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t bounded_difference(int64_t a, int64_t b)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return a > b ? INT64_MAX : 0;
    return GW_MAX(difference, 0);
}

size_t event_pack_interrupted(gw_str packed, const event_progress *progress, uint8_t *out,
                              size_t cap)
{
    static char interrupted[] = "interrupted", estimated[] = "estimated";
    usage_event *whole =
        apirelay__usage__v1__usage_event__unpack(NULL, packed.len, (const uint8_t *)packed.ptr);
    if (!whole)
        return 0;
    usage_event e = *whole; /* texts stay the unpacked message's */
    int64_t last_ms = progress->last_byte_ms ? progress->last_byte_ms : e.timestamp_ms;
    e.duration_ms = bounded_difference(last_ms, e.timestamp_ms);
    e.timestamp_ms = last_ms;
    e.status_code = progress->status_code ? progress->status_code : STATUS_CLIENT_CLOSED;
    e.prompt_tokens = e.prompt_estimate_tokens;
    e.completion_tokens = progress->completion_tokens;
    e.total_tokens = bounded_sum(e.prompt_tokens, e.completion_tokens);
    e.cost_nano_usd = progress->cost_nano_usd ? progress->cost_nano_usd : e.cost_nano_usd;
    if (progress->key_load_id)
        e.key_load_id = progress->key_load_id;
    if (progress->client_load_id)
        e.client_load_id = progress->client_load_id;
    if (progress->owner_load_id)
        e.owner_load_id = progress->owner_load_id;
    e.outcome = interrupted;
    e.error = interrupted;
    if (!gw_str_eq_c(gw_str_of(e.billing_basis), "unpriced"))
        e.billing_basis = estimated;
    size_t len = event_pack(&e, out, cap);
    apirelay__usage__v1__usage_event__free_unpacked(whole, NULL);
    return len;
}

/* ---- reading without unpacking ---- */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static bool read_long_varint(cursor *c, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint8_t byte = *c->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* Lengths, tags and small figures have one byte or two. */
static inline bool read_varint(cursor *c, uint64_t *ret)
{
    if (c->end - c->at < 2)
        return read_long_varint(c, ret);
    if (c->at[0] <= 0x7f) {
        *ret = *c->at++;
        return true;
    }
    if (c->at[1] > 0x7f)
        return read_long_varint(c, ret);
    *ret = (uint64_t)(c->at[0] & 0x7f) | (uint64_t)c->at[1] << 7;
    c->at += 2;
    return true;
}

static inline bool skip(cursor *c, uint64_t count)
{
    if (count > (uint64_t)(c->end - c->at))
        return false;
    c->at += count;
    return true;
}

/* Where the fields of event.proto that are read belong, by their numbers; 0: not read. */
#define AT(field) (offsetof(event_figures, field) + 1)
#define NUMBERS   67
static const uint8_t numbers_at[NUMBERS] = {
    [2] = AT(timestamp_ms),       [11] = AT(status_code),   [12] = AT(duration_ms),
    [13] = AT(ttft_ms),           [14] = AT(prompt_tokens), [15] = AT(completion_tokens),
    [16] = AT(cost_nano_usd),     [17] = AT(total_tokens),  [38] = AT(repeat_count),
    [40] = AT(upstream_accepted), [60] = AT(key_load_id),   [61] = AT(client_load_id),
    [62] = AT(owner_load_id),     [63] = AT(grant_id),      [65] = AT(client_grant_id),
    [66] = AT(owner_grant_id),
};
static const uint8_t texts_at[NUMBERS] = {[3] = AT(api_key_id), [7] = AT(model), [8] = AT(route)};
_Static_assert(sizeof(event_figures) < UINT8_MAX, "places fit a byte");

/* A field given twice: the last counts. */
static inline void take_number(event_figures *e, uint64_t number, uint64_t value)
{
    if (number < NUMBERS && numbers_at[number])
        memcpy((char *)e + numbers_at[number] - 1, &value, sizeof(value));
}

static inline void take_bytes(event_figures *e, uint64_t number, gw_str value)
{
    if (number < NUMBERS && texts_at[number])
        memcpy((char *)e + texts_at[number] - 1, &value, sizeof(value));
}

static inline bool take_field(event_figures *e, cursor *c)
{
    uint64_t tag, value;
    if (!read_varint(c, &tag))
        return false;
    switch (tag & 7) {
    case WIRE_VARINT:
        if (!read_varint(c, &value))
            return false;
        take_number(e, tag >> 3, value);
        return true;
    case WIRE_BYTES:
        if (!read_varint(c, &value) || !skip(c, value))
            return false;
        take_bytes(e, tag >> 3, gw_str_n(c->at - value, value));
        return true;
    case WIRE_FIXED64: /* no field of ours */
        return skip(c, 8);
    case WIRE_FIXED32:
        return skip(c, 4);
    default:
        return false;
    }
}

bool event_read_figures(gw_str packed, event_figures *ret)
{
    cursor c = {.at = (const uint8_t *)packed.ptr, .end = (const uint8_t *)packed.ptr + packed.len};
    event_figures e = EVENT_FIGURES_NONE;
    while (c.at < c.end)
        if (!take_field(&e, &c))
            return false;
    e.ttft_ms = GW_MAX(e.ttft_ms, -1);
    *ret = e;
    return true;
}
