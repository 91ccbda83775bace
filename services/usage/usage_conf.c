#include "usage_conf.h"

#include "service/service.h"

#define GW_CONF_NAME        usage_conf
#define GW_CONF_DEF         "usage_conf.def"
#define GW_CONF_SERVICE     "usage"
#define GW_CONF_PREFIX      "USAGE"
#define GW_CONF_ENV_ALLOWED "USAGE_GRPC"
#define GW_CONF_CHECK       gw_service_check_conf
#include "conf/conf_table.h"
