#include "user_token_book.h"

#include "relay_metrics.h"

#include "core/map.h"
#include "crypto/crypto.h"

#include <stdlib.h>

/* What is known of a user at an audience. */
typedef struct token_entry {
    shared_read read;
    user_token_book *book;
    user_token_query query;
    bool is_known; /* the query's state and token */
    unsigned signer_number; /* of whom it is, or is being asked of */
    int64_t asked_ms; /* when its read began */
    size_t name_len;
    char name[]; /* of the map: the user's id and the audience */
} token_entry;

struct user_token_book {
    shared_reads reads;
    user_token_book_options o;
    oidc_signer *signer; /* NULL: none yet */
    unsigned signer_number; /* a new one with each */
    gw_map *entries; /* by name */
};

static void drop_token(token_entry *e)
{
    e->is_known = false;
    if (e->query.token.data)
        gw_secret_wipe(e->query.token.data, e->query.token.cap);
    gw_buf_fini(&e->query.token);
}

/* ---- answers ---- */

static void count(const user_token_book *b, user_token_answer answer)
{
    static const char *const names[] = {
        [USER_TOKEN_IS_GIVEN] = "signed",        [USER_TOKEN_IS_MISSING] = "missing",
        [USER_TOKEN_IS_LOCAL] = "local",         [USER_TOKEN_IS_ELSEWHERE] = "elsewhere",
        [USER_TOKEN_IS_AMBIGUOUS] = "ambiguous", [USER_TOKEN_IS_UNKNOWN] = "unknown"};

    if (b->o.metrics)
        gw_metric_count(b->o.metrics, M_relay_user_sign_ins_total, gw_str_of(names[answer]));
}

/* ---- reads ---- */

static void begin(shared_read *r)
{
    token_entry *e = GW_CONTAINER_OF(r, token_entry, read);
    user_token_book *b = e->book;

    drop_token(e);
    e->signer_number = b->signer_number;
    e->asked_ms = gw_loop_now_ms(b->reads.loop);
    e->query.signer = oidc_signer_ref(b->signer);
    e->query.now_s = gw_clock_wall_ms(gw_loop_clock(b->reads.loop)) / 1000;
    b->o.store->ops->find(b->o.store, &e->query);
}

static void on_read(user_token_query *q, gw_status rc, const gw_error *err)
{
    token_entry *e = GW_CONTAINER_OF(q, token_entry, query);
    bool is_outdated = e->signer_number != e->book->signer_number;

    oidc_signer_unref(gw_steal(&q->signer));
    e->is_known = rc == GW_OK;
    if (rc != GW_OK || is_outdated)
        drop_token(e);
    shared_read_ended(&e->read, rc, err, is_outdated); /* once more, with the key of now */
}

/* ---- entries ---- */

static void entry_free(void *arg)
{
    token_entry *e = arg;

    shared_read_fini(&e->read);
    drop_token(e);
    free(e);
}

static void make_room(user_token_book *b)
{
    shared_read *oldest = shared_reads_oldest(&b->reads);

    if (!oldest || gw_map_count(b->entries) < USER_TOKENS_MAX)
        return;
    const token_entry *e = GW_CONTAINER_OF(oldest, token_entry, read);
    (void)gw_map_remove(b->entries, gw_str_n(e->name, e->name_len));
}

static token_entry *make_entry(user_token_book *b, gw_str name)
{
    token_entry *e = calloc(1, sizeof(*e) + name.len);

    if (!e)
        return NULL;
    e->book = b;
    e->name_len = name.len;
    memcpy(e->name, name.ptr, name.len);
    memcpy(e->query.user, name.ptr, USER_TOKEN_ID_BYTES);
    e->query.audience = gw_str_slice(gw_str_n(e->name, name.len), USER_TOKEN_ID_BYTES, name.len);
    e->query.done = on_read;
    if (!gw_map_put(b->entries, name, e)) {
        free(e);
        return NULL;
    }
    shared_read_init(&e->read, &b->reads);
    return e;
}

/* NULL when out of memory, or while as many as are remembered are all being read. */
static token_entry *entry_of(user_token_book *b, const uint8_t user[USER_TOKEN_ID_BYTES],
                             gw_str audience)
{
    gw_auto_buf text = {0};

    gw_buf_append(&text, user, USER_TOKEN_ID_BYTES);
    gw_buf_append_str(&text, audience);
    if (gw_buf_failed(&text))
        return NULL;
    token_entry *e = gw_map_get(b->entries, gw_buf_str(&text));
    if (e)
        return e;
    make_room(b);
    return gw_map_count(b->entries) < USER_TOKENS_MAX ? make_entry(b, gw_buf_str(&text)) : NULL;
}

/* From when the read began: the token holds from then on. */
static bool is_fresh(const token_entry *e, int64_t now_ms)
{
    int64_t kept_ms =
        e->query.state == USER_TOKEN_SIGNED ? USER_TOKEN_KEPT_MS : USER_TOKEN_REFUSE_MS;

    return e->is_known && e->signer_number == e->book->signer_number &&
           now_ms - e->asked_ms < kept_ms;
}

/* ---- asking ---- */

static user_token_answer give(const token_entry *e, gw_arena *arena, gw_str *ret)
{
    gw_str copy = gw_arena_join_secret(arena, gw_buf_str(&e->query.token), GW_STR(""));

    if (!copy.ptr)
        return USER_TOKEN_IS_UNKNOWN;
    *ret = copy;
    return USER_TOKEN_IS_GIVEN;
}

static user_token_answer tell(const token_entry *e, gw_arena *arena, gw_str *ret)
{
    switch (e->query.state) {
    case USER_TOKEN_SIGNED:
        return give(e, arena, ret);
    case USER_TOKEN_LOCAL:
        return USER_TOKEN_IS_LOCAL;
    case USER_TOKEN_ELSEWHERE:
        return USER_TOKEN_IS_ELSEWHERE;
    case USER_TOKEN_AMBIGUOUS:
        return USER_TOKEN_IS_AMBIGUOUS;
    default:
        return USER_TOKEN_IS_MISSING;
    }
}

user_token_answer user_token_book_get(user_token_book *b, const uint8_t user[USER_TOKEN_ID_BYTES],
                                      gw_str audience, gw_arena *arena, gw_str *ret, shared_wait *w)
{
    token_entry *e = entry_of(b, user, audience);
    user_token_answer answer = USER_TOKEN_IS_UNKNOWN;

    gw_list_init(&w->node);
    if (e && is_fresh(e, gw_loop_now_ms(b->reads.loop)))
        answer = tell(e, arena, ret);
    else if (e && b->signer && shared_read_ask(&e->read, w))
        return USER_TOKEN_WAITS;
    if (e)
        shared_read_used(&e->read);
    count(b, answer);
    return answer;
}

/* ---- life ---- */

void user_token_book_set_signer(user_token_book *b, oidc_signer *s)
{
    oidc_signer *before = b->signer;

    b->signer = oidc_signer_ref(s);
    b->signer_number++;
    oidc_signer_unref(before);
}

gw_str user_token_book_jwks(const user_token_book *b)
{
    return b->signer ? oidc_signer_jwks(b->signer) : GW_STR("");
}

user_token_book *user_token_book_new(gw_loop *l, const user_token_book_options *o)
{
    user_token_book *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->o = *o;
    shared_reads_init(&b->reads, l,
                      &(shared_reads_options){.reads_max = USER_TOKEN_READS_MAX,
                                              .wait_ms = USER_TOKEN_WAIT_MS,
                                              .retry_ms = USER_TOKEN_RETRY_MS,
                                              .what = "a user",
                                              .lost = "librechat_users_lost",
                                              .found = "librechat_users_found",
                                              .begin = begin,
                                              .log = o->log});
    b->entries = gw_map_new(entry_free);
    if (b->entries)
        return b;
    free(b);
    return NULL;
}

void user_token_book_free(user_token_book *b)
{
    if (!b)
        return;
    gw_map_free(b->entries);
    oidc_signer_unref(b->signer);
    free(b);
}
