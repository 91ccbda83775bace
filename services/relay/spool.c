#include "spool_internal.h"

#include "position_table.h"

#include "core/id.h"

#include "apirelay/usage/v1/event.pb-c.h"

#include <stdlib.h>

#define DELETE_MAX 20000 /* events a transaction: bounds its dirty pages */

typedef struct event_key {
    uint8_t bytes[8];
} event_key;

static event_key key_of(int64_t number)
{
    event_key k;
    for (int i = 0; i < 8; i++)
        k.bytes[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    return k;
}

int64_t spool_number_of(const MDB_val *key)
{
    uint64_t number = 0;
    for (size_t i = 0; i < key->mv_size && i < 8; i++)
        number = number << 8 | ((const uint8_t *)key->mv_data)[i];
    return (int64_t)number;
}

gw_status spool_mdb_error(gw_error *err, const char *what, int code)
{
    bool damaged = code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
                   code == MDB_VERSION_MISMATCH || code == MDB_PANIC || code == MDB_NOTFOUND ||
                   code == MDB_INCOMPATIBLE;
    return gw_fail(err, damaged ? GW_ERR_DATA_LOSS : GW_ERR_IO, "spool: cannot %s: %s", what,
                   mdb_strerror(code));
}

MDB_val spool_val(const void *bytes, size_t len)
{
    /* LMDB does not write through the pointer of a put. */
    return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)bytes};
}

int spool_put_meta(const spool_env *e, MDB_txn *txn, const spool_meta *m)
{
    MDB_val key = spool_val("spool", 5), value = spool_val(m, sizeof(*m));
    return mdb_put(txn, e->meta, &key, &value, 0);
}

int64_t spool_events_bytes(const spool_env *e, MDB_txn *txn)
{
    MDB_stat st;
    if (mdb_stat(txn, e->events, &st) != 0)
        return 0;
    return (int64_t)((st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) * st.ms_psize);
}

void spool_publish(spool *s, const spool_meta *m, int64_t bytes)
{
    s->meta = *m;
    memcpy(s->info.id, m->id, sizeof(m->id));
    memcpy(s->info.boot, m->boot, sizeof(m->boot));
    memcpy(s->info.acked_event_id, m->acked_event_id, sizeof(m->acked_event_id));
    s->info.registered = m->registered;
    s->info.tail = m->tail;
    s->info.acked = m->acked;
    s->info.opens = m->opens;
    s->info.bytes = bytes;
}

const spool_info *spool_get_info(const spool *s)
{
    return &s->info;
}

uint64_t spool_committed(const spool *s, uint32_t slot)
{
    return slot < s->slots ? s->committed[slot] : 0;
}

bool spool_has_garbage(const spool *s)
{
    return s->deleted < s->meta.acked;
}

/* ---- writing ---- */

int spool_put_block(const spool *s, const spool_env *e, MDB_txn *txn, uint32_t block)
{
    const uint64_t *generations = s->writing + (size_t)block * SPOOL_BLOCK_SLOTS;
    MDB_val key = spool_val(&block, sizeof(block)),
            value = spool_val(generations, SPOOL_BLOCK_SLOTS * sizeof(*generations));
    return mdb_put(txn, e->generations, &key, &value, 0);
}

static int put_dirty_blocks(spool *s, MDB_txn *txn)
{
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < s->blocks; i++) {
        if (s->dirty_blocks[i])
            code = spool_put_block(s, &s->env, txn, i);
        s->dirty_blocks[i] = false;
    }
    return code;
}

static void note_generation(spool *s, const spool_event *event)
{
    if (event->slot >= s->slots)
        return;
    s->writing[event->slot] = event->generation;
    s->dirty_blocks[event->slot / SPOOL_BLOCK_SLOTS] = true;
}

/* The transaction is over: what it wrote is what is committed, or the other way round. */
static void settle_generations(spool *s, const spool_change *c, bool is_committed)
{
    for (size_t i = 0; i < c->count; i++) {
        uint32_t slot = c->events[i].slot;
        if (slot < s->slots && is_committed)
            s->committed[slot] = s->writing[slot];
        else if (slot < s->slots)
            s->writing[slot] = s->committed[slot];
    }
}

static int add_to_position(MDB_cursor *positions, const ledger_event *spent, ledger_level level)
{
    ledger_row_sums sums = {0};
    uint32_t row = (uint32_t)(spent->row[level] % POSITION_ROWS);
    MDB_val key = spool_val(&row, sizeof(row)), value;
    int code = mdb_cursor_get(positions, &key, &value, MDB_SET);
    bool is_there = code == 0;
    if (is_there && value.mv_size == sizeof(sums))
        memcpy(&sums, value.mv_data, sizeof(sums));
    else if (code != 0 && code != MDB_NOTFOUND)
        return code;
    ledger_row_add(&sums, spent->row[level], spent->load[level], spent->day, &spent->spent);
    value = spool_val(&sums, sizeof(sums));
    return mdb_cursor_put(positions, &key, &value, is_there ? MDB_CURRENT : 0);
}

/* What positions have spent, by the events that are on disk: the same transaction has both. */
static int add_to_positions(MDB_cursor *positions, const ledger_event *spent)
{
    int code = 0;
    for (int level = 0; code == 0 && level < LEDGER_LEVELS; level++)
        if (spent->row[level] > 0)
            code = add_to_position(positions, spent, (ledger_level)level);
    return code;
}

static int append_all(spool *s, MDB_cursor *events, MDB_cursor *positions, const spool_change *c,
                      spool_meta *m)
{
    for (size_t i = 0; i < c->count; i++) {
        const spool_event *event = &c->events[i];
        event_key k = key_of(m->base + ++m->tail);
        MDB_val key = spool_val(k.bytes, sizeof(k.bytes));
        MDB_val value = spool_val(event->bytes.ptr, event->bytes.len);
        int code = mdb_cursor_put(events, &key, &value, MDB_APPEND);
        if (code == 0)
            code = add_to_positions(positions, &event->spent);
        if (code != 0)
            return code;
        note_generation(s, event);
    }
    return 0;
}

static int append(spool *s, MDB_txn *txn, const spool_change *c, spool_meta *m)
{
    MDB_cursor *events, *positions;
    int code = mdb_cursor_open(txn, s->env.events, &events);
    if (code != 0)
        return code;
    code = mdb_cursor_open(txn, s->env.positions, &positions);
    if (code == 0) {
        code = append_all(s, events, positions, c, m);
        mdb_cursor_close(positions);
    }
    mdb_cursor_close(events);
    return code == 0 ? put_dirty_blocks(s, txn) : code;
}

/* The id stands first in a packed event. */
static bool event_id_in(const MDB_val *value, uint8_t id[SPOOL_EVENT_ID_SIZE])
{
    const uint8_t *b = value->mv_data;
    if (value->mv_size < 2 + SPOOL_EVENT_ID_SIZE || b[0] != 0x0a || b[1] != SPOOL_EVENT_ID_SIZE)
        return false;
    memcpy(id, b + 2, SPOOL_EVENT_ID_SIZE);
    return true;
}

static int note_acked(const spool_env *e, MDB_txn *txn, int64_t acked, spool_meta *m)
{
    if (acked <= m->acked)
        return 0;
    event_key k = key_of(m->base + acked);
    MDB_val key = spool_val(k.bytes, sizeof(k.bytes)), value;
    int code = mdb_get(txn, e->events, &key, &value);
    if (code != 0)
        return code;
    m->acked = acked;
    if (!event_id_in(&value, m->acked_event_id))
        memset(m->acked_event_id, 0, sizeof(m->acked_event_id));
    return 0;
}

static int delete_acked(const spool_env *e, MDB_txn *txn, const spool_meta *m, int64_t *deleted)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, e->events, &cursor);
    if (code != 0)
        return code;
    code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    int n = 0;
    while (code == 0 && spool_number_of(&key) <= m->base + m->acked && n++ < DELETE_MAX) {
        *deleted = spool_number_of(&key) - m->base;
        code = mdb_cursor_del(cursor, 0);
        if (code == 0)
            code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    }
    if (code == MDB_NOTFOUND || (code == 0 && spool_number_of(&key) > m->base + m->acked)) {
        *deleted = m->acked;
        code = 0;
    }
    mdb_cursor_close(cursor);
    return code;
}

static int write_all(spool *s, MDB_txn *txn, const spool_change *c, spool_meta *m, int64_t *deleted)
{
    int code = c->count ? append(s, txn, c, m) : 0;
    if (code == 0)
        code = note_acked(&s->env, txn, c->acked, m);
    if (code == 0 && *deleted < m->acked)
        code = delete_acked(&s->env, txn, m, deleted);
    m->registered = m->registered || c->registered;
    return code == 0 ? spool_put_meta(&s->env, txn, m) : code;
}

static gw_status write_in(spool *s, MDB_txn *txn, const spool_change *c, gw_error *err)
{
    spool_meta m = s->meta;
    int64_t deleted = s->deleted;
    int code = write_all(s, txn, c, &m, &deleted);
    if (code != 0) {
        mdb_txn_abort(txn);
        return spool_mdb_error(err, "write", code);
    }
    int64_t bytes = spool_events_bytes(&s->env, txn);
    code = mdb_txn_commit(txn);
    if (code != 0)
        return spool_mdb_error(err, "commit", code);
    s->deleted = deleted;
    spool_publish(s, &m, bytes);
    return GW_OK;
}

gw_status spool_write(spool *s, const spool_change *c, gw_error *err)
{
    if (!s->env.env) {
        gw_status rc = spool_reopen(s, err);
        if (rc != GW_OK)
            return rc;
    }
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env.env, NULL, 0, &txn);
    if (code != 0)
        return spool_mdb_error(err, "begin a transaction", code);
    gw_status rc = write_in(s, txn, c, err);
    settle_generations(s, c, rc == GW_OK);
    return rc;
}

gw_status spool_restart(spool *s, gw_error *err)
{
    if (!s->env.env) {
        gw_status rc = spool_reopen(s, err);
        if (rc != GW_OK)
            return rc;
    }
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env.env, NULL, 0, &txn);
    if (code != 0)
        return spool_mdb_error(err, "begin a transaction", code);
    spool_meta m = s->meta;
    spool_name(&m);
    m.base += m.acked;
    m.tail -= m.acked;
    m.acked = 0;
    m.registered = 0;
    memset(m.acked_event_id, 0, sizeof(m.acked_event_id));
    int64_t deleted = s->deleted - s->meta.acked; /* < 0: acked ones are still there, below seq 1 */
    code = spool_put_meta(&s->env, txn, &m);
    if (code != 0) {
        mdb_txn_abort(txn);
        return spool_mdb_error(err, "write", code);
    }
    code = mdb_txn_commit(txn);
    if (code != 0)
        return spool_mdb_error(err, "commit", code);
    s->deleted = deleted;
    s->base = m.base;
    spool_publish(s, &m, s->info.bytes);
    return GW_OK;
}

/* ---- reading ---- */

static int fill(MDB_cursor *cursor, int64_t base, int64_t seq, uint32_t max_bytes, spool_frame *f)
{
    event_key k = key_of(base + seq);
    MDB_val key = spool_val(k.bytes, sizeof(k.bytes)), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    uint32_t max = GW_MIN(max_bytes, SPOOL_FRAME_BYTES);
    while (code == 0 && f->count < SPOOL_FRAME_EVENTS && f->bytes + value.mv_size <= max) {
        if (spool_number_of(&key) != base + seq + f->count)
            return MDB_CORRUPTED; /* a gap: never skip */
        uint8_t *at = f->data + f->bytes;
        memcpy(at, value.mv_data, value.mv_size);
        f->events[f->count++] = (ProtobufCBinaryData){.len = value.mv_size, .data = at};
        f->bytes += (uint32_t)value.mv_size;
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

gw_status spool_read(spool *s, int64_t seq, uint32_t max_bytes, spool_frame *f, gw_error *err)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    f->first_seq = seq;
    f->count = f->bytes = 0;
    if (!s->env.env)
        return gw_fail(err, GW_ERR_IO, "spool: closed");
    int code = mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return spool_mdb_error(err, "begin a read", code);
    code = mdb_cursor_open(txn, s->env.events, &cursor);
    if (code == 0) {
        code = fill(cursor, s->base, seq, max_bytes, f);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return code == 0 ? GW_OK : spool_mdb_error(err, "read", code);
}

gw_status spool_read_position(spool *s, int64_t id, ledger_row_sums *ret, gw_error *err)
{
    MDB_txn *txn;
    uint32_t row = (uint32_t)(id % POSITION_ROWS);
    *ret = (ledger_row_sums){0};
    int code = mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return spool_mdb_error(err, "begin a read", code);
    MDB_val key = spool_val(&row, sizeof(row)), value;
    code = mdb_get(txn, s->env.positions, &key, &value);
    if (code == 0 && value.mv_size == sizeof(*ret))
        memcpy(ret, value.mv_data, sizeof(*ret));
    mdb_txn_abort(txn);
    return code == 0 || code == MDB_NOTFOUND ? GW_OK : spool_mdb_error(err, "read", code);
}

bool spool_find(spool *s, int64_t seq, uint8_t ret_id[SPOOL_EVENT_ID_SIZE],
                int64_t *ret_timestamp_ms)
{
    MDB_txn *txn;
    if (!s->env.env || mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &txn) != 0)
        return false;
    event_key k = key_of(s->base + seq);
    MDB_val key = spool_val(k.bytes, sizeof(k.bytes)), value;
    bool found = mdb_get(txn, s->env.events, &key, &value) == 0 && event_id_in(&value, ret_id);
    Apirelay__Usage__V1__UsageEvent *e =
        found ? apirelay__usage__v1__usage_event__unpack(NULL, value.mv_size, value.mv_data) : NULL;
    if (e) {
        *ret_timestamp_ms = e->timestamp_ms;
        apirelay__usage__v1__usage_event__free_unpacked(e, NULL);
    }
    mdb_txn_abort(txn);
    return e != NULL;
}
