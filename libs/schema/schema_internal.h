/*
 * The parts of a schema: files and symbols (schema_files.c), options (schema_options.c) and methods
 * (schema.c), all in one arena.
 */
#pragma once

#include "core/arena.h"
#include "schema/schema.h"

#include "google/protobuf/descriptor.pb-c.h"

typedef struct schema_file {
    gw_str name;
    gw_str bytes; /* view into the descriptor set */
    Google__Protobuf__FileDescriptorProto *proto;
    gw_str *imports;
    size_t import_count;
} schema_file;

/* What a rpc's descriptor says, found by its service's full name. */
typedef struct schema_service {
    gw_str name;
    const Google__Protobuf__ServiceDescriptorProto *proto;
} schema_service;

struct gw_schema {
    gw_arena *arena;
    schema_file *files;
    size_t file_count;
    gw_map *files_by_name; /* -> schema_file */
    gw_map *symbols; /* full name -> schema_file */
    gw_map *messages; /* likewise, messages only */
    gw_map *services; /* full name -> schema_service */
    gw_map *comments; /* full name -> gw_str */
    gw_map *methods_by_path; /* -> gw_method */
    gw_method *methods;
    size_t method_count;
};

/* Reads the set's files, their symbols, services and comments. */
GW_CHECK gw_status gw_schema_read_files(gw_schema *s, gw_str descriptor_set, gw_error *err);

/* Reads the options of a method; `options` may be NULL. */
GW_CHECK gw_status gw_schema_read_options(gw_schema *s,
                                          const Google__Protobuf__MethodOptions *options,
                                          gw_method *method, gw_error *err);

/* Keeps the leading comments of a file that carries its source info. */
GW_CHECK gw_status gw_schema_read_comments(gw_schema *s,
                                           const Google__Protobuf__FileDescriptorProto *file,
                                           gw_error *err);
