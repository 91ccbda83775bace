#include "admin_gw_conf.h"

/* ADMIN_GW_URL and ADMIN_GW_TARGET are how others find the gateway. */
#define GW_CONF_NAME        admin_gw_conf
#define GW_CONF_DEF         "admin_gw_conf.def"
#define GW_CONF_SERVICE     "admin-gw"
#define GW_CONF_PREFIX      "ADMIN_GW"
#define GW_CONF_ENV_ALLOWED "ADMIN_GW_URL", "ADMIN_GW_TARGET"
#include "conf/conf_table.h"
