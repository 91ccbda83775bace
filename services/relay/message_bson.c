#include "message_bson.h"

#include "json/json.h"

gw_status message_to_bson(const ProtobufCMessage *m, bson_t **ret, gw_error *err)
{
    gw_auto_buf json = {0};
    gw_status rc = gw_json_write(m, &json, err);
    if (rc != GW_OK)
        return rc;
    bson_error_t why;
    bson_t *document = bson_new_from_json((const uint8_t *)json.data, (ssize_t)json.len, &why);
    if (!document)
        return gw_fail(err, GW_ERR_INTERNAL, "no document from a message: %s", why.message);
    *ret = document;
    return GW_OK;
}

/* All but `_id`. libbson's own copy aborts the process at an element that it cannot read. */
static bool copy_members(const bson_t *document, bson_t *members)
{
    bson_iter_t it;
    if (!bson_iter_init(&it, document))
        return false;
    while (bson_iter_next(&it)) {
        if (strcmp(bson_iter_key(&it), "_id") != 0 && !bson_append_iter(members, NULL, -1, &it))
            return false;
    }
    return it.err_off == 0;
}

gw_status message_from_bson(const ProtobufCMessageDescriptor *d, const bson_t *document,
                            ProtobufCMessage **ret, gw_error *err)
{
    bson_t members = BSON_INITIALIZER;
    size_t len = 0;
    char *json =
        copy_members(document, &members) ? bson_as_relaxed_extended_json(&members, &len) : NULL;
    bson_destroy(&members);
    if (!json)
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document is damaged");
    gw_status rc = gw_json_read(d, gw_str_n(json, len), ret, NULL, err);
    bson_free(json);
    if (rc == GW_ERR_INVALID_ARGUMENT || rc == GW_ERR_INVALID_JSON)
        err->code = rc = GW_ERR_DATA_LOSS;
    return rc;
}
