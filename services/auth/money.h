/*
 * Money: USD as people write it, and nano-USD, which is what is computed with.
 *
 * Thread: pure.
 */
#pragma once

#include "core/macros.h"

#include <stdbool.h>
#include <stdint.h>

/* 9,007,199 USD: below 2^53 nano, so that a number of JSON and the ledger's script (relay, ledger.lua) hold every nano-USD exactly. */
#define NANO_USD_MAX 9007199000000000LL
#define USD_MAX_TEXT "9007199"

/*
 * The decimal that `usd` shows as (its shortest text that reads back the same), rounded half to even:
 * 0.1 is 100,000,000 and 0.0000000025 is 2, whatever their binary fractions are. False when it is
 * negative, not finite or over NANO_USD_MAX.
 */
GW_CHECK bool money_nano_of_usd(double usd, int64_t *ret_nano_usd);

double money_usd_of_nano(int64_t nano_usd);
