/* Blocks of the Messages API as parts of a chat request, and texts that were blocks. */
#include "json_builder.h"
#include "messages_front.h"

gw_status messages_unsupported(messages_turns *t, gw_error *err, const char *what)
{
    return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &t->at, "%s", what);
}

gw_status messages_invalid(messages_turns *t, gw_error *err, const char *what)
{
    return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &t->at, "%s", what);
}

void messages_set_buf(messages_turns *t, yyjson_mut_val *to, const char *name, const gw_buf *text)
{
    gw_str s = gw_buf_str(text);

    t->body->failed |= gw_buf_failed(text);
    (void)yyjson_mut_obj_add_strncpy(t->doc, to, name, s.ptr ? s.ptr : "", s.len);
}

yyjson_mut_val *messages_add_part(messages_turns *t, yyjson_mut_val *parts, const char *type)
{
    yyjson_mut_val *part = yyjson_mut_arr_add_obj(t->doc, parts);

    (void)yyjson_mut_obj_add_str(t->doc, part, "type", type);
    return part;
}

static void add_text(messages_turns *t, yyjson_mut_val *parts, gw_str text)
{
    if (text.len > 0)
        json_set_text(t->doc, messages_add_part(t, parts, "text"), "text", text);
}

static void set_data_url(messages_turns *t, yyjson_mut_val *to, const char *name, gw_str type,
                         gw_str data)
{
    gw_auto_buf url = {0};

    gw_buf_append_c(&url, "data:");
    gw_buf_append_str(&url, type);
    gw_buf_append_c(&url, ";base64,");
    gw_buf_append_str(&url, data);
    messages_set_buf(t, to, name, &url);
}

static gw_status add_image(messages_turns *t, yyjson_mut_val *parts, yyjson_val *block,
                           gw_error *err)
{
    yyjson_val *source = yyjson_obj_get(block, "source");
    gw_str type = chat_string(source, "type"), url = chat_string(source, "url");
    gw_str media = chat_string(source, "media_type"), data = chat_string(source, "data");
    bool is_data = gw_str_eq_c(type, "base64");

    if (!is_data && !gw_str_eq_c(type, "url"))
        return messages_unsupported(t, err,
                                    "the source of an image has to be of type base64 or url here");
    if (is_data ? media.len == 0 || data.len == 0 : url.len == 0)
        return messages_invalid(t, err,
                                "the source of the image lacks media_type and data, or url");
    yyjson_mut_val *image =
        yyjson_mut_obj_add_obj(t->doc, messages_add_part(t, parts, "image_url"), "image_url");
    if (is_data)
        set_data_url(t, image, "url", media, data);
    else
        json_set_text(t->doc, image, "url", url);
    return GW_OK;
}

static gw_status check_citations(messages_turns *t, yyjson_val *block, gw_error *err)
{
    yyjson_val *asked = yyjson_obj_get(yyjson_obj_get(block, "citations"), "enabled");

    if (!yyjson_is_true(asked))
        return GW_OK;
    gw_status rc = messages_unsupported(t, err, "citations are not supported by this provider");
    return adapter_params_drop(t->params, rc, "messages.citations") ? GW_OK : rc;
}

/* Title and context of a document are told to the model; here they stand before it. */
static gw_status add_document(messages_turns *t, yyjson_mut_val *parts, yyjson_val *block,
                              gw_error *err)
{
    yyjson_val *source = yyjson_obj_get(block, "source");
    gw_str type = chat_string(source, "type"), data = chat_string(source, "data");
    gw_str media = chat_string(source, "media_type"), title = chat_string(block, "title");

    gw_status rc = check_citations(t, block, err);

    if (rc != GW_OK)
        return rc;
    if (gw_str_eq_c(type, "text"))
        add_text(t, parts, title);
    add_text(t, parts, chat_string(block, "context"));
    if (gw_str_eq_c(type, "text")) {
        add_text(t, parts, data);
        return GW_OK;
    }
    if (!gw_str_eq_c(type, "base64"))
        return messages_unsupported(
            t, err, "the source of a document has to be of type base64 or text here");
    if (media.len == 0 || data.len == 0)
        return messages_invalid(t, err, "the source of the document lacks media_type or data");
    yyjson_mut_val *file =
        yyjson_mut_obj_add_obj(t->doc, messages_add_part(t, parts, "file"), "file");
    json_set_text(t->doc, file, "filename", title.len > 0 ? title : GW_STR("document.pdf"));
    set_data_url(t, file, "file_data", media, data);
    return GW_OK;
}

gw_status messages_add_block(messages_turns *t, yyjson_mut_val *parts, yyjson_val *block,
                             gw_error *err)
{
    gw_str type = chat_string(block, "type"), text = chat_string(block, "text");

    if (gw_str_eq_c(type, "image"))
        return add_image(t, parts, block, err);
    if (gw_str_eq_c(type, "document"))
        return add_document(t, parts, block, err);
    if (!gw_str_eq_c(type, "text"))
        return messages_unsupported(
            t, err, "a block has to be of type text, image, document or tool_result here");
    if (!text.ptr)
        return messages_invalid(t, err, "the block has no text");
    add_text(t, parts, text);
    return GW_OK;
}

gw_status messages_join_text(messages_turns *t, yyjson_val *content, yyjson_mut_val *rest,
                             gw_buf *out, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(content);
    size_t before = out->len;
    yyjson_val *block;

    gw_buf_append_str(out, json_string(content));
    if (content && !yyjson_is_str(content) && !yyjson_is_arr(content) && !yyjson_is_null(content))
        return messages_invalid(t, err, "has to be a string or an array of blocks");
    while ((block = yyjson_arr_iter_next(&it))) {
        gw_str text = chat_string(block, "text");
        if (yyjson_equals_str(yyjson_obj_get(block, "type"), "text") && text.ptr) {
            gw_buf_append_c(out, out->len > before ? "\n" : "");
            gw_buf_append_str(out, text);
        } else if (!rest) {
            return messages_unsupported(t, err, "only blocks of type text can be here");
        } else {
            gw_status rc = messages_add_block(t, rest, block, err);
            if (rc != GW_OK)
                return rc;
        }
    }
    return GW_OK;
}
