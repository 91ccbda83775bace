/*
 * Globs for names (models, origins): `*` any run of bytes, `?` one byte, everything else itself.
 * Linear time.
 */
#pragma once

#include "core/str.h"

bool gw_glob_match(gw_str pattern, gw_str text);
bool gw_glob_is_exact(gw_str pattern); /* no * and no ? */

/*
 * How special a pattern is, of those that match one text: an exact one most, then the one with more text before its first
 * wildcard, then the longer one, its stars not counted. Larger is more special, never 0; of patterns of the length of names.
 */
uint32_t gw_glob_rank(gw_str pattern);
uint32_t gw_glob_rank_max(size_t len); /* the highest of a glob of that length */
