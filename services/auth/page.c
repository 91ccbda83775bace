#include "page.h"

#include "messages.h"

gw_status page_size(int32_t asked, int64_t *ret, gw_error *err)
{
    if (asked < 0 || asked > PAGE_SIZE_MAX)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "pageSize", "must be 1-%d",
                             PAGE_SIZE_MAX);
    *ret = asked ? asked : PAGE_SIZE_DEFAULT;
    return GW_OK;
}

gw_status page_position(gw_arena *a, const peppers *p, gw_str filters, const char *cursor,
                        gw_str *ret, gw_error *err)
{
    gw_auto_buf position = {0};
    if (*cursor == '\0') {
        *ret = GW_STR("");
        return GW_OK;
    }
    gw_status rc =
        gw_cursor_read(peppers_cursor_key(p), filters, gw_str_of(cursor), &position, err);
    if (rc == GW_OK)
        *ret = gw_arena_dup(a, gw_buf_str(&position));
    return rc;
}

char *page_cursor(gw_arena *a, const peppers *p, gw_str filters, gw_str position)
{
    gw_auto_buf text = {0};
    gw_cursor_write(peppers_cursor_key(p), filters, position, &text);
    return message_text(a, gw_buf_failed(&text) ? GW_STR("") : gw_buf_str(&text));
}

void page_filter(gw_buf *filters, const char *name, const char *value)
{
    gw_buf_appendf(filters, "%s=%zu:%s;", name, strlen(value), value);
}
