#include "redis/target.h"

#include "core/url.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static gw_status read_scheme(const gw_url *url, bool *ret_is_tls, gw_error *err)
{
    *ret_is_tls = gw_str_eq_c(url->scheme, "rediss");
    if (!*ret_is_tls && !gw_str_eq_c(url->scheme, "redis"))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "a Redis URL starts with redis:// or rediss://");
    if (url->host.len == 0 || url->query.len > 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "a Redis URL has a host, and no query");
    return GW_OK;
}

static gw_status read_db(gw_str path, uint32_t *ret, gw_error *err)
{
    gw_str digits = gw_str_slice(path, 1, path.len);
    uint64_t db = 0;
    if (digits.len > 0 && (!gw_str_to_uint64(digits, &db) || db > 65535))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "the path of a Redis URL is the number of a database");
    *ret = (uint32_t)db;
    return GW_OK;
}

/* A copy without percent-coding (RFC 3986 §2.1). The messages never repeat the URL: it holds the password. */
static gw_status decode(gw_str text, char **ret, gw_error *err)
{
    char *copy = gw_str_dup(text);
    if (!copy)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    *ret = copy; /* the target's from here on */
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++, len++) {
        copy[len] = text.ptr[i];
        if (text.ptr[i] != '%')
            continue;
        if (!gw_hex_decode(gw_str_slice(text, i + 1, i + 3), &copy[len], 1) || copy[len] == '\0')
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                           "the user or password of a Redis URL is badly percent-coded");
        i += 2;
    }
    copy[len] = '\0';
    return GW_OK;
}

static gw_status read_credentials(gw_redis_target *t, gw_str userinfo, gw_str password,
                                  gw_error *err)
{
    ptrdiff_t colon = gw_str_find(userinfo, ':');
    if (userinfo.len > 0 && colon < 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "a Redis URL has user:password@ or :password@");
    gw_str user = gw_str_slice(userinfo, 0, colon < 0 ? 0 : (size_t)colon);
    gw_str secret = gw_str_slice(userinfo, (size_t)(colon + 1), userinfo.len);
    gw_status rc = decode(user, &t->user, err);
    if (rc != GW_OK || password.len == 0)
        return rc != GW_OK ? rc : decode(secret, &t->password, err);
    t->password = gw_str_dup(password);
    return t->password ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

gw_status gw_redis_target_init(gw_redis_target *t, const gw_redis_options *o, gw_error *err)
{
    *t = (gw_redis_target){.connect_timeout_ms =
                               o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 2000};
    gw_url url;
    if (gw_url_parse(o->url, &url, NULL) != GW_OK)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "the Redis URL is not redis[s]://[[user]:password@]host[:port][/db]");
    gw_status rc = read_scheme(&url, &t->is_tls, err);
    if (rc == GW_OK)
        rc = read_db(url.path, &t->db, err);
    if (rc == GW_OK)
        rc = read_credentials(t, url.userinfo, o->password, err);
    if (rc != GW_OK)
        return rc;
    t->port = url.port ? url.port : 6379;
    t->host = gw_str_dup(url.host);
    return t->host ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

void gw_redis_target_fini(gw_redis_target *t)
{
    if (t->password)
        OPENSSL_cleanse(t->password, strlen(t->password));
    free(t->password);
    free(t->user);
    free(t->host);
    gw_tls_context_free(t->tls);
    *t = (gw_redis_target){0};
}
