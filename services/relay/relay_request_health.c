/* What attempts say of the health of their targets: breakers, and until when a provider does not want to be asked. */
#include "relay_request_internal.h"

#include "user_key.h"

#include <stdio.h>

#define LIMIT_DEFAULT_MS      1000 /* of a 429 that does not say for how long */
#define LIMIT_MIN_MS          250
#define LIMIT_MAX_MS          3600000
#define CREDENTIAL_REFUSED_MS 60000 /* an operator mends that, it does not pass */
#define QUOTA_USED_UP_MS      600000 /* and that takes longer, as money is to be had first */

target_name relay_request_target_name(const relay_request *r, const route_target *t)
{
    return (target_name){t->provider->name,
                         t->upstream_model.len > 0 ? t->upstream_model : r->body.model};
}

/* ---- credentials ---- */

/* A quota is the credential's, whatever it is used for. No model has this name. */
static target_name every_model(const route_target *t)
{
    return (target_name){t->provider->name, GW_STR("")};
}

/* Of one that the provider has, its number; of a user's own, whose it is: set anew it is another one. */
static gw_str credential_name(const relay_request *r, bool is_users, unsigned number,
                              char out[CREDENTIAL_NAME_MAX])
{
    if (!is_users) {
        out[0] = (char)number;
        return gw_str_n(out, 1);
    }
    int n = snprintf(out, CREDENTIAL_NAME_MAX, "%.*s/%lld",
                     GW_STR_ARG(gw_str_slice(r->policy->key_id, 0, 32)),
                     (long long)r->policy->generation);
    return gw_str_n(out, (size_t)n);
}

/* Those that may be used for the model now, a bit each. */
static uint32_t usable_credentials(const relay_request *r, const route_target *t)
{
    target_name name = relay_request_target_name(r, t), all = every_model(t);
    int64_t now_ms = gw_loop_now_ms(r->core->loop);
    bool is_users = user_is_asked_for(r->policy, t->provider);
    unsigned count = is_users ? 1 : provider_credential_count(t->provider);
    char text[CREDENTIAL_NAME_MAX];
    uint32_t usable = 0;

    for (unsigned i = 0; i < count; i++) {
        gw_str credential = credential_name(r, is_users, i, text);
        if (!target_health_is_limited(r->core->health, name, credential, now_ms) &&
            !target_health_is_limited(r->core->health, all, credential, now_ms))
            usable |= 1U << i;
    }
    return usable;
}

bool relay_request_is_limited(const relay_request *r, const route_target *t)
{
    return usable_credentials(r, t) == 0;
}

unsigned relay_request_take_credential(relay_request *r)
{
    const provider_config *p = r->target->provider;

    if (p->more_credential_count == 0)
        return 0;
    r->has_credential = true;
    return credential_loads_take(r->core->credentials, p->name, provider_credential_count(p),
                                 usable_credentials(r, r->target));
}

void relay_request_give_back_credential(relay_request *r)
{
    if (!r->has_credential)
        return;
    r->has_credential = false;
    credential_loads_give_back(r->core->credentials, r->job.target->provider->name,
                               r->job.credential);
}

/* ---- outcomes ---- */

void relay_request_set_retry(relay_request *r, int64_t ms)
{
    r->retry_ms = ms;
    r->retry_after = GW_STR("");
    if (ms != RETRY_HINT_NONE)
        r->retry_after = gw_arena_int(r->arena, (ms + 999) / 1000);
}

/* Also of those that were forgotten. */
static void show_open(relay_core *c)
{
    size_t open = target_health_open_count(c->health);

    if (open == c->breakers_shown)
        return;
    c->breakers_shown = open;
    gw_metric_set(c->metrics, M_relay_breakers_open, (int64_t)open, NULL, 0);
}

static void tell(relay_request *r, target_name t, health_change change)
{
    relay_core *c = r->core;
    bool opened = change == HEALTH_OPENED;

    if (change == HEALTH_SAME)
        return;
    gw_metric_count(c->metrics, M_relay_breaker_changes_total,
                    opened ? GW_STR("opened") : GW_STR("closed"));
    show_open(c);
    if (opened)
        gw_log_warn(c->log, "breaker_opened", gw_kv("request.id", (const char *)r->id),
                    gw_kv("provider", t.provider), gw_kv("model", gw_str_slice(t.model, 0, 128)));
    else
        gw_log_info(c->log, "breaker_closed", gw_kv("request.id", (const char *)r->id),
                    gw_kv("provider", t.provider), gw_kv("model", gw_str_slice(t.model, 0, 128)));
}

static void note_limit(relay_request *r, target_name t, int64_t ms)
{
    int64_t now_ms = gw_loop_now_ms(r->core->loop);
    char text[CREDENTIAL_NAME_MAX];

    target_health_limit(r->core->health, t,
                        credential_name(r, relay_request_uses_user_key(r), r->job.credential, text),
                        now_ms, now_ms + GW_MAX(ms, LIMIT_MIN_MS));
}

static void note_failure(relay_request *r, target_name t)
{
    tell(r, t, target_health_failed(r->core->health, t, gw_loop_now_ms(r->core->loop)));
}

/* Of the credential, whatever status it came under. False when it is about something else. */
static bool note_credential(relay_request *r, target_name t)
{
    switch (r->troubles->failure.error.code) {
    case GW_ERR_UPSTREAM_AUTH:
        note_limit(r, t, CREDENTIAL_REFUSED_MS);
        return true;
    case GW_ERR_UPSTREAM_QUOTA:
        note_limit(r, every_model(r->asked), QUOTA_USED_UP_MS);
        return true;
    case GW_ERR_UPSTREAM_RATE_LIMITED:
        note_limit(r, t,
                   r->retry_ms == RETRY_HINT_NONE ? LIMIT_DEFAULT_MS
                                                  : GW_MIN(r->retry_ms, LIMIT_MAX_MS));
        return true;
    default:
        return false;
    }
}

/* An answer that refuses is an answer, unless it is the provider that is at its end. */
static void note_status(relay_request *r, target_name t)
{
    bool is_at_its_end =
        r->upstream_status >= 500 && r->troubles->failure.error.code != GW_ERR_LOOP_DETECTED;

    if (is_at_its_end || r->upstream_status == 408)
        note_failure(r, t);
    else
        tell(r, t, target_health_answered(r->core->health, t));
}

static bool is_of_target(gw_status why)
{
    switch (why) {
    case GW_ERR_UPSTREAM_FAILED:
    case GW_ERR_UPSTREAM_PROTOCOL:
    case GW_ERR_UPSTREAM_CUT:
    case GW_ERR_UPSTREAM_UNAVAILABLE:
    case GW_ERR_UPSTREAM_TIMEOUT:
    case GW_ERR_ADDRESS_REFUSED:
        return true;
    default: /* ours */
        return false;
    }
}

/*
 * What a user's LibreChat says in an answer is as often about this user, his keys or his agents: LibreChat tells it in words alone.
 * It says that the server is there, and nothing of what others would be answered.
 */
static bool is_of_user(const relay_request *r, gw_status why)
{
    return relay_request_uses_user_key(r) && why == GW_ERR_UPSTREAM_FAILED &&
           r->mode != ANSWER_ERROR;
}

void relay_request_give_back_turn(relay_request *r)
{
    if (r->turn != HEALTH_NO_TURN)
        target_health_give_back(r->core->health, relay_request_target_name(r, r->target), r->turn,
                                gw_loop_now_ms(r->core->loop));
    r->turn = HEALTH_NO_TURN;
}

void relay_request_note_content(relay_request *r)
{
    target_name t = relay_request_target_name(r, r->asked);

    if (target_health_open_count(r->core->health) > 0)
        tell(r, t, target_health_answered(r->core->health, t));
}

void relay_request_note_outcome(relay_request *r)
{
    if (r->attempts == 0 || r->outcome_is_known ||
        r->cancelled) /* who cancels says nothing of it */
        return;
    r->outcome_is_known = true;
    show_open(r->core);
    target_name t = relay_request_target_name(r, r->asked);
    if (!r->has_failed)
        tell(r, t, target_health_answered(r->core->health, t));
    else if (note_credential(r, t))
        return;
    else if (r->mode == ANSWER_ERROR)
        note_status(r, t);
    else if (is_of_user(r, r->troubles->failure.error.code))
        return;
    else if (is_of_target(r->troubles->failure.error.code))
        note_failure(r, t);
}
