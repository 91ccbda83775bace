/*
 * Violations: all that is wrong with one request, so that its maker mends it in one go.
 *
 * Paths are proto JSON names ("permissions.maxTokens"). At most VIOLATIONS_MAX are kept.
 * Thread: values.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define VIOLATIONS_MAX 16

typedef struct violation {
    char field[96];
    char description[160];
} violation;

typedef struct violations {
    violation items[VIOLATIONS_MAX];
    size_t count;
} violations;

void violations_add(violations *v, const char *field, const char *format, ...) GW_PRINTF(3, 4);

/* GW_OK when there is none, else GW_ERR_INVALID_ARGUMENT: `err` names the first field, its message all
 * that fit. */
GW_CHECK gw_status violations_status(const violations *v, gw_error *err);
