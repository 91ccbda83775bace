#include "core/user.h"

#include "testing/cmocka.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static void a_name_is_its_user_with_the_users_group(void **state)
{
    gw_user user;
    (void)state;
    const struct passwd *nobody = getpwnam("nobody");
    assert_non_null(nobody);
    uid_t uid = nobody->pw_uid;
    gid_t gid = nobody->pw_gid;
    assert_true(gw_user_find("nobody", &user));
    assert_int_equal(user.uid, uid);
    assert_int_equal(user.gid, gid);
    assert_string_equal(user.name, "nobody");
}

static void a_group_after_the_colon_takes_the_place_of_the_users(void **state)
{
    gw_user user;
    (void)state;
    assert_true(gw_user_find("nobody:root", &user));
    assert_int_equal(user.gid, 0);
    assert_true(gw_user_find("nobody:4711", &user));
    assert_int_equal(user.gid, 4711);
}

static void numbers_need_no_entry(void **state)
{
    gw_user user;
    (void)state;
    assert_true(gw_user_find("4294960001", &user));
    assert_int_equal(user.uid, 4294960001);
    assert_int_equal(user.gid, 4294960001);
    assert_string_equal(user.name, "");
    assert_true(gw_user_find("0", &user));
    assert_string_equal(user.name, "root");
}

static void what_is_nobody_is_not_found(void **state)
{
    static const char *const texts[] = {
        "",
        ":",
        ":root",
        "nobody:",
        "no-such-user-here",
        "nobody:no-such-group-here",
        "root root",
        "4294967295",
        "-1",
    };
    gw_user user;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (gw_user_find(texts[i], &user))
            fail_msg("\"%s\" was found", texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_its_user_with_the_users_group),
        cmocka_unit_test(a_group_after_the_colon_takes_the_place_of_the_users),
        cmocka_unit_test(numbers_need_no_entry),
        cmocka_unit_test(what_is_nobody_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
