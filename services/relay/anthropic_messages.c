/* Messages of a chat request as Anthropic's turns of content blocks. */
#include "anthropic.h"
#include "chat_request.h"
#include "json_builder.h"

typedef struct turns {
    adapter_params *params;
    yyjson_mut_doc *doc;
    yyjson_mut_val *system; /* text blocks */
    yyjson_mut_val *messages;
    const char *role; /* of the last message, NULL before the first */
    yyjson_mut_val *blocks; /* its content */
    chat_place at;
} turns;

/* Where blocks of `role` go: the last message when it is the same one's. */
static yyjson_mut_val *blocks_of(turns *t, const char *role)
{
    if (!t->role || strcmp(t->role, role) != 0) {
        yyjson_mut_val *message = yyjson_mut_arr_add_obj(t->doc, t->messages);
        (void)yyjson_mut_obj_add_str(t->doc, message, "role", role);
        t->blocks = yyjson_mut_obj_add_arr(t->doc, message, "content");
        t->role = role;
    }
    return t->blocks;
}

static yyjson_mut_val *add_block(turns *t, yyjson_mut_val *to, const char *type)
{
    yyjson_mut_val *block = yyjson_mut_arr_add_obj(t->doc, to);

    (void)yyjson_mut_obj_add_str(t->doc, block, "type", type);
    return block;
}

/* Prompt caching is asked for by a mark on parts and tools; callers who know it may set it. */
static void copy_cache_control(turns *t, yyjson_val *part, yyjson_mut_val *block)
{
    yyjson_val *mark = yyjson_obj_get(part, "cache_control");

    if (yyjson_is_obj(mark))
        (void)yyjson_mut_obj_add_val(t->doc, block, "cache_control",
                                     yyjson_val_mut_copy(t->doc, mark));
}

/* Empty text is refused by Anthropic and says nothing. */
static void add_text(turns *t, yyjson_mut_val *to, gw_str text, yyjson_val *part)
{
    if (text.len == 0)
        return;
    yyjson_mut_val *block = add_block(t, to, "text");
    json_set_text(t->doc, block, "text", text);
    copy_cache_control(t, part, block);
}

static void add_source(turns *t, yyjson_mut_val *block, const chat_part *p)
{
    yyjson_mut_val *source = yyjson_mut_obj_add_obj(t->doc, block, "source");

    if (!p->data.ptr) {
        (void)yyjson_mut_obj_add_str(t->doc, source, "type", "url");
        json_set_text(t->doc, source, "url", p->url);
        return;
    }
    (void)yyjson_mut_obj_add_str(t->doc, source, "type", "base64");
    json_set_text(t->doc, source, "media_type", p->mime);
    json_set_text(t->doc, source, "data", p->data);
}

static gw_status add_part(turns *t, yyjson_mut_val *to, yyjson_val *part, gw_error *err)
{
    chat_part p;
    yyjson_mut_val *block;
    gw_status rc = chat_part_read(part, &t->at, &p, err);

    if (rc != GW_OK)
        return rc;
    switch (p.kind) {
    case CHAT_TEXT:
        add_text(t, to, p.text, part);
        return GW_OK;
    case CHAT_IMAGE:
        block = add_block(t, to, "image");
        break;
    case CHAT_FILE:
        if (p.data.ptr && !gw_str_eq_c(p.mime, "application/pdf"))
            return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &t->at,
                             "Anthropic takes files of type application/pdf only");
        block = add_block(t, to, "document");
        if (p.name.len > 0)
            json_set_text(t->doc, block, "title", p.name);
        break;
    default:
        return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &t->at,
                         "audio is not supported by Anthropic");
    }
    if (p.has_detail)
        adapter_params_ignore(t->params, GW_STR("messages.image_url.detail"));
    add_source(t, block, &p);
    copy_cache_control(t, part, block);
    return GW_OK;
}

/* Content of any message: null, a text, or parts. `only_text`: the system's. */
static gw_status add_content(turns *t, yyjson_mut_val *to, yyjson_val *content, bool only_text,
                             gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    yyjson_val *part;

    t->at.member = "content";
    t->at.part = -1;
    if (yyjson_is_str(content)) {
        add_text(t, to, json_string(content), NULL);
        return GW_OK;
    }
    if (content && !yyjson_is_arr(content) && !yyjson_is_null(content))
        return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &t->at, "has to be a string or an array");
    while ((part = yyjson_arr_iter_next(&it))) {
        t->at.part++;
        if (only_text && !yyjson_equals_str(yyjson_obj_get(part, "type"), "text"))
            return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &t->at,
                             "a system message has text only");
        gw_status rc = add_part(t, to, part, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

/* ---- by role ---- */

static gw_status add_system(turns *t, yyjson_val *message, gw_error *err)
{
    return add_content(t, t->system, yyjson_obj_get(message, "content"), true, err);
}

static gw_status add_user(turns *t, yyjson_val *message, gw_error *err)
{
    return add_content(t, blocks_of(t, "user"), yyjson_obj_get(message, "content"), false, err);
}

static gw_status add_tool_result(turns *t, yyjson_val *message, gw_error *err)
{
    gw_str id = chat_string(message, "tool_call_id");

    if (id.len == 0) {
        t->at.member = "tool_call_id";
        return chat_fail(err, GW_ERR_MISSING_PARAMETER, &t->at, "a tool message needs it");
    }
    yyjson_mut_val *block = add_block(t, blocks_of(t, "user"), "tool_result");
    json_set_text(t->doc, block, "tool_use_id", id);
    return add_content(t, yyjson_mut_obj_add_arr(t->doc, block, "content"),
                       yyjson_obj_get(message, "content"), false, err);
}

/* As the stream or the answer gave them, without the index that numbers them in a stream. */
static void add_thinking(turns *t, yyjson_val *message)
{
    static const char *const members[] = {"thinking", "signature", "data"};
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "thinking_blocks"));
    yyjson_val *given;

    while ((given = yyjson_arr_iter_next(&it))) {
        bool redacted = yyjson_equals_str(yyjson_obj_get(given, "type"), "redacted_thinking");
        yyjson_mut_val *block =
            add_block(t, blocks_of(t, "assistant"), redacted ? "redacted_thinking" : "thinking");
        for (size_t i = 0; i < GW_ARRAY_LEN(members); i++) {
            gw_str text = chat_string(given, members[i]);
            if (text.ptr)
                json_set_text(t->doc, block, members[i], text);
        }
    }
}

static gw_status add_calls(turns *t, yyjson_val *message, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(message, "tool_calls"));
    yyjson_val *given;
    chat_call call;

    t->at.member = "tool_calls";
    t->at.part = -1;
    while ((given = yyjson_arr_iter_next(&it))) {
        t->at.part++;
        gw_status rc = chat_call_read(given, &t->at, t->doc, &call, err);
        if (rc != GW_OK)
            return rc;
        yyjson_mut_val *block = add_block(t, blocks_of(t, "assistant"), "tool_use");
        json_set_text(t->doc, block, "id", call.id);
        json_set_text(t->doc, block, "name", call.name);
        (void)yyjson_mut_obj_add_val(t->doc, block, "input", call.arguments);
    }
    return GW_OK;
}

static gw_status add_assistant(turns *t, yyjson_val *message, gw_error *err)
{
    yyjson_val *content = yyjson_obj_get(message, "content");
    gw_str refusal = chat_string(message, "refusal");
    gw_status rc = chat_assistant_check(message, t->at.index, err);

    if (rc != GW_OK)
        return rc;
    add_thinking(t, message);
    if (yyjson_get_len(content) > 0 && (yyjson_is_str(content) || yyjson_is_arr(content))) {
        rc = add_content(t, blocks_of(t, "assistant"), content, false, err);
        if (rc != GW_OK)
            return rc;
    }
    if (refusal.len > 0)
        add_text(t, blocks_of(t, "assistant"), refusal, NULL);
    return add_calls(t, message, err);
}

static gw_status add_message(turns *t, yyjson_val *message, gw_error *err)
{
    static const struct {
        const char *role;
        gw_status (*add)(turns *t, yyjson_val *message, gw_error *err);
    } roles[] = {
        {"system", add_system},       {"developer", add_system}, {"user", add_user},
        {"assistant", add_assistant}, {"tool", add_tool_result},
    };
    gw_str role = chat_string(message, "role");

    if (yyjson_get_len(yyjson_obj_get(message, "name")) > 0)
        adapter_params_ignore(t->params, GW_STR("messages.name"));
    for (size_t i = 0; i < GW_ARRAY_LEN(roles); i++)
        if (gw_str_eq_c(role, roles[i].role))
            return roles[i].add(t, message, err);
    t->at.member = "role";
    t->at.part = -1;
    return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &t->at,
                     "has to be system, developer, user, assistant or tool");
}

gw_status anthropic_write_messages(adapter_params *params, json_builder *body, yyjson_mut_val *root,
                                   gw_error *err)
{
    yyjson_mut_doc *doc = body->doc;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(params->job->body->root, "messages"));
    turns t = {.params = params,
               .doc = doc,
               .system = yyjson_mut_arr(doc),
               .messages = yyjson_mut_arr(doc),
               .at = {.list = "messages", .part = -1}};
    yyjson_val *message;

    while ((message = yyjson_arr_iter_next(&it))) {
        gw_status rc = add_message(&t, message, err);
        if (rc != GW_OK)
            return rc;
        t.at.index++;
    }
    if (body->failed)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (yyjson_mut_arr_size(t.messages) == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "messages",
                             "'messages' needs one of the user or the assistant");
    if (yyjson_mut_arr_size(t.system) > 0)
        (void)yyjson_mut_obj_add_val(doc, root, "system", t.system);
    (void)yyjson_mut_obj_add_val(doc, root, "messages", t.messages);
    return GW_OK;
}
