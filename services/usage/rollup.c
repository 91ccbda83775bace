#include "rollup.h"

#include "event_row.h"
#include "histogram.h"
#include "owner_parts.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/map.h"
#include "mongo/bson_read.h"

#include <stdio.h>
#include <stdlib.h>

#define STATUS_FIRST_ERROR 400

/* ---- facts ---- */

bool row_facts_of(const bson_t *row, row_facts *ret)
{
    row_facts f = {.repeat_count = 1};
    bool accepted = false;
    if (!gw_bson_oid(row, "apiKeyId", &f.api_key_id) ||
        !gw_bson_date_ms(row, "timestamp", &f.timestamp_ms) ||
        !gw_bson_int64(row, "response.statusCode", &f.status_code) ||
        !gw_bson_int64(row, "response.duration", &f.duration_ms))
        return false;
    (void)gw_bson_bool(row, "upstreamAccepted", &accepted);
    (void)gw_bson_str(row, "outcome", &f.outcome);
    /* A cached answer's model was accepted by the upstream that made it. */
    accepted = accepted || gw_str_eq(f.outcome, GW_STR("cached"));
    (void)gw_bson_str(row, accepted ? "request.model" : "route", &f.model);
    (void)gw_bson_str(row, "response.error", &f.error);
    (void)gw_bson_str(row, "provider", &f.provider);
    (void)gw_bson_str(row, "clientId", &f.client_id);
    f.has_user_id = gw_bson_oid(row, "userId", &f.user_id);
    f.has_ttft = gw_bson_int64(row, "ttftMs", &f.ttft_ms);
    (void)gw_bson_int64(row, "repeatCount", &f.repeat_count);
    (void)gw_bson_int64(row, "attempts", &f.attempts);
    (void)gw_bson_int64(row, "usage.promptTokens", &f.prompt_tokens);
    (void)gw_bson_int64(row, "usage.completionTokens", &f.completion_tokens);
    (void)gw_bson_int64(row, "usage.totalTokens", &f.total_tokens);
    (void)gw_bson_int64(row, "usage.cachedTokens", &f.cached_tokens);
    (void)gw_bson_int64(row, "usage.reasoningTokens", &f.reasoning_tokens);
    (void)gw_bson_int64(row, "usage.costNanoUsd", &f.cost_nano_usd);
    (void)gw_bson_int64(row, "ledger.k", &f.key_load_id);
    (void)gw_bson_int64(row, "ledger.c", &f.client_load_id);
    (void)gw_bson_int64(row, "ledger.o", &f.owner_load_id);
    f.sums_format = SUMS_FORMAT_FIRST;
    (void)gw_bson_int64(row, SUMS_FORMAT_FIELD, &f.sums_format);
    *ret = f;
    return true;
}

bool row_is_successful(const row_facts *f)
{
    static const char *const unsuccessful[] = {"interrupted", "failed", "refused"};
    for (size_t i = 0; i < GW_ARRAY_LEN(unsuccessful); i++)
        if (gw_str_eq_c(f->outcome, unsuccessful[i]))
            return false;
    return f->status_code < STATUS_FIRST_ERROR;
}

/* ---- one row's additions ---- */

static void add(sums *s, gw_buf *prefix, const char *name, int64_t v)
{
    size_t len = prefix->len;
    gw_buf_append_c(prefix, name);
    sums_add(s, gw_buf_str(prefix), v);
    prefix->len = len;
}

static void add_if_any(sums *s, gw_buf *prefix, const char *name, int64_t v)
{
    if (v != 0)
        add(s, prefix, name, v);
}

/* The figures of one model, provider or owner; of one minute those that it has room for. */
static void add_slice(sums *s, const char *map, gw_str key, const row_facts *f, bool whole)
{
    gw_auto_buf path = {0};
    gw_buf_append_c(&path, map);
    gw_buf_append_str(&path, key);
    gw_buf_append_char(&path, '.');
    add(s, &path, "requests", f->repeat_count);
    add_if_any(s, &path, "failed", row_is_successful(f) ? 0 : f->repeat_count);
    add(s, &path, "tokens", f->total_tokens);
    add(s, &path, "costNanoUsd", f->cost_nano_usd);
    if (!whole)
        return;
    add(s, &path, "prompt", f->prompt_tokens);
    add(s, &path, "completion", f->completion_tokens);
    add_if_any(s, &path, "cached", f->cached_tokens);
    add_if_any(s, &path, "reasoning", f->reasoning_tokens);
}

static void add_named_slice(sums *s, const char *map, gw_str name, const row_facts *f)
{
    gw_auto_buf key = {0};
    gw_bson_key_escape(&key, name);
    add_slice(s, map, gw_buf_str(&key), f, true);
}

/* "" when it has none. */
static void format_user(const row_facts *f, char out[GW_OBJECT_ID_HEX_SIZE])
{
    out[0] = '\0';
    if (f->has_user_id)
        gw_object_id_format(&f->user_id, out);
}

static void add_owner(sums *s, const row_facts *f)
{
    char user[GW_OBJECT_ID_HEX_SIZE];
    gw_auto_buf owner = {0};
    format_user(f, user);
    gw_buf_appendf(&owner, "%s~" GW_STR_FMT, user, GW_STR_ARG(f->client_id));
    add_named_slice(s, "metrics.owners.", gw_buf_str(&owner), f);
}

/* Of a closed set: a text that is no name of ours would make a map key of what somebody wrote. */
static gw_str error_type(const row_facts *f)
{
    if (!f->error.len)
        return f->outcome;
    return event_is_word(f->error) ? f->error : GW_STR("other");
}

static void add_requests(sums *s, const row_facts *f)
{
    bool successful = row_is_successful(f);
    sums_add(s, GW_STR("metrics.requests.total"), f->repeat_count);
    sums_add(s, GW_STR("metrics.requests.successful"), successful ? f->repeat_count : 0);
    sums_add(s, GW_STR("metrics.requests.failed"), successful ? 0 : f->repeat_count);

    gw_auto_buf path = {0};
    gw_buf_appendf(&path, "metrics.status.%lld", (long long)f->status_code);
    sums_add(s, gw_buf_str(&path), f->repeat_count);
    if (successful)
        return;
    gw_buf_clear(&path);
    gw_buf_append_c(&path, "metrics.requests.errors.");
    gw_bson_key_escape(&path, error_type(f));
    sums_add(s, gw_buf_str(&path), f->repeat_count);
}

static void add_tokens_and_cost(sums *s, const row_facts *f)
{
    sums_add(s, GW_STR("metrics.tokens.prompt"), f->prompt_tokens);
    sums_add(s, GW_STR("metrics.tokens.completion"), f->completion_tokens);
    sums_add(s, GW_STR("metrics.tokens.total"), f->total_tokens);
    sums_add(s, GW_STR("metrics.tokens.cached"), f->cached_tokens);
    sums_add(s, GW_STR("metrics.tokens.reasoning"), f->reasoning_tokens);
    sums_add(s, GW_STR("metrics.cost.estimatedNanoUsd"), f->cost_nano_usd);
    sums_add(s, GW_STR("metrics.cost.billedNanoUsd"), f->cost_nano_usd);
}

static void add_bucket(sums *s, const char *map, int64_t ms, int64_t count)
{
    char path[32];
    int len = snprintf(path, sizeof(path), "%s%d", map, histogram_bucket(ms));
    sums_add(s, gw_str_n(path, (size_t)len), count);
}

static void add_performance(sums *s, const row_facts *f)
{
    sums_add(s, GW_STR("metrics.performance.sumDuration"), f->duration_ms * f->repeat_count);
    add_bucket(s, "hist.dur.", f->duration_ms, f->repeat_count);
    if (!f->has_ttft)
        return;
    sums_add(s, GW_STR("metrics.performance.sumTtft"), f->ttft_ms * f->repeat_count);
    sums_add(s, GW_STR("metrics.performance.ttftCount"), f->repeat_count);
    add_bucket(s, "hist.ttft.", f->ttft_ms, f->repeat_count);
}

/* ---- the ledger's sums ---- */

/* NULL when out of memory. */
static ledger_load *load_at(hour_delta *h, gw_str path)
{
    for (size_t i = 0; i < h->load_count; i++)
        if (gw_str_eq(gw_buf_str(&h->loads[i].path), path))
            return &h->loads[i];
    ledger_load *grown = (ledger_load *)realloc(h->loads, (h->load_count + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    h->loads = grown;
    ledger_load *l = &grown[h->load_count];
    *l = (ledger_load){0};
    gw_buf_append_str(&l->path, path);
    if (gw_buf_failed(&l->path)) {
        gw_buf_fini(&l->path);
        return NULL;
    }
    h->load_count++;
    return l;
}

static bool add_load(hour_delta *h, gw_str path, int64_t id, const row_facts *f)
{
    ledger_load *l = load_at(h, path);
    if (!l)
        return false;
    if (id > l->id) {
        l->id = id;
        l->requests = l->tokens = l->cost_nano_usd = 0;
    }
    if (id == l->id) {
        sums_add_to(&l->requests, f->repeat_count);
        sums_add_to(&l->tokens, f->total_tokens);
        sums_add_to(&l->cost_nano_usd, f->cost_nano_usd);
    }
    return true;
}

/* False when out of memory. `path` is one of rollup.h's. */
static bool add_subject(hour_delta *h, gw_buf *path, int64_t load_id, const row_facts *f)
{
    size_t len = path->len;
    gw_buf_append_char(path, '.');
    add(h->sums, path, "requests", f->repeat_count);
    add(h->sums, path, "tokens", f->total_tokens);
    add(h->sums, path, "costNanoUsd", f->cost_nano_usd);
    path->len = len;
    return !gw_buf_failed(path) &&
           (load_id <= 0 || add_load(h, gw_str_n(path->data, len), load_id, f));
}

/* As the relay's ledgers: refusals, a list of models or a caller that left in the queue are held against no limit. */
static bool is_held_against_limits(const row_facts *f)
{
    return !gw_str_eq_c(f->outcome, "refused") &&
           (f->attempts > 0 || gw_str_eq_c(f->outcome, "cached"));
}

/* `map`: "ledger.k", or that of all clients or owners, whose `name` is not empty. */
static bool add_ledger(hour_delta *h, const char *map, gw_str name, int64_t load_id,
                       const row_facts *f)
{
    gw_auto_buf path = {0};
    if (!is_held_against_limits(f))
        return true;
    gw_buf_append_c(&path, map);
    if (name.len)
        gw_bson_key_escape(&path, name);
    return add_subject(h, &path, load_id, f);
}

/* What all rows add to the document of their key and to that of all keys. */
static bool add_common(hour_delta *h, const row_facts *f)
{
    sums *s = h->sums;
    add_requests(s, f);
    add_tokens_and_cost(s, f);
    add_performance(s, f);
    if (f->model.len) /* a list of models, or one's own usage, names none */
        add_named_slice(s, "metrics.models.", f->model, f);
    if (f->provider.len)
        add_named_slice(s, "metrics.providers.", f->provider, f);
    return !sums_failed(s);
}

static void add_minute(hour_delta *h, const row_facts *f)
{
    char minute[3];
    (void)snprintf(minute, sizeof(minute), "%02u",
                   (unsigned)((f->timestamp_ms - h->hour_ms) / (60 * GW_MS_PER_S)) % 60);
    add_slice(h->sums, "minutes.", gw_str_of(minute), f, false);
}

/* ---- many rows ---- */

struct rollup {
    gw_map *by_id; /* borrows */
    hour_delta **hours;
    size_t count, cap;
};

rollup *rollup_new(void)
{
    rollup *r = (rollup *)calloc(1, sizeof(*r));
    if (r)
        r->by_id = gw_map_new(NULL);
    if (r && !r->by_id) {
        free(r);
        return NULL;
    }
    return r;
}

static void hour_delta_free(hour_delta *h)
{
    for (size_t i = 0; i < h->load_count; i++)
        gw_buf_fini(&h->loads[i].path);
    free(h->loads);
    sums_free(h->sums);
    free(h);
}

void rollup_free(rollup *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        hour_delta_free(r->hours[i]);
    free((void *)r->hours);
    gw_map_free(r->by_id);
    free(r);
}

static bool keep(rollup *r, hour_delta *h)
{
    if (r->count == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 16;
        hour_delta **grown = (hour_delta **)realloc((void *)r->hours, cap * sizeof(hour_delta *));
        if (!grown)
            return false;
        r->hours = grown;
        r->cap = cap;
    }
    if (!gw_map_put(r->by_id, gw_str_of(h->id), h))
        return false;
    r->hours[r->count++] = h;
    return true;
}

/* NULL when out of memory. */
static hour_delta *hour_of(rollup *r, const row_facts *f, gw_str subject)
{
    char id[ROLLUP_ID_SIZE];
    rollup_hour_id(subject, f->timestamp_ms, id);
    hour_delta *h = (hour_delta *)gw_map_get(r->by_id, gw_str_of(id));
    if (h)
        return h;
    h = (hour_delta *)calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    memcpy(h->id, id, sizeof(id));
    h->kind = rollup_kind_of(subject);
    (void)snprintf(h->subject, sizeof(h->subject), GW_STR_FMT, GW_STR_ARG(subject));
    h->api_key_id = f->api_key_id;
    h->hour_ms = gw_day_start_ms(f->timestamp_ms);
    h->hour_ms += (f->timestamp_ms - h->hour_ms) / GW_MS_PER_HOUR * GW_MS_PER_HOUR;
    h->sums = sums_new();
    if (h->sums && keep(r, h))
        return h;
    hour_delta_free(h);
    return NULL;
}

/* A row has one of each kind, or none: then `name` is "". */
typedef struct owner_kind {
    const char *slices, *ledgers;
    gw_str name;
    int64_t load_id;
} owner_kind;

static bool add_owner_part(rollup *r, const owner_kind *k, const row_facts *f)
{
    char part[OWNER_SUBJECT_SIZE] = ALL_KEYS;
    if (k->name.len)
        owner_part_of(k->name, part);
    hour_delta *h = hour_of(r, f, gw_str_of(part));
    if (!h)
        return false;
    add_named_slice(h->sums, k->slices, k->name, f);
    return (!k->name.len || add_ledger(h, k->ledgers, k->name, k->load_id, f)) &&
           !sums_failed(h->sums);
}

static bool add_of_key(rollup *r, const row_facts *f)
{
    char key[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_format(&f->api_key_id, key);
    hour_delta *h = hour_of(r, f, gw_str_of(key));
    if (!h)
        return false;
    add_owner(h->sums, f);
    return add_common(h, f) && add_ledger(h, "ledger.k", GW_STR(""), f->key_load_id, f);
}

static bool add_of_all(rollup *r, const row_facts *f)
{
    char user[GW_OBJECT_ID_HEX_SIZE];
    format_user(f, user);
    const owner_kind kinds[] = {
        {"metrics.clients.", "ledger.c.", f->client_id, f->client_load_id},
        {"metrics.users.", "ledger.o.", gw_str_of(user), f->owner_load_id},
    };
    bool apart = f->sums_format != SUMS_FORMAT_FIRST;
    bool fine = true;
    hour_delta *h = hour_of(r, f, GW_STR(ALL_KEYS));
    if (!h)
        return false;
    add_minute(h, f);
    if (!apart)
        add_owner(h->sums, f);
    for (size_t i = 0; i < GW_ARRAY_LEN(kinds) && fine; i++) {
        const owner_kind *k = &kinds[i];
        if (apart)
            fine = add_owner_part(r, k, f);
        else if (k->name.len)
            fine = add_ledger(h, k->ledgers, k->name, k->load_id, f);
    }
    return fine && add_common(h, f);
}

static gw_status add_facts(rollup *r, const row_facts *f, gw_error *err)
{
    if (add_of_key(r, f) && add_of_all(r, f))
        return GW_OK;
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the sums of an hour");
}

gw_status rollup_add_row(rollup *r, const bson_t *row, gw_error *err)
{
    row_facts f;
    if (!row_facts_of(row, &f))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a row of %s lacks its key, time or status",
                       COLLECTION_ROWS);
    return add_facts(r, &f, err);
}

size_t rollup_count(const rollup *r)
{
    return r->count;
}

hour_delta *rollup_at(const rollup *r, size_t i)
{
    return r->hours[i];
}
