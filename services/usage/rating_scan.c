#include "rating_scan.h"

#include "mongo/bson_read.h"

static bool is_over(const rating_scan *s)
{
    return s->rows >= s->bounds.rows || gw_clock_mono_ms(s->clock) >= s->bounds.stop_ms;
}

static bool is_asked_for(const Apirelay__Usage__V1__RateUsageRequest *r, const bson_t *row)
{
    gw_str s = GW_STR("");
    if (*r->model && !(gw_bson_str(row, "request.model", &s) && gw_str_eq_c(s, r->model)))
        return false;
    return *r->client_id == '\0' ||
           (gw_bson_str(row, "clientId", &s) && gw_str_eq_c(s, r->client_id));
}

gw_status rating_scan_row(void *arg, const bson_t *row, gw_error *err)
{
    rating_scan *s = arg;
    int64_t at_ms = s->last_ms;
    (void)gw_bson_date_ms(row, "timestamp", &at_ms);
    if (s->rows > 0 && at_ms != s->last_ms && is_over(s)) {
        s->is_cut = true;
        s->next_ms = at_ms;
        return gw_fail(err, GW_ERR_CANCELLED, "as many rows as one call looks at");
    }
    s->last_ms = at_ms;
    s->rows++;
    return is_asked_for(s->asked, row) ? rating_add(s->rating, row, err) : GW_OK;
}
