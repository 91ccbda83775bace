#include "rpc/walk.h"

#define FIELD_NUMBER_MAX ((1U << 29) - 1)
/* Counters of a message; one with more fields shares them, which only makes the bound stricter. */
#define COUNTERS 128
/*
 * Occurrences of one singular message field. Legal, and merged; but protobuf-c copies all that was
 * merged before for each one, so that a few megabytes of them would take minutes.
 */
#define SINGULAR_MAX 16

enum { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_GROUP, WIRE_GROUP_END, WIRE_FIXED32 };

/* One open message. */
typedef struct frame {
    const ProtobufCMessageDescriptor *descriptor;
    const ProtobufCFieldDescriptor *via; /* the field that holds it, NULL for the outermost */
    const uint8_t *end;
    uint32_t unknown;
    uint32_t counts[COUNTERS];
} frame;

typedef struct walk {
    const uint8_t *at;
    size_t depth;
    frame frames[GW_WALK_DEPTH_MAX];
    gw_error *err;
} walk;

/* "limits.cost_limit": where the walk stands. */
static void path_of(const walk *w, const ProtobufCFieldDescriptor *field, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 1; i <= w->depth; i++) {
        const ProtobufCFieldDescriptor *step = i < w->depth ? w->frames[i].via : field;
        if (!step)
            continue;
        size_t name = strlen(step->name);
        if (len + name + 2 > size)
            return;
        if (len > 0)
            out[len++] = '.';
        memcpy(out + len, step->name, name + 1);
        len += name;
    }
}

static gw_status refuse(const walk *w, const ProtobufCFieldDescriptor *field, const char *why)
{
    char path[sizeof w->err->field];
    path_of(w, field, path, sizeof path);
    return gw_fail_field(w->err, GW_ERR_INVALID_ARGUMENT, path, "malformed message: %s", why);
}

/* At most `max_bytes` long; false when cut short, longer or over 64 bits. */
static bool read_varint(walk *w, const uint8_t *end, unsigned max_bytes, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < max_bytes && w->at < end; i++) {
        uint8_t byte = *w->at++;
        if (i == 9 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

static gw_status count(walk *w, const ProtobufCFieldDescriptor *field, size_t n)
{
    frame *f = &w->frames[w->depth - 1];
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (!repeated && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return GW_OK; /* the last one wins */
    uint32_t *counter = &f->counts[(size_t)(field - f->descriptor->fields) % COUNTERS];
    size_t max = repeated ? GW_WALK_REPEATED_MAX : SINGULAR_MAX;
    if (n > max || *counter + n > max)
        return refuse(w, field, "too many elements");
    *counter += (uint32_t)n;
    return GW_OK;
}

/* The elements of a packed repeated field. */
static gw_status walk_packed(walk *w, const ProtobufCFieldDescriptor *field, const uint8_t *end)
{
    unsigned wire = wire_type_of(field->type);
    size_t len = (size_t)(end - w->at), n = 0;
    if (wire == WIRE_VARINT) {
        uint64_t ignored;
        while (w->at < end) {
            if (!read_varint(w, end, 10, &ignored))
                return refuse(w, field, "bad varint");
            n++;
        }
    } else {
        size_t width = wire == WIRE_FIXED32 ? 4 : 8;
        if (len % width != 0)
            return refuse(w, field, "bad length");
        n = len / width;
        w->at = end;
    }
    return count(w, field, n);
}

static gw_status enter(walk *w, const ProtobufCFieldDescriptor *field, const uint8_t *end)
{
    if (w->depth == GW_WALK_DEPTH_MAX)
        return refuse(w, field, "nested too deep");
    frame *f = &w->frames[w->depth++];
    f->descriptor = field->descriptor;
    f->via = field;
    f->end = end;
    f->unknown = 0;
    memset(f->counts, 0, sizeof(uint32_t) * GW_MIN(f->descriptor->n_fields, (unsigned)COUNTERS));
    return GW_OK;
}

static gw_status walk_bytes(walk *w, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *message_end = w->frames[w->depth - 1].end;
    uint64_t len;
    /* protobuf-c reads a length of at most five bytes. */
    if (!read_varint(w, message_end, 5, &len) || len > (uint64_t)(message_end - w->at))
        return refuse(w, field, "length past the end");
    const uint8_t *start = w->at, *end = start + len;
    if (!field) {
        w->at = end;
        return GW_OK;
    }
    if (wire_type_of(field->type) != WIRE_BYTES) {
        if (field->label != PROTOBUF_C_LABEL_REPEATED)
            return refuse(w, field, "wrong wire type");
        return walk_packed(w, field, end);
    }
    gw_status rc = count(w, field, 1);
    if (rc != GW_OK)
        return rc;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return enter(w, field, end);
    w->at = end;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (len > 0 && memchr(start, '\0', (size_t)len))
            return refuse(w, field, "NUL in a string");
        if (!gw_str_is_utf8(gw_str_n(start, (size_t)len)))
            return refuse(w, field, "invalid UTF-8");
    }
    return GW_OK;
}

static gw_status walk_scalar(walk *w, const ProtobufCFieldDescriptor *field, unsigned wire)
{
    const uint8_t *end = w->frames[w->depth - 1].end;
    uint64_t ignored;
    if (wire == WIRE_VARINT) {
        if (!read_varint(w, end, 10, &ignored))
            return refuse(w, field, "bad varint");
    } else {
        size_t width = wire == WIRE_FIXED32 ? 4 : 8;
        if ((size_t)(end - w->at) < width)
            return refuse(w, field, "cut short");
        w->at += width;
    }
    if (!field)
        return GW_OK;
    if (wire_type_of(field->type) != wire)
        return refuse(w, field, "wrong wire type");
    return count(w, field, 1);
}

/* One field of the innermost message. */
static gw_status walk_field(walk *w)
{
    frame *f = &w->frames[w->depth - 1];
    uint64_t tag;
    if (!read_varint(w, f->end, 5, &tag) || tag > UINT32_MAX)
        return refuse(w, NULL, "bad tag");
    unsigned wire = (unsigned)(tag & 7), number = (unsigned)(tag >> 3);
    if (number == 0 || number > FIELD_NUMBER_MAX)
        return refuse(w, NULL, "bad field number");
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(f->descriptor, number);
    if (!field && ++f->unknown > GW_WALK_REPEATED_MAX)
        return refuse(w, NULL, "too many unknown fields");
    switch (wire) {
    case WIRE_VARINT:
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        return walk_scalar(w, field, wire);
    case WIRE_BYTES:
        return walk_bytes(w, field);
    case WIRE_GROUP:
    case WIRE_GROUP_END:
        return refuse(w, field, "groups are not supported");
    default:
        return refuse(w, field, "bad wire type");
    }
}

gw_status gw_walk(const ProtobufCMessageDescriptor *d, gw_str bytes, gw_error *err)
{
    if (bytes.len == 0)
        return GW_OK;
    /* only what is in use is looked at, and zeroing cost more than most messages */
    GW_UNINITIALIZED walk w;
    w.at = (const uint8_t *)bytes.ptr;
    w.depth = 0;
    w.err = err;
    ProtobufCFieldDescriptor outermost = {.name = "", .descriptor = d};
    gw_status rc = enter(&w, &outermost, w.at + bytes.len);
    w.frames[0].via = NULL;
    while (rc == GW_OK && w.depth > 0) {
        while (w.depth > 0 && w.at == w.frames[w.depth - 1].end)
            w.depth--;
        if (w.depth > 0)
            rc = walk_field(&w);
    }
    return rc;
}
