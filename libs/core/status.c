#include "core/status.h"

#include "core/str.h"
#include "core/utf8.h"

#include <stdio.h>

static const gw_status_info infos[GW_STATUS_COUNT] = {
    [GW_OK] = {"OK", GW_RPC_OK, 200, "", "", "", false},
#define GW_ERR(name, grpc, http, openai_type, openai_code, anthropic_type, retry)                  \
    [GW_ERR_##name] = {#name, GW_RPC_##grpc, http, openai_type, openai_code, anthropic_type, retry},
#include "core/err.def"
#undef GW_ERR
};

typedef struct rpc_row {
    const char *name;
    int http_status;
    gw_status general;
} rpc_row;

static const rpc_row rpc_rows[] = {
    [GW_RPC_OK] = {"OK", 200, GW_OK},
    [GW_RPC_CANCELLED] = {"CANCELLED", 499, GW_ERR_CANCELLED},
    [GW_RPC_UNKNOWN] = {"UNKNOWN", 500, GW_ERR_INTERNAL},
    [GW_RPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", 400, GW_ERR_INVALID_ARGUMENT},
    [GW_RPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", 504, GW_ERR_DEADLINE_EXCEEDED},
    [GW_RPC_NOT_FOUND] = {"NOT_FOUND", 404, GW_ERR_NOT_FOUND},
    [GW_RPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", 409, GW_ERR_ALREADY_EXISTS},
    [GW_RPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", 403, GW_ERR_PERMISSION_DENIED},
    [GW_RPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", 429, GW_ERR_OVERLOADED},
    [GW_RPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", 400, GW_ERR_FAILED_PRECONDITION},
    [GW_RPC_ABORTED] = {"ABORTED", 409, GW_ERR_ABORTED},
    [GW_RPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", 400, GW_ERR_OUT_OF_RANGE},
    [GW_RPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", 501, GW_ERR_UNIMPLEMENTED},
    [GW_RPC_INTERNAL] = {"INTERNAL", 500, GW_ERR_INTERNAL},
    [GW_RPC_UNAVAILABLE] = {"UNAVAILABLE", 503, GW_ERR_UNAVAILABLE},
    [GW_RPC_DATA_LOSS] = {"DATA_LOSS", 500, GW_ERR_DATA_LOSS},
    [GW_RPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", 401, GW_ERR_UNAUTHENTICATED},
};

static const rpc_row *rpc_row_of(gw_rpc_code code)
{
    size_t index = (size_t)code;
    return &rpc_rows[index < GW_ARRAY_LEN(rpc_rows) ? index : GW_RPC_UNKNOWN];
}

const gw_status_info *gw_status_describe(gw_status code)
{
    size_t index = (size_t)code;
    return &infos[index < GW_ARRAY_LEN(infos) ? index : GW_ERR_INTERNAL];
}

gw_status gw_status_from_name(const char *name)
{
    for (size_t i = 0; name && i < GW_ARRAY_LEN(infos); i++) {
        if (strcmp(infos[i].name, name) == 0)
            return (gw_status)i;
    }
    return GW_ERR_INTERNAL;
}

gw_status gw_status_from_rpc(gw_rpc_code code)
{
    return rpc_row_of(code)->general;
}

const char *gw_rpc_code_name(gw_rpc_code code)
{
    return rpc_row_of(code)->name;
}

int gw_rpc_code_http(gw_rpc_code code)
{
    return rpc_row_of(code)->http_status;
}

/* Foreign text gets into messages; they travel as JSON and protobuf strings, which must be UTF-8.
 */
static void copy_utf8(char *to, size_t size, const char *from)
{
    size_t used = 0;
    size_t left = strlen(from);
    while (left > 0) {
        bool ok;
        size_t n = gw_utf8_next(from, left, &ok);
        if (used + (ok ? n : 1) >= size)
            break;
        if (ok) {
            memcpy(to + used, from, n);
            used += n;
        } else {
            to[used++] = '?';
        }
        from += n;
        left -= n;
    }
    to[used] = '\0';
}

gw_status gw_vfail(gw_error *err, gw_status code, const char *format, va_list args)
{
    if (err) {
        /* Longer by one character than what fits: a character cut by vsnprintf is dropped by
         * copy_utf8. */
        char text[sizeof(err->message) + 4];
        if (vsnprintf(text, sizeof(text), format, args) < 0)
            text[0] = '\0';
        err->code = code;
        err->field[0] = '\0';
        copy_utf8(err->message, sizeof(err->message), text);
    }
    return code;
}

gw_status(gw_fail)(gw_error *err, gw_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_vfail(err, code, format, args);
    va_end(args);
    return code;
}

gw_status(gw_fail_field)(gw_error *err, gw_status code, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_vfail(err, code, format, args);
    va_end(args);
    if (err && field)
        copy_utf8(err->field, sizeof(err->field), field);
    return code;
}

gw_status gw_error_prefix(gw_error *err, const char *format, ...)
{
    if (!err)
        return GW_ERR_INTERNAL;
    char text[2 * sizeof(err->message) + 2];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(err->message), format, args);
    va_end(args);
    if (n < 0)
        return err->code;
    size_t used = strlen(text);
    (void)snprintf(text + used, sizeof(text) - used, ": %s", err->message);
    copy_utf8(err->message, sizeof(err->message), text);
    return err->code;
}
