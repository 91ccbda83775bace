#include "messages.h"

/* ---- count_tokens and providers that cannot ---- */

static gw_status refuse(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const provider_config *p = job->target->provider;

    (void)ret;
    return gw_fail_field(err, GW_ERR_MODEL_NOT_SUPPORTED, "model",
                         "%s is for Anthropic's own models; %.*s is one of the provider %.*s (%s)",
                         endpoint_describe(job->endpoint)->path,
                         GW_STR_ARG(gw_str_slice(job->body->model, 0, 100)), GW_STR_ARG(p->name),
                         provider_kind_describe(p->kind)->name);
}

static const adapter_ops messages_elsewhere = {.name = "none", .write_request = refuse};

const adapter_ops *messages_adapter_of(provider_kind kind)
{
    return kind == PROVIDER_ANTHROPIC ? &messages_through : &messages_elsewhere;
}
