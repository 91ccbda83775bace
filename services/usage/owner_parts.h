/*
 * Owner parts: where the sums by client and by owner stand.
 *
 * In a document they are members, and there may be any number of them, while a document has a largest size. So an hour has, beside the
 * document of all keys, OWNER_PARTS of clients and owners, each with those whose name hashes to it. As subject of a document a part
 * is "*00" … "*63". Their hours and days have collections of their own (rollup_names.h): others read those of keys, and expect requests
 * and tokens in each document.
 *
 * Their number and the hash are for ever: which document a row enters follows from the row (rollup.h).
 *
 * Thread: values.
 */
#pragma once

#include "core/str.h"

#define OWNER_PARTS        64
#define OWNER_SUBJECT_SIZE 4

/* `name`: a client's id, or an owner's in hex. */
void owner_part_of(gw_str name, char out[OWNER_SUBJECT_SIZE]);
bool owner_part_is(gw_str subject);
