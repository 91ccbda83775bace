#include "audit_head.h"
#include "messages.h"
#include "op.h"
#include "page.h"

#include <apirelay/auth/v1/admin_service.pb-c.h>

#include <stdatomic.h>

#define ACT_PAYLOAD_MAX 4096

static gw_str canonical(op *o, const Apirelay__Auth__V1__ListAuditEntriesRequest *r)
{
    gw_auto_buf text = {0};
    gw_buf_append_c(&text, "audit_log;");
    page_filter(&text, "action", r->action);
    page_filter(&text, "actorId", r->actor_id);
    page_filter(&text, "target", r->target);
    gw_buf_appendf(&text, "from=%lld;to=%lld", (long long)message_time_ms(r->from),
                   (long long)message_time_ms(r->to));
    return gw_arena_dup(o->arena, gw_buf_str(&text));
}

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__ListAuditEntriesRequest *r = (const void *)o->request;
    gw_str filters = canonical(o, r), position = GW_STR("");
    audit_filter f = {.action = gw_str_of(r->action),
                      .actor_id = gw_str_of(r->actor_id),
                      .target = gw_str_of(r->target),
                      .has_from = r->from != NULL,
                      .has_to = r->to != NULL,
                      .from_ms = message_time_ms(r->from),
                      .to_ms = message_time_ms(r->to)};
    size_t count = 0;
    gw_status rc = page_size(r->page_size, &f.limit, err);
    if (rc == GW_OK)
        rc = page_position(o->arena, o->auth->peppers, filters, r->cursor, &position, err);
    if (rc == GW_OK && position.len && !gw_str_to_int64(position, &f.before_seq))
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "not a cursor of this list");
    if (rc != GW_OK)
        return rc;
    size_t limit = (size_t)f.limit++;
    Apirelay__Auth__V1__ListAuditEntriesResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_audit_entries_response__descriptor);
    if (m)
        m->entries = gw_arena_array(o->arena, audit_entry *, limit + 1);
    if (!m || !m->entries)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    rc = audit_log_list(d, o->arena, &f, m->entries, &count, err);
    m->n_entries = gw_rpc_page_fit((ProtobufCMessage **)(void *)m->entries, GW_MIN(count, limit));
    if (m->n_entries < count)
        m->next_cursor = page_cursor(o->arena, o->auth->peppers, filters,
                                     gw_arena_int(o->arena, m->entries[m->n_entries - 1]->seq));
    o->response = &m->base;
    return rc;
}

static void list_entries(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__ListAuditEntriesRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, list_run);
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    if (r->from && !message_time_is_valid(r->from))
        gw_violations_add(&v, "from", "must be a time in the years 1 to 9999");
    if (r->to && !message_time_is_valid(r->to))
        gw_violations_add(&v, "to", "must be a time in the years 1 to 9999");
    if (r->from && r->to && message_time_ms(r->to) <= message_time_ms(r->from))
        gw_violations_add(&v, "to", "the range must end after it starts");
    if (op_check(o, &v, &err) == GW_OK)
        op_start(o);
    else
        op_refuse(o, &err);
}

static gw_status check_known(op *o, const Apirelay__Auth__V1__VerifyAuditLogRequest *r,
                             gw_error *err)
{
    bool any = r->known_seq || *r->known_hash || *r->known_signature;
    if (any && (r->known_seq <= 0 || !*r->known_hash || !*r->known_signature))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "knownSeq",
                             "belongs together with knownHash and knownSignature");
    if (any && !audit_head_is_signed(o->auth->peppers, r->known_seq, gw_str_of(r->known_hash),
                                     gw_str_of(r->known_signature)))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "knownSignature",
                             "none of our peppers signed this seq and hash");
    return GW_OK;
}

/* A long one takes a worker all the while; keys are resolved on the others. */
static gw_status verify_alone(const gw_db *d, const Apirelay__Auth__V1__VerifyAuditLogRequest *r,
                              audit_verdict *ret, gw_error *err)
{
    static atomic_flag is_busy = ATOMIC_FLAG_INIT;
    const audit_known known = {r->known_seq, gw_str_of(r->known_hash)};
    if (atomic_flag_test_and_set(&is_busy))
        return gw_fail(err, GW_ERR_OVERLOADED, "the audit log is being verified already");
    gw_status rc = audit_log_verify(d, r->from_seq, r->to_seq, known, ret, err);
    atomic_flag_clear(&is_busy);
    return rc;
}

static gw_status verify_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__VerifyAuditLogRequest *r = (const void *)o->request;
    audit_verdict v;
    char signature[AUDIT_SIGNATURE_SIZE];
    Apirelay__Auth__V1__VerifyAuditLogResponse *m =
        message_new(o->arena, &apirelay__auth__v1__verify_audit_log_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    if (r->from_seq < 0 || r->to_seq < 0 || (r->to_seq && r->to_seq < r->from_seq))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "fromSeq",
                             "must be at least 0 and not over toSeq");
    gw_status rc = check_known(o, r, err);
    if (rc == GW_OK)
        rc = verify_alone(d, r, &v, err);
    if (rc != GW_OK)
        return rc;
    audit_head_sign(o->auth->peppers, v.head_seq, gw_str_of(v.head_hash), signature);
    m->intact = v.broken_seq == 0;
    m->checked = v.checked;
    m->broken_seq = v.broken_seq;
    m->head_seq = v.head_seq;
    m->head_hash = message_text(o->arena, gw_str_of(v.head_hash));
    m->head_signature = message_text(o->arena, gw_str_of(signature));
    m->message = message_text(o->arena, gw_str_of(v.message));
    o->response = &m->base;
    return GW_OK;
}

static void verify_log(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, verify_run);
    if (o)
        op_start(o);
}

/* ---- acts of other services ---- */

/* What admins do at a service is its own to tell. */
static const struct {
    const char *service, *areas; /* of actions */
} acts[] = {
    {"relay", "ledger. provider. model_route. price_book."},
    {"usage", "alert_rule. accounting."},
};

static bool is_in_areas(gw_str areas, gw_str action)
{
    gw_str area;
    while (gw_str_split(&areas, ' ', &area)) {
        if (gw_str_starts_with(action, area))
            return true;
    }
    return false;
}

static void check_action(gw_str service, const char *action, gw_violations *v)
{
    const char *areas = "";
    for (size_t i = 0; i < GW_ARRAY_LEN(acts); i++) {
        if (gw_str_eq_c(service, acts[i].service))
            areas = acts[i].areas;
    }
    if (!is_in_areas(gw_str_of(areas), gw_str_of(action)) || strlen(action) > 64)
        gw_violations_add(v, "action", "must begin with one of %s and have at most 64 bytes",
                          areas);
}

static void check_act(gw_str service, const Apirelay__Auth__V1__RecordActRequest *r,
                      gw_violations *v)
{
    if (strcmp(r->actor_kind, "admin") != 0 && strcmp(r->actor_kind, "admin_key") != 0)
        gw_violations_add(v, "actorKind", "must be one of admin|admin_key");
    check_action(service, r->action, v);
    if (strcmp(r->phase, "intent") != 0 && strcmp(r->phase, "result") != 0)
        gw_violations_add(v, "phase", "must be one of intent|result");
    if (strlen(r->payload_json) > ACT_PAYLOAD_MAX)
        gw_violations_add(v, "payloadJson", "must have at most %d bytes", ACT_PAYLOAD_MAX);
}

static gw_status record_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RecordActRequest *r = (const void *)o->request;
    audit_entry *e = message_new(o->arena, &apirelay__auth__v1__audit_entry__descriptor);
    Apirelay__Auth__V1__RecordActResponse *m =
        message_new(o->arena, &apirelay__auth__v1__record_act_response__descriptor);

    if (!e || !m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit entry");
    e->at = message_time(o->arena, gw_clock_wall_ms(&gw_system_clock));
    e->actor_kind = r->actor_kind;
    e->actor_id = r->actor_id;
    e->actor_name = r->actor_name;
    e->address = r->address;
    e->action = r->action;
    e->target = r->target;
    e->phase = r->phase;
    e->outcome = r->outcome;
    e->request_id = r->request_id;
    e->payload_json = r->payload_json;
    gw_status rc = audit_log_append(d, o->arena, e, err);
    m->seq = e->seq;
    o->response = &m->base;
    return rc;
}

static void record_act(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    gw_violations v = {0};
    gw_error err = {0};
    op *o = op_new(arg, call, request, record_run);

    if (!o)
        return;
    check_act(gw_rpc_call_caller(call)->name, (const void *)request, &v);
    if (op_check(o, &v, &err) == GW_OK)
        op_start(o);
    else
        op_refuse(o, &err);
}

#define PATH(method) "/apirelay.auth.v1.AuditService/" method
const gw_rpc_handler audit_handlers[] = {
    {.path = PATH("ListAuditEntries"), .start = list_entries},
    {.path = PATH("VerifyAuditLog"), .start = verify_log},
    {.path = PATH("RecordAct"), .start = record_act},
    {0},
};
