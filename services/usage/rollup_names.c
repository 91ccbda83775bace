#include "rollup_names.h"

#include "owner_parts.h"
#include "usage_collections.h"

#include "core/clock.h"

#include <stdio.h>

rollup_kind rollup_kind_of(gw_str subject)
{
    if (gw_str_eq_c(subject, ALL_KEYS))
        return ROLLUP_ALL_KEYS;
    return owner_part_is(subject) ? ROLLUP_OWNERS : ROLLUP_KEY;
}

rollup_kind rollup_kind_of_id(gw_str id)
{
    gw_str subject = id;
    (void)gw_str_split(&id, '|', &subject);
    return rollup_kind_of(subject);
}

const char *rollup_hours_collection(rollup_kind kind)
{
    return kind == ROLLUP_OWNERS ? COLLECTION_OWNER_HOURS : COLLECTION_HOURS;
}

const char *rollup_days_collection(rollup_kind kind)
{
    static const char *const collections[] = {[ROLLUP_KEY] = COLLECTION_DAYS,
                                              [ROLLUP_ALL_KEYS] = COLLECTION_TOTALS,
                                              [ROLLUP_OWNERS] = COLLECTION_OWNERS};
    return collections[kind];
}

void rollup_hour_id(gw_str subject, int64_t time_ms, char out[ROLLUP_ID_SIZE])
{
    gw_date d = gw_date_of_ms(time_ms);
    (void)snprintf(out, ROLLUP_ID_SIZE, GW_STR_FMT "|%04d-%02d-%02dT%02d", GW_STR_ARG(subject),
                   d.year, d.month, d.day, d.hour);
}

void rollup_day_id(gw_str subject, int64_t time_ms, char out[ROLLUP_ID_SIZE])
{
    gw_date d = gw_date_of_ms(time_ms);
    (void)snprintf(out, ROLLUP_ID_SIZE, GW_STR_FMT "|%04d-%02d-%02d", GW_STR_ARG(subject), d.year,
                   d.month, d.day);
}
