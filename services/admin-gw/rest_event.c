#include "rest_event.h"

#include "http/sse.h"
#include "rest_error.h"

gw_status rest_event_message(const ProtobufCMessage *m, gw_buf *out, gw_error *err)
{
    gw_auto_buf json = {0};
    gw_status rc = gw_json_write(m, &json, err);
    if (rc != GW_OK)
        return rc;
    if (!gw_buf_failed(&json))
        gw_sse_append_data(out, gw_buf_str(&json));
    if (gw_buf_failed(&json) || gw_buf_failed(out))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an event");
    return GW_OK;
}

void rest_event_error(const gw_error *why, const gw_json_violations *more, gw_str request_id,
                      gw_buf *out)
{
    gw_auto_buf json = {0};
    rest_error_write(why, more, request_id, &json);
    gw_buf_append_c(out, "event: error\n");
    gw_sse_append_data(out, gw_buf_str(&json));
}
