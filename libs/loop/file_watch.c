#include "loop/file_watch.h"

#include <stdlib.h>
#include <string.h>

typedef struct watched_file {
    uv_fs_poll_t poll;
    gw_file_watch *watch;
} watched_file;

struct gw_file_watch {
    gw_loop *loop;
    void (*changed)(void *arg);
    void *arg;
    bool is_told; /* of the changes of this round; the call is on its way */
    bool freed;
    size_t open; /* handles and calls on their way: the memory goes with the last */
    size_t n;
    watched_file files[];
};

static void release(gw_file_watch *w)
{
    if (--w->open == 0 && w->freed)
        free(w);
}

static void on_handle_closed(uv_handle_t *h)
{
    release(GW_CONTAINER_OF(h, watched_file, poll)->watch);
}

static void tell(void *arg)
{
    gw_file_watch *w = (gw_file_watch *)arg;
    w->is_told = false;
    if (!w->freed)
        w->changed(w->arg);
    release(w);
}

static void on_poll(uv_fs_poll_t *h, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    gw_file_watch *w = GW_CONTAINER_OF(h, watched_file, poll)->watch;
    (void)before;
    (void)now;
    if (status < 0 || w->is_told || w->freed) /* status < 0: it is away */
        return;
    w->is_told = true;
    w->open++;
    gw_loop_defer(w->loop, tell, w);
}

gw_status gw_file_watch_new(gw_loop *l, const char *const *paths, size_t n, unsigned interval_ms,
                            void (*changed)(void *arg), void *arg, gw_file_watch **ret,
                            gw_error *err)
{
    gw_file_watch *w = calloc(1, sizeof(*w) + n * sizeof(w->files[0]));
    if (!w)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to watch files");
    w->loop = l;
    w->changed = changed;
    w->arg = arg;
    w->open = 1; /* the owner's */
    for (size_t i = 0; i < n; i++) {
        if (!paths[i])
            continue;
        watched_file *f = &w->files[w->n++];
        f->watch = w;
        (void)uv_fs_poll_init(gw_loop_uv(l), &f->poll); /* cannot fail */
        w->open++;
        if (uv_fs_poll_start(&f->poll, on_poll, paths[i], interval_ms) != 0) {
            gw_file_watch_free(w);
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to watch %s", paths[i]);
        }
    }
    *ret = w;
    return GW_OK;
}

void gw_file_watch_free(gw_file_watch *w)
{
    if (!w)
        return;
    w->freed = true;
    for (size_t i = 0; i < w->n; i++)
        uv_close((uv_handle_t *)&w->files[i].poll, on_handle_closed);
    release(w);
}
