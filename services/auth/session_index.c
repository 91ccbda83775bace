#include "session_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX "auth:sessions:"

typedef struct index_key {
    char text[sizeof(PREFIX) + GW_OBJECT_ID_HEX_SIZE];
} index_key;

static index_key key_of(const char *admin_id)
{
    index_key k;
    snprintf(k.text, sizeof(k.text), PREFIX "%s", admin_id);
    return k;
}

static gw_status describe(gw_status rc, gw_error *err)
{
    return rc == GW_OK ? GW_OK : session_store_unavailable(err);
}

/* ---- members ---- */

static void append_printable(char *out, size_t size, const char *text)
{
    size_t at = strlen(out);
    for (; *text && at + 1 < size; text++)
        out[at++] = *text < ' ' || *text > '~' ? '?' : *text;
    out[at] = '\0';
}

void indexed_session_format(const indexed_session *s, char out[SESSION_INDEXED_SIZE])
{
    snprintf(out, SESSION_INDEXED_SIZE, "%s %s ", s->id, *s->address ? s->address : "-");
    append_printable(out, SESSION_INDEXED_SIZE, s->user_agent);
}

bool indexed_session_parse(gw_str text, indexed_session *ret)
{
    indexed_session s = {0};
    gw_str id, address;
    if (!gw_str_split(&text, ' ', &id) || !gw_str_split(&text, ' ', &address) ||
        !session_id_is_shaped(id) || address.len >= sizeof(s.address) ||
        text.len >= sizeof(s.user_agent))
        return false;
    snprintf(s.id, sizeof(s.id), GW_STR_FMT, GW_STR_ARG(id));
    if (!gw_str_eq_c(address, "-"))
        snprintf(s.address, sizeof(s.address), GW_STR_FMT, GW_STR_ARG(address));
    if (text.len)
        snprintf(s.user_agent, sizeof(s.user_agent), GW_STR_FMT, GW_STR_ARG(text));
    *ret = s;
    return true;
}

/* ---- adding ---- */

typedef struct adding {
    session_done_fn done;
    void *arg;
} adding;

static void added(void *arg, gw_status rc, const redisReply *reply)
{
    adding *w = arg;
    gw_error err = {0};
    (void)reply;
    rc = describe(rc, &err);
    w->done(w->arg, rc, &err);
    free(w);
}

static gw_str number(char out[24], int64_t n)
{
    snprintf(out, 24, "%" PRId64, n);
    return gw_str_of(out);
}

void session_index_add(gw_redis *r, const session *s, const indexed_session *i,
                       session_done_fn done, void *arg)
{
    char member[SESSION_INDEXED_SIZE], created[24], ended[24], keep[24];
    gw_error err = {0};
    adding *w = malloc(sizeof(*w));
    if (!w) {
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "session");
        done(arg, rc, &err);
        return;
    }
    *w = (adding){done, arg};
    index_key key = key_of(s->admin_id);
    indexed_session_format(i, member);
    gw_redis_call(r, NULL, NULL, GW_STR("ZREMRANGEBYSCORE"), gw_str_of(key.text), GW_STR("-inf"),
                  number(ended, s->created_ms - SESSION_ABSOLUTE_MS));
    gw_redis_call(r, added, w, GW_STR("ZADD"), gw_str_of(key.text), number(created, s->created_ms),
                  gw_str_of(member));
    gw_redis_call(r, NULL, NULL, GW_STR("PEXPIRE"), gw_str_of(key.text),
                  number(keep, SESSION_ABSOLUTE_MS));
}

/* ---- listing ---- */

typedef struct list_item {
    struct list_call *call;
    listed_session listed;
    bool found;
} list_item;

typedef struct list_call {
    gw_redis *redis;
    gw_arena *arena;
    index_key key;
    list_item *items;
    size_t count, due;
    gw_status rc;
    sessions_listed_fn done;
    void *arg;
} list_call;

static void finish(list_call *c)
{
    gw_error err = {0};
    size_t kept = 0;
    listed_session *sessions = gw_arena_array(c->arena, listed_session, c->count + 1);
    gw_status rc = sessions ? describe(c->rc, &err) : gw_fail(&err, GW_ERR_NO_MEMORY, "sessions");
    for (size_t i = 0; rc == GW_OK && i < c->count; i++) {
        char member[SESSION_INDEXED_SIZE];
        if (c->items[i].found) {
            sessions[kept++] = c->items[i].listed;
            continue;
        }
        indexed_session_format(&c->items[i].listed.indexed, member);
        gw_redis_call(c->redis, NULL, NULL, GW_STR("ZREM"), gw_str_of(c->key.text),
                      gw_str_of(member));
    }
    c->done(c->arg, rc, sessions, kept, &err);
}

static void one_done(list_call *c, gw_status rc)
{
    if (rc != GW_OK)
        c->rc = rc;
    if (--c->due == 0)
        finish(c);
}

static void got_value(void *arg, gw_status rc, const redisReply *reply)
{
    list_item *i = arg;
    if (rc == GW_OK && reply && reply->type == REDIS_REPLY_STRING)
        i->found = session_parse(gw_str_n(reply->str, reply->len), &i->listed.session);
    one_done(i->call, rc);
}

static void got_idle(void *arg, gw_status rc, const redisReply *reply)
{
    list_item *i = arg;
    if (rc == GW_OK && reply && reply->type == REDIS_REPLY_INTEGER)
        i->listed.idle_left_ms = GW_MAX(reply->integer, 0);
    one_done(i->call, rc);
}

/* Every item is there before the first command leaves: an answer may come with the last of them only. */
static void ask_for_all(list_call *c)
{
    c->due = 2 * c->count;
    for (size_t i = 0; i < c->count; i++) {
        session_key key = session_key_of(gw_str_of(c->items[i].listed.indexed.id));
        gw_redis_call(c->redis, got_value, &c->items[i], GW_STR("GET"), gw_str_of(key.text));
        gw_redis_call(c->redis, got_idle, &c->items[i], GW_STR("PTTL"), gw_str_of(key.text));
    }
}

static void got_members(void *arg, gw_status rc, const redisReply *reply)
{
    list_call *c = arg;
    c->rc = rc;
    size_t n = rc == GW_OK && reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    c->items = gw_arena_array(c->arena, list_item, n + 1);
    if (!c->items)
        c->rc = GW_ERR_NO_MEMORY;
    for (size_t i = 0; c->items && i < n && c->count < SESSIONS_LISTED_MAX; i++) {
        const redisReply *e = reply->element[i];
        list_item *item = &c->items[c->count];
        *item = (list_item){.call = c};
        if (e->type == REDIS_REPLY_STRING &&
            indexed_session_parse(gw_str_n(e->str, e->len), &item->listed.indexed))
            c->count++;
    }
    if (c->count)
        ask_for_all(c);
    else
        finish(c);
}

void session_index_list(gw_redis *r, gw_arena *a, const char *admin_id, sessions_listed_fn done,
                        void *arg)
{
    gw_error err = {0};
    list_call *c = gw_arena_new_of(a, list_call);
    char last[24];
    if (!c) {
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "sessions");
        done(arg, rc, NULL, 0, &err);
        return;
    }
    *c = (list_call){.redis = r, .arena = a, .key = key_of(admin_id), .done = done, .arg = arg};
    gw_redis_call(r, got_members, c, GW_STR("ZREVRANGE"), gw_str_of(c->key.text), GW_STR("0"),
                  number(last, SESSIONS_LISTED_MAX - 1));
}
