#include "mongo/mongo.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PING_INTERVAL_MS    1000
#define PING_TIMEOUT_MS     5000
#define HEARTBEAT_MS        2000
#define WAITERS_MAX         16
#define DATABASE_NAME_BYTES 64

const gw_mongo_options gw_mongo_defaults = {
    .database = "apirelay",
    .app_name = "apirelay",
    .threads = 4,
    .queue_max = 1024,
    .server_selection_timeout_ms = 3000,
    .connect_timeout_ms = 2000,
    .socket_timeout_ms = 10000,
};

typedef enum { STATE_UNKNOWN, STATE_UP, STATE_DOWN } mongo_state;

typedef struct mongo_ping {
    gw_job job;
    bool ok;
    bool replica_set;
    gw_error error;
} mongo_ping;

struct gw_mongo {
    gw_loop *loop;
    gw_log *log;
    mongoc_uri_t *uri;
    mongoc_client_pool_t *pool;
    gw_workers *workers;
    char database[DATABASE_NAME_BYTES];
    mongoc_write_concern_t *standalone_durable;
    mongoc_write_concern_t *replica_durable;
    atomic_int state; /* mongo_state, written on the loop */
    atomic_bool is_replica_set;

    /* The ping has a client and a worker of its own, so that busy jobs cannot starve it. */
    mongoc_uri_t *ping_uri;
    mongoc_client_t *ping_client; /* NULL: made anew by the next ping */
    gw_workers *ping_workers;
    gw_timer ping_timer;
    mongo_ping ping;
    bool closing;

    struct {
        void (*run)(void *arg);
        void *arg;
    } waiters[WAITERS_MAX];
    size_t waiters_count;
};

/*
 * As it is loaded libmongoc makes counters in shared memory that nobody here reads, named after the process. The name is gone before main():
 * else a kill -9 would leave a tenth of a megabyte behind, and the next process of that number would begin with a warning on stderr.
 */
__attribute__((constructor)) static void unlink_counters(void)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "/mongoc-%u", (unsigned)getpid());
    (void)shm_unlink(name);
}

static void start_libmongoc(void)
{
    mongoc_init();
    /* Its own log lines are no JSON and repeat what the errors say. */
    mongoc_log_set_handler(NULL, NULL);
}

/* ---- the ping ---- */

static bool ping_once(mongoc_client_t *client, mongo_ping *p)
{
    bson_t command = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t e;
    bson_iter_t at;

    BSON_APPEND_INT32(&command, "hello", 1);
    p->ok = mongoc_client_command_simple(client, "admin", &command, NULL, &reply, &e);
    if (p->ok)
        p->replica_set =
            bson_iter_init_find(&at, &reply, "setName") ||
            bson_iter_init_find(&at, &reply, "msg"); /* "isdbgrid": mongos, shards are sets */
    else
        (void)gw_mongo_fail(&p->error, &e, &reply, "reach MongoDB");
    bson_destroy(&reply);
    bson_destroy(&command);
    return p->ok;
}

static gw_status make_ping_client(gw_mongo *m, gw_error *err)
{
    bson_error_t e;
    m->ping_client = mongoc_client_new_from_uri_with_error(m->ping_uri, &e);
    if (!m->ping_client)
        return gw_mongo_fail(err, &e, NULL, "set up the MongoDB client");
    mongoc_client_set_error_api(m->ping_client, MONGOC_ERROR_API_VERSION_2);
    return GW_OK;
}

static void ping_work(gw_job *job)
{
    mongo_ping *p = GW_CONTAINER_OF(job, mongo_ping, job);
    gw_mongo *m = GW_CONTAINER_OF(p, gw_mongo, ping);
    bool was_up = atomic_load(&m->state) == STATE_UP;

    p->ok = false;
    if (!m->ping_client && make_ping_client(m, &p->error) != GW_OK)
        return;
    /* A server that restarted since the last ping left a dead connection: that is no outage. */
    if (ping_once(m->ping_client, p) || (was_up && ping_once(m->ping_client, p)))
        return;
    /* libmongoc does not look at a server again for 5 s after a failure; a new client does at once. */
    mongoc_client_destroy(m->ping_client);
    m->ping_client = NULL;
}

static void run_waiters(gw_mongo *m)
{
    size_t n = m->waiters_count;

    m->waiters_count = 0;
    for (size_t i = 0; i < n; i++)
        m->waiters[i].run(m->waiters[i].arg);
}

static const char *first_host(const gw_mongo *m)
{
    const mongoc_host_list_t *host = mongoc_uri_get_hosts(m->uri);
    return host ? host->host_and_port : "";
}

static void ping_done(gw_job *job)
{
    mongo_ping *p = GW_CONTAINER_OF(job, mongo_ping, job);
    gw_mongo *m = GW_CONTAINER_OF(p, gw_mongo, ping);
    int before = atomic_load(&m->state);
    int now = p->ok ? STATE_UP : STATE_DOWN;

    if (p->ok)
        atomic_store(&m->is_replica_set, p->replica_set);
    atomic_store(&m->state, now);
    if (m->closing)
        return;
    if (now == STATE_UP && before != STATE_UP)
        gw_log_info(m->log, "mongo_connected", gw_kv("server.address", first_host(m)),
                    gw_kv("mongo.replica_set", p->replica_set));
    if (now == STATE_DOWN && before != STATE_DOWN)
        gw_log_warn(m->log, "mongo_unreachable", gw_kv("server.address", first_host(m)),
                    gw_kv_error(&p->error));
    gw_timer_set(m->loop, &m->ping_timer, PING_INTERVAL_MS);
    if (now == STATE_UP)
        run_waiters(m);
}

static void send_ping(void *arg)
{
    gw_mongo *m = (gw_mongo *)arg;
    gw_error err = {0};

    m->ping.job.work = ping_work;
    m->ping.job.done = ping_done;
    if (gw_workers_submit(m->ping_workers, &m->ping.job, &err) != GW_OK)
        gw_timer_set(m->loop, &m->ping_timer, PING_INTERVAL_MS);
}

/* ---- making and ending ---- */

/* What the URI says itself stands, but 0 (libmongoc: for ever) does not: waits are bounded. */
static void bound_uri_timeout(mongoc_uri_t *uri, const char *option, int64_t ms)
{
    if (mongoc_uri_get_option_as_int32(uri, option, 0) <= 0)
        mongoc_uri_set_option_as_int32(uri, option, (int32_t)GW_MIN(ms, INT32_MAX));
}

static gw_status use_authorities(mongoc_uri_t *uri, gw_tls_files *tls, gw_error *err)
{
    const char *ca_file = tls ? gw_tls_files_paths(tls)->ca_file : NULL;
    if (!ca_file)
        return GW_OK;
    bool says_tls = mongoc_uri_has_option(uri, MONGOC_URI_TLS);
    if (says_tls && !mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLS, false))
        return gw_fail(
            err, GW_ERR_INVALID_ARGUMENT,
            "the MongoDB URI switches TLS off, and there is a file of authorities for it");
    if (mongoc_uri_has_option(uri, MONGOC_URI_TLSCAFILE))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "the MongoDB URI names authorities, and there is a file of them beside it");
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_TLS, true);
    (void)mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_TLSCAFILE, ca_file);
    return GW_OK;
}

static gw_status parse_uri(gw_mongo *m, const gw_mongo_options *o, gw_error *err)
{
    bson_error_t e;

    m->uri = mongoc_uri_new_with_error(o->uri ? o->uri : "", &e);
    if (!m->uri) {
        bool may_hold_password = o->uri && strchr(o->uri, '@');
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the MongoDB URI is malformed%s%s",
                       may_hold_password ? "" : ": ", may_hold_password ? "" : e.message);
    }
    bound_uri_timeout(m->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, o->server_selection_timeout_ms);
    bound_uri_timeout(m->uri, MONGOC_URI_CONNECTTIMEOUTMS, o->connect_timeout_ms);
    bound_uri_timeout(m->uri, MONGOC_URI_SOCKETTIMEOUTMS, o->socket_timeout_ms);
    if (!mongoc_uri_get_appname(m->uri) && o->app_name)
        (void)mongoc_uri_set_appname(m->uri, o->app_name);
    return use_authorities(m->uri, o->tls, err);
}

static gw_status make_clients(gw_mongo *m, const gw_mongo_options *o, gw_error *err)
{
    bson_error_t e;
    mongoc_uri_t *pool_uri = mongoc_uri_copy(m->uri);
    m->ping_uri = mongoc_uri_copy(m->uri);

    mongoc_uri_set_option_as_int32(pool_uri, MONGOC_URI_MAXPOOLSIZE, (int32_t)o->threads);
    if (!mongoc_uri_has_option(pool_uri, MONGOC_URI_HEARTBEATFREQUENCYMS))
        mongoc_uri_set_option_as_int32(pool_uri, MONGOC_URI_HEARTBEATFREQUENCYMS, HEARTBEAT_MS);
    m->pool = mongoc_client_pool_new_with_error(pool_uri, &e);
    mongoc_uri_destroy(pool_uri);
    if (!m->pool)
        return gw_mongo_fail(err, &e, NULL, "set up the MongoDB client");
    mongoc_client_pool_set_error_api(m->pool, MONGOC_ERROR_API_VERSION_2);
    int32_t socket_ms = mongoc_uri_get_option_as_int32(m->ping_uri, MONGOC_URI_SOCKETTIMEOUTMS, 0);
    mongoc_uri_set_option_as_int32(m->ping_uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                   GW_MIN(socket_ms, PING_TIMEOUT_MS));
    return make_ping_client(m, err);
}

static mongoc_write_concern_t *durable_concern(int32_t w, int64_t timeout_ms)
{
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    bson_t frozen = BSON_INITIALIZER;

    mongoc_write_concern_set_w(concern, w);
    mongoc_write_concern_set_journal(concern, true);
    mongoc_write_concern_set_wtimeout_int64(concern, timeout_ms);
    /* The first append compiles the concern in place; after it workers only read. */
    (void)mongoc_write_concern_append(concern, &frozen);
    bson_destroy(&frozen);
    return concern;
}

gw_status gw_mongo_new(gw_loop *l, const gw_mongo_options *o, gw_log *log, gw_mongo **ret,
                       gw_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    gw_status rc;

    pthread_once(&once, start_libmongoc);
    if (!o->database || !o->database[0] || strlen(o->database) >= DATABASE_NAME_BYTES)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the MongoDB database name has 1-63 bytes");
    gw_auto(gw_mongo) m = (gw_mongo *)calloc(1, sizeof(*m));
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the MongoDB client");
    m->loop = l;
    m->log = log;
    memcpy(m->database, o->database, strlen(o->database) + 1);
    gw_timer_init(&m->ping_timer, send_ping, m);
    rc = parse_uri(m, o, err);
    if (rc == GW_OK)
        rc = make_clients(m, o, err);
    if (rc != GW_OK)
        return rc;
    m->standalone_durable = durable_concern(1, o->socket_timeout_ms / 2);
    m->replica_durable = durable_concern(MONGOC_WRITE_CONCERN_W_MAJORITY, o->socket_timeout_ms / 2);
    rc = gw_workers_new(l, "mongo", o->threads, o->queue_max, &m->workers, err);
    if (rc == GW_OK)
        rc = gw_workers_new(l, "mongo-ping", 1, 1, &m->ping_workers, err);
    if (rc != GW_OK)
        return rc;
    send_ping(m);
    *ret = gw_steal(&m);
    return GW_OK;
}

void gw_mongo_free(gw_mongo *m)
{
    if (!m)
        return;
    m->closing = true;
    gw_timer_cancel(m->loop, &m->ping_timer);
    gw_workers_free(m->workers);
    gw_workers_free(m->ping_workers);
    gw_timer_cancel(m->loop, &m->ping_timer);
    if (m->ping_client)
        mongoc_client_destroy(m->ping_client);
    if (m->pool)
        mongoc_client_pool_destroy(m->pool);
    mongoc_write_concern_destroy(m->standalone_durable);
    mongoc_write_concern_destroy(m->replica_durable);
    mongoc_uri_destroy(m->ping_uri);
    mongoc_uri_destroy(m->uri);
    free(m);
}

/* ---- what is known of the server ---- */

bool gw_mongo_is_up(const gw_mongo *m)
{
    return atomic_load(&m->state) == STATE_UP;
}

void gw_mongo_when_up(gw_mongo *m, void (*run)(void *arg), void *arg)
{
    if (gw_mongo_is_up(m)) {
        run(arg);
        return;
    }
    assert(m->waiters_count < WAITERS_MAX);
    m->waiters[m->waiters_count].run = run;
    m->waiters[m->waiters_count++].arg = arg;
}

bool gw_mongo_is_replica_set(const gw_mongo *m)
{
    return atomic_load(&m->is_replica_set);
}

const mongoc_write_concern_t *gw_mongo_durable(const gw_mongo *m)
{
    bool standalone = gw_mongo_is_up(m) && !gw_mongo_is_replica_set(m);
    return standalone ? m->standalone_durable : m->replica_durable;
}

void gw_mongo_append_durable(const gw_mongo *m, bson_t *opts)
{
    bool standalone = gw_mongo_is_up(m) && !gw_mongo_is_replica_set(m);
    (void)mongoc_write_concern_append(standalone ? m->standalone_durable : m->replica_durable,
                                      opts);
}

/* ---- jobs ---- */

static void run_job(gw_job *job)
{
    gw_mongo_job *j = GW_CONTAINER_OF(job, gw_mongo_job, job);
    gw_mongo *m = j->mongo;

    /* While the server is down each try would hold a worker for the whole server selection, and the
     * last job in the queue would wait for all before it. */
    if (atomic_load(&m->state) == STATE_DOWN) {
        j->rc = gw_fail(&j->error, GW_ERR_UNAVAILABLE, "MongoDB does not answer");
        return;
    }
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);
    if (!client) {
        j->rc = gw_fail(&j->error, GW_ERR_UNAVAILABLE, "no MongoDB client became free in time");
        return;
    }
    mongoc_database_t *db = mongoc_client_get_database(client, m->database);
    j->rc = j->run(j, client, db, &j->error);
    mongoc_database_destroy(db);
    mongoc_client_pool_push(m->pool, client);
}

static void finish_job(gw_job *job)
{
    gw_mongo_job *j = GW_CONTAINER_OF(job, gw_mongo_job, job);
    j->done(j, j->rc, &j->error);
}

static void finish_refused_job(void *arg)
{
    gw_mongo_job *j = (gw_mongo_job *)arg;
    j->done(j, j->rc, &j->error);
}

void gw_mongo_submit(gw_mongo *m, gw_mongo_job *j)
{
    j->mongo = m;
    j->error = (gw_error){0};
    j->job.work = run_job;
    j->job.done = finish_job;
    /* An accepted job is a worker's by now: it is not touched here any more. */
    gw_error err = {0};
    gw_status rc = gw_workers_submit(m->workers, &j->job, &err);
    if (rc == GW_OK)
        return;
    j->rc = rc;
    j->error = err;
    gw_loop_defer(m->loop, finish_refused_job, j);
}
