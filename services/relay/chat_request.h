/*
 * Members of an OpenAI chat request, read for adapters that write another dialect: content parts,
 * tools, tool calls, formats. What is malformed, or no provider could take, is refused with its path.
 *
 * Thread: values; views into the request's JSON.
 */
#pragma once

#include "json_members.h"

#include "core/status.h"

/* Where in the request something stands, for errors: "messages[2].content[0]". */
typedef struct chat_place {
    const char *list; /* "messages", "tools" */
    size_t index;
    const char *member; /* "content", "tool_calls"; NULL: the item itself */
    ptrdiff_t part; /* -1: none */
} chat_place;
/* Sets the field and returns `code`. */
gw_status chat_fail(gw_error *err, gw_status code, const chat_place *at, const char *format, ...)
    GW_PRINTF(4, 5);

typedef enum chat_part_kind { CHAT_TEXT, CHAT_IMAGE, CHAT_AUDIO, CHAT_FILE } chat_part_kind;

typedef struct chat_part {
    chat_part_kind kind;
    gw_str text; /* of CHAT_TEXT */
    gw_str mime; /* "image/png"; "" when a URL does not say */
    gw_str data; /* base64; ptr NULL when it stands behind `url` */
    gw_str url; /* http or https */
    gw_str name; /* of a file, "" when none */
    bool has_detail; /* of an image: how closely it is to be looked at was asked for */
} chat_part;
/* GW_ERR_INVALID_ARGUMENT, GW_ERR_UNSUPPORTED_PARAMETER (a kind nobody knows, an uploaded file). */
GW_CHECK gw_status chat_part_read(yyjson_val *part, const chat_place *at, chat_part *ret,
                                  gw_error *err);

typedef struct chat_tool {
    gw_str name;
    gw_str description; /* ptr NULL: none */
    yyjson_val *parameters; /* an object, NULL: none */
    bool strict;
} chat_tool;
/* Functions only: GW_ERR_UNSUPPORTED_PARAMETER for other types. */
GW_CHECK gw_status chat_tool_read(yyjson_val *tool, size_t index, chat_tool *ret, gw_error *err);

typedef enum chat_choice_kind {
    CHAT_CHOICE_ABSENT,
    CHAT_CHOICE_AUTO,
    CHAT_CHOICE_NONE,
    CHAT_CHOICE_REQUIRED,
    CHAT_CHOICE_NAMED,
} chat_choice_kind;
typedef struct chat_choice {
    chat_choice_kind kind;
    gw_str name; /* of CHAT_CHOICE_NAMED */
} chat_choice;
/* CHAT_CHOICE_ABSENT with an error, too: GW_ERR_UNSUPPORTED_PARAMETER. */
GW_CHECK gw_status chat_choice_read(yyjson_val *tool_choice, chat_choice *ret, gw_error *err);
/* Where no tools are sent: one that demands a call is GW_ERR_UNSUPPORTED_PARAMETER, too. */
GW_CHECK gw_status chat_choice_of_nothing(yyjson_val *tool_choice, gw_error *err);

/* A JSON object in a text, as a value of `doc`; NULL when the text is none. GW_ERR_NO_MEMORY only. */
GW_CHECK gw_status chat_object_read(gw_str text, yyjson_mut_doc *doc, yyjson_mut_val **ret,
                                    gw_error *err);

typedef struct chat_call { /* of an assistant's message */
    gw_str id;
    gw_str name;
    yyjson_mut_val *arguments; /* an object of `doc` */
    yyjson_val *source;
} chat_call;
GW_CHECK gw_status chat_call_read(yyjson_val *call, const chat_place *at, yyjson_mut_doc *doc,
                                  chat_call *ret, gw_error *err);

/*
 * Of an assistant's message what has no form in another dialect: audio that the provider keeps, and the call of before
 * there were tools. GW_ERR_UNSUPPORTED_PARAMETER.
 */
GW_CHECK gw_status chat_assistant_check(yyjson_val *message, size_t index, gw_error *err);

typedef enum chat_format { CHAT_FORMAT_TEXT, CHAT_FORMAT_JSON, CHAT_FORMAT_SCHEMA } chat_format;
/* *ret_schema is set for CHAT_FORMAT_SCHEMA. */
GW_CHECK gw_status chat_format_read(yyjson_val *response_format, chat_format *ret,
                                    yyjson_val **ret_schema, gw_error *err);

/* The ids, names and roles are strings; NULL of anything else. */
static inline gw_str chat_string(yyjson_val *object, const char *name)
{
    return json_string(yyjson_obj_get(object, name));
}
