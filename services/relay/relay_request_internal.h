/*
 * What the files of the request machine share. Include only there.
 */
#pragma once

#include "nonce_store.h"
#include "relay_metrics.h"
#include "relay_request.h"
#include "request_signature.h"
#include "retry_hint.h"
#include "route_plan.h"

#include "core/clock.h"
#include "core/id.h"

#define RELAY_STAGES(X)                                                                            \
    X(AUTHENTICATE, authenticate)                                                                  \
    X(READ_BODY, read_body)                                                                        \
    X(VERIFY, verify)                                                                              \
    X(AUTHORIZE, authorize)                                                                        \
    X(ADMIT, admit)                                                                                \
    X(FORWARD, forward)                                                                            \
    X(STREAM, stream)                                                                              \
    X(SETTLE, settle)                                                                              \
    X(RECORD, record)                                                                              \
    X(FINISH, finish)

typedef enum relay_stage {
#define X(name, function) STAGE_##name,
    RELAY_STAGES(X)
#undef X
        STAGE_DONE,
    STAGE_NEW /* before the first */
} relay_stage;

/* How the upstream's answer is read. */
typedef enum answer_mode {
    ANSWER_NONE, /* no head yet */
    ANSWER_ERROR, /* an error status: its body says why */
    ANSWER_JSON, /* one JSON answer, held until recorded */
    ANSWER_EVENTS, /* server-sent events */
} answer_mode;

/* A stream's events before the first content, in the arena. */
typedef struct held_event {
    answer_event event;
    struct held_event *next;
} held_event;

typedef struct held_events {
    held_event *first, *last;
    size_t bytes;
} held_events;

/* Of a signed request whose key signs, in the arena. */
typedef struct signature_check {
    request_signature read;
    nonce_take take;
    nonce_outcome nonce;
    bool waits; /* for it */
} signature_check;

/* Of the event in the slot, what the finished one has to know of. */
typedef struct opened_event {
    bool is_whole; /* nothing was cut; false: none was opened */
    int attempts;
    int64_t cost_nano_usd;
    bool has_tier;
} opened_event;

/* In the order of the stages that fill it. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): that order is worth 48 bytes. */
struct relay_request {
    relay_core *core;
    relay_sink *sink; /* NULL once released or the caller has left */
    gw_arena *arena;
    gw_list node; /* of core->requests, later of core->spares */

    relay_stage stage;
    bool running, woken;
    bool cancelled; /* straight to SETTLE */
    unsigned operations; /* asynchronous operations that still call back */
    gw_timer deadline; /* the whole request's; while draining, the drain's */
    gw_timer keep_alive;

    relay_call call; /* texts in the arena */
    char id[GW_REQUEST_ID_SIZE];
    int64_t arrival_wall_ms;

    /* AUTHENTICATE */
    key_wait wait;
    bool wait_pending;
    bool asks_key_again; /* in a later stage, after a wait */
    gw_status key_rc;
    key_policy *policy; /* NULL until the key is recognised */
    bool key_may_call; /* from this address, now: its answers tell of its limits */
    int64_t key_checked_ms; /* on the loop's clock */
    uint64_t key_stamp; /* of the cache then */
    signature_check *signature; /* NULL: unsigned */

    /* READ_BODY, AUTHORIZE */
    bool body_arrived;
    gw_str raw_body;
    openai_body body; /* model "" until read */
    unsigned extras; /* of a key with a budget: unpriced_extras() */
    relay_config *config;
    const model_route *route;
    route_plan plan;
    const route_target *target; /* whose turn it is; NULL until one is chosen */
    bool stream;

    /* ADMIT */
    flight_slot *slot;
    bool unrecorded; /* served without a slot: RELAY_SPOOL_FULL=degrade */
    uint8_t event_id[12];
    bool has_event_id;
    opened_event opened; /* by the last attempt */
    int64_t prompt_estimate; /* for the bill, where no provider counts */
    int64_t prompt_most; /* for the hold */
    int64_t images; /* in the prompt */
    /* output that the caller predicted: billed beside what is made, where it was wrong */
    int64_t predicted;
    grant_take *take; /* its hold; NULL: nothing is limited */
    grant_mark mark; /* of the hold, for the event; all 0: none */
    /* output tokens that the hold pays for; INT64_MAX: no stream is ended for them */
    int64_t output_held;
    struct hold_extension *extension; /* in the arena; NULL: none was wanted yet */
    bool hold_is_spent; /* and there was no more: that is why it failed */
    bool holds_for_one; /* the hold is for the first target, not for the dearest of them */
    unsigned ceiling_cuts; /* the budget paid for a shorter answer only, so often */
    bool waiting_does_not_help;

    /* FORWARD, STREAM */
    const adapter_ops *adapter;
    adapter_job job;
    adapter_text *text; /* of the upstream's request; NULL: nothing of its own */
    gw_str upstream_model, ignored_params; /* of the upstream's request */
    adapter_stream adapted;
    usage_tap tap;
    gw_http_call *call_upstream; /* NULL when none is in flight */
    gw_rpc_client_call *usage_call;
    ledger_look *look; /* under way */
    user_list_wait *list_wait; /* in the arena; NULL: none */
    struct own_limits *own_limits; /* what it brought */
    const route_target *asked; /* by the last attempt; NULL: there was none */
    const model_price *price; /* NULL: the book has none */
    int attempts; /* requests sent to providers */
    /* an attempt follows, after its pause, or once a user's token or balance is known */
    bool is_to_send;
    /* of the user who is signed in, in the arena; NULL: none was looked for */
    struct token_check *token_check;
    gw_str user_token; /* for the next attempt */
    /* of the user whose LibreChat key is sent, in the arena; NULL: none was looked at */
    struct balance_check *balance;
    bool user_key_is_unreadable; /* that is the end: nobody else's account takes its place */
    bool has_credential; /* taken, of a provider that has several */
    bool outcome_is_known; /* of the last one, to the health of targets */
    health_turn turn; /* of the target's open breaker; until it is asked */
    gw_timer *pause; /* before it, in the arena; NULL: there never was one */
    adapter_request *written; /* of an attempt that may be made again; NULL: to be written */
    int upstream_status;
    bool upstream_is_json;
    bool counts_by_name; /* accepted upstream, and sums are kept of the name (counted_models.h) */
    bool upstream_ended;
    bool upstream_was_sent; /* of the request; once it has ended */
    gw_status upstream_rc;
    answer_mode mode;
    bool owns_body; /* the upstream's request body outlives the caller */
    gw_buf request_body; /* taken from the caller's transport */
    gw_buf held; /* the JSON or error body */
    held_events preamble;
    gw_sse_reader *events;
    int64_t stream_bytes; /* so far, of this attempt */
    bool paused;
    bool started; /* the sink's head of a stream is out */
    bool content_seen; /* some content was delivered */
    bool answer_complete; /* nothing is missing but the withheld end */
    gw_str done_raw;
    gw_str answer; /* whole JSON answer */
    gw_str retry_after; /* seconds, for the caller; "" when nothing is said */
    /* until the provider wants to be asked again; RETRY_HINT_NONE: it did not say */
    int64_t retry_ms;
    gw_str processing_ms, openai_version; /* of the upstream's head, "" when none */
    int64_t ttft_ms; /* -1 until content */
    int64_t last_write_ms;

    /* the end */
    bool caller_gone;
    bool drains; /* goes on without it */
    bool has_failed;
    bool transport_answers; /* the refusal is not ours to send */
    request_troubles *troubles; /* to be read; relay_request_troubles() to write */
    relay_bill bill;
    bool ceiling_ignored; /* the provider made more than it was allowed */
    int64_t duration_ms;
};

/* The request's own, in the arena. */
request_troubles *relay_request_troubles(relay_request *r);

/* Moves the request on. Afterwards it may be gone. */
void relay_request_wake(relay_request *r);

/* The transition of a failure: keeps the first one. */
relay_stage relay_request_fail(relay_request *r, const gw_error *err);
relay_stage relay_request_fail_with(relay_request *r, const openai_error *e);
/* With what its adapter found in the answer; an error in a 200 may say when to ask again, too. */
void relay_request_fail_as_adapted(relay_request *r);

/* It goes on without its caller no longer. */
void relay_request_end_drain(relay_request *r);

/* Ends the request at once from outside of its stages: caller gone, deadline, shutdown. */
void relay_request_cancel(relay_request *r, const gw_error *err);

/* Stages, by file: relay_request_admit.c, _forward.c, _settle.c. */
#define X(name, function)                                                                          \
    relay_stage function##_enter(relay_request *r);                                                \
    relay_stage function##_resume(relay_request *r);
RELAY_STAGES(X)
#undef X

/* upstream_answer.c: the upstream's callbacks. */
extern const gw_http_call_ops relay_upstream_ops;

/* relay_request_deliver.c: events to the caller; `arg` is the request. */
void relay_request_deliver(void *arg, const answer_event *e);

/* local_answer.c: endpoints that no provider answers. */
relay_stage local_answer_enter(relay_request *r);
relay_stage local_answer_resume(relay_request *r);

/* relay_request_route.c: route and target. */
gw_status relay_request_find_route(relay_request *r, gw_error *err);
/* The key has a target of it, beside the name asked for. */
bool relay_request_may_use(const relay_request *r, const model_route *route);
/* The key may have the target whose turn it is. */
gw_status relay_request_check_target(const relay_request *r, gw_error *err);
target_state relay_request_state_of(const relay_request *r, const route_target *t);
route_view relay_request_view(relay_request *r);
void relay_request_turn_to(relay_request *r, const route_target *t);
/* By the name sent upstream, else by the one asked for: an alias may have a price of its own. NULL: the book has none. */
const model_price *relay_request_price(const relay_request *r, const route_target *t);

/* relay_request_tier.c: service tiers (price_tier.h). */
/* Its dialect is the caller's own: members pass that nobody here acts on. */
bool relay_request_passes_members(const relay_request *r, const route_target *t);
/* What `t` is asked for; "" where its dialect has no word for what the caller asks. */
gw_str relay_request_tier(const relay_request *r, const route_target *t);
/* False: the model has a price, the tier that is asked for has none. */
bool relay_request_tier_is_priced(const relay_request *r, const route_target *t);
/* By what so many tokens of the last attempt are billed, and the tier it is of, "" for the standard one. NULL: it has no price. */
const model_price *relay_request_billed_price(const relay_request *r, const token_counts *tokens,
                                              gw_str *ret_tier);
/* What they cost by it; 0 without a price. */
int64_t relay_request_cost(const relay_request *r, const token_counts *tokens);
/* The answer was made in a tier that nobody asked for, and that the book does not have: its model's own price stood in. */
bool relay_request_tier_is_unknown(const relay_request *r);

/* relay_request_attempt.c: what follows on a failure before the first content. */
bool relay_request_has_another(
    const relay_request *r); /* the route has, whatever becomes of this one */
bool relay_request_may_try_again(const relay_request *r); /* after the failure that is noted */
bool relay_request_try_again(relay_request *r); /* nothing is in flight; true: is_to_send */

/* relay_request_health.c: what an attempt says of its target. */
unsigned relay_request_take_credential(relay_request *r); /* of the target, for one attempt */
void relay_request_give_back_credential(
    relay_request *r); /* once it has ended, or could not be made */
bool relay_request_is_limited(const relay_request *r, const route_target *t); /* with all of them */
target_name relay_request_target_name(const relay_request *r, const route_target *t);
void relay_request_note_content(relay_request *r); /* the first one came */
void relay_request_note_outcome(relay_request *r); /* the attempt has ended; once for each */
void relay_request_give_back_turn(relay_request *r); /* the target was not asked after all */
void relay_request_set_retry(relay_request *r, int64_t ms); /* it said when; RETRY_HINT_NONE: no */

/* relay_request_user_key.c: attempts with the LibreChat key of the key's user (job.user_key). */
gw_status relay_request_open_user_key(relay_request *r, gw_error *err); /* into the job */
gw_status relay_request_lacks_user_key(const relay_request *r, gw_error *err);
/* Of an answer that refuses it, or says that its quota is used up: as the caller is told. */
void relay_request_explain_user_key(const relay_request *r, openai_error *e);
/* The last attempt was made with one. */
static inline bool relay_request_uses_user_key(const relay_request *r)
{
    return r->job.user_key.len > 0;
}

/* relay_request_user_token.c: the token of the key's user, for a provider that he is signed in to. */
bool relay_request_has_user_token(
    relay_request *r); /* false: it is waited for (is_to_send), or has_failed */
user_token_answer relay_request_find_user_token(relay_request *r, const provider_config *p,
                                                gw_str *ret); /* WAITS: `r` is woken */
void relay_request_leave_user_token(relay_request *r); /* nobody waits for it any more */

/* upstream_answer.c: what the request was sent from is not needed any more. */
void relay_request_release_body(relay_request *r);

/* relay_request_balance.c: LibreChat's balance of the user whose key the next attempt is sent with. False: it is waited for (is_to_send), or
 * has_failed. */
bool relay_request_has_balance(relay_request *r);
void relay_request_leave_balance(relay_request *r); /* nobody waits for it any more */

/* relay_request_verify.c: signatures. */
relay_stage relay_request_read_signature(relay_request *r); /* the stage to be in */

/* relay_request_admit.c */
/* After a wait: the key may still do this, at the target whose turn it is. False: has_failed, or auth is asked and `r` is woken. */
bool relay_request_still_may(relay_request *r);
/* A refusal that a rule of the key may count. */
void relay_request_note_offence(const relay_request *r, offence what);

/* own_usage.c: GET /v1/usage */
relay_stage own_usage_enter(relay_request *r);
relay_stage own_usage_resume(relay_request *r);
/* What is left, once the ledgers were looked at (own_limits); returns how many there are. */
size_t own_usage_left(const relay_request *r, grant_left ret[LEDGER_LEVELS]);

/* relay_request_hold.c: the limits of key, client and owner. */
relay_stage relay_request_take_hold(relay_request *r); /* the stage to be in */
relay_stage relay_request_resume_hold(relay_request *r);
bool relay_request_hold_covers(const relay_request *r, const route_target *t);
void relay_request_leave_queue(relay_request *r); /* of those who wait for a hold */
void relay_request_settle_hold(relay_request *r); /* once; the bill is known */
/* Of amounts that are not negative; at most LEDGER_UNLIMITED. */
static inline int64_t relay_bounded_product(int64_t a, int64_t b)
{
    int64_t product;

    return __builtin_mul_overflow(a, b, &product) ? LEDGER_UNLIMITED
                                                  : GW_MIN(product, LEDGER_UNLIMITED);
}
/* What so much output and the prompt cost at `t` by `p`, in the dearest way it may be billed; 0 without a price. */
int64_t relay_request_most_cost(const relay_request *r, const route_target *t, const model_price *p,
                                int64_t output);
/* What may be billed when so much is made: what was predicted and did not come comes on top. */
int64_t relay_request_billed_output(const relay_request *r, int64_t made);

/* relay_request_refuse.c: what is said of a limit that refuses. */
/* The refusal that `t`, more for an open hold, came to. */
void relay_request_limit_reached(relay_request *r, const grant_take *t, const char *what_then,
                                 openai_error *ret);
/* Of a hold that was refused; with less than `least` the request is not sent. Returns the stage to be in. */
relay_stage relay_request_refuse_hold(relay_request *r, const ledger_amounts *least);

/* relay_request_extend.c: streams that outlive their holds. */
void relay_request_extend_hold(relay_request *r); /* its output has passed what is held for */
void relay_request_follow_extension(relay_request *r); /* what became of it; may fail the request */
void relay_request_leave_extension(relay_request *r); /* nobody waits for it any more */
/* Of each event but the last ones: a provider that has said why it ends is let end. */
static inline void relay_request_watch_hold(relay_request *r)
{
    if (usage_tap_least(&r->tap) > r->output_held && r->tap.finished_choices < r->body.choices)
        relay_request_extend_hold(r);
}

/* Output tokens of what was delivered, as estimated: never more than the provider was allowed. */
int64_t relay_request_estimated_output(const relay_request *r);

/* relay_request_limits.c */
void relay_request_add_limits(relay_request *r, relay_answer *a); /* x-ratelimit-… */

/* relay_request_event.c */
void relay_request_open_event(relay_request *r);
bool relay_request_is_refusal(const relay_request *r); /* nobody was asked */
void relay_request_write_event(
    relay_request *r); /* or its refusal; the slot is the recorder's afterwards */
int relay_request_status_code(const relay_request *r);

/* relay_request_answer.c: heads of answers. */
void relay_request_success_head(relay_request *r, relay_answer *a);
void relay_request_failure_head(relay_request *r, relay_answer *a);

void relay_request_free_spares(relay_core *core);

/* ms since arrival. */
int64_t relay_request_elapsed_ms(const relay_request *r);
gw_status relay_request_no_memory(gw_error *err);
