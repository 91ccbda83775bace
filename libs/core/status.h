/*
 * Errors: one code, one detail, one table of how each dialect shows them (err.def).
 *
 * gw_status is the code a function returns; gw_error is the detail that whoever detected the
 * failure filled in, once, at the place of the failure. Callers in between pass both on untouched.
 *
 * Thread: values; nothing here is shared.
 */
#pragma once

#include "core/macros.h"

#include <stdarg.h>
#include <stdbool.h>

typedef enum gw_status {
    GW_OK = 0,
#define GW_ERR(name, grpc, http, openai_type, openai_code, anthropic_type, retry) GW_ERR_##name,
#include "core/err.def"
#undef GW_ERR
    GW_STATUS_COUNT
} gw_status;

/* The numbers of google/rpc/code.proto (equal to grpc_status_code). */
typedef enum gw_rpc_code {
    GW_RPC_OK = 0,
    GW_RPC_CANCELLED = 1,
    GW_RPC_UNKNOWN = 2,
    GW_RPC_INVALID_ARGUMENT = 3,
    GW_RPC_DEADLINE_EXCEEDED = 4,
    GW_RPC_NOT_FOUND = 5,
    GW_RPC_ALREADY_EXISTS = 6,
    GW_RPC_PERMISSION_DENIED = 7,
    GW_RPC_RESOURCE_EXHAUSTED = 8,
    GW_RPC_FAILED_PRECONDITION = 9,
    GW_RPC_ABORTED = 10,
    GW_RPC_OUT_OF_RANGE = 11,
    GW_RPC_UNIMPLEMENTED = 12,
    GW_RPC_INTERNAL = 13,
    GW_RPC_UNAVAILABLE = 14,
    GW_RPC_DATA_LOSS = 15,
    GW_RPC_UNAUTHENTICATED = 16,
} gw_rpc_code;

/* One row of err.def; strings are static. GW_OK's row is named "OK" (200). */
typedef struct gw_status_info {
    const char *name; /* "KEY_INVALID" */
    gw_rpc_code rpc_code;
    int http_status;
    const char *openai_type;
    const char *openai_code;
    const char *anthropic_type;
    bool may_retry;
} gw_status_info;

/* For people: it names the thing and never holds a secret or a prompt. Truncated at the sizes
 * below, never mid-UTF-8. */
typedef struct gw_error {
    gw_status code;
    char field[96]; /* path of the offending field ("permissions.maxTokens"), "" when none */
    char message[400]; /* UTF-8, no trailing full stop needed */
} gw_error;

const gw_status_info *gw_status_describe(gw_status code);

/* The code named `name` ("KEY_INVALID"), GW_ERR_INTERNAL when unknown: a peer may be newer than we
 * are. */
gw_status gw_status_from_name(const char *name);

/* The general code of a gRPC status, for peers that sent no name. GW_RPC_OK gives GW_OK. */
gw_status gw_status_from_rpc(gw_rpc_code code);

/* "INVALID_ARGUMENT" for GW_RPC_INVALID_ARGUMENT; "UNKNOWN" for numbers outside the table. */
const char *gw_rpc_code_name(gw_rpc_code code);

/* HTTP status of a gRPC code (google/rpc/code.proto: 3 -> 400, 16 -> 401, …). */
int gw_rpc_code_http(gw_rpc_code code);

/* Fills `err` (NULL is fine) and returns `code`, so that a failure is one line: return gw_fail(err,
 * …); */
gw_status gw_fail(gw_error *err, gw_status code, const char *format, ...) GW_PRINTF(3, 4);
gw_status gw_vfail(gw_error *err, gw_status code, const char *format, va_list args) GW_PRINTF(3, 0);

/* The same, naming the field at fault: the OpenAI error's `param`, AIP-193's field violation. */
gw_status gw_fail_field(gw_error *err, gw_status code, const char *field, const char *format, ...)
    GW_PRINTF(4, 5);

/* Puts "<prefix>: " before the message of a filled error; returns its code (INTERNAL for NULL). */
gw_status gw_error_prefix(gw_error *err, const char *format, ...) GW_PRINTF(2, 3);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time; this tells it that a failure returns its code. */
static inline gw_status gw_status_same(gw_status rc, gw_status code)
{
    (void)rc;
    return code;
}
#define gw_fail(err, code, ...) gw_status_same(gw_fail(err, code, __VA_ARGS__), code)
#define gw_fail_field(err, code, field, ...)                                                       \
    gw_status_same(gw_fail_field(err, code, field, __VA_ARGS__), code)
#endif
