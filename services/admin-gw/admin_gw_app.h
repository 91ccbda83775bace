/*
 * The process: everything admin-gw is made of, from start to drain.
 */
#pragma once

#include "admin_gw_conf.h"

/* Runs until SIGTERM or SIGINT; the exit status of the process. */
int admin_gw_app_run(const admin_gw_conf *conf);
