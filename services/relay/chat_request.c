#include "chat_request.h"

#include <stdio.h>

gw_status chat_fail(gw_error *err, gw_status code, const chat_place *at, const char *format, ...)
{
    char field[96], why[200];
    int len = snprintf(field, sizeof(field), "%s[%zu]", at->list, at->index);
    va_list args;

    if (at->member)
        len += snprintf(field + len, sizeof(field) - (size_t)len, ".%s", at->member);
    if (at->part >= 0)
        (void)snprintf(field + len, sizeof(field) - (size_t)len, "[%td]", at->part);
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    return gw_fail_field(err, code, field, "%s", why);
}

static gw_status invalid(gw_error *err, const chat_place *at, const char *what)
{
    return chat_fail(err, GW_ERR_INVALID_ARGUMENT, at, "%s", what);
}

/* ---- content parts ---- */

/* "data:image/png;base64,…" (RFC 2397); parameters of the type are dropped. */
static bool read_data_url(gw_str url, chat_part *ret)
{
    gw_str rest = gw_str_slice(url, strlen("data:"), url.len), head, mime;

    if (!gw_str_split(&rest, ',', &head) || !gw_str_ends_with(head, GW_STR(";base64")) ||
        !gw_str_split(&head, ';', &mime) || gw_str_find(mime, '/') < 0 || rest.len == 0)
        return false;
    ret->mime = mime;
    ret->data = rest;
    return true;
}

static bool is_web_url(gw_str url)
{
    return gw_str_starts_with(url, GW_STR("https://")) ||
           gw_str_starts_with(url, GW_STR("http://"));
}

static gw_status read_source(gw_str url, const chat_place *at, chat_part *ret, gw_error *err)
{
    if (gw_str_starts_with(url, GW_STR("data:"))) {
        if (read_data_url(url, ret))
            return GW_OK;
        return invalid(err, at, "a data URL has to be data:<media type>;base64,<data>");
    }
    if (!is_web_url(url))
        return invalid(err, at, "the URL has to begin with https://, http:// or data:");
    ret->url = url;
    return GW_OK;
}

static gw_status read_image(yyjson_val *part, const chat_place *at, chat_part *ret, gw_error *err)
{
    yyjson_val *image = yyjson_obj_get(part, "image_url");
    gw_str url = yyjson_is_str(image) ? json_string(image) : chat_string(image, "url");
    gw_str detail = chat_string(image, "detail");

    ret->kind = CHAT_IMAGE;
    ret->has_detail = detail.len > 0 && !gw_str_eq_c(detail, "auto");
    if (!url.ptr)
        return invalid(err, at, "an image_url part needs image_url.url");
    return read_source(url, at, ret, err);
}

static gw_status read_audio(yyjson_val *part, const chat_place *at, chat_part *ret, gw_error *err)
{
    yyjson_val *audio = yyjson_obj_get(part, "input_audio");
    gw_str format = chat_string(audio, "format");

    ret->kind = CHAT_AUDIO;
    ret->data = chat_string(audio, "data");
    if (gw_str_eq_c(format, "wav"))
        ret->mime = GW_STR("audio/wav");
    else if (gw_str_eq_c(format, "mp3"))
        ret->mime = GW_STR("audio/mp3");
    if (ret->data.len == 0 || ret->mime.len == 0)
        return invalid(err, at, "an input_audio part needs data and a format, wav or mp3");
    return GW_OK;
}

static gw_status read_file(yyjson_val *part, const chat_place *at, chat_part *ret, gw_error *err)
{
    yyjson_val *file = yyjson_obj_get(part, "file");
    gw_str data = chat_string(file, "file_data");

    ret->kind = CHAT_FILE;
    ret->name = chat_string(file, "filename");
    if (!data.ptr)
        return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, at,
                         "a file part needs file_data; uploaded files are not supported");
    return read_source(data, at, ret, err);
}

gw_status chat_part_read(yyjson_val *part, const chat_place *at, chat_part *ret, gw_error *err)
{
    gw_str type = chat_string(part, "type");
    bool is_text = gw_str_eq_c(type, "text");

    *ret = (chat_part){.mime = GW_STR(""), .name = GW_STR("")};
    if (is_text || gw_str_eq_c(type, "refusal")) {
        ret->text = chat_string(part, is_text ? "text" : "refusal");
        return ret->text.ptr ? GW_OK : invalid(err, at, "the part has no text");
    }
    if (gw_str_eq_c(type, "image_url"))
        return read_image(part, at, ret, err);
    if (gw_str_eq_c(type, "input_audio"))
        return read_audio(part, at, ret, err);
    if (gw_str_eq_c(type, "file"))
        return read_file(part, at, ret, err);
    return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, at,
                     "a part's type has to be text, image_url, input_audio or file");
}

/* ---- tools ---- */

gw_status chat_tool_read(yyjson_val *tool, size_t index, chat_tool *ret, gw_error *err)
{
    chat_place at = {.list = "tools", .index = index, .part = -1};
    yyjson_val *function = yyjson_obj_get(tool, "function");
    yyjson_val *parameters = yyjson_obj_get(function, "parameters");

    if (!yyjson_equals_str(yyjson_obj_get(tool, "type"), "function")) {
        at.member = "type";
        return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &at,
                         "this provider takes tools of type function only");
    }
    at.member = "function";
    *ret = (chat_tool){.name = chat_string(function, "name"),
                       .description = chat_string(function, "description"),
                       .parameters = yyjson_is_obj(parameters) ? parameters : NULL,
                       .strict = yyjson_is_true(yyjson_obj_get(function, "strict"))};
    if (ret->name.len == 0)
        return invalid(err, &at, "the function has no name");
    if (parameters && !ret->parameters && !yyjson_is_null(parameters))
        return invalid(err, &at, "parameters has to be a JSON schema, an object");
    return GW_OK;
}

gw_status chat_choice_read(yyjson_val *tool_choice, chat_choice *ret, gw_error *err)
{
    static const char *const words[] = {
        [CHAT_CHOICE_AUTO] = "auto",
        [CHAT_CHOICE_NONE] = "none",
        [CHAT_CHOICE_REQUIRED] = "required",
    };

    *ret = (chat_choice){0};
    if (!tool_choice || yyjson_is_null(tool_choice))
        return GW_OK;
    for (size_t i = CHAT_CHOICE_AUTO; i < GW_ARRAY_LEN(words); i++) {
        if (yyjson_equals_str(tool_choice, words[i])) {
            ret->kind = (chat_choice_kind)i;
            return GW_OK;
        }
    }
    gw_str name = chat_string(yyjson_obj_get(tool_choice, "function"), "name");
    if (!yyjson_equals_str(yyjson_obj_get(tool_choice, "type"), "function") || name.len == 0)
        return gw_fail_field(err, GW_ERR_UNSUPPORTED_PARAMETER, "tool_choice",
                             "'tool_choice' has to be auto, none, required or a named function");
    *ret = (chat_choice){.kind = CHAT_CHOICE_NAMED, .name = name};
    return GW_OK;
}

gw_status chat_choice_of_nothing(yyjson_val *tool_choice, gw_error *err)
{
    chat_choice choice;
    gw_status rc = chat_choice_read(tool_choice, &choice, err);

    if (rc != GW_OK || (choice.kind != CHAT_CHOICE_REQUIRED && choice.kind != CHAT_CHOICE_NAMED))
        return rc;
    return gw_fail_field(err, GW_ERR_UNSUPPORTED_PARAMETER, "tool_choice",
                         "'tool_choice' demands the call of a tool, and there are no 'tools'");
}

gw_status chat_object_read(gw_str text, yyjson_mut_doc *doc, yyjson_mut_val **ret, gw_error *err)
{
    yyjson_read_err why = {0};
    /* Without YYJSON_READ_INSITU the text is only read: const is cast away for the signature. */
    yyjson_doc *parsed =
        yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_NOFLAG, NULL, &why);
    yyjson_val *root = yyjson_doc_get_root(parsed);
    bool is_object = yyjson_is_obj(root) && !json_is_too_deep(root);

    *ret = is_object ? yyjson_val_mut_copy(doc, root) : NULL;
    yyjson_doc_free(parsed);
    if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION || (is_object && !*ret))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read a tool's JSON");
    return GW_OK;
}

gw_status chat_call_read(yyjson_val *call, const chat_place *at, yyjson_mut_doc *doc,
                         chat_call *ret, gw_error *err)
{
    yyjson_val *function = yyjson_obj_get(call, "function");
    gw_str text = chat_string(function, "arguments");

    *ret = (chat_call){
        .id = chat_string(call, "id"), .name = chat_string(function, "name"), .source = call};
    if (ret->name.len == 0 || ret->id.len == 0)
        return invalid(err, at, "a tool call needs an id and function.name");
    if (gw_str_trim(text).len == 0)
        text = GW_STR("{}");
    gw_status rc = chat_object_read(text, doc, &ret->arguments, err);
    if (rc == GW_OK && !ret->arguments)
        rc = invalid(err, at, "function.arguments has to be the text of a JSON object");
    return rc;
}

gw_status chat_assistant_check(yyjson_val *message, size_t index, gw_error *err)
{
    static const char *const members[] = {"audio", "function_call"};

    for (size_t i = 0; i < GW_ARRAY_LEN(members); i++) {
        yyjson_val *given = json_given(message, members[i]);
        chat_place at = {.list = "messages", .index = index, .member = members[i], .part = -1};
        if (given)
            return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &at,
                             "'%s' of an assistant's message is not supported by this provider",
                             members[i]);
    }
    return GW_OK;
}

/* ---- response_format ---- */

gw_status chat_format_read(yyjson_val *response_format, chat_format *ret, yyjson_val **ret_schema,
                           gw_error *err)
{
    yyjson_val *type = yyjson_obj_get(response_format, "type");

    *ret = CHAT_FORMAT_TEXT;
    if (!response_format || yyjson_is_null(response_format) || yyjson_equals_str(type, "text"))
        return GW_OK;
    if (yyjson_equals_str(type, "json_object")) {
        *ret = CHAT_FORMAT_JSON;
        return GW_OK;
    }
    *ret = CHAT_FORMAT_SCHEMA;
    *ret_schema = yyjson_obj_get(yyjson_obj_get(response_format, "json_schema"), "schema");
    if (!yyjson_equals_str(type, "json_schema"))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "response_format",
                             "'response_format.type' has to be text, json_object or json_schema");
    if (!yyjson_is_obj(*ret_schema))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "response_format",
                             "'response_format.json_schema.schema' has to be an object");
    return GW_OK;
}
