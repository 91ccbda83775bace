/*
 * Reading BSON that others may have written: typed, tolerant of number types, never trusting.
 *
 * Paths are dotted ("permissions.models"). Each getter returns false when the path is absent, null
 * or of another type, which a string with NUL or bad UTF-8 and a number that is not finite are;
 * `*ret` is untouched then. Strings are views into the document.
 */
#pragma once

#include "core/id.h"
#include "core/str.h"

#include <bson/bson.h>

bool gw_bson_str(const bson_t *d, const char *path, gw_str *ret);
bool gw_bson_bool(const bson_t *d, const char *path, bool *ret);
bool gw_bson_int64(const bson_t *d, const char *path,
                   int64_t *ret); /* int32, int64, or a double without fraction */
bool gw_bson_double(const bson_t *d, const char *path, double *ret); /* any number */
bool gw_bson_date_ms(const bson_t *d, const char *path, int64_t *ret);
bool gw_bson_oid(const bson_t *d, const char *path, gw_object_id *ret);
bool gw_bson_binary(const bson_t *d, const char *path, gw_str *ret);
bool gw_bson_doc(const bson_t *d, const char *path, bson_t *ret_static); /* bson_init_static view */
bool gw_bson_array(const bson_t *d, const char *path, bson_t *ret_static); /* the same for arrays */
bool gw_bson_has(const bson_t *d, const char *path); /* present and not null */

/* Writing helpers on top of libbson. */
void gw_bson_append_str(bson_t *d, const char *key, gw_str v);
void gw_bson_append_oid(bson_t *d, const char *key, const gw_object_id *v);
void gw_bson_append_str_array(bson_t *d, const char *key, const gw_str *items, size_t n);

/* Map keys: `.` -> %2E, `$` -> %24, `%` -> %25 (MongoDB splits paths at dots), NUL -> %00, "" -> %,
 * and back. */
void gw_bson_key_escape(gw_buf *out, gw_str name);
void gw_bson_key_unescape(gw_buf *out, gw_str key);
size_t gw_bson_key_bytes(gw_str name); /* of what gw_bson_key_escape() makes of it */
