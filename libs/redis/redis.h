/*
 * Redis: commands, scripts and subscriptions on a loop.
 *
 * The protocol is hiredis' (its reader and command formatter), the sockets are libuv's own:
 * hiredis' async context asserts on what a server may send (an unasked-for reply ends the process)
 * and resolves names while blocking.
 *
 * Commands go over one connection, in order; all that a loop's turn issues leave in one write. The
 * first command, or gw_redis_connect(), connects; commands issued meanwhile wait for it. A lost
 * connection is opened again with jittered backoff, and until it is up commands fail at once.
 * Nothing is sent twice: a command that was in flight when the connection broke may have run or
 * not, and fails with GW_ERR_UNAVAILABLE. Subscriptions have a connection of their own.
 *
 * rediss:// is TLS over the same sockets (libs/tls), verified by certificate and host name; never a plain
 * connection instead.
 *
 * A connection on which nothing was heard for three command timeouts while replies are due is
 * dropped.
 *
 * Log: redis_connected, redis_unavailable once at each change, not at each attempt. No arguments,
 * no passwords. Thread: everything on the loop's.
 */
#pragma once

#include "log/log.h"
#include "loop/loop.h"
#include "tls/tls_files.h"

#include <hiredis/hiredis.h>

typedef struct gw_redis gw_redis;

typedef struct gw_redis_options {
    gw_str url; /* redis[s]://[[user]:password@]host[:port][/db], percent-coded; default port 6379,
                   db 0 */
    gw_tls_files *tls; /* of rediss://: authorities, own certificate; outlives the object. NULL: the
                          system's, none */
    gw_str password; /* from a secret file; stands in for the URL's when not empty */
    int64_t connect_timeout_ms; /* name, TCP, TLS, AUTH, SELECT together; 0 = 2000 */
    int64_t command_timeout_ms; /* from the call to the reply; 0 = 1000 */
    size_t max_pending; /* commands without a reply yet, also those timed out; 0 = 10000 */
} gw_redis_options;

/* Options are copied. GW_ERR_INVALID_ARGUMENT for a bad URL. `log` may be NULL. */
GW_CHECK gw_status gw_redis_new(gw_loop *l, gw_log *log, const gw_redis_options *o, gw_redis **ret,
                                gw_error *err);
/* Callbacks still due are called inside, with GW_ERR_CANCELLED; they issue nothing new. Not from a
 * callback of `r`. */
void gw_redis_free(gw_redis *r);
GW_DEFINE_FREEP(gw_redis)

void gw_redis_connect(
    gw_redis *r); /* now, without a command; nothing when connected or connecting */
bool gw_redis_is_up(const gw_redis *r); /* the command connection is ready */
size_t gw_redis_pending(const gw_redis *r); /* counted against max_pending */

/*
 * Called exactly once, on the loop, never inside the call that issued the command. `reply` lives
 * until it returns. GW_OK                      the reply, which is not an error (nil is a reply)
 *   GW_ERR_UNAVAILABLE         down, or the connection broke, or Redis cannot serve now (LOADING,
 * READONLY, …); `reply` is NULL unless Redis said it GW_ERR_DEADLINE_EXCEEDED   no reply in time;
 * the command may still run. `reply` is NULL GW_ERR_OVERLOADED          max_pending reached: not
 * sent, `reply` NULL; or Redis is out of memory GW_ERR_PERMISSION_DENIED   NOAUTH, NOPERM,
 * WRONGPASS GW_ERR_INTERNAL            any other error reply of Redis: `reply->str` has it
 *   GW_ERR_NO_MEMORY, GW_ERR_CANCELLED  `reply` is NULL
 */
typedef void (*gw_redis_reply_fn)(void *arg, gw_status rc, const redisReply *reply);

/* Arguments are copied; `done` may be NULL when nobody cares. argc >= 1. Not for SUBSCRIBE,
 * MONITOR, blocking commands. */
void gw_redis_command(gw_redis *r, gw_redis_reply_fn done, void *arg, size_t argc,
                      const gw_str *argv);
#define gw_redis_call(r, done, arg, ...)                                                           \
    gw_redis_command((r), (done), (arg), sizeof((const gw_str[]){__VA_ARGS__}) / sizeof(gw_str),   \
                     (const gw_str[]){__VA_ARGS__})

/*
 * Lua scripts: EVALSHA, and EVAL when Redis does not know the script (NOSCRIPT). Such a script has
 * not run, so the second try is no repetition. One timeout covers both.
 */
typedef struct gw_redis_script gw_redis_script;
gw_redis_script *gw_redis_script_new(gw_str lua); /* copied; NULL when out of memory */
/*
 * The same as a function, which Redis (7.0 or newer) keeps: FCALL, and FUNCTION LOAD before it is called
 * again when Redis does not know it. `lua` defines a local function main(KEYS, ARGV), and may touch only
 * locals while it is loaded. What it keeps in locals lives as long as the process of Redis, or until it is
 * loaded again; it is in no copy of the data. The library is called `name` (A-Z a-z 0-9 _) and a hash of
 * the text, so that other texts stand beside it. Copied; NULL when out of memory.
 */
gw_redis_script *gw_redis_function_new(const char *name, gw_str lua);
void gw_redis_script_free(gw_redis_script *s); /* when no evaluation of it is pending */
GW_DEFINE_FREEP(gw_redis_script)
/* `argv` are `keys` key names (KEYS), then the arguments (ARGV). */
void gw_redis_eval(gw_redis *r, const gw_redis_script *s, gw_redis_reply_fn done, void *arg,
                   size_t keys, size_t argc, const gw_str *argv);

/*
 * `message` is NULL each time the subscription has begun, first and after every reconnect: what was
 * published before is not coming, so whoever mirrors a state reads it anew. Views live until it
 * returns.
 */
typedef void (*gw_redis_message_fn)(void *arg, gw_str channel, const gw_str *message);

/* Until gw_redis_free(). A channel may be subscribed once: GW_ERR_ALREADY_EXISTS. */
GW_CHECK gw_status gw_redis_subscribe(gw_redis *r, gw_str channel, gw_redis_message_fn on_message,
                                      void *arg, gw_error *err);
