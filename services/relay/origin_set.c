#include "origin_set.h"

#include "core/map.h"

#include "apirelay/auth/v1/key_access_service.pb-c.h"

#include <stdlib.h>

#define LIST_PATH   "/apirelay.auth.v1.KeyAccessService/ListOrigins"
#define REFRESH_MS  60000
#define DEBOUNCE_MS 250 /* changes that come together are read together */
#define RETRY_MS    500

struct origin_set {
    gw_loop *loop;
    origin_set_options o;
    gw_map *origins; /* to the set itself: there */
    bool incomplete;
    gw_timer timer;
    bool reading, again, failing, stopped;
};

static void read_origins(void *arg);

static void read_within(origin_set *s, int64_t delay_ms)
{
    if (!s->stopped)
        gw_timer_set(s->loop, &s->timer, delay_ms);
}

static bool take(origin_set *s, const Apirelay__Auth__V1__ListOriginsResponse *m)
{
    gw_auto(gw_map) now = gw_map_new(NULL);

    for (size_t i = 0; now && i < m->n_origins; i++)
        if (!gw_map_put(now, gw_str_of(m->origins[i]), s))
            return false;
    if (!now)
        return false;
    gw_map_free(s->origins);
    s->origins = gw_steal(&now);
    s->incomplete = m->incomplete;
    return true;
}

static void on_read(void *arg, gw_status rc, const ProtobufCMessage *response, const gw_error *err)
{
    origin_set *s = arg;
    bool again = s->again;

    s->reading = s->again = false;
    if (s->stopped)
        return;
    bool failed = rc != GW_OK ||
                  !take(s, (const Apirelay__Auth__V1__ListOriginsResponse *)(const void *)response);
    if (rc != GW_OK && !s->failing)
        gw_log_warn(s->o.log, "origins_unread", gw_kv_error(err));
    s->failing = failed;
    read_within(s, failed ? RETRY_MS : again ? DEBOUNCE_MS : REFRESH_MS);
}

static void read_origins(void *arg)
{
    origin_set *s = arg;
    Apirelay__Auth__V1__ListOriginsRequest m = APIRELAY__AUTH__V1__LIST_ORIGINS_REQUEST__INIT;
    const gw_rpc_call_options options = {
        .path = LIST_PATH,
        .response = &apirelay__auth__v1__list_origins_response__descriptor,
        .credential = s->o.service_token,
        .wait_for_ready = true,
    };

    s->reading = gw_rpc_unary(s->o.auth, &options, &m.base, on_read, s) != NULL;
    if (!s->reading)
        read_within(s, RETRY_MS);
}

void origin_set_refresh(origin_set *s)
{
    if (s->reading)
        s->again = true; /* what is being read may be from before the change */
    else if (!gw_timer_is_armed(&s->timer) ||
             s->timer.due_ms > gw_loop_now_ms(s->loop) + DEBOUNCE_MS)
        read_within(s, DEBOUNCE_MS);
}

bool origin_set_has(const origin_set *s, gw_str origin)
{
    return s && origin.len > 0 && s->origins &&
           (s->incomplete || gw_map_get(s->origins, origin) != NULL);
}

gw_status origin_set_new(gw_loop *l, const origin_set_options *o, origin_set **ret, gw_error *err)
{
    origin_set *s = calloc(1, sizeof(*s));

    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the set of origins");
    s->loop = l;
    s->o = *o;
    gw_timer_init(&s->timer, read_origins, s);
    read_origins(s);
    *ret = s;
    return GW_OK;
}

void origin_set_stop(origin_set *s)
{
    if (!s)
        return;
    s->stopped = true;
    gw_timer_cancel(s->loop, &s->timer);
}

void origin_set_free(origin_set *s)
{
    if (!s)
        return;
    gw_map_free(s->origins);
    free(s);
}

void origin_set_set_service_token(origin_set *s, gw_str token)
{
    s->o.service_token = token;
}
