/*
 * AlertService: rules and the alerts they raised.
 */
#include "alert_rules.h"
#include "alert_watch.h"
#include "query_op.h"

/* ---- CreateAlertRule ---- */

static gw_status run_create(query_op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Usage__V1__CreateAlertRuleRequest *r = (const void *)o->request;
    gw_db_auto_bson doc = BSON_INITIALIZER;
    const gw_object_id *id = o->data;
    alert_rule_append(r->alert_rule, id, o->now_ms, &doc);
    gw_status rc = gw_db_insert(d, COLLECTION_ALERT_RULES, &doc, err);
    if (rc != GW_OK)
        return rc;
    Apirelay__Usage__V1__CreateAlertRuleResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__create_alert_rule_response__descriptor);
    if (!m)
        return GW_OK;
    m->alert_rule = alert_rule_of(o->arena, &doc);
    o->response = &m->base;
    return GW_OK;
}

static void rules_changed(query_op *o)
{
    alert_watch_poke(o->queries->alerts);
}

static void create_alert_rule(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__CreateAlertRuleRequest *r = (const void *)request;
    static const alert_rule nothing = APIRELAY__USAGE__V1__ALERT_RULE__INIT;
    query_op *o = query_op_new(arg, call, request, run_create, sizeof(gw_object_id));
    gw_violations v = {0};
    gw_error err = {0};
    char id[GW_OBJECT_ID_HEX_SIZE];
    if (!o)
        return;
    gw_object_id_make(o->data, o->now_ms);
    gw_object_id_format(o->data, id);
    alert_rule_check(r->alert_rule ? r->alert_rule : &nothing, &v);
    o->finish = rules_changed;
    query_op_start_audited(o, "alert_rule.create", reply_text(o->arena, gw_str_of(id)),
                           gw_violations_split(&v, &err, &o->further), &err);
}

/* ---- lists, newest first ---- */

typedef struct list_data {
    size_t limit;
    gw_str filters; /* canonical, for the cursor */
    gw_object_id after, rule_id;
    bool has_after, has_rule_id;
    gw_str status;
    /* what is found */
    gw_arena *arena;
    bool is_rules, more;
    size_t count;
    ProtobufCMessage **items;
    gw_object_id last;
} list_data;

static gw_status keep_item(void *arg, const bson_t *doc, gw_error *err)
{
    list_data *l = arg;
    if (l->count == l->limit) {
        l->more = true;
        return GW_OK;
    }
    if (!gw_bson_oid(doc, "_id", &l->last))
        return GW_OK;
    void *item =
        l->is_rules ? (void *)alert_rule_of(l->arena, doc) : (void *)alert_of(l->arena, doc);
    if (!item)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page of alerts");
    l->items[l->count++] = item;
    return GW_OK;
}

/* *ret_cursor: of the next page. */
static gw_status read_page(query_op *o, const gw_db *d, const char *collection, char **ret_cursor,
                           gw_error *err)
{
    list_data *l = o->data;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t part;
    l->arena = o->arena;
    l->items = gw_arena_array(o->arena, ProtobufCMessage *, l->limit + 1);
    if (!l->items)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a page of alerts");
    if (l->has_rule_id)
        gw_bson_append_oid(&filter, "ruleId", &l->rule_id);
    if (l->status.len)
        gw_bson_append_str(&filter, "status", l->status);
    if (l->has_after) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
        gw_bson_append_oid(&part, "$lt", &l->after);
        bson_append_document_end(&filter, &part);
    }
    gw_db_append_page(&opts, "_id", -1, (int64_t)l->limit + 1); /* one more: is there a next? */
    gw_status rc = gw_db_find(d, collection, &filter, &opts, keep_item, l, err);
    if (rc != GW_OK || !l->more)
        return rc;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(&l->last, hex);
    *ret_cursor = page_cursor(o, l->filters, gw_str_of(hex));
    return GW_OK;
}

static gw_status plan_page(query_op *o, gw_buf *filters, int32_t page_size, const char *cursor,
                           gw_violations *v, gw_error *err)
{
    list_data *l = o->data;
    l->limit = (size_t)page_size_of(page_size, v);
    l->filters = gw_arena_dup(o->arena, gw_buf_str(filters));
    gw_status rc = gw_violations_split(v, err, &o->further);
    return rc == GW_OK ? page_position_id(o, l->filters, cursor, &l->after, &l->has_after, err)
                       : rc;
}

static gw_status run_list_rules(query_op *o, const gw_db *d, gw_error *err)
{
    list_data *l = o->data;
    Apirelay__Usage__V1__ListAlertRulesResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_alert_rules_response__descriptor);
    if (!m)
        return GW_OK;
    l->is_rules = true;
    gw_status rc = read_page(o, d, COLLECTION_ALERT_RULES, &m->next_cursor, err);
    m->alert_rules = (alert_rule **)(void *)l->items;
    m->n_alert_rules = l->count;
    o->response = &m->base;
    return rc;
}

static void list_alert_rules(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ListAlertRulesRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_list_rules, sizeof(list_data));
    gw_violations v = {0};
    gw_error err = {0};
    gw_auto_buf filters = {0};
    if (!o)
        return;
    gw_buf_append_c(&filters, "alert_rules;");
    query_op_start(o, plan_page(o, &filters, r->page_size, r->cursor, &v, &err), &err);
}

static gw_status run_list_alerts(query_op *o, const gw_db *d, gw_error *err)
{
    list_data *l = o->data;
    Apirelay__Usage__V1__ListAlertsResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_alerts_response__descriptor);
    if (!m)
        return GW_OK;
    gw_status rc = read_page(o, d, COLLECTION_ALERTS, &m->next_cursor, err);
    m->alerts = (alert **)(void *)l->items;
    m->n_alerts = l->count;
    o->response = &m->base;
    return rc;
}

static void list_alerts(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ListAlertsRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_list_alerts, sizeof(list_data));
    gw_violations v = {0};
    gw_error err = {0};
    gw_auto_buf filters = {0};
    if (!o)
        return;
    list_data *l = o->data;
    l->status = gw_str_of(r->status);
    if (l->status.len && !gw_str_eq_c(l->status, "firing") && !gw_str_eq_c(l->status, "resolved"))
        gw_violations_add(&v, "status", "must be one of firing|resolved");
    l->has_rule_id = *r->rule_id != '\0';
    if (l->has_rule_id && !gw_object_id_parse(gw_str_of(r->rule_id), &l->rule_id))
        gw_violations_add(&v, "ruleId", "must be 24 hex digits");
    gw_buf_append_c(&filters, "alerts;");
    page_filter(&filters, "status", r->status);
    page_filter(&filters, "ruleId", r->rule_id);
    query_op_start(o, plan_page(o, &filters, r->page_size, r->cursor, &v, &err), &err);
}

/* ---- DeleteAlertRule ---- */

static gw_status no_such_rule(gw_error *err)
{
    return gw_fail(err, GW_ERR_NOT_FOUND, "there is no such alert rule");
}

static gw_status run_delete(query_op *o, const gw_db *d, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    const gw_object_id *id = o->data;
    int64_t deleted = 0;
    gw_bson_append_oid(&filter, "_id", id);
    gw_status rc = gw_db_delete(d, COLLECTION_ALERT_RULES, &filter, &deleted, err);
    if (rc == GW_OK)
        rc = alerts_resolve(d, id, o->now_ms, err); /* also after a delete that was cut here */
    if (rc == GW_OK && deleted == 0)
        rc = no_such_rule(err);
    o->response = reply_new(o->arena, &apirelay__usage__v1__delete_alert_rule_response__descriptor);
    return rc;
}

static void delete_alert_rule(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__DeleteAlertRuleRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_delete, sizeof(gw_object_id));
    gw_error err = {0};
    if (!o)
        return;
    gw_status rc = gw_object_id_parse(gw_str_of(r->id), o->data) ? GW_OK : no_such_rule(&err);
    query_op_start_audited(o, "alert_rule.delete", r->id, rc, &err);
}

#define PATH(method) "/apirelay.usage.v1.AlertService/" method
const gw_rpc_handler alert_handlers[] = {
    {.path = PATH("CreateAlertRule"), .start = create_alert_rule},
    {.path = PATH("ListAlertRules"), .start = list_alert_rules},
    {.path = PATH("DeleteAlertRule"), .start = delete_alert_rule},
    {.path = PATH("ListAlerts"), .start = list_alerts},
    {0},
};
