/*
 * Change subject: what a numbered change (key_changes.h) is of.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#define CHANGE_SUBJECT_ID_SIZE 129 /* a client id is the longest */

typedef enum change_kind {
    CHANGE_OF_KEY, /* id: ApiKey.key_id */
    CHANGE_OF_CLIENT_LIMITS, /* ApiKey.client_id */
    CHANGE_OF_OWNER_LIMITS, /* ApiKey.user_id */
} change_kind;

typedef struct change_subject {
    change_kind kind;
    char id[CHANGE_SUBJECT_ID_SIZE];
} change_subject;

static inline change_subject change_subject_of(change_kind kind, gw_str id)
{
    change_subject s = {.kind = kind};
    size_t n = GW_MIN(id.len, sizeof(s.id) - 1);
    if (n)
        memcpy(s.id, id.ptr, n);
    return s;
}
