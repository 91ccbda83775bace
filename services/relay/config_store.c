#include "config_store.h"

#include "config_file.h"
#include "config_read.h"
#include "price_book_store.h"
#include "relay_config_build.h"

#include <stdlib.h>

#define POLL_INTERVAL_MS   500
#define REREAD_INTERVAL_MS 30000

/* What one reading of the settings files gave. */
typedef struct config_files {
    relay_config_file *providers;
    price_book_message *prices; /* NULL: none */
    struct config_files *before; /* of the reading before: workers may still look at it */
} config_files;

struct config_store {
    gw_loop *loop;
    config_store_options options;
    config_files *files;
    config_snapshot *api; /* what MongoDB or the disk last gave; NULL: nothing */
    relay_config *current;
    gw_timer poll_timer;
    gw_timer price_timer; /* when a further price book takes force */
    int64_t read_ms; /* monotonic time of the last whole reading; 0 = never */
    config_store_wait *waiting; /* for a reading that has not begun */
    config_store_wait *reading; /* for the one that runs */
    bool polling;
    bool closing; /* freed by the poll that still runs */
};

static const relay_config_file no_file = APIRELAY__RELAY__V1__RELAY_CONFIG_FILE__INIT;

/* ---- building ---- */

static void log_warnings(config_store *s, const config_warnings *w)
{
    for (size_t i = 0; i < w->count; i++)
        gw_log_warn(s->options.log, "relay_config_incomplete",
                    gw_kv("error.message", (const char *)w->items[i].text));
}

/* The API's book whose time has come; NULL: the file's. A later one that has not is waited for. */
static const price_book_message *prices_in_force(config_store *s)
{
    const config_snapshot *api = s->api;
    int64_t now_ms = gw_clock_wall_ms(gw_loop_clock(s->loop)), next_ms = INT64_MAX;
    const price_book_message *best = api ? api->price_book : NULL;
    for (size_t i = 0; api && i < api->n_scheduled_price_books; i++) {
        const price_book_message *b = api->scheduled_price_books[i];
        int64_t from_ms = price_time_ms(b->effective_from);
        if (from_ms > now_ms)
            next_ms = GW_MIN(next_ms, from_ms);
        else if (!best || from_ms >= price_time_ms(best->effective_from))
            best = b;
    }
    gw_timer_cancel(s->loop, &s->price_timer);
    if (next_ms < INT64_MAX) /* not later than in an hour: the wall's clock may be set meanwhile */
        gw_timer_set(s->loop, &s->price_timer, GW_MIN(next_ms - now_ms, GW_MS_PER_HOUR));
    return best;
}

static gw_status rebuild(config_store *s, gw_error *err)
{
    const relay_config_layer layers[] = {
        {.providers = s->files->providers->providers,
         .provider_count = s->files->providers->n_providers,
         .routes = s->files->providers->models,
         .route_count = s->files->providers->n_models,
         .prices = s->files->prices},
        {.providers = s->api ? s->api->providers : NULL,
         .provider_count = s->api ? s->api->n_providers : 0,
         .routes = s->api ? s->api->models : NULL,
         .route_count = s->api ? s->api->n_models : 0,
         .prices = prices_in_force(s)},
    };
    credential_source credentials = {
        credential_from_system, (void *)(uintptr_t)s->options.credentials_dir, s->options.signs_in};
    config_warnings warnings = {0};
    relay_config *next = NULL;
    gw_status rc =
        relay_config_build(layers, GW_ARRAY_LEN(layers), credentials, &warnings, &next, err);
    if (rc != GW_OK)
        return rc;
    log_warnings(s, &warnings);
    relay_config_unref(s->current);
    s->current = next;
    return GW_OK;
}

static void on_price_time(void *arg)
{
    config_store *s = arg;
    gw_str before = s->current->price_book_version;
    gw_auto_free char *name = gw_str_dup(before);
    gw_error err;
    if (rebuild(s, &err) != GW_OK) {
        gw_log_error(s->options.log, "relay_config_rebuild_failed", gw_kv_error(&err));
        gw_timer_set(s->loop, &s->price_timer, POLL_INTERVAL_MS);
        return;
    }
    if (name && gw_str_eq_c(s->current->price_book_version, name))
        return;
    gw_log_info(s->options.log, "price_book_took_force",
                gw_kv("version", s->current->price_book_version));
    if (s->options.changed)
        s->options.changed(s->options.arg, s->current);
}

/* ---- on a worker ---- */

typedef struct poll_job {
    gw_mongo_job base;
    config_store *store;
    const char *state_dir;
    int64_t known_version;
    bool whole; /* read everything whatever the version says */
    config_snapshot *api; /* the result; NULL: nothing new */
    unsigned skipped; /* documents that do not fit */
    gw_error snapshot_error;
    gw_status snapshot_rc;
} poll_job;

static gw_status run_poll(gw_mongo_job *base, mongoc_client_t *client, mongoc_database_t *db,
                          gw_error *err)
{
    (void)client;
    poll_job *j = GW_CONTAINER_OF(base, poll_job, base);
    const gw_db from = {db, j->base.mongo};
    int64_t version;
    gw_status rc = config_read_version(&from, &version, err);
    if (rc != GW_OK || (!j->whole && version == j->known_version))
        return rc;
    rc = config_read_all(&from, &j->api, &j->skipped, err);
    if (rc != GW_OK)
        return rc;
    /* The version was read first: a write in between is seen again, never missed. */
    j->api->version = version;
    if (j->state_dir)
        j->snapshot_rc = config_snapshot_write(j->state_dir, j->api, &j->snapshot_error);
    return GW_OK;
}

/* ---- polling, on the loop ---- */

static void poll_now(void *arg);

static void files_free(config_files *f)
{
    if (f->providers != &no_file)
        apirelay__relay__v1__relay_config_file__free_unpacked(f->providers, NULL);
    if (f->prices)
        apirelay__relay__v1__price_book__free_unpacked(f->prices, NULL);
    free(f);
}

static void release(config_store *s)
{
    config_files *next;
    for (config_files *f = s->files; f; f = next) {
        next = f->before;
        files_free(f);
    }
    if (s->api)
        apirelay__relay__v1__relay_config_snapshot__free_unpacked(s->api, NULL);
    relay_config_unref(s->current);
    free(s);
}

static bool snapshots_equal(const config_snapshot *a, const config_snapshot *b)
{
    size_t len = apirelay__relay__v1__relay_config_snapshot__get_packed_size(a);
    if (len != apirelay__relay__v1__relay_config_snapshot__get_packed_size(b))
        return false;
    gw_auto_free uint8_t *x = malloc(len + 1);
    gw_auto_free uint8_t *y = malloc(len + 1);
    if (!x || !y)
        return false;
    apirelay__relay__v1__relay_config_snapshot__pack(a, x);
    apirelay__relay__v1__relay_config_snapshot__pack(b, y);
    return memcmp(x, y, len) == 0;
}

static void take_over(config_store *s, poll_job *j)
{
    gw_error err;
    s->read_ms = gw_loop_now_ms(s->loop);
    if (j->skipped)
        gw_log_warn(s->options.log, "relay_config_documents_skipped", gw_kv("count", j->skipped));
    if (j->snapshot_rc != GW_OK)
        gw_log_warn(s->options.log, "relay_config_snapshot_failed",
                    gw_kv_error(&j->snapshot_error));
    if (s->api && snapshots_equal(s->api, j->api))
        return;
    config_snapshot *before = s->api;
    s->api = gw_steal(&j->api);
    if (rebuild(s, &err) != GW_OK) {
        gw_log_error(s->options.log, "relay_config_rebuild_failed", gw_kv_error(&err));
        apirelay__relay__v1__relay_config_snapshot__free_unpacked(s->api, NULL);
        s->api = before;
        return;
    }
    if (before)
        apirelay__relay__v1__relay_config_snapshot__free_unpacked(before, NULL);
    gw_log_info(s->options.log, "relay_config_changed", gw_kv("version", s->api->version),
                gw_kv("providers", s->current->provider_count),
                gw_kv("routes", s->current->route_count));
    if (s->options.changed)
        s->options.changed(s->options.arg, s->current);
}

static void end_waits(config_store_wait **list)
{
    config_store_wait *w = *list;
    *list = NULL;
    while (w) {
        config_store_wait *next = w->next;
        w->done(w);
        w = next;
    }
}

static void poll_done(gw_mongo_job *base, gw_status rc, const gw_error *err)
{
    (void)err; /* libs/mongo logs when the server goes and comes */
    poll_job *j = GW_CONTAINER_OF(base, poll_job, base);
    config_store *s = j->store;
    s->polling = false;
    if (!s->closing && rc == GW_OK && j->api)
        take_over(s, j);
    end_waits(&s->reading);
    if (s->closing) {
        end_waits(&s->waiting);
        release(s);
    } else {
        gw_timer_set(s->loop, &s->poll_timer, s->waiting ? 0 : POLL_INTERVAL_MS);
    }
    if (j->api)
        apirelay__relay__v1__relay_config_snapshot__free_unpacked(j->api, NULL);
    free(j);
}

static void poll_now(void *arg)
{
    config_store *s = arg;
    poll_job *j = calloc(1, sizeof(*j));
    if (!j) {
        gw_timer_set(s->loop, &s->poll_timer, POLL_INTERVAL_MS);
        return;
    }
    j->base.run = run_poll;
    j->base.done = poll_done;
    j->store = s;
    j->state_dir = s->options.state_dir;
    j->known_version = s->api ? s->api->version : 0;
    j->whole = s->read_ms == 0 || gw_loop_now_ms(s->loop) - s->read_ms >= REREAD_INTERVAL_MS;
    s->polling = true;
    s->reading = s->waiting;
    s->waiting = NULL;
    gw_mongo_submit(s->options.mongo, &j->base);
}

void config_store_refresh(config_store *s, config_store_wait *w)
{
    w->next = s->waiting;
    s->waiting = w;
    if (!s->polling)
        gw_timer_set(s->loop, &s->poll_timer, 0);
}

/* ---- life ---- */

static void log_violations(gw_log *log, const gw_error *first, const gw_json_violations *v)
{
    gw_log_error(log, "relay_config_file_invalid", gw_kv("field", (const char *)first->field),
                 gw_kv("error.message", (const char *)first->message));
    for (size_t i = 0; i < v->count; i++)
        gw_log_error(log, "relay_config_file_invalid",
                     gw_kv("field", (const char *)v->items[i].field),
                     gw_kv("error.message", (const char *)v->items[i].description));
}

static gw_status read_files(config_store *s, config_files **ret, gw_error *err)
{
    gw_json_violations v = {0};
    gw_status rc = GW_OK, prices_rc = GW_OK;
    gw_error prices_err;
    config_files *f = calloc(1, sizeof(*f));
    if (!f)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the configuration");
    f->providers = (relay_config_file *)(uintptr_t)&no_file;
    if (s->options.config_file)
        rc = config_file_read(s->options.config_file, &f->providers, &v, err);
    if (rc != GW_OK)
        log_violations(s->options.log, err, &v);
    v.count = 0;
    if (s->options.price_book_file)
        prices_rc = price_book_file_read(s->options.price_book_file, &f->prices, &v, &prices_err);
    if (prices_rc != GW_OK)
        log_violations(s->options.log, &prices_err, &v);
    if (rc == GW_OK && prices_rc != GW_OK)
        *err = prices_err;
    rc = rc != GW_OK ? rc : prices_rc;
    if (rc == GW_OK)
        *ret = f;
    else
        files_free(f);
    return rc;
}

static void read_snapshot(config_store *s)
{
    gw_error err;
    if (!s->options.state_dir || !s->options.mongo)
        return;
    gw_status rc = config_snapshot_read(s->options.state_dir, &s->api, &err);
    if (rc != GW_OK && rc != GW_ERR_NOT_FOUND)
        gw_log_warn(s->options.log, "relay_config_snapshot_ignored", gw_kv_error(&err));
}

gw_status config_store_new(gw_loop *l, const config_store_options *o, config_store **ret,
                           gw_error *err)
{
    config_store *s = calloc(1, sizeof(*s));
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the configuration");
    s->loop = l;
    s->options = *o;
    gw_timer_init(&s->poll_timer, poll_now, s);
    gw_timer_init(&s->price_timer, on_price_time, s);
    gw_status rc = read_files(s, &s->files, err);
    if (rc == GW_OK) {
        read_snapshot(s);
        rc = rebuild(s, err);
    }
    if (rc != GW_OK) {
        gw_timer_cancel(l, &s->price_timer);
        release(s);
        return rc;
    }
    if (o->mongo)
        poll_now(s);
    *ret = s;
    return GW_OK;
}

gw_status config_store_reload(config_store *s, gw_error *err)
{
    config_files *next = NULL;
    gw_status rc = read_files(s, &next, err);
    if (rc != GW_OK)
        return rc;
    config_files *before = s->files;
    s->files = next;
    rc = rebuild(s, err);
    if (rc != GW_OK) {
        s->files = before;
        files_free(next);
        return rc;
    }
    next->before = before;
    if (s->options.changed)
        s->options.changed(s->options.arg, s->current);
    return GW_OK;
}

void config_store_free(config_store *s)
{
    if (!s)
        return;
    gw_timer_cancel(s->loop, &s->poll_timer);
    gw_timer_cancel(s->loop, &s->price_timer);
    s->closing = true;
    if (s->polling)
        return;
    end_waits(&s->waiting);
    release(s);
}

const relay_config *config_store_current(const config_store *s)
{
    return s->current;
}

const struct Apirelay__Relay__V1__RelayConfigFile *config_store_file(const config_store *s)
{
    return s->files->providers;
}

const struct Apirelay__Relay__V1__PriceBook *config_store_file_prices(const config_store *s)
{
    return s->files->prices;
}
