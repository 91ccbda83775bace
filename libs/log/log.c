#include "log/line.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define ECS_VERSION "8.11.0"
#define TAIL_MAX    128 /* what finish_line() writes */
#define GATHER_MAX  (32U << 10)

struct gw_log {
    gw_log *root;
    char *fields; /* of this logger and its parents: JSON members, each after a comma; NULL for a
                     root */
    size_t fields_len;

    /* Root only. */
    const char *service;
    int fd;
    _Atomic(int) level;
    const gw_clock *clock;
    /*
     * Held for the one write(2) alone: a pipe keeps writes above PIPE_BUF apart only while it has
     * room, and what a full one left undone must not end up inside another thread's line.
     */
    pthread_mutex_t writing;
    bool is_torn;
    int64_t lost;

    char *gathered; /* GATHER_MAX bytes; NULL: nothing is gathered */
    size_t gathered_len;
    pthread_t gatherer; /* whose lines are */
    void (*waiting)(void *arg);
    void *waiting_arg;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

gw_log *gw_log_new(const char *service, int fd, gw_log_level level, const gw_clock *clock)
{
    gw_log *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->root = l;
    l->service = service;
    l->fd = fd;
    l->clock = clock;
    atomic_init(&l->level, (int)level);
    if (pthread_mutex_init(&l->writing, NULL) != 0) {
        free(l);
        return NULL;
    }
    return l;
}

gw_log *gw_log_child(gw_log *parent, const gw_log_field *fields, size_t n)
{
    char space[GW_LOG_LINE_MAX / 2]; /* the line's own fields have the other half */
    gw_log_line line;
    gw_log_line_init(&line, space, sizeof(space));
    gw_log_line_raw(&line, gw_str_n(parent->fields, parent->fields_len));
    for (size_t i = 0; i < n; i++)
        gw_log_line_field(&line, &fields[i]);
    gw_log *l = calloc(1, sizeof(*l));
    char *copy = gw_str_dup(gw_str_n(space, line.len));
    if (!l || !copy) {
        free(l);
        free(copy);
        return NULL;
    }
    l->root = parent->root;
    l->fields = copy;
    l->fields_len = line.len;
    return l;
}

void gw_log_free(gw_log *l)
{
    if (!l)
        return;
    if (l->root == l) {
        gw_log_stop_gathering(l);
        pthread_mutex_destroy(&l->writing);
    }
    free(l->fields);
    free(l);
}

void gw_log_set_level(gw_log *root, gw_log_level level)
{
    atomic_store_explicit(&root->root->level, (int)level, memory_order_relaxed);
}

bool gw_log_level_parse(gw_str name, gw_log_level *ret)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(level_names); i++) {
        if (gw_str_eq_c(name, level_names[i])) {
            *ret = (gw_log_level)i;
            return true;
        }
    }
    return false;
}

bool gw_log_is_on(const gw_log *l, gw_log_level level)
{
    return l && (int)level >= atomic_load_explicit(&l->root->level, memory_order_relaxed);
}

static int64_t count_lines(const char *bytes, size_t len)
{
    int64_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += bytes[i] == '\n';
    return lines;
}

/* Blocking descriptors take the lines whole. One that would block loses them: a log reader must not
 * stop a loop. */
static void write_lines(gw_log *root, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(root->fd, bytes + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            break;
    }
    if (done > 0)
        root->is_torn = done < len && bytes[done - 1] != '\n';
    root->lost = done < len ? root->lost + count_lines(bytes + done, len - done) : 0;
}

/* Ends the line within the space kept for it. */
static void finish_line(gw_log_line *line, int64_t lost)
{
    bool truncated = line->truncated;
    line->limit += TAIL_MAX;
    gw_log_line_raw(line, GW_STR(",\"ecs.version\":\"" ECS_VERSION "\""));
    if (truncated)
        gw_log_line_raw(line, GW_STR(",\"log.truncated\":true"));
    if (lost > 0) {
        gw_log_field field = gw_kv("log.lost", lost);
        gw_log_line_field(line, &field);
    }
    gw_log_line_raw(line, GW_STR("}\n"));
}

/* ---- gathering; with the lock held ---- */

/* A line that tells of lost ones is written at once: it must not be lost itself without being counted. */
static bool is_gathered(const gw_log *root, gw_log_level level)
{
    return root->gathered && level < GW_LOG_WARN && root->lost == 0 && !root->is_torn &&
           pthread_equal(root->gatherer, pthread_self());
}

static void write_gathered(gw_log *root)
{
    size_t len = root->gathered_len;
    root->gathered_len = 0;
    if (len > 0)
        write_lines(root, root->gathered, len);
}

/* True when nothing was gathered before. */
static bool gather(gw_log *root, const char *bytes, size_t len)
{
    if (len > GATHER_MAX - root->gathered_len)
        write_gathered(root);
    memcpy(root->gathered + root->gathered_len, bytes, len);
    root->gathered_len += len;
    return root->gathered_len == len;
}

gw_status gw_log_gather(gw_log *root, void (*waiting)(void *arg), void *arg, gw_error *err)
{
    root->gathered = malloc(GATHER_MAX);
    if (!root->gathered)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to gather log lines");
    root->gatherer = pthread_self();
    root->waiting = waiting;
    root->waiting_arg = arg;
    return GW_OK;
}

void gw_log_flush(gw_log *root)
{
    pthread_mutex_lock(&root->writing);
    write_gathered(root);
    pthread_mutex_unlock(&root->writing);
}

void gw_log_stop_gathering(gw_log *root)
{
    pthread_mutex_lock(&root->writing);
    write_gathered(root);
    free(root->gathered);
    root->gathered = NULL;
    pthread_mutex_unlock(&root->writing);
}

void gw_log_write(gw_log *l, gw_log_level level, const char *event, const gw_log_field *fields,
                  size_t n)
{
    if (!gw_log_is_on(l, level))
        return;
    gw_log *root = l->root;
    GW_UNINITIALIZED char space[GW_LOG_LINE_MAX];
    char time[GW_RFC3339_SIZE];
    gw_log_line line;
    gw_rfc3339_format(gw_clock_wall_ms(root->clock), time);
    /* The byte before the line is a newline, for when the one before was torn. */
    space[0] = '\n';
    gw_log_line_init(&line, space + 1, sizeof(space) - 1 - TAIL_MAX);
    gw_log_line_raw(&line, GW_STR("{"));
    /* Words of the program: nothing in them has to be escaped. */
    gw_log_line_raw(&line, GW_STR("\"@timestamp\":\""));
    gw_log_line_raw(&line, gw_str_n(time, GW_RFC3339_SIZE - 1));
    gw_log_line_raw(&line, GW_STR("\",\"log.level\":\""));
    gw_log_line_raw(&line, gw_str_of(level_names[level]));
    gw_log_line_raw(&line, GW_STR("\",\"service.name\":\""));
    gw_log_line_raw(&line, gw_str_of(root->service));
    gw_log_line_raw(&line, GW_STR("\",\"event.action\":\""));
    gw_log_line_raw(&line, gw_str_of(event));
    gw_log_line_raw(&line, GW_STR("\""));
    gw_log_line_raw(&line, gw_str_n(l->fields, l->fields_len));
    for (size_t i = 0; i < n; i++)
        gw_log_line_field(&line, &fields[i]);

    pthread_mutex_lock(&root->writing);
    finish_line(&line, root->lost);
    bool is_first = false;
    if (is_gathered(root, level)) {
        is_first = gather(root, line.bytes, line.len);
    } else {
        write_gathered(root);
        if (root->is_torn)
            write_lines(root, space, line.len + 1);
        else
            write_lines(root, line.bytes, line.len);
    }
    pthread_mutex_unlock(&root->writing);
    if (is_first)
        root->waiting(root->waiting_arg);
}
