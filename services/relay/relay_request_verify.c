/* VERIFY: the signature of a request whose key signs (request_signature.h). Other keys pass by. */
#include "relay_request_internal.h"

#include "access/key_secret.h"

#define TROUBLE_EACH_MS 60000
/* How far the clocks of two relays are apart at most. */
#define RELAY_CLOCKS_MS 60000

/* A signature that does not hold: counted, and the key's rule may have something to say. */
static relay_stage refuse_signature(relay_request *r, const gw_error *err, const char *result)
{
    gw_metric_count(r->core->metrics, M_relay_signatures_total, gw_str_of(result));
    if (err->code != GW_ERR_INVALID_ARGUMENT)
        relay_request_note_offence(r, OFFENCE_BAD_SIGNATURE);
    return relay_request_fail(r, err);
}

static const char *result_of(gw_status rc)
{
    switch (rc) {
    case GW_ERR_SIGNATURE_EXPIRED:
        return "expired";
    case GW_ERR_NONCE_USED:
        return "replayed";
    default:
        return "invalid";
    }
}

/* ---- the headers, before the body is asked for ---- */

relay_stage relay_request_read_signature(relay_request *r)
{
    request_signature s;
    bool present;
    gw_error err;
    gw_status rc = request_signature_read(r->call.headers, gw_clock_wall_ms(r->core->clock), &s,
                                          &present, &err);

    if (rc != GW_OK)
        return refuse_signature(r, &err, result_of(rc));
    if (!present && !r->policy->message->signing_required)
        return STAGE_READ_BODY;
    if (!present) {
        gw_metric_count(r->core->metrics, M_relay_signatures_total, GW_STR("missing"));
        (void)gw_fail(&err, GW_ERR_SIGNATURE_REQUIRED,
                      "requests of this API key have to be signed (X-Relay-Signature)");
        return relay_request_fail(r, &err);
    }
    r->signature = gw_arena_new_of(r->arena, signature_check);
    if (!r->signature) {
        (void)relay_request_no_memory(&err);
        return relay_request_fail(r, &err);
    }
    r->signature->read = s;
    return STAGE_READ_BODY;
}

/* ---- the signature ---- */

static int64_t time_ms(const Google__Protobuf__Timestamp *t)
{
    return t ? t->seconds * GW_MS_PER_S + t->nanos / 1000000 : 0;
}

/* Once a minute: each request would say the same. */
static void log_trouble(relay_request *r, const gw_error *err)
{
    int64_t now_ms = gw_loop_now_ms(r->core->loop);

    if (r->core->signing_trouble_ms != 0 && now_ms - r->core->signing_trouble_ms < TROUBLE_EACH_MS)
        return;
    r->core->signing_trouble_ms = now_ms;
    gw_log_error(r->core->log, "signing_secret_unreadable", gw_kv("key.id", r->policy->key_id),
                 gw_kv_error(err));
}

static gw_status check_against(relay_request *r, ProtobufCBinaryData sealed, gw_error *err)
{
    const signed_content content = {.method = r->call.method.len ? r->call.method : GW_STR("POST"),
                                    .target = r->call.target,
                                    .body = r->raw_body};
    gw_auto_buf secret = {0};

    gw_status rc =
        r->core->master_keys
            ? gw_key_secret_open(r->core->master_keys, r->policy->api_key_id, GW_KEY_SECRET_SIGNING,
                                 gw_str_n(sealed.data, sealed.len), &secret, err)
            : gw_fail(err, GW_ERR_FAILED_PRECONDITION, "RELAY_MASTER_KEYS_FILE is not set");
    if (rc != GW_OK) {
        log_trouble(r, err);
        return gw_fail(err, GW_ERR_UNAVAILABLE, "signatures cannot be checked at the moment");
    }
    rc = request_signature_check(&r->signature->read, &content, gw_buf_str(&secret), err);
    gw_secret_wipe(secret.data, secret.len);
    return rc;
}

/* By the current secret, else by the one before it while its grace lasts. */
static gw_status check_signature(relay_request *r, gw_error *err)
{
    const Apirelay__Auth__V1__KeyPolicy *m = r->policy->message;

    if (m->signing_secret_sealed.len == 0)
        return gw_fail(err, GW_ERR_UNAVAILABLE, "this API key has no signing secret");
    gw_status rc = check_against(r, m->signing_secret_sealed, err);
    if (rc == GW_ERR_SIGNATURE_INVALID && m->previous_signing_secret_sealed.len > 0 &&
        gw_clock_wall_ms(r->core->clock) < time_ms(m->previous_signing_expires_at))
        rc = check_against(r, m->previous_signing_secret_sealed, err);
    return rc;
}

/*
 * A request can pass once more while a relay finds its timestamp near enough, which is read before the body, and then for as
 * long as the body may take to come:
 *
 *     timestamp - 300 s      the first use, at the earliest
 *     timestamp + 300 s      a replay's head, at the latest; by a clock that is behind the first relay's, later
 *       + request timeout    its nonce is asked for, at the latest
 */
static int64_t nonce_life_ms(const relay_core *core)
{
    return (int64_t)2 * REQUEST_SIGNATURE_SKEW_MS + RELAY_CLOCKS_MS +
           core->limits.request_timeout_ms;
}

static void on_nonce(void *arg, nonce_outcome outcome)
{
    relay_request *r = arg;

    r->operations--;
    r->signature->waits = false;
    r->signature->nonce = outcome;
    relay_request_wake(r);
}

relay_stage verify_enter(relay_request *r)
{
    gw_error err;

    if (!r->signature || !r->policy->signs) /* it may have ceased to while the body came */
        return STAGE_AUTHORIZE;
    gw_status rc = check_signature(r, &err);
    if (rc == GW_ERR_SIGNATURE_INVALID)
        return refuse_signature(r, &err, "invalid");
    if (rc != GW_OK) {
        gw_metric_count(r->core->metrics, M_relay_signatures_total, GW_STR("unchecked"));
        return relay_request_fail(r, &err);
    }
    r->signature->take = (nonce_take){.done = on_nonce, .arg = r};
    r->signature->waits = true;
    r->operations++;
    nonce_store_take(r->core->redis, r->policy->key_id, r->signature->read.nonce,
                     nonce_life_ms(r->core), &r->signature->take);
    return STAGE_VERIFY;
}

relay_stage verify_resume(relay_request *r)
{
    gw_error err;

    if (r->signature->waits)
        return STAGE_VERIFY;
    switch (r->signature->nonce) {
    case NONCE_FRESH:
        gw_metric_count(r->core->metrics, M_relay_signatures_total, GW_STR("good"));
        return STAGE_AUTHORIZE;
    case NONCE_USED:
        (void)gw_fail(&err, GW_ERR_NONCE_USED, "X-Relay-Nonce was used before");
        return refuse_signature(r, &err, "replayed");
    default:
        gw_metric_count(r->core->metrics, M_relay_signatures_total, GW_STR("unchecked"));
        (void)gw_fail(&err, GW_ERR_UNAVAILABLE,
                      "whether X-Relay-Nonce was used before cannot be checked at the moment");
        return relay_request_fail(r, &err);
    }
}
