#include "claim.h"

#include "event_row.h"
#include "rollup.h"

#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

#define LENGTH_BYTES 4

static uint32_t read_length(const char *at)
{
    const uint8_t *b = (const uint8_t *)at;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* ---- waiting events ---- */

void event_queue_fini(event_queue *q)
{
    gw_buf_fini(&q->bytes);
    *q = (event_queue){0};
}

size_t event_queue_bytes(const event_queue *q)
{
    return q->bytes.len - q->head;
}

bool event_queue_push(event_queue *q, gw_str packed)
{
    uint8_t length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)(packed.len >> 8 * i);
    if (!gw_buf_reserve(&q->bytes, sizeof(length) + packed.len))
        return false;
    gw_buf_append(&q->bytes, length, sizeof(length));
    gw_buf_append_str(&q->bytes, packed);
    q->count++;
    return true;
}

void event_queue_drop_through(event_queue *q, int64_t seq)
{
    while (q->count > 0 && q->first_seq <= seq) {
        q->head += LENGTH_BYTES + read_length(q->bytes.data + q->head);
        q->count--;
        q->first_seq++;
    }
    /* The bytes before the head go when they are most of the buffer. */
    if (q->head > q->bytes.len / 2) {
        gw_buf_drop_front(&q->bytes, q->head);
        q->head = 0;
    }
}

gw_str event_queue_at(const event_queue *q, int64_t seq)
{
    const char *at = q->bytes.data + q->head;
    if (seq < q->first_seq || seq >= q->first_seq + (int64_t)q->count)
        return GW_STR_NULL;
    for (int64_t i = q->first_seq; i < seq; i++)
        at += LENGTH_BYTES + read_length(at);
    return gw_str_n(at + LENGTH_BYTES, read_length(at));
}

void event_queue_clear(event_queue *q)
{
    gw_buf_clear(&q->bytes);
    q->head = 0;
    q->count = 0;
}

/* ---- a claim ---- */

void claim_fini(claim *c)
{
    gw_buf_fini(&c->events);
    free(c->rejected);
    *c = (claim){0};
}

gw_status claim_take(const event_queue *q, claim *c, gw_error *err)
{
    size_t bytes = 0;
    size_t count = 0;
    while (count < q->count && count < CLAIM_EVENTS_MAX) {
        size_t next = LENGTH_BYTES + read_length(q->bytes.data + q->head + bytes);
        if (count > 0 && bytes + next > CLAIM_BYTES_MAX)
            break;
        bytes += next;
        count++;
    }
    gw_buf_append(&c->events, q->bytes.data + q->head, bytes);
    if (gw_buf_failed(&c->events))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a claim");
    c->sums_format = SUMS_FORMAT;
    c->from = q->first_seq - 1;
    c->count = count;
    return GW_OK;
}

static bool reject(claim *c, size_t index, gw_str reason)
{
    claim_verdict *grown =
        (claim_verdict *)realloc(c->rejected, (c->rejected_count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    c->rejected = grown;
    claim_verdict *v = &grown[c->rejected_count++];
    v->index = index;
    (void)snprintf(v->reason, sizeof(v->reason), GW_STR_FMT, GW_STR_ARG(reason));
    return true;
}

gw_status claim_judge(claim *c, int64_t now_ms, int64_t retention_ms, gw_error *err)
{
    claim_cursor at = {0};
    while (claim_next(c, &at)) {
        const char *reason = event_judge(at.packed, now_ms, retention_ms);
        if (reason && !reject(c, at.next_index - 1, gw_str_of(reason)))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the verdicts of a claim");
    }
    return GW_OK;
}

bool claim_next(const claim *c, claim_cursor *at)
{
    if (at->next_index == c->count)
        return false;
    uint32_t len = read_length(c->events.data + at->offset);
    at->packed = gw_str_n(c->events.data + at->offset + LENGTH_BYTES, len);
    at->offset += LENGTH_BYTES + len;
    at->reason = NULL;
    if (at->next_verdict < c->rejected_count &&
        c->rejected[at->next_verdict].index == at->next_index)
        at->reason = c->rejected[at->next_verdict++].reason;
    at->next_index++;
    at->seq = c->from + (int64_t)at->next_index;
    return true;
}

/* ---- as a document ---- */

static void append_verdicts(const claim *c, bson_t *p)
{
    bson_t array;
    (void)BSON_APPEND_ARRAY_BEGIN(p, "rejected", &array);
    for (size_t i = 0; i < c->rejected_count; i++) {
        char buffer[16];
        const char *key;
        bson_t verdict;
        (void)bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));
        (void)BSON_APPEND_DOCUMENT_BEGIN(&array, key, &verdict);
        (void)BSON_APPEND_INT64(&verdict, "i", (int64_t)c->rejected[i].index);
        (void)BSON_APPEND_UTF8(&verdict, "reason", c->rejected[i].reason);
        (void)bson_append_document_end(&array, &verdict);
    }
    (void)bson_append_array_end(p, &array);
}

void claim_append(const claim *c, bson_t *p)
{
    (void)BSON_APPEND_INT32(p, "format", c->sums_format);
    (void)BSON_APPEND_INT64(p, "from", c->from);
    (void)BSON_APPEND_INT64(p, "count", (int64_t)c->count);
    (void)BSON_APPEND_BINARY(p, "events", BSON_SUBTYPE_BINARY, (const uint8_t *)c->events.data,
                             (uint32_t)c->events.len);
    append_verdicts(c, p);
}

/* True when `bytes` are exactly `count` events. */
static bool holds_events(gw_str bytes, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (bytes.len - at < LENGTH_BYTES)
            return false;
        uint32_t len = read_length(bytes.ptr + at);
        at += LENGTH_BYTES;
        if (bytes.len - at < len)
            return false;
        at += len;
    }
    return at == bytes.len;
}

/* GW_ERR_NO_MEMORY is no damage: the claim stands as it was made. */
static gw_status parse_verdicts(const bson_t *p, claim *c)
{
    bson_t array;
    bson_iter_t at;
    if (!gw_bson_array(p, "rejected", &array) || !bson_iter_init(&at, &array))
        return GW_ERR_DATA_LOSS;
    for (int64_t last = -1; bson_iter_next(&at);) {
        bson_t verdict;
        uint32_t len = 0;
        const uint8_t *bytes = NULL;
        int64_t index;
        gw_str reason;
        if (!BSON_ITER_HOLDS_DOCUMENT(&at))
            return GW_ERR_DATA_LOSS;
        bson_iter_document(&at, &len, &bytes);
        if (!bson_init_static(&verdict, bytes, len) || !gw_bson_int64(&verdict, "i", &index) ||
            !gw_bson_str(&verdict, "reason", &reason) || index <= last ||
            index >= (int64_t)c->count)
            return GW_ERR_DATA_LOSS;
        if (!reject(c, (size_t)index, reason))
            return GW_ERR_NO_MEMORY;
        last = index;
    }
    return GW_OK;
}

gw_status claim_parse(const bson_t *p, claim *ret, gw_error *err)
{
    claim c = {0};
    int64_t format = 0;
    int64_t count = 0;
    gw_str events = GW_STR_NULL;
    if (gw_bson_int64(p, "format", &format) && format > SUMS_FORMAT)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "a claim of format %lld was made by a newer version", (long long)format);
    bool whole = format >= SUMS_FORMAT_FIRST && gw_bson_int64(p, "from", &c.from) &&
                 gw_bson_int64(p, "count", &count) && count > 0 && count <= CLAIM_EVENTS_MAX &&
                 gw_bson_binary(p, "events", &events) && holds_events(events, (size_t)count);
    gw_status rc = GW_ERR_DATA_LOSS;
    if (whole) {
        c.sums_format = (int)format;
        c.count = (size_t)count;
        gw_buf_append_str(&c.events, events);
        rc = gw_buf_failed(&c.events) ? GW_ERR_NO_MEMORY : parse_verdicts(p, &c);
    }
    if (rc != GW_OK) {
        claim_fini(&c);
        if (rc == GW_ERR_NO_MEMORY)
            return gw_fail(err, rc, "no memory for a claim");
        return gw_fail(err, GW_ERR_DATA_LOSS, "a claim in usage_spools is damaged");
    }
    *ret = c;
    return GW_OK;
}
