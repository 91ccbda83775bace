/*
 * `auth import FILE`: the process around import_run. Returns the exit status.
 */
#pragma once

#include "auth_conf.h"
#include "log/log.h"
#include "peppers.h"

int import_command(const auth_conf *conf, const peppers *p, gw_log *log);
