#include "librechat_join.h"

#include "event_row.h"
#include "librechat_books.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/map.h"

#include <stdio.h>
#include <stdlib.h>

#define SPAN_MS      600000 /* of rows that are asked for together */
#define SKEW_MS      60000 /* between clocks */
#define PAUSE_MAX_MS 600000

/* A row that is due. */
typedef struct due_row {
    gw_object_id id;
    char response_id[EVENT_RESPONSE_ID_MAX + 1];
    int64_t begin_ms, end_ms, look_ms;
    int64_t tokens, cost_nano_usd; /* as we have them */
    librechat_booking booking;
} due_row;

typedef struct join {
    const gw_db *own;
    gw_db_reader *librechat;
    int64_t now_ms;
    due_row *rows;
    size_t count;
    bson_t unreadable; /* the _ids of rows that are due and cannot be read, as an array */
    size_t unreadable_count;
    librechat_joined *joined;
} join;

/* ---- what is due ---- */

/* False: it is not as we write rows. */
static bool read_row(const bson_t *doc, due_row *r)
{
    gw_str id;
    int64_t duration_ms = 0;
    *r = (due_row){0};
    if (!gw_bson_oid(doc, "_id", &r->id) || !gw_bson_str(doc, "upstreamResponseId", &id) ||
        id.len == 0 || id.len > EVENT_RESPONSE_ID_MAX ||
        !gw_bson_date_ms(doc, "timestamp", &r->begin_ms) ||
        !gw_bson_date_ms(doc, "librechat.lookAt", &r->look_ms))
        return false;
    memcpy(r->response_id, id.ptr, id.len);
    (void)gw_bson_int64(doc, "response.duration", &duration_ms);
    (void)gw_bson_int64(doc, "usage.totalTokens", &r->tokens);
    (void)gw_bson_int64(doc, "usage.costNanoUsd", &r->cost_nano_usd);
    return !__builtin_add_overflow(r->begin_ms, duration_ms, &r->end_ms);
}

static void note_unreadable(join *j, const bson_t *doc)
{
    bson_iter_t at;
    char key[24];
    if (!bson_iter_init_find(&at, doc, "_id"))
        return;
    (void)snprintf(key, sizeof(key), "%zu", j->unreadable_count++);
    (void)bson_append_value(&j->unreadable, key, -1, bson_iter_value(&at));
}

static gw_status take_row(void *arg, const bson_t *doc, gw_error *err)
{
    join *j = arg;
    (void)err;
    j->joined->rows++;
    if (j->count < LIBRECHAT_ROWS_A_PASS && read_row(doc, &j->rows[j->count]))
        j->count++;
    else
        note_unreadable(j, doc);
    return GW_OK;
}

static void append_due(bson_t *filter, int64_t now_ms)
{
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, "librechat.lookAt", &d);
    (void)BSON_APPEND_DATE_TIME(&d, "$lte", now_ms - LIBRECHAT_DELAY_MS);
    (void)bson_append_document_end(filter, &d);
}

static gw_status find_due(join *j, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t *opts = BCON_NEW("projection", "{", "timestamp", BCON_INT32(1), "response.duration",
                            BCON_INT32(1), "upstreamResponseId", BCON_INT32(1), "usage.totalTokens",
                            BCON_INT32(1), "usage.costNanoUsd", BCON_INT32(1), "librechat.lookAt",
                            BCON_INT32(1), "}", "sort", "{", "librechat.lookAt", BCON_INT32(1), "}",
                            "limit", BCON_INT64(LIBRECHAT_ROWS_A_PASS));
    append_due(&filter, j->now_ms);
    gw_status rc = gw_db_find(j->own, COLLECTION_ROWS, &filter, opts, take_row, j, err);
    bson_destroy(opts);
    return rc;
}

/* None that is not due any more: another replica came first, or it was written anew. */
static gw_status give_up_unreadable(join *j, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t ids;
    if (j->unreadable_count == 0)
        return GW_OK;
    (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &ids);
    (void)BSON_APPEND_ARRAY(&ids, "$in", &j->unreadable);
    (void)bson_append_document_end(&filter, &ids);
    append_due(&filter, j->now_ms);
    bson_t *update =
        BCON_NEW("$set", "{", "librechat", "{", "booked", BCON_BOOL(false), "unreadable",
                 BCON_BOOL(true), "at", BCON_DATE_TIME(j->now_ms), "}", "}");
    gw_status rc =
        gw_db_update_many(j->own, COLLECTION_ROWS, &filter, update, &j->joined->unreadable, err);
    bson_destroy(update);
    return rc;
}

static int by_begin(const void *a, const void *b)
{
    const due_row *x = a, *y = b;
    return x->begin_ms < y->begin_ms ? -1 : x->begin_ms > y->begin_ms;
}

/* ---- what LibreChat has of them ---- */

static void append_id_of(bson_t *d, const char *key, int64_t ms)
{
    int64_t s = GW_MIN(GW_MAX(ms / GW_MS_PER_S, 0), UINT32_MAX);
    gw_object_id id = {{(uint8_t)(s >> 24), (uint8_t)(s >> 16), (uint8_t)(s >> 8), (uint8_t)s}};
    gw_bson_append_oid(d, key, &id);
}

static void append_filter(bson_t *filter, const due_row *rows, size_t n, gw_str *names)
{
    int64_t end_ms = 0;
    bson_t d;
    for (size_t i = 0; i < n; i++) {
        names[i] = gw_str_of(rows[i].response_id);
        end_ms = GW_MAX(end_ms, rows[i].end_ms);
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &d);
    append_id_of(&d, "$gte", rows[0].begin_ms - SKEW_MS);
    append_id_of(&d, "$lte", end_ms + LIBRECHAT_LATE_MS + SKEW_MS);
    (void)bson_append_document_end(filter, &d);
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, "messageId", &d);
    gw_bson_append_str_array(&d, "$in", names, n);
    (void)bson_append_document_end(filter, &d);
}

static gw_status add_transaction(void *arg, const bson_t *doc, gw_error *err)
{
    gw_str id;
    (void)err;
    due_row *r = gw_bson_str(doc, "messageId", &id) ? gw_map_get(arg, id) : NULL;
    if (r)
        librechat_booking_add(&r->booking, doc);
    return GW_OK;
}

static gw_status read_books(join *j, due_row *rows, size_t n, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_auto(gw_map) by_id = gw_map_new(NULL);
    gw_auto_free gw_str *names = calloc(n, sizeof(*names));
    bool ok = by_id && names;
    for (size_t i = 0; ok && i < n; i++)
        ok = gw_map_put(by_id, gw_str_of(rows[i].response_id), &rows[i]);
    if (!ok)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to ask for transactions");
    append_filter(&filter, rows, n, names);
    librechat_append_fields(&opts);
    return gw_db_reader_find(j->librechat, LIBRECHAT_TRANSACTIONS, &filter, &opts, add_transaction,
                             by_id, err);
}

/* ---- what becomes of a row ---- */

static int64_t difference_of(const due_row *r)
{
    return librechat_booking_nano_usd(&r->booking) - r->cost_nano_usd;
}

static void append_booking(bson_t *d, const due_row *r)
{
    const librechat_booking *b = &r->booking;
    int64_t tokens = b->prompt_tokens + b->completion_tokens;
    (void)BSON_APPEND_DOUBLE(d, "credits", b->credits);
    (void)BSON_APPEND_INT64(d, "costNanoUsd", librechat_booking_nano_usd(b));
    (void)BSON_APPEND_INT64(d, "promptTokens", b->prompt_tokens);
    (void)BSON_APPEND_INT64(d, "completionTokens", b->completion_tokens);
    (void)BSON_APPEND_INT64(d, "cacheReadTokens", b->cache_read_tokens);
    (void)BSON_APPEND_INT64(d, "cacheWriteTokens", b->cache_write_tokens);
    (void)BSON_APPEND_INT64(d, "differenceTokens", tokens - r->tokens);
    (void)BSON_APPEND_INT64(d, "differenceNanoUsd", difference_of(r));
    (void)BSON_APPEND_INT64(d, "transactions", b->transactions);
    gw_bson_append_str(d, "model", gw_str_of(b->model));
    if (b->has_user)
        gw_bson_append_oid(d, "userId", &b->user);
}

static void append_result(bson_t *update, const due_row *r, int64_t now_ms)
{
    bson_t set, d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&set, "librechat", &d);
    (void)BSON_APPEND_BOOL(&d, "booked", r->booking.transactions > 0);
    if (r->booking.transactions > 0)
        append_booking(&d, r);
    (void)BSON_APPEND_DATE_TIME(&d, "at", now_ms);
    (void)bson_append_document_end(&set, &d);
    (void)bson_append_document_end(update, &set);
}

/* The older it is the longer it may wait. */
static void append_next_look(bson_t *update, const due_row *r, int64_t now_ms)
{
    int64_t pause_ms = GW_MIN(GW_MAX((now_ms - r->end_ms) / 2, LIBRECHAT_DELAY_MS), PAUSE_MAX_MS);
    bson_t set;
    (void)BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    (void)BSON_APPEND_DATE_TIME(&set, "librechat.lookAt", now_ms + pause_ms - LIBRECHAT_DELAY_MS);
    (void)bson_append_document_end(update, &set);
}

/* Nothing more comes: of a row that is booked the last transaction has had time to follow the one before. */
static bool is_final(const due_row *r, int64_t now_ms)
{
    bool is_late = now_ms - r->end_ms >= LIBRECHAT_LATE_MS;
    bool is_settled =
        r->booking.transactions > 0 && now_ms - r->booking.newest_ms >= LIBRECHAT_SETTLE_MS;
    return is_late || is_settled;
}

static void count_row(librechat_joined *joined, const due_row *r)
{
    int64_t difference = difference_of(r);
    if (r->booking.transactions == 0) {
        joined->unbooked++;
        return;
    }
    joined->booked++;
    if (difference > 0)
        joined->more_nano_usd += difference;
    else
        joined->less_nano_usd -= difference;
}

static gw_status write_row(join *j, const due_row *r, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bool final = is_final(r, j->now_ms);
    int64_t matched = 0;
    gw_bson_append_oid(&filter, "_id", &r->id);
    (void)BSON_APPEND_DATE_TIME(&filter, "librechat.lookAt", r->look_ms);
    if (final)
        append_result(&update, r, j->now_ms);
    else
        append_next_look(&update, r, j->now_ms);
    gw_status rc = gw_db_update_one(j->own, COLLECTION_ROWS, &filter, &update, &matched, err);
    gw_fault_point("librechat.row");
    if (rc == GW_OK && final && matched > 0)
        count_row(j->joined, r);
    return rc;
}

/* ---- a pass ---- */

static gw_status join_rows(join *j, due_row *rows, size_t n, gw_error *err)
{
    gw_status rc = read_books(j, rows, n, err);
    gw_fault_point("librechat.read");
    for (size_t i = 0; i < n && rc == GW_OK; i++)
        rc = write_row(j, &rows[i], err);
    return rc;
}

gw_status librechat_join_pass(const gw_db *own, gw_db_reader *librechat, int64_t now_ms,
                              librechat_joined *ret, gw_error *err)
{
    gw_auto_free due_row *rows = calloc(LIBRECHAT_ROWS_A_PASS, sizeof(*rows));
    join j = {.own = own, .librechat = librechat, .now_ms = now_ms, .rows = rows, .joined = ret};
    *ret = (librechat_joined){0};
    if (!rows)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to join rows");
    bson_init(&j.unreadable);
    gw_status rc = find_due(&j, err);
    if (rc == GW_OK)
        rc = give_up_unreadable(&j, err);
    bson_destroy(&j.unreadable);
    qsort(rows, j.count, sizeof(*rows), by_begin);
    for (size_t from = 0, to; from < j.count && rc == GW_OK; from = to) {
        to = from + 1;
        while (to < j.count && rows[to].begin_ms - rows[from].begin_ms <= SPAN_MS)
            to++;
        rc = join_rows(&j, &rows[from], to - from, err);
    }
    return rc;
}
