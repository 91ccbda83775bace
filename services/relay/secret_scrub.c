#include "secret_scrub.h"

#include "core/utf8.h"

/* Words that begin so are credentials when at least SECRET_MIN_BYTES long. */
static const char *const prefixes[] = {"sk-",    "sk_",    "pk-",    "rk-",  "lc_",   "lcadm_",
                                       "lcses_", "lcsvc_", "lcsig_", "AIza", "ya29.", "ghp_",
                                       "gsk_",   "xai-",   "hf_",    "eyJ"};
#define SECRET_MIN_BYTES 12
#define KNOWN_MIN_BYTES  4 /* a shorter credential would blank out ordinary words */

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_' || c == '.' || c == '*' || c == '+' || c == '/' || c == '=';
}

static size_t word_length(gw_str s)
{
    size_t n = 0;

    while (n < s.len && is_word_char(s.ptr[n]))
        n++;
    return n;
}

/* Length of the credential at the start of `rest`, 0 when there is none. */
static size_t secret_at(gw_str rest, gw_str known, bool word_start)
{
    const gw_str bearer = GW_STR("bearer ");

    if (known.len >= KNOWN_MIN_BYTES && gw_str_starts_with(rest, known))
        return known.len;
    if (!word_start)
        return 0;
    if (rest.len > bearer.len && gw_str_eq_nocase(gw_str_slice(rest, 0, bearer.len), bearer))
        return bearer.len + word_length(gw_str_slice(rest, bearer.len, rest.len));
    for (size_t i = 0; i < GW_ARRAY_LEN(prefixes); i++) {
        if (!gw_str_starts_with(rest, gw_str_of(prefixes[i])))
            continue;
        size_t n = word_length(rest);
        if (n >= SECRET_MIN_BYTES)
            return n;
    }
    return 0;
}

void secret_scrub(gw_buf *out, gw_str text, gw_str known)
{
    size_t start = out->len;
    bool word_start = true;

    for (size_t at = 0; at < text.len && out->len - start < SECRET_SCRUB_MAX;) {
        gw_str rest = gw_str_slice(text, at, text.len);
        size_t secret = secret_at(rest, known, word_start);
        if (secret > 0) {
            gw_buf_append_c(out, "***");
            at += secret;
            word_start = false;
            continue;
        }
        bool ok;
        size_t n = gw_utf8_next(rest.ptr, rest.len, &ok);
        unsigned char c = (unsigned char)rest.ptr[0];
        if (!ok || c == 0x7f)
            gw_buf_append_char(out, '?');
        else if (c < 0x20)
            gw_buf_append_char(out, ' ');
        else
            gw_buf_append(out, rest.ptr, n);
        word_start = !is_word_char((char)c) || c == '/' || c == '='; /* of a path, of a query */
        at += n;
    }
}
