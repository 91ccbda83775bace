#include "openapi.h"

#include "admin_gw_testing.h"

#include <ctype.h>
#include <yyjson.h>

static yyjson_doc *document(gateway *g)
{
    gw_auto_buf out = {0};
    assert_int_equal(openapi_write(g->schema, g->routes, &out, &g->err), GW_OK);
    yyjson_doc *doc = yyjson_read(out.data, out.len, 0);
    assert_non_null(doc);
    return doc;
}

static yyjson_val *at(yyjson_val *v, const char *pointer)
{
    yyjson_val *found = yyjson_ptr_get(v, pointer);
    if (!found)
        fail_msg("%s is missing", pointer);
    return found;
}

/* "/admin/usage/{api_key_id}" is shown as "/admin/usage/{apiKeyId}". */
static void spell_as_json(gw_str path, char out[128])
{
    assert_true(path.len < 128);
    for (size_t i = 0; i < path.len; i++) {
        bool joins = path.ptr[i] == '_' && i + 1 < path.len;
        *out++ = joins ? (char)toupper((unsigned char)path.ptr[++i]) : path.ptr[i];
    }
    *out = '\0';
}

static void every_route_is_an_operation_with_a_name_of_its_own(void **state)
{
    gateway *g = *state;
    yyjson_doc *doc = document(g);
    yyjson_val *paths = at(yyjson_doc_get_root(doc), "/paths");
    yyjson_mut_doc *seen_doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *seen = yyjson_mut_obj(seen_doc);
    for (size_t i = 0; i < route_table_count(g->routes); i++) {
        const route *r = route_table_at(g->routes, i);
        char method[16] = {0};
        for (size_t k = 0; k < r->binding->method.len; k++)
            method[k] = (char)tolower((unsigned char)r->binding->method.ptr[k]);
        char path[128];
        spell_as_json(r->binding->path, path);
        yyjson_val *op = yyjson_obj_get(yyjson_obj_get(paths, path), method);
        if (!op)
            fail_msg("%s %s", method, path);
        const char *id = yyjson_get_str(yyjson_obj_get(op, "operationId"));
        assert_non_null(id);
        assert_null(yyjson_mut_obj_get(seen, id));
        (void)yyjson_mut_obj_add_bool(seen_doc, seen, id, true);
        assert_non_null(at(op, r->method->server_streaming
                                   ? "/responses/200/content/text~1event-stream/schema"
                                   : "/responses/200/content/application~1json/schema"));
        assert_non_null(at(op, "/responses/default/$ref"));
    }
    yyjson_mut_doc_free(seen_doc);
    yyjson_doc_free(doc);
}

static void assert_refs_resolve(yyjson_val *root, yyjson_val *v)
{
    size_t i;
    size_t n;
    yyjson_val *key;
    yyjson_val *item;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach (v, i, n, item)
            assert_refs_resolve(root, item);
    } else if (yyjson_is_obj(v)) {
        yyjson_obj_foreach (v, i, n, key, item) {
            if (yyjson_equals_str(key, "$ref"))
                assert_non_null(at(root, yyjson_get_str(item) + 1));
            assert_refs_resolve(root, item);
        }
    }
}

static void every_reference_leads_somewhere(void **state)
{
    yyjson_doc *doc = document(*state);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_refs_resolve(root, root);
    assert_string_equal(yyjson_get_str(at(root, "/openapi")), "3.1.0");
    yyjson_doc_free(doc);
}

static void types_are_those_of_our_json(void **state)
{
    yyjson_doc *doc = document(*state);
    yyjson_val *schemas = at(yyjson_doc_get_root(doc), "/components/schemas");
    static const struct {
        const char *pointer, *value;
    } cases[] = {
        {"/apirelay.auth.v1.ApiKey/properties/createdAt/format", "date-time"},
        {"/apirelay.auth.v1.KeyLimits/properties/costLimit/type", "number"},
        {"/apirelay.auth.v1.KeyLimits/properties/costLimitNanoUsd/type", "string"},
        {"/apirelay.auth.v1.KeyLimits/properties/tokensPerDay/type", "integer"},
        {"/apirelay.auth.v1.KeyPermissions/properties/models/items/type", "string"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_string_equal(yyjson_get_str(at(schemas, cases[i].pointer)), cases[i].value);
    yyjson_doc_free(doc);
}

static void the_sign_in_shows_neither_token_nor_what_the_gateway_sets(void **state)
{
    yyjson_doc *doc = document(*state);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *body = at(root, "/paths/~1admin~1session/post/requestBody/content/"
                                "application~1json/schema/properties");
    assert_non_null(yyjson_obj_get(body, "username"));
    assert_null(yyjson_obj_get(body, "address"));
    assert_null(yyjson_obj_get(body, "userAgent"));
    assert_null(yyjson_ptr_get(root, "/components/schemas/apirelay.auth.v1.CreateSessionResponse"));
    assert_int_equal(yyjson_arr_size(at(root, "/paths/~1admin~1session/post/security")), 0);
    yyjson_doc_free(doc);
}

static void a_stream_is_shown_as_events_of_its_message(void **state)
{
    yyjson_doc *doc = document(*state);
    yyjson_val *schema =
        at(yyjson_doc_get_root(doc), "/paths/~1admin~1metrics~1stream/get/responses/"
                                     "200/content/text~1event-stream/schema");
    assert_string_equal(yyjson_get_str(at(schema, "/type")), "string");
    assert_string_equal(yyjson_get_str(at(schema, "/contentSchema/$ref")),
                        "#/components/schemas/apirelay.usage.v1.WatchMetricsResponse");
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_an_operation_with_a_name_of_its_own),
        cmocka_unit_test(every_reference_leads_somewhere),
        cmocka_unit_test(types_are_those_of_our_json),
        cmocka_unit_test(a_stream_is_shown_as_events_of_its_message),
        cmocka_unit_test(the_sign_in_shows_neither_token_nor_what_the_gateway_sets),
    };
    return cmocka_run_group_tests(tests, gateway_setup, gateway_teardown);
}
