#include "mongo/bson_read.h"

#include <math.h>

static bool find(const bson_t *d, const char *path, bson_iter_t *ret)
{
    bson_iter_t root;
    return bson_iter_init(&root, d) && bson_iter_find_descendant(&root, path, ret);
}

bool gw_bson_str(const bson_t *d, const char *path, gw_str *ret)
{
    bson_iter_t at;
    uint32_t len = 0;

    if (!find(d, path, &at) || !BSON_ITER_HOLDS_UTF8(&at))
        return false;
    const char *text = bson_iter_utf8(&at, &len);
    gw_str view = gw_str_n(text, len);
    /* BSON allows any bytes on the wire; callers hand these on to JSON and to C strings. */
    if (!gw_str_is_utf8(view) || gw_str_find(view, '\0') >= 0)
        return false;
    *ret = view;
    return true;
}

bool gw_bson_bool(const bson_t *d, const char *path, bool *ret)
{
    bson_iter_t at;
    if (!find(d, path, &at) || !BSON_ITER_HOLDS_BOOL(&at))
        return false;
    *ret = bson_iter_bool(&at);
    return true;
}

bool gw_bson_int64(const bson_t *d, const char *path, int64_t *ret)
{
    bson_iter_t at;
    if (!find(d, path, &at))
        return false;
    if (BSON_ITER_HOLDS_INT32(&at) || BSON_ITER_HOLDS_INT64(&at)) {
        *ret = bson_iter_as_int64(&at);
        return true;
    }
    if (!BSON_ITER_HOLDS_DOUBLE(&at))
        return false;
    double v = bson_iter_double(&at);
    if (!(v >= -0x1p63 && v < 0x1p63) || trunc(v) != v)
        return false;
    *ret = (int64_t)v;
    return true;
}

bool gw_bson_double(const bson_t *d, const char *path, double *ret)
{
    bson_iter_t at;
    double v;

    if (!find(d, path, &at))
        return false;
    if (BSON_ITER_HOLDS_DOUBLE(&at))
        v = bson_iter_double(&at);
    else if (BSON_ITER_HOLDS_INT32(&at) || BSON_ITER_HOLDS_INT64(&at))
        v = (double)bson_iter_as_int64(&at);
    else
        return false;
    if (!isfinite(v))
        return false;
    *ret = v;
    return true;
}

bool gw_bson_date_ms(const bson_t *d, const char *path, int64_t *ret)
{
    bson_iter_t at;
    if (!find(d, path, &at) || !BSON_ITER_HOLDS_DATE_TIME(&at))
        return false;
    *ret = bson_iter_date_time(&at);
    return true;
}

bool gw_bson_oid(const bson_t *d, const char *path, gw_object_id *ret)
{
    bson_iter_t at;
    if (!find(d, path, &at) || !BSON_ITER_HOLDS_OID(&at))
        return false;
    memcpy(ret->bytes, bson_iter_oid(&at)->bytes, sizeof(ret->bytes));
    return true;
}

bool gw_bson_binary(const bson_t *d, const char *path, gw_str *ret)
{
    bson_iter_t at;
    bson_subtype_t subtype;
    uint32_t len = 0;
    const uint8_t *bytes = NULL;

    if (!find(d, path, &at) || !BSON_ITER_HOLDS_BINARY(&at))
        return false;
    bson_iter_binary(&at, &subtype, &len, &bytes);
    *ret = gw_str_n(bytes, len);
    return true;
}

bool gw_bson_doc(const bson_t *d, const char *path, bson_t *ret_static)
{
    bson_iter_t at;
    uint32_t len = 0;
    const uint8_t *bytes = NULL;

    if (!find(d, path, &at) || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return false;
    bson_iter_document(&at, &len, &bytes);
    return bytes && bson_init_static(ret_static, bytes, len);
}

bool gw_bson_array(const bson_t *d, const char *path, bson_t *ret_static)
{
    bson_iter_t at;
    uint32_t len = 0;
    const uint8_t *bytes = NULL;

    if (!find(d, path, &at) || !BSON_ITER_HOLDS_ARRAY(&at))
        return false;
    bson_iter_array(&at, &len, &bytes);
    return bytes && bson_init_static(ret_static, bytes, len);
}

bool gw_bson_has(const bson_t *d, const char *path)
{
    bson_iter_t at;
    return find(d, path, &at) && !BSON_ITER_HOLDS_NULL(&at) && !BSON_ITER_HOLDS_UNDEFINED(&at);
}
