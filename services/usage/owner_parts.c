#include "owner_parts.h"

#include "usage_collections.h"

#include "core/crc32c.h"

#include <stdio.h>

static void format_part(unsigned part, char out[OWNER_SUBJECT_SIZE])
{
    (void)snprintf(out, OWNER_SUBJECT_SIZE, ALL_KEYS "%02u", part % OWNER_PARTS);
}

void owner_part_of(gw_str name, char out[OWNER_SUBJECT_SIZE])
{
    format_part(gw_crc32c(0, name.ptr, name.len), out);
}

bool owner_part_is(gw_str subject)
{
    return subject.len == OWNER_SUBJECT_SIZE - 1 && gw_str_starts_with(subject, GW_STR(ALL_KEYS));
}

void owner_parts_append_all(bson_t *filter, const char *field)
{
    bson_t in, names;
    (void)BSON_APPEND_DOCUMENT_BEGIN(filter, field, &in);
    (void)BSON_APPEND_ARRAY_BEGIN(&in, "$in", &names);
    for (unsigned i = 0; i < OWNER_PARTS; i++) {
        char name[OWNER_SUBJECT_SIZE];
        char buffer[16];
        const char *index;
        format_part(i, name);
        (void)bson_uint32_to_string(i, &index, buffer, sizeof(buffer));
        (void)BSON_APPEND_UTF8(&names, index, name);
    }
    (void)bson_append_array_end(&in, &names);
    (void)bson_append_document_end(filter, &in);
}
