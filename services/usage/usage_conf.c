#include "usage_conf.h"

#include "service/service.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const usage_conf *c = conf;
    const gw_tls_paths redis = {c->redis_cert_file, c->redis_key_file, c->redis_ca_file};
    gw_service_check_conf(conf, errs);
    gw_service_check_mongo(c->mongo_uri, errs);
    gw_service_check_redis(c->redis_url, &redis, errs);
    gw_service_check_cursor_key(conf, c->cursor_key_file, errs);
}

#define GW_CONF_NAME        usage_conf
#define GW_CONF_DEF         "usage_conf.def"
#define GW_CONF_SERVICE     "usage"
#define GW_CONF_PREFIX      "USAGE"
#define GW_CONF_USAGE       "[rebuild | rejects list | rejects replay | spool list | spool lost ID]"
#define GW_CONF_ENV_ALLOWED "USAGE_GRPC"
#define GW_CONF_CHECK       check
#include "conf/conf_table.h"
