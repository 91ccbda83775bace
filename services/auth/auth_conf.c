#include "auth_conf.h"

#include "service/service.h"

#define GW_CONF_NAME    auth_conf
#define GW_CONF_DEF     "auth_conf.def"
#define GW_CONF_SERVICE "auth"
#define GW_CONF_PREFIX  "AUTH"
#define GW_CONF_USAGE   "[import FILE]"
/* What ./dev up tells its user, and other services' names for this one. */
#define GW_CONF_ENV_ALLOWED "AUTH_GRPC"
#define GW_CONF_CHECK       gw_service_check_conf
#include "conf/conf_table.h"
