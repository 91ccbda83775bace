#include "redis/command.h"
#include "redis/resp.h"

#include <openssl/sha.h>
#include <stdlib.h>

struct gw_redis_script {
    char sha1[2 * SHA_DIGEST_LENGTH + 1];
    size_t len;
    char lua[];
};

gw_redis_script *gw_redis_script_new(gw_str lua)
{
    gw_redis_script *s = calloc(1, sizeof(*s) + lua.len);
    if (!s)
        return NULL;
    uint8_t digest[SHA_DIGEST_LENGTH];
    s->len = lua.len;
    if (lua.len)
        memcpy(s->lua, lua.ptr, lua.len);
    SHA1((const unsigned char *)s->lua, lua.len, digest); /* Redis' name for a script, no secret */
    gw_hex_encode(digest, sizeof(digest), s->sha1);
    return s;
}

void gw_redis_script_free(gw_redis_script *s)
{
    free(s);
}

static void append_eval(gw_redis_op *op, gw_str verb, gw_str script)
{
    gw_resp_append_array(&op->command, 2 + op->script_argc);
    gw_resp_append_bulk(&op->command, verb);
    gw_resp_append_bulk(&op->command, script);
    gw_buf_append_str(&op->command, gw_buf_str(&op->script_args));
}

bool gw_redis_op_fall_back_to_eval(gw_redis_op *op)
{
    append_eval(op, GW_STR("EVAL"), gw_str_n(op->script->lua, op->script->len));
    op->script = NULL;
    return !gw_buf_failed(&op->command);
}

void gw_redis_eval(gw_redis *r, const gw_redis_script *s, gw_redis_reply_fn done, void *arg,
                   size_t keys, size_t argc, const gw_str *argv)
{
    gw_redis_op *op = gw_redis_op_new(r, done, arg);
    if (!op) {
        gw_redis_refuse(r, done, arg, GW_ERR_NO_MEMORY);
        return;
    }
    char count[24];
    int len = snprintf(count, sizeof(count), "%zu", keys);
    gw_resp_append_bulk(&op->script_args, gw_str_n(count, (size_t)len));
    for (size_t i = 0; i < argc; i++)
        gw_resp_append_bulk(&op->script_args, argv[i]);
    op->script = s;
    op->script_argc = 1 + argc;
    append_eval(op, GW_STR("EVALSHA"), gw_str_of(s->sha1));
    gw_redis_op_issue(op);
}
