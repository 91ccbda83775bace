#include "access/identity_cache.h"
#include "access/service_tokens.h"
#include "testing/exhaust.h"
#include "testing/fuzz.h"

static gw_status load_tokens(void *arg)
{
    gw_auto(gw_service_tokens) tokens = NULL;
    gw_error err;
    return gw_service_tokens_load(arg, NULL, &tokens, &err);
}

static gw_status make_cache(void *arg)
{
    (void)arg;
    gw_identity_cache *c = gw_identity_cache_new(10);
    if (!c)
        return GW_ERR_NO_MEMORY;
    gw_identity_cache_free(c);
    return GW_OK;
}

static void service_tokens_without_memory_are_not_loaded(void **state)
{
    (void)state;
    char path[FUZZ_PATH_SIZE];
    int fd = fuzz_file(GW_STR("relay lcsvc_0123456789abcdef0123456789abcdef\n"
                              "usage lcsvc_abcdef0123456789abcdef0123456789\n"),
                       path);
    gw_exhaust(load_tokens, path);
    close(fd);
}

static void a_cache_without_memory_is_none(void **state)
{
    (void)state;
    gw_exhaust(make_cache, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service_tokens_without_memory_are_not_loaded),
        cmocka_unit_test(a_cache_without_memory_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
