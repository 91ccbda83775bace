#include "event_pack.h"

/* Every field of event.proto by its number, those that are figures (event_codec.c has the same) as such; a test packs each of the
 * descriptor's and compares. */
#define FIELDS(FIGURE, BYTES, TEXT, NUMBER, BOOL, OPTIONAL, HEADERS)                               \
    BYTES(1, event_id)                                                                             \
    FIGURE(NUMBER, 2, timestamp_ms)                                                                \
    FIGURE(BYTES, 3, api_key_id)                                                                   \
    TEXT(4, key_id)                                                                                \
    TEXT(5, request_id)                                                                            \
    TEXT(6, endpoint)                                                                              \
    FIGURE(TEXT, 7, model)                                                                         \
    FIGURE(TEXT, 8, route)                                                                         \
    TEXT(9, provider)                                                                              \
    TEXT(10, upstream_model)                                                                       \
    FIGURE(NUMBER, 11, status_code)                                                                \
    FIGURE(NUMBER, 12, duration_ms)                                                                \
    FIGURE(OPTIONAL, 13, ttft_ms)                                                                  \
    FIGURE(NUMBER, 14, prompt_tokens)                                                              \
    FIGURE(NUMBER, 15, completion_tokens)                                                          \
    FIGURE(NUMBER, 16, cost_nano_usd)                                                              \
    FIGURE(NUMBER, 17, total_tokens)                                                               \
    NUMBER(18, cached_tokens)                                                                      \
    NUMBER(19, reasoning_tokens)                                                                   \
    TEXT(20, method)                                                                               \
    BOOL(21, stream)                                                                               \
    NUMBER(22, attempts)                                                                           \
    TEXT(23, billing_basis)                                                                        \
    TEXT(24, outcome)                                                                              \
    TEXT(25, error)                                                                                \
    TEXT(26, price_book_version)                                                                   \
    TEXT(27, finish_reason)                                                                        \
    TEXT(28, client_id)                                                                            \
    BYTES(29, user_id)                                                                             \
    TEXT(30, ip)                                                                                   \
    TEXT(31, user_agent)                                                                           \
    TEXT(32, client_request_id)                                                                    \
    TEXT(33, conversation_id)                                                                      \
    TEXT(34, message_id)                                                                           \
    TEXT(35, client_version)                                                                       \
    TEXT(36, end_user)                                                                             \
    HEADERS(37, headers)                                                                           \
    FIGURE(NUMBER, 38, repeat_count)                                                               \
    NUMBER(39, prompt_estimate_tokens)                                                             \
    FIGURE(BOOL, 40, upstream_accepted)                                                            \
    BOOL(41, ceiling_ignored)                                                                      \
    BOOL(42, truncated)                                                                            \
    NUMBER(43, cache_write_tokens)                                                                 \
    NUMBER(44, images)                                                                             \
    NUMBER(45, long_cache_write_tokens)                                                            \
    TEXT(46, upstream_response_id)                                                                 \
    TEXT(47, service_tier)                                                                         \
    FIGURE(NUMBER, 60, key_load_id)                                                                \
    FIGURE(NUMBER, 61, client_load_id)                                                             \
    FIGURE(NUMBER, 62, owner_load_id)                                                              \
    FIGURE(NUMBER, 63, grant_id)                                                                   \
    NUMBER(64, grant_sequence)                                                                     \
    FIGURE(NUMBER, 65, client_grant_id)                                                            \
    FIGURE(NUMBER, 66, owner_grant_id)

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

typedef struct packer {
    uint8_t *at;
    const uint8_t *end;
    gw_str last; /* bytes or text that was put */
    bool is_full; /* something did not fit: nothing is written from then on that matters */
} packer;

enum { TAG_MAX = 2, VARINT_MAX = 10 };

static inline bool has_room(packer *p, size_t bytes)
{
    if (bytes > (size_t)(p->end - p->at))
        p->is_full = true;
    return !p->is_full;
}

static inline void put_varint(packer *p, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        *p->at++ = (uint8_t)(value | 0x80);
    *p->at++ = (uint8_t)value;
}

static inline void put_number(packer *p, unsigned field, uint64_t value)
{
    if (!has_room(p, TAG_MAX + VARINT_MAX))
        return;
    put_varint(p, field << 3 | WIRE_VARINT);
    put_varint(p, value);
}

/* Most texts are short: a call costs more than the bytes do. Two halves that overlap are any length in between. */
static inline void copy(uint8_t *to, const void *from, size_t len)
{
    const uint8_t *bytes = from;
    if (len < 4 || len > 32) {
        memcpy(to, from, len);
    } else if (len <= 8) {
        memcpy(to, bytes, 4);
        memcpy(to + len - 4, bytes + len - 4, 4);
    } else if (len <= 16) {
        memcpy(to, bytes, 8);
        memcpy(to + len - 8, bytes + len - 8, 8);
    } else {
        memcpy(to, bytes, 16);
        memcpy(to + len - 16, bytes + len - 16, 16);
    }
}

static inline void put_bytes(packer *p, unsigned field, const void *bytes, size_t len)
{
    if (!has_room(p, TAG_MAX + VARINT_MAX + len))
        return;
    put_varint(p, field << 3 | WIRE_BYTES);
    put_varint(p, len);
    copy(p->at, bytes, len);
    p->last = gw_str_n(p->at, len);
    p->at += len;
}

static inline void put_text(packer *p, unsigned field, const char *text)
{
    if (text[0] != '\0')
        put_bytes(p, field, text, strlen(text));
}

static size_t varint_size(uint64_t value)
{
    size_t n = 1;
    for (; value > 0x7f; value >>= 7)
        n++;
    return n;
}

static size_t packed_text_size(size_t len) /* of a text with a tag of one byte */
{
    return len > 0 ? 1 + varint_size(len) + len : 0;
}

static void put_headers(packer *p, unsigned field, const usage_event *e)
{
    for (size_t i = 0; i < e->n_headers; i++) {
        const Apirelay__Usage__V1__EventHeader *h = e->headers[i];
        if (!has_room(p, TAG_MAX + VARINT_MAX))
            return;
        put_varint(p, field << 3 | WIRE_BYTES);
        put_varint(p, packed_text_size(strlen(h->name)) + packed_text_size(strlen(h->value)));
        put_text(p, 1, h->name);
        put_text(p, 2, h->value);
    }
}

size_t event_pack_usual(const usage_event *e, uint8_t *out, size_t cap, event_figures *figures)
{
    packer p = {.at = out, .end = out + cap};
    event_figures f = *figures;
#define BYTES(number, name)                                                                        \
    if (e->name.len > 0)                                                                           \
        put_bytes(&p, number, e->name.data, e->name.len);
#define TEXT(number, name)   put_text(&p, number, e->name);
#define NUMBER(number, name) /* of 32 bits: negative ones are extended to 64 */                    \
    if (e->name != 0)                                                                              \
        put_number(&p, number, (uint64_t)(int64_t)e->name);
#define BOOL(number, name)                                                                         \
    if (e->name)                                                                                   \
        put_number(&p, number, 1);
#define OPTIONAL(number, name)                                                                     \
    if (e->name##_presence_case == (number))                                                       \
        put_number(&p, number, (uint64_t)e->name);
#define HEADERS(number, name) put_headers(&p, number, e);
#define NOTE_BYTES(number, name)                                                                   \
    if (p.last.len > 0)                                                                            \
        f.name = p.last;
#define NOTE_TEXT NOTE_BYTES
#define NOTE_NUMBER(number, name)                                                                  \
    if (e->name != 0)                                                                              \
        f.name = e->name;
#define NOTE_BOOL NOTE_NUMBER
#define NOTE_OPTIONAL(number, name)                                                                \
    if (e->name##_presence_case == (number))                                                       \
        f.name = GW_MAX(e->name, -1);
#define FIGURE(KIND, number, name)                                                                 \
    p.last = gw_str_n(NULL, 0);                                                                    \
    KIND(number, name)                                                                             \
    NOTE_##KIND(number, name)
    FIELDS(FIGURE, BYTES, TEXT, NUMBER, BOOL, OPTIONAL, HEADERS)
    *figures = f;
    return p.is_full ? 0 : (size_t)(p.at - out);
}
