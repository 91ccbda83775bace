/*
 * Audit head: once an hour the newest entry's seq and hash go to the log, signed with a key from the
 * pepper file. Whoever rewrote the whole chain would have to rewrite the shipped logs as well.
 *
 * Thread: the loop's.
 */
#pragma once

#include "auth.h"

typedef struct audit_head audit_head;
GW_CHECK gw_status audit_head_new(auth *a, audit_head **ret, gw_error *err);
void audit_head_stop(audit_head *h);
void audit_head_free(audit_head *h); /* after gw_mongo_free */
GW_DEFINE_FREEP(audit_head)
