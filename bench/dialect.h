/*
 * The dialects that the bench upstream answers in, as texts around its content: whole answers, and streams whose chunks are an
 * event each.
 *
 *     /v1/chat/completions                    OpenAI's
 *     /v1/messages                            Anthropic's
 *     /v1beta/models/{model}:generateContent  Google's; :streamGenerateContent
 */
#pragma once

#include "core/str.h"

typedef struct dialect {
    const char *answer_start, *answer_end;
    const char *opening; /* of a stream, before its chunks */
    const char *first_start, *chunk_start,
        *chunk_end; /* around each chunk's content; of the first one */
    const char *ending;
} dialect;

/* By the request's path; OpenAI's for any other. */
const dialect *dialect_of_path(gw_str path);
/* The model that a path of Google's names, as it stands there, percent-coded; "" for the others, whose bodies name it. */
gw_str dialect_model_of_path(gw_str path);
