/*
 * Tokens of what no provider has counted, in two figures:
 *
 *     usual   what it most likely is, for answers without usage
 *     most    for holds: not less than what is billed, as long as the text was not made to be expensive
 *
 * Usual: a token per 4 ASCII bytes, rounded up, and one per other character; a message 4 more, a request 3 more, an image 1,105 (four
 * high-detail tiles of 1,024 x 1,024), another binary part 1,000, tool declarations as their JSON text. Token arrays count their
 * elements.
 *
 * Most: each byte weighs by its kind, so that prose, code, JSON, tables and the texts of 19 languages come to no less than o200k_base
 * makes of them (docs/accounting.md: how far above, and what comes to more); images and tools by the largest published figure. The
 * byte-pair encodings themselves would be exact for the models of one provider, at several times the cost of a whole request. What is said
 * twice counts twice, and what is not known to be text is held for as if it were, if it is long.
 *
 * Thread: values.
 */
#pragma once

#include "openai_body.h"

typedef struct text_size {
    int64_t ascii_bytes;
    int64_t other_chars;
    int64_t weight; /* most, in parts of a token: TEXT_WEIGHT_TOKEN */
    int64_t images; /* that stand beside the text */
    /* nothing is held: the most, which needs a look at each byte, is not asked for */
    bool is_usual_only;
} text_size;

#define TEXT_WEIGHT_TOKEN 64

void text_size_add(text_size *t, gw_str text); /* well-formed UTF-8 */
void text_size_count(text_size *t,
                     gw_str text); /* the same without the most: text that nothing is held for */
int64_t text_size_tokens(const text_size *t); /* the usual */
/* What a part is not usually, but may be: so many more at the most. */
static inline void text_size_allow(text_size *t, int64_t tokens)
{
    t->weight += tokens * TEXT_WEIGHT_TOKEN;
}
/* Of a file or a sound in base64: the longer it is, the more it may be. */
static inline void text_size_allow_data(text_size *t, gw_str base64)
{
    text_size_allow(t, (int64_t)base64.len / 16);
}

typedef struct prompt_tokens {
    int64_t usual, most; /* usual <= most; the same when only the usual was asked for */
    int64_t images;
} prompt_tokens;
/* Of a text, and `others` tokens beside it. */
prompt_tokens text_size_prompt(const text_size *t, int64_t others);

/* More than usual, of an image and for declaring tools. */
#define PROMPT_IMAGE_USUAL 1105
int64_t prompt_image_extra(gw_str model, bool low_detail);
#define PROMPT_TOOLS_EXTRA 350 /* Anthropic's own words around them: 346 */

/* Output that the caller predicts (OpenAI's `prediction`): the most when it is held for. What is not in the answer is billed as output. */
int64_t predicted_tokens(const openai_body *b, bool for_hold);

/* Prompt tokens of a request; `for_hold`: the most, too. */
prompt_tokens prompt_estimate(const openai_body *b, bool for_hold);
