#include "user_key.h"

#include "access/key_secret.h"
#include "http/message.h"

bool user_key_is_for(const key_policy *k, const provider_config *p)
{
    return p->kind == PROVIDER_LIBRECHAT && !user_is_signed_in(p) && k->librechat_origin.len > 0 &&
           gw_url_has_origin(&p->base_url, k->librechat_origin);
}

gw_status user_key_open(const key_policy *k, const gw_master_keys *keys, gw_arena *arena,
                        gw_str *ret, gw_error *err)
{
    ProtobufCBinaryData sealed = k->message->librechat_key_sealed;
    gw_auto_buf plain = {0};

    if (!keys)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION, "RELAY_MASTER_KEYS_FILE is not set");
    gw_status rc = gw_key_secret_open(keys, k->api_key_id, GW_KEY_SECRET_LIBRECHAT,
                                      gw_str_n(sealed.data, sealed.len), &plain, err);
    if (rc != GW_OK)
        return rc;
    gw_str text = gw_buf_str(&plain), copy = GW_STR_NULL;
    bool is_usable = text.len > 0 && gw_header_value_is_valid(text);
    if (is_usable)
        copy = gw_arena_join_secret(arena, text, GW_STR(""));
    if (plain.data)
        gw_secret_wipe(plain.data, plain.len);
    if (!is_usable)
        return gw_fail(err, GW_ERR_DATA_LOSS, "what was sealed as a LibreChat key is none");
    if (!copy.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a LibreChat key");
    *ret = copy;
    return GW_OK;
}
