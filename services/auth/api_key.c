#include "api_key.h"

#include "core/id.h"
#include "messages.h"

static char *constant(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void default_text(char **field, const char *value)
{
    if (**field == '\0')
        *field = constant(value);
}

/* Hex digits are taken in either case. */
static void spell_as_stored(gw_arena *a, char **id)
{
    gw_object_id oid;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    if (!gw_object_id_parse(gw_str_of(*id), &oid))
        return;
    gw_object_id_format(&oid, hex);
    char *spelt = strcmp(*id, hex) == 0 ? NULL : message_text(a, gw_str_of(hex));
    if (spelt && *spelt) /* "" when out of memory, which would be nobody */
        *id = spelt;
}

static void fill_features(Apirelay__Auth__V1__KeyFeatures *f)
{
    if (f->streaming_presence_case == 0)
        f->streaming = true;
    f->streaming_presence_case = APIRELAY__AUTH__V1__KEY_FEATURES__STREAMING_PRESENCE_STREAMING;
    if (f->function_calling_presence_case == 0)
        f->function_calling = true;
    f->function_calling_presence_case =
        APIRELAY__AUTH__V1__KEY_FEATURES__FUNCTION_CALLING_PRESENCE_FUNCTION_CALLING;
    if (f->vision_presence_case == 0)
        f->vision = true;
    f->vision_presence_case = APIRELAY__AUTH__V1__KEY_FEATURES__VISION_PRESENCE_VISION;
}

#define NEED(field, type)                                                                          \
    do {                                                                                           \
        if (!(field))                                                                              \
            (field) = message_new(a, &apirelay__auth__v1__##type##__descriptor);                   \
    } while (0)

void api_key_fill_defaults(gw_arena *a, api_key_view *v)
{
    NEED(v->permissions, key_permissions);
    NEED(v->limits, key_limits);
    NEED(v->security, key_security);
    NEED(v->client, key_client);
    NEED(v->cache, key_cache);
    NEED(v->privacy, key_privacy);
    NEED(v->signing, key_signing);
    spell_as_stored(a, &v->user_id);
    default_text(&v->env, API_KEY_ENV_DEFAULT);
    default_text(&v->status, "active");
    default_text(&v->on_disconnect, "close");
    if (v->client)
        default_text(&v->client->kind, "app");
    if (v->permissions) {
        NEED(v->permissions->features, key_features);
        if (v->permissions->features)
            fill_features(v->permissions->features);
    }
}

void api_key_retire_secret(api_key_record *k, int64_t now_ms, int64_t expires_ms)
{
    api_key_secret kept[API_KEY_PREVIOUS_MAX];
    size_t n = 0;
    bool has_grace = expires_ms > now_ms;
    if (has_grace) {
        kept[n] = k->current;
        kept[n++].expires_ms = expires_ms;
    }
    for (size_t i = 0; i < k->previous_count && n < API_KEY_PREVIOUS_MAX; i++) {
        if (has_grace && k->previous[i].expires_ms > now_ms)
            kept[n++] = k->previous[i];
    }
    if (n)
        memcpy(k->previous, kept, n * sizeof(*kept));
    k->previous_count = n;
    k->current = (api_key_secret){0};
}

void api_key_retire_signing_secret(api_key_record *k, int64_t now_ms, int64_t expires_ms)
{
    bool lives_on = k->signing_sealed.len > 0 && expires_ms > now_ms;

    k->signing_previous_sealed = lives_on ? k->signing_sealed : GW_STR("");
    k->signing_previous_expires_ms = lives_on ? expires_ms : 0;
    k->signing_sealed = GW_STR("");
}

void api_key_drop_librechat(api_key_record *k)
{
    k->librechat_sealed = GW_STR("");
    k->view->librechat = NULL;
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    if (a_ms == 0 || b_ms == 0)
        return a_ms ? a_ms : b_ms;
    return GW_MIN(a_ms, b_ms);
}

/* A stored age may be anything: one past all time is the end of time, one before it is over already. */
static int64_t age_end_ms(int64_t created_ms, int64_t days)
{
    int64_t age_ms;
    int64_t end_ms;
    if (__builtin_mul_overflow(days, GW_MS_PER_DAY, &age_ms) ||
        __builtin_add_overflow(created_ms, age_ms, &end_ms))
        return days > 0 ? INT64_MAX : 1;
    return end_ms ? end_ms : 1; /* 0 would be never */
}

int64_t api_key_secret_end_ms(const api_key_record *k, const api_key_secret *secret)
{
    const api_key_view *v = k->view;
    int64_t end = v->security ? message_time_ms(v->security->expires_at) : 0;
    if (v->max_age_days_presence_case && secret->created_ms)
        end = earlier(end, age_end_ms(secret->created_ms, v->max_age_days));
    return secret == &k->current ? end : earlier(end, secret->expires_ms);
}

static bool is_revoked(const api_key_record *k)
{
    return strcmp(k->view->status, "revoked") == 0;
}

/* 0: no older secret is valid. Its grace may be longer than what is left to it, or to the key. */
static int64_t grace_end_ms(const api_key_record *k, int64_t now_ms)
{
    int64_t last = 0;

    for (size_t i = 0; i < k->previous_count && !is_revoked(k); i++)
        if (k->previous[i].expires_ms > now_ms)
            last = GW_MAX(last, api_key_secret_end_ms(k, &k->previous[i]));
    return last > now_ms ? last : 0;
}

static int64_t signing_grace_end_ms(const api_key_record *k, int64_t now_ms)
{
    int64_t key_end = k->view->security ? message_time_ms(k->view->security->expires_at) : 0;

    if (k->signing_previous_sealed.len == 0 || k->signing_previous_expires_ms <= now_ms ||
        is_revoked(k))
        return 0;
    int64_t end = earlier(key_end, k->signing_previous_expires_ms);
    return end > now_ms ? end : 0;
}

void api_key_refresh_view(gw_arena *a, api_key_record *k, int64_t now_ms)
{
    k->view->secret_created_at = message_time(a, k->current.created_ms);
    k->view->previous_expires_at = message_time(a, grace_end_ms(k, now_ms));
    k->view->etag = message_text(a, gw_arena_printf(a, "v%lld", (long long)k->version));
    if (!k->view->signing)
        return;
    k->view->signing->configured = k->signing_sealed.len > 0;
    k->view->signing->previous_expires_at = message_time(a, signing_grace_end_ms(k, now_ms));
}
