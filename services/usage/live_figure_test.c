#include "live_figure.h"

#include "testing/cmocka.h"

static const char key[12] = {1, 2, 3};

static void every_figure_comes_back_from_its_name(void **state)
{
    static const char *const models[] = {"gpt-4.1", "", "a|b|r", "|", "org/m:1"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(models); i++) {
        for (int kind = LIVE_REQUESTS; kind <= LIVE_IN_FLIGHT; kind++) {
            bool is_gauge = kind >= LIVE_OPEN_STREAMS;
            live_figure f = {.kind = (live_kind)kind,
                             .key = is_gauge ? GW_STR("") : gw_str_n(key, 12),
                             .model = gw_str_of(is_gauge ? "" : models[i]),
                             .bucket = kind == LIVE_DURATION || kind == LIVE_TTFT ? 303 : 0};
            live_figure back;
            char bytes[12];
            gw_auto_buf name = {0};
            live_figure_name(&f, &name);
            assert_true(live_figure_parse(gw_buf_str(&name), bytes, &back));
            assert_int_equal(back.kind, f.kind);
            assert_true(gw_str_eq(back.key, f.key));
            assert_true(gw_str_eq(back.model, f.model));
            assert_int_equal(back.bucket, f.bucket);
        }
    }
}

static void what_is_no_name_is_refused(void **state)
{
    static const char *const names[] = {"",
                                        "|",
                                        "||",
                                        "||x",
                                        "||d",
                                        "||d304",
                                        "||d-1",
                                        "||rr",
                                        "0102|m|r",
                                        "zz0203000000000000000000|m|r",
                                        "||t9999999999999999999",
                                        "r"};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        live_figure f;
        char bytes[12];
        if (live_figure_parse(gw_str_of(names[i]), bytes, &f))
            fail_msg("%s is taken for a name", names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_figure_comes_back_from_its_name),
        cmocka_unit_test(what_is_no_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
