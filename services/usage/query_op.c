#include "query_op.h"

#include "core/id.h"
#include "json/json.h"

static void op_free(query_op *o)
{
    gw_arena *arena = o->arena; /* holds the op itself */
    if (o->release)
        o->release(o);
    gw_arena_free(arena);
}

query_op *query_op_new(usage_queries *q, gw_rpc_call *call, const ProtobufCMessage *request,
                       gw_status (*run)(query_op *o, const gw_db *d, gw_error *err),
                       size_t data_size)
{
    gw_arena *arena = gw_arena_new();
    query_op *o = arena ? gw_arena_new_of(arena, query_op) : NULL;
    void *data = o ? gw_arena_zalloc(arena, data_size + 1) : NULL;
    if (!data) {
        gw_error err = {0};
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        gw_rpc_fail(call, &err);
        gw_arena_free(arena);
        return NULL;
    }
    *o = (query_op){.queries = q,
                    .call = call,
                    .arena = arena,
                    .request = request,
                    .now_ms = gw_clock_wall_ms(gw_loop_clock(q->o.loop)),
                    .run = run,
                    .data = data};
    return o;
}

static gw_status op_work(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                         gw_error *err)
{
    (void)client;
    query_op *o = GW_CONTAINER_OF(j, query_op, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = o->run(o, &d, err);
    if (rc == GW_OK && !o->response)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
    return rc;
}

static void answer(query_op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        gw_rpc_reply(o->call, o->response);
    else
        gw_rpc_fail_all(o->call, err, &o->further);
    op_free(o);
}

static void act_ended(gw_audit_act *a)
{
    query_op *o = GW_CONTAINER_OF(a, query_op, act);
    answer(o, o->rc, &o->error);
}

static void op_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    query_op *o = GW_CONTAINER_OF(j, query_op, job);
    if (rc == GW_OK && o->finish)
        o->finish(o);
    if (!o->act.action) {
        answer(o, rc, err);
        return;
    }
    o->rc = rc;
    if (rc != GW_OK)
        o->error = *err;
    gw_audit_act_end(&o->act, rc == GW_OK ? "ok" : gw_status_describe(rc)->name, "");
}

static void submit(query_op *o)
{
    o->job = (gw_mongo_job){.run = op_work, .done = op_done};
    gw_mongo_submit(o->queries->o.mongo, &o->job);
}

void query_op_start(query_op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        submit(o);
    else
        answer(o, rc, err);
}

static void act_begun(gw_audit_act *a, gw_status rc, const gw_error *err)
{
    query_op_start(GW_CONTAINER_OF(a, query_op, act), rc, err);
}

void query_op_start_audited(query_op *o, const char *action, const char *target, gw_status rc,
                            const gw_error *err)
{
    gw_auto_buf json = {0};
    gw_error ignored;
    if (rc != GW_OK) {
        answer(o, rc, err);
        return;
    }
    o->act = (gw_audit_act){.link = &o->queries->audit,
                            .call = o->call,
                            .action = action,
                            .target = target,
                            .begun = act_begun,
                            .ended = act_ended};
    bool fits =
        gw_json_write(o->request, &json, &ignored) == GW_OK && json.len <= GW_AUDIT_PAYLOAD_MAX;
    gw_audit_act_begin(&o->act, fits ? json.data : "");
}

/* ---- messages ---- */

void *reply_new(gw_arena *a, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = gw_arena_zalloc(a, d->sizeof_message);
    if (m)
        protobuf_c_message_init(d, m);
    return m;
}

char *reply_text(gw_arena *a, gw_str s)
{
    char *text = s.len ? gw_arena_strdup(a, s) : NULL;
    return text ? text : (char *)(uintptr_t)protobuf_c_empty_string;
}

Google__Protobuf__Timestamp *reply_time(gw_arena *a, int64_t wall_ms)
{
    Google__Protobuf__Timestamp *t = reply_new(a, &google__protobuf__timestamp__descriptor);
    if (!t)
        return NULL;
    int64_t ms = wall_ms % 1000;
    t->seconds = wall_ms / 1000;
    if (ms < 0) { /* nanos count forward from the second before */
        ms += 1000;
        t->seconds--;
    }
    t->nanos = (int32_t)ms * 1000000;
    return t;
}

/* ---- pages ---- */

int64_t page_size_of(int32_t asked, gw_violations *v)
{
    if (asked < 0 || asked > PAGE_SIZE_MAX)
        gw_violations_add(v, "pageSize", "must be 1-%d", PAGE_SIZE_MAX);
    return asked ? asked : PAGE_SIZE_DEFAULT;
}

void page_filter(gw_buf *filters, const char *name, const char *value)
{
    gw_buf_appendf(filters, "%s=%zu:%s;", name, strlen(value), value);
}

gw_status page_position(query_op *o, gw_str filters, const char *cursor, gw_str *ret, gw_error *err)
{
    gw_auto_buf position = {0};
    *ret = GW_STR("");
    if (*cursor == '\0')
        return GW_OK;
    gw_status rc =
        gw_cursor_read(o->queries->cursor_key, filters, gw_str_of(cursor), &position, err);
    if (rc == GW_OK)
        *ret = gw_arena_dup(o->arena, gw_buf_str(&position));
    return rc;
}

gw_status page_position_id(query_op *o, gw_str filters, const char *cursor, gw_object_id *ret,
                           bool *ret_has, gw_error *err)
{
    gw_str position;
    gw_status rc = page_position(o, filters, cursor, &position, err);
    if (rc != GW_OK)
        return rc;
    *ret_has = position.len > 0;
    if (*ret_has && !gw_object_id_parse(position, ret))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    return GW_OK;
}

char *page_cursor(query_op *o, gw_str filters, gw_str position)
{
    gw_auto_buf text = {0};
    gw_cursor_write(o->queries->cursor_key, filters, position, &text);
    return reply_text(o->arena, gw_buf_failed(&text) ? GW_STR("") : gw_buf_str(&text));
}
