#include "user_token_store_mongo.h"

#include <stdlib.h>

#define USERS       "users"
#define SUBJECT_MAX 255 /* OpenID Connect Core §2 */

typedef struct mongo_store {
    user_token_store base;
    librechat_db db;
} mongo_store;

/* ---- on a worker ---- */

/* What LibreChat has of the user. */
typedef struct found_user {
    gw_str issuer; /* that he has to be of */
    user_token_state state;
    gw_buf subject;
} found_user;

static gw_status take_user(void *arg, const bson_t *doc, gw_error *err)
{
    found_user *u = arg;
    gw_str provider = GW_STR(""), subject = GW_STR(""), issuer = GW_STR("");

    (void)gw_bson_str(doc, "provider", &provider);
    (void)gw_bson_str(doc, "openidId", &subject);
    (void)gw_bson_str(doc, "openidIssuer", &issuer);
    if (!gw_str_eq_c(provider, "openid")) {
        u->state = USER_TOKEN_LOCAL;
    } else if (subject.len < 1 || subject.len > SUBJECT_MAX || !gw_str_eq(issuer, u->issuer)) {
        u->state = USER_TOKEN_ELSEWHERE;
    } else {
        u->state = USER_TOKEN_SIGNED;
        gw_buf_append_str(&u->subject, subject);
    }
    return gw_buf_failed(&u->subject) ? gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a user")
                                      : GW_OK;
}

static void want_fields(bson_t *opts, const char *const *names, size_t count)
{
    bson_t fields;

    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    for (size_t i = 0; i < count; i++)
        BSON_APPEND_INT32(&fields, names[i], 1);
    bson_append_document_end(opts, &fields);
}

static gw_status read_user(gw_db_reader *librechat, const uint8_t user[USER_TOKEN_ID_BYTES],
                           found_user *ret, gw_error *err)
{
    static const char *const names[] = {"provider", "openidId", "openidIssuer"};
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_object_id id;

    memcpy(id.bytes, user, sizeof(id.bytes));
    gw_bson_append_oid(&filter, "_id", &id);
    want_fields(&opts, names, GW_ARRAY_LEN(names));
    gw_db_append_page(&opts, "_id", 1, 1);
    return gw_db_reader_find(librechat, USERS, &filter, &opts, take_user, ret, err);
}

static gw_status count_user(void *arg, const bson_t *doc, gw_error *err)
{
    (void)doc;
    (void)err;
    ++*(size_t *)arg;
    return GW_OK;
}

/*
 * LibreChat looks for the token's subject among users of its issuer and, when that is what it signs in with itself, among those
 * of whom it has not kept any. Whoever else it might find there must not be taken for this one: with tenants names come twice.
 */
static gw_status check_alone(gw_db_reader *librechat, found_user *u, gw_error *err)
{
    static const char *const names[] = {"_id"};
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t of, issuers;
    size_t count = 0;

    gw_bson_append_str(&filter, "openidId", gw_buf_str(&u->subject));
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "openidIssuer", &of);
    BSON_APPEND_ARRAY_BEGIN(&of, "$in", &issuers);
    gw_bson_append_str(&issuers, "0", u->issuer);
    gw_bson_append_str(&issuers, "1", GW_STR(""));
    BSON_APPEND_NULL(&issuers, "2"); /* or not there */
    bson_append_array_end(&of, &issuers);
    bson_append_document_end(&filter, &of);
    want_fields(&opts, names, GW_ARRAY_LEN(names));
    BSON_APPEND_INT64(&opts, "limit", 2);
    gw_status rc = gw_db_reader_find(librechat, USERS, &filter, &opts, count_user, &count, err);
    if (rc == GW_OK && count > 1)
        u->state = USER_TOKEN_AMBIGUOUS;
    return rc;
}

static gw_status find_and_sign(gw_db_reader *librechat, user_token_query *q, gw_error *err)
{
    found_user u = {.issuer = oidc_signer_issuer(q->signer), .state = USER_TOKEN_MISSING};
    gw_status rc = read_user(librechat, q->user, &u, err);

    if (rc == GW_OK && u.state == USER_TOKEN_SIGNED)
        rc = check_alone(librechat, &u, err);
    if (rc == GW_OK && u.state == USER_TOKEN_SIGNED)
        rc = oidc_signer_sign(q->signer, gw_buf_str(&u.subject), q->audience, q->now_s, &q->token,
                              err);
    gw_buf_fini(&u.subject);
    q->state = u.state;
    return rc;
}

static gw_status run_find(librechat_read *r, gw_db_reader *librechat, gw_error *err)
{
    user_token_query *q = GW_CONTAINER_OF(r, user_token_query, read);

    return find_and_sign(librechat, q, err);
}

/* ---- on the loop ---- */

static void find_done(librechat_read *r, gw_status rc, const gw_error *err)
{
    user_token_query *q = GW_CONTAINER_OF(r, user_token_query, read);

    q->done(q, rc, err);
}

static void mongo_find(user_token_store *s, user_token_query *q)
{
    q->read = (librechat_read){.run = run_find, .done = find_done};
    librechat_read_start(&q->read, &GW_CONTAINER_OF(s, mongo_store, base)->db);
}

user_token_store *user_token_store_mongo_new(gw_mongo *m, const char *database)
{
    static const user_token_store_ops ops = {mongo_find};
    mongo_store *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->base.ops = &ops;
    if (librechat_db_init(&s->db, m, database))
        return &s->base;
    free(s);
    return NULL;
}

void user_token_store_mongo_free(user_token_store *s)
{
    if (!s)
        return;
    mongo_store *m = GW_CONTAINER_OF(s, mongo_store, base);
    librechat_db_fini(&m->db);
    free(m);
}
