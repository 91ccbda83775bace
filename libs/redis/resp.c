#include "redis/resp.h"

void gw_resp_append_array(gw_buf *out, size_t count)
{
    gw_buf_appendf(out, "*%zu\r\n", count);
}

void gw_resp_append_bulk(gw_buf *out, gw_str s)
{
    gw_buf_appendf(out, "$%zu\r\n", s.len);
    gw_buf_append_str(out, s);
    gw_buf_append_c(out, "\r\n");
}

void gw_resp_append_command(gw_buf *out, size_t argc, const gw_str *argv)
{
    gw_resp_append_array(out, argc);
    for (size_t i = 0; i < argc; i++)
        gw_resp_append_bulk(out, argv[i]);
}

#if HIREDIS_MAJOR < 1
/* hiredis before 1.0 allocates whatever the head of an array asks for, before one element has come. */
static void *create_bounded_array(const redisReadTask *task, int elements)
{
    const redisReplyObjectFunctions *defaults = task->privdata;
    return elements <= GW_REDIS_ELEMENTS_MAX ? defaults->createArray(task, elements) : NULL;
}
#endif

redisReader *gw_resp_reader_new(redisReplyObjectFunctions *functions)
{
    redisReader *reader = redisReaderCreate();
    if (!reader)
        return NULL;
#if HIREDIS_MAJOR < 1
    *functions = *reader->fn;
    functions->createArray = create_bounded_array;
    reader->privdata = reader->fn;
    reader->fn = functions;
#else
    (void)functions;
    reader->maxelements = GW_REDIS_ELEMENTS_MAX;
#endif
    return reader;
}

static const struct {
    gw_str code;
    gw_status status;
} errors[] = {
    {{"NOAUTH", 6}, GW_ERR_PERMISSION_DENIED}, {{"WRONGPASS", 9}, GW_ERR_PERMISSION_DENIED},
    {{"NOPERM", 6}, GW_ERR_PERMISSION_DENIED}, {{"LOADING", 7}, GW_ERR_UNAVAILABLE},
    {{"READONLY", 8}, GW_ERR_UNAVAILABLE},     {{"MASTERDOWN", 10}, GW_ERR_UNAVAILABLE},
    {{"CLUSTERDOWN", 11}, GW_ERR_UNAVAILABLE}, {{"TRYAGAIN", 8}, GW_ERR_UNAVAILABLE},
    {{"BUSY", 4}, GW_ERR_UNAVAILABLE},         {{"MISCONF", 7}, GW_ERR_UNAVAILABLE},
    {{"NOREPLICAS", 10}, GW_ERR_UNAVAILABLE},  {{"OOM", 3}, GW_ERR_OVERLOADED},
};

bool gw_resp_is_error(const redisReply *reply, gw_str code)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    gw_str rest = gw_resp_text(reply);
    gw_str word = GW_STR_NULL;
    return gw_str_split(&rest, ' ', &word) && gw_str_eq(word, code);
}

gw_status gw_resp_status(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return GW_OK;
    for (size_t i = 0; i < GW_ARRAY_LEN(errors); i++) {
        if (gw_resp_is_error(reply, errors[i].code))
            return errors[i].status;
    }
    return GW_ERR_INTERNAL;
}
