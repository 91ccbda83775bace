#include "crypto/cursor.h"

#include "crypto/crypto.h"

#define MAC_SIZE 16

/* The length in front keeps the border between filters and position where it is. */
static bool cursor_mac(const uint8_t *key, gw_str filters, gw_str position, uint8_t out[MAC_SIZE])
{
    gw_auto_buf text = {0};
    gw_buf_appendf(&text, "%zu:", filters.len);
    gw_buf_append_str(&text, filters);
    gw_buf_append_str(&text, position);
    if (gw_buf_failed(&text))
        return false;
    uint8_t mac[GW_SHA256_SIZE];
    gw_hmac_sha256(key, GW_CURSOR_KEY_SIZE, text.data, text.len, mac);
    memcpy(out, mac, MAC_SIZE);
    return true;
}

void gw_cursor_write(const uint8_t key[GW_CURSOR_KEY_SIZE], gw_str filters, gw_str position,
                     gw_buf *out)
{
    uint8_t raw[GW_CURSOR_POSITION_MAX + MAC_SIZE];
    char text[4 * (sizeof(raw) + 2) / 3 + 1];
    if (position.len > GW_CURSOR_POSITION_MAX ||
        !cursor_mac(key, filters, position, raw + position.len)) {
        out->failed = true;
        return;
    }
    if (position.len)
        memcpy(raw, position.ptr, position.len);
    size_t len = gw_base64url_encode(raw, position.len + MAC_SIZE, text);
    gw_buf_append(out, text, len);
}

gw_status gw_cursor_read(const uint8_t key[GW_CURSOR_KEY_SIZE], gw_str filters, gw_str cursor,
                         gw_buf *position, gw_error *err)
{
    uint8_t raw[GW_CURSOR_POSITION_MAX + MAC_SIZE], mac[MAC_SIZE];
    ptrdiff_t len = gw_base64_decode(cursor, raw, sizeof(raw));
    if (len < MAC_SIZE)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "not a cursor of this list");
    gw_str found = gw_str_n(raw, (size_t)len - MAC_SIZE);
    if (!cursor_mac(key, filters, found, mac))
        return gw_fail(err, GW_ERR_NO_MEMORY, "cursor");
    if (!gw_secret_eq(mac, MAC_SIZE, raw + found.len, MAC_SIZE))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "not a cursor of this list");
    gw_buf_append_str(position, found);
    return gw_buf_failed(position) ? gw_fail(err, GW_ERR_NO_MEMORY, "cursor") : GW_OK;
}
