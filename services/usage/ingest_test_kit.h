/*
 * For tests of ingest: streams of relays over loopback into a real server with its stores in the database that MONGO_URI names, and what
 * stands there then.
 */
#pragma once

#include "ingest.h"

#include "doc_store_mongo.h"
#include "event_testing.h"
#include "usage_collections.h"
#include "usage_metrics.h"

#include "mongo/bson_read.h"
#include "rpc/client.h"
#include "rpc/init.h"
#include "schema/all.h"
#include "testing/until.h"

#include <stdio.h>

#define STREAM     "/apirelay.usage.v1.IngestService/Stream"
#define FRAMES_MAX 64

typedef struct relay { /* one stream of one relay */
    struct fixture *f;
    gw_rpc_client_call *call;
    bool welcomed, ended;
    int64_t n;
    uint8_t salt; /* of its event ids */
    Apirelay__Usage__V1__ErrorCode error;
} relay;

typedef struct fixture {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_metrics *metrics;
    gw_schema *schema;
    doc_pool *pool;
    fold_runner *folds;
    ingest *ingest;
    gw_rpc_server *server;
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    gw_test_until until;
    char database[40];
    relay relays[2];
    uint8_t spool_id[SPOOL_ID_BYTES];
    bool server_closed;
    int lives;
    /* counting on a worker */
    gw_mongo_job job;
    const char *collection, *path;
    int64_t sum, documents;
    bool counted;
} fixture;

/* ---- what is awaited ---- */

static inline bool mongo_is_up(void *arg)
{
    fixture *f = (fixture *)arg;
    return gw_mongo_is_up(f->mongo);
}
static inline bool first_is_welcomed(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[0].welcomed;
}
static inline bool second_is_welcomed(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[1].welcomed;
}
static inline bool first_has_ended(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[0].ended;
}
static inline bool ten_are_acked(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[0].n == 10;
}
/* One that the other has overtaken is to come again. */
static inline bool both_have_ten_or_ended(void *arg)
{
    fixture *f = (fixture *)arg;
    return (f->relays[0].n == 10 || f->relays[0].ended) &&
           (f->relays[1].n == 10 || f->relays[1].ended);
}
static inline bool first_has_two(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[0].n == 2;
}
static inline bool second_has_ended(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->relays[1].ended;
}
static inline bool has_counted(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->counted;
}
static inline bool a_live_frame_came(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->lives > 0;
}
static inline bool ingest_idles(void *arg)
{
    fixture *f = (fixture *)arg;
    return ingest_is_idle(f->ingest);
}
static inline bool server_is_closed(void *arg)
{
    fixture *f = (fixture *)arg;
    return f->server_closed;
}

/* ---- the database ---- */

static inline gw_status count_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                  gw_error *err)
{
    (void)client;
    (void)err;
    fixture *f = GW_CONTAINER_OF(j, fixture, job);
    mongoc_collection_t *c = mongoc_database_get_collection(db, f->collection);
    bson_t all = BSON_INITIALIZER;
    const bson_t *d;
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, &all, NULL, NULL);
    while (mongoc_cursor_next(cursor, &d)) {
        int64_t v = 0;
        (void)gw_bson_int64(d, f->path, &v);
        f->sum += v;
        f->documents++;
    }
    mongoc_cursor_destroy(cursor);
    bson_destroy(&all);
    mongoc_collection_destroy(c);
    return GW_OK;
}

static inline gw_status drop_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                                 gw_error *err)
{
    (void)j;
    (void)client;
    bson_error_t e;
    return mongoc_database_drop(db, &e) ? GW_OK : gw_mongo_fail(err, &e, NULL, "drop");
}

static inline void counted(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    fixture *f = GW_CONTAINER_OF(j, fixture, job);
    (void)err;
    f->counted = true;
    assert_int_equal(rc, GW_OK);
}

static inline void perform(fixture *f, gw_status (*run)(gw_mongo_job *, mongoc_client_t *,
                                                        mongoc_database_t *, gw_error *))
{
    f->counted = false;
    f->sum = f->documents = 0;
    f->job.run = run;
    f->job.done = counted;
    gw_mongo_submit(f->mongo, &f->job);
    gw_test_run_until(&f->until, has_counted);
}

static inline int64_t total(fixture *f, const char *collection, const char *path)
{
    f->collection = collection;
    f->path = path;
    perform(f, count_run);
    return f->sum;
}

/* Waits until the day shows them, since it is made last, then compares all. */
static inline void expect_requests(fixture *f, int64_t n)
{
    while (total(f, COLLECTION_DAYS, "metrics.requests.total") != n ||
           total(f, COLLECTION_TOTALS, "metrics.requests.total") != n)
        ;
    assert_int_equal(total(f, COLLECTION_HOURS, "metrics.requests.total"), 2 * n);
    (void)total(f, COLLECTION_ROWS, "usage.totalTokens");
    assert_int_equal(f->documents, n);
    assert_int_equal(f->sum, 15 * n);
}

/* ---- relays ---- */

static inline void on_message(void *arg, const ProtobufCMessage *m)
{
    relay *r = (relay *)arg;
    const Apirelay__Usage__V1__StreamResponse *a = (const Apirelay__Usage__V1__StreamResponse *)m;
    if (a->frame_case == APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_WELCOME) {
        r->welcomed = true;
        r->n = a->welcome->n;
    } else if (a->frame_case == APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK) {
        assert_true(a->ack->n >= r->n);
        r->n = a->ack->n;
    } else {
        r->error = a->error->code;
    }
}

static inline void on_stream_done(void *arg, gw_status rc, const gw_error *err)
{
    relay *r = (relay *)arg;
    (void)rc;
    (void)err;
    r->ended = true;
    r->call = NULL;
}

static const gw_rpc_stream_ops relay_ops = {.message = on_message, .done = on_stream_done};

static inline void send_hello(fixture *f, size_t which, uint8_t boot_byte, bool registered)
{
    relay *r = &f->relays[which];
    gw_rpc_call_options o = {.path = STREAM,
                             .response = &apirelay__usage__v1__stream_response__descriptor,
                             .wait_for_ready = true};
    uint8_t boot[SPOOL_BOOT_BYTES] = {boot_byte};
    Apirelay__Usage__V1__Hello h = APIRELAY__USAGE__V1__HELLO__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    *r = (relay){.f = f};
    r->call = gw_rpc_stream(f->channel, &o, NULL, &relay_ops, r);
    assert_non_null(r->call);
    h.spool_id = (ProtobufCBinaryData){sizeof(f->spool_id), f->spool_id};
    h.boot = (ProtobufCBinaryData){sizeof(boot), boot};
    h.registered = registered;
    h.format = EVENT_FORMAT;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO;
    q.hello = &h;
    gw_rpc_stream_send(r->call, &q.base);
}

/* Events from..to as one frame. */
static inline void send_events(relay *r, int64_t from, int64_t to)
{
    ProtobufCBinaryData events[FRAMES_MAX];
    gw_buf packed[FRAMES_MAX] = {{0}};
    size_t n = 0;
    test_event t;
    test_event_init(&t);
    t.e.timestamp_ms = gw_clock_wall_ms(&gw_system_clock);
    for (int64_t seq = from; seq <= to; seq++, n++) {
        t.id[11] = (uint8_t)seq;
        t.id[10] = r->salt;
        gw_str bytes = test_event_pack(&t, &packed[n]);
        events[n] = (ProtobufCBinaryData){bytes.len, (uint8_t *)packed[n].data};
    }
    Apirelay__Usage__V1__Events e = APIRELAY__USAGE__V1__EVENTS__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    e.first_seq = from;
    e.n_events = n;
    e.events = events;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    q.events = &e;
    gw_rpc_stream_send(r->call, &q.base);
    for (size_t i = 0; i < n; i++)
        gw_buf_fini(&packed[i]);
}

static inline void on_live(void *arg, const Apirelay__Usage__V1__Live *frame)
{
    fixture *f = (fixture *)arg;
    assert_int_equal(frame->second, 77);
    f->lives++;
}

/* ---- setup ---- */

static inline void let_in(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    gw_caller caller = {.kind = GW_CALLER_SERVICE, .name = GW_STR("relay")};
    (void)self;
    (void)m;
    (void)credential;
    gw_rpc_authorized(c, GW_OK, &caller, NULL);
}

static inline void open_stores(fixture *f)
{
    gw_error err;
    gw_mongo_options o = gw_mongo_defaults;
    o.uri = getenv("MONGO_URI");
    (void)snprintf(f->database, sizeof(f->database), "ingest_test_%llx",
                   (unsigned long long)gw_random_u64());
    o.database = f->database;
    assert_int_equal(gw_mongo_new(f->loop, &o, NULL, &f->mongo, &err), GW_OK);
    f->metrics = gw_metrics_new(usage_metric_table, USAGE_METRIC_COUNT);
    gw_metrics_shard *shard = gw_metrics_shard_new(f->metrics);
    assert_int_equal(doc_pool_mongo_new(f->mongo, &f->pool, &err), GW_OK);
    assert_int_equal(fold_runner_new(f->loop, f->pool, NULL, shard, &f->folds, &err), GW_OK);
    ingest_options in = {.loop = f->loop,
                         .pool = f->pool,
                         .folds = f->folds,
                         .metrics = shard,
                         .limits = {.retention_ms = TEST_RETENTION_MS,
                                    .memory_bytes = 8 << 20,
                                    .window_bytes = 4 << 20,
                                    .claim_delay_ms = 5},
                         .on_live = on_live,
                         .live_arg = f};
    assert_int_equal(ingest_new(&in, &f->ingest, &err), GW_OK);
}

static inline void open_server(fixture *f)
{
    gw_error err;
    char target[32];
    assert_int_equal(gw_schema_all(&f->schema, &err), GW_OK);
    gw_rpc_server_options o = {
        .listen = "127.0.0.1:0", .schema = f->schema, .authorizer = {let_in, f}};
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &f->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(f->server, ingest_handlers(), f->ingest, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(f->server, &err), GW_OK);
    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", gw_rpc_server_port(f->server));
    assert_int_equal(gw_rpc_pump_new(f->loop, &f->pump, &err), GW_OK);
    assert_int_equal(gw_rpc_channel_new(f->pump, target, NULL, NULL, &f->channel, &err), GW_OK);
}

static inline int setup(void **state)
{
    gw_error err;
    if (!getenv("MONGO_URI"))
        return 0;
    fixture *f = (fixture *)calloc(1, sizeof(*f));
    *state = f;
    gw_random_bytes(f->spool_id, sizeof(f->spool_id));
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    gw_test_until_init(&f->until, f->loop, f);
    open_stores(f);
    open_server(f);
    gw_test_run_until(&f->until, mongo_is_up);
    return 0;
}

static inline void on_server_closed(void *arg)
{
    ((fixture *)arg)->server_closed = true;
}

static inline int teardown(void **state)
{
    fixture *f = (fixture *)*state;
    if (!f)
        return 0;
    fold_runner_stop(f->folds);
    ingest_stop(f->ingest);
    gw_rpc_server_close(f->server, 1000, on_server_closed, f);
    gw_test_run_until(&f->until, server_is_closed);
    gw_test_run_until(&f->until, ingest_idles);
    gw_rpc_channel_free(f->channel);
    gw_rpc_pump_free(f->pump);
    perform(f, drop_run);
    ingest_cut(f->ingest);
    gw_mongo_free(f->mongo);
    ingest_free(f->ingest);
    fold_runner_free(f->folds);
    doc_pool_mongo_free(f->pool);
    gw_metrics_free(f->metrics);
    gw_schema_free(f->schema);
    gw_test_until_cancel(&f->until);
    gw_loop_free(f->loop);
    free(f);
    return 0;
}
