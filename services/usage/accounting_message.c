#include "accounting_message.h"

#include "event_row.h"
#include "query_op.h"
#include "spool_care.h"

static char *text_at(gw_arena *a, const bson_t *doc, const char *path)
{
    gw_str s = GW_STR("");
    (void)gw_bson_str(doc, path, &s);
    return reply_text(a, s);
}

static int64_t int_at(const bson_t *doc, const char *path)
{
    int64_t v = 0;
    (void)gw_bson_int64(doc, path, &v);
    return v;
}

static Google__Protobuf__Timestamp *time_at(gw_arena *a, const bson_t *doc, const char *path)
{
    int64_t ms;
    return gw_bson_date_ms(doc, path, &ms) ? reply_time(a, ms) : NULL;
}

static gw_str state_of(const bson_t *doc, int64_t waiting, int64_t now_ms)
{
    int64_t seen_ms = 0, lost_ms = 0;
    (void)gw_bson_date_ms(doc, "seen", &seen_ms);
    if (seen_ms > now_ms - SPOOL_LIVE_MS)
        return GW_STR("live");
    if (gw_bson_date_ms(doc, "lostAt", &lost_ms) && lost_ms >= seen_ms)
        return GW_STR("lost");
    return waiting > 0 ? GW_STR("silent") : GW_STR("drained");
}

Apirelay__Usage__V1__Spool *spool_message(gw_arena *a, const bson_t *doc, int64_t now_ms)
{
    Apirelay__Usage__V1__Spool *m = reply_new(a, &apirelay__usage__v1__spool__descriptor);
    if (!m)
        return NULL;
    m->id = text_at(a, doc, "_id");
    m->host = text_at(a, doc, "host");
    m->claimed = int_at(doc, "n");
    m->applied = int_at(doc, "done");
    m->tail = int_at(doc, "tail");
    m->waiting = GW_MAX(m->tail - m->claimed, 0);
    m->state = reply_text(a, state_of(doc, m->waiting, now_ms));
    m->open_slots = int_at(doc, "status.openSlots");
    m->dropped = int_at(doc, "status.dropped");
    m->spool_bytes = int_at(doc, "status.spoolBytes");
    m->seen = time_at(a, doc, "seen");
    m->claimed_at = time_at(a, doc, "claimedAt");
    return m;
}

Apirelay__Usage__V1__Loss *loss_message(gw_arena *a, const bson_t *doc)
{
    Apirelay__Usage__V1__Loss *m = reply_new(a, &apirelay__usage__v1__loss__descriptor);
    if (!m)
        return NULL;
    m->id = text_at(a, doc, "_id");
    m->spool_id = text_at(a, doc, "S");
    m->host = text_at(a, doc, "host");
    m->claimed = int_at(doc, "n");
    m->tail = int_at(doc, "tail");
    m->events = int_at(doc, "events");
    m->open_slots = int_at(doc, "openSlots");
    m->seen = time_at(a, doc, "seen");
    m->written_at = time_at(a, doc, "at");
    m->written_by = text_at(a, doc, "by");
    m->returned_at = time_at(a, doc, "returnedAt");
    return m;
}

static char *hex_of(gw_arena *a, const uint8_t *bytes)
{
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    memcpy(id.bytes, bytes, sizeof(id.bytes));
    gw_object_id_format(&id, hex);
    return reply_text(a, gw_str_of(hex));
}

/* What can be read of the event. */
static void read_event(gw_arena *a, gw_str raw, Apirelay__Usage__V1__Reject *m)
{
    usage_event *e = raw.len <= EVENT_BYTES_MAX ? event_unpack(raw) : NULL;
    if (!e)
        return;
    m->request_id = reply_text(a, gw_str_of(e->request_id));
    if (e->api_key_id.len == sizeof(((gw_object_id *)NULL)->bytes))
        m->api_key_id = hex_of(a, e->api_key_id.data);
    m->event_timestamp_ms = e->timestamp_ms;
    m->cost_nano_usd = e->cost_nano_usd;
    event_free(e);
}

Apirelay__Usage__V1__Reject *reject_message(gw_arena *a, const bson_t *doc)
{
    Apirelay__Usage__V1__Reject *m = reply_new(a, &apirelay__usage__v1__reject__descriptor);
    gw_object_id id;
    gw_str raw;
    if (!m)
        return NULL;
    if (gw_bson_oid(doc, "_id", &id))
        m->id = hex_of(a, id.bytes);
    m->reason = text_at(a, doc, "reason");
    m->spool_id = text_at(a, doc, "S");
    m->seq = int_at(doc, "seq");
    m->set_aside_at = time_at(a, doc, "at");
    if (gw_bson_binary(doc, "raw", &raw)) {
        m->bytes = (int64_t)raw.len;
        read_event(a, raw, m);
    }
    return m;
}
