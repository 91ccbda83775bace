#include "rest_error.h"

static void write_violation(gw_buf *out, bool first, gw_str field, gw_str description)
{
    gw_buf_append_c(out, first ? "{\"field\":" : ",{\"field\":");
    gw_buf_append_json(out, field);
    gw_buf_append_c(out, ",\"description\":");
    gw_buf_append_json(out, description);
    gw_buf_append_char(out, '}');
}

static bool names_field(gw_str message, gw_str field)
{
    return gw_str_starts_with(message, field) &&
           gw_str_starts_with(gw_str_slice(message, field.len, message.len), GW_STR(": "));
}

/* The message of a violation may start with its field; beside the field that is said already. */
static gw_str without_field(gw_str message, gw_str field)
{
    return names_field(message, field) ? gw_str_slice(message, field.len + 2, message.len)
                                       : message;
}

/* Who shows the message alone has to say what is wrong where. */
static void write_message(const gw_error *err, gw_buf *out)
{
    gw_error named = *err;

    if (err->code == GW_ERR_INVALID_ARGUMENT && err->field[0] &&
        !names_field(gw_str_of(err->message), gw_str_of(err->field)))
        (void)gw_error_prefix(&named, "%s", err->field);
    gw_buf_append_json(out, gw_str_of(named.message));
}

static void write_bad_request(const gw_error *err, const gw_json_violations *more, gw_buf *out)
{
    gw_str field = gw_str_of(err->field);
    gw_buf_append_c(out, "{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\","
                         "\"fieldViolations\":[");
    write_violation(out, true, field, without_field(gw_str_of(err->message), field));
    for (size_t i = 0; more && i < more->count; i++)
        write_violation(out, false, gw_str_of(more->items[i].field),
                        gw_str_of(more->items[i].description));
    gw_buf_append_c(out, "]},");
}

void rest_error_write(const gw_error *err, const gw_json_violations *more, gw_str request_id,
                      gw_buf *out)
{
    const gw_status_info *info = gw_status_describe(err->code);
    gw_buf_appendf(out, "{\"error\":{\"code\":%d,\"status\":\"%s\",\"message\":", info->http_status,
                   gw_rpc_code_name(info->rpc_code));
    write_message(err, out);
    gw_buf_append_c(out, ",\"details\":[");
    if (err->field[0])
        write_bad_request(err, more, out);
    gw_buf_appendf(out,
                   "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"%s\","
                   "\"domain\":\"apirelay\"}",
                   info->name);
    if (request_id.len > 0) {
        gw_buf_append_c(out, ",{\"@type\":\"type.googleapis.com/google.rpc.RequestInfo\","
                             "\"requestId\":");
        gw_buf_append_json(out, request_id);
        gw_buf_append_char(out, '}');
    }
    gw_buf_append_c(out, "]}}");
}
