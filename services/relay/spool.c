#include "spool_internal.h"

#include "apirelay/usage/v1/event.pb-c.h"

#include <assert.h>

void spool_publish(spool *s, const spool_meta *m)
{
    spool_log_lock(s->log);
    s->meta = *m;
    spool_log_unlock(s->log);
    memcpy(s->info.id, m->id, sizeof(m->id));
    memcpy(s->info.boot, m->boot, sizeof(m->boot));
    memcpy(s->info.acked_event_id, m->acked_event_id, sizeof(m->acked_event_id));
    s->info.registered = m->registered;
    s->info.tail = m->tail;
    s->info.acked = m->acked;
    s->info.opens = m->opens;
    s->info.bytes = spool_log_bytes(s->log, m->base + m->acked);
}

const spool_info *spool_get_info(const spool *s)
{
    return &s->info;
}

uint64_t spool_committed(const spool *s, uint32_t slot)
{
    return slot < s->state.slots ? s->state.generations[slot] : 0;
}

/* ---- writing ---- */

/* How many of the events fit a record of so many bytes; one always does. */
static uint32_t count_that_fits(const spool_event *events, size_t count, uint32_t room)
{
    size_t bytes = sizeof(spool_record) + sizeof(uint64_t);
    uint32_t n = 0;
    while (n < count) {
        assert(events[n].bytes.len <= EVENT_MAX_BYTES);
        bytes += sizeof(spool_entry) + events[n].bytes.len;
        if (bytes > room)
            break;
        n++;
    }
    return n;
}

static void make_record(spool *s, const spool_event *events, uint32_t count, const spool_meta *m)
{
    spool_record r = {.count = count, .meta = *m};
    uint8_t *entries = s->record + sizeof(r), *at = entries + count * sizeof(spool_entry);
    for (uint32_t i = 0; i < count; i++) {
        const spool_event *event = &events[i];
        spool_entry e = {.slot = event->slot,
                         .len = (uint32_t)event->bytes.len,
                         .generation = event->generation};
        memcpy(entries + i * sizeof(e), &e, sizeof(e));
        memcpy(at, event->bytes.ptr, event->bytes.len);
        at += event->bytes.len;
    }
    r.body_bytes = (uint32_t)(at - entries);
    memcpy(s->record, &r, sizeof(r));
}

/* What was appended is on disk: from now on it counts. */
static gw_status commit(spool *s, const spool_event *events, size_t count, const spool_meta *m,
                        gw_error *err)
{
    gw_status rc = spool_log_sync(s->log, err);
    if (rc != GW_OK)
        return rc;
    for (size_t i = 0; i < count; i++)
        spool_state_note(&s->state, events[i].slot, events[i].generation, &events[i].spent);
    spool_publish(s, m);
    return GW_OK;
}

static gw_status append(spool *s, const spool_event *events, uint32_t count, spool_meta *m,
                        gw_error *err)
{
    m->tail += count;
    make_record(s, events, count, m);
    return spool_log_append(s->log, s->record, err);
}

/* What is acked by `m`, behind the events: a segment keeps some room for that. */
static gw_status commit_acked(spool *s, const spool_meta *m, gw_error *err)
{
    spool_meta acked = s->meta;
    if (m->base != acked.base || m->acked <= acked.acked || spool_log_room(s->log, false) == 0)
        return GW_OK;
    acked.acked = m->acked;
    memcpy(acked.acked_event_id, m->acked_event_id, sizeof(acked.acked_event_id));
    gw_status rc = append(s, NULL, 0, &acked, err);
    return rc == GW_OK ? commit(s, NULL, 0, &acked, err) : rc;
}

/*
 * A new segment; what is in the old one is committed first. Without a spare the claims are, too: on a full disk only what they give up is
 * room for what waits.
 */
static gw_status begin_segment(spool *s, const spool_event *events, size_t count,
                               const spool_meta *m, gw_error *err)
{
    gw_status rc = count ? commit(s, events, count, m, err) : GW_OK;
    if (rc == GW_OK && !spool_log_has_spare(s->log))
        rc = commit_acked(s, m, err);
    if (rc != GW_OK)
        return rc;
    spool_log_recycle(s->log, s->meta.base + s->meta.acked);
    return spool_log_roll(s->log, &s->meta, &s->state, err);
}

/* Records one after the other, one at least. */
static gw_status write_all(spool *s, const spool_change *c, spool_meta *m, gw_error *err)
{
    size_t committed = 0, appended = 0;
    do {
        uint32_t room = spool_log_room(s->log, c->count > 0);
        uint32_t n = count_that_fits(c->events + appended, c->count - appended, room);
        gw_status rc;
        if (room == 0) {
            rc = begin_segment(s, c->events + committed, appended - committed, m, err);
            committed = appended;
        } else {
            rc = append(s, c->events + appended, n, m, err);
            appended += n;
        }
        if (rc != GW_OK)
            return rc;
    } while (appended < c->count || s->log->written == s->log->durable);
    return commit(s, c->events + committed, appended - committed, m, err);
}

static gw_status find_acked_id(spool *s, spool_meta *m, gw_error *err)
{
    gw_str event;
    gw_status rc = spool_log_find(s->log, &s->acking, m->base + m->acked, err);
    if (rc != GW_OK)
        return rc;
    if (!spool_cursor_peek(&s->acking, &event) || !spool_event_id(event, m->acked_event_id))
        memset(m->acked_event_id, 0, sizeof(m->acked_event_id));
    return GW_OK;
}

static gw_status note_acked(spool *s, const spool_change *c, spool_meta *m, gw_error *err)
{
    static const uint8_t unknown[SPOOL_EVENT_ID_SIZE];
    if (c->acked <= m->acked)
        return GW_OK;
    m->acked = c->acked;
    memcpy(m->acked_event_id, c->acked_event_id, sizeof(m->acked_event_id));
    return memcmp(m->acked_event_id, unknown, sizeof(unknown)) == 0 ? find_acked_id(s, m, err)
                                                                    : GW_OK;
}

static gw_status write_change(spool *s, const spool_change *c, spool_meta *m, gw_error *err)
{
    gw_status rc = write_all(s, c, m, err);
    if (rc == GW_OK) {
        spool_log_recycle(s->log, s->meta.base + s->meta.acked);
        s->info.bytes = spool_log_bytes(s->log, s->meta.base + s->meta.acked);
    } else {
        spool_log_retract(s->log);
    }
    return rc;
}

gw_status spool_write(spool *s, const spool_change *c, gw_error *err)
{
    gw_status rc = s->log ? GW_OK : spool_reopen(s, err);
    if (rc != GW_OK)
        return rc;
    spool_meta m = s->meta;
    rc = note_acked(s, c, &m, err);
    m.registered = m.registered || c->registered;
    return rc == GW_OK ? write_change(s, c, &m, err) : rc;
}

gw_status spool_restart(spool *s, gw_error *err)
{
    gw_status rc = s->log ? GW_OK : spool_reopen(s, err);
    if (rc != GW_OK)
        return rc;
    spool_meta m = s->meta;
    spool_name(&m);
    m.base += m.acked;
    m.tail -= m.acked;
    m.acked = 0;
    m.registered = 0;
    memset(m.acked_event_id, 0, sizeof(m.acked_event_id));
    return write_change(s, &(spool_change){0}, &m, err);
}

/* ---- reading ---- */

/* As many as the record that the cursor stands in has and the frame takes; false when the frame is full. */
static bool take_events(spool_cursor *c, uint32_t max_bytes, spool_frame *f)
{
    gw_str event;
    while (f->count < SPOOL_FRAME_EVENTS) {
        if (!spool_cursor_peek(c, &event))
            return true;
        if (f->bytes + event.len > max_bytes)
            return false;
        spool_cursor_step(c, &event);
        uint8_t *at = f->data + f->bytes;
        memcpy(at, event.ptr, event.len);
        f->events[f->count++] = (ProtobufCBinaryData){.len = event.len, .data = at};
        f->bytes += (uint32_t)event.len;
    }
    return false;
}

/* As of the last commit: the writer goes on meanwhile. */
static spool_meta current(spool *s)
{
    spool_log_lock(s->log);
    spool_meta m = s->meta;
    spool_log_unlock(s->log);
    return m;
}

static gw_status fill(spool *s, int64_t seq, uint32_t max_bytes, spool_frame *f, gw_error *err)
{
    spool_meta m = current(s);
    if (seq <= m.acked)
        return gw_fail(err, GW_ERR_DATA_LOSS, "spool: event %lld is acked already", (long long)seq);
    bool has_room = true;
    while (has_room && seq + f->count <= m.tail) {
        gw_status rc = spool_log_find(s->log, &s->reading, m.base + seq + f->count, err);
        if (rc != GW_OK)
            return f->count > 0 || spool_log_is_reused(s->log, m.base + seq) ? GW_OK : rc;
        has_room = take_events(&s->reading, GW_MIN(max_bytes, SPOOL_FRAME_BYTES), f);
    }
    return GW_OK;
}

gw_status spool_read(spool *s, int64_t seq, uint32_t max_bytes, spool_frame *f, gw_error *err)
{
    f->first_seq = seq;
    f->count = f->bytes = 0;
    if (!s->log)
        return gw_fail(err, GW_ERR_IO, "spool: closed");
    return fill(s, seq, max_bytes, f, err);
}

gw_status spool_read_position(spool *s, int64_t id, ledger_row_sums *ret, gw_error *err)
{
    (void)err;
    *ret = s->state.sums ? s->state.sums[id % POSITION_ROWS] : (ledger_row_sums){0};
    return GW_OK;
}

int64_t spool_next(const spool *s, int64_t seq)
{
    int64_t number = spool_log_next(s->log, s->meta.base + seq);
    return number == INT64_MAX ? number : number - s->meta.base;
}

static bool event_at(spool *s, int64_t seq, gw_str *ret)
{
    spool_meta m = current(s);
    return seq > m.acked && seq <= m.tail &&
           spool_log_find(s->log, &s->reading, m.base + seq, NULL) == GW_OK &&
           spool_cursor_peek(&s->reading, ret);
}

bool spool_find(spool *s, int64_t seq, uint8_t ret_id[SPOOL_EVENT_ID_SIZE],
                int64_t *ret_timestamp_ms)
{
    gw_str event;
    Apirelay__Usage__V1__UsageEvent *e = NULL;
    if (!s->log)
        return false;
    if (event_at(s, seq, &event) && spool_event_id(event, ret_id))
        e = apirelay__usage__v1__usage_event__unpack(NULL, event.len, (const uint8_t *)event.ptr);
    if (!e)
        return false;
    *ret_timestamp_ms = e->timestamp_ms;
    apirelay__usage__v1__usage_event__free_unpacked(e, NULL);
    return true;
}
