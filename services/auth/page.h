/*
 * Page: size and cursor of a list request.
 *
 * Thread: pure.
 */
#pragma once

#include "core/arena.h"
#include "peppers.h"

#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500

/* GW_ERR_INVALID_ARGUMENT (field "pageSize") below 0 or over 500; 0 means 50. */
GW_CHECK gw_status page_size(int32_t asked, int64_t *ret, gw_error *err);
/* The position in `cursor`, "" when there is no cursor; `filters` is the list's canonical text. */
GW_CHECK gw_status page_position(gw_arena *a, const peppers *p, gw_str filters, const char *cursor,
                                 gw_str *ret, gw_error *err);
/* The cursor after `position`, as a message's text. */
char *page_cursor(gw_arena *a, const peppers *p, gw_str filters, gw_str position);
/* Appends one filter to the canonical text, so that no two lists have the same. */
void page_filter(gw_buf *filters, const char *name, const char *value);
