/*
 * Dates of HTTP (RFC 9110 §5.6.7), as libcurl reads them: the preferred form and the two obsolete ones.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>

/* Seconds since 1970 to *ret. False when it is no date. */
bool gw_http_date_parse(gw_str text, int64_t *ret);
