/*
 * Turns of content blocks as messages of a chat request. A turn of the user becomes one message for each tool's result,
 * which have to follow the calls, and one for the rest.
 */
#include "json_builder.h"
#include "messages_front.h"

#include <stdlib.h>

static void note_origin(messages_turns *t, size_t index)
{
    gw_buf_append(&t->origins->indexes, &index, sizeof(index));
    t->body->failed |= gw_buf_failed(&t->origins->indexes);
}

static yyjson_mut_val *add_message(messages_turns *t, const char *role)
{
    yyjson_mut_val *message = yyjson_mut_arr_add_obj(t->doc, t->messages);

    (void)yyjson_mut_obj_add_str(t->doc, message, "role", role);
    note_origin(t, t->at.index);
    return message;
}

/* ---- by role ---- */

static gw_status add_system(messages_turns *t, yyjson_val *content, gw_error *err)
{
    gw_auto_buf text = {0};
    gw_status rc = messages_join_text(t, content, NULL, &text, err);

    t->body->failed |= gw_buf_failed(&text);
    if (rc == GW_OK && text.len > 0)
        messages_set_buf(t, add_message(t, "system"), "content", &text);
    return rc;
}

/*
 * A tool's result is text in OpenAI's form; what else is in it follows in the user's message, after a word that says what it is.
 */
static gw_status add_result(messages_turns *t, yyjson_val *block, yyjson_mut_val *parts,
                            gw_error *err)
{
    gw_str id = chat_string(block, "tool_use_id");
    yyjson_mut_val *rest = yyjson_mut_arr(t->doc), *part;
    gw_auto_buf text = {0}, label = {0};

    if (id.len == 0)
        return chat_fail(err, GW_ERR_MISSING_PARAMETER, &t->at, "a tool_result needs tool_use_id");
    if (yyjson_is_true(yyjson_obj_get(block, "is_error")))
        gw_buf_append_c(&text, "Error: ");
    gw_status rc = messages_join_text(t, yyjson_obj_get(block, "content"), rest, &text, err);
    if (rc != GW_OK)
        return rc;
    if (yyjson_mut_arr_size(rest) > 0) {
        gw_buf_appendf(&label, "Part of the result of %.*s:", GW_STR_ARG(id));
        messages_set_buf(t, messages_add_part(t, parts, "text"), "text", &label);
        if (text.len == 0)
            gw_buf_append_c(&text, "(see below)");
    }
    while ((part = yyjson_mut_arr_remove_first(rest)))
        (void)yyjson_mut_arr_append(parts, part);
    yyjson_mut_val *message = add_message(t, "tool");
    json_set_text(t->doc, message, "tool_call_id", id);
    messages_set_buf(t, message, "content", &text);
    return GW_OK;
}

static bool is_result(yyjson_val *block)
{
    return yyjson_equals_str(yyjson_obj_get(block, "type"), "tool_result");
}

/* All results, or all of the rest. */
static gw_status add_blocks(messages_turns *t, yyjson_val *content, bool results,
                            yyjson_mut_val *parts, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    yyjson_val *block;
    gw_status rc = GW_OK;

    t->at.part = -1;
    while (rc == GW_OK && (block = yyjson_arr_iter_next(&it))) {
        t->at.part++;
        if (is_result(block) != results)
            continue;
        rc = results ? add_result(t, block, parts, err) : messages_add_block(t, parts, block, err);
    }
    return rc;
}

static gw_status add_user(messages_turns *t, yyjson_val *content, gw_error *err)
{
    yyjson_mut_val *parts = yyjson_mut_arr(t->doc);

    if (yyjson_is_str(content)) {
        json_set_text(t->doc, add_message(t, "user"), "content", json_string(content));
        return GW_OK;
    }
    gw_status rc = add_blocks(t, content, true, parts, err);
    if (rc == GW_OK)
        rc = add_blocks(t, content, false, parts, err);
    if (rc != GW_OK || yyjson_mut_arr_size(parts) == 0)
        return rc;
    yyjson_mut_val *message = add_message(t, "user"), *first = yyjson_mut_arr_get_first(parts);
    yyjson_mut_val *text = yyjson_mut_obj_get(first, "text");
    if (yyjson_mut_arr_size(parts) == 1 && text) /* as every server understands it */
        json_set_text(t->doc, message, "content",
                      gw_str_n(yyjson_mut_get_str(text), yyjson_mut_get_len(text)));
    else
        (void)yyjson_mut_obj_add_val(t->doc, message, "content", parts);
    return GW_OK;
}

static void add_signature(messages_turns *t, yyjson_mut_val *to)
{
    if (!t->signature.ptr)
        return;
    yyjson_mut_val *extra = yyjson_mut_obj_add_obj(t->doc, to, "extra_content");
    json_set_text(t->doc, yyjson_mut_obj_add_obj(t->doc, extra, "google"), "thought_signature",
                  t->signature);
    t->signature = GW_STR_NULL;
}

static gw_status add_call(messages_turns *t, yyjson_mut_val *calls, yyjson_val *block,
                          gw_error *err)
{
    yyjson_val *input = yyjson_obj_get(block, "input");
    gw_str id = chat_string(block, "id"), name = chat_string(block, "name");
    size_t len = 0;

    if (id.len == 0 || name.len == 0 || !yyjson_is_obj(input))
        return messages_invalid(t, err, "a tool_use needs id, name and input, an object");
    yyjson_mut_val *call = messages_add_part(t, calls, "function");
    json_set_text(t->doc, call, "id", id);
    yyjson_mut_val *function = yyjson_mut_obj_add_obj(t->doc, call, "function");
    json_set_text(t->doc, function, "name", name);
    char *text = yyjson_val_write(input, YYJSON_WRITE_NOFLAG, &len);
    t->body->failed |= !text;
    if (text)
        (void)yyjson_mut_obj_add_strncpy(t->doc, function, "arguments", text, len);
    free(text);
    add_signature(t, call);
    return GW_OK;
}

/* Thinking has no place in a chat request: Anthropic, too, passes over that of earlier turns. */
static void read_thinking(messages_turns *t, yyjson_val *block)
{
    gw_str data = chat_string(block, "data");
    bool is_google = t->params->job->target->provider->kind == PROVIDER_GOOGLE;

    if (is_google && gw_str_starts_with(data, GW_STR(MESSAGES_SIGNATURE_MARK)))
        t->signature = gw_str_slice(data, strlen(MESSAGES_SIGNATURE_MARK), data.len);
    else if (!gw_str_starts_with(data, GW_STR(MESSAGES_SIGNATURE_MARK)))
        adapter_params_ignore(t->params, GW_STR("messages.thinking"));
}

static gw_status read_assistant_block(messages_turns *t, yyjson_val *block, gw_buf *text,
                                      yyjson_mut_val *calls, gw_error *err)
{
    gw_str type = chat_string(block, "type");

    if (gw_str_eq_c(type, "text"))
        gw_buf_append_str(text, chat_string(block, "text"));
    else if (gw_str_eq_c(type, "tool_use"))
        return add_call(t, calls, block, err);
    else if (gw_str_eq_c(type, "thinking") || gw_str_eq_c(type, "redacted_thinking"))
        read_thinking(t, block);
    else
        return messages_unsupported(
            t, err, "a block of the assistant has to be of type text, tool_use or thinking here");
    return GW_OK;
}

static gw_status add_assistant(messages_turns *t, yyjson_val *content, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    yyjson_mut_val *calls = yyjson_mut_arr(t->doc);
    gw_auto_buf text = {0};
    yyjson_val *block;

    gw_buf_append_str(&text, json_string(content));
    t->signature = GW_STR_NULL;
    t->at.part = -1;
    while ((block = yyjson_arr_iter_next(&it))) {
        t->at.part++;
        gw_status rc = read_assistant_block(t, block, &text, calls, err);
        if (rc != GW_OK)
            return rc;
    }
    bool has_calls = yyjson_mut_arr_size(calls) > 0;
    t->body->failed |= gw_buf_failed(&text);
    if (text.len == 0 && !has_calls)
        return GW_OK; /* thinking only */
    yyjson_mut_val *message = add_message(t, "assistant");
    if (text.len > 0)
        messages_set_buf(t, message, "content", &text);
    else
        (void)yyjson_mut_obj_add_null(t->doc, message, "content");
    if (has_calls)
        (void)yyjson_mut_obj_add_val(t->doc, message, "tool_calls", calls);
    add_signature(t, message); /* of the text */
    return GW_OK;
}

static gw_status add_turn(messages_turns *t, yyjson_val *message, gw_error *err)
{
    static const struct {
        const char *role;
        gw_status (*add)(messages_turns *t, yyjson_val *content, gw_error *err);
    } roles[] = {{"user", add_user}, {"assistant", add_assistant}, {"system", add_system}};
    gw_str role = chat_string(message, "role");
    yyjson_val *content = yyjson_obj_get(message, "content");

    t->at.member = "content";
    t->at.part = -1;
    if (!yyjson_is_str(content) && !yyjson_is_arr(content))
        return messages_invalid(t, err, "has to be a string or an array of blocks");
    for (size_t i = 0; i < GW_ARRAY_LEN(roles); i++)
        if (gw_str_eq_c(role, roles[i].role))
            return roles[i].add(t, content, err);
    t->at.member = "role";
    return messages_invalid(t, err, "has to be user, assistant or system");
}

/* Anthropic's models go on where such a message ends; others would begin anew. */
static gw_status check_prefill(messages_turns *t, yyjson_val *last, gw_error *err)
{
    if (!yyjson_equals_str(yyjson_obj_get(last, "role"), "assistant"))
        return GW_OK;
    if (t->params->job->route->drops_params) {
        adapter_params_ignore(t->params, GW_STR("prefill"));
        return GW_OK;
    }
    t->at.index--;
    t->at.member = "role";
    t->at.part = -1;
    return messages_unsupported(
        t, err,
        "the last message may not be the assistant's: this provider does not go on with it");
}

gw_status messages_write_turns(adapter_params *params, json_builder *body, yyjson_mut_val *root,
                               messages_origins *origins, gw_error *err)
{
    yyjson_val *asked = params->job->body->root, *message, *last = NULL;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(asked, "messages"));
    messages_turns t = {.params = params,
                        .body = body,
                        .doc = body->doc,
                        .messages = yyjson_mut_obj_add_arr(body->doc, root, "messages"),
                        .origins = origins,
                        .at = {.list = "messages", .index = MESSAGES_ORIGIN_SYSTEM, .part = -1}};
    gw_status rc = add_system(&t, yyjson_obj_get(asked, "system"), err);

    if (rc != GW_OK)
        return gw_fail_field(err, rc, "system",
                             "'system' has to be a string or an array of text blocks");
    t.at.index = 0;
    while (rc == GW_OK && (message = yyjson_arr_iter_next(&it))) {
        rc = add_turn(&t, message, err);
        t.at.index++;
        last = message;
    }
    if (rc == GW_OK)
        rc = check_prefill(&t, last, err);
    if (rc == GW_OK && !last)
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "messages", "'messages' is empty");
    return rc;
}
