#include "owner_parts.h"

#include "usage_collections.h"

#include "core/crc32c.h"

#include <stdio.h>

void owner_part_of(gw_str name, char out[OWNER_SUBJECT_SIZE])
{
    (void)snprintf(out, OWNER_SUBJECT_SIZE, ALL_KEYS "%02u",
                   gw_crc32c(0, name.ptr, name.len) % OWNER_PARTS);
}

bool owner_part_is(gw_str subject)
{
    return subject.len == OWNER_SUBJECT_SIZE - 1 && gw_str_starts_with(subject, GW_STR(ALL_KEYS));
}
