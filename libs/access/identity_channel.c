#include "access/identity.h"

#include "apirelay/auth/v1/identity_service.pb-c.h"

#include <stdlib.h>

#define PATH "/apirelay.auth.v1.IdentityService/CheckCredential"

struct gw_identity_channel {
    gw_rpc_channel *auth;
    gw_str own_token;
    gw_log *log;
};

typedef struct question {
    gw_identity_channel *channel;
    gw_identity_done_fn done;
    void *arg;
} question;

gw_identity_channel *gw_identity_channel_new(gw_rpc_channel *auth, gw_str own_token, gw_log *log)
{
    gw_identity_channel *c = calloc(1, sizeof *c);
    if (c)
        *c = (gw_identity_channel){.auth = auth, .own_token = own_token, .log = log};
    return c;
}

void gw_identity_channel_set_token(gw_identity_channel *c, gw_str own_token)
{
    c->own_token = own_token;
}

void gw_identity_channel_free(gw_identity_channel *c)
{
    free(c);
}

static gw_role role_of(const char *name)
{
    if (strcmp(name, "owner") == 0)
        return GW_ROLE_OWNER;
    if (strcmp(name, "admin") == 0)
        return GW_ROLE_ADMIN;
    return strcmp(name, "viewer") == 0 ? GW_ROLE_VIEWER : GW_ROLE_NONE;
}

/* False when it says nothing we know: such a credential is not good for anything here. */
static bool read_answer(const Apirelay__Auth__V1__CheckCredentialResponse *r, gw_identity *ret)
{
    *ret = (gw_identity){.valid = r->valid};
    if (!r->valid)
        return true;
    if (r->expires_at)
        ret->expires_at_ms = r->expires_at->seconds * 1000 + r->expires_at->nanos / 1000000;
    if (strcmp(r->kind, "admin") == 0) {
        bool is_key = r->admin_key_id[0] != '\0';
        ret->caller =
            (gw_caller){.kind = GW_CALLER_ADMIN,
                        .name = gw_str_of(r->username),
                        .id = gw_str_of(r->admin_id[0] || !is_key ? r->admin_id : r->admin_key_id),
                        .key_id = gw_str_of(r->admin_key_id),
                        .session_id = gw_str_of(r->session_id),
                        .role = role_of(r->role)};
        return true;
    }
    ret->caller = (gw_caller){
        .kind = GW_CALLER_API_KEY, .id = gw_str_of(r->api_key_id), .key_id = gw_str_of(r->key_id)};
    return strcmp(r->kind, "api_key") == 0;
}

static void on_answer(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    question *q = arg;
    gw_error failure;
    gw_identity who;
    if (rc != GW_OK) {
        /* Auth's trouble, or its trouble with our own token, is not the caller's. */
        gw_log_warn(q->channel->log, "identity_check_failed", gw_kv_error(err));
        rc = gw_fail(&failure, GW_ERR_UNAVAILABLE, "the credential cannot be checked now");
    } else if (!read_answer((const Apirelay__Auth__V1__CheckCredentialResponse *)response, &who)) {
        who = (gw_identity){.valid = false};
    }
    q->done(q->arg, rc, rc == GW_OK ? &who : NULL, rc == GW_OK ? NULL : &failure);
    free(q);
}

static void identify(void *self, const gw_identity_question *asked, gw_identity_done_fn done,
                     void *arg)
{
    gw_identity_channel *c = self;
    question *q = calloc(1, sizeof *q);
    char address[64];
    gw_str cut = gw_str_slice(asked->peer_address, 0, sizeof address - 1);
    if (cut.len > 0)
        memcpy(address, cut.ptr, cut.len);
    address[cut.len] = '\0';
    Apirelay__Auth__V1__CheckCredentialRequest request =
        APIRELAY__AUTH__V1__CHECK_CREDENTIAL_REQUEST__INIT;
    request.credential.data = (uint8_t *)(uintptr_t)asked->credential.ptr;
    request.credential.len = asked->credential.len;
    request.peer_address = address;
    request.unattended = asked->unattended;
    gw_rpc_call_options o = {.path = PATH,
                             .response = &apirelay__auth__v1__check_credential_response__descriptor,
                             .credential = c->own_token,
                             .wait_for_ready = true}; /* rides over a restart of auth */
    if (q)
        *q = (question){.channel = c, .done = done, .arg = arg};
    if (q && gw_rpc_unary(c->auth, &o, &request.base, on_answer, q))
        return;
    free(q);
    gw_error err;
    done(arg, gw_fail(&err, GW_ERR_NO_MEMORY, "no memory to check a credential"), NULL, &err);
}

gw_identify gw_identity_channel_seam(gw_identity_channel *c)
{
    return (gw_identify){.identify = identify, .self = c};
}
