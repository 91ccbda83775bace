#include "admin_gw_conf.h"

#include "service/service.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const admin_gw_conf *c = conf;
    gw_conf_needs(errs, "listen_tls_cert_file", c->listen_tls_cert_file, "listen_tls_key_file",
                  c->listen_tls_key_file);
    gw_conf_needs(errs, "listen_tls_key_file", c->listen_tls_key_file, "listen_tls_cert_file",
                  c->listen_tls_cert_file);
    gw_service_check_conf(conf, errs);
}

/* ADMIN_GW_URL and ADMIN_GW_TARGET are how others find the gateway. */
#define GW_CONF_NAME        admin_gw_conf
#define GW_CONF_DEF         "admin_gw_conf.def"
#define GW_CONF_SERVICE     "admin-gw"
#define GW_CONF_PREFIX      "ADMIN_GW"
#define GW_CONF_ENV_ALLOWED "ADMIN_GW_URL", "ADMIN_GW_TARGET"
#define GW_CONF_CHECK       check
#include "conf/conf_table.h"
