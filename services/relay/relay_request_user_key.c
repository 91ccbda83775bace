/* The user's own LibreChat key in an attempt, or the token in its place: it is opened, and what its LibreChat says of it is told to its caller, not to operators. */
#include "relay_request_internal.h"

#include "user_key.h"

#define TROUBLE_EACH_MS 60000

static void count(const relay_request *r, gw_str reason)
{
    gw_metric_count(r->core->metrics, M_relay_user_key_failures_total, reason);
}

/* Once a minute: each request would say the same. */
static void log_trouble(const relay_request *r, const gw_error *err)
{
    relay_core *c = r->core;
    int64_t now_ms = gw_loop_now_ms(c->loop);

    if (c->user_key_trouble_ms != 0 && now_ms - c->user_key_trouble_ms < TROUBLE_EACH_MS)
        return;
    c->user_key_trouble_ms = now_ms;
    gw_log_error(c->log, "librechat_key_unreadable", gw_kv("key.id", r->policy->key_id),
                 gw_kv_error(err));
}

gw_status relay_request_open_user_key(relay_request *r, gw_error *err)
{
    gw_status rc = user_key_open(r->policy, r->core->master_keys, r->arena, &r->job.user_key, err);

    if (rc == GW_OK)
        return rc;
    r->user_key_is_unreadable = true;
    count(r, GW_STR("unreadable"));
    log_trouble(r, err);
    return gw_fail(err, GW_ERR_UNAVAILABLE,
                   "the LibreChat key of this API key cannot be read at the moment");
}

gw_status relay_request_lacks_user_key(const relay_request *r, gw_error *err)
{
    count(r, GW_STR("missing"));
    return gw_fail_field(err, GW_ERR_USER_KEY_REQUIRED, "model",
                         "The model `%.*s` is served to API keys that have a LibreChat key of "
                         "their user, and this one has none for it: ask an administrator to set it "
                         "(librechat-key).",
                         GW_STR_ARG(gw_str_slice(r->body.model, 0, 100)));
}

/* What a token says is the relay's word: the key's owner can do nothing about it, LibreChat's settings or the account may. */
static void explain_token(const relay_request *r, gw_error *err)
{
    gw_str provider = r->job.target->provider->name;

    if (r->upstream_status == 403)
        (void)gw_fail(err, GW_ERR_UPSTREAM_AUTH,
                      "the provider %.*s knows the LibreChat user of this API key, and he may not "
                      "use %.*s there",
                      GW_STR_ARG(provider), GW_STR_ARG(gw_str_slice(r->body.model, 0, 100)));
    else
        (void)gw_fail(err, GW_ERR_UPSTREAM_AUTH,
                      "the provider %.*s refused to sign in the LibreChat user of this API key: an "
                      "administrator has to compare its settings (remoteApi.auth.oidc) with the "
                      "relay's",
                      GW_STR_ARG(provider));
}

static void explain_key(const relay_request *r, gw_error *err)
{
    gw_str provider = r->job.target->provider->name;

    if (r->upstream_status == 403)
        (void)gw_fail(err, GW_ERR_UPSTREAM_AUTH,
                      "the LibreChat key of this API key was refused by the provider %.*s: its "
                      "user may not use %.*s there",
                      GW_STR_ARG(provider), GW_STR_ARG(gw_str_slice(r->body.model, 0, 100)));
    else
        (void)gw_fail(err, GW_ERR_UPSTREAM_AUTH,
                      "the LibreChat key of this API key was refused by the provider %.*s; an "
                      "administrator has to set a new one (librechat-key)",
                      GW_STR_ARG(provider));
}

void relay_request_explain_user_key(const relay_request *r, openai_error *e)
{
    gw_str provider = r->job.target->provider->name;
    bool is_signed_in = user_is_signed_in(r->job.target->provider);
    gw_error err;

    if (e->error.code == GW_ERR_UPSTREAM_QUOTA)
        (void)gw_fail(&err, GW_ERR_UPSTREAM_QUOTA,
                      "what the LibreChat user of this API key has at the provider %.*s is used "
                      "up; waiting does not help",
                      GW_STR_ARG(provider));
    else if (is_signed_in)
        explain_token(r, &err);
    else
        explain_key(r, &err);
    openai_error_from(e, &err);
    count(r, GW_STR("refused"));
    gw_log_info(r->core->log, is_signed_in ? "librechat_user_refused" : "librechat_key_refused",
                gw_kv("request.id", (const char *)r->id), gw_kv("key.id", r->policy->key_id),
                gw_kv("provider", provider), gw_kv("upstream.status", r->upstream_status));
}
