#include "alert_rules.h"

#include "mongo/bson_read.h"
#include "query_op.h"

#include <math.h>

#define NAME_MAX_CHARS  200
#define MODEL_MAX       512
#define NANO_PER_DOLLAR 1e9

/* ---- measures ---- */

static double measure_cost(const usage_figures *f)
{
    return (double)f->cost_nano_usd / NANO_PER_DOLLAR;
}

static double measure_tokens(const usage_figures *f)
{
    return (double)f->total_tokens;
}

static double measure_requests(const usage_figures *f)
{
    return (double)f->requests;
}

static double measure_errors(const usage_figures *f)
{
    return (double)f->failed;
}

static double measure_error_rate(const usage_figures *f)
{
    return f->requests > 0 ? (double)f->failed / (double)f->requests : 0;
}

/* p95_response_time is measured by the histogram. */
static const struct {
    const char *name;
    double (*measure)(const usage_figures *f);
} kinds[] = {
    {"cost", measure_cost},     {"tokens", measure_tokens},         {"requests", measure_requests},
    {"errors", measure_errors}, {"error_rate", measure_error_rate}, {"p95_response_time", NULL},
};

static ptrdiff_t kind_index(const char *name)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return (ptrdiff_t)i;
    return -1;
}

double alert_rule_measure(const alert_rule *r, const usage_report *report)
{
    static const usage_figures nothing = {0};
    ptrdiff_t kind = kind_index(r->kind);
    if (kind < 0)
        return 0;
    if (!kinds[kind].measure)
        return histogram_percentile(usage_report_durations(report), 0.95);
    const usage_figures *f =
        *r->model ? usage_report_group(report, gw_str_of(r->model)) : usage_report_totals(report);
    return kinds[kind].measure(f ? f : &nothing);
}

void alert_describe(const alert_rule *r, double value, gw_buf *out)
{
    gw_buf_appendf(out, "%s over the last %lld s is %.6g, at or above %.6g", r->kind,
                   (long long)r->window_seconds, value, r->threshold);
    if (*r->model)
        gw_buf_appendf(out, ", model %s", r->model);
    if (*r->api_key_id)
        gw_buf_appendf(out, ", API key %s", r->api_key_id);
}

/* ---- checking ---- */

static size_t count_characters(gw_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void check_kind(const alert_rule *r, gw_violations *v)
{
    if (strcmp(r->kind, "budget") == 0)
        gw_violations_add(v, "kind", "\"budget\" cannot be measured yet");
    else if (kind_index(r->kind) < 0)
        gw_violations_add(
            v, "kind", "must be one of cost|tokens|requests|errors|error_rate|p95_response_time");
    if (strcmp(r->kind, "p95_response_time") == 0 && *r->model)
        gw_violations_add(v, "model", "p95_response_time is measured over all models");
    if (strcmp(r->kind, "error_rate") == 0 && r->threshold > 1)
        gw_violations_add(v, "threshold", "an error rate is at most 1");
}

static void check_read_only(const alert_rule *r, gw_violations *v)
{
    const struct {
        const char *field;
        bool given;
    } members[] = {{"id", *r->id != '\0'},
                   {"createdAt", r->created_at != NULL},
                   {"updatedAt", r->updated_at != NULL},
                   {"etag", *r->etag != '\0'}};
    for (size_t i = 0; i < GW_ARRAY_LEN(members); i++)
        if (members[i].given)
            gw_violations_add(v, members[i].field, "is read only");
}

void alert_rule_check(const alert_rule *r, gw_violations *v)
{
    gw_object_id key;
    size_t length = count_characters(gw_str_of(r->name));
    if (length < 1 || length > NAME_MAX_CHARS || !gw_str_is_label(gw_str_of(r->name)))
        gw_violations_add(v, "name", "must be 1-%d characters, " GW_LABEL_RULE, NAME_MAX_CHARS);
    check_kind(r, v);
    if (!isfinite(r->threshold) || r->threshold <= 0)
        gw_violations_add(v, "threshold", "must be above 0");
    if (r->window_seconds != 0 &&
        (r->window_seconds < ALERT_WINDOW_MIN_S || r->window_seconds > ALERT_WINDOW_MAX_S))
        gw_violations_add(v, "windowSeconds", "must be %d-%d", ALERT_WINDOW_MIN_S,
                          ALERT_WINDOW_MAX_S);
    if (*r->api_key_id && !gw_object_id_parse(gw_str_of(r->api_key_id), &key))
        gw_violations_add(v, "apiKeyId", "must be 24 hex digits");
    if (strlen(r->model) > MODEL_MAX)
        gw_violations_add(v, "model", "must be at most %d bytes", MODEL_MAX);
    else if (*r->model && !gw_str_is_label(gw_str_of(r->model)))
        gw_violations_add(v, "model", "must be text, " GW_LABEL_RULE);
    if (*r->webhook_url)
        gw_violations_add(v, "webhookUrl",
                          "webhooks are not supported yet; leave it out to list alerts only");
    check_read_only(r, v);
}

/* ---- documents ---- */

static void append_text(bson_t *doc, const char *key, const char *text)
{
    gw_bson_append_str(doc, key, gw_str_of(text));
}

/* What a rule and its alerts have in common. */
static void append_subject(bson_t *doc, const alert_rule *r)
{
    gw_object_id key;
    append_text(doc, "kind", r->kind);
    BSON_APPEND_DOUBLE(doc, "threshold", r->threshold);
    if (gw_object_id_parse(gw_str_of(r->api_key_id), &key))
        gw_bson_append_oid(doc, "apiKeyId", &key);
    if (*r->model)
        append_text(doc, "model", r->model);
}

void alert_rule_append(const alert_rule *r, const gw_object_id *id, int64_t now_ms, bson_t *doc)
{
    gw_bson_append_oid(doc, "_id", id);
    append_text(doc, "name", r->name);
    append_subject(doc, r);
    BSON_APPEND_INT64(doc, "windowSeconds",
                      r->window_seconds ? r->window_seconds : ALERT_WINDOW_DEFAULT_S);
    BSON_APPEND_BOOL(doc, "disabled", r->disabled);
    BSON_APPEND_DATE_TIME(doc, "createdAt", now_ms);
    BSON_APPEND_DATE_TIME(doc, "updatedAt", now_ms);
    BSON_APPEND_INT64(doc, "version", 1);
}

static char *text_at(gw_arena *a, const bson_t *doc, const char *path)
{
    gw_str s = GW_STR("");
    (void)gw_bson_str(doc, path, &s);
    return reply_text(a, s);
}

static char *id_at(gw_arena *a, const bson_t *doc, const char *path)
{
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE] = "";
    if (gw_bson_oid(doc, path, &id))
        gw_object_id_format(&id, hex);
    return reply_text(a, gw_str_of(hex));
}

static Google__Protobuf__Timestamp *time_at(gw_arena *a, const bson_t *doc, const char *path)
{
    int64_t ms;
    return gw_bson_date_ms(doc, path, &ms) ? reply_time(a, ms) : NULL;
}

alert_rule *alert_rule_of(gw_arena *a, const bson_t *doc)
{
    alert_rule *r = reply_new(a, &apirelay__usage__v1__alert_rule__descriptor);
    bool disabled = false;
    int64_t version = 0;
    if (!r)
        return NULL;
    r->id = id_at(a, doc, "_id");
    r->name = text_at(a, doc, "name");
    r->kind = text_at(a, doc, "kind");
    (void)gw_bson_double(doc, "threshold", &r->threshold);
    (void)gw_bson_int64(doc, "windowSeconds", &r->window_seconds);
    r->api_key_id = id_at(a, doc, "apiKeyId");
    r->model = text_at(a, doc, "model");
    r->disabled = gw_bson_bool(doc, "disabled", &disabled) && disabled;
    r->created_at = time_at(a, doc, "createdAt");
    r->updated_at = time_at(a, doc, "updatedAt");
    (void)gw_bson_int64(doc, "version", &version);
    gw_str etag = gw_arena_int(a, version);
    r->etag = reply_text(a, etag);
    return r;
}

void alert_append(const alert_rule *r, double value, int64_t now_ms, bson_t *doc)
{
    gw_object_id id, rule_id;
    gw_auto_buf message = {0};
    gw_object_id_make(&id, now_ms);
    gw_bson_append_oid(doc, "_id", &id);
    if (gw_object_id_parse(gw_str_of(r->id), &rule_id))
        gw_bson_append_oid(doc, "ruleId", &rule_id);
    append_text(doc, "ruleName", r->name);
    append_subject(doc, r);
    append_text(doc, "status", "firing");
    BSON_APPEND_DOUBLE(doc, "value", value);
    alert_describe(r, value, &message);
    gw_bson_append_str(doc, "message", gw_buf_str(&message));
    BSON_APPEND_DATE_TIME(doc, "startedAt", now_ms);
}

alert *alert_of(gw_arena *a, const bson_t *doc)
{
    alert *m = reply_new(a, &apirelay__usage__v1__alert__descriptor);
    if (!m)
        return NULL;
    m->id = id_at(a, doc, "_id");
    m->rule_id = id_at(a, doc, "ruleId");
    m->rule_name = text_at(a, doc, "ruleName");
    m->kind = text_at(a, doc, "kind");
    m->status = text_at(a, doc, "status");
    (void)gw_bson_double(doc, "value", &m->value);
    (void)gw_bson_double(doc, "threshold", &m->threshold);
    m->api_key_id = id_at(a, doc, "apiKeyId");
    m->model = text_at(a, doc, "model");
    m->message = text_at(a, doc, "message");
    m->started_at = time_at(a, doc, "startedAt");
    m->resolved_at = time_at(a, doc, "resolvedAt");
    return m;
}
