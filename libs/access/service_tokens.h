/*
 * Service tokens: who may call as which service where TLS does not tell. A file of lines
 *
 *     <service> lcsvc_<secret>
 *
 * with `#` comments; a service may have several tokens, so that they can be changed without a gap.
 * service: [a-z][a-z0-9-]{0,31}; secret: 32-200 characters of [A-Za-z0-9_-].
 *
 * Thread: immutable between load and reload, which are the loop's.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"
#include "log/log.h"

#define GW_SERVICE_TOKEN_PREFIX "lcsvc_"

typedef struct gw_service_tokens gw_service_tokens;

/*
 * Bad lines are all named by number, never by content; a file that others can read is a warning in
 * the log (NULL is fine). GW_ERR_INVALID_ARGUMENT, GW_ERR_IO.
 */
GW_CHECK gw_status gw_service_tokens_load(const char *path, gw_log *log, gw_service_tokens **ret,
                                          gw_error *err);
void gw_service_tokens_free(gw_service_tokens *t); /* wipes them */
GW_DEFINE_FREEP(gw_service_tokens)

/*
 * Reads the file again. Tokens change only when the whole file is good and still has one of `needed` ("": of nobody in
 * particular); *ret_changed says whether they did. Texts had before live until the next reload that changes something.
 */
GW_CHECK gw_status gw_service_tokens_reload(gw_service_tokens *t, gw_str needed, gw_log *log,
                                            bool *ret_changed, gw_error *err);

/* The first token of a service, to call others with; "" when it has none, or `t` is NULL (TLS tells who we are). */
gw_str gw_service_tokens_find(const gw_service_tokens *t, gw_str service);

/* The service whose token it is; "" when none. Takes the same time for every token. */
gw_str gw_service_tokens_match(const gw_service_tokens *t, gw_str token);
