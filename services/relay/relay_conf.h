/*
 * The relay's settings, generated from relay_conf.def (conf/conf.h).
 */
#pragma once

#define GW_CONF_NAME relay_conf
#define GW_CONF_DEF  "relay_conf.def"
#include "conf/conf_struct.h"
