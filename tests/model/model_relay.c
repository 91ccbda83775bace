/* Relays of the model: a process over a disk that can be copied, rolled back, cut off from power, and lost. */
#include "model_disk.h"

#include "recorder_internal.h"

#include "core/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOT_HISTORY  4
#define SPOOL_MAX     (256 << 10) /* in segments of 32 KiB: a course fills some */
#define SYNC_MS       5
#define UNANSWERED    16
#define POINTS_A_STEP 6

typedef struct in_flight {
    flight_slot *slot;
    uint8_t id[EVENT_ID];
    usage_event event;
    bool done; /* its client is about to see the end */
} in_flight;

struct relay_node {
    world *w;
    char name[16];
    unsigned incarnation;
    char dir[IMAGE_DIR_SIZE];
    gw_loop *loop;
    node_clock time;
    recorder *recorder;
    in_flight flights[SLOTS + UNANSWERED];
    size_t flight_count;
    image disk; /* while the process is down */
    image remembered; /* for a roll-back */
    uint8_t history[SLOTS][SLOT_HISTORY][FLIGHT_SLOT_BYTES];
    unsigned history_count[SLOTS];
    image unsynced_base; /* what a power loss brings back, when commits were not synced */
    bool closed;
};

static relay_node *stepping; /* the one whose code runs */
static unsigned dies_in; /* fault points from now, 0: it does not */
static image at_death;
static bool died;
static long syncs; /* fdatasync()s so far */

/* ---- the system under the spool and the services ---- */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the header's is reserved */
int fdatasync(int fd)
{
    (void)fd; /* the model's disk is what it says it is */
    syncs++;
    return 0;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int gethostname(char *name, size_t len)
{
    (void)snprintf(name, len, "%s", stepping ? stepping->name : "model");
    return 0;
}

/* ---- fault points ---- */

static void on_fault_point(const char *name)
{
    relay_node *r = stepping;
    if (!r)
        store_reach_point(name);
    if (!r || died)
        return;
    if (GW_MUTANT(SEND_BEFORE_DURABLE) && strcmp(name, "spool.committed") == 0 &&
        world_chance(r->w, 400)) { /* the system writes back when it likes */
        image_fini(&r->unsynced_base);
        r->unsynced_base = image_read(r->dir);
    }
    if (dies_in && --dies_in == 0) {
        at_death = image_read(r->dir);
        died = true;
        world_trace(r->w, "%s dies at %s", r->name, name);
    }
}

/* ---- the process ---- */

void relay_node_start(world *w, relay_node *r)
{
    gw_error err = {0};
    relay_node *before = stepping;
    if (r->recorder)
        return;
    stepping = r;
    gw_fault_set_hook(on_fault_point);
    image_write(&r->disk, r->dir);
    image_fini(&r->disk);
    r->incarnation++;
    if (gw_loop_new(&r->time.clock, &r->loop, &err) != GW_OK)
        abort();
    recorder_options o = {.dir = r->dir,
                          .lanes = 1,
                          .slots_per_lane = SLOTS,
                          .sync_interval_ms = SYNC_MS,
                          .spool_max_bytes = SPOOL_MAX,
                          .usage = (gw_rpc_channel *)(void *)r,
                          .service_token = GW_STR("token"),
                          .clock = &r->time.clock,
                          .log = w->log,
                          .without_thread = true};
    if (recorder_open(r->loop, &o, &r->recorder, &err) != GW_OK)
        world_fail(w, "%s does not open: %s", r->name, err.message);
    if (GW_MUTANT(SEND_BEFORE_DURABLE)) {
        image_fini(&r->unsynced_base);
        r->unsynced_base = image_read(r->dir);
    }
    memset(r->history_count, 0, sizeof(r->history_count));
    r->flight_count = 0;
    stepping = before;
}

relay_node *relay_node_new(world *w, const char *name)
{
    relay_node *r = calloc(1, sizeof(*r));
    if (!r)
        abort();
    r->w = w;
    (void)snprintf(r->name, sizeof(r->name), "%s", name);
    node_clock_init(&r->time, w);
    relay_node_start(w, r);
    return r;
}

static void on_closed(void *arg)
{
    relay_node *r = arg;
    r->closed = true;
    r->recorder = NULL;
}

/* The process ends; what it still does as it goes stays on a disk that nobody looks at. */
static void end_process(world *w, relay_node *r)
{
    if (!r->recorder)
        return;
    stepping = r;
    died = true;
    image_excuse_put_aside(w, r->dir);
    net_cut_of_relay(w, r);
    r->closed = false;
    recorder_close(r->recorder, 0, on_closed, r);
    for (int turn = 0; turn < 200 && !r->closed; turn++) {
        model_loop_turn(r->loop);
        net_cut_of_relay(w, r);
    }
    if (!r->closed)
        world_fail(w, "%s does not close", r->name);
    model_loop_turn(r->loop);
    gw_loop_free(r->loop);
    image_remove_dir(r->dir);
    r->flight_count = 0;
    stepping = NULL;
    died = false;
}

static void traffic(world *w, relay_node *r);

static void run_some(world *w, relay_node *r)
{
    switch (world_below(w, 4)) {
    case 0:
        traffic(w, r);
        break;
    case 1:
        recorder_turn(r->recorder);
        break;
    default:
        break;
    }
    model_loop_turn(r->loop);
}

void relay_node_step(world *w, relay_node *r)
{
    if (!r->recorder)
        return;
    stepping = r;
    run_some(w, r);
    stepping = NULL;
}

void relay_node_kill(world *w, relay_node *r, bool at_a_point)
{
    if (!r->recorder)
        return;
    stepping = r;
    died = false;
    dies_in = at_a_point ? 1 + world_below(w, POINTS_A_STEP) : 0;
    if (at_a_point) {
        traffic(w, r);
        recorder_turn(r->recorder);
        model_loop_turn(r->loop);
    }
    image_fini(&r->disk);
    r->disk = died ? at_death : image_read(r->dir);
    at_death = (image){0};
    dies_in = 0;
    died = false;
    end_process(w, r);
}

/* Of the table's pages any older state may come back, slot by slot; what the spool committed stays. */
void relay_node_lose_power(world *w, relay_node *r)
{
    if (!r->recorder)
        return;
    image now = image_read(r->dir);
    image_excuse_slots(w, &now, false);
    for (unsigned i = 0; i < SLOTS; i++) {
        flight_slot *s = image_slot(&now, i);
        unsigned n = GW_MIN(r->history_count[i], SLOT_HISTORY);
        request *q = s ? image_request(w, s) : NULL;
        bool committed = s && spool_committed(r->recorder->spool, i) >= flight_slot_generation(s);
        unsigned which = n ? world_below(w, n + 1) : 0;
        if (!s || which == 0)
            continue;
        if (q && !committed)
            q->may_be_lost = true;
        memcpy(s, r->history[i][which - 1], FLIGHT_SLOT_BYTES);
    }
    if (GW_MUTANT(SEND_BEFORE_DURABLE) && r->unsynced_base.data) {
        free(now.data);
        now.data = image_copy_bytes(r->unsynced_base.data, r->unsynced_base.data_len);
        now.data_len = r->unsynced_base.data_len;
    }
    end_process(w, r);
    image_fini(&r->disk);
    r->disk = now;
}

void relay_node_lose_disk(world *w, relay_node *r)
{
    image now = r->recorder ? image_read(r->dir) : r->disk;
    recorder_stats s = {0};
    if (r->recorder)
        recorder_get_stats(r->recorder, &s);
    if (now.data) {
        image_excuse_slots(w, &now, true);
        image_excuse_unacked(w, &now, s.acked);
    }
    if (r->recorder)
        end_process(w, r);
    else
        r->disk = (image){0};
    image_fini(&now);
    r->disk = (image){0};
}

/*
 * Only of a relay with nothing in flight, as of a roll-back. What is in flight goes on in the one and is found interrupted in the other, under one id; that
 * id may then stand at the same seq of two spools that differ before it, and the id at n is all that is compared.
 */
relay_node *relay_node_copy(world *w, relay_node *r, const char *name)
{
    image now = r->recorder ? image_read(r->dir) : image_copy(&r->disk);
    if (!image_is_at_rest(&now)) {
        image_fini(&now);
        return NULL;
    }
    relay_node *copy = calloc(1, sizeof(*copy));
    if (!copy)
        abort();
    copy->w = w;
    (void)snprintf(copy->name, sizeof(copy->name), "%s", name);
    node_clock_init(&copy->time, w);
    copy->disk = now;
    relay_node_start(w, copy);
    return copy;
}

void relay_node_remember(world *w, relay_node *r)
{
    (void)w;
    if (!r->recorder)
        return;
    image now = image_read(r->dir);
    if (!image_is_at_rest(&now)) {
        image_fini(&now);
        return;
    }
    image_fini(&r->remembered);
    r->remembered = now;
}

void relay_node_roll_back(world *w, relay_node *r)
{
    if (!r->recorder || !r->remembered.data)
        return;
    image now = image_read(r->dir);
    recorder_stats s;
    recorder_get_stats(r->recorder, &s);
    image_excuse_slots(w, &now, true);
    image_excuse_unacked(w, &now, s.acked);
    image_excuse_slots(w, &r->remembered, true);
    image_fini(&now);
    end_process(w, r);
    image_fini(&r->disk);
    r->disk = r->remembered;
    r->remembered = (image){0};
}

void relay_node_free(world *w, relay_node *r)
{
    end_process(w, r);
    image_fini(&r->disk);
    image_fini(&r->remembered);
    image_fini(&r->unsynced_base);
    free(r);
}

bool relay_node_is_up(const relay_node *r)
{
    return r->recorder != NULL;
}

const char *relay_node_name(const relay_node *r)
{
    return r->name;
}

void relay_node_step_clock(world *w, relay_node *r)
{
    static const int64_t steps_ms[] = {-GW_MS_PER_DAY, -3600000, -1000, 1000, 60000};
    r->time.wall_offset_ms = steps_ms[world_below(w, GW_ARRAY_LEN(steps_ms))];
}

/* ---- requests ---- */

static void keep_history(relay_node *r, const flight_slot *s)
{
    uint32_t i = flight_table_index(r->recorder->table, s);
    memcpy(r->history[i][r->history_count[i]++ % SLOT_HISTORY], s, FLIGHT_SLOT_BYTES);
}

static void fill_event(world *w, usage_event *e, const uint8_t *id)
{
    static uint8_t keys[3][12] = {"api-key-000a", "api-key-000b", "api-key-000c"};
    static char key_id[] = "k1", complete[] = "complete", reported[] = "reported",
                endpoint[] = "/v1", method[] = "POST", request_id[] = "req", route[] = "m-*";
    static char models[2][8] = {"m-1.5", "m-2"};
    static const int64_t ages_ms[] = {3600000, 7200000, 0, 0, INT64_C(-9) * 60000};
    size_t ages = w->slow_reads ? 2 : GW_ARRAY_LEN(ages_ms); /* two hours of one day */
    static uint8_t user[12] = "user-000000a";
    static char client[] = "app.one";
    unsigned key = world_below(w, 3);
    *e = (usage_event)APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    if (key > 0)
        e->client_id = client;
    if (key > 1)
        e->user_id = (ProtobufCBinaryData){.len = sizeof(user), .data = user};
    e->attempts = 1;
    e->event_id = (ProtobufCBinaryData){.len = EVENT_ID, .data = (uint8_t *)(uintptr_t)id};
    e->api_key_id = (ProtobufCBinaryData){.len = 12, .data = keys[key]};
    e->timestamp_ms = w->wall_ms - ages_ms[world_below(w, (unsigned)ages)];
    e->key_id = key_id;
    e->request_id = request_id;
    e->endpoint = endpoint;
    e->method = method;
    e->model = models[world_below(w, 2)];
    e->route = route;
    e->outcome = complete;
    e->billing_basis = reported;
    e->upstream_accepted = true;
    e->status_code = 200;
    e->duration_ms = world_below(w, 90000);
    e->prompt_estimate_tokens = 1 + world_below(w, 9);
    e->prompt_tokens = e->prompt_estimate_tokens;
    e->total_tokens = e->prompt_tokens;
    e->cost_nano_usd = world_chance(w, 60) ? -1 : (int64_t)world_below(w, 1000); /* poison */
}

static void trace_request(const relay_node *r, const uint8_t *id, const char *what)
{
    char hex[2 * EVENT_ID + 1];
    gw_hex_encode(id, EVENT_ID, hex);
    world_trace(r->w, "%s: %s %s", r->name, hex, what);
}

static void begin_request(world *w, relay_node *r)
{
    recorder_lane *lane = recorder_lane_at(r->recorder, 0);
    if (!w->requests_left || r->flight_count == GW_ARRAY_LEN(r->flights) ||
        w->request_count == REQUESTS_MAX)
        return;
    flight_slot *slot = recorder_claim(lane);
    if (!slot)
        return;
    w->requests_left--;
    in_flight *f = &r->flights[r->flight_count++];
    *f = (in_flight){.slot = slot};
    recorder_event_id(lane, f->id);
    if (world_find_request(w, f->id))
        world_fail(w, "an event id is given twice");
    memcpy(w->requests[w->request_count++].id, f->id, EVENT_ID);
    fill_event(w, &f->event, f->id);
    keep_history(r, slot);
    trace_request(r, f->id, "opened");
    recorder_open_event(lane, slot, &f->event);
    if (died) /* at the point just passed: the rest is a ghost's */
        w->requests[w->request_count - 1].answered = false;
}

static void end_flight(relay_node *r, size_t i)
{
    r->flights[i] = r->flights[--r->flight_count];
}

/* By the whole event, or by what is new since it was opened. */
static void finish(world *w, relay_node *r, in_flight *f)
{
    recorder_lane *lane = recorder_lane_at(r->recorder, 0);
    usage_event rest = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    rest.completion_tokens = f->event.completion_tokens;
    rest.total_tokens = f->event.total_tokens;
    if (world_chance(w, 500) || !recorder_finish(lane, f->slot, &rest))
        recorder_done(lane, f->slot, &f->event);
}

static void go_on_with(world *w, relay_node *r, size_t i)
{
    in_flight *f = &r->flights[i];
    if (f->done) { /* the client sees the end of its answer */
        world_find_request(w, f->id)->answered |= !died;
        trace_request(r, f->id, "answered");
        end_flight(r, i);
        return;
    }
    keep_history(r, f->slot);
    if (!w->draining && world_chance(w, 400)) {
        recorder_progress(f->slot, world_below(w, 9), world_below(w, 99), 200, w->wall_ms);
        return;
    }
    f->event.event_id.data = f->id;
    f->event.completion_tokens = world_below(w, 99);
    f->event.total_tokens = f->event.prompt_tokens + f->event.completion_tokens;
    trace_request(r, f->id, "done");
    finish(w, r, f);
    f->slot = NULL;
    f->done = true;
}

static void traffic(world *w, relay_node *r)
{
    if (r->flight_count && world_chance(w, 600))
        go_on_with(w, r, world_below(w, (unsigned)r->flight_count));
    else if (!w->draining)
        begin_request(w, r);
    else if (r->flight_count)
        go_on_with(w, r, 0);
}

/* ---- at rest ---- */

bool relay_node_is_quiet(const relay_node *r)
{
    recorder_stats s;
    if (!r->recorder || r->flight_count)
        return false;
    recorder_get_stats(r->recorder, &s);
    for (unsigned i = 0; i < SLOTS; i++)
        if (flight_slot_state(flight_table_slot(r->recorder->table, i)) != FLIGHT_FREE)
            return false;
    return s.acked == s.tail && ingest_client_is_sending(r->recorder->ingest);
}

void relay_node_check(world *w, const relay_node *r)
{
    const spool_info *i = spool_get_info(r->recorder->spool);
    int64_t n = usage_claimed(i->id);
    image_excuse_put_aside(w, r->dir);
    if (i->acked > n || (n > i->tail && !w->copied))
        world_fail(w, "%s: acked %lld, claimed %lld, tail %lld", r->name, (long long)i->acked,
                   (long long)n, (long long)i->tail);
}
