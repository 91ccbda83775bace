/* ProviderService's rpcs about prices. */
#include "message_fields.h"
#include "price_book_merge.h"
#include "price_book_store.h"
#include "provider_op.h"

#include "crypto/cursor.h"

#include "apirelay/relay/v1/provider_service.pb-c.h"
#include "apirelay/usage/v1/rating_service.pb-c.h"

#define SERVICE_PATH   "/apirelay.relay.v1.ProviderService/"
#define CURSOR_FILTERS GW_STR("prices")

typedef Apirelay__Relay__V1__ImportPriceBookRequest import_request;
typedef Apirelay__Relay__V1__ImportPriceBookResponse import_response;
typedef Apirelay__Relay__V1__ListPriceBooksResponse list_response;

/* ---- one book ---- */

static gw_status run_get(provider_op *o, provider_store *s, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = price_book_get(s, message_text(o->request, "version"), &m, err);
    provider_op_set(o, "price_book", m);
    return rc;
}

/* The audit log has what the list of books will say of it; the book stays readable under its version. */
static gw_status plan_put(provider_op *o, provider_store *s, const entity_change *c, gw_error *err)
{
    price_book_plan *p = gw_arena_new_of(s->arena, price_book_plan);
    gw_status rc = p ? price_book_plan_put(s, c, p, err)
                     : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the price book");
    if (rc != GW_OK)
        return rc;
    o->data = p;
    o->target = p->book->version;
    o->payload = provider_op_payload(s->arena, &p->entry->base);
    provider_op_set(o, "price_book", &p->book->base);
    return GW_OK;
}

static gw_status run_put(provider_op *o, provider_store *s, gw_error *err)
{
    const ProtobufCMessage *book = message_child(o->request, "price_book");
    const entity_change c = {.id = "", .etag = provider_op_etag(o->request, book), .entity = book};
    return plan_put(o, s, &c, err);
}

static gw_status apply_put(provider_op *o, provider_store *s, gw_error *err)
{
    return price_book_write(s, o->data, err);
}

/* ---- which there are ---- */

/* The index goes on growing at its end: a place in it, counted from the start, stays what it is. */
static gw_status read_place(const provider_op *o, int64_t *place, gw_error *err)
{
    gw_str cursor = gw_str_of(message_text(o->request, "cursor"));
    gw_auto_buf text = {0};
    if (cursor.len == 0)
        return GW_OK;
    gw_status rc = gw_cursor_read(o->rpc->cursor_key, CURSOR_FILTERS, cursor, &text, err);
    if (rc == GW_OK && !gw_str_to_int64(gw_buf_str(&text), place))
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    return rc;
}

static gw_status run_list(provider_op *o, provider_store *s, gw_error *err)
{
    list_response *m = (list_response *)(void *)o->response;
    price_book_index x;
    size_t size = 0;
    gw_status rc = provider_op_page_size(o->request, &size, err);
    if (rc == GW_OK)
        rc = price_book_index_read(s, &x, err);
    if (rc != GW_OK)
        return rc;
    int64_t place = (int64_t)x.n_versions;
    rc = read_place(o, &place, err);
    m->price_books = gw_arena_array(s->arena, price_book_version *, size);
    if (rc != GW_OK || !m->price_books)
        return rc != GW_OK ? rc : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the list");
    const price_book_version *in_force = price_book_index_at(&x, s->now_ms);
    place = GW_MIN(place, (int64_t)x.n_versions);
    for (; place > 0 && m->n_price_books < size; place--) {
        price_book_version *v = x.versions[place - 1];
        v->in_force = v == in_force;
        m->price_books[m->n_price_books++] = v;
    }
    if (place > 0) {
        gw_auto_buf next = {0};
        gw_cursor_write(o->rpc->cursor_key, CURSOR_FILTERS, gw_arena_int(s->arena, place), &next);
        message_set_text(o->response, "next_cursor", gw_arena_strdup(s->arena, gw_buf_str(&next)));
    }
    return GW_OK;
}

/* ---- out and in ---- */

static gw_status run_export(provider_op *o, provider_store *s, gw_error *err)
{
    Apirelay__Relay__V1__ExportPriceBookResponse *m = (void *)o->response;
    ProtobufCMessage *found = NULL;
    gw_status rc = price_book_get(s, message_text(o->request, "version"), &found, err);
    if (rc != GW_OK)
        return rc;
    const price_book_message *b = (const price_book_message *)(const void *)found;
    m->version = b->version;
    m->prices = b->prices;
    m->n_prices = b->n_prices;
    return GW_OK;
}

/* The book in force, to compare with; none is as good as an empty one. */
static gw_status read_before(provider_store *s, price_list *ret, gw_error *err)
{
    ProtobufCMessage *found = NULL;
    gw_status rc = price_book_get(s, "", &found, err);
    if (rc == GW_OK) {
        const price_book_message *b = (const price_book_message *)(const void *)found;
        *ret = (price_list){b->prices, b->n_prices};
    }
    return rc == GW_ERR_NOT_FOUND ? GW_OK : rc;
}

/* `path`: of the book in the request, for mistakes. */
static gw_status check_book(provider_store *s, const price_book_message *b, const char *path,
                            gw_error *err)
{
    gw_status rc = price_book_check(b, path, s->further, err);
    return rc == GW_OK ? price_book_check_repeats(b, path, s->further, err) : rc;
}

static gw_status run_import(provider_op *o, provider_store *s, gw_error *err)
{
    const import_request *r = (const import_request *)(const void *)o->request;
    import_response *m = (import_response *)(void *)o->response;
    price_book_message *book = (price_book_message *)(void *)message_make(
        s->arena, &apirelay__relay__v1__price_book__descriptor);
    price_list before = {0}, merged = {0};
    price_changes changes;
    if (!book)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the price book");
    if (r->n_prices == 0) /* an empty file is a mistake */
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "prices", "must be given");
    book->prices = r->prices;
    book->n_prices = r->n_prices;
    book->effective_from = r->effective_from;
    book->note = r->note;
    gw_status rc = check_book(s, book, "", err); /* before the merge: paths are the caller's */
    if (rc == GW_OK)
        rc = read_before(s, &before, err);
    if (rc == GW_OK)
        rc = price_book_merge(s->arena, before, (price_list){r->prices, r->n_prices}, r->merge,
                              &merged, &changes, err);
    if (rc != GW_OK)
        return rc;
    book->prices = merged.items;
    book->n_prices = merged.count;
    m->added = changes.added;
    m->changed = changes.changed;
    m->removed = changes.removed;
    const entity_change c = {.id = "", .etag = r->etag, .entity = &book->base};
    rc = plan_put(o, s, &c, err);
    if (rc == GW_OK && r->dry_run) {
        o->changes_nothing = true;
        provider_op_set(o, "price_book", &book->base); /* without a version */
    }
    return rc;
}

/* ---- the past by other prices ---- */

static Google__Protobuf__Timestamp *timestamp_of(gw_arena *a, int64_t ms)
{
    Google__Protobuf__Timestamp *t = gw_arena_new_of(a, Google__Protobuf__Timestamp);
    if (t) {
        google__protobuf__timestamp__init(t);
        t->seconds = ms / GW_MS_PER_S;
        t->nanos = (int32_t)(ms % GW_MS_PER_S) * 1000000;
    }
    return t;
}

typedef Apirelay__Relay__V1__ReratePricesRequest rerate_request;
typedef Apirelay__Relay__V1__ReratePricesResponse rerate_response;
typedef Apirelay__Usage__V1__RateUsageRequest rate_request;
typedef Apirelay__Usage__V1__RateUsageResponse rate_response;

/* One book for the whole period: it is in force ever. */
static gw_status take_one_book(provider_store *s, const price_book_message *b, rate_request *ret,
                               gw_error *err)
{
    price_book_message *copy =
        (price_book_message *)(void *)message_shallow_copy(s->arena, &b->base);
    ret->price_books = gw_arena_array(s->arena, price_book_message *, 1);
    if (!copy || !ret->price_books)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the price book");
    copy->effective_from = NULL;
    ret->price_books[0] = copy;
    ret->n_price_books = 1;
    return GW_OK;
}

static gw_status take_books(provider_store *s, const rerate_request *r, rate_request *ret,
                            gw_error *err)
{
    ProtobufCMessage *named = NULL;
    gw_status rc;
    if (r->price_book && *r->version)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "priceBook",
                             "may not be given with version");
    if (r->price_book) {
        rc = check_book(s, r->price_book, "priceBook", err);
        return rc == GW_OK ? take_one_book(s, r->price_book, ret, err) : rc;
    }
    if (*r->version) {
        rc = price_book_get(s, r->version, &named, err);
        return rc == GW_OK
                   ? take_one_book(s, (const price_book_message *)(const void *)named, ret, err)
                   : rc;
    }
    return price_book_list_of_span(s, price_time_ms(ret->from), price_time_ms(ret->to),
                                   &ret->price_books, &ret->n_price_books, err);
}

static gw_status check_group_by(const rerate_request *r, gw_error *err)
{
    gw_str by = gw_str_of(r->group_by);
    if (by.len == 0 || gw_str_eq_c(by, "model") || gw_str_eq_c(by, "key"))
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "groupBy", "must be \"model\" or \"key\"");
}

static gw_status run_rerate(provider_op *o, provider_store *s, gw_error *err)
{
    const rerate_request *r = (const rerate_request *)(const void *)o->request;
    rate_request *m = gw_arena_new_of(s->arena, rate_request);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the question");
    apirelay__usage__v1__rate_usage_request__init(m);
    m->from = r->from ? r->from : timestamp_of(s->arena, gw_month_start_ms(s->now_ms));
    m->to = r->to ? r->to : timestamp_of(s->arena, s->now_ms);
    m->api_key_id = r->api_key_id;
    m->client_id = r->client_id;
    m->model = r->model;
    m->by_key = gw_str_eq_c(gw_str_of(r->group_by), "key");
    o->data = m;
    if (!m->from || !m->to)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the question");
    if (price_time_ms(m->to) <= price_time_ms(m->from))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "to",
                             "the range must end after it starts");
    gw_status rc = check_group_by(r, err);
    return rc == GW_OK ? take_books(s, r, m, err) : rc;
}

/* Texts of the request's, which outlive the answer; the figures are usage's and live until it is written. */
static void on_rated(void *arg, gw_status rc, const ProtobufCMessage *response, const gw_error *err)
{
    provider_op *o = arg;
    const rate_request *asked = o->data;
    const rate_response *r = (const rate_response *)(const void *)response;
    rerate_response *m = (rerate_response *)(void *)o->response;
    gw_arena *arena = gw_rpc_call_arena(o->call);
    if (rc != GW_OK) {
        provider_op_fail(o, err);
        return;
    }
    m->totals = r->totals;
    m->groups = r->groups;
    m->n_groups = r->n_groups;
    m->from = r->from;
    m->to = r->to;
    m->next_from = r->next_from;
    m->versions = gw_arena_array(arena, char *, asked->n_price_books + 1);
    for (size_t i = 0; m->versions && i < asked->n_price_books; i++)
        m->versions[m->n_versions++] = asked->price_books[i]->version;
    provider_op_answer(o);
}

static void finish_rerate(provider_op *o)
{
    const rate_request *m = o->data;
    const gw_rpc_call_options options = {
        .path = "/apirelay.usage.v1.RatingService/RateUsage",
        .response = &apirelay__usage__v1__rate_usage_response__descriptor,
        .credential = *o->rpc->service_token,
    };
    gw_error err;
    if (!o->rpc->usage)
        (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "the usage service is not configured");
    else if (gw_rpc_unary(o->rpc->usage, &options, &m->base, on_rated, o))
        return;
    else
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory to ask usage");
    provider_op_fail(o, &err);
}

/* ---- the handlers ---- */

static const provider_op_kind get_prices = {.run = run_get};
static const provider_op_kind put_prices = {
    .run = run_put, .apply = apply_put, .action = "price_book.put"};
static const provider_op_kind list_prices = {.run = run_list};
static const provider_op_kind export_prices = {.run = run_export};
static const provider_op_kind import_prices = {
    .run = run_import, .apply = apply_put, .action = "price_book.import"};
static const provider_op_kind rerate = {.run = run_rerate, .finish = finish_rerate};
PROVIDER_HANDLER(get_prices)
PROVIDER_HANDLER(put_prices)
PROVIDER_HANDLER(list_prices)
PROVIDER_HANDLER(export_prices)
PROVIDER_HANDLER(import_prices)
PROVIDER_HANDLER(rerate)

const gw_rpc_handler price_book_rpc_handlers[] = {
    {.path = SERVICE_PATH "GetPriceBook", .start = on_get_prices},
    {.path = SERVICE_PATH "PutPriceBook", .start = on_put_prices},
    {.path = SERVICE_PATH "ListPriceBooks", .start = on_list_prices},
    {.path = SERVICE_PATH "ExportPriceBook", .start = on_export_prices},
    {.path = SERVICE_PATH "ImportPriceBook", .start = on_import_prices},
    {.path = SERVICE_PATH "ReratePrices", .start = on_rerate},
    {.path = NULL},
};
