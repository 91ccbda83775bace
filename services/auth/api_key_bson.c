#include "api_key_bson.h"

#include "core/id.h"
#include "message_bson.h"
#include "messages.h"
#include "mongo/bson_read.h"
#include "json/field.h"

/* Mapped by hand, or by their parts, or not stored. */
static const char *const by_hand[] = {
    "id",       "user_id", "last_used_at",      "previous_expires_at",
    "signing",  "etag",    "secret_created_at", "rotation_due",
    "librechat"};
/* Of them, what is read as the others are. */
static const char *const written_by_hand[] = {"signing", "last_used_at", "librechat"};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static bool is_by_hand(const char *name)
{
    return is_one_of(name, by_hand, GW_ARRAY_LEN(by_hand));
}

static void append_verifier(const api_key_secret *s, bson_t *doc)
{
    if (s->hmac.len == 0)
        return;
    bson_t verifier;
    BSON_APPEND_DOCUMENT_BEGIN(doc, "verifier", &verifier);
    gw_bson_append_str(&verifier, "pepperId", gw_str_n(&s->pepper_id, 1));
    BSON_APPEND_BINARY(&verifier, "hmacSha256", BSON_SUBTYPE_BINARY, (const uint8_t *)s->hmac.ptr,
                       (uint32_t)s->hmac.len);
    bson_append_document_end(doc, &verifier);
}

static void append_secret(const api_key_secret *s, bson_t *doc)
{
    if (s->phc.len)
        gw_bson_append_str(doc, "key", s->phc);
    append_verifier(s, doc);
}

static void append_secrets(const api_key_record *k, bson_t *doc)
{
    bson_t array;
    append_secret(&k->current, doc);
    if (k->current.created_ms)
        BSON_APPEND_DATE_TIME(doc, "secretCreatedAt", k->current.created_ms);
    BSON_APPEND_ARRAY_BEGIN(doc, "previous", &array);
    for (size_t i = 0; i < k->previous_count; i++) {
        bson_t item;
        char buffer[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));
        BSON_APPEND_DOCUMENT_BEGIN(&array, key, &item);
        append_secret(&k->previous[i], &item);
        BSON_APPEND_DATE_TIME(&item, "expiresAt", k->previous[i].expires_ms);
        if (k->previous[i].created_ms)
            BSON_APPEND_DATE_TIME(&item, "secretCreatedAt", k->previous[i].created_ms);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(doc, &array);
}

static void append_sealed(bson_t *doc, gw_str sealed)
{
    BSON_APPEND_BINARY(doc, "secret", BSON_SUBTYPE_BINARY, (const uint8_t *)sealed.ptr,
                       (uint32_t)sealed.len);
}

static void append_signing(const api_key_record *k, bson_t *doc)
{
    bson_t signing, previous;
    BSON_APPEND_DOCUMENT_BEGIN(doc, "signing", &signing);
    BSON_APPEND_BOOL(&signing, "required", k->view->signing && k->view->signing->required);
    if (k->signing_sealed.len)
        append_sealed(&signing, k->signing_sealed);
    if (k->signing_previous_sealed.len) {
        BSON_APPEND_DOCUMENT_BEGIN(&signing, "previous", &previous);
        append_sealed(&previous, k->signing_previous_sealed);
        BSON_APPEND_DATE_TIME(&previous, "expiresAt", k->signing_previous_expires_ms);
        bson_append_document_end(&signing, &previous);
    }
    bson_append_document_end(doc, &signing);
}

static void append_librechat(const api_key_record *k, bson_t *doc)
{
    bson_t librechat;
    if (k->librechat_sealed.len == 0 || !k->view->librechat)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(doc, "librechat", &librechat);
    message_to_bson(&k->view->librechat->base, &librechat);
    append_sealed(&librechat, k->librechat_sealed);
    bson_append_document_end(doc, &librechat);
}

void api_key_to_bson(const api_key_record *k, api_key_part part, bson_t *doc)
{
    const api_key_view *v = k->view;
    gw_object_id id;
    if (part == API_KEY_WHOLE && gw_object_id_parse(gw_str_of(v->id), &id))
        gw_bson_append_oid(doc, "_id", &id);
    if (gw_object_id_parse(gw_str_of(v->user_id), &id))
        gw_bson_append_oid(doc, "userId", &id);
    if (part == API_KEY_WHOLE && v->last_used_at)
        BSON_APPEND_DATE_TIME(doc, "lastUsedAt", message_time_ms(v->last_used_at));
    for (unsigned i = 0; i < v->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &v->base.descriptor->fields[i];
        if (!is_by_hand(f->name))
            message_field_to_bson(&v->base, f, doc);
    }
    append_signing(k, doc);
    append_librechat(k, doc);
    BSON_APPEND_INT64(doc, "version", k->version);
    if (part != API_KEY_POLICY)
        append_secrets(k, doc);
}

void api_key_absent_to_bson(const api_key_record *k, bson_t *unset)
{
    const api_key_view *v = k->view;
    if (*v->user_id == '\0')
        gw_bson_append_str(unset, "userId", GW_STR(""));
    if (*v->client_id == '\0')
        gw_bson_append_str(unset, "clientId", GW_STR(""));
    if (*v->status_reason == '\0')
        gw_bson_append_str(unset, "statusReason", GW_STR(""));
    if (v->max_age_days_presence_case == 0)
        gw_bson_append_str(unset, "maxAgeDays", GW_STR(""));
    if (k->librechat_sealed.len == 0)
        gw_bson_append_str(unset, "librechat", GW_STR(""));
}

static void read_secret(gw_arena *a, const bson_t *doc, api_key_secret *s)
{
    gw_str text;
    if (gw_bson_str(doc, "key", &text))
        s->phc = gw_arena_dup(a, text);
    if (gw_bson_str(doc, "verifier.pepperId", &text) && text.len == 1)
        s->pepper_id = text.ptr[0];
    if (gw_bson_binary(doc, "verifier.hmacSha256", &text) && text.len == 32)
        s->hmac = gw_arena_dup(a, text);
    (void)gw_bson_date_ms(doc, "secretCreatedAt", &s->created_ms);
    (void)gw_bson_date_ms(doc, "expiresAt", &s->expires_ms);
}

static void read_previous(gw_arena *a, const bson_t *doc, api_key_record *k)
{
    bson_t array;
    bson_iter_t it;
    if (!gw_bson_array(doc, "previous", &array) || !bson_iter_init(&it, &array))
        return;
    while (k->previous_count < API_KEY_PREVIOUS_MAX && bson_iter_next(&it)) {
        uint32_t len;
        const uint8_t *data;
        bson_t item;
        if (!BSON_ITER_HOLDS_DOCUMENT(&it))
            continue;
        bson_iter_document(&it, &len, &data);
        if (bson_init_static(&item, data, len))
            read_secret(a, &item, &k->previous[k->previous_count++]);
    }
}

/* A list is readable when each item was: `read` is how many were. */
static bool list_is_readable(const bson_t *doc, const char *path, size_t read)
{
    bson_t array;
    return !gw_bson_has(doc, path) ||
           (gw_bson_array(doc, path, &array) && bson_count_keys(&array) == read);
}

typedef enum value_kind { TEXT, WHOLE_NUMBER, NUMBER, FLAG, DOCUMENT } value_kind;

static bool value_is_readable(const bson_t *doc, const char *path, value_kind kind)
{
    gw_str text;
    int64_t whole;
    double number;
    bool flag;
    bson_t part;
    switch (kind) {
    case TEXT:
        return gw_bson_str(doc, path, &text);
    case WHOLE_NUMBER:
        return gw_bson_int64(doc, path, &whole);
    case NUMBER:
        return gw_bson_double(doc, path, &number);
    case FLAG:
        return gw_bson_bool(doc, path, &flag);
    case DOCUMENT:
        return gw_bson_doc(doc, path, &part);
    }
    return false;
}

static const struct {
    const char *path;
    value_kind kind;
} narrowing[] = {
    {"status", TEXT},
    {"permissions", DOCUMENT},
    {"permissions.maxTokens", WHOLE_NUMBER},
    {"permissions.features", DOCUMENT},
    {"permissions.features.streaming", FLAG},
    {"permissions.features.functionCalling", FLAG},
    {"permissions.features.vision", FLAG},
    {"limits", DOCUMENT},
    {"limits.requestsPerMinute", WHOLE_NUMBER},
    {"limits.requestsPerDay", WHOLE_NUMBER},
    {"limits.tokensPerDay", WHOLE_NUMBER},
    {"limits.tokensPerMonth", WHOLE_NUMBER},
    {"limits.requestsInFlight", WHOLE_NUMBER},
    {"limits.costLimit", NUMBER},
    {"limits.costLimitNanoUsd", WHOLE_NUMBER},
    {"security", DOCUMENT},
    {"security.autoSuspend", DOCUMENT},
    {"security.autoSuspend.limitExceeded", DOCUMENT},
    {"security.autoSuspend.limitExceeded.count", WHOLE_NUMBER},
    {"security.autoSuspend.limitExceeded.windowSeconds", WHOLE_NUMBER},
    {"security.autoSuspend.badSignatures", DOCUMENT},
    {"security.autoSuspend.badSignatures.count", WHOLE_NUMBER},
    {"security.autoSuspend.badSignatures.windowSeconds", WHOLE_NUMBER},
    {"maxAgeDays", WHOLE_NUMBER},
    {"signing", DOCUMENT},
    {"signing.required", FLAG},
};

/* Without its origin or its key what goes to LibreChat would go on somebody else's account. */
static bool librechat_is_readable(const bson_t *doc, const api_key_view *v)
{
    gw_str sealed;
    return !gw_bson_has(doc, "librechat") ||
           (v->librechat && *v->librechat->origin &&
            gw_bson_binary(doc, "librechat.secret", &sealed) && sealed.len > 0);
}

/* What narrows a key's use must be readable: passed over as absent it would widen the use. NULL when
 * all of it is. */
static const char *unreadable_field(const bson_t *doc, const api_key_view *v)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(narrowing); i++)
        if (gw_bson_has(doc, narrowing[i].path) &&
            !value_is_readable(doc, narrowing[i].path, narrowing[i].kind))
            return narrowing[i].path;
    /* The view has none for 1970 either, which its times take for absent. */
    if (gw_bson_has(doc, "security.expiresAt") && !v->security->expires_at)
        return "security.expiresAt";
    if (!librechat_is_readable(doc, v))
        return "librechat";
    if (!list_is_readable(doc, "security.ipWhitelist", v->security->n_ip_whitelist))
        return "security.ipWhitelist";
    if (!list_is_readable(doc, "security.domains", v->security->n_domains))
        return "security.domains";
    if (!list_is_readable(doc, "permissions.models", v->permissions->n_models))
        return "permissions.models";
    return list_is_readable(doc, "permissions.endpoints", v->permissions->n_endpoints)
               ? NULL
               : "permissions.endpoints";
}

static gw_status check_narrowing(const bson_t *doc, const api_key_view *v, gw_error *err)
{
    const char *field = unreadable_field(doc, v);
    if (field)
        return gw_fail(err, GW_ERR_DATA_LOSS, "%s of key %s cannot be read", field, v->key_id);
    return GW_OK;
}

gw_status api_key_parts_from_bson(gw_arena *a, const bson_t *doc, api_key_view *ret, gw_error *err)
{
    static const char *const parts[] = {"permissions", "limits", "security"};
    api_key_view v = APIRELAY__AUTH__V1__API_KEY__INIT;
    for (size_t i = 0; i < GW_ARRAY_LEN(parts); i++)
        message_field_from_bson(a, &v.base, gw_field_named(v.base.descriptor, gw_str_of(parts[i])),
                                doc);
    api_key_view *whole = message_copy(a, &v.base);
    if (!whole)
        return gw_fail(err, GW_ERR_NO_MEMORY, "what was stored of keys");
    api_key_fill_defaults(a, whole);
    const char *field = unreadable_field(doc, whole);
    if (field)
        return gw_fail(err, GW_ERR_DATA_LOSS, "stored %s cannot be read", field);
    *ret = v;
    return GW_OK;
}

gw_status api_key_from_bson(gw_arena *a, const bson_t *doc, api_key_record *ret, gw_error *err)
{
    api_key_record k = {.view = message_new(a, &apirelay__auth__v1__api_key__descriptor)};
    if (!k.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "api key");
    gw_object_id id;
    gw_str text;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    if (!gw_bson_oid(doc, "_id", &id) || !gw_bson_str(doc, "keyId", &text) || text.len == 0)
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of api_keys has no _id or keyId");
    for (unsigned i = 0; i < k.view->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &k.view->base.descriptor->fields[i];
        if (!is_by_hand(f->name) ||
            is_one_of(f->name, written_by_hand, GW_ARRAY_LEN(written_by_hand)))
            message_field_from_bson(a, &k.view->base, f, doc);
    }
    gw_object_id_format(&id, hex);
    k.view->id = message_text(a, gw_str_of(hex));
    if (gw_bson_oid(doc, "userId", &id)) {
        gw_object_id_format(&id, hex);
        k.view->user_id = message_text(a, gw_str_of(hex));
    }
    if (gw_bson_binary(doc, "signing.secret", &text))
        k.signing_sealed = gw_arena_dup(a, text);
    if (gw_bson_binary(doc, "signing.previous.secret", &text) &&
        gw_bson_date_ms(doc, "signing.previous.expiresAt", &k.signing_previous_expires_ms))
        k.signing_previous_sealed = gw_arena_dup(a, text);
    if (gw_bson_binary(doc, "librechat.secret", &text))
        k.librechat_sealed = gw_arena_dup(a, text);
    (void)gw_bson_int64(doc, "version", &k.version);
    read_secret(a, doc, &k.current);
    k.current.expires_ms = 0;
    read_previous(a, doc, &k);
    if (k.current.created_ms == 0)
        k.current.created_ms = message_time_ms(k.view->created_at);
    api_key_fill_defaults(a, k.view);
    gw_status rc = check_narrowing(doc, k.view, err);
    if (rc == GW_OK)
        *ret = k;
    return rc;
}
