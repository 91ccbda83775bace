#include "event_codec.h"

#include <stdlib.h>

#define STATUS_CLIENT_CLOSED 499 /* nginx's word for a client that got no status */
#define SHORT_TEXT_MAX       48
#define TAG_MAX              2 /* bytes; numbers of fields are below 2048 */
#define VARINT_MAX           10
#define LENGTH_MAX           5 /* of a text or a header */

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

static size_t text_bound(size_t len)
{
    return len > 0 ? TAG_MAX + LENGTH_MAX + len : 0;
}

static size_t field_bound(const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return text_bound(strlen(*(char *const *)at));
    case PROTOBUF_C_TYPE_BYTES:
        return text_bound(((const ProtobufCBinaryData *)at)->len);
    case PROTOBUF_C_TYPE_INT64:
        return *(const int64_t *)at ? TAG_MAX + VARINT_MAX : 0;
    case PROTOBUF_C_TYPE_INT32:
        return *(const int32_t *)at ? TAG_MAX + VARINT_MAX : 0;
    default: /* a bool, or a oneof's member */
        return TAG_MAX + VARINT_MAX;
    }
}

/* No less than packed_size(), and for an event of ordinary size all that is to be known, for a fourth of the work. */
static size_t packed_bound(const usage_event *e)
{
    const ProtobufCMessageDescriptor *d = e->base.descriptor;
    size_t bound = 0;
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].label != PROTOBUF_C_LABEL_REPEATED)
            bound += field_bound(&d->fields[i], (const char *)e + d->fields[i].offset);
    for (size_t i = 0; i < e->n_headers; i++)
        bound += TAG_MAX + LENGTH_MAX + text_bound(strlen(e->headers[i]->name)) +
                 text_bound(strlen(e->headers[i]->value));
    return bound;
}

size_t event_pack(const usage_event *e, uint8_t *out, size_t cap)
{
    if (packed_bound(e) <= cap || packed_size(e) <= cap)
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
    e.outcome = interrupted;
    e.error = interrupted;
    if (!gw_str_eq_c(gw_str_of(e.billing_basis), "unpriced"))
        e.billing_basis = estimated;
    size_t len = event_pack(&e, out, cap);
    apirelay__usage__v1__usage_event__free_unpacked(whole, NULL);
    return len;
}
