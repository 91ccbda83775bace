/* Streams between relays and replicas: what gw_rpc is to them, with every frame a step of the scheduler. */
#include "model.h"

#include "rpc/client.h"
#include "rpc/server.h"

#include "ingest_rpc_handlers.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdlib.h>

#define STREAMS_MAX       256
#define REPEATS_PER_MILLE 60

typedef struct frame {
    gw_list node;
    size_t len;
    uint8_t bytes[];
} frame;

struct gw_rpc_client_call {
    relay_node *relay;
    const gw_rpc_stream_ops *ops;
    void *arg;
    bool over; /* `done` was called */
    bool cancelled;
};

struct gw_rpc_call {
    replica *replica;
    void *data;
    bool started, told_cancelled, ended, finished;
};

typedef struct stream {
    gw_list node;
    gw_rpc_client_call client;
    gw_rpc_call server;
    gw_list up, down;
    size_t up_count;
    bool cut;
    bool wants_writable;
} stream;

static gw_list streams;
static bool ready;

void net_reset(void)
{
    gw_list_init(&streams);
    ready = true;
}

static void drop_frames(gw_list *frames)
{
    for (gw_list *n; (n = gw_list_pop_front(frames));)
        free(GW_CONTAINER_OF(n, frame, node));
}

static void push(gw_list *frames, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    frame *f = malloc(sizeof(*f) + len);
    if (!f)
        abort();
    f->len = protobuf_c_message_pack(m, f->bytes);
    gw_list_push_back(frames, &f->node);
}

static void release_if_over(stream *s)
{
    if (!s->client.over || (s->server.started && !s->server.finished))
        return;
    gw_list_remove(&s->node);
    drop_frames(&s->up);
    drop_frames(&s->down);
    free(s);
}

static void cut(stream *s)
{
    s->cut = true;
    drop_frames(&s->up);
    s->up_count = 0;
}

/* ---- gw_rpc, the relay's side ---- */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the header's is a type here */
gw_rpc_client_call *gw_rpc_stream(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                  const ProtobufCMessage *first, const gw_rpc_stream_ops *ops,
                                  void *arg)
{
    stream *s = calloc(1, sizeof(*s));
    (void)o;
    (void)first;
    if (!s || !ready)
        abort();
    s->client = (gw_rpc_client_call){.relay = (relay_node *)(void *)ch, .ops = ops, .arg = arg};
    gw_list_init(&s->up);
    gw_list_init(&s->down);
    gw_list_push_back(&streams, &s->node);
    return &s->client;
}

void gw_rpc_stream_send(gw_rpc_client_call *c, const ProtobufCMessage *m)
{
    stream *s = GW_CONTAINER_OF(c, stream, client);
    if (s->cut || c->cancelled)
        return;
    push(&s->up, m);
    s->up_count++;
    s->wants_writable = true;
}

size_t gw_rpc_stream_queued(const gw_rpc_client_call *c)
{
    return ((const stream *)(const void *)((const char *)c - offsetof(stream, client)))->up_count;
}

void gw_rpc_cancel(gw_rpc_client_call *c)
{
    c->cancelled = true;
    cut(GW_CONTAINER_OF(c, stream, client));
}

/* ---- gw_rpc, usage's side ---- */

void gw_rpc_send(gw_rpc_call *c, const ProtobufCMessage *m)
{
    stream *s = GW_CONTAINER_OF(c, stream, server);
    if (!s->cut && !c->ended)
        push(&s->down, m);
}

void gw_rpc_finish(gw_rpc_call *c)
{
    c->ended = true;
}

void gw_rpc_fail(gw_rpc_call *c, const gw_error *err)
{
    (void)err;
    c->ended = true;
}

void gw_rpc_call_set_data(gw_rpc_call *c, void *data)
{
    c->data = data;
}

void *gw_rpc_call_data(const gw_rpc_call *c)
{
    return c->data;
}

/* ---- steps ---- */

static const gw_rpc_handler *handler(void)
{
    return &ingest_handlers()[0];
}

static bool start_server(world *w, stream *s)
{
    replica *candidates[REPLICAS_MAX];
    unsigned n = 0;
    for (size_t i = 0; i < w->replica_count; i++)
        if (replica_is_up(w->replicas[i]))
            candidates[n++] = w->replicas[i];
    if (!n) {
        cut(s);
        return true;
    }
    s->server.replica = candidates[world_below(w, n)];
    s->server.started = true;
    handler()->start(&s->server, NULL, replica_ingest(s->server.replica));
    return true;
}

static bool deliver_up(world *w, stream *s)
{
    frame *f = GW_CONTAINER_OF(gw_list_first(&s->up), frame, node);
    ProtobufCMessage *m = protobuf_c_message_unpack(
        &apirelay__usage__v1__stream_request__descriptor, NULL, f->len, f->bytes);
    if (!m)
        abort();
    bool is_events = ((Apirelay__Usage__V1__StreamRequest *)m)->frame_case ==
                     APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    bool repeated = is_events && world_chance(w, REPEATS_PER_MILLE);
    if (!repeated) {
        gw_list_remove(&f->node);
        free(f);
        s->up_count--;
    }
    handler()->message(&s->server, m, replica_ingest(s->server.replica));
    protobuf_c_message_free_unpacked(m, NULL);
    return true;
}

static bool deliver_down(stream *s)
{
    frame *f = GW_CONTAINER_OF(gw_list_pop_front(&s->down), frame, node);
    ProtobufCMessage *m = protobuf_c_message_unpack(
        &apirelay__usage__v1__stream_response__descriptor, NULL, f->len, f->bytes);
    if (!m)
        abort();
    free(f);
    s->client.ops->message(s->client.arg, m);
    protobuf_c_message_free_unpacked(m, NULL);
    return true;
}

static bool end_client(stream *s)
{
    gw_error err;
    gw_status rc = gw_fail(&err, s->client.cancelled ? GW_ERR_CANCELLED : GW_ERR_UNAVAILABLE,
                           "the stream is over");
    s->client.over = true;
    s->client.ops->done(s->client.arg, rc, &err);
    return true;
}

static bool finish_server(stream *s)
{
    if (!s->server.ended && !s->server.told_cancelled) {
        s->server.told_cancelled = true;
        handler()->cancelled(&s->server, replica_ingest(s->server.replica));
        return true;
    }
    if (!s->server.ended)
        return false;
    s->server.finished = true;
    handler()->finished(&s->server, replica_ingest(s->server.replica));
    return true;
}

static bool step_client(stream *s)
{
    if (!relay_node_is_up(s->client.relay) || s->client.over)
        return false;
    if (s->client.cancelled)
        return end_client(s);
    if (!gw_list_is_empty(&s->down))
        return deliver_down(s);
    if (s->cut || s->server.ended)
        return end_client(s);
    if (s->wants_writable && s->up_count == 0) {
        s->wants_writable = false;
        s->client.ops->writable(s->client.arg);
        return true;
    }
    return false;
}

static bool step_server(world *w, stream *s)
{
    if (!s->server.started)
        return !s->cut && start_server(w, s);
    if (s->server.finished || !replica_runs(s->server.replica))
        return false;
    if (s->server.ended || s->cut)
        return finish_server(s);
    if (!gw_list_is_empty(&s->up))
        return deliver_up(w, s);
    return false;
}

static stream *any_stream(world *w)
{
    stream *all[STREAMS_MAX];
    unsigned n = 0;
    gw_list_each (node, &streams)
        if (n < STREAMS_MAX)
            all[n++] = GW_CONTAINER_OF(node, stream, node);
    return n ? all[world_below(w, n)] : NULL;
}

bool net_step(world *w)
{
    stream *s = any_stream(w);
    if (!s)
        return false;
    bool moved = world_chance(w, 500) ? step_client(s) || step_server(w, s)
                                      : step_server(w, s) || step_client(s);
    release_if_over(s);
    return moved;
}

void net_cut_one(world *w)
{
    stream *s = any_stream(w);
    if (s)
        cut(s);
}

void net_cut_of_replica(world *w, replica *u)
{
    (void)w;
    gw_list_each (node, &streams)
        if (GW_CONTAINER_OF(node, stream, node)->server.replica == u)
            cut(GW_CONTAINER_OF(node, stream, node));
}

/* The relay's process is gone: nothing is delivered to it any more but the end of its streams. */
void net_cut_of_relay(world *w, relay_node *r)
{
    (void)w;
    gw_list_each_safe (node, &streams) {
        stream *s = GW_CONTAINER_OF(node, stream, node);
        if (s->client.relay != r)
            continue;
        cut(s);
        drop_frames(&s->down);
        if (!s->client.over)
            (void)end_client(s);
        release_if_over(s);
    }
}

bool net_has_calls(const replica *u)
{
    gw_list_each (node, &streams) {
        const stream *s = GW_CONTAINER_OF(node, stream, node);
        if (s->server.replica == u && s->server.started && !s->server.finished)
            return true;
    }
    return false;
}

void net_finish_calls(replica *u)
{
    gw_list_each_safe (node, &streams) {
        stream *s = GW_CONTAINER_OF(node, stream, node);
        if (s->server.replica != u || !s->server.started || s->server.finished)
            continue;
        cut(s);
        while (!s->server.finished && finish_server(s)) {
        }
        release_if_over(s);
    }
}

bool net_is_quiet(void)
{
    gw_list_each (node, &streams) {
        const stream *s = GW_CONTAINER_OF(node, stream, node);
        if (s->up_count || !gw_list_is_empty(&s->down))
            return false;
    }
    return true;
}
