#include "admin_gw_testing.h"

#include "openapi.h"
#include "update_mask.h"

#include "apirelay/auth/v1/api_key.pb-c.h"
#include "testing/exhaust.h"

static gw_status build_routes(void *arg)
{
    gateway *g = arg;
    route_table *t = NULL;
    gw_error err;
    gw_status rc = route_table_new(g->schema, &t, &err);
    route_table_free(t);
    return rc;
}

static gw_status write_openapi(void *arg)
{
    gateway *g = arg;
    gw_auto_buf out = {0};
    gw_error err;
    return openapi_write(g->schema, g->routes, &out, &err);
}

static gw_status make_mask(void *arg)
{
    (void)arg;
    gw_auto(gw_arena) a = gw_arena_new();
    gw_str mask;
    gw_error err;
    return a ? update_mask_make(&apirelay__auth__v1__api_key__descriptor,
                                GW_STR("{\"name\":\"n\",\"limits\":{\"costLimit\":1}}"),
                                GW_STR("name,limits"), a, &mask, &err)
             : GW_ERR_NO_MEMORY;
}

static void routes_documents_and_masks_without_memory_are_refused(void **state)
{
    gw_exhaust(build_routes, *state);
    gw_exhaust(write_openapi, *state);
    gw_exhaust(make_mask, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(routes_documents_and_masks_without_memory_are_refused,
                                        gateway_setup, gateway_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
