#include "spool_command.h"

#include "relay_conf.h"
#include "spool_replay.h"

#include "rpc/client.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 30000 /* as long as a relay waits for an acknowledgement */

static gw_status replay(gw_service *s, const char *dir, gw_error *err)
{
    const relay_conf *conf = s->conf;
    const char *target = conf->to ? conf->to : conf->usage_target;
    spool_replay_report report;
    gw_auto(gw_rpc_pump) pump = NULL;
    gw_auto(gw_rpc_channel) usage = NULL;
    gw_status rc = gw_rpc_pump_new(s->loop, &pump, err);
    if (rc == GW_OK)
        rc = gw_rpc_channel_new(pump, target, s->tls, s->log, &usage, err);
    if (rc != GW_OK)
        return rc;
    const spool_replay_options o = {.dir = dir,
                                    .spool_max_bytes = conf->spool_max_bytes,
                                    .usage = usage,
                                    .service_token = gw_service_own_token(s),
                                    .patience_ms = PATIENCE_MS,
                                    .log = s->log};
    rc = spool_replay_run(s->loop, &o, &report, err);
    (void)printf("{\"events\":%lld,\"claimed\":%lld,\"left\":%lld}\n", (long long)report.events,
                 (long long)report.claimed, (long long)report.left);
    return rc;
}

bool spool_command(gw_service *s, int *ret_exit_status)
{
    const relay_conf *conf = s->conf;
    const char *const *args = conf->base.args;
    gw_error err = {0};
    if (conf->base.n_args != 3 || strcmp(args[0], "spool") != 0 || strcmp(args[1], "replay") != 0)
        return false;
    gw_status rc = gw_service_open_for_command(s, &err);
    if (rc == GW_OK)
        rc = replay(s, args[2], &err);
    if (rc != GW_OK)
        gw_log_error(s->log, "command_failed", gw_kv_error(&err));
    gw_service_close_for_command(s);
    *ret_exit_status = rc == GW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    return true;
}
