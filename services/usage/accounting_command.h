/*
 * The command lines of usage, beside the service and with its settings of MongoDB:
 *
 *     usage rebuild --from T --to T [--dry-run]      every difference as a JSON line, then the counts
 *     usage rejects list|replay [--reason R]
 *     usage spool list
 *     usage spool lost ID
 *
 * JSON lines on stdout, errors in the log. Exit status 0, 1 when it failed, 2 when it was called
 * wrongly, 3 when a rebuild found differences.
 */
#pragma once

#include "usage_conf.h"

#include "log/log.h"

/* False when the positional arguments are no command of ours. */
bool accounting_command(const usage_conf *conf, gw_log *log, int *ret_exit_status);
