#include "retry_hint.h"

#include "json_members.h"

#include "core/clock.h"
#include "http/date.h"

#define SCALE_MAX  INT64_C(1000000000)
#define RETRY_INFO "type.googleapis.com/google.rpc.RetryInfo"

/* "12", "34.07": so many of `unit_ms`; the OpenAI SDKs read fractions as well. */
static int64_t read_number(gw_str text, int64_t unit_ms)
{
    int64_t ms = 0, rest = 0, scale = 1;
    size_t i = 0;

    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
        if (ms <= RETRY_HINT_MAX_MS)
            ms = ms * 10 + (text.ptr[i] - '0') * unit_ms;
    if (i == 0)
        return RETRY_HINT_NONE;
    if (i < text.len && text.ptr[i] == '.') {
        for (i++; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
            if (scale < SCALE_MAX) { /* more is less than can be told */
                rest = rest * 10 + (text.ptr[i] - '0');
                scale *= 10;
            }
    }
    if (i < text.len)
        return RETRY_HINT_NONE;
    return GW_MIN(ms + (rest * unit_ms + scale - 1) / scale, RETRY_HINT_MAX_MS);
}

static int64_t read_date(const retry_heads *h, int64_t wall_ms)
{
    int64_t then_s, now_s;

    if (!gw_http_date_parse(h->retry_after, &then_s))
        return RETRY_HINT_NONE;
    if (gw_http_date_parse(h->date, &now_s))
        wall_ms = now_s * GW_MS_PER_S;
    return GW_MIN(GW_MAX(then_s * GW_MS_PER_S - wall_ms, 0), RETRY_HINT_MAX_MS);
}

int64_t retry_hint_of_heads(const retry_heads *h, int64_t wall_ms)
{
    int64_t ms = read_number(h->retry_after_ms, 1);

    if (ms == RETRY_HINT_NONE)
        ms = read_number(h->retry_after, GW_MS_PER_S);
    return ms == RETRY_HINT_NONE ? read_date(h, wall_ms) : ms;
}

int64_t retry_hint_of_error(yyjson_val *error)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(error, "details"));
    yyjson_val *detail;

    while ((detail = yyjson_arr_iter_next(&it))) {
        gw_str delay = json_string(yyjson_obj_get(detail, "retryDelay"));
        if (yyjson_equals_str(yyjson_obj_get(detail, "@type"), RETRY_INFO) && delay.len > 0 &&
            delay.ptr[delay.len - 1] == 's')
            return read_number(gw_str_slice(delay, 0, delay.len - 1), GW_MS_PER_S);
    }
    return RETRY_HINT_NONE;
}
