#include "relay_conf.h"

/* RELAY_CREDENTIAL_* are the providers' credentials, read by name from the settings files; RELAY_URL,
 * RELAY_GRPC and RELAY_TARGET are how clients and the other services find a relay.
 * RELAY_REDIS_URL and RELAY_MASTER_KEYS_FILE belong to what comes with limits and signed requests: a
 * deployment may state them already. */
#define GW_CONF_NAME    relay_conf
#define GW_CONF_DEF     "relay_conf.def"
#define GW_CONF_SERVICE "relay"
#define GW_CONF_PREFIX  "RELAY"
#define GW_CONF_USAGE   "[spool inspect|export DIR]"
#define GW_CONF_ENV_ALLOWED                                                                        \
    "RELAY_CREDENTIAL_*", "RELAY_URL", "RELAY_GRPC", "RELAY_TARGET", "RELAY_REDIS_URL",            \
        "RELAY_MASTER_KEYS_FILE"
#include "conf/conf_table.h"
