/* Making, opening and replacing spools in a relay's directory. */
#include "spool_internal.h"

#include "core/fault.h"
#include "core/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_SIZE     4096
#define SEGMENT_BYTES (8U << 20)
#define SEGMENT_PARTS 8 /* a small spool has that many at least */
#define SEGMENT_MIN   (32U << 10)
#define LOOKS         5 /* into a spool that is being written */

static void path_of(const spool *s, const char *name, char out[PATH_SIZE])
{
    (void)snprintf(out, PATH_SIZE, "%s/%s", s->dir, name);
}

int64_t spool_disk_free_bytes(const spool *s)
{
    struct statvfs v;
    if (!s->dir || statvfs(s->dir, &v) != 0)
        return INT64_MAX;
    return (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

void spool_close(spool *s)
{
    spool_log_free(s->log);
    s->log = NULL;
    spool_cursor_forget(&s->reading);
    spool_cursor_forget(&s->acking);
}

/* A spool that was never whole, or none. */
static gw_status remove_folder(const spool *s, const char *name, gw_error *err)
{
    char path[PATH_SIZE], file[PATH_SIZE + NAME_MAX + 2];
    path_of(s, name, path);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        (void)snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        (void)unlink(file);
    }
    if (d)
        (void)closedir(d);
    if (rmdir(path) != 0 && errno != ENOENT)
        return spool_io_error(err, "remove", path);
    return GW_OK;
}

void spool_name(spool_meta *m)
{
    gw_random_bytes(m->id, sizeof(m->id));
    gw_random_bytes(m->boot, sizeof(m->boot));
    if (GW_MUTANT(SPOOL_ID_REUSED)) {
        char host[64] = "";
        (void)gethostname(host, sizeof(host) - 1);
        memset(m->boot, 0, sizeof(m->boot));
        memset(m->id, 0, sizeof(m->id));
        memcpy(m->id, host, strnlen(host, sizeof(m->id)));
    }
}

/* `spool.new`, whole, with a new id; what each slot has committed is carried over. */
static gw_status make_new(const spool *s, gw_error *err)
{
    char path[PATH_SIZE];
    const spool_state generations = {.generations = s->state.generations, .slots = s->state.slots};
    spool_meta m = {.opens = s->meta.opens};
    spool_name(&m);
    path_of(s, "spool.new", path);
    gw_status rc = remove_folder(s, "spool.new", err);
    if (rc == GW_OK && mkdir(path, 0700) != 0)
        rc = spool_io_error(err, "make", path);
    return rc == GW_OK ? spool_log_make(path, s->segment_bytes, &m, &generations, err) : rc;
}

static gw_status move(const spool *s, const char *from, const char *to, gw_error *err)
{
    char a[PATH_SIZE], b[PATH_SIZE];
    path_of(s, from, a);
    path_of(s, to, b);
    if (rename(a, b) != 0)
        return spool_io_error(err, "rename", a);
    return spool_folder_sync(s->dir, err);
}

static bool is_there(const spool *s, const char *name)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(s, name, path);
    return lstat(path, &st) == 0;
}

/* A name that is free: the first of `<stem>`, `<stem>.2`, … */
static void free_name(const spool *s, const char *stem, char out[SPOOL_ASIDE_SIZE])
{
    (void)snprintf(out, SPOOL_ASIDE_SIZE, "%s", stem);
    for (int i = 2; is_there(s, out); i++)
        (void)snprintf(out, SPOOL_ASIDE_SIZE, "%.100s.%d", stem, i);
}

/*
 * Killed between the two renames of a replacement, `spool.new` is whole and `spool` is not there; at any other moment `spool` is
 * and `spool.new` is of no use.
 */
static gw_status finish_replacement(const spool *s, gw_error *err)
{
    if (!is_there(s, "spool") && is_there(s, "spool.new")) {
        spool_log *trial = NULL;
        spool_meta m;
        char path[PATH_SIZE];
        path_of(s, "spool.new", path);
        bool whole = spool_log_open(path, 0, NULL, &trial, &m, err) == GW_OK;
        spool_log_free(trial);
        if (whole)
            return move(s, "spool.new", "spool", err);
    }
    if (is_there(s, "spool"))
        return GW_OK;
    gw_status rc = make_new(s, err);
    return rc == GW_OK ? move(s, "spool.new", "spool", err) : rc;
}

static gw_status open_current(spool *s, gw_error *err)
{
    char path[PATH_SIZE];
    spool_meta m;
    path_of(s, "spool", path);
    spool_state_forget_sums(&s->state);
    gw_status rc = spool_log_open(path, s->segment_bytes, &s->state, &s->log, &m, err);
    if (rc == GW_OK)
        spool_publish(s, &m);
    if (rc == GW_ERR_DATA_LOSS && is_there(s, "spool/data.mdb"))
        return gw_fail(err, rc, "spool: %s holds an LMDB, as older relays wrote it", path);
    return rc;
}

static gw_status try_new(const spool *s, gw_error *err)
{
    char path[PATH_SIZE];
    spool_log *trial = NULL;
    spool_meta m;
    gw_error why;
    path_of(s, "spool.new", path);
    gw_status rc = spool_log_open(path, 0, NULL, &trial, &m, &why);
    spool_log_free(trial);
    if (rc == GW_OK)
        return GW_OK;
    return gw_fail(err, GW_ERR_IO, "spool: what was just written cannot be read: %s", why.message);
}

/* Only for one that can be read: each try on a disk that reads nothing would put one more aside. */
static gw_status put_aside(spool *s, const char *stem, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    gw_status rc = make_new(s, err);
    if (rc == GW_OK)
        rc = try_new(s, err);
    if (rc != GW_OK)
        return rc;
    free_name(s, stem, aside);
    spool_close(s);
    rc = move(s, "spool", aside, err);
    if (rc == GW_OK)
        rc = move(s, "spool.new", "spool", err);
    return rc == GW_OK ? open_current(s, err) : rc;
}

gw_status spool_replace(spool *s, const char *reason, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    char stem[SPOOL_ASIDE_SIZE], id[2 * SPOOL_ID_SIZE + 1];
    aside[0] = '\0';
    if (!s->log) /* a replacement that failed half-way */
        return spool_reopen(s, err);
    gw_hex_encode(s->info.id, sizeof(s->info.id), id);
    (void)snprintf(stem, sizeof(stem), "spool.%s.%s", id, reason);
    return put_aside(s, stem, aside, err);
}

gw_status spool_reopen(spool *s, gw_error *err)
{
    gw_status rc = finish_replacement(s, err);
    return rc == GW_OK ? open_current(s, err) : rc;
}

/* A full disk is no reason not to open: commits are tried again later. */
static gw_status count_opening(spool *s, gw_error *err)
{
    s->meta.opens++;
    s->info.opens++;
    gw_status rc = spool_write(s, &(spool_change){.acked = s->meta.acked}, err);
    return rc == GW_ERR_IO ? GW_OK : rc;
}

gw_status spool_repair(spool *s, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    aside[0] = '\0';
    if (!s->log) {
        gw_status rc = spool_reopen(s, err);
        if (rc != GW_ERR_DATA_LOSS)
            return rc;
    }
    return spool_replace(s, "unreadable", aside, err);
}

static gw_status new_spool(uint32_t slots, spool **ret, gw_error *err)
{
    gw_auto(spool) s = calloc(1, sizeof(*s));
    if (s) {
        s->reading.fd = s->acking.fd = -1;
        s->record = malloc(SPOOL_RECORD_MAX + sizeof(uint64_t));
    }
    if (!s || !s->record || !spool_state_init(&s->state, slots) ||
        !spool_cursor_init(&s->reading) || !spool_cursor_init(&s->acking))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool");
    *ret = gw_steal(&s);
    return GW_OK;
}

/* A full disk does not fill a whole segment at once, and what is acked leaves it in whole ones. */
static uint32_t segment_bytes_of(int64_t max_bytes)
{
    int64_t bytes = GW_MIN(max_bytes / SEGMENT_PARTS, (int64_t)SEGMENT_BYTES);
    return (uint32_t)GW_MAX(bytes, (int64_t)SEGMENT_MIN) & ~0xfffU;
}

gw_status spool_open(const char *dir, int64_t max_bytes, uint32_t slots, spool **ret,
                     spool_opened *ret_how, gw_error *err)
{
    gw_auto(spool) s = NULL;
    gw_status rc = new_spool(slots, &s, err);
    if (rc != GW_OK)
        return rc;
    s->dir = gw_str_dup(gw_str_of(dir));
    if (!s->dir)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool");
    s->segment_bytes = segment_bytes_of(max_bytes);
    *ret_how = (spool_opened){0};
    gw_error why = {0};
    rc = spool_reopen(s, &why);
    if (rc == GW_OK)
        rc = count_opening(s, &why);
    if (rc == GW_ERR_DATA_LOSS) {
        ret_how->unreadable = true;
        ret_how->why = why;
        rc = put_aside(s, "spool.unreadable", ret_how->aside, &why);
    }
    if (rc != GW_OK) {
        if (err)
            *err = why;
        return rc;
    }
    *ret = gw_steal(&s);
    return GW_OK;
}

gw_status spool_open_readonly(const char *path, spool **ret, gw_error *err)
{
    gw_auto(spool) s = NULL;
    spool_meta m;
    gw_status rc = new_spool(0, &s, err);
    if (rc != GW_OK)
        return rc;
    /* Its relay may use a segment again between two looks of ours. */
    for (int look = 0; look < LOOKS; look++) {
        rc = spool_log_open(path, 0, NULL, &s->log, &m, err);
        if (rc != GW_ERR_DATA_LOSS)
            break;
    }
    if (rc != GW_OK)
        return rc;
    spool_publish(s, &m);
    *ret = gw_steal(&s);
    return GW_OK;
}

gw_status spool_open_damaged(const char *path, spool **ret, gw_error *err)
{
    gw_auto(spool) s = NULL;
    spool_meta m;
    gw_status rc = new_spool(0, &s, err);
    if (rc == GW_OK)
        rc = spool_log_salvage(path, &s->log, &m, err);
    if (rc != GW_OK)
        return rc;
    spool_publish(s, &m);
    *ret = gw_steal(&s);
    return GW_OK;
}

void spool_free(spool *s)
{
    if (!s)
        return;
    spool_log_free(s->log);
    spool_cursor_fini(&s->reading);
    spool_cursor_fini(&s->acking);
    spool_state_fini(&s->state);
    free(s->record);
    free(s->dir);
    free(s);
}
