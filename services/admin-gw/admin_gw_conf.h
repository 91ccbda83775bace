/*
 * The settings of admin-gw, generated from admin_gw_conf.def (conf/conf.h).
 */
#pragma once

#define GW_CONF_NAME admin_gw_conf
#define GW_CONF_DEF  "admin_gw_conf.def"
#include "conf/conf_struct.h"
