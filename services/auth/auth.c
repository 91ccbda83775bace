#include "auth.h"

void auth_key_changed(auth *a)
{
    gw_metric_add(a->metrics, M_auth_key_changes_total, 1, NULL, 0);
    key_feed_poke(a->feed);
    gw_redis_call(a->redis, NULL, NULL, GW_STR("PUBLISH"), GW_STR(KEY_CHANGES_CHANNEL),
                  GW_STR("1"));
}

int64_t auth_wall_ms(const auth *a)
{
    return gw_clock_wall_ms(gw_loop_clock(a->loop));
}
