/*
 * Violations: all that is wrong with one request or file, so that its maker mends it in one go.
 *
 * Paths are proto JSON names ("permissions.maxTokens", "providers[2].name"). At most GW_VIOLATIONS_MAX are kept.
 *
 * Thread: values.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_VIOLATIONS_MAX 16

typedef struct gw_violation {
    char field[96];
    char description[160];
} gw_violation;

typedef struct gw_violations {
    gw_violation items[GW_VIOLATIONS_MAX];
    size_t count;
} gw_violations;

void gw_violations_add(gw_violations *v, const char *field, const char *format, ...)
    GW_PRINTF(3, 4);

/* GW_OK when there is none, else GW_ERR_INVALID_ARGUMENT: `err` names the first field, its message all that fit. */
GW_CHECK gw_status gw_violations_status(const gw_violations *v, gw_error *err);

/* The same with the first one alone in `err` and the others in `further` (may be NULL). */
GW_CHECK gw_status gw_violations_split(const gw_violations *v, gw_error *err,
                                       gw_violations *further);
