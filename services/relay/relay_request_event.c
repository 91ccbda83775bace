/* The usage event of a request (DATA.md, api_usage). */
#include "relay_request_internal.h"

#include <stdlib.h>

enum {
    USER_AGENT_MAX = 256,
    METADATA_MAX = 256,
    NAME_MAX_BYTES = 200, /* of a model; longer ones are nobody's */
    HEADER_MAX = 128,
    HEADERS_MAX = 12,
};

/* A copy that protobuf takes: NUL-terminated UTF-8 of at most `max` bytes, "" when it is not text. The event says if it lost any. */
static char *text_of(relay_request *r, gw_str s, size_t max)
{
    static char empty[] = "";
    char *copy = NULL;

    bool is_text = gw_str_plain_prefix(s) == s.len || /* nearly always, and seen in one pass */
                   (gw_str_is_utf8(s) && !gw_str_has_control(s));
    if (s.len > max || !is_text)
        r->event.truncated = true;
    if (s.len > 0 && is_text)
        copy = gw_arena_strdup(r->arena, gw_str_slice(s, 0, gw_str_utf8_cut(s, max)));
    return copy ? copy : empty;
}

static char *constant(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c's fields are not const; packing only reads */
}

/* X-Relay-…: at most 256 printable bytes, else it is not there. */
static char *metadata_of(relay_request *r, const char *name)
{
    gw_str value = gw_headers_get(r->call.headers, name);

    return text_of(r, value.len <= METADATA_MAX ? value : GW_STR(""), METADATA_MAX);
}

static char *end_user_of(relay_request *r)
{
    /* Believed of those who speak for their users; what an app says of its own user is its word. */
    char *named = r->policy->is_trusted ? metadata_of(r, "x-relay-end-user") : constant("");

    return named[0] != '\0' ? named : text_of(r, r->body.user, METADATA_MAX);
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

static char *lower_name(relay_request *r, gw_str name)
{
    char *copy = text_of(r, name, HEADER_MAX);

    for (char *c = copy; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    return copy;
}

static void set_headers(relay_request *r, usage_event *e)
{
    const gw_header *kept[HEADERS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < r->call.headers.count && count < HEADERS_MAX; i++)
        if (is_kept_header(r->call.headers.items[i].name))
            kept[count++] = &r->call.headers.items[i];
    Apirelay__Usage__V1__EventHeader *items =
        gw_arena_array(r->arena, Apirelay__Usage__V1__EventHeader, count);
    e->headers = gw_arena_array(r->arena, Apirelay__Usage__V1__EventHeader *, count);
    for (size_t i = 0; items && e->headers && i < count; i++) {
        apirelay__usage__v1__event_header__init(&items[i]);
        items[i].name = lower_name(r, kept[i]->name);
        items[i].value = text_of(r, kept[i]->value, HEADER_MAX);
        e->headers[e->n_headers++] = &items[i];
    }
}

static void set_key(relay_request *r, usage_event *e)
{
    const Apirelay__Auth__V1__KeyPolicy *m = r->policy->message;
    gw_object_id *user = gw_arena_new_of(r->arena, gw_object_id);

    e->api_key_id.data = r->policy->api_key_oid;
    e->api_key_id.len = sizeof(r->policy->api_key_oid);
    e->key_id = text_of(r, r->policy->key_id, HEADER_MAX);
    e->client_id = text_of(r, gw_str_of(m->client_id), METADATA_MAX);
    if (user && gw_object_id_parse(gw_str_of(m->user_id), user)) {
        e->user_id.data = user->bytes;
        e->user_id.len = sizeof(user->bytes);
    }
}

static void set_request(relay_request *r, usage_event *e)
{
    gw_str client_id = gw_headers_get(r->call.headers, "x-request-id");
    char *ip = gw_arena_alloc(r->arena, GW_IP_TEXT_SIZE);

    e->request_id = r->id;
    e->client_request_id = is_request_id(client_id) ? text_of(r, client_id, 64) : constant("");
    e->endpoint = constant(endpoint_describe(r->call.endpoint)->path);
    e->method = text_of(r, r->call.method, HEADER_MAX);
    e->model = text_of(r, r->body.model, NAME_MAX_BYTES);
    e->stream = r->stream;
    if (ip) {
        gw_ip_format(&r->call.client, ip);
        e->ip = ip;
    }
    e->user_agent = text_of(r, gw_headers_get(r->call.headers, "user-agent"), USER_AGENT_MAX);
    e->conversation_id = metadata_of(r, "x-relay-conversation-id");
    e->message_id = metadata_of(r, "x-relay-message-id");
    e->client_version = metadata_of(r, "x-relay-client-version");
    e->end_user = end_user_of(r);
    set_headers(r, e);
}

/* What is known before the provider is asked; filled in once. */
static usage_event *event_of(relay_request *r)
{
    usage_event *e = &r->event;

    if (r->event_is_filled)
        return e;
    r->event_is_filled = true;
    recorder_event_id(r->core->lane, r->event_id);
    apirelay__usage__v1__usage_event__init(e);
    e->event_id.data = r->event_id;
    e->event_id.len = sizeof(r->event_id);
    e->timestamp_ms = r->mark.wall_ms ? r->mark.wall_ms : r->arrival_wall_ms; /* the ledger's day */
    set_key(r, e);
    set_request(r, e);
    e->prompt_estimate_tokens = r->prompt_estimate;
    if (r->route) {
        e->route = text_of(r, r->route->pattern, NAME_MAX_BYTES);
        e->price_book_version = text_of(r, r->config->price_book_version, HEADER_MAX);
    }
    return e;
}

/* Whom the last attempt went to. */
static void set_provider(relay_request *r, usage_event *e)
{
    e->attempts = r->attempts;
    e->provider = text_of(r, r->asked->provider->name, HEADER_MAX);
    e->upstream_model = text_of(r, r->upstream_model, NAME_MAX_BYTES);
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
    if (r->unrecorded)
        return;
    usage_event *e = event_of(r);
    token_counts prompt = {.prompt = r->prompt_estimate, .images = r->images};

    set_provider(r, e);
    e->attempts++; /* the one that follows */
    set_ledger(r, e);
    /* What a crash before the first byte of the answer is billed by. */
    e->billing_basis = constant(r->price ? "estimated" : "unpriced");
    e->cost_nano_usd = r->price ? price_of(r->price, &prompt) : 0;
    e->images = r->images;
    recorder_open_event(r->core->lane, r->slot, e);
}

int relay_request_status_code(const relay_request *r)
{
    if (r->started)
        return 200;
    if (r->caller_gone)
        return 499;
    return r->has_failed ? r->troubles->failure.http_status : 200;
}

static usage_event *finished_event(relay_request *r)
{
    usage_event *e = event_of(r);
    const relay_bill *b = &r->bill;

    if (r->attempts > 0) {
        set_provider(r, e);
        set_ledger(r, e);
    }
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
    e->images = b->tokens.images;
    e->cost_nano_usd = b->cost_nano_usd;
    e->billing_basis = constant(b->basis);
    e->outcome = constant(b->outcome);
    e->finish_reason = text_of(r, gw_str_of(b->finish_reason), HEADER_MAX);
    if (r->has_failed)
        e->error = constant(gw_status_describe(r->troubles->failure.error.code)->openai_code);
    e->upstream_accepted = r->upstream_accepted;
    e->ceiling_ignored = r->ceiling_ignored;
    e->repeat_count = 1;
    return e;
}

/* Of a flood of them most cost no more than a look at the key's row that counts. */
static void write_refusal(relay_request *r)
{
    if (!recorder_repeat_refusal(r->core->lane, r->slot, r->policy->api_key_oid))
        recorder_refuse(r->core->lane, r->slot, finished_event(r));
}

void relay_request_write_event(relay_request *r)
{
    if (relay_request_is_refusal(r))
        return write_refusal(r);
    if (!r->slot && !r->unrecorded) /* its caller left before ADMIT */
        r->slot = recorder_claim(r->core->lane);
    if (r->slot)
        recorder_done(r->core->lane, r->slot, finished_event(r));
    else
        recorder_drop(r->core->lane,
                      r->unrecorded ? RECORDER_DROP_DEGRADED : RECORDER_DROP_NO_SLOT);
}
