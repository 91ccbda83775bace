/*
 * Least tokens: what a text is at the least, whichever model wrote it. For ending streams that cost more than was held for them: a stream
 * within its ceiling must never look as if it were beyond it.
 *
 *     words    letters or digits that follow a blank or a mark: no token has a second one begin within it
 *     parts    their characters in 128ths of a token: no token has 128 Latin letters, or 32 characters of scripts without blanks
 *
 * Both hold for each token of seven published vocabularies (docs/decisions/027). Blanks, marks and lines of dashes count nothing by
 * themselves: a token may have a thousand of them. English and Russian are 1.7 times as many tokens, code 2.5
 * times, JSON 4, Chinese 12, Japanese 26.
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#define LEAST_PARTS_OF_TOKEN 128

typedef struct least_tokens { /* all 0: no text yet */
    int64_t words, parts;
    unsigned char before; /* kind of the last character */
} least_tokens;

/* The text goes on where the last one ended, also within a character. */
void least_tokens_add(least_tokens *t, gw_str text);

static inline int64_t least_tokens_of(const least_tokens *t)
{
    int64_t by_length = t->parts / LEAST_PARTS_OF_TOKEN;

    return t->words > by_length ? t->words : by_length;
}
