#include "auth_conf.h"

#include "admin_rules.h"
#include "key_mint.h"

#include "service/service.h"

#include <stdio.h>

/* Whom setup.c makes. */
static void check_first_admin(const auth_conf *c, gw_conf_errors *errs)
{
    gw_violations v = {0};
    gw_str id;

    gw_conf_needs(errs, "owner_username", c->owner_username, "owner_password", c->owner_password);
    gw_conf_needs(errs, "owner_password", c->owner_password, "owner_username", c->owner_username);
    if (c->owner_username)
        admin_check_username(c->owner_username, &v);
    if (c->owner_password)
        admin_check_password(c->owner_password, &v);
    for (size_t i = 0; i < v.count; i++) {
        char setting[sizeof(v.items[i].field) + sizeof("owner_")];
        (void)snprintf(setting, sizeof(setting), "owner_%s", v.items[i].field);
        gw_conf_wrong(errs, setting, "%s", v.items[i].description);
    }
    if (c->bootstrap_admin_key && !admin_key_parse(gw_str_of(c->bootstrap_admin_key), &id))
        gw_conf_wrong(errs, "bootstrap_admin_key", "must be lcadm_ and 44 characters of base62");
}

static void check(const void *conf, gw_conf_errors *errs)
{
    const auth_conf *c = conf;
    const gw_tls_paths redis = {c->redis_cert_file, c->redis_key_file, c->redis_ca_file};
    gw_service_check_conf(conf, errs);
    check_first_admin(c, errs);
    gw_service_check_mongo(c->mongo_uri, errs);
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
