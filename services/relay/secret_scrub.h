/*
 * Secret scrub: takes what looks like a credential out of an upstream's error text before it is
 * shown or logged.
 *
 * Replaced by "***": every occurrence of `known` (the credential we sent), what follows "Bearer ",
 * and words with the prefixes of well-known keys (sk-, lc_, AIza, …).
 */
#pragma once

#include "core/str.h"

#define SECRET_SCRUB_MAX 600 /* bytes kept of a text */

/* Appends `text`, scrubbed and cut at SECRET_SCRUB_MAX whole characters; control characters become
 * spaces. */
void secret_scrub(gw_buf *out, gw_str text, gw_str known);
