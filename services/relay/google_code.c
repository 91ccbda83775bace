/* Parts of code execution: nothing of a chat completion is made for them, and what a caller does not see he cannot check. */
#include "chat_request.h"
#include "google.h"

#include <ctype.h>

#define FENCE_MIN 3

/* One longer than any within, so that none ends the block. */
static size_t fence_of(gw_str text)
{
    size_t longest = 0, run = 0;

    for (size_t i = 0; i < text.len; i++) {
        run = text.ptr[i] == '`' ? run + 1 : 0;
        longest = GW_MAX(longest, run);
    }
    return GW_MAX(longest + 1, FENCE_MIN);
}

static gw_str fenced(gw_arena *arena, gw_str info, gw_str text, bool *failed)
{
    size_t fence = fence_of(text);
    gw_auto_buf out = {0};

    gw_buf_append_char(&out, '\n');
    for (int is_end = 0; is_end <= 1; is_end++) {
        for (size_t i = 0; i < fence; i++)
            gw_buf_append_char(&out, '`');
        if (is_end)
            break;
        gw_buf_append_str(&out, info);
        gw_buf_append_char(&out, '\n');
        gw_buf_append_str(&out, text);
        if (text.len > 0 && text.ptr[text.len - 1] != '\n')
            gw_buf_append_char(&out, '\n');
    }
    gw_buf_append_char(&out, '\n');
    gw_str ret = gw_buf_failed(&out) ? GW_STR_NULL : gw_arena_dup(arena, gw_buf_str(&out));
    *failed |= !ret.ptr;
    return ret;
}

/* "PYTHON" is python; what is no word of letters is not shown. */
static gw_str language_of(gw_str given, char out[16])
{
    for (size_t i = 0; i < given.len; i++) {
        if (given.len >= 16 || !isalpha((unsigned char)given.ptr[i]))
            return GW_STR("");
        out[i] = (char)tolower((unsigned char)given.ptr[i]);
    }
    return gw_str_n(out, given.len);
}

gw_str google_code_read(gw_arena *arena, yyjson_val *part, bool *failed)
{
    yyjson_val *code = yyjson_obj_get(part, "executableCode");
    yyjson_val *result = yyjson_obj_get(part, "codeExecutionResult");
    char language[16];

    if (yyjson_is_obj(code))
        return fenced(arena, language_of(chat_string(code, "language"), language),
                      chat_string(code, "code"), failed);
    if (!yyjson_is_obj(result))
        return GW_STR_NULL;
    gw_str outcome = chat_string(result, "outcome");
    bool is_fine = outcome.len == 0 || gw_str_eq_c(outcome, "OUTCOME_OK");
    return fenced(arena, is_fine ? GW_STR("output") : GW_STR("error"),
                  chat_string(result, "output"), failed);
}
