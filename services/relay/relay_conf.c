#include "relay_conf.h"

/* RELAY_CREDENTIAL_* are the providers' credentials, read by name from the settings files; RELAY_URL and
 * RELAY_GRPC are what `./dev up` writes for users to export. */
#define GW_CONF_NAME        relay_conf
#define GW_CONF_DEF         "relay_conf.def"
#define GW_CONF_SERVICE     "relay"
#define GW_CONF_PREFIX      "RELAY"
#define GW_CONF_USAGE       "[spool inspect|export DIR]"
#define GW_CONF_ENV_ALLOWED "RELAY_CREDENTIAL_*", "RELAY_URL", "RELAY_GRPC"
#include "conf/conf_table.h"
