/*
 * Gemini's stream as chunks. Each event is a whole response with the new parts of each candidate; usage
 * stands on every one, the last counts. Some models say STOP on each event, so finish reasons go out at
 * the end of the stream, which is when a finish is known to be one.
 */
#include "chat_request.h"
#include "google.h"

#include <stdlib.h>

typedef struct candidate {
    bool seen;
    bool has_media; /* which nothing here can carry */
    int64_t calls; /* it made so far */
    google_end end; /* neither finish nor failure while it goes on */
} candidate;

typedef struct stream {
    chat_writer writer;
    candidate candidates[GOOGLE_CANDIDATES_MAX];
    int64_t calls; /* of all candidates: no two get one id */
    bool has_usage;
    chat_usage usage;
} stream;

static stream *stream_of(adapter_stream *s)
{
    if (!s->state) {
        stream *new = gw_arena_new_of(s->job->arena, stream);
        if (new &&chat_writer_init(&new->writer, s))
            s->state = new;
    }
    return s->state;
}

static gw_status fail_stream(adapter_stream *s, gw_status code, const char *what)
{
    gw_error err;

    (void)gw_fail(&err, code, "%s", what);
    return adapter_fail(s, &err);
}

static void write_extra(stream *t, int64_t index, gw_str extra)
{
    if (extra.len == 0)
        return;
    chat_writer_open(&t->writer, index);
    gw_buf_append_str(&t->writer.out, gw_str_slice(extra, 1, extra.len)); /* no member before it */
    chat_writer_close(&t->writer, ANSWER_CONTENT);
}

static void write_call(stream *t, int64_t index, int64_t number, const google_part *p)
{
    gw_str json;
    char *text = chat_json_text(p->args, &json, &t->writer.failed);

    chat_writer_call(&t->writer, index, number, p->id, p->name, json, p->extra);
    free(text);
}

static void write_part(adapter_stream *s, stream *t, int64_t index, yyjson_val *part)
{
    candidate *c = &t->candidates[index];
    google_part p = google_part_read(s->job, part, t->calls);

    t->writer.failed |= p.has_failed;
    switch (p.kind) {
    case GOOGLE_CALL:
        write_call(t, index, c->calls++, &p);
        t->calls++;
        return;
    case GOOGLE_TEXT:
        chat_writer_text(&t->writer, index, "content", p.text);
        break;
    case GOOGLE_THOUGHT:
        chat_writer_text(&t->writer, index, "reasoning_content", p.text);
        break;
    case GOOGLE_MEDIA:
        c->has_media = true;
        return;
    case GOOGLE_NOTHING:
        break;
    }
    write_extra(t, index, p.extra);
}

static void see_candidate(stream *t, int64_t index)
{
    if (t->candidates[index].seen)
        return;
    t->candidates[index].seen = true;
    chat_writer_role(&t->writer, index);
}

static gw_status read_candidate(adapter_stream *s, stream *t, yyjson_val *given)
{
    int64_t index = yyjson_get_sint(yyjson_obj_get(given, "index"));
    yyjson_arr_iter it =
        yyjson_arr_iter_with(yyjson_obj_get(yyjson_obj_get(given, "content"), "parts"));
    gw_str reason = chat_string(given, "finishReason");
    yyjson_val *part;

    if (index < 0 || index >= GOOGLE_CANDIDATES_MAX)
        return fail_stream(s, GW_ERR_UPSTREAM_PROTOCOL, "the provider numbers a candidate wrongly");
    candidate *c = &t->candidates[index];
    see_candidate(t, index);
    while ((part = yyjson_arr_iter_next(&it)))
        write_part(s, t, index, part);
    if (reason.len > 0)
        c->end = google_end_of(reason, c->calls > 0);
    return GW_OK;
}

static void read_usage(adapter_stream *s, stream *t, yyjson_val *response)
{
    bool is_empty = t->candidates[0].end.finish && usage_tap_is_empty(s->tap);

    chat_usage usage;

    if (!google_usage_read(response, is_empty, &usage)) {
        google_usage_note_prompt(&usage, s->tap);
        return;
    }
    t->has_usage = true;
    t->usage = usage;
    chat_usage_report(&usage, s->tap);
}

static gw_status read_response(adapter_stream *s, stream *t, yyjson_val *response)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(response, "candidates"));
    yyjson_val *given;

    if (!yyjson_is_obj(response))
        return fail_stream(s, GW_ERR_UPSTREAM_PROTOCOL,
                           "the provider sent something else than JSON objects");
    if (!chat_writer_is_started(&t->writer))
        chat_writer_start(&t->writer, chat_string(response, "responseId"),
                          chat_string(response, "modelVersion"));
    while ((given = yyjson_arr_iter_next(&it))) {
        gw_status rc = read_candidate(s, t, given);
        if (rc != GW_OK)
            return rc;
    }
    if (google_block_reason(response).ptr && !t->candidates[0].seen) {
        see_candidate(t, 0);
        t->candidates[0].end.finish = "content_filter";
    }
    read_usage(s, t, response);
    return chat_writer_failed(&t->writer)
               ? fail_stream(s, GW_ERR_NO_MEMORY, "no memory for the stream")
               : GW_OK;
}

gw_status google_on_event(adapter_stream *s, const gw_sse_event *e)
{
    stream *t = stream_of(s);
    yyjson_alc alc;

    if (s->done || !e->data.ptr || e->data.len == 0)
        return GW_OK;
    if (!t)
        return fail_stream(s, GW_ERR_NO_MEMORY, "no memory for the stream");
    yyjson_doc *doc = json_scratch_read(&s->tap->scratch, &alc, e->data);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool failed = yyjson_is_obj(yyjson_obj_get(root, "error"));
    gw_status rc = failed ? GW_OK : read_response(s, t, root);
    yyjson_doc_free(doc);
    return failed ? google_fail_inband(s, e->data) : rc;
}

/* Whole when every candidate there was has ended. */
static gw_status check_end(adapter_stream *s, const stream *t)
{
    size_t seen = 0, ended = 0;

    for (size_t i = 0; t && i < GOOGLE_CANDIDATES_MAX; i++) {
        const candidate *c = &t->candidates[i];
        if (c->has_media)
            return fail_stream(s, GW_ERR_UPSTREAM_FAILED, GOOGLE_MEDIA_MESSAGE);
        if (c->end.failure)
            return fail_stream(s, c->end.code, c->end.failure);
        seen += c->seen;
        ended += c->end.finish != NULL;
    }
    return seen > 0 && ended == seen
               ? GW_OK
               : fail_stream(s, GW_ERR_UPSTREAM_CUT, "the provider's stream ended in mid-answer");
}

gw_status google_on_end(adapter_stream *s)
{
    stream *t = s->state;
    gw_status rc = s->done ? GW_OK : check_end(s, t);

    if (rc != GW_OK || s->done || !t)
        return rc;
    for (int64_t i = 0; i < GOOGLE_CANDIDATES_MAX; i++)
        if (t->candidates[i].seen)
            chat_writer_finish(&t->writer, i, t->candidates[i].end.finish);
    if (t->has_usage)
        chat_writer_usage(&t->writer, &t->usage);
    if (chat_writer_failed(&t->writer))
        return fail_stream(s, GW_ERR_NO_MEMORY, "no memory for the stream");
    adapter_emit_done(s, GW_STR("data: [DONE]\n\n"));
    return GW_OK;
}
