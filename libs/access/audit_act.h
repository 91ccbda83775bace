/*
 * Audit act: what an admin does here, between two entries of the audit log that auth keeps.
 *
 *     gw_audit_act_begin() ─▶ auth: the intent ─▶ `begun` ─▶ the act ─▶ gw_audit_act_end() ─▶ auth: the result ─▶ `ended`
 *
 * Without the intent nothing is done. A result that cannot be written is logged: the act is done all the same, and its intent stands.
 *
 * Thread: the loop's.
 */
#pragma once

#include "log/log.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define GW_AUDIT_PAYLOAD_MAX 4096 /* bytes that auth takes */

/* The way to the log; outlives every act. */
typedef struct gw_audit_link {
    gw_rpc_channel *auth;
    const gw_str *service_token; /* presented to auth, as it is when it is used */
    gw_log *log;
} gw_audit_link;

/* In its owner's struct, with all of these set before it begins. Texts are borrowed until the act has ended. */
typedef struct gw_audit_act gw_audit_act;
struct gw_audit_act {
    const gw_audit_link *link;
    gw_rpc_call *call; /* the admin's; not answered before the act has ended */
    const char *action; /* "ledger.forgive" */
    const char *target; /* an id */
    void (*begun)(gw_audit_act *a, gw_status rc, const gw_error *err); /* not GW_OK: do nothing */
    void (*ended)(gw_audit_act *a);
};

/* Payloads are JSON of at most GW_AUDIT_PAYLOAD_MAX bytes without secrets, or "". Either callback may come before its call returns. */
void gw_audit_act_begin(gw_audit_act *a, const char *payload_json);
void gw_audit_act_end(gw_audit_act *a, const char *outcome /* "ok" or the error's name */,
                      const char *payload_json);
