/*
 * Settings of auth (auth_conf.def): AUTH_*.
 */
#pragma once

#define GW_CONF_NAME auth_conf
#define GW_CONF_DEF  "auth_conf.def"
#include "conf/conf_struct.h"
