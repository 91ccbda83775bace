#include "openai_body.h"
#include "policy.h"

#include "testing/exhaust.h"

static gw_status read_and_splice(void *arg)
{
    (void)arg;
    gw_auto(gw_arena) a = gw_arena_new();
    openai_body b;
    openai_splices s = {.model = GW_STR("other"),
                        .stream = true,
                        .include_usage = true,
                        .max_tokens = 7,
                        .endpoint = ENDPOINT_CHAT};
    const gw_str *parts;
    size_t count;
    gw_error err;
    gw_status rc = a ? openai_body_read(a, ENDPOINT_CHAT,
                                        GW_STR("{\"model\":\"gpt-4o\",\"messages\":[]}"), &b, &err)
                     : GW_ERR_NO_MEMORY;
    return rc == GW_OK ? openai_body_splice(a, &b, &s, &parts, &count, &err) : rc;
}

static gw_status make_policy(void *arg)
{
    (void)arg;
    static char id[] = "65f000000000000000000001", key_id[] = "aAAAAAAAAAAA", status[] = "active";
    Apirelay__Auth__V1__KeyPolicy m = APIRELAY__AUTH__V1__KEY_POLICY__INIT;
    uint8_t bytes[256];
    key_policy *p = NULL;
    gw_error err;
    m.api_key_id = id;
    m.key_id = key_id;
    m.status = status;
    size_t len = apirelay__auth__v1__key_policy__pack(&m, bytes);
    Apirelay__Auth__V1__KeyPolicy *own =
        apirelay__auth__v1__key_policy__unpack(NULL, len, bytes); /* the policy's from here on */
    if (!own)
        return GW_ERR_NO_MEMORY;
    gw_status rc = key_policy_new(own, &p, &err);
    if (rc == GW_OK)
        key_policy_unref(p);
    return rc;
}

static void bodies_and_policies_without_memory_are_refused(void **state)
{
    (void)state;
    gw_exhaust(read_and_splice, NULL);
    gw_exhaust(make_policy, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_and_policies_without_memory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
