#include "relay_conf.h"

#include "oidc_signer.h"

#include "crypto/rsa_key.h"
#include "service/service.h"

#define BREAKER_OPEN_MIN_MS 100
#define LEASE_MIN_MS        500 /* a statement that is lost is repeated within it */

/* What is wrong with files that can be read; whether they can is asked of every one that is named. */
static void check_files(const void *conf, gw_conf_errors *errs)
{
    const relay_conf *c = conf;
    gw_auto(gw_rsa_key) key = NULL;
    gw_rsa_key *others[GW_RSA_KEYS_MAX];
    size_t count = 0;
    gw_error why;

    if (c->oidc_key_file &&
        gw_rsa_key_load(c->oidc_key_file, &key, &why) == GW_ERR_INVALID_ARGUMENT)
        gw_conf_wrong(errs, "oidc_key_file", "%s", why.message);
    if (c->oidc_old_key_file &&
        gw_rsa_keys_load(c->oidc_old_key_file, others, &count, &why) == GW_ERR_INVALID_ARGUMENT)
        gw_conf_wrong(errs, "oidc_old_key_file", "%s", why.message);
    while (count > 0)
        gw_rsa_key_free(others[--count]);
}

static void check_sign_in(const relay_conf *c, gw_conf_errors *errs)
{
    gw_error why;

    gw_conf_needs(errs, "oidc_issuer", c->oidc_issuer, "oidc_key_file", c->oidc_key_file);
    gw_conf_needs(errs, "oidc_key_file", c->oidc_key_file, "oidc_issuer", c->oidc_issuer);
    gw_conf_needs(errs, "oidc_old_key_file", c->oidc_old_key_file, "oidc_key_file",
                  c->oidc_key_file);
    if (c->oidc_issuer && oidc_issuer_check(c->oidc_issuer, &why) != GW_OK)
        gw_conf_wrong(errs, "oidc_issuer", "%s", why.message);
}

static void check(const void *conf, gw_conf_errors *errs)
{
    const relay_conf *c = conf;
    const gw_tls_paths redis = {c->redis_cert_file, c->redis_key_file, c->redis_ca_file};
    gw_conf_needs(errs, "listen_tls_cert_file", c->listen_tls_cert_file, "listen_tls_key_file",
                  c->listen_tls_key_file);
    gw_conf_needs(errs, "listen_tls_key_file", c->listen_tls_key_file, "listen_tls_cert_file",
                  c->listen_tls_cert_file);
    gw_conf_needs(errs, "upstream_cert_file", c->upstream_cert_file, "upstream_key_file",
                  c->upstream_key_file);
    gw_conf_needs(errs, "upstream_key_file", c->upstream_key_file, "upstream_cert_file",
                  c->upstream_cert_file);
    check_sign_in(c, errs);
    if (c->breaker_open_ms < BREAKER_OPEN_MIN_MS)
        gw_conf_wrong(errs, "breaker_open_ms", "must be at least %d ms", BREAKER_OPEN_MIN_MS);
    if (c->ledger_lease_ms < LEASE_MIN_MS)
        gw_conf_wrong(errs, "ledger_lease_ms", "must be at least %d ms", LEASE_MIN_MS);
    if (c->ledger_quarantine_ms <= c->ledger_lease_ms)
        gw_conf_wrong(errs, "ledger_quarantine_ms",
                      "must be longer than ledger_lease_ms: what was lent before Redis lost data "
                      "is still spent");
    gw_service_check_conf(conf, errs);
    gw_service_check_mongo(c->mongo_uri, errs);
    gw_service_check_redis(c->redis_url, &redis, errs);
    gw_service_check_cursor_key(conf, c->cursor_key_file, errs);
}

/* RELAY_CREDENTIAL_* are the providers' credentials, read by name from the settings files; RELAY_URL and
 * RELAY_GRPC are what `./dev up` writes for users to export. */
#define GW_CONF_NAME        relay_conf
#define GW_CONF_DEF         "relay_conf.def"
#define GW_CONF_SERVICE     "relay"
#define GW_CONF_PREFIX      "RELAY"
#define GW_CONF_USAGE       "[spool inspect|export|replay DIR]"
#define GW_CONF_ENV_ALLOWED "RELAY_CREDENTIAL_*", "RELAY_URL", "RELAY_GRPC"
#define GW_CONF_CHECK       check
#define GW_CONF_CHECK_FILES check_files
#include "conf/conf_table.h"
