#include "balance_store_mongo.h"

#include <stdlib.h>

#define BALANCES "balances"

typedef struct mongo_store {
    balance_store base;
    librechat_db db;
} mongo_store;

/* ---- on a worker ---- */

static gw_status take_balance(void *arg, const bson_t *doc, gw_error *err)
{
    balance_state *state = arg;
    double credits = 0, reserved = 0;

    (void)err;
    (void)gw_bson_double(doc, "tokenCredits", &credits);
    (void)gw_bson_double(doc, "reservedCredits", &reserved);
    *state = credits - GW_MAX(reserved, 0) > 0 ? BALANCE_ENOUGH : BALANCE_EMPTY;
    return GW_OK;
}

gw_status balance_read(gw_db_reader *librechat, const uint8_t user[BALANCE_USER_BYTES],
                       balance_state *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_object_id id;
    balance_state state = BALANCE_MISSING;
    bson_t fields;

    memcpy(id.bytes, user, sizeof(id.bytes));
    gw_bson_append_oid(&filter, "user", &id);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "tokenCredits", 1);
    BSON_APPEND_INT32(&fields, "reservedCredits", 1);
    bson_append_document_end(&opts, &fields);
    gw_db_append_page(&opts, "_id", 1, 1);
    gw_status rc =
        gw_db_reader_find(librechat, BALANCES, &filter, &opts, take_balance, &state, err);
    if (rc == GW_OK)
        *ret = state;
    return rc;
}

static gw_status run_find(librechat_read *r, gw_db_reader *librechat, gw_error *err)
{
    balance_query *q = GW_CONTAINER_OF(r, balance_query, read);

    return balance_read(librechat, q->user, &q->state, err);
}

/* ---- on the loop ---- */

static void find_done(librechat_read *r, gw_status rc, const gw_error *err)
{
    balance_query *q = GW_CONTAINER_OF(r, balance_query, read);

    q->done(q, rc, err);
}

static void mongo_find(balance_store *s, balance_query *q)
{
    q->read = (librechat_read){.run = run_find, .done = find_done};
    librechat_read_start(&q->read, &GW_CONTAINER_OF(s, mongo_store, base)->db);
}

balance_store *balance_store_mongo_new(gw_mongo *m, const char *database)
{
    static const balance_store_ops ops = {mongo_find};
    mongo_store *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->base.ops = &ops;
    if (librechat_db_init(&s->db, m, database))
        return &s->base;
    free(s);
    return NULL;
}

void balance_store_mongo_free(balance_store *s)
{
    if (!s)
        return;
    mongo_store *m = GW_CONTAINER_OF(s, mongo_store, base);
    librechat_db_fini(&m->db);
    free(m);
}
