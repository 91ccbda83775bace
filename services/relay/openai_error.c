#include "openai_error.h"

#include "json_members.h"
#include "retry_hint.h"
#include "secret_scrub.h"

void openai_error_from(openai_error *e, const gw_error *err)
{
    const gw_status_info *info = gw_status_describe(err->code);

    *e = (openai_error){.error = *err, .http_status = info->http_status};
    e->type = gw_str_of(info->openai_type);
    e->code = gw_str_of(info->openai_code);
}

static void append_nullable(gw_buf *out, gw_str s)
{
    if (s.ptr)
        gw_buf_append_json(out, s);
    else
        gw_buf_append_c(out, "null");
}

void openai_error_write(const openai_error *e, gw_buf *out)
{
    gw_str param = e->param;

    if (!param.ptr && e->error.field[0] != '\0')
        param = gw_str_of(e->error.field);
    gw_buf_append_c(out, "{\"error\":{\"message\":");
    gw_buf_append_json(out, e->message.ptr ? e->message : gw_str_of(e->error.message));
    gw_buf_append_c(out, ",\"type\":");
    gw_buf_append_json(out, e->type);
    gw_buf_append_c(out, ",\"param\":");
    append_nullable(out, param);
    gw_buf_append_c(out, ",\"code\":");
    append_nullable(out, e->code);
    gw_buf_append_c(out, "}}");
}

void openai_error_write_event(const openai_error *e, gw_buf *out)
{
    gw_buf_append_c(out, "data: ");
    openai_error_write(e, out);
    gw_buf_append_c(out, "\n\n");
}

/* ---- upstream errors ---- */

typedef struct upstream_words {
    gw_str message, type, code, param;
    int64_t retry_ms;
} upstream_words;

static gw_str scrubbed(gw_arena *arena, gw_str text, gw_str credential)
{
    gw_auto_buf out = {0};

    secret_scrub(&out, text, credential);
    return gw_arena_dup(arena, gw_buf_str(&out));
}

static gw_str member_of(gw_arena *arena, yyjson_val *object, const char *name, gw_str credential)
{
    yyjson_val *v = yyjson_obj_get(object, name);

    if (yyjson_is_int(v))
        return gw_arena_int(arena, yyjson_get_sint(v));
    return yyjson_is_str(v) ? scrubbed(arena, json_string(v), credential) : GW_STR_NULL;
}

/* FastAPI's refusal of a body (vLLM and others in Python, Mistral): a row of mistakes, of which the first is told. */
static void read_detail(upstream_words *w, gw_arena *arena, yyjson_val *detail, gw_str credential)
{
    yyjson_val *first = yyjson_arr_get_first(detail), *step;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(first, "loc"));
    gw_auto_buf path = {0};
    char number[GW_INT_TEXT_SIZE];

    if (!first)
        return;
    w->message = member_of(arena, first, "msg", credential);
    while ((step = yyjson_arr_iter_next(&it))) {
        if (yyjson_equals_str(step, "body"))
            continue;
        gw_buf_append_c(&path, path.len > 0 ? "." : "");
        gw_buf_append_str(&path,
                          yyjson_is_int(step)
                              ? gw_str_n(number, gw_int_format(yyjson_get_sint(step), number))
                              : json_string(step));
    }
    if (path.len > 0)
        w->param = scrubbed(arena, gw_buf_str(&path), credential);
}

/* Every shape seen in the wild (WIRE.md, LIBRECHAT.md §1); what is absent stays NULL. */
static upstream_words read_words(gw_arena *arena, gw_str json, gw_str credential)
{
    upstream_words w = {0};
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (yyjson_is_arr(root)) /* Gemini, for a stream */
        root = yyjson_arr_get_first(root);
    yyjson_val *error = yyjson_obj_get(root, "error");

    if (yyjson_equals_str(yyjson_obj_get(root, "object"), "error")) /* vLLM's older form */
        error = root;
    if (yyjson_is_obj(error)) {
        w.message = member_of(arena, error, "message", credential);
        w.type = member_of(arena, error, "type", credential);
        w.code = member_of(arena, error, "code", credential);
        if (!w.code.ptr) /* Anthropic */
            w.code = member_of(arena, yyjson_obj_get(error, "details"), "error_code", credential);
        w.param = member_of(arena, error, "param", credential);
        w.retry_ms = retry_hint_of_error(error);
    } else if (yyjson_is_str(error)) {
        w.message = scrubbed(arena, json_string(error), credential);
    }
    if (!w.message.ptr)
        w.message = member_of(arena, root, "message", credential);
    if (!w.message.ptr && yyjson_is_str(yyjson_obj_get(root, "detail")))
        w.message = member_of(arena, root, "detail", credential);
    if (!w.message.ptr)
        read_detail(&w, arena, yyjson_obj_get(root, "detail"), credential);
    if (!w.message.ptr)
        read_detail(&w, arena, yyjson_obj_get(yyjson_obj_get(root, "message"), "detail"),
                    credential);
    yyjson_doc_free(doc);
    return w;
}

static gw_status status_of_upstream(int status)
{
    switch (status) {
    case 401:
    case 402:
    case 403:
    case 407:
        return GW_ERR_UPSTREAM_AUTH;
    case 404:
        return GW_ERR_MODEL_NOT_FOUND;
    case 408:
    case 504:
        return GW_ERR_UPSTREAM_TIMEOUT;
    case 429:
        return GW_ERR_UPSTREAM_RATE_LIMITED;
    case 508: /* RFC 5842 §7.2: it is a relay, and found the circle */
        return GW_ERR_LOOP_DETECTED;
    case 503:
    case 529:
        return GW_ERR_UPSTREAM_UNAVAILABLE;
    default:
        return status >= 400 && status < 500 ? GW_ERR_UPSTREAM_REJECTED : GW_ERR_UPSTREAM_FAILED;
    }
}

/* Our own words: what the upstream says of its credential is no business of the caller. */
static void describe(gw_error *err, gw_status code, gw_str provider, int status, gw_str message)
{
    const char *colon = message.len > 0 ? ": " : "";

    if (code == GW_ERR_UPSTREAM_AUTH)
        (void)gw_fail(
            err, code,
            "the provider %.*s refused this gateway's credential; its operator has to mend it",
            GW_STR_ARG(provider));
    else if (code == GW_ERR_UPSTREAM_QUOTA)
        (void)gw_fail(err, code,
                      "the quota that this gateway has at the provider %.*s is used up; waiting "
                      "does not help, its operator has to mend it",
                      GW_STR_ARG(provider));
    else
        (void)gw_fail(err, code, "the provider %.*s answered %d%s%.*s", GW_STR_ARG(provider),
                      status, colon, GW_STR_ARG(message));
}

static bool is_of_quota(const upstream_words *w)
{
    return gw_str_eq_c(w->code, "insufficient_quota") || gw_str_eq_c(w->type, "insufficient_quota");
}

void openai_error_from_upstream(openai_error *e, gw_arena *arena, gw_str provider, int status,
                                bool is_json, gw_str body, gw_str credential)
{
    upstream_words w = {0};
    gw_error err;
    gw_status code = status_of_upstream(status);

    if (is_json)
        w = read_words(arena, body, credential);
    if (status == 429 && is_of_quota(&w))
        code = GW_ERR_UPSTREAM_QUOTA;
    /* A 404 that is not about a model comes from a wrong base URL: nothing the caller can mend. */
    if (code == GW_ERR_MODEL_NOT_FOUND && !(w.code.ptr || w.type.ptr))
        code = GW_ERR_UPSTREAM_FAILED;
    /* A proxy says 413 in words of its own, and it is the caller's all the same. */
    if (code == GW_ERR_UPSTREAM_REJECTED && !is_json && status != 413)
        code = GW_ERR_UPSTREAM_PROTOCOL;
    describe(&err, code, provider, status, w.message);
    openai_error_from(e, &err);
    e->retry_ms = GW_MAX(w.retry_ms, 0);
    if (code != GW_ERR_UPSTREAM_REJECTED && code != GW_ERR_MODEL_NOT_FOUND)
        return;
    /* The caller's own mistake: status and words are the upstream's. */
    e->http_status = status;
    if (w.message.ptr)
        e->message = w.message;
    if (w.type.ptr)
        e->type = w.type;
    e->code = w.code;
    e->param = w.param;
}

void openai_error_from_quota(openai_error *e, gw_str provider)
{
    gw_error err;

    describe(&err, GW_ERR_UPSTREAM_QUOTA, provider, 429, GW_STR(""));
    openai_error_from(e, &err);
}

void openai_error_from_inband(openai_error *e, gw_arena *arena, gw_str provider, gw_str json,
                              gw_str credential)
{
    upstream_words w = read_words(arena, json, credential);
    gw_error err;

    (void)gw_fail(&err, GW_ERR_UPSTREAM_FAILED, "the provider %.*s failed%s%.*s",
                  GW_STR_ARG(provider), w.message.len > 0 ? ": " : "", GW_STR_ARG(w.message));
    openai_error_from(e, &err);
}
