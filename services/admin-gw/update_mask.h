/*
 * Update mask of PUT and PATCH: the members that stand in the body are what is written; what is
 * null is cleared, lists and maps go whole, an object is descended unless it is empty (which clears
 * what is in it). `?updateMask=` narrows that to the members it names.
 *
 * The `etag` of a body is a condition, not a value, and is never in the mask.
 *
 * Thread: reentrant.
 */
#pragma once

#include "json/json.h"

/*
 * The mask of `body` (JSON that gw_json_read took for `d`), in the arena: "name,limits.costLimit".
 * `narrow` is the query parameter's text, ptr NULL when it is not given. GW_ERR_INVALID_ARGUMENT:
 * the body has no member to write, or `narrow` names what the body does not hold.
 */
GW_CHECK gw_status update_mask_make(const ProtobufCMessageDescriptor *d, gw_str body, gw_str narrow,
                                    gw_arena *a, gw_str *ret, gw_error *err);
