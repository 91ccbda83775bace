/* What a load run is told on its command line. */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>

enum { LOAD_WATCHED_MAX = 2 };

typedef struct load_options {
    const char *mode; /* "unary", "sse", "idle" or "bad" */
    uint16_t port; /* on 127.0.0.1 */
    const char *ca_file; /* PEM: TLS for "localhost"; NULL: plain */
    const char *key; /* the API key of every request */
    const char *keys_file; /* one key a line, used by Zipf's law; NULL: `key` alone */
    const char *model;
    size_t body_bytes; /* of a request, at least */
    size_t connections;
    double rate; /* unary and bad: requests a second at random times; 0: closed loop */
    double ramp; /* sse and idle: connections opened a second */
    bool streams; /* unary: asks for streams, which count when they are whole */
    bool messages; /* in Anthropic's dialect */
    bool closes; /* unary: a new connection for each request */
    double warmup_s; /* before anything counts */
    double seconds; /* that count */
    int watched[LOAD_WATCHED_MAX]; /* processes whose CPU and memory are read, together */
    size_t watched_count;
} load_options;

/* Texts are borrowed from argv. GW_ERR_INVALID_ARGUMENT says what is wrong. */
GW_CHECK gw_status load_options_parse(int argc, char **argv, load_options *ret, gw_error *err);
extern const char load_options_usage[];
