/* What signs users in to their LibreChat: opened at the start, and read again when its files change. */
#include "relay_app_internal.h"

static gw_status load_signer(relay_app *a, gw_error *err)
{
    const relay_conf *conf = a->conf;
    oidc_signer *s = NULL;
    gw_status rc =
        oidc_signer_load(conf->oidc_issuer, conf->oidc_key_file, conf->oidc_old_key_file, &s, err);

    if (rc != GW_OK)
        return rc;
    if (!gw_str_eq(oidc_signer_jwks(s), user_token_book_jwks(a->core.user_tokens)))
        user_token_book_set_signer(a->core.user_tokens, s);
    oidc_signer_unref(s);
    return GW_OK;
}

/* Nobody is read before a provider says so (signInAsUser). */
gw_status relay_app_open_sign_in(relay_app *a, gw_error *err)
{
    if (!a->conf->oidc_issuer)
        return GW_OK;
    a->user_token_store = user_token_store_mongo_new(a->mongo, a->conf->librechat_database);
    const user_token_book_options o = {
        .store = a->user_token_store, .log = a->log, .metrics = a->shard};
    if (a->user_token_store)
        a->core.user_tokens = user_token_book_new(a->loop, &o);
    if (!a->core.user_tokens)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for users' tokens");
    return load_signer(a, err);
}

void relay_app_reload_signer(relay_app *a)
{
    gw_error err;

    if (a->core.user_tokens && load_signer(a, &err) != GW_OK)
        gw_log_error(a->log, "oidc_key_reload_failed", gw_kv_error(&err));
}
