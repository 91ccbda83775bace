#include "rpc/measure.h"

#include "core/clock.h"

/* The lines of metrics.def, from the block's first. */
enum {
#define METRIC(kind, name, labels, help) M_##name,
#include "rpc/metrics.def"
#undef METRIC
};

static unsigned number(const rpc_measure *m, unsigned server, unsigned client)
{
    return m->metrics->first + (m->side == RPC_SERVER ? server : client);
}

static void add_in_flight(const rpc_measure *m, int64_t delta)
{
    gw_metric_add(m->metrics->shard,
                  number(m, M_rpc_server_calls_in_flight, M_rpc_client_calls_in_flight), delta,
                  &m->method, 1);
}

void rpc_measure_begin(rpc_measure *m, rpc_side side, const gw_rpc_metrics *metrics,
                       const gw_method *method, int64_t now_ms)
{
    *m = (rpc_measure){.metrics = metrics->shard ? metrics : NULL,
                       .side = side,
                       .method = method ? gw_str_slice(method->path, 1, method->path.len)
                                        : GW_STR("other"),
                       .is_timed = method && !method->server_streaming,
                       .began_ms = now_ms};
    if (m->metrics)
        add_in_flight(m, 1);
}

void rpc_measure_end(rpc_measure *m, gw_rpc_code code, int64_t now_ms)
{
    if (!m->metrics)
        return;
    add_in_flight(m, -1);
    gw_metric_count(m->metrics->shard,
                    number(m, M_rpc_server_calls_total, M_rpc_client_calls_total), m->method,
                    gw_str_of(gw_rpc_code_name(code)));
    if (m->is_timed)
        gw_metric_observe(
            m->metrics->shard,
            number(m, M_rpc_server_call_duration_seconds, M_rpc_client_call_duration_seconds),
            (double)(now_ms - m->began_ms) / GW_MS_PER_S, &m->method, 1);
    m->metrics = NULL;
}

void rpc_measure_repeated(const rpc_measure *m)
{
    if (m->metrics)
        gw_metric_count(m->metrics->shard, m->metrics->first + M_rpc_server_repeated_calls_total,
                        m->method);
}
