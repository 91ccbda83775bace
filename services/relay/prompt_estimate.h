/*
 * Token estimates, for what no provider has counted: the hold of a request, and answers without
 * usage.
 *
 * Text counts a token per 4 ASCII bytes, rounded up, and one per other character (CJK is 1-1.5
 * tokens a character with today's vocabularies, Latin letters with accents less); a message 4 more,
 * a request 3 more, an image 1,105 (four high-detail tiles of 1,024 x 1,024), another binary part
 * 1,000, tool declarations as their JSON text. Token arrays count their elements. Meant to be a
 * little high: a hold that is too small lets a budget be overspent.
 *
 * Thread: values.
 */
#pragma once

#include "openai_body.h"

typedef struct text_size {
    int64_t ascii_bytes;
    int64_t other_chars;
} text_size;

void text_size_add(text_size *t, gw_str text); /* well-formed UTF-8 */
int64_t text_size_tokens(const text_size *t);

/* Prompt tokens of a request. */
int64_t prompt_estimate(const openai_body *b);
