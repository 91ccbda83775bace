#include "ledger_rpc.h"

#include "message_fields.h"

#include "core/violations.h"
#include "json/json.h"

#include "apirelay/relay/v1/ledger_service.pb-c.h"

#include <stdlib.h>

#define SERVICE_PATH      "/apirelay.relay.v1.LedgerService/"
#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500
#define LOOK_MAX          5000 /* ledgers a page looks at */
#define LEDGERS           "ledger:{*}:?:*"
#define CURSOR_MAX        20 /* digits of Redis's cursor */

typedef Apirelay__Relay__V1__SilentPosition silent_position;

typedef struct position_node {
    struct position_node *next;
    silent_position *position;
} position_node;

/* One call; it lives until its answer is given. */
typedef struct ledger_op {
    ledger_rpc *rpc;
    gw_rpc_call *call;
    gw_arena *arena;
    /* list */
    size_t page_size, looked, found, waits;
    position_node *positions;
    char cursor[CURSOR_MAX + 1];
    gw_status rc;
    /* forgive */
    gw_audit_act act;
    const char *ledger, *holder;
    ledger_forgiven how;
    silent_position *was;
} ledger_op;

static ledger_op *begin(gw_rpc_call *call, void *arg)
{
    ledger_op *o = calloc(1, sizeof(*o));
    gw_error err;

    if (!o) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the request");
        gw_rpc_fail(call, &err);
        return NULL;
    }
    *o = (ledger_op){.rpc = arg, .call = call, .arena = gw_rpc_call_arena(call)};
    return o;
}

static void fail(ledger_op *o, const gw_error *err)
{
    gw_rpc_fail(o->call, err);
    free(o);
}

static void fail_as(ledger_op *o, gw_status rc, const char *why)
{
    gw_error err;

    (void)gw_fail(&err, rc, "%s", why);
    fail(o, &err);
}

/* False when there are violations: the call has failed then, with all of them. */
static bool passes(ledger_op *o, const gw_violations *v)
{
    gw_violations further = {0};
    const gw_violations first = {.items = {v->items[0]}, .count = v->count ? 1 : 0};
    gw_error err;

    if (gw_violations_status(&first, &err) == GW_OK)
        return true;
    for (size_t i = 1; i < v->count; i++)
        further.items[further.count++] = v->items[i];
    gw_rpc_fail_all(o->call, &err, &further);
    free(o);
    return false;
}

static void fail_without_redis(ledger_op *o, gw_status rc)
{
    fail_as(o, rc == GW_ERR_NO_MEMORY ? rc : GW_ERR_UNAVAILABLE, "Redis does not answer");
}

static silent_position *position_of(gw_arena *a, const char *ledger, const ledger_silent *s)
{
    silent_position *p = gw_arena_new_of(a, silent_position);
    Google__Protobuf__Timestamp *t = gw_arena_new_of(a, Google__Protobuf__Timestamp);

    if (!p || !t)
        return NULL;
    apirelay__relay__v1__silent_position__init(p);
    google__protobuf__timestamp__init(t);
    p->ledger = gw_arena_strdup(a, gw_str_of(ledger));
    p->holder = gw_arena_strdup(a, gw_str_of(s->holder));
    t->seconds = s->heard_ms / GW_MS_PER_S;
    t->nanos = (int32_t)(s->heard_ms % GW_MS_PER_S) * 1000000;
    p->last_heard_at = t;
    p->requests_per_day = s->held.of[LEDGER_REQUESTS_DAY];
    p->tokens_per_day = s->held.of[LEDGER_TOKENS_DAY];
    p->tokens_per_month = s->held.of[LEDGER_TOKENS_MONTH];
    p->cost_nano_usd = s->held.of[LEDGER_COST_MONTH];
    p->requests_in_flight = s->slots;
    return p->ledger && p->holder ? p : NULL;
}

/* ---- list ---- */

typedef struct look {
    ledger_op *op;
    char subject[LEDGER_SUBJECT_SIZE];
} look;

static void scan(ledger_op *o);

static void answer_list(ledger_op *o)
{
    Apirelay__Relay__V1__ListSilentResponse m = APIRELAY__RELAY__V1__LIST_SILENT_RESPONSE__INIT;

    m.positions = gw_arena_array(o->arena, silent_position *, o->found + 1);
    if (!m.positions) {
        fail_as(o, GW_ERR_NO_MEMORY, "no memory for the answer");
        return;
    }
    for (position_node *n = o->positions; n; n = n->next)
        m.positions[m.n_positions++] = n->position;
    if (strcmp(o->cursor, "0") != 0)
        m.next_cursor = o->cursor;
    gw_rpc_reply(o->call, &m.base);
    free(o);
}

static void batch_done(ledger_op *o)
{
    if (o->rc != GW_OK)
        fail_without_redis(o, o->rc);
    else if (strcmp(o->cursor, "0") == 0 || o->found >= o->page_size || o->looked >= LOOK_MAX)
        answer_list(o);
    else
        scan(o);
}

static void add_found(ledger_op *o, const char *subject, const ledger_silent *s)
{
    position_node *n = gw_arena_new_of(o->arena, position_node);
    silent_position *p = position_of(o->arena, subject, s);

    if (!n || !p) {
        o->rc = GW_ERR_NO_MEMORY;
        return;
    }
    *n = (position_node){.next = o->positions, .position = p};
    o->positions = n;
    o->found++;
}

static void on_silent(void *arg, gw_status rc, const ledger_silent *found, size_t count)
{
    look *l = arg;
    ledger_op *o = l->op;

    if (rc != GW_OK)
        o->rc = rc;
    for (size_t i = 0; i < count; i++)
        add_found(o, l->subject, &found[i]);
    free(l);
    if (--o->waits == 0)
        batch_done(o);
}

/* "ledger:{nn}:<subject>" */
static void look_at(ledger_op *o, const redisReply *key)
{
    const char *subject = strchr(key->str, '}');
    look *l = subject ? calloc(1, sizeof(*l)) : NULL;

    if (!subject)
        return;
    if (l) {
        *l = (look){.op = o};
        (void)snprintf(l->subject, sizeof(l->subject), "%s", subject + 2);
        if (o->rpc->store->ops->silent(o->rpc->store, l->subject, on_silent, l)) {
            o->waits++;
            return;
        }
    }
    free(l);
    o->rc = GW_ERR_NO_MEMORY;
}

static bool is_scanned(const redisReply *m)
{
    return m->type == REDIS_REPLY_ARRAY && m->elements == 2 &&
           m->element[0]->type == REDIS_REPLY_STRING && m->element[0]->len <= CURSOR_MAX &&
           m->element[1]->type == REDIS_REPLY_ARRAY;
}

static void on_scanned(void *arg, gw_status rc, const redisReply *m)
{
    ledger_op *o = arg;

    if (rc == GW_OK && !is_scanned(m))
        rc = GW_ERR_INTERNAL;
    if (rc != GW_OK) {
        fail_without_redis(o, rc);
        return;
    }
    (void)snprintf(o->cursor, sizeof(o->cursor), "%s", m->element[0]->str);
    o->waits = 1; /* ourselves */
    for (size_t i = 0; i < m->element[1]->elements; i++) {
        const redisReply *key = m->element[1]->element[i];
        o->looked++;
        if (key->type == REDIS_REPLY_STRING)
            look_at(o, key);
    }
    if (--o->waits == 0)
        batch_done(o);
}

static void scan(ledger_op *o)
{
    gw_redis_call(o->rpc->redis, on_scanned, o, GW_STR("SCAN"), gw_str_of(o->cursor),
                  GW_STR("MATCH"), GW_STR(LEDGERS), GW_STR("COUNT"), GW_STR("500"));
}

static void check_list(const Apirelay__Relay__V1__ListSilentRequest *r, gw_violations *v)
{
    if (r->page_size < 0 || r->page_size > PAGE_SIZE_MAX)
        gw_violations_add(v, "pageSize", "must be 1-%d", PAGE_SIZE_MAX);
    if (strlen(r->cursor) > CURSOR_MAX || strspn(r->cursor, "0123456789") != strlen(r->cursor))
        gw_violations_add(v, "cursor", "must be the nextCursor of the page before");
}

static void on_list(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Relay__V1__ListSilentRequest *r = (const void *)request;
    ledger_op *o = begin(call, arg);
    gw_violations v = {0};

    if (!o)
        return;
    check_list(r, &v);
    if (!passes(o, &v))
        return;
    o->page_size = r->page_size ? (size_t)r->page_size : PAGE_SIZE_DEFAULT;
    (void)snprintf(o->cursor, sizeof(o->cursor), "%s", *r->cursor ? r->cursor : "0");
    scan(o);
}

/* ---- forgive ---- */

static void answer_forgive(ledger_op *o)
{
    Apirelay__Relay__V1__ForgiveResponse m = APIRELAY__RELAY__V1__FORGIVE_RESPONSE__INIT;

    if (o->rc != GW_OK) {
        fail_without_redis(o, o->rc);
    } else if (o->how == LEDGER_NOT_THERE) {
        fail_as(o, GW_ERR_NOT_FOUND, "there is no such position, or it holds nothing");
    } else if (o->how == LEDGER_NOT_SILENT) {
        fail_as(o, GW_ERR_FAILED_PRECONDITION,
                "this relay has been heard not long ago: what it holds is in use");
    } else {
        m.position = o->was;
        gw_rpc_reply(o->call, &m.base);
        free(o);
    }
}

static void on_act_ended(gw_audit_act *a)
{
    answer_forgive(GW_CONTAINER_OF(a, ledger_op, act));
}

static void on_forgiven(void *arg, gw_status rc, ledger_forgiven how, const ledger_silent *was)
{
    static const char *const outcomes[] = {[LEDGER_FORGIVEN] = "ok",
                                           [LEDGER_NOT_THERE] = "NOT_FOUND",
                                           [LEDGER_NOT_SILENT] = "FAILED_PRECONDITION"};
    ledger_op *o = arg;
    gw_auto_buf json = {0};
    gw_error err;

    o->rc = rc;
    o->how = how;
    if (rc == GW_OK && how == LEDGER_FORGIVEN) {
        o->was = position_of(o->arena, o->ledger, was);
        if (!o->was)
            o->rc = GW_ERR_NO_MEMORY;
        else if (gw_json_write(&o->was->base, &json, &err) != GW_OK)
            gw_buf_clear(&json);
    }
    gw_audit_act_end(&o->act, rc == GW_OK ? outcomes[how] : gw_status_describe(rc)->name,
                     json.data ? json.data : "");
}

static void on_act_begun(gw_audit_act *a, gw_status rc, const gw_error *err)
{
    ledger_op *o = GW_CONTAINER_OF(a, ledger_op, act);

    if (rc != GW_OK)
        fail(o, err);
    else if (!o->rpc->store->ops->forgive(o->rpc->store, o->ledger, o->holder, on_forgiven, o))
        fail_as(o, GW_ERR_NO_MEMORY, "no memory for the request");
}

static void check_forgive(const Apirelay__Relay__V1__ForgiveRequest *r, gw_violations *v)
{
    gw_str ledger = gw_str_of(r->ledger), holder = gw_str_of(r->holder);
    bool is_ledger = ledger.len > 2 && ledger.len < LEDGER_SUBJECT_SIZE &&
                     strchr("kco", ledger.ptr[0]) && ledger.ptr[1] == ':';

    if (!is_ledger)
        gw_violations_add(v, "ledger", "must be the ledger of a silent position, as k:<key id>");
    if (holder.len == 0 || holder.len >= LEDGER_HOLDER_SIZE ||
        strspn(r->holder, "0123456789abcdef.") != holder.len)
        gw_violations_add(v, "holder",
                          "must be the holder of a silent position, as <spool id>.<start>.<loop>");
}

static void on_forgive(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Relay__V1__ForgiveRequest *r = (const void *)request;
    ledger_op *o = begin(call, arg);
    gw_auto_buf json = {0};
    gw_violations v = {0};
    gw_error err;

    if (!o)
        return;
    o->ledger = r->ledger;
    o->holder = r->holder;
    check_forgive(r, &v);
    if (!passes(o, &v))
        return;
    o->act = (gw_audit_act){.link = o->rpc->audit,
                            .call = call,
                            .action = "ledger.forgive",
                            .target = o->ledger,
                            .begun = on_act_begun,
                            .ended = on_act_ended};
    if (gw_json_write(request, &json, &err) != GW_OK)
        fail(o, &err);
    else
        gw_audit_act_begin(&o->act, json.data);
}

const gw_rpc_handler ledger_rpc_handlers[] = {
    {.path = SERVICE_PATH "ListSilent", .start = on_list},
    {.path = SERVICE_PATH "Forgive", .start = on_forgive},
    {.path = NULL},
};
