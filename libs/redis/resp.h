/*
 * RESP: how commands are written, replies bounded and error replies translated. Private to libs/redis.
 */
#pragma once

#include "redis/redis.h"

#define GW_REDIS_REPLY_BYTES_MAX ((size_t)64 << 20) /* of one reply not complete yet */
#define GW_REDIS_ELEMENTS_MAX    (1024 * 1024) /* of one array */

void gw_resp_append_array(gw_buf *out, size_t count); /* "*count", then `count` times: */
void gw_resp_append_bulk(gw_buf *out, gw_str s);
void gw_resp_append_command(gw_buf *out, size_t argc, const gw_str *argv);

/*
 * A hiredis reader that refuses arrays no honest answer to us has. NULL when out of memory.
 * `functions` is the reader's own and lives as long.
 */
redisReader *gw_resp_reader_new(redisReplyObjectFunctions *functions);

/* What an error reply means for the caller (redis.h); GW_OK for any other reply. */
gw_status gw_resp_status(const redisReply *reply);
bool gw_resp_is_error(const redisReply *reply, gw_str code); /* the error's first word */
static inline gw_str gw_resp_text(const redisReply *reply)
{
    return gw_str_n(reply->str, reply->str ? (size_t)reply->len : 0);
}
