/*
 * Globs for names (models, origins): `*` any run of bytes, `?` one byte, everything else itself.
 * Linear time.
 */
#pragma once

#include "core/str.h"

bool gw_glob_match(gw_str pattern, gw_str text);
bool gw_glob_is_exact(gw_str pattern); /* no * and no ? */
