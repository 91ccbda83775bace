#include "field_mask.h"

#include "messages.h"
#include "json/field.h"
#include "json/json.h"

#include <apirelay/auth/v1/api_key.pb-c.h>

#include <assert.h>
#include <stdio.h>

#define DEPTH_MAX 6

/* A path resolved to its fields, the last being the one to write. */
typedef struct mask_path {
    const ProtobufCFieldDescriptor *fields[DEPTH_MAX];
    size_t depth;
    char proto[96]; /* by proto names */
    char json[96]; /* for violations */
} mask_path;

static void push(mask_path *p, const ProtobufCFieldDescriptor *f)
{
    char json[GW_JSON_NAME_SIZE];
    gw_json_name(f->name, json);
    assert(p->depth < DEPTH_MAX); /* our own messages nest less */
    const char *dot = p->depth ? "." : "";
    size_t at = strlen(p->proto), json_at = strlen(p->json);
    snprintf(p->proto + at, sizeof(p->proto) - at, "%s%s", dot, f->name);
    snprintf(p->json + json_at, sizeof(p->json) - json_at, "%s%s", dot, json);
    p->fields[p->depth++] = f;
}

static bool resolve(const ProtobufCMessageDescriptor *d, gw_str text, mask_path *ret)
{
    gw_str part;
    *ret = (mask_path){0};
    while (gw_str_split(&text, '.', &part)) {
        const ProtobufCFieldDescriptor *f = d ? gw_field_named(d, part) : NULL;
        if (!f || ret->depth == DEPTH_MAX)
            return false;
        push(ret, f);
        bool descends = f->type == PROTOBUF_C_TYPE_MESSAGE &&
                        f->label != PROTOBUF_C_LABEL_REPEATED &&
                        f->descriptor != &google__protobuf__timestamp__descriptor;
        d = descends ? f->descriptor : NULL;
    }
    return ret->depth > 0;
}

static void write_path(gw_arena *a, ProtobufCMessage *to, const ProtobufCMessage *from,
                       const mask_path *p)
{
    for (size_t i = 0; i + 1 < p->depth; i++) {
        ProtobufCMessage *child = message_child(to, p->fields[i]);
        if (!child) {
            child = message_new(a, p->fields[i]->descriptor);
            if (!child)
                return;
            memcpy((char *)to + p->fields[i]->offset, &child, sizeof(void *));
        }
        to = child;
        from = from ? message_child(from, p->fields[i]) : NULL;
    }
    gw_field_share(to, from, p->fields[p->depth - 1]);
}

typedef void (*path_fn)(void *arg, const mask_path *p);

/* Every set field of `from`, messages descended. An etag is a condition, not a value. */
static void each_present(const ProtobufCMessage *from, const mask_path *above, path_fn fn,
                         void *arg)
{
    for (unsigned i = 0; i < from->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &from->descriptor->fields[i];
        if (!gw_field_is_set(from, f) || (above->depth == 0 && strcmp(f->name, "etag") == 0))
            continue;
        mask_path p = *above;
        push(&p, f);
        const ProtobufCMessage *child = message_child(from, f);
        if (child && f->descriptor != &google__protobuf__timestamp__descriptor)
            each_present(child, &p, fn, arg);
        else
            fn(arg, &p);
    }
}

typedef struct mask_run {
    gw_arena *arena;
    ProtobufCMessage *to;
    const ProtobufCMessage *from;
    field_is_writable is_writable;
    bool checking;
    mask_path usd, nano; /* which of the twins was written */
    gw_violations *v;
} mask_run;

/* A path of all the limits writes both twins. */
static void note_twins(mask_run *run, const mask_path *p)
{
    const ProtobufCFieldDescriptor *f = p->fields[p->depth - 1];
    bool whole = f->type == PROTOBUF_C_TYPE_MESSAGE &&
                 f->descriptor == &apirelay__auth__v1__key_limits__descriptor;
    if (whole || strcmp(f->name, "cost_limit") == 0)
        run->usd = *p;
    if (whole || strcmp(f->name, "cost_limit_nano_usd") == 0)
        run->nano = *p;
}

static void clear_twin(const mask_run *run, const mask_path *written, const char *twin)
{
    mask_path p = *written;
    p.fields[p.depth - 1] =
        gw_field_named(&apirelay__auth__v1__key_limits__descriptor, gw_str_of(twin));
    write_path(run->arena, run->to, NULL, &p);
}

static void one_path(void *arg, const mask_path *p)
{
    mask_run *run = arg;
    if (run->checking) {
        if (!run->is_writable(p->proto))
            gw_violations_add(run->v, p->json, "is read only");
        return;
    }
    note_twins(run, p);
    write_path(run->arena, run->to, run->from, p);
}

static void run_paths(mask_run *run, char *const *paths, size_t n)
{
    if (n == 0) {
        each_present(run->from, &(mask_path){0}, one_path, run);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        mask_path p;
        if (gw_str_eq_c(gw_str_of(paths[i]), "etag"))
            continue;
        if (resolve(run->to->descriptor, gw_str_of(paths[i]), &p))
            one_path(run, &p);
        else if (run->checking)
            gw_violations_add(run->v, paths[i], "no such field");
    }
}

void field_mask_apply(gw_arena *a, ProtobufCMessage *to, const ProtobufCMessage *from,
                      char *const *paths, size_t n, field_is_writable is_writable, gw_violations *v)
{
    mask_run run = {.arena = a,
                    .to = to,
                    .from = message_copy(a, from),
                    .is_writable = is_writable,
                    .checking = true,
                    .v = v};
    size_t before = v->count;
    if (!run.from)
        return;
    run_paths(&run, paths, n);
    if (v->count != before)
        return;
    run.checking = false;
    run_paths(&run, paths, n);
    if (run.usd.depth && !run.nano.depth)
        clear_twin(&run, &run.usd, "cost_limit_nano_usd");
    if (run.nano.depth && !run.usd.depth)
        clear_twin(&run, &run.nano, "cost_limit");
}

typedef struct mask_search {
    mask_path wanted;
    bool found;
} mask_search;

static void compare(void *arg, const mask_path *p)
{
    mask_search *s = arg;
    size_t depth = GW_MIN(p->depth, s->wanted.depth);
    s->found |= p->depth <= s->wanted.depth &&
                memcmp(p->fields, s->wanted.fields, depth * sizeof(void *)) == 0;
}

bool field_mask_names(const ProtobufCMessage *from, char *const *paths, size_t n, const char *path)
{
    mask_search s = {0};
    if (!resolve(from->descriptor, gw_str_of(path), &s.wanted))
        return false;
    if (n == 0)
        each_present(from, &(mask_path){0}, compare, &s);
    for (size_t i = 0; i < n; i++) {
        mask_path p;
        if (resolve(from->descriptor, gw_str_of(paths[i]), &p))
            compare(&s, &p);
    }
    return s.found;
}
