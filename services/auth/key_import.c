#include "key_import.h"

#include "api_key_new.h"
#include "core/id.h"
#include "key_changes.h"
#include "key_settings_store.h"
#include "key_store.h"
#include "messages.h"

#include <stdio.h>

static gw_status take_given_key(const peppers *p, gw_str key, const char *env, minted_key *ret,
                                gw_error *err)
{
    gw_key_parts parts;
    size_t count;
    const gw_tag_key *keys = peppers_tag_keys(p, &count);
    if (!gw_key_parse(key, &parts) || !gw_key_tag_is_valid(keys, count, &parts))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "key: is none of ours (shape, tag or pepper)");
    if (!gw_str_eq_c(parts.env, env))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "key: has another env");
    snprintf(ret->text, sizeof(ret->text), GW_STR_FMT, GW_STR_ARG(key));
    snprintf(ret->key_id, sizeof(ret->key_id), GW_STR_FMT, GW_STR_ARG(parts.key_id));
    return GW_OK;
}

static gw_status check_fields(gw_arena *a, const api_key_view *wanted, int64_t now_ms,
                              api_key_view *ret, gw_error *err)
{
    gw_violations v = {0};
    gw_status rc = api_key_new_read(a, wanted, now_ms, false, ret, &v, err);
    return rc == GW_OK ? gw_violations_status(&v, err) : rc;
}

gw_status key_import_read(gw_arena *a, const peppers *p, const api_key_view *wanted, gw_str given,
                          int64_t now_ms, api_key_record *ret, minted_key *ret_minted,
                          gw_error *err)
{
    api_key_view *view = message_new(a, &apirelay__auth__v1__api_key__descriptor);
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    minted_key minted;
    api_key_record record = {.view = view, .version = 1};
    gw_status rc = view ? check_fields(a, wanted, now_ms, view, err)
                        : gw_fail(err, GW_ERR_NO_MEMORY, "key to import");
    if (rc == GW_OK)
        rc = given.len ? take_given_key(p, given, view->env, &minted, err)
                       : key_mint(p, gw_str_of(view->env), GW_STR(""), &minted, err);
    if (rc == GW_OK && !key_mint_secret(a, p, gw_str_of(minted.text), now_ms, &record.current))
        rc = gw_fail(err, GW_ERR_INTERNAL, "the key does not parse");
    if (rc != GW_OK)
        return rc;
    gw_object_id_make(&id, now_ms);
    gw_object_id_format(&id, hex);
    view->id = message_text(a, gw_str_of(hex));
    view->key_id = message_text(a, gw_str_of(minted.key_id));
    view->created_at = view->updated_at = message_time(a, now_ms);
    *ret = record;
    *ret_minted = minted;
    return GW_OK;
}

/* One number for all: nobody holds anything of keys that are new. */
gw_status key_import_store(const gw_db *d, gw_arena *a, api_key_record *keys, size_t n,
                           int64_t now_ms, gw_error *err)
{
    int64_t generation = 0;
    key_settings settings;
    gw_status rc = key_settings_store_get(d, a, &settings, err);
    if (rc != GW_OK)
        return rc;
    const change_subject subject =
        change_subject_of(CHANGE_OF_KEY, gw_str_of(keys[0].view->key_id));
    rc = key_changes_announce(d, &subject, now_ms, &generation, err);
    for (size_t i = 0; rc == GW_OK && i < n; i++) {
        keys[i].view->generation = generation;
        rc = api_key_new_complete(a, &settings, keys[i].view, err);
    }
    return rc == GW_OK ? key_store_insert_many(d, keys, n, err) : rc;
}
