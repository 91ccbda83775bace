#include "core/violations.h"

#include <stdio.h>

void gw_violations_add(gw_violations *v, const char *field, const char *format, ...)
{
    if (v->count == GW_VIOLATIONS_MAX)
        return;
    gw_violation *item = &v->items[v->count++];
    snprintf(item->field, sizeof(item->field), "%s", field);
    va_list args;
    va_start(args, format);
    vsnprintf(item->description, sizeof(item->description), format, args);
    va_end(args);
}

gw_status gw_violations_status(const gw_violations *v, gw_error *err)
{
    if (v->count == 0)
        return GW_OK;
    if (v->count == 1)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, v->items[0].field, "%s",
                             v->items[0].description);
    gw_auto_buf text = {0};
    for (size_t i = 0; i < v->count; i++)
        gw_buf_appendf(&text, "%s%s: %s", i ? "; " : "", v->items[i].field,
                       v->items[i].description);
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, v->items[0].field, "%s",
                         text.data ? text.data : "");
}

gw_status gw_violations_split(const gw_violations *v, gw_error *err, gw_violations *further)
{
    if (v->count == 0)
        return GW_OK;
    if (further) {
        further->count = v->count - 1;
        memcpy(further->items, v->items + 1, further->count * sizeof(v->items[0]));
    }
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, v->items[0].field, "%s",
                         v->items[0].description);
}
