/* The usage event of a request (DATA.md, api_usage). */
#include "relay_request_internal.h"

#include <assert.h>

enum {
    USER_AGENT_MAX = 256,
    METADATA_MAX = 256,
    NAME_MAX_BYTES = 200, /* of a model; longer ones are nobody's */
    HEADER_MAX = 128,
    HEADERS_MAX = 12,
    RESPONSE_ID_MAX = 64,
    TIER_MAX = 32,
};

/*
 * A copy that protobuf takes: NUL-terminated UTF-8 of at most `max` bytes, "" when it is not text. The event says if it lost any. Copies
 * live until the event is packed.
 */
static char *text_of(const relay_request *r, usage_event *e, gw_str s, size_t max)
{
    static char empty[] = "";
    char *copy = NULL;

    bool is_text = gw_str_plain_prefix(s) == s.len || /* nearly always, and seen in one pass */
                   (gw_str_is_utf8(s) && !gw_str_has_control(s));
    if (s.len > max || !is_text)
        e->truncated = true;
    if (s.len > 0 && is_text)
        copy = gw_arena_strdup(r->core->event_texts, gw_str_slice(s, 0, gw_str_utf8_cut(s, max)));
    return copy ? copy : empty;
}

static char *constant(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c's fields are not const; packing only reads */
}

/* The same as text_of() for texts that have a NUL behind them and outlive the event: without a copy. */
static char *lasting_text_of(const relay_request *r, usage_event *e, gw_str s, size_t max)
{
    if (s.len > max || gw_str_plain_prefix(s) != s.len)
        return text_of(r, e, s, max);
    assert(s.len == 0 || s.ptr[s.len] == '\0');
    return constant(s.len > 0 ? s.ptr : "");
}

/* X-Relay-…: at most 256 printable bytes, else it is not there. */
static char *metadata_of(const relay_request *r, usage_event *e, const char *name)
{
    gw_str value = gw_headers_get(r->call.headers, name);

    return text_of(r, e, value.len <= METADATA_MAX ? value : GW_STR(""), METADATA_MAX);
}

static char *end_user_of(const relay_request *r, usage_event *e)
{
    /* Believed of those who speak for their users; what an app says of its own user is its word. */
    char *named = r->policy->is_trusted ? metadata_of(r, e, "x-relay-end-user") : constant("");

    return named[0] != '\0' ? named : lasting_text_of(r, e, r->body.user, METADATA_MAX);
}

static bool is_request_id(gw_str s)
{
    if (s.len == 0 || s.len > 64)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool is_kept_header(gw_str name)
{
    return gw_str_eq_nocase(name, GW_STR("content-type")) ||
           gw_str_eq_nocase(name, GW_STR("accept")) ||
           gw_str_eq_nocase(name, GW_STR("traceparent")) ||
           (name.len > 12 && gw_str_eq_nocase(gw_str_slice(name, 0, 12), GW_STR("x-stainless-")));
}

static char *lower_name(const relay_request *r, usage_event *e, gw_str name)
{
    char *copy = text_of(r, e, name, HEADER_MAX);

    for (char *c = copy; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    return copy;
}

static void set_headers(const relay_request *r, usage_event *e)
{
    const gw_header *kept[HEADERS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < r->call.headers.count && count < HEADERS_MAX; i++)
        if (is_kept_header(r->call.headers.items[i].name))
            kept[count++] = &r->call.headers.items[i];
    gw_arena *texts = r->core->event_texts;
    Apirelay__Usage__V1__EventHeader *items =
        gw_arena_array(texts, Apirelay__Usage__V1__EventHeader, count);
    e->headers = gw_arena_array(texts, Apirelay__Usage__V1__EventHeader *, count);
    for (size_t i = 0; items && e->headers && i < count; i++) {
        apirelay__usage__v1__event_header__init(&items[i]);
        items[i].name = lower_name(r, e, kept[i]->name);
        items[i].value = text_of(r, e, kept[i]->value, HEADER_MAX);
        e->headers[e->n_headers++] = &items[i];
    }
}

static void set_key(const relay_request *r, usage_event *e)
{
    key_policy *p = r->policy;

    e->api_key_id.data = p->api_key_oid;
    e->api_key_id.len = sizeof(p->api_key_oid);
    e->key_id = lasting_text_of(r, e, p->key_id, HEADER_MAX);
    e->client_id = lasting_text_of(r, e, gw_str_of(p->message->client_id), METADATA_MAX);
    if (p->has_user_oid) {
        e->user_id.data = p->user_oid;
        e->user_id.len = sizeof(p->user_oid);
    }
}

static void set_request(relay_request *r, usage_event *e)
{
    gw_str client_id = gw_headers_get(r->call.headers, "x-request-id");
    char *ip = gw_arena_alloc(r->core->event_texts, GW_IP_TEXT_SIZE);

    e->request_id = r->id;
    e->client_request_id = is_request_id(client_id) ? text_of(r, e, client_id, 64) : constant("");
    e->endpoint = constant(endpoint_describe(r->call.endpoint)->path);
    e->method = text_of(r, e, r->call.method, HEADER_MAX);
    e->model = lasting_text_of(r, e, r->body.model, NAME_MAX_BYTES);
    e->stream = r->stream;
    if (ip) {
        gw_ip_format(&r->call.client, ip);
        e->ip = ip;
    }
    e->user_agent = text_of(r, e, gw_headers_get(r->call.headers, "user-agent"), USER_AGENT_MAX);
    e->conversation_id = metadata_of(r, e, "x-relay-conversation-id");
    e->message_id = metadata_of(r, e, "x-relay-message-id");
    e->client_version = metadata_of(r, e, "x-relay-client-version");
    e->end_user = end_user_of(r, e);
    set_headers(r, e);
}

/* What is known before the provider is asked. */
static void begin_event(relay_request *r, usage_event *e)
{
    apirelay__usage__v1__usage_event__init(e);
    gw_arena_reset(r->core->event_texts); /* of the event before */
    if (!r->has_event_id)
        recorder_event_id(r->core->lane, r->event_id);
    r->has_event_id = true;
    e->event_id.data = r->event_id;
    e->event_id.len = sizeof(r->event_id);
    e->timestamp_ms = r->mark.wall_ms ? r->mark.wall_ms : r->arrival_wall_ms; /* the ledger's day */
    set_key(r, e);
    set_request(r, e);
    e->prompt_estimate_tokens = r->prompt_estimate;
    if (r->route) {
        e->route = lasting_text_of(r, e, r->route->pattern, NAME_MAX_BYTES);
        e->price_book_version = lasting_text_of(r, e, r->config->price_book_version, HEADER_MAX);
    }
}

/* Whom the last attempt went to. */
static void set_provider(const relay_request *r, usage_event *e)
{
    e->attempts = r->attempts;
    e->provider = lasting_text_of(r, e, r->asked->provider->name, HEADER_MAX);
    e->upstream_model = text_of(r, e, r->upstream_model, NAME_MAX_BYTES);
}

static void set_ledger(const relay_request *r, usage_event *e)
{
    e->key_load_id = r->mark.load[LEDGER_OF_KEY];
    e->client_load_id = r->mark.load[LEDGER_OF_CLIENT];
    e->owner_load_id = r->mark.load[LEDGER_OF_OWNER];
    e->grant_id = r->mark.row[LEDGER_OF_KEY];
    e->client_grant_id = r->mark.row[LEDGER_OF_CLIENT];
    e->owner_grant_id = r->mark.row[LEDGER_OF_OWNER];
}

void relay_request_open_event(relay_request *r)
{
    token_counts prompt = {.prompt = r->prompt_estimate, .images = r->images};
    GW_UNINITIALIZED usage_event e;

    if (r->unrecorded)
        return;
    begin_event(r, &e);
    set_provider(r, &e);
    e.attempts++; /* the one that follows */
    set_ledger(r, &e);
    /* What a crash before the first byte of the answer is billed by. */
    gw_str tier;
    const model_price *p = relay_request_billed_price(r, &prompt, &tier);
    e.billing_basis = constant(p ? "estimated" : "unpriced");
    e.cost_nano_usd = p ? price_of(p, &prompt) : 0;
    e.images = r->images;
    e.service_tier = text_of(r, &e, tier, TIER_MAX);
    r->opened.is_whole = recorder_open_event(r->core->lane, r->slot, &e);
    r->opened.attempts = e.attempts;
    r->opened.cost_nano_usd = e.cost_nano_usd;
    r->opened.has_tier = tier.len > 0;
}

int relay_request_status_code(const relay_request *r)
{
    if (r->started)
        return 200;
    if (r->caller_gone)
        return 499;
    return r->has_failed ? r->troubles->failure.http_status : 200;
}

/* What is known at the end only. */
static void set_outcome(const relay_request *r, usage_event *e)
{
    const relay_bill *b = &r->bill;

    e->status_code = relay_request_status_code(r);
    e->duration_ms = r->duration_ms;
    if (r->ttft_ms >= 0) {
        e->ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS;
        e->ttft_ms = r->ttft_ms;
    }
    e->prompt_tokens = b->tokens.prompt;
    e->completion_tokens = b->tokens.completion;
    e->total_tokens = b->total_tokens;
    e->cached_tokens = b->tokens.cached;
    e->reasoning_tokens = b->tokens.reasoning;
    e->cache_write_tokens = b->tokens.cache_write;
    e->long_cache_write_tokens = b->tokens.long_cache_write;
    e->images = b->tokens.images;
    e->cost_nano_usd = b->cost_nano_usd;
    e->billing_basis = constant(b->basis);
    e->outcome = constant(b->outcome);
    e->finish_reason = text_of(r, e, gw_str_of(b->finish_reason), HEADER_MAX);
    e->service_tier = text_of(r, e, b->service_tier, TIER_MAX);
    e->upstream_response_id = text_of(r, e, r->tap.response_id, RESPONSE_ID_MAX);
    if (r->has_failed)
        e->error = constant(gw_status_describe(r->troubles->failure.error.code)->openai_code);
    e->upstream_accepted = r->counts_by_name;
    e->ceiling_ignored = r->ceiling_ignored;
    e->repeat_count = 1;
}

static void fill_event(relay_request *r, usage_event *e)
{
    begin_event(r, e);
    if (r->attempts > 0) {
        set_provider(r, e);
        set_ledger(r, e);
    }
    set_outcome(r, e);
}

/* Of a flood of them most cost no more than a look at the key's row that counts. */
static void write_refusal(relay_request *r)
{
    GW_UNINITIALIZED usage_event e;

    if (recorder_repeat_refusal(r->core->lane, r->slot, r->policy->api_key_oid))
        return;
    fill_event(r, &e);
    recorder_refuse(r->core->lane, r->slot, &e);
}

/*
 * What was opened stands, and only what has been learnt since is added: nearly always. Not when some of it was cut, or when a
 * figure has become none again, which an event cannot say of itself.
 */
static bool finish_opened(relay_request *r)
{
    GW_UNINITIALIZED usage_event rest;

    if (!r->opened.is_whole || r->opened.attempts != r->attempts ||
        (r->bill.cost_nano_usd == 0 && r->opened.cost_nano_usd != 0) ||
        (r->bill.service_tier.len == 0 && r->opened.has_tier) ||
        (r->bill.tokens.images == 0 && r->images != 0))
        return false;
    apirelay__usage__v1__usage_event__init(&rest);
    gw_arena_reset(r->core->event_texts);
    set_ledger(r, &rest);
    set_outcome(r, &rest);
    return recorder_finish(r->core->lane, r->slot, &rest);
}

static void write_event(relay_request *r)
{
    GW_UNINITIALIZED usage_event e;

    if (finish_opened(r))
        return;
    fill_event(r, &e);
    recorder_done(r->core->lane, r->slot, &e);
}

void relay_request_write_event(relay_request *r)
{
    if (relay_request_is_refusal(r))
        return write_refusal(r);
    if (!r->slot && !r->unrecorded) /* its caller left before ADMIT */
        r->slot = recorder_claim(r->core->lane);
    if (r->slot)
        write_event(r);
    else
        recorder_drop(r->core->lane,
                      r->unrecorded ? RECORDER_DROP_DEGRADED : RECORDER_DROP_NO_SLOT);
}
