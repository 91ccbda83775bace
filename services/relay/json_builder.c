#include "json_builder.h"

#include <stdlib.h>

static void *allocate(void *ctx, size_t size)
{
    json_builder *b = ctx;
    void *p = malloc(size);

    b->failed |= !p;
    return p;
}

static void *reallocate(void *ctx, void *old, size_t old_size, size_t size)
{
    json_builder *b = ctx;
    void *p = realloc(old, size);

    (void)old_size;
    b->failed |= !p;
    return p;
}

static void release(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

void json_builder_init(json_builder *b)
{
    *b = (json_builder){
        .alc = {.malloc = allocate, .realloc = reallocate, .free = release, .ctx = b}};
    b->doc = yyjson_mut_doc_new(&b->alc);
}

void json_builder_fini(json_builder *b)
{
    yyjson_mut_doc_free(b->doc);
    b->doc = NULL;
}

char *json_builder_write(json_builder *b, size_t *ret_len)
{
    char *text = b->failed
                     ? NULL
                     : yyjson_mut_write_opts(b->doc, YYJSON_WRITE_NOFLAG, &b->alc, ret_len, NULL);

    if (b->failed) {
        free(text);
        return NULL;
    }
    return text;
}

void json_set_text(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *name, gw_str text)
{
    (void)yyjson_mut_obj_add_strn(doc, to, name, text.ptr ? text.ptr : "", text.len);
}

void json_set_copy(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *name, yyjson_val *v)
{
    if (v)
        (void)yyjson_mut_obj_add_val(doc, to, name, yyjson_val_mut_copy(doc, v));
}
