#include "least_tokens.h"

enum {
    BREAK = 1,
    WORD = 2,
    WITHIN = 4, /* a character's further bytes */
    PARTS_SHIFT = 3,
    LETTER = WORD | 1 << PARTS_SHIFT,
    WIDE =
        WORD | 4 << PARTS_SHIFT, /* of three bytes: scripts that write without blanks, and others */
    KANA = 4 << PARTS_SHIFT, /* and marks between them */
};

/*
 * By the first byte of a character. Of others nothing is known: 0xc2 and 0xe2 have no-break spaces, dashes and quotes; emoji. Apostrophes
 * and underscores are no breaks: o200k_base has "n't", Gemma tags with underscores.
 */
static const unsigned char kinds[256] = {
    [0x00 ... '&'] = BREAK,
    ['(' ... '/'] = BREAK,
    ['0' ... '9'] = LETTER,
    [':' ... '@'] = BREAK,
    ['A' ... 'Z'] = LETTER,
    ['[' ... '^'] = BREAK,
    ['`'] = BREAK,
    ['a' ... 'z'] = LETTER,
    ['{' ... 0x7f] = BREAK,
    [0x80 ... 0xbf] = WITHIN,
    [0xc3 ... 0xdf] = LETTER,
    [0xe0 ... 0xe1] = WIDE,
    [0xe3] = KANA,
    [0xe4 ... 0xed] = WIDE,
    [0xef] = BREAK, /* fullwidth */
};

void least_tokens_add(least_tokens *t, gw_str text)
{
    int64_t words = 0, parts = 0;
    unsigned before = t->before;

    for (size_t i = 0; i < text.len; i++) {
        unsigned kind = kinds[(unsigned char)text.ptr[i]];
        words += (int64_t)(before & (kind >> 1) & 1);
        parts += (int64_t)(kind >> PARTS_SHIFT);
        before = kind & WITHIN ? before : kind;
    }
    t->words += words;
    t->parts += parts;
    t->before = (unsigned char)before;
}
