#include "accounting_lists.h"

#include "accounting_message.h"
#include "event_row.h"
#include "query_op.h"
#include "rejects.h"
#include "usage_collections.h"

/* ---- a page ---- */

typedef struct page {
    const char *collection;
    gw_str filters; /* canonical, for the cursor */
    gw_str position; /* "" on the first page */
    size_t limit;
    bool more;
    int64_t now_ms;
    gw_arena *arena;
    ProtobufCMessage *(*message_of)(const struct page *p, const bson_t *doc);
    ProtobufCMessage **items;
    gw_str *positions; /* of the items */
    size_t count;
    gw_str (*position_of)(gw_arena *a, const bson_t *doc);
} page;

static gw_status keep_item(void *arg, const bson_t *doc, gw_error *err)
{
    page *p = arg;
    if (p->count == p->limit) {
        p->more = true;
        return GW_OK;
    }
    ProtobufCMessage *m = p->message_of(p, doc);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page");
    p->positions[p->count] = p->position_of(p->arena, doc);
    p->items[p->count++] = m;
    return GW_OK;
}

static gw_status plan_page(query_op *o, gw_buf *filters, int32_t page_size, const char *cursor,
                           gw_violations *v, gw_error *err)
{
    page *p = o->data;
    p->limit = (size_t)page_size_of(page_size, v);
    p->filters = gw_arena_dup(o->arena, gw_buf_str(filters));
    gw_status rc = gw_violations_split(v, err, &o->further);
    return rc == GW_OK ? page_position(o, p->filters, cursor, &p->position, err) : rc;
}

static void append_projection(bson_t *opts, const char *without)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, without, 0);
    bson_append_document_end(opts, &fields);
}

/* `filter` and `opts` say which and in what order. */
static gw_status read_page(query_op *o, const gw_db *d, const bson_t *filter, bson_t *opts,
                           char **ret_cursor, gw_error *err)
{
    page *p = o->data;
    p->arena = o->arena;
    p->now_ms = o->now_ms;
    p->items = gw_arena_array(o->arena, ProtobufCMessage *, p->limit + 1);
    p->positions = gw_arena_array(o->arena, gw_str, p->limit + 1);
    if (!p->items || !p->positions)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page");
    BSON_APPEND_INT64(opts, "limit", (int64_t)p->limit + 1); /* one more: is there a next? */
    gw_status rc = gw_db_find(d, p->collection, filter, opts, keep_item, p, err);
    size_t found = p->count;
    p->count = gw_rpc_page_fit(p->items, found);
    if (rc == GW_OK && (p->more || p->count < found))
        *ret_cursor = page_cursor(o, p->filters, p->positions[p->count - 1]);
    return rc;
}

static void append_sort(bson_t *opts, const char *field, const char *then, int direction)
{
    bson_t sort;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, field, direction);
    if (then)
        BSON_APPEND_INT32(&sort, then, direction);
    bson_append_document_end(opts, &sort);
}

static gw_str text_position(gw_arena *a, const bson_t *doc)
{
    gw_str id = GW_STR("");
    (void)gw_bson_str(doc, "_id", &id);
    return gw_arena_dup(a, id);
}

/* ---- ListSpools ---- */

static ProtobufCMessage *spool_item(const page *p, const bson_t *doc)
{
    Apirelay__Usage__V1__Spool *m = spool_message(p->arena, doc, p->now_ms);
    return m ? &m->base : NULL;
}

static gw_status run_list_spools(query_op *o, const gw_db *d, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    page *p = o->data;
    bson_t part;
    Apirelay__Usage__V1__ListSpoolsResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_spools_response__descriptor);
    if (!m)
        return GW_OK;
    if (p->position.len) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
        gw_bson_append_str(&part, "$gt", p->position);
        bson_append_document_end(&filter, &part);
    }
    append_sort(&opts, "_id", NULL, 1);
    append_projection(&opts, "p");
    p->collection = COLLECTION_SPOOLS;
    p->message_of = spool_item;
    p->position_of = text_position;
    gw_status rc = read_page(o, d, &filter, &opts, &m->next_cursor, err);
    m->spools = (Apirelay__Usage__V1__Spool **)(void *)p->items;
    m->n_spools = p->count;
    o->response = &m->base;
    return rc;
}

void list_spools(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ListSpoolsRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_list_spools, sizeof(page));
    gw_violations v = {0};
    gw_error err = {0};
    gw_auto_buf filters = {0};
    if (!o)
        return;
    gw_buf_append_c(&filters, "spools;");
    query_op_start(o, plan_page(o, &filters, r->page_size, r->cursor, &v, &err), &err);
}

/* ---- ListLosses: newest first, by {at, _id} ---- */

static ProtobufCMessage *loss_item(const page *p, const bson_t *doc)
{
    Apirelay__Usage__V1__Loss *m = loss_message(p->arena, doc);
    return m ? &m->base : NULL;
}

static gw_str loss_position(gw_arena *a, const bson_t *doc)
{
    int64_t at_ms = 0;
    gw_str id = GW_STR("");
    (void)gw_bson_date_ms(doc, "at", &at_ms);
    (void)gw_bson_str(doc, "_id", &id);
    return gw_arena_printf(a, "%lld|" GW_STR_FMT, (long long)at_ms, GW_STR_ARG(id));
}

static gw_status append_older(bson_t *filter, gw_str position, gw_error *err)
{
    ptrdiff_t bar = gw_str_find(position, '|');
    int64_t at_ms = 0;
    if (bar < 0 || !gw_str_to_int64(gw_str_slice(position, 0, (size_t)bar), &at_ms))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    bson_t either, one, part;
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &either);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &one);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "at", &part);
    BSON_APPEND_DATE_TIME(&part, "$lt", at_ms);
    bson_append_document_end(&one, &part);
    bson_append_document_end(&either, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &one);
    BSON_APPEND_DATE_TIME(&one, "at", at_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "_id", &part);
    gw_bson_append_str(&part, "$lt", gw_str_slice(position, (size_t)bar + 1, position.len));
    bson_append_document_end(&one, &part);
    bson_append_document_end(&either, &one);
    bson_append_array_end(filter, &either);
    return GW_OK;
}

static gw_status run_list_losses(query_op *o, const gw_db *d, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    page *p = o->data;
    Apirelay__Usage__V1__ListLossesResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_losses_response__descriptor);
    if (!m)
        return GW_OK;
    gw_status rc = p->position.len ? append_older(&filter, p->position, err) : GW_OK;
    if (rc != GW_OK)
        return rc;
    append_sort(&opts, "at", "_id", -1);
    p->collection = COLLECTION_LOSSES;
    p->message_of = loss_item;
    p->position_of = loss_position;
    rc = read_page(o, d, &filter, &opts, &m->next_cursor, err);
    m->losses = (Apirelay__Usage__V1__Loss **)(void *)p->items;
    m->n_losses = p->count;
    o->response = &m->base;
    return rc;
}

void list_losses(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ListLossesRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_list_losses, sizeof(page));
    gw_violations v = {0};
    gw_error err = {0};
    gw_auto_buf filters = {0};
    if (!o)
        return;
    gw_buf_append_c(&filters, "losses;");
    query_op_start(o, plan_page(o, &filters, r->page_size, r->cursor, &v, &err), &err);
}

/* ---- ListRejects ---- */

static ProtobufCMessage *reject_item(const page *p, const bson_t *doc)
{
    Apirelay__Usage__V1__Reject *m = reject_message(p->arena, doc);
    return m ? &m->base : NULL;
}

static gw_str id_position(gw_arena *a, const bson_t *doc)
{
    gw_object_id id = {{0}};
    char hex[GW_OBJECT_ID_HEX_SIZE];
    (void)gw_bson_oid(doc, "_id", &id);
    gw_object_id_format(&id, hex);
    return gw_arena_dup(a, gw_str_of(hex));
}

static gw_status run_list_rejects(query_op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Usage__V1__ListRejectsRequest *r = (const void *)o->request;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    page *p = o->data;
    gw_object_id after;
    bson_t part;
    Apirelay__Usage__V1__ListRejectsResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_rejects_response__descriptor);
    if (!m)
        return GW_OK;
    if (p->position.len && !gw_object_id_parse(p->position, &after))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    if (*r->reason)
        gw_bson_append_str(&filter, "reason", gw_str_of(r->reason));
    if (*r->spool_id)
        gw_bson_append_str(&filter, "S", gw_str_of(r->spool_id));
    if (p->position.len) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
        gw_bson_append_oid(&part, "$lt", &after);
        bson_append_document_end(&filter, &part);
    }
    append_sort(&opts, "_id", NULL, -1);
    p->collection = COLLECTION_REJECTS;
    p->message_of = reject_item;
    p->position_of = id_position;
    gw_status rc = read_page(o, d, &filter, &opts, &m->next_cursor, err);
    m->rejects = (Apirelay__Usage__V1__Reject **)(void *)p->items;
    m->n_rejects = p->count;
    o->response = &m->base;
    return rc;
}

void accounting_check_reason(const char *reason, gw_violations *v)
{
    if (*reason && !event_reason_is_known(gw_str_of(reason)))
        gw_violations_add(v, "reason", "must be one of %s", EVENT_REASONS);
}

void list_rejects(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ListRejectsRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_list_rejects, sizeof(page));
    gw_violations v = {0};
    gw_error err = {0};
    gw_auto_buf filters = {0};
    if (!o)
        return;
    gw_buf_append_c(&filters, "rejects;");
    accounting_check_reason(r->reason, &v);
    page_filter(&filters, "reason", r->reason);
    page_filter(&filters, "spoolId", r->spool_id);
    query_op_start(o, plan_page(o, &filters, r->page_size, r->cursor, &v, &err), &err);
}
