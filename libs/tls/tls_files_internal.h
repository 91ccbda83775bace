/*
 * What libs/tls' own tests may say about gw_tls_files. Not for others.
 */
#pragma once

#include "tls/tls_files.h"

/* gw_tls_files_new() with how often the files are looked at. */
GW_CHECK gw_status tls_files_open(gw_loop *l, const gw_tls_paths *paths, unsigned interval_ms,
                                  gw_log *log, gw_tls_files **ret, gw_error *err);
