#include "live_figure.h"

#include "core/id.h"
#include "histogram.h"

#define KEY_BYTES 12
#define KEY_HEX   24

static const struct {
    live_kind kind;
    char letter;
} letters[] = {{LIVE_REQUESTS, 'r'},   {LIVE_ERRORS, 'e'}, {LIVE_PROMPT, 'p'},
               {LIVE_COMPLETION, 'c'}, {LIVE_COST, 'n'},   {LIVE_DURATION, 'd'},
               {LIVE_TTFT, 't'}};

/* ---- of a frame ---- */

typedef struct telling {
    void (*each)(void *arg, const live_figure *f);
    void *arg;
    live_figure of; /* whose figures */
} telling;

static void tell(telling *t, live_kind kind, int32_t bucket, int64_t value)
{
    if (value == 0)
        return;
    t->of.kind = kind;
    t->of.bucket = bucket;
    t->of.value = value;
    t->each(t->arg, &t->of);
}

static void tell_buckets(telling *t, live_kind kind,
                         Apirelay__Usage__V1__HistogramBucket *const *buckets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tell(t, kind, buckets[i]->index, buckets[i]->count);
}

static void tell_counter(telling *t, const Apirelay__Usage__V1__LiveCounter *c)
{
    bool is_rest = c->api_key_id.len != KEY_BYTES;
    t->of.key = is_rest ? GW_STR("") : gw_str_n((const char *)c->api_key_id.data, KEY_BYTES);
    t->of.model = gw_str_of(c->model);
    tell(t, LIVE_REQUESTS, 0, c->requests);
    tell(t, LIVE_ERRORS, 0, c->errors);
    tell(t, LIVE_PROMPT, 0, c->prompt_tokens);
    tell(t, LIVE_COMPLETION, 0, c->completion_tokens);
    tell(t, LIVE_COST, 0, c->cost_nano_usd);
    tell_buckets(t, LIVE_DURATION, c->duration, c->n_duration);
    tell_buckets(t, LIVE_TTFT, c->ttft, c->n_ttft);
}

void live_figures_of(const Apirelay__Usage__V1__Live *frame,
                     void (*each)(void *arg, const live_figure *f), void *arg)
{
    telling t = {.each = each, .arg = arg};
    tell(&t, LIVE_OPEN_STREAMS, 0, frame->open_streams);
    tell(&t, LIVE_IN_FLIGHT, 0, frame->in_flight);
    for (size_t i = 0; i < frame->n_counters; i++)
        tell_counter(&t, frame->counters[i]);
}

/* ---- names ---- */

void live_figure_name(const live_figure *f, gw_buf *out)
{
    if (f->kind == LIVE_OPEN_STREAMS || f->kind == LIVE_IN_FLIGHT) {
        gw_buf_append_c(out, f->kind == LIVE_IN_FLIGHT ? "|flight|" : "|streams|");
        return;
    }
    char hex[KEY_HEX + 1] = "";
    if (f->key.len == KEY_BYTES)
        gw_hex_encode(f->key.ptr, KEY_BYTES, hex);
    gw_buf_append_c(out, hex);
    gw_buf_append_char(out, '|');
    gw_buf_append_str(out, gw_str_slice(f->model, 0, gw_str_utf8_cut(f->model, LIVE_MODEL_MAX)));
    gw_buf_append_char(out, '|');
    for (size_t i = 0; i < GW_ARRAY_LEN(letters); i++)
        if (letters[i].kind == f->kind)
            gw_buf_append_char(out, letters[i].letter);
    if (f->kind == LIVE_DURATION || f->kind == LIVE_TTFT)
        gw_buf_appendf(out, "%d", f->bucket);
}

static bool parse_kind(gw_str text, live_figure *ret)
{
    for (size_t i = 0; text.len > 0 && i < GW_ARRAY_LEN(letters); i++) {
        int64_t bucket = 0;
        if (letters[i].letter != text.ptr[0])
            continue;
        ret->kind = letters[i].kind;
        if (ret->kind != LIVE_DURATION && ret->kind != LIVE_TTFT)
            return text.len == 1;
        if (!gw_str_to_int64(gw_str_slice(text, 1, text.len), &bucket) || bucket < 0 ||
            bucket >= HISTOGRAM_BUCKETS)
            return false;
        ret->bucket = (int32_t)bucket;
        return true;
    }
    return false;
}

bool live_figure_parse(gw_str name, char *key_bytes, live_figure *ret)
{
    live_figure f = {.key = GW_STR("")};
    if (gw_str_eq(name, GW_STR("|streams|")) || gw_str_eq(name, GW_STR("|flight|"))) {
        f.kind = name.ptr[1] == 's' ? LIVE_OPEN_STREAMS : LIVE_IN_FLIGHT;
        *ret = f;
        return true;
    }
    ptrdiff_t first = gw_str_find(name, '|');
    size_t last = name.len;
    while (last > 0 && name.ptr[last - 1] != '|')
        last--;
    if (first < 0 || last < (size_t)first + 2)
        return false;
    if (first == KEY_HEX) {
        gw_object_id id;
        if (!gw_object_id_parse(gw_str_slice(name, 0, KEY_HEX), &id))
            return false;
        memcpy(key_bytes, id.bytes, KEY_BYTES);
        f.key = gw_str_n(key_bytes, KEY_BYTES);
    } else if (first != 0) {
        return false;
    }
    f.model = gw_str_slice(name, (size_t)first + 1, last - 1);
    if (!parse_kind(gw_str_slice(name, last, name.len), &f))
        return false;
    *ret = f;
    return true;
}
