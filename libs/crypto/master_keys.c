#include "crypto/master_keys.h"

#include "crypto/secret_file.h"

#include <stdlib.h>

#define KEYS_MAX 64

struct gw_master_keys {
    size_t count;
    gw_master_key keys[KEYS_MAX];
};

bool gw_kid_is_valid(gw_str kid)
{
    if (kid.len < 1 || kid.len > GW_KID_MAX)
        return false;
    for (size_t i = 0; i < kid.len; i++) {
        char c = kid.ptr[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

const gw_master_key *gw_master_keys_first(const gw_master_keys *k)
{
    return &k->keys[0];
}

const gw_master_key *gw_master_keys_find(const gw_master_keys *k, gw_str kid)
{
    for (size_t i = 0; i < k->count; i++) {
        if (gw_str_eq_c(kid, k->keys[i].kid))
            return &k->keys[i];
    }
    return NULL;
}

/* `kid base64`, separated by any blanks. */
static bool parse_line(gw_master_keys *k, gw_str line)
{
    size_t end = 0;
    while (end < line.len && line.ptr[end] != ' ' && line.ptr[end] != '\t')
        end++;
    gw_str kid = gw_str_slice(line, 0, end);
    gw_str text = gw_str_trim(gw_str_slice(line, end, line.len));
    if (!gw_kid_is_valid(kid) || gw_master_keys_find(k, kid) || k->count == KEYS_MAX)
        return false;
    gw_master_key *key = &k->keys[k->count];
    if (gw_base64_decode(text, key->bytes, sizeof(key->bytes)) != GW_MASTER_KEY_SIZE)
        return false;
    memcpy(key->kid, kid.ptr, kid.len);
    key->kid[kid.len] = '\0';
    k->count++;
    return true;
}

static gw_status parse_file(gw_master_keys *k, gw_str text, const char *path, gw_error *err)
{
    gw_auto_buf bad = {0};
    gw_str line;
    for (int number = 1; gw_str_split(&text, '\n', &line); number++) {
        if (gw_str_ends_with(line, GW_STR("\r")))
            line.len--;
        line = gw_str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || parse_line(k, line))
            continue;
        gw_buf_appendf(&bad, "%s%d", bad.len ? ", " : "", number);
    }
    if (bad.len || gw_buf_failed(&bad))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "master keys file %s: not a distinct kid and base64 of 32 bytes at line %s",
                       path, bad.data ? bad.data : "?");
    if (k->count == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the master keys file %s holds no key", path);
    return GW_OK;
}

static gw_status load_into(gw_master_keys *k, char *bytes, const char *path, gw_error *err)
{
    size_t len = 0;
    gw_status rc = secret_file_read(path, "master keys file", bytes, &len, err);
    return rc == GW_OK ? parse_file(k, gw_str_n(bytes, len), path, err) : rc;
}

gw_status gw_master_keys_load(const char *path, gw_master_keys **ret, gw_error *err)
{
    gw_auto(gw_master_keys) k = calloc(1, sizeof(*k));
    char *bytes = malloc(SECRET_FILE_BYTES_MAX);
    gw_status rc = k && bytes ? load_into(k, bytes, path, err)
                              : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for the master keys");
    gw_secret_wipe(bytes, SECRET_FILE_BYTES_MAX);
    free(bytes);
    if (rc == GW_OK)
        *ret = gw_steal(&k);
    return rc;
}

void gw_master_keys_free(gw_master_keys *k)
{
    gw_secret_wipe(k, sizeof(*k));
    free(k);
}
