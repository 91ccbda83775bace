#include "redis/command.h"
#include "redis/resp.h"

#include <openssl/sha.h>
#include <stdlib.h>

struct gw_redis_script {
    bool is_function;
    gw_buf name; /* SHA-1 of a script; of a function its own, which is its library's too */
    gw_buf lua; /* as Redis is told it */
};

void gw_redis_script_free(gw_redis_script *s)
{
    if (!s)
        return;
    gw_buf_fini(&s->name);
    gw_buf_fini(&s->lua);
    free(s);
}

/* Redis' name for a script, no secret. */
static void append_digest(gw_buf *out, gw_str lua)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    char hex[2 * SHA_DIGEST_LENGTH + 1];

    SHA1((const unsigned char *)(lua.len ? lua.ptr : ""), lua.len, digest);
    gw_hex_encode(digest, sizeof(digest), hex);
    gw_buf_append_c(out, hex);
}

static gw_redis_script *if_whole(gw_redis_script *s)
{
    if (!gw_buf_failed(&s->name) && !gw_buf_failed(&s->lua))
        return s;
    gw_redis_script_free(s);
    return NULL;
}

gw_redis_script *gw_redis_script_new(gw_str lua)
{
    gw_redis_script *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    append_digest(&s->name, lua);
    gw_buf_append_str(&s->lua, lua);
    return if_whole(s);
}

gw_redis_script *gw_redis_function_new(const char *name, gw_str lua)
{
    gw_redis_script *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->is_function = true;
    gw_buf_appendf(&s->name, "%s_", name);
    append_digest(&s->name, lua);
    gw_buf_append_c(&s->lua, "#!lua name=");
    gw_buf_append_str(&s->lua, gw_buf_str(&s->name));
    gw_buf_append_c(&s->lua, "\n");
    gw_buf_append_str(&s->lua, lua);
    gw_buf_append_c(&s->lua, "\nredis.register_function('");
    gw_buf_append_str(&s->lua, gw_buf_str(&s->name));
    gw_buf_append_c(&s->lua, "', main)\n");
    return if_whole(s);
}

static void append_call(gw_redis_op *op, const char *verb, const gw_buf *script)
{
    gw_resp_append_array(&op->command, 2 + op->script_argc);
    gw_resp_append_bulk(&op->command, gw_str_of(verb));
    gw_resp_append_bulk(&op->command, gw_buf_str(script));
    gw_buf_append_str(&op->command, gw_buf_str(&op->script_args));
}

bool gw_redis_op_goes_on(const gw_redis_op *op, const redisReply *reply)
{
    if (op->is_loading)
        return reply->type != REDIS_REPLY_ERROR;
    if (op->script->is_function)
        return reply->type == REDIS_REPLY_ERROR &&
               gw_str_eq_c(gw_resp_text(reply), "ERR Function not found");
    return gw_resp_is_error(reply, GW_STR("NOSCRIPT"));
}

bool gw_redis_op_go_on(gw_redis_op *op)
{
    const gw_redis_script *s = op->script;

    if (s->is_function && !op->is_loading) {
        /* REPLACE: another may have loaded it meanwhile */
        gw_resp_append_command(&op->command, 4,
                               (const gw_str[]){GW_STR("FUNCTION"), GW_STR("LOAD"),
                                                GW_STR("REPLACE"), gw_buf_str(&s->lua)});
        op->is_loading = true;
    } else {
        append_call(op, s->is_function ? "FCALL" : "EVAL", s->is_function ? &s->name : &s->lua);
        op->is_loading = false;
        op->script = NULL;
    }
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
    append_call(op, s->is_function ? "FCALL" : "EVALSHA", &s->name);
    gw_redis_op_issue(op);
}
