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
    return packed_size(e) <= cap;
}

size_t event_pack(const usage_event *e, uint8_t *out, size_t cap)
{
    size_t len = event_pack_usual(e, out, cap);
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

static inline bool read_varint(cursor *c, uint64_t *ret)
{
    if (c->at == c->end || *c->at > 0x7f)
        return read_long_varint(c, ret);
    *ret = *c->at++; /* lengths, and tags of the first fields */
    return true;
}

static bool skip(cursor *c, uint64_t count)
{
    if (count > (uint64_t)(c->end - c->at))
        return false;
    c->at += count;
    return true;
}

/* Numbers as in event.proto. A field given twice: the last counts. */
static void take_number(event_figures *e, uint64_t number, uint64_t value)
{
    switch (number) {
    case 2:
        e->timestamp_ms = (int64_t)value;
        return;
    case 11:
        e->status_code = (int64_t)value;
        return;
    case 12:
        e->duration_ms = (int64_t)value;
        return;
    case 13:
        e->ttft_ms = GW_MAX((int64_t)value, 0);
        return;
    case 14:
        e->prompt_tokens = (int64_t)value;
        return;
    case 15:
        e->completion_tokens = (int64_t)value;
        return;
    case 16:
        e->cost_nano_usd = (int64_t)value;
        return;
    case 17:
        e->total_tokens = (int64_t)value;
        return;
    case 60:
        e->key_load_id = (int64_t)value;
        return;
    case 61:
        e->client_load_id = (int64_t)value;
        return;
    case 62:
        e->owner_load_id = (int64_t)value;
        return;
    case 63:
        e->grant_id = (int64_t)value;
        return;
    case 65:
        e->client_grant_id = (int64_t)value;
        return;
    case 66:
        e->owner_grant_id = (int64_t)value;
        return;
    case 38:
        e->repeat_count = (int64_t)value;
        return;
    case 40:
        e->upstream_accepted = value != 0;
        return;
    default:
        return;
    }
}

static void take_bytes(event_figures *e, uint64_t number, gw_str value)
{
    switch (number) {
    case 3:
        e->api_key_id = value;
        return;
    case 7:
        e->model = value;
        return;
    case 8:
        e->route = value;
        return;
    default:
        return;
    }
}

static bool take_field(event_figures *e, cursor *c)
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
    event_figures e = {.ttft_ms = -1};
    while (c.at < c.end)
        if (!take_field(&e, &c))
            return false;
    *ret = e;
    return true;
}
