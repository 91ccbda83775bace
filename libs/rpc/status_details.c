#include "rpc/rpc_internal.h"
#include "rpc/walk.h"

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define TYPE_PREFIX      "type.googleapis.com/"
#define TYPE_ERROR_INFO  "google.rpc.ErrorInfo"
#define TYPE_BAD_REQUEST "google.rpc.BadRequest"
#define TYPE_RETRY_INFO  "google.rpc.RetryInfo"
#define DETAILS_MAX      3
#define DELAY_MAX_S      (366LL * 24 * 3600)
/* Trailers are bounded: gRPC refuses metadata above 8 KiB, and these bytes travel as base64. */
#define FURTHER_MAX        3000
#define VIOLATION_OVERHEAD 8 /* tags and lengths of one violation */
#define DETAIL_MAX         4096 /* of one packed detail: a gw_error's texts, further ones, some bytes */

/* protobuf-c's strings are not const; packing does not write to them. */
static char *lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void pack_detail(const ProtobufCMessage *m, const char *type, uint8_t *bytes,
                        Google__Protobuf__Any *any)
{
    google__protobuf__any__init(any);
    any->type_url = lend(type);
    any->value.data = bytes;
    any->value.len =
        protobuf_c_message_get_packed_size(m) <= DETAIL_MAX ? protobuf_c_message_pack(m, bytes) : 0;
}

typedef Google__Rpc__BadRequest__FieldViolation field_violation;

/* The error's own violation, then as many of the further ones as fit. */
static size_t fill_violations(const gw_error *e, const gw_violations *further,
                              field_violation items[1 + GW_VIOLATIONS_MAX])
{
    size_t count = 0, bytes = 0;
    google__rpc__bad_request__field_violation__init(&items[count]);
    items[count].field = lend(e->field);
    items[count++].description = lend(e->message);
    for (size_t i = 0; further && i < further->count; i++) {
        const gw_violation *v = &further->items[i];
        bytes += strlen(v->field) + strlen(v->description) + VIOLATION_OVERHEAD;
        if (bytes > FURTHER_MAX)
            break;
        google__rpc__bad_request__field_violation__init(&items[count]);
        items[count].field = lend(v->field);
        items[count++].description = lend(v->description);
    }
    return count;
}

void rpc_status_encode(const gw_error *e, const gw_violations *further, int64_t retry_after_ms,
                       gw_buf *out)
{
    const gw_status_info *info = gw_status_describe(e->code);
    Google__Rpc__ErrorInfo reason = GOOGLE__RPC__ERROR_INFO__INIT;
    reason.reason = lend(info->name);
    reason.domain = lend(RPC_ERROR_DOMAIN);
    field_violation items[1 + GW_VIOLATIONS_MAX], *violations[1 + GW_VIOLATIONS_MAX];
    Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
    request.field_violations = violations;
    request.n_field_violations = fill_violations(e, further, items);
    for (size_t i = 0; i < request.n_field_violations; i++)
        violations[i] = &items[i];

    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    delay.seconds = retry_after_ms / GW_MS_PER_S;
    delay.nanos = (int32_t)(retry_after_ms % GW_MS_PER_S * 1000000);
    retry.retry_delay = &delay;

    uint8_t bytes[DETAILS_MAX][DETAIL_MAX];
    Google__Protobuf__Any any[DETAILS_MAX], *details[DETAILS_MAX];
    size_t count = 0;
    pack_detail(&reason.base, TYPE_PREFIX TYPE_ERROR_INFO, bytes[count], &any[count]);
    count++;
    if (e->field[0]) {
        pack_detail(&request.base, TYPE_PREFIX TYPE_BAD_REQUEST, bytes[count], &any[count]);
        count++;
    }
    if (retry_after_ms > 0) {
        pack_detail(&retry.base, TYPE_PREFIX TYPE_RETRY_INFO, bytes[count], &any[count]);
        count++;
    }
    for (size_t i = 0; i < count; i++)
        details[i] = &any[i];
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = (int32_t)info->rpc_code;
    status.message = lend(e->message);
    status.details = details;
    status.n_details = count;
    uint8_t packed[(DETAILS_MAX + 1) * DETAIL_MAX]; /* the message and a few bytes around them */
    gw_buf_append(out, packed, google__rpc__status__pack(&status, packed));
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *d, gw_str bytes)
{
    if (gw_walk(d, bytes, NULL) != GW_OK)
        return NULL;
    return protobuf_c_message_unpack(d, NULL, bytes.len, (const uint8_t *)bytes.ptr);
}

static void set_text(char *out, size_t size, const char *text)
{
    gw_str view = gw_str_of(text);
    size_t len = gw_str_utf8_cut(view, size - 1);
    memcpy(out, view.ptr ? view.ptr : "", len);
    out[len] = '\0';
}

static void read_error_info(gw_str bytes, gw_error *ret)
{
    Google__Rpc__ErrorInfo *m =
        (Google__Rpc__ErrorInfo *)unpack(&google__rpc__error_info__descriptor, bytes);
    if (!m)
        return;
    if (strcmp(m->domain, RPC_ERROR_DOMAIN) == 0) {
        gw_status code = gw_status_from_name(m->reason);
        /* A name newer than we are keeps the general code of the gRPC status. */
        if (code != GW_OK && strcmp(gw_status_describe(code)->name, m->reason) == 0)
            ret->code = code;
    }
    google__rpc__error_info__free_unpacked(m, NULL);
}

static void read_bad_request(gw_str bytes, gw_error *ret, gw_violations *further)
{
    Google__Rpc__BadRequest *m =
        (Google__Rpc__BadRequest *)unpack(&google__rpc__bad_request__descriptor, bytes);
    if (!m)
        return;
    if (m->n_field_violations > 0)
        set_text(ret->field, sizeof ret->field, m->field_violations[0]->field);
    for (size_t i = 1; further && i < m->n_field_violations && further->count < GW_VIOLATIONS_MAX;
         i++) {
        gw_violation *v = &further->items[further->count++];
        set_text(v->field, sizeof v->field, m->field_violations[i]->field);
        set_text(v->description, sizeof v->description, m->field_violations[i]->description);
    }
    google__rpc__bad_request__free_unpacked(m, NULL);
}

static int64_t read_retry_info(gw_str bytes)
{
    Google__Rpc__RetryInfo *m =
        (Google__Rpc__RetryInfo *)unpack(&google__rpc__retry_info__descriptor, bytes);
    const Google__Protobuf__Duration *d = m ? m->retry_delay : NULL;
    int64_t ms = 0;
    if (d && d->seconds >= 0 && d->nanos >= 0 && d->nanos < 1000000000)
        ms = GW_MIN(d->seconds, DELAY_MAX_S) * GW_MS_PER_S + d->nanos / 1000000;
    if (m)
        google__rpc__retry_info__free_unpacked(m, NULL);
    return ms;
}

static void read_details(gw_str bytes, gw_error *ret, gw_violations *further,
                         int64_t *ret_retry_after_ms)
{
    Google__Rpc__Status *status =
        (Google__Rpc__Status *)unpack(&google__rpc__status__descriptor, bytes);
    if (!status)
        return;
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        gw_str type = gw_str_of(any->type_url), value = gw_str_n(any->value.data, any->value.len);
        if (gw_str_ends_with(type, GW_STR("/" TYPE_ERROR_INFO)))
            read_error_info(value, ret);
        else if (gw_str_ends_with(type, GW_STR("/" TYPE_BAD_REQUEST)))
            read_bad_request(value, ret, further);
        else if (ret_retry_after_ms && gw_str_ends_with(type, GW_STR("/" TYPE_RETRY_INFO)))
            *ret_retry_after_ms = read_retry_info(value);
    }
    if (status->message[0])
        set_text(ret->message, sizeof ret->message, status->message);
    google__rpc__status__free_unpacked(status, NULL);
}

void rpc_status_decode(grpc_status_code code, gw_str message, const grpc_metadata_array *trailing,
                       gw_error *ret, gw_violations *further, int64_t *ret_retry_after_ms)
{
    gw_status general =
        code == GRPC_STATUS_OK ? GW_ERR_INTERNAL : gw_status_from_rpc((gw_rpc_code)code);
    (void)gw_fail(ret, general, GW_STR_FMT, GW_STR_ARG(message));
    if (message.len == 0)
        set_text(ret->message, sizeof ret->message, gw_rpc_code_name((gw_rpc_code)code));
    if (ret_retry_after_ms)
        *ret_retry_after_ms = 0;
    for (size_t i = 0; i < trailing->count; i++) {
        const grpc_metadata *m = &trailing->metadata[i];
        if (gw_str_eq(rpc_slice_view(&m->key), GW_STR(RPC_DETAILS_KEY)))
            read_details(rpc_slice_view(&m->value), ret, further, ret_retry_after_ms);
    }
}
