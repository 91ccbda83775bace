/*
 * API keys and files of service tokens, as anyone may send or write them: the parts of a key lie in
 * it and make it up again; a tag fits exactly when it is the one we make.
 */
#include "access/access.h"
#include "access/key_format.h"
#include "testing/fuzz.h"

static void check_key(gw_str text)
{
    gw_tag_key keys[] = {{.pepper_id = 'a', .key = "one"}, {.pepper_id = 'b', .key = "two"}};
    gw_key_parts p;
    gw_auto_buf made = {0};
    char tag[GW_KEY_TAG_LEN + 1];

    if (!gw_key_parse(text, &p))
        return;
    fuzz_require(text.len <= GW_KEY_MAX_LEN && gw_key_env_is_valid(p.env));
    fuzz_require(p.key_id.len == GW_KEY_ID_LEN && p.pepper_id == p.key_id.ptr[0]);
    fuzz_require(p.secret.len == GW_KEY_SECRET_LEN && p.tag.len == GW_KEY_TAG_LEN);
    gw_buf_appendf(&made, "lc_" GW_STR_FMT "_" GW_STR_FMT GW_STR_FMT GW_STR_FMT, GW_STR_ARG(p.env),
                   GW_STR_ARG(p.key_id), GW_STR_ARG(p.secret), GW_STR_ARG(p.tag));
    fuzz_require(gw_str_eq(gw_buf_str(&made), text));
    bool valid = gw_key_tag_is_valid(keys, GW_ARRAY_LEN(keys), &p);
    fuzz_require(!gw_key_tag_is_valid(keys, 0, &p));
    for (size_t i = 0; i < GW_ARRAY_LEN(keys); i++) {
        gw_key_tag(keys[i].key, p.untagged, tag);
        if (keys[i].pepper_id == p.pepper_id)
            fuzz_require(valid == gw_str_eq_c(p.tag, tag));
    }
    fuzz_require(!valid || p.pepper_id == 'a' || p.pepper_id == 'b');
}

static void check_tokens_file(gw_str text)
{
    char path[FUZZ_PATH_SIZE];
    gw_auto(gw_service_tokens) tokens = NULL;
    gw_error err = {0};
    int fd = fuzz_file(text, path);

    gw_status rc = gw_service_tokens_load(path, NULL, &tokens, &err);
    close(fd);
    fuzz_require((rc == GW_OK) == (tokens != NULL));
    if (rc != GW_OK) {
        fuzz_require(err.message[0]);
        return;
    }
    fuzz_require(gw_service_tokens_match(tokens, text).len == 0); /* a file is no token */
    gw_str token = gw_service_tokens_find(tokens, GW_STR("relay"));
    fuzz_require(token.len == 0 || gw_service_tokens_match(tokens, token).len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str text = gw_str_n(data, size);

    check_key(text);
    check_tokens_file(text);
    gw_str address = gw_access_peer_address(text);
    fuzz_require(address.len <= text.len);
    return 0;
}
