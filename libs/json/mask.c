#include "json/json_internal.h"

typedef struct mask_writer {
    gw_json_reader reader; /* for its path and refusals */
    gw_buf *out;
    size_t start;
} mask_writer;

static void append_path(mask_writer *w)
{
    if (w->out->len > w->start)
        gw_buf_append_char(w->out, ',');
    gw_buf_append_c(w->out, w->reader.path);
}

static bool is_descended(const ProtobufCFieldDescriptor *f, yyjson_val *v)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED &&
           gw_json_field_kind(f) == GW_JSON_PLAIN && yyjson_is_obj(v);
}

static bool write_members(mask_writer *w, const ProtobufCMessageDescriptor *d, yyjson_val *object,
                          unsigned depth)
{
    yyjson_obj_iter at = yyjson_obj_iter_with(object);

    if (depth > GW_JSON_DEPTH_MAX)
        return gw_json_refuse(&w->reader, "nested too deeply, at most %d messages",
                              GW_JSON_DEPTH_MAX);
    for (yyjson_val *k = yyjson_obj_iter_next(&at); k; k = yyjson_obj_iter_next(&at)) {
        const ProtobufCFieldDescriptor *f = gw_field_named(d, gw_json_text(k));
        yyjson_val *v = yyjson_obj_iter_get_val(k);
        char name[GW_JSON_NAME_SIZE];
        bool ok = true;

        if (f)
            gw_json_name(f->name, name);
        size_t mark = gw_json_enter_member(&w->reader, f ? gw_str_of(name) : gw_json_text(k));
        if (!f)
            ok = gw_json_refuse(&w->reader, "unknown member");
        else if (is_descended(f, v))
            ok = write_members(w, (const ProtobufCMessageDescriptor *)f->descriptor, v, depth + 1);
        else
            append_path(w);
        gw_json_leave(&w->reader, mark);
        if (!ok)
            return false;
    }
    return true;
}

gw_status gw_json_mask_of(const ProtobufCMessageDescriptor *d, yyjson_val *object, gw_buf *out,
                          gw_error *err)
{
    mask_writer w = {.out = out, .start = out->len};

    gw_json_reader_init(&w.reader, "", NULL, err);
    bool ok = yyjson_is_obj(object) ? write_members(&w, d, object, 1)
                                    : gw_json_refuse(&w.reader, "must be an object");
    if (ok && gw_buf_failed(out))
        ok = gw_json_no_memory(&w.reader);
    if (ok)
        return GW_OK;
    if (out->data) {
        out->len = w.start;
        out->data[w.start] = '\0';
    }
    return w.reader.rc;
}
