#include "spool_tool.h"

#include "flight_table.h"
#include "spool.h"

#include "core/clock.h"
#include "json/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_SIZE 4352

typedef struct tool {
    FILE *out, *errors;
    int status;
} tool;

/* May replace *s by what can be read of `path` when it turns out to be damaged. */
typedef void (*visit_spool)(tool *t, spool **s, const char *path, const char *name);

static void say_error(tool *t, const char *name, const gw_error *err)
{
    (void)fprintf(t->errors, "%s: %s\n", name, err->message);
    t->status = 1;
}

static void hex(const uint8_t *bytes, size_t len, char *out)
{
    gw_hex_encode(bytes, len, out);
}

/* ---- inspect ---- */

static void print_time(tool *t, const char *name, spool *s, int64_t seq)
{
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    char text[GW_RFC3339_SIZE];
    int64_t at_ms;
    if (!spool_find(s, seq, id, &at_ms))
        return;
    gw_rfc3339_format(at_ms, text);
    (void)fprintf(t->out, ",\"%s\":\"%s\"", name, text);
}

static void inspect(tool *t, spool **opened, const char *path, const char *name)
{
    spool *s = *opened;
    const spool_info *i = spool_get_info(s);
    char id[2 * SPOOL_ID_SIZE + 1], boot[2 * SPOOL_BOOT_SIZE + 1];
    gw_auto_buf quoted = {0};
    (void)path;
    hex(i->id, sizeof(i->id), id);
    hex(i->boot, sizeof(i->boot), boot);
    gw_buf_append_json(&quoted, gw_str_of(name));
    (void)fprintf(t->out,
                  "{\"name\":%s,\"spool\":\"%s\",\"boot\":\"%s\",\"format\":%d,\"registered\":%s,"
                  "\"acked\":%lld,\"tail\":%lld,\"waiting\":%lld,\"bytes\":%lld,\"opens\":%u",
                  quoted.data ? quoted.data : "\"\"", id, boot, SPOOL_FORMAT,
                  i->registered ? "true" : "false", (long long)i->acked, (long long)i->tail,
                  (long long)(i->tail - i->acked), (long long)i->bytes, i->opens);
    print_time(t, "oldest", s, i->acked + 1);
    print_time(t, "newest", s, i->tail);
    (void)fprintf(t->out, "}\n");
}

/* Reads the file as it is: a running relay goes on meanwhile. */
static void inspect_flight(tool *t, const char *dir)
{
    char path[PATH_SIZE];
    int64_t states[4] = {0};
    flight_slot slot;
    (void)snprintf(path, sizeof(path), "%s/flight", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    for (off_t at = FLIGHT_HEADER_BYTES;
         pread(fd, &slot, sizeof(slot), at) == (ssize_t)sizeof(slot); at += FLIGHT_SLOT_BYTES)
        states[GW_MIN(atomic_load(&slot.state), 3U)]++;
    (void)close(fd);
    (void)fprintf(t->out, "{\"name\":\"flight\",\"free\":%lld,\"open\":%lld,\"done\":%lld}\n",
                  (long long)states[FLIGHT_FREE], (long long)states[FLIGHT_OPEN],
                  (long long)states[FLIGHT_DONE]);
}

/* ---- export ---- */

static void export_event(tool *t, const char *id, int64_t seq, const ProtobufCBinaryData *bytes)
{
    gw_auto_buf json = {0};
    gw_error err;
    usage_event *e = apirelay__usage__v1__usage_event__unpack(NULL, bytes->len, bytes->data);
    if (!e)
        (void)gw_fail(&err, GW_ERR_DATA_LOSS, "event %lld cannot be unpacked", (long long)seq);
    if (!e || gw_json_write(&e->base, &json, &err) != GW_OK)
        say_error(t, id, &err);
    else
        (void)fprintf(t->out, "{\"spool\":\"%s\",\"seq\":%lld,\"event\":%.*s}\n", id,
                      (long long)seq, (int)json.len, json.data);
    if (e)
        apirelay__usage__v1__usage_event__free_unpacked(e, NULL);
}

static void say_missing(tool *t, const char *name, int64_t first, int64_t last)
{
    (void)fprintf(t->errors, "%s: events %lld to %lld cannot be read\n", name, (long long)first,
                  (long long)last);
    t->status = 1;
}

/* Only what is behind the state was read at the opening: damage before it shows here. */
static gw_status read_frame(spool **s, const char *path, int64_t *seq, spool_frame *f,
                            gw_error *err)
{
    gw_status rc = spool_read(*s, *seq, SPOOL_FRAME_BYTES, f, err);
    if (rc != GW_ERR_DATA_LOSS)
        return rc;
    spool *rest = NULL;
    if (spool_open_damaged(path, &rest, err) != GW_OK)
        return rc;
    spool_free(*s);
    *s = rest;
    *seq = spool_next(rest, *seq);
    f->count = 0;
    return *seq > spool_get_info(rest)->tail ? GW_OK
                                             : spool_read(rest, *seq, SPOOL_FRAME_BYTES, f, err);
}

static void export_events(tool *t, spool **s, const char *path, const char *name)
{
    const spool_info i = *spool_get_info(*s);
    char id[2 * SPOOL_ID_SIZE + 1];
    gw_error err;
    gw_auto_free spool_frame *f = malloc(sizeof(*f));
    if (!f) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        return say_error(t, name, &err);
    }
    hex(i.id, sizeof(i.id), id);
    for (int64_t next = i.acked + 1; next <= i.tail; next += f->count) {
        int64_t seq = spool_next(*s, next);
        f->count = 0;
        if (seq <= i.tail && read_frame(s, path, &seq, f, &err) != GW_OK)
            return say_error(t, name, &err);
        if (seq > next)
            say_missing(t, name, next, GW_MIN(seq - 1, i.tail));
        if (f->count == 0)
            return; /* the end; or claimed and deleted while we read */
        next = seq;
        for (uint32_t k = 0; k < f->count; k++)
            export_event(t, id, seq + k, &f->events[k]);
    }
}

/* ---- finding spools ---- */

static bool is_spool(const char *path)
{
    static const char *const files[] = {"state.0", "state.1", "000000.log"};
    char file[PATH_SIZE + 16];
    for (size_t i = 0; i < GW_ARRAY_LEN(files); i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", path, files[i]);
        if (access(file, F_OK) == 0)
            return true;
    }
    return false;
}

static void open_one(tool *t, const char *path, const char *name, visit_spool visit)
{
    gw_auto(spool) s = NULL;
    gw_error err;
    gw_status rc = spool_open_readonly(path, &s, &err);
    if (rc != GW_OK)
        say_error(t, name, &err);
    if (rc == GW_ERR_DATA_LOSS)
        rc = spool_open_damaged(path, &s, &err);
    if (rc == GW_OK)
        visit(t, &s, path, name);
}

static bool open_all(tool *t, const char *dir, visit_spool visit)
{
    bool found = false;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH_SIZE];
        (void)snprintf(path, sizeof(path), "%.4000s/%s", dir, e->d_name);
        if (strncmp(e->d_name, "spool", 5) != 0 || !is_spool(path))
            continue;
        found = true;
        open_one(t, path, e->d_name, visit);
    }
    if (d)
        (void)closedir(d);
    return found;
}

static int usage(FILE *errors)
{
    (void)fprintf(errors, "usage: relay spool inspect DIR\n"
                          "       relay spool export DIR\n"
                          "       relay spool replay DIR [--to TARGET] [settings of the relay]\n");
    return 2;
}

int spool_tool_run(int argc, char *const *argv, FILE *out, FILE *errors)
{
    tool t = {.out = out, .errors = errors};
    if (argc != 2)
        return usage(errors);
    bool inspects = strcmp(argv[0], "inspect") == 0;
    if (!inspects && strcmp(argv[0], "export") != 0)
        return usage(errors);
    visit_spool visit = inspects ? inspect : export_events;
    const char *dir = argv[1];
    if (is_spool(dir)) {
        open_one(&t, dir, dir, visit);
        return t.status;
    }
    if (!open_all(&t, dir, visit)) {
        (void)fprintf(errors, "%s: no spool\n", dir);
        return 1;
    }
    if (inspects)
        inspect_flight(&t, dir);
    return t.status;
}
