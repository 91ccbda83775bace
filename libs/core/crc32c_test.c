#include "core/crc32c.h"

#include "core/macros.h"
#include "testing/cmocka.h"

#include <string.h>

static void known_sums_come_out(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(gw_crc32c(0, "", 0), 0);
    assert_int_equal(gw_crc32c(0, "123456789", 9), 0xe3069283);
    /* RFC 3720 §B.4 */
    assert_int_equal(gw_crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(gw_crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(gw_crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
}

/* Also where the processor's eight bytes at a time do not fit. */
static void a_sum_goes_on_from_wherever_it_was(void **state)
{
    (void)state;
    uint8_t bytes[67];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    uint32_t whole = gw_crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++)
        assert_int_equal(gw_crc32c(gw_crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut),
                         whole);
}

/* By the definition, a bit at a time. */
static uint32_t slow_sum(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void a_sum_of_any_length_is_that_of_the_definition(void **state)
{
    (void)state;
    uint8_t bytes[1200];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * i * 31 + i / 7);
    for (size_t len = 0; len + 3 < sizeof(bytes); len++)
        assert_int_equal(gw_crc32c(0, bytes + len % 4, len), slow_sum(bytes + len % 4, len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums_come_out),
        cmocka_unit_test(a_sum_goes_on_from_wherever_it_was),
        cmocka_unit_test(a_sum_of_any_length_is_that_of_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
