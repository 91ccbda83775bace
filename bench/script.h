/*
 * What the bench upstream is asked to answer, named by the request's model, in whatever dialect, so that every proxy passes it on
 * unchanged:
 *
 *   gpt-4o-mini                a JSON answer of about 700 bytes with usage
 *   gpt-4o-mini+size-65536     the same with that many bytes of content
 *   gpt-4o-mini+sse-250-25     a stream of 250 chunks, 25 a second, then usage and [DONE]
 *
 * Each chunk's content is "@" and the upstream's monotonic clock in ns as 19 digits: who reads it on the same machine
 * knows how long it was under way.
 */
#pragma once

#include "core/str.h"

#define SCRIPT_MODEL       "gpt-4o-mini"
#define SCRIPT_SIZE_SUFFIX "+size-"
#define SCRIPT_SSE_SUFFIX  "+sse-"
#define SCRIPT_TIME_MARK   '@'
#define SCRIPT_TIME_DIGITS 19

typedef struct script {
    int64_t size_bytes; /* 0: as it is */
    int64_t chunks; /* 0: no stream */
    int64_t chunks_per_s; /* > 0 for a stream */
} script;

script script_of_model(gw_str name);
/* The script that the JSON body of a chat completion names; the plain answer when it names none. */
script script_of_body(gw_str body);
