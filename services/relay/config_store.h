/*
 * Configuration store: where the relay's providers, routes and prices come from, and the snapshot in force.
 *
 *     settings files ──┐
 *     MongoDB ─────────┴─▶ build ─▶ snapshot in force ─▶ `changed`
 *     a price book whose time has come ─▲
 *        └─▶ RELAY_STATE_DIR/config.snapshot, read at the next start when MongoDB is away
 *
 * In MongoDB: `providers` (_id = name), `model_routes`, `price_books` (price_book_store.h), each document the message's JSON; and
 * `relay_versions` {_id: "config", version}, raised by every write and polled every 500 ms. As a write and its raise are two
 * steps, everything is read again each 30 s in any case.
 *
 * Thread: one loop; reading and writing on MongoDB's workers.
 */
#pragma once

#include "mongo/mongo.h"
#include "relay_config.h"

#define PROVIDERS_COLLECTION   "providers"
#define ROUTES_COLLECTION      "model_routes"
#define PRICE_BOOKS_COLLECTION "price_books"
#define VERSIONS_COLLECTION    "relay_versions"
#define PRICE_BOOK_INDEX       "index"

typedef struct config_store config_store;

typedef struct config_store_options {
    gw_mongo *mongo; /* NULL: files only */
    const char *config_file; /* NULL: none */
    const char *price_book_file; /* NULL: none */
    const char *credentials_dir; /* NULL: no file: credentials */
    const char *state_dir; /* NULL: no snapshot on disk */
    bool signs_in; /* users can be signed in to providers (credential_source) */
    gw_log *log;
    void (*changed)(
        void *arg,
        const relay_config *now); /* after each swap, not for the first snapshot; may be NULL */
    void *arg;
} config_store_options;

/* Reads the files; mistakes in them are GW_ERR_INVALID_ARGUMENT, each logged. Then the snapshot on disk; a bad one is logged and ignored. */
GW_CHECK gw_status config_store_new(gw_loop *l, const config_store_options *o, config_store **ret,
                                    gw_error *err);
/* Before the gw_mongo it uses is freed. */
void config_store_free(config_store *s);

/* Borrowed until control returns to the loop; relay_config_ref() to keep. Never NULL. */
const relay_config *config_store_current(const config_store *s);
/*
 * Reads again now, after a write of our own: `done` runs on the loop once a reading that began later is over, so that who is
 * answered then finds the write in force. A reading that fails ends the wait too; the next one repeats it. The caller keeps
 * `w` until then.
 */
typedef struct config_store_wait {
    void (*done)(struct config_store_wait *w);
    struct config_store_wait *next; /* the store's */
} config_store_wait;
void config_store_refresh(config_store *s, config_store_wait *w);

/*
 * Reads files and credentials again now. Mistakes in the files are logged, each, and what was in force stays:
 * GW_ERR_INVALID_ARGUMENT, GW_ERR_IO.
 */
GW_CHECK gw_status config_store_reload(config_store *s, gw_error *err);

/* The files' own entries, for lists over the API; borrowed for the store's life, though a reload brings others. */
struct Apirelay__Relay__V1__RelayConfigFile;
struct Apirelay__Relay__V1__PriceBook;
const struct Apirelay__Relay__V1__RelayConfigFile *
config_store_file(const config_store *s); /* never NULL */
const struct Apirelay__Relay__V1__PriceBook *
config_store_file_prices(const config_store *s); /* NULL: none */
