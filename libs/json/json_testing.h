/* What the tests of libs/json share. */
#pragma once

#include "testing/cmocka.h"
#include "json/json_internal.h"

#include <stdio.h>

#define TEST_DESCRIPTOR(lower) (&lower##__descriptor)

/* Reads `text`, which must succeed, and writes it again. */
static inline void assert_round_trip(const ProtobufCMessageDescriptor *d, const char *text,
                                     const char *expected)
{
    gw_auto_message m = NULL;
    gw_auto_buf out = {0};
    gw_error err = {0};

    if (gw_json_read(d, gw_str_of(text), &m, NULL, &err) != GW_OK)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(gw_json_write(m, &out, &err), GW_OK);
    assert_string_equal(out.data, expected);
}

static inline void assert_refused(const ProtobufCMessageDescriptor *d, const char *text,
                                  const char *field, const char *says)
{
    gw_auto_message m = NULL;
    gw_error err = {0};

    if (gw_json_read(d, gw_str_of(text), &m, NULL, &err) != GW_ERR_INVALID_ARGUMENT)
        fail_msg("%s: %d %s", text, err.code, err.message);
    assert_null(m);
    if (strcmp(err.field, field) != 0 || !strstr(err.message, says))
        fail_msg("%s: field \"%s\", message \"%s\"", text, err.field, err.message);
}
