/*
 * Golden files: what each kind of provider is sent and how what it says is read, as files in
 * tests/golden/<kind>/, and for callers of /v1/messages in tests/golden/messages_<kind>/. A file is a row of sections, each begun by a line "=== name": inputs, and after each
 * of them the output that belongs to it.
 *
 *     request (the caller's)    →  upstream (request line, headers, body)  or  refused
 *     request, route drops      →  the same where the route says so
 *     answer (the provider's)   →  completion  or  failed
 *     answer, streamed          →  chunks, of a provider that answers JSON to who asked for a stream
 *     stream (its events)       →  chunks: kind and data of each, then usage, or the failure
 *     error <status>            →  failure
 *
 * Each stream is played once more for every place it can be cut at, with the same result.
 *
 * GOLDEN_WRITE=1 writes the outputs anew; look at the diff.
 */
#include "adapter_test_kit.h"
#include "messages_error.h"

#include <dirent.h>
#include <stdio.h>

#define PRETTY (YYJSON_WRITE_PRETTY_TWO_SPACES | YYJSON_WRITE_NEWLINE_AT_END)

static void append_pretty(gw_buf *out, gw_str json)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    size_t len = 0;
    char *text = doc ? yyjson_write(doc, PRETTY, &len) : NULL;

    if (!text)
        fail_msg("no JSON: %.*s", GW_STR_ARG(json));
    gw_buf_append(out, text, len);
    free(text);
    yyjson_doc_free(doc);
}

static void append_failure(const fixture *f, gw_buf *out, openai_error *e)
{
    gw_auto_buf json = {0};

    if (endpoint_is_messages(f->job.endpoint)) {
        messages_error_adapt(e);
        messages_error_write(e, f->job.request_id, &json);
    } else {
        openai_error_write(e, &json);
    }
    gw_buf_appendf(out, "%d %s\n", e->http_status, gw_status_describe(e->error.code)->name);
    append_pretty(out, gw_buf_str(&json));
}

static void append_usage(gw_buf *out, const usage_tap *t)
{
    if (t->has_usage)
        gw_buf_appendf(out,
                       "usage: prompt %lld cached %lld completion %lld reasoning %lld total %lld\n",
                       (long long)t->tokens.prompt, (long long)t->tokens.cached,
                       (long long)t->tokens.completion, (long long)t->tokens.reasoning,
                       (long long)t->total_tokens);
    else
        gw_buf_appendf(out, "usage: not known, estimated completion %lld\n",
                       (long long)text_size_tokens(&t->completion));
    if (t->finish_reason[0] != '\0')
        gw_buf_appendf(out, "finish: %s x %lld\n", t->finish_reason,
                       (long long)t->finished_choices);
}

/* ---- sections ---- */

static void on_golden_event(void *arg, const answer_event *e)
{
    static const char *const kinds[] = {"preamble", "content", "usage", "done", "comment"};
    fixture *f = arg;
    gw_auto_buf framed = {0};

    if (endpoint_is_messages(
            f->job.endpoint)) { /* each event has a name, and an event may be several */
        gw_buf_appendf(&f->sent, "%s\n%.*s", kinds[e->kind], GW_STR_ARG(e->raw));
        return;
    }
    if (e->kind != ANSWER_DONE)
        gw_sse_append_data(&framed, e->data);
    else
        gw_buf_append_c(&framed, "data: [DONE]\n\n");
    assert_true(gw_str_eq(gw_buf_str(&framed), e->raw));
    gw_buf_appendf(&f->sent, "%s %.*s\n", kinds[e->kind], GW_STR_ARG(e->data));
}

static void write_upstream(fixture *f, gw_buf *name, gw_buf *out)
{
    static const char *const shown[] = {"authorization", "x-api-key", "x-goog-api-key",
                                        "anthropic-version", "accept"};
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err = {0};

    if (write_request(f, &r, &body, &err) != GW_OK) {
        gw_buf_append_c(name, "refused");
        gw_buf_appendf(out, "%s %s: %s\n", gw_status_describe(err.code)->name, err.field,
                       err.message);
        return;
    }
    gw_buf_append_c(name, "upstream");
    gw_buf_appendf(out, "POST %.*s\n", GW_STR_ARG(r.target));
    for (size_t i = 0; i < GW_ARRAY_LEN(shown); i++) {
        gw_str value =
            gw_headers_get((gw_headers){.items = r.headers, .count = r.header_count}, shown[i]);
        if (value.ptr)
            gw_buf_appendf(out, "%s: %.*s\n", shown[i], GW_STR_ARG(value));
    }
    if (r.ignored_params.len > 0)
        gw_buf_appendf(out, "(ignored: %.*s)\n", GW_STR_ARG(r.ignored_params));
    append_pretty(out, gw_buf_str(&body));
}

static void write_completion(fixture *f, gw_str json, gw_buf *name, gw_buf *out)
{
    gw_str answer;

    if (f->ops->on_answer(&f->stream, json, &answer) != GW_OK) {
        gw_buf_append_c(name, "failed");
        append_failure(f, out, f->stream.failure);
        return;
    }
    gw_buf_append_c(name, "completion");
    append_pretty(out, answer);
    append_usage(out, &f->tap);
}

static void play_golden(fixture *f, provider_kind kind, const char *request, gw_str sse, size_t cut,
                        gw_buf *out)
{
    relay_endpoint endpoint = f->job.endpoint;

    adapter_stream_fini(&f->stream);
    gw_arena_reset(f->arena);
    ask(f, kind, endpoint, request);
    f->stream.emit = on_golden_event;
    gw_status rc = play_cut(f, sse, cut);
    gw_buf_append_str(out, gw_buf_str(&f->sent));
    if (rc != GW_OK)
        append_failure(f, out, f->stream.failure);
    append_usage(out, &f->tap);
}

static void write_chunks(fixture *f, provider_kind kind, const char *request, gw_str sse,
                         gw_buf *out)
{
    play_golden(f, kind, request, sse, 0, out);
    for (size_t cut = 1; cut < sse.len; cut++) {
        gw_auto_buf again = {0};
        play_golden(f, kind, request, sse, cut, &again);
        if (!gw_str_eq(gw_buf_str(&again), gw_buf_str(out)))
            fail_msg("cut at %zu:\n%s", cut, again.data);
    }
}

static void write_streamed(fixture *f, gw_str json, gw_buf *out)
{
    f->stream.emit = on_golden_event;
    gw_status rc = f->ops->stream_answer(&f->stream, json);
    gw_buf_append_str(out, gw_buf_str(&f->sent));
    if (rc != GW_OK)
        append_failure(f, out, f->stream.failure);
    append_usage(out, &f->tap);
}

static void write_failure(fixture *f, gw_str name, gw_str body, gw_buf *out)
{
    openai_error e;
    int64_t status = 0;

    assert_true(gw_str_to_int64(gw_str_slice(name, strlen("error "), name.len), &status));
    body = gw_str_slice(body, 0, body.len - 1);
    f->ops->map_error(&f->job, (int)status, body.len > 0 && (*body.ptr == '{' || *body.ptr == '['),
                      body, &e);
    append_failure(f, out, &e);
}

/* ---- files ---- */

typedef struct section {
    gw_str name;
    gw_str text;
} section;

/* The next section; false at the end. */
static bool next_section(gw_str *rest, section *ret)
{
    const gw_str mark = GW_STR("=== ");
    size_t end;

    if (!gw_str_starts_with(*rest, mark))
        return false;
    *rest = gw_str_slice(*rest, mark.len, rest->len);
    assert_true(gw_str_split(rest, '\n', &ret->name));
    for (end = 0; end < rest->len; end++)
        if ((end == 0 || rest->ptr[end - 1] == '\n') &&
            gw_str_starts_with(gw_str_slice(*rest, end, rest->len), mark))
            break;
    ret->text = gw_str_slice(*rest, 0, end);
    *rest = gw_str_slice(*rest, end, rest->len);
    return true;
}

static void write_output(fixture *f, provider_kind kind, const section *in, char **request,
                         gw_buf *whole)
{
    gw_auto_buf name = {0}, out = {0};
    relay_endpoint endpoint = f->job.endpoint;

    if (gw_str_starts_with(in->name, GW_STR("request"))) {
        free(*request);
        *request = gw_str_dup(in->text);
        f->route.drops_params = gw_str_eq_c(in->name, "request, route drops");
        ask(f, kind, endpoint, *request);
        write_upstream(f, &name, &out);
    } else if (gw_str_eq_c(in->name, "answer")) {
        ask(f, kind, endpoint, *request);
        write_completion(f, in->text, &name, &out);
    } else if (gw_str_eq_c(in->name, "answer, streamed")) {
        gw_buf_append_c(&name, "chunks");
        ask(f, kind, endpoint, *request);
        write_streamed(f, in->text, &out);
    } else if (gw_str_eq_c(in->name, "stream")) {
        gw_buf_append_c(&name, "chunks");
        write_chunks(f, kind, *request, in->text, &out);
    } else if (gw_str_starts_with(in->name, GW_STR("error "))) {
        gw_buf_append_c(&name, "failure");
        ask(f, kind, endpoint, *request);
        write_failure(f, in->name, in->text, &out);
    } else {
        return; /* an output, written anew behind its input */
    }
    gw_buf_appendf(whole, "=== %.*s\n%.*s=== %s\n%s", GW_STR_ARG(in->name), GW_STR_ARG(in->text),
                   name.data, out.data);
}

static void read_file(const char *path, gw_buf *ret)
{
    FILE *file = fopen(path, "r");
    char bytes[4096];
    size_t n;

    assert_non_null(file);
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        gw_buf_append(ret, bytes, n);
    (void)fclose(file);
}

static void write_file(const char *path, const gw_buf *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
    assert_int_equal(fclose(file), 0);
}

static void show_difference(const char *path, const gw_buf *expected, const gw_buf *found)
{
    size_t at = 0, line = 1;

    while (at < expected->len && at < found->len && expected->data[at] == found->data[at])
        line += expected->data[at++] == '\n';
    while (at > 0 && found->data[at - 1] != '\n')
        at--;
    fail_msg("%s:%zu: now\n%.1200s\n(GOLDEN_WRITE=1 writes it)", path, line, found->data + at);
}

static void check_file(fixture *f, provider_kind kind, const char *path)
{
    gw_auto_buf text = {0}, whole = {0};
    char *request = gw_str_dup(GW_STR("{\"model\":\"m\",\"messages\":[],\"max_tokens\":100}"));
    section in;

    read_file(path, &text);
    gw_str rest = gw_buf_str(&text);
    while (next_section(&rest, &in))
        write_output(f, kind, &in, &request, &whole);
    free(request);
    assert_int_equal(rest.len, 0);
    if (getenv("GOLDEN_WRITE"))
        write_file(path, &whole);
    else if (!gw_str_eq(gw_buf_str(&text), gw_buf_str(&whole)))
        show_difference(path, &text, &whole);
}

static void check_folder(fixture *f, provider_kind kind, relay_endpoint endpoint)
{
    const char *dialect = endpoint == ENDPOINT_MESSAGES ? "messages_" : "";
    char path[512];
    struct dirent **names = NULL;
    int files = 0;

    f->job.endpoint = endpoint;
    (void)snprintf(path, sizeof(path), "%s/%s%s", GOLDEN_FOLDER, dialect,
                   provider_kind_describe(kind)->name);
    int count = scandir(path, &names, NULL, alphasort);
    assert_true(count > 2);
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s%s/%s", GOLDEN_FOLDER, dialect,
                       provider_kind_describe(kind)->name, names[i]->d_name);
        if (gw_str_ends_with(gw_str_of(path), GW_STR(".txt"))) {
            check_file(f, kind, path);
            files++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(files > 0);
}

static void openai_is_spoken_to_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_OPENAI, ENDPOINT_CHAT);
}

static void agents_are_spoken_to_as_their_files_say(void **state)
{
    check_folder(*state, PROVIDER_LIBRECHAT, ENDPOINT_CHAT);
}

static void local_servers_are_spoken_to_as_their_files_say(void **state)
{
    check_folder(*state, PROVIDER_LOCAL, ENDPOINT_CHAT);
}

static void anthropic_is_spoken_to_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_ANTHROPIC, ENDPOINT_CHAT);
}

static void google_is_spoken_to_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_GOOGLE, ENDPOINT_CHAT);
}

static void anthropics_callers_reach_anthropic_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_ANTHROPIC, ENDPOINT_MESSAGES);
}

static void anthropics_callers_reach_openai_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_OPENAI, ENDPOINT_MESSAGES);
}

static void anthropics_callers_reach_local_servers_as_their_files_say(void **state)
{
    check_folder(*state, PROVIDER_LOCAL, ENDPOINT_MESSAGES);
}

static void anthropics_callers_reach_google_as_its_files_say(void **state)
{
    check_folder(*state, PROVIDER_GOOGLE, ENDPOINT_MESSAGES);
}

static void anthropics_callers_reach_agents_as_their_files_say(void **state)
{
    check_folder(*state, PROVIDER_LIBRECHAT, ENDPOINT_MESSAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(openai_is_spoken_to_as_its_files_say),
        WITH(agents_are_spoken_to_as_their_files_say),
        WITH(local_servers_are_spoken_to_as_their_files_say),
        WITH(anthropic_is_spoken_to_as_its_files_say),
        WITH(google_is_spoken_to_as_its_files_say),
        WITH(anthropics_callers_reach_anthropic_as_its_files_say),
        WITH(anthropics_callers_reach_openai_as_its_files_say),
        WITH(anthropics_callers_reach_local_servers_as_their_files_say),
        WITH(anthropics_callers_reach_google_as_its_files_say),
        WITH(anthropics_callers_reach_agents_as_their_files_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
