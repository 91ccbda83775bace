#include "usage_conf.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const usage_conf *c = conf;
    gw_conf_needs(errs, "tls_cert_file", c->tls_cert_file, "tls_key_file", c->tls_key_file);
    gw_conf_needs(errs, "tls_key_file", c->tls_key_file, "tls_cert_file", c->tls_cert_file);
    gw_conf_needs(errs, "ops_tls", c->ops_tls ? "true" : NULL, "tls_cert_file", c->tls_cert_file);
}

#define GW_CONF_NAME        usage_conf
#define GW_CONF_DEF         "usage_conf.def"
#define GW_CONF_SERVICE     "usage"
#define GW_CONF_PREFIX      "USAGE"
#define GW_CONF_ENV_ALLOWED "USAGE_GRPC"
#define GW_CONF_CHECK       check
#include "conf/conf_table.h"
