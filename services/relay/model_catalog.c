#include "model_catalog.h"

#include "adapter.h"
#include "provider_listing.h"

#include <stdlib.h>

#define RETRY_MS         30000 /* at most; the refresh if that is shorter */
#define CONNECT_MS       5000
#define TOTAL_MS         30000
#define ANSWER_MAX_BYTES ((size_t)8 * 1024 * 1024) /* of all pages */
#define PAGES_MAX        20
#define LISTINGS_MAX     64

/* Of one provider. */
typedef struct listing {
    gw_list node;
    model_catalog *catalog;
    /* of the catalog's configuration; NULL: it is in no route any more */
    const provider_config *provider;
    gw_arena *arena; /* of what it said; NULL: nothing yet */
    provider_models said;
    gw_timer timer;
    gw_http_call *call; /* under way */
    gw_buf body;
    size_t bytes; /* of the pages before and this one */
    int status;
    listed_models pages; /* of the question under way; its arena is ours */
    unsigned page_count;
    gw_str next; /* of these pages, "" for the first; in their arena */
    bool is_outdated; /* the call under way asks a provider that was changed since */
    bool failing;
} listing;

struct model_catalog {
    gw_loop *loop;
    model_catalog_options o;
    relay_config *config;
    gw_list listings;
    size_t count;
    bool stopped;
};

/* ---- asking ---- */

static void forget_pages(listing *l)
{
    gw_arena_free(l->pages.arena);
    l->pages = (listed_models){0};
    l->page_count = 0;
    l->bytes = 0;
    l->next = GW_STR("");
}

static void drop(listing *l)
{
    gw_timer_cancel(l->catalog->loop, &l->timer);
    gw_list_remove(&l->node);
    l->catalog->count--;
    gw_arena_free(l->arena);
    forget_pages(l);
    gw_buf_fini(&l->body);
    free(l);
}

static void ask_within(listing *l, int64_t delay_ms)
{
    if (!l->catalog->stopped && l->catalog->o.refresh_ms > 0)
        gw_timer_set(l->catalog->loop, &l->timer, delay_ms);
}

static void note_failure(listing *l, const gw_error *err)
{
    if (!l->failing)
        gw_log_warn(l->catalog->o.log, "models_unread", gw_kv("provider", l->provider->name),
                    gw_kv_error(err));
    l->failing = true;
    ask_within(l, GW_MIN(l->catalog->o.refresh_ms, RETRY_MS));
}

/* What was known stays until all pages are there. */
static gw_status read_page(listing *l, gw_error *err)
{
    gw_str before = l->next;

    if (l->status != 200)
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "it answered with status %d", l->status);
    gw_status rc =
        provider_listing_read(&l->pages, l->provider->kind, gw_buf_str(&l->body), &l->next, err);
    if (rc == GW_OK && l->next.len > 0 && gw_str_eq(l->next, before))
        rc = gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "its next page is the same one again");
    return rc;
}

static void take_over_pages(listing *l)
{
    gw_arena_free(l->arena);
    l->arena = gw_steal(&l->pages.arena);
    l->said = (provider_models){.ids = l->pages.ids, .count = l->pages.count};
}

static void on_head(gw_http_call *c, int status, gw_headers headers, void *arg)
{
    listing *l = arg;

    (void)c;
    (void)headers;
    l->status = status;
}

static void on_body(gw_http_call *c, gw_str bytes, void *arg)
{
    listing *l = arg;

    l->bytes += bytes.len;
    if (l->bytes <= ANSWER_MAX_BYTES)
        gw_buf_append_str(&l->body, bytes);
    else
        gw_http_cancel(c);
}

static void ask_page(listing *l);

/* The next page, or the end: lists of more pages than we ask for are cut. */
static void follow_page(listing *l)
{
    gw_error err;

    if (read_page(l, &err) != GW_OK) {
        note_failure(l, &err);
    } else if (l->next.len > 0 && ++l->page_count < PAGES_MAX) {
        ask_page(l);
        return;
    } else {
        take_over_pages(l);
        l->failing = false;
        ask_within(l, l->catalog->o.refresh_ms);
    }
    forget_pages(l);
}

static void on_done(gw_http_call *c, gw_status rc, const gw_error *why, void *arg)
{
    listing *l = arg;
    bool is_outdated = l->is_outdated;

    (void)c;
    l->call = NULL;
    l->is_outdated = false;
    if (!l->provider || l->catalog->stopped) {
        drop(l);
        return;
    }
    if (rc == GW_OK && !is_outdated) {
        follow_page(l);
        return;
    }
    gw_buf_fini(&l->body);
    forget_pages(l);
    if (is_outdated)
        ask_within(l, 0);
    else
        note_failure(l, why);
}

static gw_status send_question(listing *l, gw_error *err)
{
    static const gw_http_call_ops ops = {
        .on_head = on_head, .on_body = on_body, .on_done = on_done};
    const provider_config *p = l->provider;
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_header headers[ADAPTER_HEADERS_MAX];
    gw_http_request request = {
        .transport = p->transport,
        .method = "GET",
        .url = p->base_url,
        .target = arena ? provider_listing_target(arena, p, l->next) : GW_STR_NULL,
        .headers = headers,
        .timeouts = {.connect_ms = CONNECT_MS, .total_ms = TOTAL_MS},
        .idle_max = p->connections_max,
    };

    if (!l->pages.arena)
        l->pages.arena = gw_arena_new();
    if (!request.target.ptr || !l->pages.arena)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to ask for models");
    gw_status rc =
        adapter_write_listing_headers(arena, p, p->credential, headers, &request.header_count, err);
    return rc == GW_OK ? gw_http_send(l->catalog->o.upstreams, &request, &ops, l, &l->call, err)
                       : rc;
}

static void ask_page(listing *l)
{
    gw_error err;

    l->status = 0;
    gw_buf_fini(&l->body);
    if (send_question(l, &err) == GW_OK)
        return;
    forget_pages(l);
    note_failure(l, &err);
}

static void ask(void *arg)
{
    ask_page(arg);
}

/* ---- following the configuration ---- */

static bool is_same_place(const provider_config *a, const provider_config *b)
{
    return a->kind == b->kind && gw_str_eq(a->base_path, b->base_path) &&
           gw_str_eq(a->base_url.scheme, b->base_url.scheme) &&
           gw_str_eq(a->base_url.host, b->base_url.host) && a->base_url.port == b->base_url.port;
}

static bool is_same(const provider_config *a, const provider_config *b)
{
    return is_same_place(a, b) && a->transport == b->transport &&
           gw_str_eq(a->credential, b->credential);
}

static bool is_wanted(const relay_config *c, const provider_config *p)
{
    return !p->requires_user_key && p->sign_in_audience.len == 0 &&
           model_names_need(c, p); /* else users are told (user_catalog.h) */
}

static listing *find(model_catalog *m, gw_str name)
{
    gw_list_each (n, &m->listings) {
        listing *l = GW_CONTAINER_OF(n, listing, node);
        if (l->provider && gw_str_eq(l->provider->name, name))
            return l;
    }
    return NULL;
}

static void begin(model_catalog *m, const provider_config *p)
{
    listing *l = m->count < LISTINGS_MAX ? calloc(1, sizeof(*l)) : NULL;

    if (!l)
        return; /* its models are not listed, and can be asked for all the same */
    l->catalog = m;
    l->provider = p;
    gw_timer_init(&l->timer, ask, l);
    gw_list_push_back(&m->listings, &l->node);
    m->count++;
    ask_within(l, 0);
}

static void forget(listing *l)
{
    l->provider = NULL;
    gw_timer_cancel(l->catalog->loop, &l->timer);
    if (l->call)
        gw_http_cancel(l->call); /* dropped when that is done */
    else
        drop(l);
}

/* `now` is the same provider of another configuration. */
static void follow(listing *l, const provider_config *now)
{
    const provider_config *before = l->provider;
    bool is_changed = !is_same(before, now);

    if (!is_same_place(before, now)) {
        gw_arena_free(gw_steal(&l->arena));
        l->said = (provider_models){0};
    }
    l->provider = now;
    if (!is_changed)
        return;
    if (l->call) {
        l->is_outdated = true;
        gw_http_cancel(l->call);
    } else {
        ask_within(l, 0);
    }
}

static void follow_all(model_catalog *m, const relay_config *c)
{
    gw_list_each_safe (n, &m->listings) {
        listing *l = GW_CONTAINER_OF(n, listing, node);
        const provider_config *now = NULL;
        for (size_t i = 0; l->provider && i < c->provider_count; i++)
            if (gw_str_eq(c->providers[i].name, l->provider->name) &&
                is_wanted(c, &c->providers[i]))
                now = &c->providers[i];
        if (now)
            follow(l, now);
        else if (l->provider)
            forget(l);
    }
}

void model_catalog_set_config(model_catalog *m, const relay_config *config)
{
    relay_config *before = m->config;

    if (m->stopped)
        return;
    follow_all(m, config);
    m->config = relay_config_ref(config);
    for (size_t i = 0; i < config->provider_count; i++)
        if (is_wanted(config, &config->providers[i]) && !find(m, config->providers[i].name))
            begin(m, &config->providers[i]);
    relay_config_unref(before);
}

/* ---- life ---- */

gw_status model_catalog_new(gw_loop *l, const model_catalog_options *o, model_catalog **ret,
                            gw_error *err)
{
    model_catalog *m = calloc(1, sizeof(*m));

    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the catalog of models");
    m->loop = l;
    m->o = *o;
    gw_list_init(&m->listings);
    *ret = m;
    return GW_OK;
}

void model_catalog_set_refresh(model_catalog *m, int64_t refresh_ms)
{
    bool begins = m->o.refresh_ms == 0 && refresh_ms > 0;

    m->o.refresh_ms = refresh_ms;
    gw_list_each (n, &m->listings) {
        listing *l = GW_CONTAINER_OF(n, listing, node);
        if (refresh_ms == 0)
            gw_timer_cancel(m->loop, &l->timer);
        else if (begins && l->provider && !l->call)
            ask_within(l, 0);
    }
}

void model_catalog_stop(model_catalog *m)
{
    if (!m || m->stopped)
        return;
    m->stopped = true;
    gw_list_each_safe (n, &m->listings) {
        listing *l = GW_CONTAINER_OF(n, listing, node);
        if (l->provider)
            forget(l);
    }
}

void model_catalog_free(model_catalog *m)
{
    if (!m)
        return;
    model_catalog_stop(m);
    relay_config_unref(m->config);
    free(m);
}

size_t model_catalog_said(const model_catalog *m, gw_arena *arena, const provider_models **ret)
{
    provider_models *said = m ? gw_arena_array(arena, provider_models, m->count + 1) : NULL;
    size_t count = 0;

    if (!said)
        return 0;
    gw_list_each (n, &m->listings) {
        const listing *l = GW_CONTAINER_OF(n, listing, node);
        if (!l->provider || l->said.count == 0)
            continue;
        said[count] = l->said;
        said[count++].provider = l->provider->name;
    }
    *ret = said;
    return count;
}
