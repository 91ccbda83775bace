/*
 * Settings of usage (usage_conf.def).
 */
#pragma once

#define GW_CONF_NAME usage_conf
#define GW_CONF_DEF  "usage_conf.def"
#include "conf/conf_struct.h"
