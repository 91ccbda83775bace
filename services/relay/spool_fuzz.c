/*
 * A spool whose pages are LMDB's but whose values are anybody's: the input's first bytes lie over its meta value, the rest is
 * events, each with its length in a byte before it. It is opened and read to its end, or refused.
 */
#include "spool_internal.h"

#include "testing/fuzz.h"

#include <sys/stat.h>

#define EVENTS_MAX 16

static char folder[] = "/dev/shm/spool_fuzz_XXXXXX";
static char path[64];

static void forget_folder(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char name[96];

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        (void)snprintf(name, sizeof(name), "%s/%s", path, names[i]);
        (void)unlink(name);
    }
    (void)rmdir(path);
    (void)rmdir(folder);
}

/* An environment of its own for writing, as spool_open() would make it, but never synced. */
static spool_env *writer(void)
{
    static spool_env e;
    MDB_txn *txn;

    if (e.env)
        return &e;
    fuzz_require(mkdtemp(folder) != NULL && atexit(forget_folder) == 0);
    (void)snprintf(path, sizeof(path), "%s/spool", folder);
    fuzz_require(mkdir(path, 0700) == 0 && mdb_env_create(&e.env) == 0);
    fuzz_require(mdb_env_set_maxdbs(e.env, 3) == 0);
    fuzz_require(mdb_env_open(e.env, path, MDB_NOTLS | MDB_NOSYNC, 0600) == 0);
    fuzz_require(mdb_txn_begin(e.env, NULL, 0, &txn) == 0);
    fuzz_require(mdb_dbi_open(txn, "events", MDB_CREATE, &e.events) == 0);
    fuzz_require(mdb_dbi_open(txn, "slots", MDB_CREATE | MDB_INTEGERKEY, &e.slots) == 0);
    fuzz_require(mdb_dbi_open(txn, "meta", MDB_CREATE, &e.meta) == 0);
    fuzz_require(mdb_txn_commit(txn) == 0);
    return &e;
}

static void put(MDB_txn *txn, MDB_dbi db, gw_str key_bytes, gw_str value_bytes)
{
    MDB_val key = spool_val(key_bytes.ptr, key_bytes.len);
    MDB_val value = spool_val(value_bytes.ptr, value_bytes.len);
    fuzz_require(mdb_put(txn, db, &key, &value, 0) == 0);
}

static size_t put_events(MDB_txn *txn, const spool_env *e, gw_str rest)
{
    size_t count = 0;

    while (rest.len > 0 && count < EVENTS_MAX) {
        size_t len = (uint8_t)rest.ptr[0];
        uint8_t key[8] = {0};
        key[7] = (uint8_t)++count;
        put(txn, e->events, gw_str_n(key, sizeof(key)), gw_str_slice(rest, 1, 1 + len));
        rest = gw_str_slice(rest, 1 + len, rest.len);
    }
    return count;
}

static void write_spool(gw_str input)
{
    const spool_env *e = writer();
    spool_meta m = {.format = SPOOL_FORMAT};
    size_t over = GW_MIN(input.len, sizeof(m));
    MDB_txn *txn;

    fuzz_require(mdb_txn_begin(e->env, NULL, 0, &txn) == 0);
    fuzz_require(mdb_drop(txn, e->events, 0) == 0);
    m.tail = (int64_t)put_events(txn, e, gw_str_slice(input, over, input.len));
    for (size_t i = 0; i < over; i++)
        ((uint8_t *)&m)[i] ^= (uint8_t)input.ptr[i]; /* zeroes leave it sound */
    put(txn, e->meta, GW_STR("spool"), gw_str_n(&m, sizeof(m)));
    fuzz_require(mdb_txn_commit(txn) == 0);
}

static void read_spool(spool *s)
{
    static spool_frame frame;
    const spool_info *info = spool_get_info(s);
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    int64_t time_ms;
    int64_t found = 0;
    gw_error err = {0};

    fuzz_require(info->acked >= 0 && info->tail >= info->acked);
    for (int64_t seq = info->acked + 1; seq <= info->tail && seq <= info->acked + EVENTS_MAX; seq++)
        if (spool_find(s, seq, id, &time_ms))
            found++;
    fuzz_require(found <= info->tail - info->acked);
    int64_t next = info->acked + 1;
    while (spool_read(s, next, SPOOL_FRAME_BYTES, &frame, &err) == GW_OK && frame.count > 0) {
        fuzz_require(frame.count <= SPOOL_FRAME_EVENTS && frame.bytes <= SPOOL_FRAME_BYTES);
        size_t bytes = 0;
        for (uint32_t i = 0; i < frame.count; i++)
            bytes += frame.events[i].len;
        fuzz_require(bytes == frame.bytes);
        next += frame.count;
    }
    fuzz_require(next <= info->tail + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spool *s = NULL;
    gw_error err = {0};

    write_spool(gw_str_n(data, size));
    gw_status rc = spool_open_readonly(path, &s, &err);
    if (rc == GW_OK)
        read_spool(s);
    else
        fuzz_require(s == NULL && err.message[0]);
    spool_free(s);
    return 0;
}
