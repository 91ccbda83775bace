#include "relay_config_build.h"

#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct folder {
    char dir[64];
} folder;

static int set_up(void **state)
{
    static folder f;

    (void)snprintf(f.dir, sizeof(f.dir), "/tmp/credentials-XXXXXX");
    *state = &f;
    return mkdtemp(f.dir) ? 0 : -1;
}

static const char *path_of(const folder *f, const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"key", "long", "link", "pipe", "folder"};
    folder *f = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        (void)remove(path_of(f, names[i]));
    return rmdir(f->dir);
}

static void write_file(const folder *f, const char *name, gw_str text)
{
    FILE *file = fopen(path_of(f, name), "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static void assert_credential(folder *f, const char *reference, const char *want)
{
    gw_error err = {0};
    gw_auto_free char *secret = credential_from_system(f->dir, gw_str_of(reference), &err);

    if (!secret)
        fail_msg("%s: %s", reference, err.message);
    assert_string_equal(secret, want);
}

static void assert_none(void *dir, const char *reference, const char *says)
{
    gw_error err = {0};
    gw_auto_free char *secret = credential_from_system(dir, gw_str_of(reference), &err);

    assert_null(secret);
    if (!strstr(err.message, says))
        fail_msg("%s: %s", reference, err.message);
}

static void a_file_or_a_variable_holds_a_credential(void **state)
{
    folder *f = *state;

    write_file(f, "key", GW_STR("sk-in-a-file\r\n\n"));
    assert_credential(f, "file:key", "sk-in-a-file");
    assert_int_equal(symlink("key", path_of(f, "link")), 0); /* as Kubernetes mounts Secrets */
    assert_credential(f, "file:link", "sk-in-a-file");
    assert_int_equal(setenv("RELAY_CREDENTIAL_T", "sk-in-a-variable\n", 1), 0);
    assert_credential(f, "env:RELAY_CREDENTIAL_T", "sk-in-a-variable");
}

static void what_is_missing_or_no_credential_is_said(void **state)
{
    folder *f = *state;
    gw_auto_buf text = {0};

    assert_none(f->dir, "file:key", "file key: No such file");
    assert_none(NULL, "file:key", "RELAY_CREDENTIALS_DIR is not set");
    assert_none(f->dir, "env:RELAY_CREDENTIAL_NOT_SET", "RELAY_CREDENTIAL_NOT_SET is not set");
    assert_int_equal(setenv("RELAY_CREDENTIAL_T", "", 1), 0);
    assert_none(f->dir, "env:RELAY_CREDENTIAL_T", "RELAY_CREDENTIAL_T is empty");
    write_file(f, "key", GW_STR("\n\n"));
    assert_none(f->dir, "file:key", "file key is empty");
    write_file(f, "key", GW_STR("sk-one\nsk-two\n"));
    assert_none(f->dir, "file:key", "control characters");
    for (int i = 0; i < 16385; i++)
        gw_buf_append_char(&text, 'x');
    write_file(f, "long", gw_buf_str(&text));
    assert_none(f->dir, "file:long", "too long");
    assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);
    assert_none(f->dir, "file:folder", "Is a directory");
    assert_int_equal(mkfifo(path_of(f, "pipe"), 0600), 0);
    assert_none(f->dir, "file:pipe", "is empty"); /* and nobody waits for it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_or_a_variable_holds_a_credential, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_missing_or_no_credential_is_said, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
