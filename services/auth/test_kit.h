/*
 * What the unit tests of auth share: fixed peppers and keys under them.
 */
#pragma once

#include "key_mint.h"
#include "messages.h"
#include "testing/cmocka.h"

/* 'a' is bytes 0-31, 'b' is 32 zeros. */
#define TEST_PEPPERS                                                                               \
    "# current first\n"                                                                            \
    "a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"                                             \
    "b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define TEST_ONLY_B "b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

/* The fixed vector of libs/access/key_format_test.c. */
#define TEST_KEY     "lc_test_aZyXwVuTsRq0abcdefghijklmnopqrstuvwxyzABCDEF8TGrdR"
#define TEST_KEY_MAC "9ec45ea514efba2542807df473484c18eeadd560138d45db1fb5a0dc91fda0d0"

static inline peppers *test_peppers(const char *text)
{
    peppers *p = NULL;
    assert_int_equal(peppers_parse(gw_str_of(text), &p, NULL), GW_OK);
    return p;
}

static inline api_key_view *test_view(gw_arena *a, const char *name)
{
    api_key_view *v = message_new(a, &apirelay__auth__v1__api_key__descriptor);
    v->name = message_text(a, gw_str_of(name));
    api_key_fill_defaults(a, v);
    return v;
}
