/*
 * One log line under construction: JSON in a fixed space, so that a line costs no allocation and is
 * never over-long. Private to libs/log.
 *
 * Each member is written whole or cut at a character with "…"; one that has no room at all is left
 * out and `truncated` is set. The space for the line's end is kept free.
 */
#pragma once

#include "log/log.h"

#define GW_LOG_LINE_MAX  8192
#define GW_LOG_VALUE_MAX 2048 /* bytes of one encoded string */

typedef struct gw_log_line {
    char *bytes;
    size_t len;
    size_t limit; /* members stop here */
    bool truncated;
} gw_log_line;

void gw_log_line_init(gw_log_line *line, char *space, size_t limit);
void gw_log_line_raw(gw_log_line *line,
                     gw_str json); /* ready-made JSON; left out when it does not fit */
/* `,"name":value`; the comma is left out after "{". */
void gw_log_line_field(gw_log_line *line, const gw_log_field *field);
