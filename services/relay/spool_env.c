#include "spool_internal.h"

#include "core/fault.h"
#include "core/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4200

static void path_of(const spool *s, const char *name, char out[PATH_SIZE])
{
    (void)snprintf(out, PATH_SIZE, "%s/%s", s->dir, name);
}

static gw_status os_error(gw_error *err, const char *what, const char *path)
{
    return gw_fail(err, GW_ERR_IO, "spool: cannot %s %s: %s", what, path, strerror(errno));
}

/* Renames and new files are durable once their directory is. */
static gw_status sync_dir(const char *path, gw_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return os_error(err, "open", path);
    bool ok = fsync(fd) == 0;
    (void)close(fd);
    return ok ? GW_OK : os_error(err, "sync", path);
}

void spool_env_close(spool_env *e)
{
    if (e->env)
        mdb_env_close(e->env);
    e->env = NULL;
}

/* LMDB maps more than the file: pages cut off would be a SIGBUS, not an error. */
static int check_size(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat st;
    struct stat file;
    int fd;
    int code = mdb_env_info(env, &info);
    if (code == 0)
        code = mdb_env_stat(env, &st);
    if (code == 0)
        code = mdb_env_get_fd(env, &fd);
    if (code != 0)
        return code;
    if (fstat(fd, &file) != 0)
        return errno;
    size_t pages = info.me_last_txnid == 0 ? 2 : info.me_last_pgno + 1;
    return (size_t)file.st_size < pages * st.ms_psize ? MDB_CORRUPTED : 0;
}

static int open_databases(spool_env *e, bool make, bool readonly)
{
    unsigned create = make ? MDB_CREATE : 0;
    MDB_txn *txn;
    int code = mdb_txn_begin(e->env, NULL, readonly ? MDB_RDONLY : 0, &txn);
    if (code != 0)
        return code;
    code = mdb_dbi_open(txn, "events", create, &e->events);
    if (code == 0)
        code = mdb_dbi_open(txn, "meta", create, &e->meta);
    if (code == 0) {
        /* A new one has it too, and empty: an older relay would not open it else. */
        code = mdb_dbi_open(txn, "slots", create | MDB_INTEGERKEY, &e->slots);
        if (code == MDB_NOTFOUND)
            code = e->slots = 0;
    }
    if (code == 0 && !readonly) /* one of an older relay gets what it does not have yet */
        code = mdb_dbi_open(txn, "generations", MDB_CREATE | MDB_INTEGERKEY, &e->generations);
    if (code == 0 && !readonly)
        code = mdb_dbi_open(txn, "positions", MDB_CREATE | MDB_INTEGERKEY, &e->positions);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

static gw_status env_open(const char *path, size_t map_bytes, bool make, unsigned flags,
                          spool_env *ret, gw_error *err)
{
    spool_env e = {0};
    int dead;
    int code = mdb_env_create(&e.env);
    if (code != 0)
        return spool_mdb_error(err, "make an environment", code);
    code = mdb_env_set_maxdbs(e.env, 5);
    if (code == 0 && map_bytes)
        code = mdb_env_set_mapsize(e.env, map_bytes);
    if (code == 0)
        code = mdb_env_open(e.env, path,
                            MDB_NOTLS | flags | (GW_MUTANT(SEND_BEFORE_DURABLE) ? MDB_NOSYNC : 0),
                            0600);
    if (code == 0)
        code = check_size(e.env);
    if (code == 0 && !(flags & MDB_RDONLY))
        code = mdb_reader_check(e.env, &dead); /* of processes that were killed */
    if (code == 0)
        code = open_databases(&e, make, (flags & MDB_RDONLY) != 0);
    if (code != 0) {
        spool_env_close(&e);
        return spool_mdb_error(err, "open", code);
    }
    *ret = e;
    return GW_OK;
}

/* Calls `note` with each number that a database has and its value; a key or a size that is none ends it. */
static int load_numbers(MDB_txn *txn, MDB_dbi db, size_t value_size,
                        void (*note)(spool *s, uint32_t number, const void *value), spool *s)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, db, &cursor);
    if (code != 0)
        return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint32_t number;
        if (key.mv_size != sizeof(number) || value.mv_size != value_size)
            break;
        memcpy(&number, key.mv_data, sizeof(number));
        note(s, number, value.mv_data);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : MDB_CORRUPTED;
}

static void note_slot(spool *s, uint32_t slot, const void *value)
{
    uint64_t generation;
    memcpy(&generation, value, sizeof(generation));
    if (slot < s->slots)
        s->committed[slot] = GW_MAX(s->committed[slot], generation);
}

static void note_block(spool *s, uint32_t block, const void *value)
{
    const uint8_t *generations = value; /* LMDB aligns values no better than to 2 bytes */
    for (uint32_t i = 0; block < s->blocks && i < SPOOL_BLOCK_SLOTS; i++)
        note_slot(s, block * SPOOL_BLOCK_SLOTS + i, generations + i * sizeof(uint64_t));
}

static int load_slots(spool *s, MDB_txn *txn)
{
    int code = 0;
    if (s->slots == 0)
        return 0;
    if (s->env.slots)
        code = load_numbers(txn, s->env.slots, sizeof(uint64_t), note_slot, s);
    if (code == 0)
        code = load_numbers(txn, s->env.generations, SPOOL_BLOCK_SLOTS * sizeof(uint64_t),
                            note_block, s);
    memcpy(s->writing, s->committed, s->slots * sizeof(*s->committed));
    return code;
}

static bool meta_is_sane(const spool_meta *m)
{
    return m->format == SPOOL_FORMAT && m->base >= 0 && m->acked >= 0 && m->tail >= m->acked &&
           m->tail < INT64_MAX / 4 && m->base < INT64_MAX / 4;
}

/* Newest seq that is off the disk; also proves that both ends of the events are there, and that nothing lies beyond them. */
static int load_ends(const spool *s, MDB_txn *txn, const spool_meta *m, int64_t *ret_deleted)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat st;
    int64_t first = 0;
    int code = mdb_stat(txn, s->env.events, &st);
    if (code == 0)
        code = mdb_cursor_open(txn, s->env.events, &cursor);
    if (code != 0)
        return code;
    *ret_deleted = m->tail;
    code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (code == 0) {
        first = spool_number_of(&key);
        code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    }
    int64_t last = code == 0 ? spool_number_of(&key) : 0;
    mdb_cursor_close(cursor);
    if (code == MDB_NOTFOUND)
        return m->acked == m->tail ? 0 : MDB_CORRUPTED;
    *ret_deleted = m->tail - (int64_t)st.ms_entries; /* no gaps */
    bool fits = last == m->base + m->tail && first == m->base + *ret_deleted + 1;
    return code == 0 && (!fits || *ret_deleted > m->acked) ? MDB_CORRUPTED : code;
}

static gw_status load(spool *s, gw_error *err)
{
    MDB_txn *txn;
    MDB_val key = spool_val("spool", 5), value;
    spool_meta m;
    int64_t bytes = 0, deleted = 0;
    int code = mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return spool_mdb_error(err, "begin a read", code);
    code = mdb_get(txn, s->env.meta, &key, &value);
    if (code == 0 && value.mv_size != sizeof(m))
        code = MDB_CORRUPTED;
    if (code == 0) {
        memcpy(&m, value.mv_data, sizeof(m));
        code = meta_is_sane(&m) ? load_slots(s, txn) : MDB_CORRUPTED;
    }
    if (code == 0)
        code = load_ends(s, txn, &m, &deleted);
    bytes = spool_events_bytes(&s->env, txn);
    mdb_txn_abort(txn);
    if (code != 0)
        return spool_mdb_error(err, "read", code);
    s->deleted = deleted;
    s->base = m.base;
    spool_publish(s, &m, bytes);
    return GW_OK;
}

/* An environment that was never whole, with nothing in it but a lock. */
static gw_status remove_env(const spool *s, const char *name, gw_error *err)
{
    static const char *const files[] = {"/data.mdb", "/lock.mdb", ""};
    char path[PATH_SIZE], file[PATH_SIZE + 16];
    path_of(s, name, path);
    for (size_t i = 0; i < GW_ARRAY_LEN(files); i++) {
        (void)snprintf(file, sizeof(file), "%s%s", path, files[i]);
        if (remove(file) != 0 && errno != ENOENT)
            return os_error(err, "remove", file);
    }
    return GW_OK;
}

static int write_first(const spool *s, const spool_env *e, const spool_meta *m)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(e->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    for (uint32_t i = 0; i < s->blocks && code == 0; i++)
        code = spool_put_block(s, e, txn, i);
    if (code == 0)
        code = spool_put_meta(e, txn, m);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
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
    spool_env e = {0};
    path_of(s, "spool.new", path);
    gw_status rc = remove_env(s, "spool.new", err);
    if (rc == GW_OK && mkdir(path, 0700) != 0)
        rc = os_error(err, "make", path);
    if (rc == GW_OK)
        rc = env_open(path, s->map_bytes, true, 0, &e, err);
    if (rc != GW_OK)
        return rc;
    spool_meta m = {.format = SPOOL_FORMAT, .opens = s->meta.opens};
    spool_name(&m);
    int code = write_first(s, &e, &m);
    spool_env_close(&e);
    if (code != 0)
        return spool_mdb_error(err, "make", code);
    return sync_dir(path, err);
}

static gw_status move(const spool *s, const char *from, const char *to, gw_error *err)
{
    char a[PATH_SIZE], b[PATH_SIZE];
    path_of(s, from, a);
    path_of(s, to, b);
    if (rename(a, b) != 0)
        return os_error(err, "rename", a);
    return sync_dir(s->dir, err);
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
        spool trial = *s;
        char path[PATH_SIZE];
        path_of(s, "spool.new", path);
        memset(&trial.env, 0, sizeof(trial.env));
        bool whole = env_open(path, s->map_bytes, false, 0, &trial.env, err) == GW_OK &&
                     load(&trial, err) == GW_OK;
        spool_env_close(&trial.env);
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
    path_of(s, "spool", path);
    gw_status rc = env_open(path, s->map_bytes, false, 0, &s->env, err);
    if (rc == GW_OK)
        rc = load(s, err);
    if (rc != GW_OK)
        spool_env_close(&s->env);
    return rc;
}

static gw_status put_aside(spool *s, const char *stem, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    gw_status rc = make_new(s, err);
    if (rc != GW_OK)
        return rc;
    free_name(s, stem, aside);
    spool_env_close(&s->env);
    rc = move(s, "spool", aside, err);
    if (rc == GW_OK)
        rc = move(s, "spool.new", "spool", err);
    return rc == GW_OK ? open_current(s, err) : rc;
}

gw_status spool_replace(spool *s, const char *reason, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    char stem[SPOOL_ASIDE_SIZE], id[2 * SPOOL_ID_SIZE + 1];
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

static bool refuses_everything(const spool *s)
{
    MDB_txn *txn;
    if (!s->env.env)
        return true;
    int code = mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &txn);
    if (code == 0)
        mdb_txn_abort(txn);
    return code == MDB_PANIC;
}

gw_status spool_repair(spool *s, char aside[SPOOL_ASIDE_SIZE], gw_error *err)
{
    aside[0] = '\0';
    if (refuses_everything(s)) {
        spool_env_close(&s->env);
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
        s->slots = slots;
        s->blocks = slots / SPOOL_BLOCK_SLOTS + 1;
        s->committed = calloc(GW_MAX(slots, 1U), sizeof(*s->committed));
        s->writing = calloc(s->blocks, SPOOL_BLOCK_SLOTS * sizeof(*s->writing));
        s->dirty_blocks = calloc(s->blocks, sizeof(*s->dirty_blocks));
    }
    if (!s || !s->committed || !s->writing || !s->dirty_blocks)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a spool");
    *ret = gw_steal(&s);
    return GW_OK;
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
    /* Above the bound: what is in flight when it is reached, and pages that wait to be used again. */
    s->map_bytes = ((size_t)max_bytes + (size_t)max_bytes / 4 + (64U << 20)) & ~(size_t)0xffff;
    *ret_how = (spool_opened){0};
    rc = spool_reopen(s, err);
    if (rc == GW_OK)
        rc = count_opening(s, err);
    if (rc == GW_ERR_DATA_LOSS) {
        ret_how->unreadable = true;
        if (err)
            ret_how->why = *err;
        memset(s->committed, 0, s->slots * sizeof(*s->committed));
        memset(s->writing, 0, s->slots * sizeof(*s->writing));
        rc = put_aside(s, "spool.unreadable", ret_how->aside, err);
    }
    if (rc != GW_OK)
        return rc;
    *ret = gw_steal(&s);
    return GW_OK;
}

gw_status spool_open_readonly(const char *path, spool **ret, gw_error *err)
{
    gw_auto(spool) s = NULL;
    gw_status rc = new_spool(0, &s, err);
    if (rc == GW_OK)
        rc = env_open(path, 0, false, MDB_RDONLY, &s->env, err);
    if (rc == GW_OK)
        rc = load(s, err);
    if (rc != GW_OK)
        return rc;
    *ret = gw_steal(&s);
    return GW_OK;
}

void spool_free(spool *s)
{
    if (!s)
        return;
    spool_env_close(&s->env);
    free(s->committed);
    free(s->writing);
    free(s->dirty_blocks);
    free(s->dir);
    free(s);
}
