/* How the services know each other: by certificates where TLS is on, else by tokens. */
#include "service/service_internal.h"

#include "crypto/crypto.h"
#include "crypto/secret_file.h"

#include <stdlib.h>

#define CURSOR_SECRET_MIN 32
#define CURSOR_SECRET_MAX 4096

/* ---- settings ---- */

static gw_service_conf common_of(const void *conf)
{
    gw_service_conf common;
    memcpy(&common, conf, sizeof(common));
    return common;
}

static void check_peers(const gw_service_conf *c, gw_conf_errors *errs)
{
    gw_auto(gw_peers) peers = NULL;
    gw_error err;
    if (gw_peers_new(c->tls_peers.items, c->tls_peers.n, &peers, &err) != GW_OK)
        gw_conf_wrong(errs, "tls_peers", "%s", err.message);
}

void gw_service_check_conf(const void *conf, gw_conf_errors *errs)
{
    const gw_service_conf c = common_of(conf);
    gw_conf_needs(errs, "tls_cert_file", c.tls_cert_file, "tls_key_file", c.tls_key_file);
    gw_conf_needs(errs, "tls_cert_file", c.tls_cert_file, "tls_ca_file", c.tls_ca_file);
    gw_conf_needs(errs, "tls_key_file", c.tls_key_file, "tls_cert_file", c.tls_cert_file);
    gw_conf_needs(errs, "tls_ca_file", c.tls_ca_file, "tls_cert_file", c.tls_cert_file);
    gw_conf_needs(errs, "ops_tls", c.ops_tls ? "true" : NULL, "tls_cert_file", c.tls_cert_file);
    if (!c.tls_cert_file && !c.service_tokens_file)
        gw_conf_wrong(errs, "service_tokens_file",
                      "is required where TLS is off: there is no tls_cert_file");
    check_peers(&c, errs);
}

static bool begins_with(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

void gw_service_check_mongo(const char *uri, gw_conf_errors *errs)
{
    if (uri && !begins_with(uri, "mongodb://") && !begins_with(uri, "mongodb+srv://"))
        gw_conf_wrong(errs, "mongo_uri", "has to begin with mongodb:// or mongodb+srv://");
}

void gw_service_check_redis(const char *url, const gw_tls_paths *tls, gw_conf_errors *errs)
{
    static const char needed[] = "a redis_url that begins with rediss://";
    const char *secure = url && begins_with(url, "rediss://") ? url : NULL;
    if (url && !secure && !begins_with(url, "redis://"))
        gw_conf_wrong(errs, "redis_url", "has to begin with redis:// or rediss://");
    gw_conf_needs(errs, "redis_cert_file", tls->cert_file, "redis_key_file", tls->key_file);
    gw_conf_needs(errs, "redis_key_file", tls->key_file, "redis_cert_file", tls->cert_file);
    gw_conf_needs(errs, "redis_cert_file", tls->cert_file, needed, secure);
    gw_conf_needs(errs, "redis_ca_file", tls->ca_file, needed, secure);
}

void gw_service_check_cursor_key(const void *conf, const char *cursor_key_file,
                                 gw_conf_errors *errs)
{
    const gw_service_conf c = common_of(conf);
    if (c.tls_cert_file && !c.service_tokens_file && !cursor_key_file)
        gw_conf_wrong(errs, "cursor_key_file", "is required where there is no service_tokens_file");
}

/* ---- what is opened of them ---- */

static gw_status open_tls(gw_service *s, const gw_service_conf *c, gw_error *err)
{
    const gw_tls_paths paths = {c->tls_cert_file, c->tls_key_file, c->tls_ca_file};
    gw_status rc = gw_service_open_tls(s, &paths, &s->tls, err);
    return rc == GW_OK ? gw_peers_new(c->tls_peers.items, c->tls_peers.n, &s->peers, err) : rc;
}

gw_status service_open_trust(gw_service *s, gw_error *err)
{
    const gw_service_conf c = service_common(s);
    gw_status rc = c.tls_cert_file ? open_tls(s, &c, err) : GW_OK;
    if (rc == GW_OK && c.service_tokens_file)
        rc = gw_service_tokens_load(c.service_tokens_file, s->log, &s->tokens, err);
    if (rc == GW_OK && !s->tls && s->kind->needs_own_token && gw_service_own_token(s).len == 0)
        rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s has no token of %s", c.service_tokens_file,
                     s->kind->conf->service);
    return rc;
}

void service_close_trust(gw_service *s)
{
    gw_service_tokens_free(s->tokens);
    gw_peers_free(s->peers);
}

void service_reload_tokens(const gw_service *s)
{
    gw_error err = {0};
    bool changed = false;
    bool needs_own = s->kind->needs_own_token && !s->tls;
    gw_str own = needs_own ? gw_str_of(s->kind->conf->service) : GW_STR("");
    if (!s->tokens)
        return;
    if (gw_service_tokens_reload(s->tokens, own, s->log, &changed, &err) != GW_OK)
        gw_log_error(s->log, "service_tokens_reload_failed", gw_kv_error(&err));
    else if (changed)
        gw_log_info(s->log, "service_tokens_reloaded");
}

/* ---- what the service asks ---- */

static gw_str token_of_our_name(const gw_service *s)
{
    return gw_service_tokens_find(s->tokens, gw_str_of(s->kind->conf->service));
}

gw_str gw_service_own_token(const gw_service *s)
{
    return s->tls ? GW_STR("") : token_of_our_name(s);
}

static gw_status read_secret(const char *path, gw_buf *ret, gw_error *err)
{
    char *bytes = malloc(SECRET_FILE_BYTES_MAX);
    size_t len = 0;
    if (!bytes)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the cursor key file");
    gw_status rc = secret_file_read(path, "cursor key file", bytes, &len, err);
    if (rc == GW_OK)
        gw_buf_append(ret, bytes, GW_MIN(len, CURSOR_SECRET_MAX));
    gw_secret_wipe(bytes, SECRET_FILE_BYTES_MAX);
    free(bytes);
    return rc;
}

gw_status gw_service_cursor_secret(const gw_service *s, const char *cursor_key_file, gw_buf *ret,
                                   gw_error *err)
{
    gw_status rc = GW_OK;
    if (cursor_key_file)
        rc = read_secret(cursor_key_file, ret, err);
    else
        gw_buf_append_str(ret, token_of_our_name(s));
    if (rc == GW_OK && ret->len < CURSOR_SECRET_MIN)
        rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                     "no key for cursors: %s has fewer than %d bytes of %s",
                     cursor_key_file ? cursor_key_file : "the service tokens", CURSOR_SECRET_MIN,
                     s->kind->conf->service);
    return rc;
}
