#include "schema/schema_internal.h"

/* Field numbers of descriptor.proto, of which the paths of SourceCodeInfo are made. */
enum {
    FILE_MESSAGE = 4,
    FILE_SERVICE = 6,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    SERVICE_METHOD = 2,
};

/* Appends ".name" of what path element (number, index) says; *message follows nested types. */
static bool step_into_message(gw_buf *name, const Google__Protobuf__DescriptorProto **message,
                              int32_t number, size_t index)
{
    const Google__Protobuf__DescriptorProto *m = *message;
    *message = NULL;
    if (m && number == MESSAGE_FIELD && index < m->n_field) {
        gw_buf_appendf(name, ".%s", m->field[index]->name);
        return true;
    }
    if (m && number == MESSAGE_NESTED && index < m->n_nested_type) {
        *message = m->nested_type[index];
        gw_buf_appendf(name, ".%s", (*message)->name);
        return true;
    }
    return false;
}

/* The full name of what a location describes; false for what has no page of its own. */
static bool name_of(const Google__Protobuf__FileDescriptorProto *f,
                    const Google__Protobuf__SourceCodeInfo__Location *l, gw_buf *name)
{
    if (l->n_path < 2 || l->n_path % 2 != 0)
        return false;
    size_t index = (size_t)l->path[1];
    if (f->package && f->package[0])
        gw_buf_appendf(name, "%s.", f->package);
    if (l->path[0] == FILE_SERVICE && index < f->n_service) {
        const Google__Protobuf__ServiceDescriptorProto *service = f->service[index];
        gw_buf_append_c(name, service->name);
        if (l->n_path == 2)
            return true;
        index = (size_t)l->path[3];
        if (l->n_path != 4 || l->path[2] != SERVICE_METHOD || index >= service->n_method)
            return false;
        gw_buf_appendf(name, ".%s", service->method[index]->name);
        return true;
    }
    if (l->path[0] != FILE_MESSAGE || index >= f->n_message_type)
        return false;
    const Google__Protobuf__DescriptorProto *message = f->message_type[index];
    gw_buf_append_c(name, message->name);
    for (size_t i = 2; i < l->n_path; i += 2) {
        if (!step_into_message(name, &message, l->path[i], (size_t)l->path[i + 1]))
            return false;
    }
    return true;
}

gw_status gw_schema_read_comments(gw_schema *s, const Google__Protobuf__FileDescriptorProto *f,
                                  gw_error *err)
{
    if (!f->source_code_info)
        return GW_OK;
    gw_auto_buf name = {0};
    for (size_t i = 0; i < f->source_code_info->n_location; i++) {
        const Google__Protobuf__SourceCodeInfo__Location *l = f->source_code_info->location[i];
        gw_buf_clear(&name);
        if (!l->leading_comments || !name_of(f, l, &name))
            continue;
        gw_str *comment = gw_arena_new_of(s->arena, gw_str);
        if (gw_buf_failed(&name) || !comment ||
            !gw_map_put(s->comments, gw_buf_str(&name), comment))
            return gw_fail(err, GW_ERR_NO_MEMORY, "schema: out of memory");
        *comment = gw_str_trim(gw_str_of(l->leading_comments));
    }
    return GW_OK;
}

gw_str gw_schema_comment(const gw_schema *s, gw_str full_name)
{
    const gw_str *comment = gw_map_get(s->comments, full_name);
    return comment ? *comment : GW_STR("");
}
