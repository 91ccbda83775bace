/*
 * A JSON document that is written value by value. yyjson's functions that add to one say by their result when
 * they ran out of memory; here the document remembers it, so that a row of them is looked at once, at its end:
 * a request that lacks a member must not go out.
 *
 * Thread: one owner.
 */
#pragma once

#include "core/str.h"

#include <yyjson.h>

typedef struct json_builder {
    yyjson_alc alc;
    yyjson_mut_doc *doc;
    bool failed; /* an allocation did */
} json_builder;

/* The builder stays where it is until its end. `doc` is NULL, and `failed` true, when out of memory. */
void json_builder_init(json_builder *b);
void json_builder_fini(json_builder *b);
#define json_auto_builder __attribute__((cleanup(json_builder_fini))) json_builder

/* The document's text, malloc'ed; NULL when anything of it could not be written. */
char *json_builder_write(json_builder *b, size_t *ret_len);

/* Adds a member; the text is borrowed until the document is written. GW_STR_NULL is written as "". */
void json_set_text(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *name, gw_str text);
/* The same, a copy of a value of another document; nothing for NULL. */
void json_set_copy(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *name, yyjson_val *v);
