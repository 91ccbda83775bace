#include "event_row.h"

#include "rollup.h"

#include "crypto/crypto.h"
#include "mongo/bson_read.h"
#include "price/price_book.h"
#include "rpc/walk.h"

#define WORD_MAX        48
#define NAME_BYTES_MAX  256 /* of what sums are kept by */
#define REPEAT_MAX      1000000
#define ATTEMPTS_MAX    1000
#define HEADERS_MAX     64
#define NANO_PER_DOLLAR 1e9

static_assert(REQUEST_COST_MAX_NANO_USD <= EVENT_COST_NANO_USD_MAX,
              "what a relay may price a request at is refused");

usage_event *event_unpack(gw_str packed)
{
    gw_error ignored;
    const ProtobufCMessageDescriptor *d = &apirelay__usage__v1__usage_event__descriptor;
    if (gw_walk(d, packed, &ignored) != GW_OK)
        return NULL;
    return apirelay__usage__v1__usage_event__unpack(NULL, packed.len, (const uint8_t *)packed.ptr);
}

void event_free(usage_event *e)
{
    apirelay__usage__v1__usage_event__free_unpacked(e, NULL);
}

/* ---- judging ---- */

static bool is_object_id(const ProtobufCBinaryData *id)
{
    return id->len == sizeof(((gw_object_id *)NULL)->bytes);
}

/* Names of a table of ours; new ones may come with a newer relay. */
bool event_is_word(gw_str word)
{
    if (word.len > WORD_MAX)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!fits)
            return false;
    }
    return true;
}

static bool is_within(int64_t v, int64_t least, int64_t most)
{
    return v >= least && v <= most;
}

static bool figures_are_sound(const usage_event *e)
{
    const int64_t tokens[] = {e->prompt_tokens,          e->completion_tokens,
                              e->total_tokens,           e->cached_tokens,
                              e->reasoning_tokens,       e->prompt_estimate_tokens,
                              e->cache_write_tokens,     e->images,
                              e->long_cache_write_tokens};
    for (size_t i = 0; i < GW_ARRAY_LEN(tokens); i++)
        if (!is_within(tokens[i], 0, EVENT_TOKENS_MAX))
            return false;
    if (e->ttft_ms_presence_case == APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS &&
        !is_within(e->ttft_ms, 0, EVENT_DURATION_MS_MAX))
        return false;
    return is_within(e->cost_nano_usd, 0, EVENT_COST_NANO_USD_MAX) &&
           is_within(e->duration_ms, 0, EVENT_DURATION_MS_MAX) &&
           is_within(e->status_code, 100, 599) && is_within(e->attempts, 0, ATTEMPTS_MAX) &&
           is_within(e->repeat_count, 0, REPEAT_MAX) && e->key_load_id >= 0 &&
           e->client_load_id >= 0 && e->owner_load_id >= 0 && e->grant_id >= 0 &&
           e->grant_sequence >= 0;
}

/* Sums are kept by these: a giant would grow a document that thousands of requests share. */
static bool names_are_sound(const usage_event *e)
{
    const char *const names[] = {e->model, e->route, e->provider, e->client_id};
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (strlen(names[i]) > NAME_BYTES_MAX)
            return false;
    return true;
}

static const char *judge_fields(const usage_event *e, int64_t now_ms, int64_t retention_ms)
{
    if (!is_object_id(&e->event_id) || !is_object_id(&e->api_key_id) ||
        (e->user_id.len && !is_object_id(&e->user_id)))
        return "bad_id";
    if (!figures_are_sound(e))
        return "bad_figure";
    if (!event_is_word(gw_str_of(e->outcome)) || !event_is_word(gw_str_of(e->billing_basis)))
        return "bad_word";
    if (!names_are_sound(e))
        return "name_too_long";
    if (e->n_headers > HEADERS_MAX)
        return "too_many_headers";
    if (e->timestamp_ms > now_ms + EVENT_AHEAD_MS)
        return "in_the_future";
    if (e->timestamp_ms < now_ms - retention_ms)
        return "too_old";
    return NULL;
}

bool event_reason_is_known(gw_str reason)
{
    gw_str rest = GW_STR(EVENT_REASONS), one;
    while (gw_str_split(&rest, '|', &one))
        if (gw_str_eq(one, reason))
            return true;
    return false;
}

const char *event_judge(gw_str packed, int64_t now_ms, int64_t retention_ms)
{
    if (packed.len > EVENT_BYTES_MAX)
        return "too_large";
    usage_event *e = event_unpack(packed);
    if (!e)
        return "malformed";
    const char *reason = judge_fields(e, now_ms, retention_ms);
    event_free(e);
    return reason;
}

bool event_id_read(gw_str packed, gw_object_id *ret)
{
    usage_event *e = packed.len <= EVENT_BYTES_MAX ? event_unpack(packed) : NULL;
    bool found = e && is_object_id(&e->event_id);
    if (found)
        memcpy(ret->bytes, e->event_id.data, sizeof(ret->bytes));
    event_free(e);
    return found;
}

void event_id_of(gw_str packed, gw_str spool_id, int64_t seq, gw_object_id *ret)
{
    if (event_id_read(packed, ret))
        return;
    char name[64];
    uint8_t digest[GW_SHA256_SIZE];
    gw_hex_encode(spool_id.ptr, GW_MIN(spool_id.len, 12), name);
    gw_auto_buf text = {0};
    gw_buf_appendf(&text, "%s/%lld", name, (long long)seq);
    gw_sha256(text.data, text.len, digest);
    memcpy(ret->bytes, digest, sizeof(ret->bytes));
}

/* ---- the row ---- */

static void append_text(bson_t *d, const char *key, const char *text)
{
    gw_bson_append_str(d, key, gw_str_of(text));
}

/* Of the fields that were asked for, an absent one is null; of ours it is left out. */
static void append_text_or_null(bson_t *d, const char *key, const char *text)
{
    if (text[0])
        append_text(d, key, text);
    else
        (void)bson_append_null(d, key, -1);
}

static void append_text_if_any(bson_t *d, const char *key, const char *text)
{
    if (text[0])
        append_text(d, key, text);
}

static void append_id(bson_t *d, const char *key, const ProtobufCBinaryData *id)
{
    bson_oid_t oid;
    bson_oid_init_from_data(&oid, id->data);
    (void)bson_append_oid(d, key, -1, &oid);
}

static void append_int(bson_t *d, const char *key, int64_t v)
{
    (void)bson_append_int64(d, key, -1, v);
}

static void append_headers(bson_t *request, const usage_event *e)
{
    bson_t headers;
    gw_auto_buf key = {0};

    (void)BSON_APPEND_DOCUMENT_BEGIN(request, "headers", &headers);
    for (size_t i = 0; i < e->n_headers; i++) {
        gw_buf_clear(&key);
        gw_bson_key_escape(&key, gw_str_of(e->headers[i]->name));
        if (!gw_buf_failed(&key) && !bson_has_field(&headers, key.data))
            append_text(&headers, key.data, e->headers[i]->value);
    }
    (void)bson_append_document_end(request, &headers);
}

static void append_request(bson_t *row, const usage_event *e)
{
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "request", &d);
    append_text(&d, "endpoint", e->endpoint);
    append_text(&d, "method", e->method);
    append_text(&d, "model", e->model);
    append_text(&d, "ip", e->ip);
    append_text(&d, "userAgent", e->user_agent);
    append_headers(&d, e);
    (void)bson_append_document_end(row, &d);
}

static void append_response(bson_t *row, const usage_event *e)
{
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "response", &d);
    (void)BSON_APPEND_INT32(&d, "statusCode", e->status_code);
    append_int(&d, "duration", e->duration_ms);
    append_text_or_null(&d, "error", e->error);
    (void)bson_append_document_end(row, &d);
}

static void append_usage(bson_t *row, const usage_event *e)
{
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "usage", &d);
    append_int(&d, "promptTokens", e->prompt_tokens);
    append_int(&d, "completionTokens", e->completion_tokens);
    append_int(&d, "totalTokens", e->total_tokens);
    (void)BSON_APPEND_DOUBLE(&d, "cost", (double)e->cost_nano_usd / NANO_PER_DOLLAR);
    append_int(&d, "cachedTokens", e->cached_tokens);
    append_int(&d, "reasoningTokens", e->reasoning_tokens);
    append_int(&d, "costNanoUsd", e->cost_nano_usd);
    if (e->cache_write_tokens)
        append_int(&d, "cacheWriteTokens", e->cache_write_tokens);
    if (e->long_cache_write_tokens)
        append_int(&d, "longCacheWriteTokens", e->long_cache_write_tokens);
    if (e->images)
        append_int(&d, "images", e->images);
    (void)bson_append_document_end(row, &d);
}

static void append_metadata(bson_t *row, const usage_event *e)
{
    bson_t d;
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "metadata", &d);
    append_text_or_null(&d, "conversationId", e->conversation_id);
    append_text_or_null(&d, "messageId", e->message_id);
    append_text_or_null(&d, "clientVersion", e->client_version);
    (void)bson_append_document_end(row, &d);
}

static void append_attribution(bson_t *row, const usage_event *e)
{
    append_text(row, "requestId", e->request_id);
    append_text_if_any(row, "clientRequestId", e->client_request_id);
    append_text(row, "keyId", e->key_id);
    append_text_if_any(row, "clientId", e->client_id);
    if (e->user_id.len)
        append_id(row, "userId", &e->user_id);
    append_text_if_any(row, "provider", e->provider);
    append_text_if_any(row, "upstreamModel", e->upstream_model);
    append_text_if_any(row, "route", e->route);
    append_text_if_any(row, "endUser", e->end_user);
}

/*
 * What LibreChat calls its answer, and when it may first be asked what it booked for it (librechat_join.h): once the answer had ended.
 */
static void append_books(bson_t *row, const usage_event *e)
{
    bson_t d;
    if (!e->upstream_response_id[0] || strlen(e->upstream_response_id) > EVENT_RESPONSE_ID_MAX)
        return;
    append_text(row, "upstreamResponseId", e->upstream_response_id);
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "librechat", &d);
    (void)BSON_APPEND_DATE_TIME(&d, "lookAt", e->timestamp_ms + e->duration_ms);
    (void)bson_append_document_end(row, &d);
}

static void append_course(bson_t *row, const usage_event *e)
{
    (void)BSON_APPEND_BOOL(row, "stream", e->stream);
    if (e->ttft_ms_presence_case == APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS)
        append_int(row, "ttftMs", e->ttft_ms);
    append_int(row, "attempts", e->attempts);
    append_text(row, "billingBasis", e->billing_basis);
    append_text(row, "outcome", e->outcome);
    append_text_if_any(row, "priceBookVersion", e->price_book_version);
    append_text_if_any(row, "finishReason", e->finish_reason);
    append_text_if_any(row, "serviceTier", e->service_tier);
    append_int(row, "repeatCount", GW_MAX(e->repeat_count, 1));
    append_int(row, "promptEstimateTokens", e->prompt_estimate_tokens);
    (void)BSON_APPEND_BOOL(row, "upstreamAccepted", e->upstream_accepted);
    if (e->ceiling_ignored)
        (void)BSON_APPEND_BOOL(row, "ceilingIgnored", true);
    if (e->truncated)
        (void)BSON_APPEND_BOOL(row, "truncated", true);
}

static void append_ledger(bson_t *row, const usage_event *e)
{
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"k", e->key_load_id},
               {"c", e->client_load_id},
               {"o", e->owner_load_id},
               {"grant", e->grant_id},
               {"seq", e->grant_sequence}};
    bson_t d = BSON_INITIALIZER;
    for (size_t i = 0; i < GW_ARRAY_LEN(ids); i++)
        if (ids[i].id)
            append_int(&d, ids[i].name, ids[i].id);
    if (bson_count_keys(&d))
        (void)BSON_APPEND_DOCUMENT(row, "ledger", &d);
    bson_destroy(&d);
}

void event_append_row(const usage_event *e, int sums_format, bson_t *row)
{
    append_id(row, "_id", &e->event_id);
    append_id(row, "apiKeyId", &e->api_key_id);
    (void)BSON_APPEND_DATE_TIME(row, "timestamp", e->timestamp_ms);
    append_request(row, e);
    append_response(row, e);
    append_usage(row, e);
    append_metadata(row, e);
    append_attribution(row, e);
    append_course(row, e);
    append_ledger(row, e);
    append_books(row, e);
    if (sums_format != SUMS_FORMAT_FIRST)
        (void)BSON_APPEND_INT32(row, SUMS_FORMAT_FIELD, sums_format);
}
