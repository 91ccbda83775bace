#include "money.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANO_DIGITS 9

/* "d.ddde±xx" with as few digits as read back to the same double. */
static void shortest(double v, char *out, size_t size)
{
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(out, size, "%.*e", precision, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

bool money_nano_of_usd(double usd, int64_t *ret_nano_usd)
{
    if (!isfinite(usd) || usd < 0 || usd > (double)NANO_USD_MAX / 1e9)
        return false;
    char text[40], digits[24];
    shortest(fabs(usd), text, sizeof(text)); /* -0 is 0, and has no sign to be read as a digit */
    char *exponent_at = strchr(text, 'e');
    if (!exponent_at)
        return false;
    int exponent = (int)strtol(exponent_at + 1, NULL, 10);
    int count = 0;
    for (const char *c = text; c < exponent_at && count < (int)sizeof(digits); c++) {
        if (*c != '.')
            digits[count++] = *c;
    }
    /* The value is digits × 10^(exponent - count + 1); `whole` digits stand before the nano's point. */
    int whole = exponent + 1 + NANO_DIGITS;
    int64_t nano = 0;
    for (int i = 0; i < whole; i++)
        nano = nano * 10 + (i < count ? digits[i] - '0' : 0);
    int first = whole >= 0 && whole < count ? digits[whole] - '0' : 0;
    bool more = false;
    for (int i = GW_MAX(whole + 1, 0); i < count; i++)
        more = more || digits[i] != '0';
    if (first > 5 || (first == 5 && (more || nano % 2 == 1)))
        nano++;
    *ret_nano_usd = nano;
    return true;
}

double money_usd_of_nano(int64_t nano_usd)
{
    return (double)nano_usd / 1e9;
}
