/* What is read of a YAML file is JSON of bounded depth without a member twice, and JSON is read as it is. */
#include "testing/fuzz.h"
#include "json/yaml.h"

static void check_value(yyjson_val *v, unsigned depth)
{
    size_t i, max, j, n;
    yyjson_val *k, *member, *k2, *other, *item;

    fuzz_require(depth <= GW_YAML_DEPTH_MAX);
    if (yyjson_is_str(v))
        fuzz_require(gw_str_is_utf8(gw_str_n(yyjson_get_str(v), yyjson_get_len(v))));
    yyjson_arr_foreach (v, i, max, item)
        check_value(item, depth + 1);
    yyjson_obj_foreach (v, i, max, k, member) {
        yyjson_obj_foreach (v, j, n, k2, other)
            fuzz_require(i == j || !yyjson_equals_strn(k, yyjson_get_str(k2), yyjson_get_len(k2)));
        check_value(member, depth + 1);
    }
}

/* Of the rest YAML takes some characters by escapes only, and some as line breaks even between quotes. */
static bool is_ascii(gw_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < ' ' || s.ptr[i] == 0x7f) /* bytes above 0x7f are negative */
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    yyjson_mut_doc *doc = NULL;
    gw_error err = {0};
    size_t len = 0;

    gw_status rc = gw_yaml_read(gw_str_n(data, size), &doc, &err);
    if (rc != GW_OK) {
        fuzz_require(doc == NULL && rc == GW_ERR_INVALID_ARGUMENT && err.message[0]);
        return 0;
    }
    char *json = yyjson_mut_write(doc, 0, &len);
    fuzz_require(json != NULL);
    yyjson_doc *strict = yyjson_read(json, len, 0);
    fuzz_require(strict != NULL);
    check_value(yyjson_doc_get_root(strict), 0);

    if (!is_ascii(gw_str_n(json, len))) {
        yyjson_doc_free(strict);
        free(json);
        yyjson_mut_doc_free(doc);
        return 0;
    }
    yyjson_mut_doc *again = NULL; /* YAML 1.2 holds JSON */
    fuzz_require(gw_yaml_read(gw_str_n(json, len), &again, &err) == GW_OK);
    fuzz_require(yyjson_mut_equals(yyjson_mut_doc_get_root(doc), yyjson_mut_doc_get_root(again)));
    yyjson_mut_doc_free(again);
    yyjson_doc_free(strict);
    free(json);
    yyjson_mut_doc_free(doc);
    return 0;
}
