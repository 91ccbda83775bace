#include "usage_queries_internal.h"

#include "alert_watch.h"
#include "crypto/crypto.h"
#include "metrics_rpc.h"
#include "spool_watch.h"

#include <stdlib.h>

gw_status usage_queries_new(const usage_queries_options *o, usage_queries **ret, gw_error *err)
{
    gw_auto(usage_queries) q = calloc(1, sizeof(*q));
    if (!q)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for usage queries");
    q->o = *o;
    gw_list_init(&q->watchers);
    gw_list_init(&q->ledger_calls);
    q->o.cursor_secret = GW_STR_NULL; /* only its derived key is kept */
    q->audit = (gw_audit_link){.auth = o->auth, .service_token = &q->o.own_token, .log = o->log};
    q->live = live_shared_new(o->loop, o->redis);
    q->alerts = alert_watch_new(o->loop, o->mongo, o->log);
    q->spools = spool_watch_new(&q->o);
    if (!q->live || !q->alerts || !q->spools)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for usage queries");
    gw_status rc =
        gw_hkdf_sha256(o->cursor_secret.ptr, o->cursor_secret.len, GW_STR("usage cursor"),
                       q->cursor_key, sizeof(q->cursor_key), err);
    if (rc == GW_OK)
        *ret = gw_steal(&q);
    return rc;
}

void usage_queries_adjust(usage_queries *q, int64_t retention_ms, spool_care spools)
{
    q->o.retention_ms = retention_ms;
    q->o.spools = spools;
}

void usage_queries_end_streams(usage_queries *q)
{
    metrics_stop_watching(q);
    ledger_stop_waiting(q);
}

void usage_queries_set_own_token(usage_queries *q, gw_str own_token)
{
    q->o.own_token = own_token;
}

void usage_queries_stop(usage_queries *q)
{
    alert_watch_stop(q->alerts);
    spool_watch_stop(q->spools);
}

void usage_queries_free(usage_queries *q)
{
    if (!q)
        return;
    alert_watch_free(q->alerts);
    spool_watch_free(q->spools);
    live_shared_free(q->live);
    gw_secret_wipe(q->cursor_key, sizeof(q->cursor_key));
    free(q);
}

gw_status usage_queries_register(usage_queries *q, gw_rpc_server *server, gw_error *err)
{
    gw_status rc = gw_rpc_server_add(server, usage_handlers, q, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(server, alert_handlers, q, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(server, accounting_handlers, q, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(server, ledger_handlers, q, err);
    return rc == GW_OK ? gw_rpc_server_add(server, rating_handlers, q, err) : rc;
}

live_shared *usage_queries_live(usage_queries *q)
{
    return q->live;
}
