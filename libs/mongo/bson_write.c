#include "mongo/bson_read.h"

#include <ctype.h>

void gw_bson_append_str(bson_t *d, const char *key, gw_str v)
{
    /* libbson takes a NULL text for the null value. */
    (void)bson_append_utf8(d, key, -1, v.ptr ? v.ptr : "", (int)GW_MIN(v.len, INT32_MAX));
}

void gw_bson_append_oid(bson_t *d, const char *key, const gw_object_id *v)
{
    bson_oid_t oid;
    bson_oid_init_from_data(&oid, v->bytes);
    (void)BSON_APPEND_OID(d, key, &oid);
}

void gw_bson_append_str_array(bson_t *d, const char *key, const gw_str *items, size_t n)
{
    bson_t array;
    char buffer[16];
    const char *index;

    (void)BSON_APPEND_ARRAY_BEGIN(d, key, &array);
    for (size_t i = 0; i < n; i++) {
        (void)bson_uint32_to_string((uint32_t)i, &index, buffer, sizeof(buffer));
        gw_bson_append_str(&array, index, items[i]);
    }
    (void)bson_append_array_end(d, &array);
}

/* A field name ends at a NUL and an empty one breaks a dotted path: both get an escape too. */
static bool needs_escape(char c)
{
    return c == '.' || c == '$' || c == '%' || c == '\0';
}

void gw_bson_key_escape(gw_buf *out, gw_str name)
{
    if (name.len == 0)
        gw_buf_append_char(out, '%');
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (needs_escape(c))
            gw_buf_appendf(out, "%%%02X", (unsigned)(unsigned char)c);
        else
            gw_buf_append_char(out, c);
    }
}

size_t gw_bson_key_bytes(gw_str name)
{
    size_t bytes = GW_MAX(name.len, 1);
    for (size_t i = 0; i < name.len; i++)
        bytes += needs_escape(name.ptr[i]) ? 2 : 0;
    return bytes;
}

static bool decode_escape(gw_str rest, char *ret)
{
    static const struct {
        char code[2];
        char c;
    } escapes[] = {{{'2', 'E'}, '.'}, {{'2', '4'}, '$'}, {{'2', '5'}, '%'}, {{'0', '0'}, '\0'}};

    if (rest.len < 3 || rest.ptr[0] != '%')
        return false;
    for (size_t i = 0; i < GW_ARRAY_LEN(escapes); i++) {
        if (rest.ptr[1] == escapes[i].code[0] &&
            toupper((unsigned char)rest.ptr[2]) == escapes[i].code[1]) {
            *ret = escapes[i].c;
            return true;
        }
    }
    return false;
}

void gw_bson_key_unescape(gw_buf *out, gw_str key)
{
    if (gw_str_eq(key, GW_STR("%")))
        return;
    for (size_t i = 0; i < key.len;) {
        char c = key.ptr[i];
        bool escaped = decode_escape(gw_str_slice(key, i, key.len), &c);
        gw_buf_append_char(out, c);
        i += escaped ? 3 : 1;
    }
}
