/*
 * Cursor: where a list goes on, as opaque text that only we can make and that fits one list only.
 *
 * text = base64url(position, first 16 bytes of HMAC-SHA256(key, filters length, filters, position)).
 * The position is readable by whoever decodes it, so it holds nothing secret. `filters` is the
 * canonical text of all that decides which items are in the list (method, filters, order, not the
 * page size): a cursor of another list is refused.
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_CURSOR_KEY_SIZE     32
#define GW_CURSOR_POSITION_MAX 512 /* bytes */

/* Appends the cursor's text; out of memory shows in `out`. */
void gw_cursor_write(const uint8_t key[GW_CURSOR_KEY_SIZE], gw_str filters, gw_str position,
                     gw_buf *out);

/* Appends the position. GW_ERR_INVALID_ARGUMENT (field "cursor") when altered or of another list. */
GW_CHECK gw_status gw_cursor_read(const uint8_t key[GW_CURSOR_KEY_SIZE], gw_str filters,
                                  gw_str cursor, gw_buf *position, gw_error *err);
