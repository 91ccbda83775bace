/*
 * UTF-8 (RFC 3629, Unicode 15 table 3-7), one character at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Bytes of the character at `text` (1-4) and *ret_ok = true. On an ill-formed sequence the bytes of
 * its maximal subpart (>= 1: what one U+FFFD replaces) and *ret_ok = false. `len` > 0.
 */
size_t gw_utf8_next(const char *text, size_t len, bool *ret_ok);
