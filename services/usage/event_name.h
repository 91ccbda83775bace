/*
 * Event name: of a packed UsageEvent what says by which name of a model it is summed up, without unpacking it.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

typedef struct event_name {
    int64_t timestamp_ms;
    gw_str model, route; /* views into the event */
    /* where upstream_accepted says that the name counts; 0: it does not say so */
    size_t accepted_at, accepted_len;
} event_name;

/* False when these bytes are no message. Of a field that comes more than once the last counts. */
GW_CHECK bool event_name_read(gw_str packed, event_name *ret);
/* Makes an event whose name counts count under its route. It stays as long as it was. */
void event_name_drop(char *packed, const event_name *name);
