#include "import.h"

#include "key_import.h"
#include "messages.h"
#include "json/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BATCH          500
#define LINE_MAX_BYTES (256UL * 1024)
#define BAD_LINES_MAX  10

typedef struct import_key {
    minted_key minted;
    char phc[GW_ARGON2_PHC_SIZE];
} import_key;

typedef struct import {
    const import_options *options;
    const gw_db *db;
    gw_arena *arena; /* of one line while checking, of one batch while making */
    gw_buf bad;
    size_t bad_count;
    api_key_record records[BATCH];
    import_key keys[BATCH];
    size_t count;
    int64_t now_ms, made;
} import;

/* ---- one line ---- */

static gw_status read_fields(import *im, yyjson_mut_doc *doc, gw_str given, api_key_record *k,
                             minted_key *minted, gw_error *err)
{
    ProtobufCMessage *from = NULL;
    size_t len = 0;
    char *text = yyjson_mut_write(doc, 0, &len);
    if (!text)
        return gw_fail(err, GW_ERR_NO_MEMORY, "line");
    gw_status rc = gw_json_read(&apirelay__auth__v1__api_key__descriptor, gw_str_n(text, len),
                                &from, NULL, err);
    free(text);
    if (rc != GW_OK)
        return rc;
    rc = key_import_read(im->arena, im->options->peppers, (const void *)from, given, im->now_ms, k,
                         minted, err);
    protobuf_c_message_free_unpacked(from, NULL); /* the record has a copy */
    return rc;
}

static gw_status read_line(import *im, gw_str line, api_key_record *k, minted_key *minted,
                           gw_error *err)
{
    char *text = message_text(im->arena, line);
    yyjson_doc *parsed = yyjson_read(text, line.len, 0);
    yyjson_mut_doc *doc = parsed ? yyjson_doc_mut_copy(parsed, NULL) : NULL;
    yyjson_mut_val *root = doc ? yyjson_mut_doc_get_root(doc) : NULL;
    gw_status rc;
    if (!yyjson_mut_is_obj(root)) {
        rc = gw_fail(err, GW_ERR_INVALID_JSON, "is not a JSON object");
    } else {
        yyjson_mut_val *key = yyjson_mut_obj_remove_key(root, "key");
        const char *given = yyjson_mut_get_str(key);
        if (key && !given)
            rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT, "key: must be a string");
        else
            rc = read_fields(im, doc, gw_str_of(given), k, minted, err);
    }
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(parsed);
    return rc;
}

/* ---- all lines ---- */

typedef gw_status (*line_fn)(import *im, gw_str line, size_t number, gw_error *err);

static gw_status each_line(import *im, line_fn fn, gw_error *err)
{
    FILE *f = fopen(im->options->path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    gw_status rc = GW_OK;
    if (!f)
        return gw_fail(err, GW_ERR_IO, "%s: %s", im->options->path, strerror(errno));
    for (size_t number = 1; rc == GW_OK && (len = getline(&line, &cap, f)) >= 0; number++) {
        gw_str text = gw_str_n(line, (size_t)len);
        while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
            text.len--;
        if (gw_str_trim(text).len == 0)
            continue;
        rc = text.len > LINE_MAX_BYTES
                 ? gw_fail(err, GW_ERR_INVALID_ARGUMENT, "line %zu is too long", number)
                 : fn(im, text, number, err);
    }
    if (rc == GW_OK && ferror(f))
        rc = gw_fail(err, GW_ERR_IO, "%s: %s", im->options->path, strerror(errno));
    if (line)
        gw_secret_wipe(line, cap);
    free(line);
    fclose(f);
    return rc;
}

static gw_status check_line(import *im, gw_str line, size_t number, gw_error *err)
{
    gw_error why = {0};
    (void)err;
    gw_status rc = read_line(im, line, &im->records[0], &im->keys[0].minted, &why);
    gw_arena_reset(im->arena);
    if (rc != GW_OK && ++im->bad_count <= BAD_LINES_MAX)
        gw_buf_appendf(&im->bad, "%sline %zu: %s%s%s", im->bad.len ? "; " : "", number, why.field,
                       *why.field ? ": " : "", why.message);
    return GW_OK;
}

/* ---- a batch ---- */

typedef struct hashing {
    import *im;
    atomic_size_t next;
    atomic_bool failed;
} hashing;

static void *hash_keys(void *arg)
{
    hashing *h = arg;
    size_t i;
    while ((i = atomic_fetch_add(&h->next, 1)) < h->im->count) {
        import_key *k = &h->im->keys[i];
        if (gw_argon2id_hash(gw_str_of(k->minted.text), gw_argon2_default, k->phc, NULL) != GW_OK)
            atomic_store(&h->failed, true);
    }
    return NULL;
}

static gw_status hash_batch(import *im, gw_error *err)
{
    pthread_t threads[16];
    unsigned started = 0;
    hashing h = {.im = im};
    while (started < GW_MIN(im->options->threads, 16U) - 1 &&
           pthread_create(&threads[started], NULL, hash_keys, &h) == 0)
        started++;
    hash_keys(&h);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&h.failed))
        return gw_fail(err, GW_ERR_INTERNAL, "a key could not be hashed");
    for (size_t i = 0; i < im->count; i++)
        im->records[i].current.phc = gw_str_of(im->keys[i].phc);
    return GW_OK;
}

static gw_status print_batch(const import *im, gw_error *err)
{
    for (size_t i = 0; i < im->count; i++)
        fprintf(im->options->out, "{\"keyId\":\"%s\",\"key\":\"%s\"}\n", im->keys[i].minted.key_id,
                im->keys[i].minted.text);
    if (fflush(im->options->out) != 0)
        return gw_fail(err, GW_ERR_IO, "the made keys could not be written: %s", strerror(errno));
    return GW_OK;
}

static gw_status store_batch(import *im, gw_error *err)
{
    if (im->count == 0)
        return GW_OK;
    gw_status rc = im->options->argon2 ? hash_batch(im, err) : GW_OK;
    if (rc == GW_OK)
        rc = key_import_store(im->db, im->arena, im->records, im->count, im->now_ms, err);
    if (rc == GW_OK)
        rc = print_batch(im, err);
    if (rc == GW_OK)
        im->made += (int64_t)im->count;
    im->count = 0;
    gw_arena_reset(im->arena);
    return rc;
}

static gw_status make_line(import *im, gw_str line, size_t number, gw_error *err)
{
    gw_status rc = read_line(im, line, &im->records[im->count], &im->keys[im->count].minted, err);
    if (rc != GW_OK) {
        (void)gw_error_prefix(err, "line %zu", number);
        return rc;
    }
    return ++im->count == BATCH ? store_batch(im, err) : GW_OK;
}

gw_status import_run(const gw_db *d, const import_options *o, int64_t *ret_made, gw_error *err)
{
    gw_auto_free import *im = calloc(1, sizeof(*im));
    gw_auto(gw_arena) arena = gw_arena_new();
    if (!im || !arena)
        return gw_fail(err, GW_ERR_NO_MEMORY, "import");
    im->options = o;
    im->db = d;
    im->arena = arena;
    im->now_ms = gw_clock_wall_ms(&gw_system_clock);
    gw_status rc = each_line(im, check_line, err);
    if (rc == GW_OK && im->bad_count)
        rc = gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%zu bad lines, nothing was made: %s",
                     im->bad_count, im->bad.data ? im->bad.data : "");
    gw_buf_fini(&im->bad);
    if (rc == GW_OK)
        rc = each_line(im, make_line, err);
    if (rc == GW_OK)
        rc = store_batch(im, err);
    *ret_made = im->made;
    return rc;
}
