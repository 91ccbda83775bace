#include "auth_conf.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const auth_conf *c = conf;
    gw_conf_needs(errs, "tls_cert_file", c->tls_cert_file, "tls_key_file", c->tls_key_file);
    gw_conf_needs(errs, "tls_key_file", c->tls_key_file, "tls_cert_file", c->tls_cert_file);
    gw_conf_needs(errs, "ops_tls", c->ops_tls ? "true" : NULL, "tls_cert_file", c->tls_cert_file);
}

#define GW_CONF_NAME    auth_conf
#define GW_CONF_DEF     "auth_conf.def"
#define GW_CONF_SERVICE "auth"
#define GW_CONF_PREFIX  "AUTH"
#define GW_CONF_USAGE   "[import FILE]"
/* What ./dev up tells its user, and other services' names for this one. */
#define GW_CONF_ENV_ALLOWED "AUTH_GRPC"
#define GW_CONF_CHECK       check
#include "conf/conf_table.h"
