/*
 * Documents of a database that others write too: a getter gives what its header says or leaves
 * `*ret` alone; map keys survive their escaping.
 */
#include "mongo/bson_read.h"
#include "testing/fuzz.h"

#include <math.h>

static void check_path(const bson_t *d, const char *path)
{
    gw_str text = GW_STR("untouched");
    gw_str bytes = GW_STR("untouched");
    bool flag = false;
    int64_t whole = 77;
    int64_t time = 77;
    double number = 0.5;
    gw_object_id id = {{7}};
    bson_t part;

    if (gw_bson_str(d, path, &text))
        fuzz_require(gw_str_is_utf8(text) && gw_str_find(text, '\0') < 0);
    else
        fuzz_require(gw_str_eq(text, GW_STR("untouched")));
    (void)gw_bson_bool(d, path, &flag);
    bool is_whole = gw_bson_int64(d, path, &whole);
    fuzz_require(is_whole || whole == 77);
    if (gw_bson_double(d, path, &number))
        fuzz_require(isfinite(number));
    else
        fuzz_require(!is_whole && number == 0.5);
    fuzz_require(gw_bson_date_ms(d, path, &time) || time == 77);
    (void)gw_bson_oid(d, path, &id);
    if (gw_bson_binary(d, path, &bytes))
        fuzz_require(bytes.len == 0 || bytes.ptr != NULL);
    bool is_document = gw_bson_doc(d, path, &part) && bson_count_keys(&part) < UINT32_MAX;
    bool is_array = gw_bson_array(d, path, &part) && bson_count_keys(&part) < UINT32_MAX;
    fuzz_require(!(is_document && is_array));
    fuzz_require(gw_bson_has(d, path) || !(is_document || is_array || is_whole));
}

static void check_key(gw_str name)
{
    gw_auto_buf key = {0};
    gw_auto_buf back = {0};

    gw_bson_key_escape(&key, name);
    fuzz_require(key.len > 0 && gw_str_find(gw_buf_str(&key), '.') < 0);
    fuzz_require(gw_str_find(gw_buf_str(&key), '\0') < 0 && key.data[0] != '$');
    gw_bson_key_unescape(&back, gw_buf_str(&key));
    fuzz_require(gw_str_eq(gw_buf_str(&back), name));
    gw_buf_clear(&back);
    gw_bson_key_unescape(&back, name); /* keys that others wrote */
    fuzz_require(back.len <= name.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"a", "a.b", "a.0", "a.b.c", "", "."};
    bson_t d;

    check_key(gw_str_n(data, size));
    if (!bson_init_static(&d, data, size)) /* the driver asks the same of what comes in */
        return 0;
    for (size_t i = 0; i < GW_ARRAY_LEN(paths); i++)
        check_path(&d, paths[i]);
    return 0;
}
