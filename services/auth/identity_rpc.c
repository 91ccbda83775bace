#include "identity.h"

#include <stdlib.h>

/* ---- CheckCredential ---- */

static void checked(void *arg, gw_status rc, const identity_answer *answer,
                    const admin_user_view *admin, const gw_error *err)
{
    gw_rpc_call *call = arg;
    (void)admin;
    if (rc == GW_OK)
        gw_rpc_reply(call, &answer->base);
    else
        gw_rpc_fail(call, err);
}

static void check_credential(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__CheckCredentialRequest *r = (const void *)request;
    const gw_identity_question q = {.credential = gw_str_n(r->credential.data, r->credential.len),
                                    .peer_address = gw_str_of(r->peer_address),
                                    .unattended = r->unattended};
    identity_check(arg, &q, checked, call);
}

const gw_rpc_handler identity_handlers[] = {
    {.path = "/apirelay.auth.v1.IdentityService/CheckCredential", .start = check_credential},
    {0},
};

/* ---- the service's own access check ---- */

typedef struct seam_question {
    gw_identity_done_fn done;
    void *arg;
} seam_question;

static gw_role role_of(const char *name)
{
    return strcmp(name, "owner") == 0    ? GW_ROLE_OWNER
           : strcmp(name, "admin") == 0  ? GW_ROLE_ADMIN
           : strcmp(name, "viewer") == 0 ? GW_ROLE_VIEWER
                                         : GW_ROLE_NONE;
}

static void answer_seam(void *arg, gw_status rc, const identity_answer *answer,
                        const admin_user_view *admin, const gw_error *err)
{
    seam_question *q = arg;
    gw_identity who = {0};
    (void)admin;
    if (rc == GW_OK) {
        bool is_key = strcmp(answer->kind, "api_key") == 0;
        who.valid = answer->valid;
        who.caller.kind = is_key ? GW_CALLER_API_KEY : GW_CALLER_ADMIN;
        who.caller.name = gw_str_of(answer->username);
        who.caller.id = gw_str_of(is_key ? answer->api_key_id : answer->admin_id);
        who.caller.key_id = gw_str_of(is_key ? answer->key_id : answer->admin_key_id);
        who.caller.session_id = gw_str_of(answer->session_id);
        who.caller.role = role_of(answer->role);
        who.expires_at_ms = answer->expires_at ? answer->expires_at->seconds * 1000 +
                                                     answer->expires_at->nanos / 1000000
                                               : 0;
    }
    q->done(q->arg, rc, rc == GW_OK ? &who : NULL, err);
    free(q);
}

static void seam_identify(void *self, const gw_identity_question *asked, gw_identity_done_fn done,
                          void *arg)
{
    gw_error err = {0};
    seam_question *q = malloc(sizeof(*q));
    if (!q) {
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        done(arg, rc, NULL, &err);
        return;
    }
    *q = (seam_question){done, arg};
    identity_check(self, asked, answer_seam, q);
}

gw_identify identity_seam(auth *a)
{
    return (gw_identify){.identify = seam_identify, .self = a};
}
