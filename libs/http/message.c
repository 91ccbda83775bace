#include "http/message.h"

static const gw_header *find(gw_headers h, gw_str name, size_t from)
{
    for (size_t i = from; i < h.count; i++)
        if (gw_str_eq_nocase(h.items[i].name, name))
            return &h.items[i];
    return NULL;
}

gw_str gw_headers_find(gw_headers h, gw_str name)
{
    const gw_header *found = find(h, name, 0);
    if (!found)
        return GW_STR_NULL;
    /* A present but empty value is not an absent one. */
    return found->value.ptr ? found->value : GW_STR("");
}

size_t gw_headers_count_of(gw_headers h, const char *name)
{
    gw_str wanted = gw_str_of(name);
    size_t count = 0;
    if (h.names && !(h.names & gw_header_name_bit(wanted)))
        return 0;
    for (const gw_header *at = find(h, wanted, 0); at;
         at = find(h, wanted, (size_t)(at - h.items) + 1))
        count++;
    return count;
}

/* tchar of RFC 9110 §5.6.2 */
static const bool is_token_char[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['!'] = true,
    ['#'] = true,         ['$'] = true,         ['%'] = true,         ['&'] = true, ['\''] = true,
    ['*'] = true,         ['+'] = true,         ['.'] = true,         ['^'] = true, ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

bool gw_header_name_is_valid(gw_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char[(unsigned char)name.ptr[i]])
            return false;
    return name.len > 0;
}

bool gw_header_value_is_valid(gw_str value)
{
    for (size_t i = gw_str_plain_prefix(value); i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool gw_content_type_is(gw_str value, const char *type)
{
    ptrdiff_t parameters = gw_str_find(value, ';');
    if (parameters >= 0)
        value = gw_str_slice(value, 0, (size_t)parameters);
    return gw_str_eq_nocase(gw_str_trim(value), gw_str_of(type));
}

const char *gw_http_reason(int status)
{
    switch (status) {
#define REASON(code, text)                                                                         \
    case code:                                                                                     \
        return text;
        REASON(100, "Continue")
        REASON(101, "Switching Protocols")
        REASON(200, "OK")
        REASON(201, "Created")
        REASON(202, "Accepted")
        REASON(203, "Non-Authoritative Information")
        REASON(204, "No Content")
        REASON(205, "Reset Content")
        REASON(206, "Partial Content")
        REASON(300, "Multiple Choices")
        REASON(301, "Moved Permanently")
        REASON(302, "Found")
        REASON(303, "See Other")
        REASON(304, "Not Modified")
        REASON(307, "Temporary Redirect")
        REASON(308, "Permanent Redirect")
        REASON(400, "Bad Request")
        REASON(401, "Unauthorized")
        REASON(402, "Payment Required")
        REASON(403, "Forbidden")
        REASON(404, "Not Found")
        REASON(405, "Method Not Allowed")
        REASON(406, "Not Acceptable")
        REASON(408, "Request Timeout")
        REASON(409, "Conflict")
        REASON(410, "Gone")
        REASON(411, "Length Required")
        REASON(412, "Precondition Failed")
        REASON(413, "Content Too Large")
        REASON(414, "URI Too Long")
        REASON(415, "Unsupported Media Type")
        REASON(416, "Range Not Satisfiable")
        REASON(417, "Expectation Failed")
        REASON(422, "Unprocessable Content")
        REASON(424, "Failed Dependency")
        REASON(426, "Upgrade Required")
        REASON(428, "Precondition Required")
        REASON(429, "Too Many Requests")
        REASON(431, "Request Header Fields Too Large")
        REASON(499, "Client Closed Request")
        REASON(500, "Internal Server Error")
        REASON(501, "Not Implemented")
        REASON(502, "Bad Gateway")
        REASON(503, "Service Unavailable")
        REASON(504, "Gateway Timeout")
        REASON(505, "HTTP Version Not Supported")
        REASON(508, "Loop Detected")
#undef REASON
    default:
        return "";
    }
}
