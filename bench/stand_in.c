#include "stand_in.h"

#include "rpc/init.h"
#include "schema/all.h"

#include <stdio.h>
#include <stdlib.h>

/* Whoever reaches a stand-in is the relay under test. */
static void authorize(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    (void)self;
    (void)m;
    (void)credential;
    gw_caller caller = {.kind = GW_CALLER_SERVICE, .name = GW_STR("relay")};
    gw_rpc_authorized(c, GW_OK, &caller, NULL);
}

static bool is_ready(void *arg, const char **reason)
{
    (void)arg;
    (void)reason;
    return true;
}

static void on_ops_closed(void *arg)
{
    stand_in *s = arg;
    gw_loop_stop(s->loop);
}

static void on_server_closed(void *arg)
{
    stand_in *s = arg;
    gw_ops_close(s->ops, on_ops_closed, s);
}

static void drain(void *arg)
{
    stand_in *s = arg;
    if (s->stopping)
        s->stopping(s->arg);
    gw_rpc_server_close(s->server, 0, on_server_closed, s);
}

static gw_status start(stand_in *s, const stand_in_options *o, const char *listen, const char *ops,
                       gw_error *err)
{
    gw_status rc = gw_loop_new(&gw_system_clock, &s->loop, err);
    if (rc == GW_OK)
        rc = gw_schema_all(&s->schema, err);
    if (rc != GW_OK)
        return rc;
    s->metrics = gw_metrics_new(o->metrics, o->metric_count);
    s->shard = s->metrics ? gw_metrics_shard_new(s->metrics) : NULL;
    if (!s->shard)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for metrics");
    gw_rpc_server_options server = {
        .listen = listen, .schema = s->schema, .authorizer = {authorize, NULL}};
    gw_ops_options ops_options = {.listen = ops, .metrics = s->metrics, .is_ready = is_ready};
    if (o->starting)
        rc = o->starting(s, o->arg, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_new(s->loop, &server, &s->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(s->server, o->handlers, s->handler_arg, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(s->server, err);
    return rc == GW_OK ? gw_ops_new(s->loop, &ops_options, NULL, &s->ops, err) : rc;
}

int stand_in_run(const stand_in_options *o, int argc, char **argv)
{
    stand_in s = {.stopping = o->stopping, .arg = o->arg, .handler_arg = o->arg};
    gw_error err;
    if (argc != 5 || strcmp(argv[1], "--listen") != 0 || strcmp(argv[3], "--ops") != 0) {
        (void)fprintf(stderr, "usage: %s --listen host:port --ops host:port\n", o->name);
        return 2;
    }
    if (start(&s, o, argv[2], argv[4], &err) != GW_OK) {
        (void)fprintf(stderr, "%s: %s\n", o->name, err.message);
        return EXIT_FAILURE;
    }
    gw_rpc_server_set_serving(s.server, true);
    gw_loop_on_signals(s.loop, drain, NULL, &s);
    gw_loop_run(s.loop);
    gw_schema_free(s.schema);
    gw_metrics_free(s.metrics);
    gw_loop_free(s.loop);
    return EXIT_SUCCESS;
}
