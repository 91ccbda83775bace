/*
 * Parameters of a chat request towards a provider of another dialect. Its adapter names those that it
 * honours; of the others
 *   - a value that asks for nothing (null, false, "n": 1, …) passes in silence,
 *   - a hint that does not change the answer (user, metadata, …) is left out and listed,
 *   - everything else is refused by name or, where the route says "drop", left out and listed.
 *
 * Thread: values; texts live in the job's arena.
 */
#pragma once

#include "adapter.h"

typedef struct adapter_params {
    const adapter_job *job;
    const char *provider; /* for messages: "Anthropic" */
    gw_buf ignored; /* names, comma separated */
} adapter_params;

void adapter_params_fini(adapter_params *p);
#define adapter_auto_params __attribute__((cleanup(adapter_params_fini))) adapter_params

/* Looks at every member of the body. GW_ERR_UNSUPPORTED_PARAMETER with the field. */
GW_CHECK gw_status adapter_params_check(adapter_params *p, const char *const *honoured,
                                        size_t count, gw_error *err);
/* One value of an honoured parameter cannot be. GW_OK: to be left out; else the error above. */
GW_CHECK gw_status adapter_params_refuse(adapter_params *p, const char *name, gw_error *err,
                                         const char *format, ...) GW_PRINTF(4, 5);
/* What was read of `name` gave `rc`. True: it is GW_ERR_UNSUPPORTED_PARAMETER, and the route says to leave it out; it is listed. */
bool adapter_params_drop(adapter_params *p, gw_status rc, const char *name);
/* Lists `name` once; one that is no token of a header is not. */
void adapter_params_ignore(adapter_params *p, gw_str name);
/* The list, in the arena; "" when it is empty. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status adapter_params_take(const adapter_params *p, gw_str *ret, gw_error *err);
