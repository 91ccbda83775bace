/*
 * What spool.c (transactions) and spool_env.c (making, opening, replacing environments) share.
 */
#pragma once

#include "spool.h"

#include <lmdb.h>

/* The value of meta's only key, as it stands on disk; native byte order: a spool does not travel. */
typedef struct spool_meta {
    uint32_t format;
    uint8_t id[SPOOL_ID_SIZE];
    uint8_t registered;
    uint8_t unused[2];
    uint8_t boot[SPOOL_BOOT_SIZE];
    int64_t base, tail, acked; /* key of seq 1 is base + 1 */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE];
    uint32_t opens;
} spool_meta;

typedef struct spool_env {
    MDB_env *env; /* NULL: closed */
    MDB_dbi events, generations, meta, positions;
    MDB_dbi slots; /* 0: there is none */
} spool_env;

#define SPOOL_BLOCK_SLOTS                                                                          \
    64 /* a commit touches few blocks: a lane takes the slot that came back last */

struct spool {
    char *dir;
    size_t map_bytes;
    spool_env env;
    spool_meta meta; /* as committed */
    int64_t base; /* meta.base for the reading thread: changes only while nobody reads */
    spool_info info;
    uint64_t *committed; /* generation per slot */
    uint64_t *writing; /* the same, as the transaction will leave it; whole blocks */
    bool *dirty_blocks;
    uint32_t slots, blocks;
    int64_t deleted; /* newest seq that is off the disk */
};

gw_status spool_mdb_error(gw_error *err, const char *what, int code);
MDB_val spool_val(const void *bytes, size_t len);
int64_t spool_number_of(const MDB_val *key); /* of an event: base + seq */
GW_CHECK int spool_put_meta(const spool_env *e, MDB_txn *txn, const spool_meta *m);
GW_CHECK int spool_put_block(const spool *s, const spool_env *e, MDB_txn *txn, uint32_t block);
void spool_publish(spool *s, const spool_meta *m, int64_t bytes);
int64_t spool_events_bytes(const spool_env *e, MDB_txn *txn);
void spool_env_close(spool_env *e);
void spool_name(spool_meta *m); /* a new id, a new boot */
GW_CHECK gw_status spool_reopen(spool *s,
                                gw_error *err); /* after a replacement that failed half-way */
