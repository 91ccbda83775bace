/*
 * Money: USD as people write it, and nano-USD, which is what is computed with.
 *
 * Thread: pure.
 */
#pragma once

#include "core/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define NANO_USD_MAX 9000000000000000000LL /* 9e9 USD */

/*
 * The decimal that `usd` shows as (its shortest text that reads back the same), rounded half to even:
 * 0.1 is 100,000,000 and 0.0000000025 is 2, whatever their binary fractions are. False when it is
 * negative, not finite or over NANO_USD_MAX.
 */
GW_CHECK bool money_nano_of_usd(double usd, int64_t *ret_nano_usd);

double money_usd_of_nano(int64_t nano_usd);
