/*
 * Writes OpenAI's chunks and answers for adapters that read another dialect, and tells the usage tap
 * what they say. One buffer a stream: a chunk costs no allocation once it has grown.
 *
 * Running out of memory is sticky, as in gw_buf: chat_writer_failed() once at the end of an event.
 *
 * Thread: the loop's; lives in the job's arena.
 */
#pragma once

#include "adapter.h"

typedef struct chat_usage {
    /* OpenAI's: prompt includes cached and cache writes, completion reasoning */
    token_counts tokens;
} chat_usage;

typedef struct chat_writer {
    adapter_stream *s;
    gw_buf out; /* the chunk being written */
    gw_str head; /* members that all chunks begin with; ptr NULL before the start */
    bool failed;
} chat_writer;

/* False when out of memory. */
GW_CHECK bool chat_writer_init(chat_writer *w, adapter_stream *s);
bool chat_writer_failed(const chat_writer *w);

/* Names of the answer; "" takes the request's id, the model asked for. */
void chat_writer_start(chat_writer *w, gw_str id, gw_str model);
bool chat_writer_is_started(const chat_writer *w);

/* Chunks of a stream. `member` is "content", "reasoning_content" or "refusal". */
void chat_writer_role(chat_writer *w, int64_t choice);
void chat_writer_text(chat_writer *w, int64_t choice, const char *member, gw_str text);
/* `extra` is JSON text of more members of the call, with a comma before it, or "". */
void chat_writer_call(chat_writer *w, int64_t choice, int64_t index, gw_str id, gw_str name,
                      gw_str arguments, gw_str extra);
void chat_writer_arguments(chat_writer *w, int64_t choice, int64_t index, gw_str text);
void chat_writer_finish(chat_writer *w, int64_t choice, const char *reason);
void chat_writer_usage(chat_writer *w, const chat_usage *usage);
/* A chunk whose delta the caller writes into w->out in between. */
void chat_writer_open(chat_writer *w, int64_t choice);
void chat_writer_close(chat_writer *w, answer_event_kind kind);

/*
 * A whole answer: head, then each choice's message, then usage, which closes the choices and the answer.
 * `usage` may be NULL.
 */
typedef struct chat_message { /* of one choice; zeroed is empty */
    gw_buf text, reasoning; /* of all parts of their kind */
    gw_buf calls; /* items of the array tool_calls */
    gw_buf extra; /* more members of the message, each with a comma before it */
    int64_t call_count;
} chat_message;
void chat_message_fini(chat_message *m);
#define chat_auto_message __attribute__((cleanup(chat_message_fini))) chat_message
void chat_message_clear(chat_message *m);
bool chat_message_failed(const chat_message *m);
void chat_message_call(chat_message *m, usage_tap *tap, gw_str id, gw_str name, gw_str arguments,
                       gw_str extra);

void chat_answer_head(gw_buf *out, const adapter_job *job, gw_str id, gw_str model);
void chat_answer_choice(gw_buf *out, usage_tap *tap, int64_t index, const chat_message *m,
                        const char *finish);
void chat_answer_end(gw_buf *out, usage_tap *tap, const chat_usage *usage);
/* The answer's text in the arena. GW_ERR_NO_MEMORY when it, or a part that `failed`, could not be written. */
GW_CHECK gw_status chat_answer_take(adapter_stream *s, gw_buf *out, bool failed, gw_str *ret);

/* JSON text of a value, "{}" when there is none. Sets `*failed` when out of memory. free() what is returned. */
char *chat_json_text(yyjson_val *v, gw_str *ret, bool *failed);

/* Reported usage becomes what is billed. */
void chat_usage_report(const chat_usage *u, usage_tap *tap);
