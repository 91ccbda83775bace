#include "auth_conf.h"

#include "service/service.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const auth_conf *c = conf;
    const gw_tls_paths redis = {c->redis_cert_file, c->redis_key_file, c->redis_ca_file};
    gw_service_check_conf(conf, errs);
    gw_service_check_redis(c->redis_url, &redis, errs);
}

#define GW_CONF_NAME    auth_conf
#define GW_CONF_DEF     "auth_conf.def"
#define GW_CONF_SERVICE "auth"
#define GW_CONF_PREFIX  "AUTH"
#define GW_CONF_USAGE   "[import FILE | rotate-secrets]"
/* What ./dev up tells its user, and other services' names for this one. */
#define GW_CONF_ENV_ALLOWED "AUTH_GRPC"
#define GW_CONF_CHECK       check
#include "conf/conf_table.h"
