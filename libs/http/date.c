#include "http/date.h"

#include <curl/curl.h>

#include <string.h>

#define DATE_MAX_BYTES 64

/* curl_getdate() takes bare numbers and times of day, too; each of HTTP's forms begins with the name of a day. */
static bool begins_with_a_letter(gw_str text)
{
    char c = text.len > 0 ? text.ptr[0] : '\0';

    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool gw_http_date_parse(gw_str text, int64_t *ret)
{
    char copy[DATE_MAX_BYTES];

    if (!begins_with_a_letter(text) || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    time_t at = curl_getdate(copy, NULL);
    if (at < 0)
        return false;
    *ret = (int64_t)at;
    return true;
}
