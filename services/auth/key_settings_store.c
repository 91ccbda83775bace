#include "key_settings_store.h"

#include "api_key_bson.h"
#include "message_bson.h"
#include "messages.h"

#define DEFAULTS     "key_defaults"
#define CHANGE_TRIES 32

typedef Apirelay__Auth__V1__EnvironmentSettings environment_view;

static void append_id(bson_t *doc)
{
    gw_bson_append_str(doc, "_id", GW_STR("settings"));
}

/* ---- documents ---- */

static void append_environments(const key_settings_view *v, bson_t *doc)
{
    bson_t list, item;
    BSON_APPEND_ARRAY_BEGIN(doc, "environments", &list);
    for (size_t i = 0; i < v->n_environments; i++) {
        char buffer[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));
        BSON_APPEND_DOCUMENT_BEGIN(&list, key, &item);
        message_to_bson(&v->environments[i]->base, &item);
        bson_append_document_end(&list, &item);
    }
    bson_append_array_end(doc, &list);
}

static void append_settings(const key_settings *s, bson_t *doc)
{
    const key_settings_view *v = s->view;
    bson_t defaults;
    append_id(doc);
    BSON_APPEND_DOCUMENT_BEGIN(doc, "keyDefaults", &defaults);
    if (v->key_defaults)
        message_to_bson(&v->key_defaults->base, &defaults);
    bson_append_document_end(doc, &defaults);
    append_environments(v, doc);
    if (v->rotation_due_percent_presence_case)
        BSON_APPEND_INT64(doc, "rotationDuePercent", v->rotation_due_percent);
    BSON_APPEND_INT64(doc, "version", s->version);
    BSON_APPEND_DATE_TIME(doc, "updatedAt", message_time_ms(v->updated_at));
}

static gw_status read_defaults(gw_arena *a, const bson_t *doc, key_settings_view *v, gw_error *err)
{
    bson_t defaults;
    api_key_view parts;
    if (!gw_bson_has(doc, "keyDefaults"))
        return GW_OK;
    if (!gw_bson_doc(doc, "keyDefaults", &defaults))
        return gw_fail(err, GW_ERR_DATA_LOSS, "stored keyDefaults cannot be read");
    gw_status rc = api_key_parts_from_bson(a, &defaults, &parts, err);
    if (rc != GW_OK)
        return rc;
    v->key_defaults = message_new(a, &apirelay__auth__v1__key_defaults__descriptor);
    if (!v->key_defaults)
        return gw_fail(err, GW_ERR_NO_MEMORY, "settings");
    v->key_defaults->permissions = parts.permissions;
    v->key_defaults->limits = parts.limits;
    v->key_defaults->security = parts.security;
    return GW_OK;
}

static bool environment_from_bson(gw_arena *a, const bson_iter_t *at, environment_view *e)
{
    uint32_t len;
    const uint8_t *data;
    bson_t item;
    int64_t days;
    if (!BSON_ITER_HOLDS_DOCUMENT(at))
        return false;
    bson_iter_document(at, &len, &data);
    if (!bson_init_static(&item, data, len))
        return false;
    message_from_bson(a, &e->base, &item);
    return *e->env &&
           (!gw_bson_has(&item, "maxAgeDays") || gw_bson_int64(&item, "maxAgeDays", &days));
}

static gw_status read_environment(gw_arena *a, const bson_iter_t *at, environment_view **ret,
                                  gw_error *err)
{
    environment_view *e = message_new(a, &apirelay__auth__v1__environment_settings__descriptor);
    if (!e)
        return gw_fail(err, GW_ERR_NO_MEMORY, "settings");
    if (!environment_from_bson(a, at, e))
        return gw_fail(err, GW_ERR_DATA_LOSS, "stored environments cannot be read");
    *ret = e;
    return GW_OK;
}

static gw_status read_environments(gw_arena *a, const bson_t *doc, key_settings_view *v,
                                   gw_error *err)
{
    bson_t list;
    bson_iter_t it;
    if (!gw_bson_has(doc, "environments"))
        return GW_OK;
    if (!gw_bson_array(doc, "environments", &list) || !bson_iter_init(&it, &list))
        return gw_fail(err, GW_ERR_DATA_LOSS, "stored environments cannot be read");
    size_t count = bson_count_keys(&list);
    v->environments = gw_arena_array(a, environment_view *, count + 1);
    if (!v->environments)
        return gw_fail(err, GW_ERR_NO_MEMORY, "settings");
    gw_status rc = GW_OK;
    while (rc == GW_OK && v->n_environments < count && bson_iter_next(&it)) {
        rc = read_environment(a, &it, &v->environments[v->n_environments], err);
        v->n_environments += rc == GW_OK;
    }
    return rc;
}

static gw_status read_settings(gw_arena *a, const bson_t *doc, key_settings *ret, gw_error *err)
{
    key_settings s = key_settings_none(a);
    int64_t ms;
    if (!s.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "settings");
    gw_status rc = read_defaults(a, doc, s.view, err);
    if (rc == GW_OK)
        rc = read_environments(a, doc, s.view, err);
    if (rc != GW_OK)
        return rc;
    if (gw_bson_int64(doc, "rotationDuePercent", &s.view->rotation_due_percent))
        s.view->rotation_due_percent_presence_case =
            APIRELAY__AUTH__V1__SETTINGS__ROTATION_DUE_PERCENT_PRESENCE_ROTATION_DUE_PERCENT;
    (void)gw_bson_int64(doc, "version", &s.version);
    if (gw_bson_date_ms(doc, "updatedAt", &ms))
        s.view->updated_at = message_time(a, ms);
    *ret = s;
    return GW_OK;
}

/* ---- reading and writing ---- */

gw_status key_settings_store_get(const gw_db *d, gw_arena *a, key_settings *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    append_id(&filter);
    gw_status rc = gw_db_find_one(d, DEFAULTS, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        return read_settings(a, doc, ret, err);
    key_settings none = key_settings_none(a);
    if (rc == GW_OK && !none.view)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "settings");
    if (rc == GW_OK)
        *ret = none;
    return rc;
}

void key_settings_store_show(const gw_db *d, gw_arena *a, api_key_record *keys, size_t n,
                             int64_t now_ms)
{
    key_settings s = {0};
    gw_error ignored = {0};
    if (n == 0 || key_settings_store_get(d, a, &s, &ignored) != GW_OK)
        s = key_settings_none(a);
    for (size_t i = 0; s.view && i < n; i++)
        keys[i].view->rotation_due =
            key_settings_rotation_is_due(&s, keys[i].view, keys[i].current.created_ms, now_ms);
}

/* *ret_written false: another write came between. */
static gw_status write_settings(const gw_db *d, const key_settings *s, bool *ret_written,
                                gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER, filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    int64_t matched = 0;
    append_settings(s, &doc);
    if (s->version == 1) {
        gw_status rc = gw_db_insert(d, DEFAULTS, &doc, err);
        *ret_written = rc == GW_OK;
        return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
    }
    append_id(&filter);
    BSON_APPEND_INT64(&filter, "version", s->version - 1);
    BSON_APPEND_DOCUMENT(&update, "$set", &doc);
    if (!s->view->rotation_due_percent_presence_case) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
        gw_bson_append_str(&part, "rotationDuePercent", GW_STR(""));
        bson_append_document_end(&update, &part);
    }
    gw_status rc = gw_db_update_one(d, DEFAULTS, &filter, &update, &matched, err);
    *ret_written = matched == 1;
    return rc;
}

gw_status key_settings_store_change(const gw_db *d, gw_arena *a, key_settings_update *u,
                                    key_settings *ret, gw_error *err)
{
    for (int i = 0; i < CHANGE_TRIES; i++) {
        key_settings s;
        bool written = false;
        gw_status rc = key_settings_store_get(d, a, &s, err);
        if (rc == GW_OK)
            rc = key_settings_apply(u, a, &s, err);
        if (rc != GW_OK)
            return rc;
        s.version++;
        s.view->updated_at = message_time(a, u->now_ms);
        rc = write_settings(d, &s, &written, err);
        if (rc != GW_OK)
            return rc;
        if (written) {
            *ret = s;
            return GW_OK;
        }
    }
    return gw_fail(err, GW_ERR_ABORTED, "the settings are being changed by others; try again");
}
