/* Messages of a chat request as Gemini's contents. */
#include "chat_request.h"
#include "google.h"
#include "json_builder.h"

#include "core/map.h"

typedef struct contents {
    adapter_params *params;
    yyjson_mut_doc *doc;
    yyjson_mut_val *system; /* parts */
    yyjson_mut_val *list;
    const char *role; /* of the last content, NULL before the first */
    yyjson_mut_val *parts; /* its parts */
    gw_map *calls; /* id -> the assistant's call, a yyjson_val: a result has to name its function */
    bool are_signed; /* the model refuses calls without a signature */
    chat_place at;
} contents;

/* Where parts of `role` go: the last content when it is the same one's. */
static yyjson_mut_val *parts_of(contents *c, const char *role)
{
    if (!c->role || strcmp(c->role, role) != 0) {
        yyjson_mut_val *content = yyjson_mut_arr_add_obj(c->doc, c->list);
        (void)yyjson_mut_obj_add_str(c->doc, content, "role", role);
        c->parts = yyjson_mut_obj_add_arr(c->doc, content, "parts");
        c->role = role;
    }
    return c->parts;
}

/* Empty text is refused by some models and says nothing: only a signature needs it. */
static yyjson_mut_val *add_text(contents *c, yyjson_mut_val *to, gw_str text)
{
    yyjson_mut_val *part = yyjson_mut_arr_add_obj(c->doc, to);

    json_set_text(c->doc, part, "text", text);
    return part;
}

static void add_media(contents *c, yyjson_mut_val *to, const chat_part *p)
{
    bool inline_data = p->data.ptr != NULL;
    yyjson_mut_val *part = yyjson_mut_arr_add_obj(c->doc, to);
    yyjson_mut_val *media =
        yyjson_mut_obj_add_obj(c->doc, part, inline_data ? "inlineData" : "fileData");

    if (p->mime.len > 0)
        json_set_text(c->doc, media, "mimeType", p->mime);
    json_set_text(c->doc, media, inline_data ? "data" : "fileUri", inline_data ? p->data : p->url);
}

/* Google wants to know what is behind a URL; the name's ending is all we have. */
static gw_str mime_of_url(gw_str url)
{
    static const struct {
        const char *ending, *mime;
    } known[] = {
        {".png", "image/png"},       {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"},
        {".webp", "image/webp"},     {".gif", "image/gif"},  {".heic", "image/heic"},
        {".pdf", "application/pdf"},
    };
    gw_str path;

    if (!gw_str_split(&url, '?', &path))
        path = url;
    for (size_t i = 0; i < GW_ARRAY_LEN(known); i++) {
        gw_str ending = gw_str_of(known[i].ending);
        if (path.len > ending.len &&
            gw_str_eq_nocase(gw_str_slice(path, path.len - ending.len, path.len), ending))
            return gw_str_of(known[i].mime);
    }
    return GW_STR("");
}

/* Content of a message: null, a text, or parts. */
static gw_status add_content(contents *c, yyjson_mut_val *to, yyjson_val *content, bool only_text,
                             gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    yyjson_val *part;
    chat_part p;

    c->at.member = "content";
    c->at.part = -1;
    if (yyjson_is_str(content)) {
        if (yyjson_get_len(content) > 0)
            (void)add_text(c, to, json_string(content));
        return GW_OK;
    }
    if (content && !yyjson_is_arr(content) && !yyjson_is_null(content))
        return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &c->at, "has to be a string or an array");
    while ((part = yyjson_arr_iter_next(&it))) {
        c->at.part++;
        gw_status rc = chat_part_read(part, &c->at, &p, err);
        if (rc != GW_OK)
            return rc;
        if (p.kind == CHAT_TEXT) {
            if (p.text.len > 0)
                (void)add_text(c, to, p.text);
            continue;
        }
        if (only_text)
            return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &c->at,
                             "system and tool messages have text only");
        if (p.has_detail)
            adapter_params_ignore(c->params, GW_STR("messages.image_url.detail"));
        if (p.url.ptr)
            p.mime = mime_of_url(p.url);
        add_media(c, to, &p);
    }
    return GW_OK;
}

/* ---- by role ---- */

static gw_status add_system(contents *c, yyjson_val *message, gw_error *err)
{
    return add_content(c, c->system, yyjson_obj_get(message, "content"), true, err);
}

static gw_status add_user(contents *c, yyjson_val *message, gw_error *err)
{
    return add_content(c, parts_of(c, "user"), yyjson_obj_get(message, "content"), false, err);
}

static gw_str signature_of(yyjson_val *message_or_call)
{
    yyjson_val *extra = yyjson_obj_get(message_or_call, "extra_content");

    return chat_string(yyjson_obj_get(extra, "google"), "thought_signature");
}

/*
 * What Google takes for the signature of a call that is not its model's own: of another provider's, before it was asked, or of a caller
 * that does not keep what it does not know. Of calls side by side the first one has the signature.
 */
#define FOREIGN_SIGNATURE "skip_thought_signature_validator"

static gw_status add_calls(contents *c, yyjson_val *message, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    yyjson_val *given;
    chat_call call;

    c->at.member = "tool_calls";
    c->at.part = -1;
    while ((given = yyjson_arr_iter_next(&it))) {
        c->at.part++;
        gw_status rc = chat_call_read(given, &c->at, c->doc, &call, err);
        if (rc != GW_OK)
            return rc;
        if (!gw_map_put(c->calls, call.id, given))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
        gw_str signature = signature_of(given);
        if (!signature.ptr && c->are_signed && c->at.part == 0)
            signature = GW_STR(FOREIGN_SIGNATURE);
        yyjson_mut_val *part = yyjson_mut_arr_add_obj(c->doc, parts_of(c, "model"));
        yyjson_mut_val *out = yyjson_mut_obj_add_obj(c->doc, part, "functionCall");
        json_set_text(c->doc, out, "id", call.id);
        json_set_text(c->doc, out, "name", call.name);
        (void)yyjson_mut_obj_add_val(c->doc, out, "args", call.arguments);
        if (signature.ptr)
            json_set_text(c->doc, part, "thoughtSignature", signature);
    }
    return GW_OK;
}

static gw_status add_assistant(contents *c, yyjson_val *message, gw_error *err)
{
    yyjson_val *content = yyjson_obj_get(message, "content");
    gw_str signature = signature_of(message), refusal = chat_string(message, "refusal");
    yyjson_mut_val *last = NULL;
    gw_status rc = chat_assistant_check(message, c->at.index, err);

    if (rc != GW_OK)
        return rc;
    if (yyjson_get_len(content) > 0 && (yyjson_is_str(content) || yyjson_is_arr(content))) {
        yyjson_mut_val *parts = parts_of(c, "model");
        rc = add_content(c, parts, content, false, err);
        if (rc != GW_OK)
            return rc;
        last = yyjson_mut_arr_get_last(parts);
    }
    if (refusal.len > 0)
        last = add_text(c, parts_of(c, "model"), refusal);
    if (signature.ptr)
        json_set_text(c->doc, last ? last : add_text(c, parts_of(c, "model"), GW_STR("")),
                      "thoughtSignature", signature);
    return add_calls(c, message, err);
}

/* What the tool said: an object as it is, everything else as `output`. */
static gw_status set_response(contents *c, yyjson_mut_val *out, gw_str text, gw_error *err)
{
    yyjson_mut_val *response = NULL;

    if (gw_str_starts_with(gw_str_trim(text), GW_STR("{"))) {
        gw_status rc = chat_object_read(text, c->doc, &response, err);
        if (rc != GW_OK)
            return rc;
    }
    if (!response) {
        response = yyjson_mut_obj(c->doc);
        (void)yyjson_mut_obj_add_strncpy(c->doc, response, "output", text.ptr ? text.ptr : "",
                                         text.len);
    }
    (void)yyjson_mut_obj_add_val(c->doc, out, "response", response);
    return GW_OK;
}

static gw_status read_tool_text(contents *c, yyjson_val *message, gw_buf *ret, gw_error *err)
{
    yyjson_mut_val *parts = yyjson_mut_arr(c->doc);
    gw_status rc = add_content(c, parts, yyjson_obj_get(message, "content"), true, err);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(parts);
    yyjson_mut_val *part;

    while (rc == GW_OK && (part = yyjson_mut_arr_iter_next(&it))) {
        yyjson_mut_val *text = yyjson_mut_obj_get(part, "text");
        gw_buf_append(ret, yyjson_mut_get_str(text), yyjson_mut_get_len(text));
    }
    if (rc == GW_OK && gw_buf_failed(ret))
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    return rc;
}

static gw_status add_tool_result(contents *c, yyjson_val *message, gw_error *err)
{
    gw_str id = chat_string(message, "tool_call_id");
    yyjson_val *call = id.len > 0 ? gw_map_get(c->calls, id) : NULL;
    gw_auto_buf text = {0};

    if (!call) {
        c->at.member = "tool_call_id";
        c->at.part = -1;
        return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &c->at,
                         "has to be the id of a tool call of an assistant's message before");
    }
    gw_status rc = read_tool_text(c, message, &text, err);
    if (rc != GW_OK)
        return rc;
    yyjson_mut_val *part = yyjson_mut_arr_add_obj(c->doc, parts_of(c, "user"));
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(c->doc, part, "functionResponse");
    json_set_text(c->doc, out, "id", id);
    json_set_text(c->doc, out, "name", chat_string(yyjson_obj_get(call, "function"), "name"));
    return set_response(c, out, gw_buf_str(&text), err);
}

static gw_status add_message(contents *c, yyjson_val *message, gw_error *err)
{
    static const struct {
        const char *role;
        gw_status (*add)(contents *c, yyjson_val *message, gw_error *err);
    } roles[] = {
        {"system", add_system},       {"developer", add_system}, {"user", add_user},
        {"assistant", add_assistant}, {"tool", add_tool_result},
    };
    gw_str role = chat_string(message, "role");

    if (yyjson_get_len(yyjson_obj_get(message, "name")) > 0)
        adapter_params_ignore(c->params, GW_STR("messages.name"));
    for (size_t i = 0; i < GW_ARRAY_LEN(roles); i++)
        if (gw_str_eq_c(role, roles[i].role))
            return roles[i].add(c, message, err);
    c->at.member = "role";
    c->at.part = -1;
    return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &c->at,
                     "has to be system, developer, user, assistant or tool");
}

gw_status google_write_contents(adapter_params *params, gw_str model, json_builder *body,
                                yyjson_mut_val *root, gw_error *err)
{
    yyjson_mut_doc *doc = body->doc;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(params->job->body->root, "messages"));
    gw_auto(gw_map) calls = gw_map_new(NULL);
    contents c = {.params = params,
                  .doc = doc,
                  .system = yyjson_mut_arr(doc),
                  .list = yyjson_mut_arr(doc),
                  .calls = calls,
                  .are_signed = !google_is_up_to_2(model),
                  .at = {.list = "messages", .part = -1}};
    yyjson_val *message;

    if (!calls)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    while ((message = yyjson_arr_iter_next(&it))) {
        gw_status rc = add_message(&c, message, err);
        if (rc != GW_OK)
            return rc;
        c.at.index++;
    }
    if (body->failed)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (yyjson_mut_arr_size(c.list) == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "messages",
                             "'messages' needs one of the user or the assistant");
    if (yyjson_mut_arr_size(c.system) > 0) {
        yyjson_mut_val *instruction = yyjson_mut_obj_add_obj(doc, root, "systemInstruction");
        (void)yyjson_mut_obj_add_val(doc, instruction, "parts", c.system);
    }
    (void)yyjson_mut_obj_add_val(doc, root, "contents", c.list);
    return GW_OK;
}
