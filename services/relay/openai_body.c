#include "openai_body.h"

#include "messages_body.h"

/* What each member must be. */
typedef enum member_type {
    TYPE_STRING,
    TYPE_BOOL,
    TYPE_OBJECT,
    TYPE_ARRAY,
    TYPE_POSITIVE,
    TYPE_NOT_NEGATIVE,
    TYPE_TEXT_OR_ARRAY,
    TYPE_ANY, /* where it is acted on it is looked at */
} member_type;

#define MEMBERS(X)                                                                                 \
    X(model, TYPE_STRING)                                                                          \
    X(stream, TYPE_BOOL)                                                                           \
    X(stream_options, TYPE_OBJECT)                                                                 \
    X(max_tokens, TYPE_NOT_NEGATIVE)                                                               \
    X(max_completion_tokens, TYPE_POSITIVE)                                                        \
    X(n, TYPE_POSITIVE)                                                                            \
    X(best_of, TYPE_POSITIVE)                                                                      \
    X(tools, TYPE_ARRAY)                                                                           \
    X(functions, TYPE_ARRAY)                                                                       \
    X(response_format, TYPE_OBJECT)                                                                \
    X(messages, TYPE_ARRAY)                                                                        \
    X(input, TYPE_TEXT_OR_ARRAY)                                                                   \
    X(prompt, TYPE_TEXT_OR_ARRAY)                                                                  \
    X(prediction, TYPE_OBJECT)                                                                     \
    X(service_tier, TYPE_STRING)                                                                   \
    X(speed, TYPE_ANY)                                                                             \
    X(models, TYPE_ANY)                                                                            \
    X(fallbacks, TYPE_ANY)

typedef enum member {
#define X(name, type) MEMBER_##name,
    MEMBERS(X)
#undef X
        MEMBER_COUNT
} member;

static const struct {
    const char *name;
    size_t name_len;
    member_type type;
} members[MEMBER_COUNT] = {
#define X(name, type) {#name, sizeof(#name) - 1, type},
    MEMBERS(X)
#undef X
};

static const char *const type_names[] = {
    "a string",
    "a boolean",
    "an object",
    "an array",
    "a positive integer",
    "a positive integer",
    "a string or an array",
    "anything",
};

typedef struct found_members {
    yyjson_val *value[MEMBER_COUNT]; /* NULL when absent or null */
    json_span at[MEMBER_COUNT];
    bool given[MEMBER_COUNT];
} found_members;

/*
 * The next character folded as lenient readers fold it: ASCII case, and the two other characters
 * that Unicode folds onto ASCII letters (U+017F long s, U+212A Kelvin sign), which Go's encoding/json
 * takes for s and k.
 */
static char fold_next(gw_str s, size_t *at)
{
    unsigned char c = (unsigned char)s.ptr[*at];

    if (c == 0xC5 && *at + 1 < s.len && (unsigned char)s.ptr[*at + 1] == 0xBF) {
        *at += 2;
        return 's';
    }
    if (c == 0xE2 && *at + 2 < s.len && memcmp(s.ptr + *at, "\xE2\x84\xAA", 3) == 0) {
        *at += 3;
        return 'k';
    }
    ++*at;
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool openai_name_is(gw_str key, const char *wanted)
{
    size_t at = 0;
    unsigned char first = key.len > 0 ? (unsigned char)key.ptr[0] : 0;

    if (first < 0x80 && (first | 0x20) != *wanted) /* nearly all: names begin with a small letter */
        return false;
    while (at < key.len && *wanted != '\0' && key.ptr[at] == *wanted) /* as it is spelled */
        at++, wanted++;
    while (at < key.len && *wanted != '\0')
        if (fold_next(key, &at) != *wanted++)
            return false;
    return at == key.len && *wanted == '\0';
}

static member member_named(gw_str key)
{
    for (int i = 0; i < MEMBER_COUNT; i++) /* nearly always spelled as they are */
        if (key.len == members[i].name_len && memcmp(key.ptr, members[i].name, key.len) == 0)
            return (member)i;
    unsigned char first = key.len > 0 ? (unsigned char)key.ptr[0] : 0;
    for (int i = 0; i < MEMBER_COUNT; i++)
        if ((first >= 0x80 || (first | 0x20) == members[i].name[0]) &&
            openai_name_is(key, members[i].name))
            return (member)i;
    return MEMBER_COUNT;
}

static bool has_type(yyjson_val *v, member_type type)
{
    switch (type) {
    case TYPE_STRING:
        return yyjson_is_str(v);
    case TYPE_BOOL:
        return yyjson_is_bool(v);
    case TYPE_OBJECT:
        return yyjson_is_obj(v);
    case TYPE_ARRAY:
        return yyjson_is_arr(v);
    case TYPE_POSITIVE:
        return yyjson_is_uint(v) && yyjson_get_uint(v) > 0 && yyjson_get_uint(v) <= INT64_MAX;
    case TYPE_NOT_NEGATIVE:
        return yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX;
    case TYPE_TEXT_OR_ARRAY:
        return yyjson_is_str(v) || yyjson_is_arr(v);
    case TYPE_ANY:
        return true;
    }
    return false;
}

static gw_status note_member(found_members *f, member m, gw_str key, yyjson_val *value,
                             json_span at, gw_error *err)
{
    const char *name = members[m].name;

    if (!gw_str_eq_c(key, name))
        return gw_fail_field(err, GW_ERR_DUPLICATE_PARAMETER, name,
                             "a member may not differ from '%s' only in case", name);
    if (f->given[m])
        return gw_fail_field(err, GW_ERR_DUPLICATE_PARAMETER, name, "'%s' is given twice", name);
    f->given[m] = true;
    f->at[m] = at;
    if (yyjson_is_null(value))
        return GW_OK;
    if (!has_type(value, members[m].type))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, name, "'%s' must be %s", name,
                             type_names[members[m].type]);
    f->value[m] = value;
    return GW_OK;
}

static gw_status find_members(openai_body *b, found_members *f, gw_error *err)
{
    json_members text = json_members_of(b->raw);
    yyjson_obj_iter it = yyjson_obj_iter_with(b->root);
    yyjson_val *key;
    json_span at;

    while ((key = yyjson_obj_iter_next(&it)) && json_members_next(&text, &at)) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        gw_str name = json_string(key);
        member m = member_named(name);
        if (m != MEMBER_COUNT) {
            gw_status rc = note_member(f, m, name, value, at, err);
            if (rc != GW_OK)
                return rc;
        } else if (gw_str_eq_c(name, "user") && yyjson_is_str(value)) {
            b->user = json_string(value);
        }
    }
    return GW_OK;
}

/* Every member counts, not only the first of a name: which one of two a provider reads is its own choice. */
static bool part_is_image(yyjson_val *part)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(part);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str type = json_string(yyjson_obj_iter_get_val(key));
        if (openai_name_is(json_string(key), "image_url") ||
            (openai_name_is(json_string(key), "type") &&
             (gw_str_eq_c(type, "image_url") || gw_str_eq_c(type, "input_image") ||
              gw_str_eq_c(type, "image"))))
            return true;
    }
    return false;
}

static bool message_has_images(yyjson_val *message)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(message);
    yyjson_val *key, *part;

    while ((key = yyjson_obj_iter_next(&it))) {
        if (!openai_name_is(json_string(key), "content"))
            continue;
        yyjson_arr_iter parts = yyjson_arr_iter_with(yyjson_obj_iter_get_val(key));
        while ((part = yyjson_arr_iter_next(&parts)))
            if (part_is_image(part))
                return true;
    }
    return false;
}

static bool messages_have_images(yyjson_val *messages)
{
    yyjson_arr_iter each = yyjson_arr_iter_with(messages);
    yyjson_val *message;

    while ((message = yyjson_arr_iter_next(&each)))
        if (message_has_images(message))
            return true;
    return false;
}

/* True when it is said once, spelled so, and true: of two values a provider might take the other, and leave out what is billed. */
static bool asks_for_usage(yyjson_val *options)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(options);
    yyjson_val *key;
    size_t given = 0;

    while ((key = yyjson_obj_iter_next(&it)))
        given += openai_name_is(json_string(key), "include_usage");
    return given == 1 && yyjson_is_true(yyjson_obj_get(options, "include_usage"));
}

/*
 * 0 is a request for no output: of Anthropic's messages, to fill the prompt cache, and of completions, which then score their prompt. For chat
 * there is no such thing.
 */
static gw_status check_no_output(openai_body *b, relay_endpoint endpoint, const found_members *f,
                                 gw_error *err)
{
    yyjson_val *max = f->value[MEMBER_max_tokens];

    if (!max || yyjson_get_uint(max) > 0)
        return GW_OK;
    b->no_output = endpoint == ENDPOINT_MESSAGES || endpoint == ENDPOINT_COMPLETIONS;
    if (b->no_output)
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "max_tokens", "'max_tokens' must be %s",
                         type_names[TYPE_POSITIVE]);
}

static void read_max_tokens(openai_body *b, const found_members *f)
{
    static const member fields[] = {MEMBER_max_tokens, MEMBER_max_completion_tokens};

    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++) {
        int64_t n = (int64_t)yyjson_get_uint(f->value[fields[i]]);
        if (n > b->needs.max_tokens) {
            b->needs.max_tokens = n;
            b->needs.max_tokens_field = members[fields[i]].name;
        }
    }
}

static gw_status require(const found_members *f, member m, gw_error *err)
{
    if (f->value[m])
        return GW_OK;
    return gw_fail_field(err, GW_ERR_MISSING_PARAMETER, members[m].name, "'%s' is required",
                         members[m].name);
}

static gw_status require_both(const found_members *f, member one, member other, gw_error *err)
{
    gw_status rc = require(f, one, err);

    return rc == GW_OK ? require(f, other, err) : rc;
}

/* It is written anew on the way up: what a provider would refuse would not get there. */
static gw_status check_stream_options(yyjson_val *options, gw_error *err)
{
    yyjson_val *asked = yyjson_obj_get(options, "include_usage");

    if (!asked || yyjson_is_bool(asked) || yyjson_is_null(asked))
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stream_options.include_usage",
                         "'stream_options.include_usage' must be a boolean");
}

/* Completions take several prompts: texts, or arrays of tokens; tokens themselves are one. */
static int64_t count_prompts(yyjson_val *prompt)
{
    bool is_one = !yyjson_is_arr(prompt) || yyjson_is_num(yyjson_arr_get_first(prompt));

    return is_one ? 1 : GW_MAX((int64_t)yyjson_arr_size(prompt), 1);
}

static int64_t of_each(int64_t prompts, int64_t n)
{
    int64_t product;

    return __builtin_mul_overflow(prompts, n, &product) ? INT64_MAX : product;
}

/* Nobody makes as many, and the tokens of more could not be counted. */
#define COMPLETIONS_MAX 1000000

static gw_status count_choices(openai_body *b, relay_endpoint endpoint, const found_members *f,
                               gw_error *err)
{
    int64_t prompts = endpoint == ENDPOINT_COMPLETIONS ? count_prompts(f->value[MEMBER_prompt]) : 1;
    int64_t n = GW_MAX((int64_t)yyjson_get_uint(f->value[MEMBER_n]), 1);
    int64_t best_of = (int64_t)yyjson_get_uint(f->value[MEMBER_best_of]);

    b->choices = of_each(prompts, n);
    b->completions = of_each(prompts, GW_MAX(n, best_of));
    if (b->completions <= COMPLETIONS_MAX)
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, best_of > n ? "best_of" : "n",
                         "the request asks for more than %d completions", COMPLETIONS_MAX);
}

/* Anthropic's fast mode has a price of its own, as a tier has. */
static gw_status take_tier(openai_body *b, relay_endpoint endpoint, const found_members *f,
                           gw_error *err)
{
    yyjson_val *tier = f->value[MEMBER_service_tier], *speed = f->value[MEMBER_speed];

    if (tier)
        b->service_tier = json_string(tier);
    if (endpoint != ENDPOINT_MESSAGES || !speed || yyjson_equals_str(speed, "standard"))
        return GW_OK;
    if (!yyjson_is_str(speed))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "speed", "'speed' must be a string");
    b->tier_is_speed = true;
    b->service_tier = json_string(speed);
    return GW_OK;
}

/* Of providers that choose among models themselves: OpenRouter and other relays, and Anthropic after a refusal. */
static void find_other_models(openai_body *b, const found_members *f)
{
    static const member lists[] = {MEMBER_models, MEMBER_fallbacks};

    for (size_t i = 0; i < GW_ARRAY_LEN(lists); i++) {
        yyjson_val *v = f->value[lists[i]];
        if (v && !(yyjson_is_ctn(v) && yyjson_get_len(v) == 0))
            b->needs.other_models_field = members[lists[i]].name;
    }
}

static gw_status take_members(openai_body *b, relay_endpoint endpoint, const found_members *f,
                              gw_error *err)
{
    gw_status rc = require(f, MEMBER_model, err);

    if (rc != GW_OK)
        return rc;
    b->model = json_string(f->value[MEMBER_model]);
    if (b->model.len == 0)
        return gw_fail_field(err, GW_ERR_MISSING_PARAMETER, "model", "'model' is empty");
    if (gw_str_has_control(b->model))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "model",
                             "'model' may not have control characters");
    if (endpoint == ENDPOINT_CHAT || endpoint == ENDPOINT_COUNT_TOKENS)
        rc = require(f, MEMBER_messages, err);
    else if (endpoint == ENDPOINT_MESSAGES)
        rc = require_both(f, MEMBER_messages, MEMBER_max_tokens, err);
    else if (endpoint == ENDPOINT_EMBEDDINGS)
        rc = require(f, MEMBER_input, err);
    if (rc == GW_OK)
        rc = check_no_output(b, endpoint, f, err);
    if (rc == GW_OK)
        rc = check_stream_options(f->value[MEMBER_stream_options], err);
    if (rc == GW_OK)
        rc = count_choices(b, endpoint, f, err);
    if (rc == GW_OK)
        rc = take_tier(b, endpoint, f, err);
    if (rc != GW_OK)
        return rc;
    find_other_models(b, f);
    b->model_at = f->at[MEMBER_model];
    b->stream_at = f->at[MEMBER_stream];
    b->stream_options_at = f->at[MEMBER_stream_options];
    b->max_tokens_at = f->at[MEMBER_max_tokens];
    b->max_completion_tokens_at = f->at[MEMBER_max_completion_tokens];
    b->messages_at = f->at[MEMBER_messages];
    b->tools_at = f->at[MEMBER_tools];
    b->functions_at = f->at[MEMBER_functions];
    b->response_format_at = f->at[MEMBER_response_format];
    if (f->value[MEMBER_prediction])
        b->prediction_at = f->at[MEMBER_prediction];
    b->stream_given = f->value[MEMBER_stream] != NULL;
    b->stream = endpoint_describe(endpoint)->may_stream && yyjson_is_true(f->value[MEMBER_stream]);
    b->include_usage = b->stream && asks_for_usage(f->value[MEMBER_stream_options]);
    b->needs.streaming = b->stream;
    b->needs.function_calling = yyjson_arr_size(f->value[MEMBER_tools]) > 0 ||
                                yyjson_arr_size(f->value[MEMBER_functions]) > 0;
    b->needs.vision = messages_have_images(f->value[MEMBER_messages]);
    read_max_tokens(b, f);
    if (endpoint_is_messages(endpoint))
        messages_body_take(b);
    return GW_OK;
}

struct openai_parsed {
    yyjson_doc *doc;
};

static void free_parsed(void *arg)
{
    openai_parsed *p = arg;

    yyjson_doc_free(p->doc);
    p->doc = NULL;
}

void openai_body_forget_json(openai_body *b, gw_arena *arena)
{
    gw_str model = gw_arena_dup(arena, b->model), user = gw_arena_dup(arena, b->user);
    gw_str tier = gw_arena_dup(arena, b->service_tier);

    if (!b->parsed || !model.ptr || !user.ptr || !tier.ptr)
        return;
    b->model = model;
    b->user = user;
    b->service_tier = tier;
    b->root = NULL;
    free_parsed(b->parsed);
}

gw_status openai_body_read(gw_arena *arena, relay_endpoint endpoint, gw_str raw, openai_body *ret,
                           gw_error *err)
{
    yyjson_read_err why;
    found_members found = {0};
    openai_body b = {.raw = raw, .user = GW_STR(""), .service_tier = GW_STR("")};

    if (raw.len == 0)
        return gw_fail(err, GW_ERR_INVALID_JSON, "the body is empty; a JSON object is expected");
    /* Without YYJSON_READ_INSITU the text is only read: const is cast away for the signature. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)raw.ptr, raw.len, YYJSON_READ_NOFLAG, NULL, &why);
    if (!doc && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the body");
    if (!doc)
        return gw_fail(err, GW_ERR_INVALID_JSON, "the body is not valid JSON: %s at byte %zu",
                       why.msg, why.pos);
    b.parsed = gw_arena_new_of(arena, openai_parsed);
    if (b.parsed)
        b.parsed->doc = doc;
    if (!b.parsed || !gw_arena_defer(arena, free_parsed, b.parsed)) {
        yyjson_doc_free(doc);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read the body");
    }
    b.root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(b.root))
        return gw_fail(err, GW_ERR_INVALID_JSON, "the body is not a JSON object (at byte 0)");
    if (json_is_too_deep(b.root))
        return gw_fail(err, GW_ERR_INVALID_JSON, "the body is nested more than %d deep",
                       JSON_DEPTH_MAX);
    gw_status rc = find_members(&b, &found, err);
    if (rc == GW_OK)
        rc = take_members(&b, endpoint, &found, err);
    if (rc == GW_OK)
        *ret = b;
    return rc;
}
