#include "messages_error.h"

#define OVERLOADED_STATUS 529

/* Of what an upstream refused in its own words, by the status it gave. */
static const char *type_of_status(int status)
{
    switch (status) {
    case 402:
        return "billing_error";
    case 404:
        return "not_found_error";
    case 409:
        return "conflict_error";
    case 413:
        return "request_too_large";
    default:
        return "invalid_request_error";
    }
}

void messages_error_adapt(openai_error *e)
{
    const gw_status_info *row = gw_status_describe(e->error.code);

    e->type = gw_str_of(row->anthropic_type);
    if (e->error.code == GW_ERR_UPSTREAM_REJECTED)
        e->type = gw_str_of(type_of_status(e->http_status));
    if (gw_str_eq_c(e->type, "overloaded_error"))
        e->http_status = OVERLOADED_STATUS;
}

/* "messages[0].content: …", unless the message names it itself. */
static void append_message(const openai_error *e, gw_buf *out)
{
    gw_str text = e->message.ptr ? e->message : gw_str_of(e->error.message);
    gw_str field = e->param.ptr ? e->param : gw_str_of(e->error.field);
    gw_auto_buf named = {0};

    if (e->http_status == 400 && field.len > 0 && !gw_str_contains(text, field)) {
        gw_buf_append_str(&named, field);
        gw_buf_append_c(&named, ": ");
    }
    gw_buf_append_str(&named, text);
    gw_buf_append_json(out, gw_buf_str(&named));
}

void messages_error_write(const openai_error *e, gw_str request_id, gw_buf *out)
{
    gw_buf_append_c(out, "{\"type\":\"error\",\"error\":{\"type\":");
    gw_buf_append_json(out, e->type);
    gw_buf_append_c(out, ",\"message\":");
    append_message(e, out);
    if (e->code.ptr) {
        gw_buf_append_c(out, ",\"details\":{\"error_code\":");
        gw_buf_append_json(out, e->code);
        gw_buf_append_char(out, '}');
    }
    gw_buf_append_c(out, "},\"request_id\":");
    if (request_id.len > 0)
        gw_buf_append_json(out, request_id);
    else
        gw_buf_append_c(out, "null");
    gw_buf_append_char(out, '}');
}

void messages_error_write_event(const openai_error *e, gw_str request_id, gw_buf *out)
{
    gw_buf_append_c(out, "event: error\ndata: ");
    messages_error_write(e, request_id, out);
    gw_buf_append_c(out, "\n\n");
}
