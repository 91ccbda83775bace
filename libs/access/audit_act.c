#include "access/audit_act.h"

#include "apirelay/auth/v1/admin_service.pb-c.h"

#define RECORD_PATH    "/apirelay.auth.v1.AuditService/RecordAct"
#define RECORD_WAIT_MS 5000
#define REQUEST_ID_MAX 64

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void record(gw_audit_act *a, const char *phase, const char *outcome, const char *payload,
                   gw_rpc_done_fn done)
{
    Apirelay__Auth__V1__RecordActRequest m = APIRELAY__AUTH__V1__RECORD_ACT_REQUEST__INIT;
    gw_arena *arena = gw_rpc_call_arena(a->call);
    const gw_caller *c = gw_rpc_call_caller(a->call);
    gw_str request_id = gw_rpc_call_metadata(a->call, "x-request-id");
    const gw_rpc_call_options options = {
        .path = RECORD_PATH,
        .response = &apirelay__auth__v1__record_act_response__descriptor,
        .credential = *a->link->service_token,
        .deadline_ms = RECORD_WAIT_MS,
    };

    m.actor_kind = text(c->key_id.len ? "admin_key" : "admin");
    m.actor_id = gw_arena_strdup(arena, c->key_id.len ? c->key_id : c->id);
    m.actor_name = gw_arena_strdup(arena, c->name);
    m.address = gw_arena_strdup(arena, c->address);
    m.request_id = gw_arena_strdup(
        arena,
        request_id.len <= REQUEST_ID_MAX && gw_str_is_utf8(request_id) ? request_id : GW_STR(""));
    m.action = text(a->action);
    m.target = text(a->target);
    m.phase = text(phase);
    m.outcome = text(outcome);
    m.payload_json = text(payload);
    if (!m.actor_id || !m.actor_name || !m.address || !m.request_id ||
        !gw_rpc_unary(a->link->auth, &options, &m.base, done, a)) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the audit log");
        done(a, err.code, NULL, &err);
    }
}

static void on_intent(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    gw_audit_act *a = arg;
    gw_error own = {0};

    (void)response;
    if (rc != GW_OK) {
        own = *err;
        (void)gw_error_prefix(&own, "nothing was done, the audit log cannot be written");
    }
    a->begun(a, rc, &own);
}

static void on_result(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    gw_audit_act *a = arg;

    (void)response;
    if (rc != GW_OK)
        gw_log_error(a->link->log, "audit_result_lost", gw_kv("action", a->action),
                     gw_kv("target", a->target), gw_kv_error(err));
    a->ended(a);
}

void gw_audit_act_begin(gw_audit_act *a, const char *payload_json)
{
    record(a, "intent", "", payload_json, on_intent);
}

void gw_audit_act_end(gw_audit_act *a, const char *outcome, const char *payload_json)
{
    record(a, "result", outcome, payload_json, on_result);
}
