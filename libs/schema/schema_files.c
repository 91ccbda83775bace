#include "schema/schema_internal.h"

/* Field 1 of FileDescriptorSet, wire type 2. */
#define TAG_FILE 0x0a
/* Nested types of types of types: deeper than any of ours, so that the recursion is bounded. */
#define NESTING_MAX 16

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "schema: out of memory");
}

/* Cuts the next file's bytes off the set. They stay where they are: reflection sends them as is. */
static bool cut_file(gw_str *rest, gw_str *ret)
{
    if (rest->len == 0 || (uint8_t)rest->ptr[0] != TAG_FILE)
        return false;
    uint64_t len = 0;
    size_t at = 1;
    for (unsigned shift = 0; at < rest->len && shift < 35; shift += 7) {
        uint8_t byte = (uint8_t)rest->ptr[at++];
        len |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (len > rest->len - at)
            return false;
        *ret = gw_str_n(rest->ptr + at, (size_t)len);
        *rest = gw_str_slice(*rest, at + (size_t)len, rest->len);
        return true;
    }
    return false;
}

static gw_str join(gw_schema *s, gw_str scope, const char *name)
{
    if (scope.len == 0)
        return gw_arena_dup(s->arena, gw_str_of(name));
    return gw_arena_printf(s->arena, GW_STR_FMT ".%s", GW_STR_ARG(scope), name);
}

static bool add_symbol(gw_schema *s, schema_file *file, gw_str scope, const char *name)
{
    gw_str full = join(s, scope, name);
    return full.ptr && gw_map_put(s->symbols, full, file);
}

static bool add_enum(gw_schema *s, schema_file *file, gw_str scope,
                     const Google__Protobuf__EnumDescriptorProto *e)
{
    bool ok = add_symbol(s, file, scope, e->name);
    for (size_t i = 0; ok && i < e->n_value; i++)
        ok = add_symbol(s, file, scope, e->value[i]->name); /* siblings of their type, as in C++ */
    return ok;
}

// NOLINTNEXTLINE(misc-no-recursion): types nest, at most NESTING_MAX deep
static bool add_message(gw_schema *s, schema_file *file, gw_str scope,
                        const Google__Protobuf__DescriptorProto *m, int nesting)
{
    gw_str full = join(s, scope, m->name);
    bool ok = nesting < NESTING_MAX && full.ptr && gw_map_put(s->symbols, full, file) &&
              gw_map_put(s->messages, full, file);
    for (size_t i = 0; ok && i < m->n_field; i++)
        ok = add_symbol(s, file, full, m->field[i]->name);
    for (size_t i = 0; ok && i < m->n_extension; i++)
        ok = add_symbol(s, file, full, m->extension[i]->name);
    for (size_t i = 0; ok && i < m->n_enum_type; i++)
        ok = add_enum(s, file, full, m->enum_type[i]);
    for (size_t i = 0; ok && i < m->n_nested_type; i++)
        ok = add_message(s, file, full, m->nested_type[i], nesting + 1);
    return ok;
}

static bool add_service(gw_schema *s, schema_file *file, gw_str package,
                        const Google__Protobuf__ServiceDescriptorProto *proto)
{
    schema_service *service = gw_arena_new_of(s->arena, schema_service);
    if (!service)
        return false;
    service->name = join(s, package, proto->name);
    service->proto = proto;
    bool ok = service->name.ptr && gw_map_put(s->services, service->name, service) &&
              gw_map_put(s->symbols, service->name, file);
    for (size_t i = 0; ok && i < proto->n_method; i++)
        ok = add_symbol(s, file, service->name, proto->method[i]->name);
    return ok;
}

static bool add_imports(gw_schema *s, schema_file *file)
{
    file->import_count = file->proto->n_dependency;
    if (file->import_count == 0)
        return true;
    file->imports = gw_arena_array(s->arena, gw_str, file->import_count);
    for (size_t i = 0; file->imports && i < file->import_count; i++)
        file->imports[i] = gw_str_of(file->proto->dependency[i]);
    return file->imports != NULL;
}

static gw_status read_file(gw_schema *s, schema_file *file, gw_str bytes, gw_error *err)
{
    file->bytes = bytes;
    file->proto = google__protobuf__file_descriptor_proto__unpack(NULL, bytes.len,
                                                                  (const uint8_t *)bytes.ptr);
    if (!file->proto || !file->proto->name)
        return gw_fail(err, GW_ERR_INTERNAL, "schema: a file descriptor cannot be read");
    const Google__Protobuf__FileDescriptorProto *f = file->proto;
    file->name = gw_str_of(f->name);
    gw_str package = gw_str_of(f->package);
    bool ok = gw_map_put(s->files_by_name, file->name, file) && add_imports(s, file);
    for (size_t i = 0; ok && i < f->n_message_type; i++)
        ok = add_message(s, file, package, f->message_type[i], 0);
    for (size_t i = 0; ok && i < f->n_enum_type; i++)
        ok = add_enum(s, file, package, f->enum_type[i]);
    for (size_t i = 0; ok && i < f->n_extension; i++)
        ok = add_symbol(s, file, package, f->extension[i]->name);
    for (size_t i = 0; ok && i < f->n_service; i++)
        ok = add_service(s, file, package, f->service[i]);
    return ok ? gw_schema_read_comments(s, f, err) : no_memory(err);
}

gw_status gw_schema_read_files(gw_schema *s, gw_str descriptor_set, gw_error *err)
{
    size_t n = 0;
    gw_str rest = descriptor_set, bytes;
    while (cut_file(&rest, &bytes))
        n++;
    if (rest.len > 0 || n == 0)
        return gw_fail(err, GW_ERR_INTERNAL, "schema: not a FileDescriptorSet");
    s->files = gw_arena_array(s->arena, schema_file, n);
    if (!s->files)
        return no_memory(err);
    rest = descriptor_set;
    while (cut_file(&rest, &bytes)) {
        gw_status rc = read_file(s, &s->files[s->file_count++], bytes, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

bool gw_schema_file_by_name(const gw_schema *s, gw_str name, gw_str *ret_bytes)
{
    const schema_file *file = gw_map_get(s->files_by_name, name);
    if (file)
        *ret_bytes = file->bytes;
    return file != NULL;
}

bool gw_schema_file_by_symbol(const gw_schema *s, gw_str symbol, gw_str *ret_bytes)
{
    const schema_file *file = gw_map_get(s->symbols, symbol);
    if (file)
        *ret_bytes = file->bytes;
    return file != NULL;
}

gw_str gw_schema_file_of_symbol(const gw_schema *s, gw_str symbol)
{
    const schema_file *file = gw_map_get(s->symbols, symbol);
    return file ? file->name : GW_STR_NULL;
}

size_t gw_schema_file_imports(const gw_schema *s, gw_str name, const gw_str **ret_names)
{
    const schema_file *file = gw_map_get(s->files_by_name, name);
    if (!file)
        return 0;
    *ret_names = file->imports;
    return file->import_count;
}

/* Descriptors name what is extended with a dot in front; none of the files extends inside a message. */
static bool extends(const Google__Protobuf__FieldDescriptorProto *e, gw_str type)
{
    return e->extendee && e->extendee[0] == '.' && gw_str_eq_c(type, e->extendee + 1);
}

gw_str gw_schema_file_of_extension(const gw_schema *s, gw_str type, int32_t number)
{
    for (size_t i = 0; i < s->file_count; i++) {
        const Google__Protobuf__FileDescriptorProto *f = s->files[i].proto;
        for (size_t k = 0; k < f->n_extension; k++) {
            if (extends(f->extension[k], type) && f->extension[k]->number == number)
                return s->files[i].name;
        }
    }
    return GW_STR_NULL;
}

size_t gw_schema_extension_numbers(const gw_schema *s, gw_str type, int32_t *ret, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        const Google__Protobuf__FileDescriptorProto *f = s->files[i].proto;
        for (size_t k = 0; k < f->n_extension && n < max; k++) {
            if (extends(f->extension[k], type))
                ret[n++] = f->extension[k]->number;
        }
    }
    return n;
}

bool gw_schema_has_message(const gw_schema *s, gw_str full_name)
{
    return gw_map_get(s->messages, full_name) != NULL;
}
