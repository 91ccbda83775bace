#include "spool_replay.h"

#include "recorder.h"

#include <stdio.h>
#include <unistd.h>

#define SYNC_MS 10
#define LOOK_MS 20

typedef struct replay {
    const spool_replay_options *o;
    gw_loop *loop;
    recorder *recorder;
    gw_timer look;
    int64_t claimed, due_ms; /* of the last progress; when patience is over */
    recorder_stats last;
} replay;

static bool has_spool(const char *dir)
{
    char path[4352];
    (void)snprintf(path, sizeof(path), "%.4096s/spool/state.0", dir);
    return access(path, F_OK) == 0;
}

static void on_closed(void *arg)
{
    replay *r = arg;
    r->recorder = NULL;
    gw_loop_stop(r->loop);
}

static bool is_over(const replay *r)
{
    return r->last.acked >= r->last.tail || r->last.set_aside > 0 ||
           gw_loop_now_ms(r->loop) >= r->due_ms;
}

static void look(void *arg)
{
    replay *r = arg;
    recorder_get_stats(r->recorder, &r->last);
    if (r->last.claimed > r->claimed) {
        r->claimed = r->last.claimed;
        r->due_ms = gw_loop_now_ms(r->loop) + r->o->patience_ms;
    }
    if (is_over(r))
        recorder_close(r->recorder, 0, on_closed, r);
    else
        gw_timer_set(r->loop, &r->look, LOOK_MS);
}

static gw_status judge(const replay *r, const spool_replay_report *report, gw_error *err)
{
    if (r->last.set_aside > 0)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "usage knows this spool from another disk: it was put aside in %s",
                       r->o->dir);
    if (report->left > 0)
        return gw_fail(err, GW_ERR_UNAVAILABLE, "usage has claimed nothing for %lld ms",
                       (long long)r->o->patience_ms);
    return GW_OK;
}

gw_status spool_replay_run(gw_loop *l, const spool_replay_options *o, spool_replay_report *ret,
                           gw_error *err)
{
    replay r = {.o = o, .loop = l};
    const recorder_options options = {.dir = o->dir,
                                      .lanes = 1,
                                      .slots_per_lane = 1,
                                      .sync_interval_ms = SYNC_MS,
                                      .spool_max_bytes = o->spool_max_bytes,
                                      .usage = o->usage,
                                      .service_token = o->service_token,
                                      .clock = &gw_system_clock,
                                      .log = o->log};
    *ret = (spool_replay_report){0};
    if (!has_spool(o->dir))
        return gw_fail(err, GW_ERR_NOT_FOUND, "%s: no spool", o->dir);
    gw_status rc = recorder_open(l, &options, &r.recorder, err);
    if (rc != GW_OK)
        return rc;
    gw_timer_init(&r.look, look, &r);
    recorder_get_stats(r.recorder, &r.last);
    ret->events = r.last.tail - r.last.acked;
    r.due_ms = gw_loop_now_ms(l) + o->patience_ms;
    look(&r);
    while (r.recorder)
        gw_loop_run(l);
    ret->claimed = r.last.claimed;
    ret->left = ret->events - ret->claimed;
    return judge(&r, ret, err);
}
