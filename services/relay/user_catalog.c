#include "user_catalog.h"

#include "adapter.h"
#include "provider_listing.h"

#include "core/map.h"

#include <stdio.h>
#include <stdlib.h>

#define FRESH_MS         60000
#define RETRY_MS         5000
#define CONNECT_MS       2000
#define TOTAL_MS         4000 /* LibreChat itself, as a client, waits for 5 s */
#define ANSWER_MAX_BYTES ((size_t)1024 * 1024)
#define NAME_SIZE        160

/* What one user may use of one provider. */
typedef struct user_list {
    gw_list node; /* of the catalog, the one that was wanted last first */
    user_catalog *catalog;
    char name[NAME_SIZE]; /* of the map */
    gw_arena *arena; /* of what is known; NULL: nothing */
    provider_models said;
    int64_t said_ms, failed_ms; /* when; 0: never */
    gw_list waits;
    bool is_told; /* those who waited are being told */
    gw_http_call *call; /* under way */
    relay_config *config; /* of the call */
    const provider_config *provider;
    int status;
    gw_buf body;
} user_list;

struct user_catalog {
    gw_loop *loop;
    gw_http_client *upstreams;
    gw_log *log;
    gw_map *by_name; /* borrowed: user_list */
    gw_list lists;
};

/* ---- lists ---- */

static void list_free(user_list *l)
{
    gw_list_remove(&l->node);
    (void)gw_map_remove(l->catalog->by_name, gw_str_of(l->name));
    gw_arena_free(l->arena);
    gw_buf_fini(&l->body);
    relay_config_unref(l->config);
    free(l);
}

/* The one that was wanted the longest ago and is not in use. */
static void make_room(user_catalog *c)
{
    gw_list *at = c->lists.prev;

    while (at != &c->lists && gw_map_count(c->by_name) >= USER_LISTS_MAX) {
        user_list *l = GW_CONTAINER_OF(at, user_list, node);
        at = at->prev;
        if (!l->call && !l->is_told && gw_list_is_empty(&l->waits))
            list_free(l);
    }
}

/* A key that is changed is another one: its LibreChat key may be. */
static gw_str name_of(const user_question *q, char out[NAME_SIZE])
{
    int n = snprintf(
        out, NAME_SIZE, "%.*s/%lld/%.*s", GW_STR_ARG(gw_str_slice(q->policy->key_id, 0, 32)),
        (long long)q->policy->generation, GW_STR_ARG(gw_str_slice(q->provider->name, 0, 64)));
    return gw_str_n(out, (size_t)n);
}

/* NULL when there is no room for it. */
static user_list *find_or_make(user_catalog *c, const user_question *q)
{
    char text[NAME_SIZE];
    gw_str name = name_of(q, text);
    user_list *l = gw_map_get(c->by_name, name);

    if (l) {
        gw_list_remove(&l->node);
        gw_list_push_front(&c->lists, &l->node);
        return l;
    }
    make_room(c);
    l = gw_map_count(c->by_name) < USER_LISTS_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (!l || !gw_map_put(c->by_name, name, l)) {
        free(l);
        return NULL;
    }
    l->catalog = c;
    memcpy(l->name, text, name.len + 1);
    gw_list_init(&l->waits);
    gw_list_push_front(&c->lists, &l->node);
    return l;
}

static void tell_waiting(user_list *l)
{
    l->is_told = true;
    for (gw_list *n; (n = gw_list_pop_front(&l->waits));) {
        user_list_wait *w = GW_CONTAINER_OF(n, user_list_wait, node);
        w->done(w->arg);
    }
    l->is_told = false;
}

/* ---- asking ---- */

/* In place of what was known; as much of it as is needed. */
static gw_status take_over(user_list *l, const listed_models *read, gw_error *err)
{
    size_t count = GW_MIN(read->count, (size_t)USER_AGENTS_MAX);
    gw_arena *arena = gw_arena_new();
    gw_str *ids = arena ? gw_arena_array(arena, gw_str, count + 1) : NULL;

    for (size_t i = 0; ids && i < count; i++) {
        ids[i] = gw_arena_dup(arena, read->ids[i]);
        if (!ids[i].ptr)
            ids = NULL;
    }
    if (!ids) {
        gw_arena_free(arena);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of models");
    }
    gw_arena_free(l->arena);
    l->arena = arena;
    l->said = (provider_models){.ids = ids, .count = count};
    l->said_ms = gw_loop_now_ms(l->catalog->loop);
    return GW_OK;
}

static gw_status read_answer(user_list *l, gw_error *err)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    listed_models read = {.arena = arena};
    gw_str next;

    if (l->status != 200)
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "it answered with status %d", l->status);
    if (gw_buf_failed(&l->body) || !arena)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of models");
    gw_status rc =
        provider_listing_read(&read, l->provider->kind, gw_buf_str(&l->body), &next, err);
    return rc == GW_OK ? take_over(l, &read, err) : rc;
}

static void note_failure(user_list *l, const provider_config *p, const gw_error *err)
{
    if (l->failed_ms == 0)
        gw_log_info(l->catalog->log, "user_models_unread", gw_kv("list", (const char *)l->name),
                    gw_kv("provider", p->name), gw_kv_error(err));
    l->failed_ms = gw_loop_now_ms(l->catalog->loop);
}

static void on_head(gw_http_call *call, int status, gw_headers headers, void *arg)
{
    user_list *l = arg;

    (void)call;
    (void)headers;
    l->status = status;
}

static void on_body(gw_http_call *call, gw_str bytes, void *arg)
{
    user_list *l = arg;

    if (l->body.len + bytes.len <= ANSWER_MAX_BYTES)
        gw_buf_append_str(&l->body, bytes);
    else
        gw_http_cancel(call);
}

static void on_done(gw_http_call *call, gw_status rc, const gw_error *why, void *arg)
{
    user_list *l = arg;
    gw_error err;

    (void)call;
    l->call = NULL;
    if (rc == GW_OK && read_answer(l, &err) == GW_OK)
        l->failed_ms = 0;
    else
        note_failure(l, l->provider, rc == GW_OK ? &err : why);
    gw_buf_fini(&l->body);
    relay_config_unref(gw_steal(&l->config));
    l->provider = NULL;
    tell_waiting(l);
}

static gw_status send_question(user_list *l, const user_question *q, gw_error *err)
{
    static const gw_http_call_ops ops = {
        .on_head = on_head, .on_body = on_body, .on_done = on_done};
    const provider_config *p = q->provider;
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_header headers[ADAPTER_HEADERS_MAX];
    gw_str key;
    gw_http_request request = {
        .transport = p->transport,
        .method = "GET",
        .url = p->base_url,
        .target = arena ? provider_listing_target(arena, p, GW_STR("")) : GW_STR_NULL,
        .headers = headers,
        .timeouts = {.connect_ms = CONNECT_MS, .total_ms = TOTAL_MS},
        .idle_max = p->connections_max,
    };

    if (!request.target.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to ask for models");
    gw_status rc = GW_OK;

    if (user_is_signed_in(p))
        key = q->token;
    else
        rc = user_key_open(q->policy, q->keys, arena, &key, err);
    if (rc == GW_OK)
        rc = adapter_write_listing_headers(arena, p, key, headers, &request.header_count, err);
    if (rc == GW_OK)
        rc = gw_http_send(l->catalog->upstreams, &request, &ops, l, &l->call, err);
    return rc;
}

static void ask(user_list *l, const user_question *q)
{
    gw_error err;

    l->status = 0;
    if (send_question(l, q, &err) != GW_OK) {
        l->call = NULL;
        note_failure(l, q->provider, &err);
        return;
    }
    l->provider = q->provider;
    l->config = relay_config_ref(q->config);
}

/* ---- finding ---- */

static bool tell(const user_list *l, gw_str provider, gw_arena *arena, provider_models *ret)
{
    gw_str *ids = gw_arena_array(arena, gw_str, l->said.count + 1);

    for (size_t i = 0; ids && i < l->said.count; i++) {
        ids[i] = gw_arena_dup(arena, l->said.ids[i]);
        if (!ids[i].ptr)
            ids = NULL;
    }
    if (ids)
        *ret = (provider_models){.provider = provider, .ids = ids, .count = l->said.count};
    return ids != NULL;
}

user_list_state user_catalog_find(user_catalog *c, const user_question *q, gw_arena *arena,
                                  provider_models *ret, user_list_wait *wait)
{
    user_list *l = c ? find_or_make(c, q) : NULL;

    if (!l)
        return USER_LIST_UNKNOWN;
    int64_t now_ms = gw_loop_now_ms(c->loop);
    bool is_fresh = l->arena && now_ms - l->said_ms < FRESH_MS;
    bool has_just_failed = l->failed_ms != 0 && now_ms - l->failed_ms < RETRY_MS;
    if (!l->call && !is_fresh && !has_just_failed)
        ask(l, q);
    if (l->arena)
        return tell(l, q->provider->name, arena, ret) ? USER_LIST_KNOWN : USER_LIST_UNKNOWN;
    if (!l->call)
        return USER_LIST_UNKNOWN;
    gw_list_push_back(&l->waits, &wait->node);
    return USER_LIST_ASKED;
}

void user_catalog_leave(user_list_wait *wait)
{
    gw_list_remove(&wait->node);
}

/* ---- life ---- */

gw_status user_catalog_new(gw_loop *l, gw_http_client *upstreams, gw_log *log, user_catalog **ret,
                           gw_error *err)
{
    user_catalog *c = calloc(1, sizeof(*c));

    if (c)
        c->by_name = gw_map_new(NULL);
    if (!c || !c->by_name) {
        free(c);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the catalog of users' models");
    }
    c->loop = l;
    c->upstreams = upstreams;
    c->log = log;
    gw_list_init(&c->lists);
    *ret = c;
    return GW_OK;
}

void user_catalog_free(user_catalog *c)
{
    if (!c)
        return;
    gw_list_each_safe (n, &c->lists)
        list_free(GW_CONTAINER_OF(n, user_list, node));
    gw_map_free(c->by_name);
    free(c);
}
