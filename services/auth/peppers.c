#include "peppers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (64UL * 1024)

struct peppers {
    gw_tag_key tag_keys[PEPPERS_MAX]; /* pepper_id stands here */
    uint8_t secrets[PEPPERS_MAX][PEPPER_SIZE];
    size_t count;
    uint8_t cursor_key[GW_CURSOR_KEY_SIZE];
    uint8_t audit_head_keys[PEPPERS_MAX][32];
};

static int find(const peppers *p, char id)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->tag_keys[i].pepper_id == id)
            return (int)i;
    }
    return -1;
}

/* What is wrong with the line, NULL when it was added. */
static const char *add_line(peppers *p, gw_str line)
{
    uint64_t ignored;
    gw_str id = gw_str_slice(line, 0, 1);
    if (line.len < 3 || line.ptr[1] != ' ' || !gw_base62_decode(id, &ignored))
        return "is not `<character> <base64>`";
    if (p->count == PEPPERS_MAX || find(p, id.ptr[0]) >= 0)
        return "has the character of a line before";
    if (gw_base64_decode(gw_str_trim(gw_str_slice(line, 2, line.len)), p->secrets[p->count],
                         PEPPER_SIZE) != PEPPER_SIZE)
        return "is not base64 of 32 bytes";
    p->tag_keys[p->count++].pepper_id = id.ptr[0];
    return NULL;
}

static gw_status parse_lines(peppers *p, gw_str text, gw_error *err)
{
    gw_auto_buf wrong = {0};
    gw_str line;
    for (int number = 1; gw_str_split(&text, '\n', &line); number++) {
        line = gw_str_trim(line);
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        const char *problem = add_line(p, line);
        if (problem)
            gw_buf_appendf(&wrong, "%sline %d %s", wrong.len ? ", " : "", number, problem);
    }
    if (wrong.len)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "peppers: %s", wrong.data);
    if (p->count == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "peppers: the file has none");
    return GW_OK;
}

static gw_status derive(peppers *p, gw_error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        gw_status rc = gw_hkdf_sha256(p->secrets[i], PEPPER_SIZE, GW_STR("tag"), p->tag_keys[i].key,
                                      GW_TAG_KEY_SIZE, err);
        if (rc == GW_OK)
            rc = gw_hkdf_sha256(p->secrets[i], PEPPER_SIZE, GW_STR("audit head"),
                                p->audit_head_keys[i], sizeof(p->audit_head_keys[i]), err);
        if (rc != GW_OK)
            return rc;
    }
    return gw_hkdf_sha256(p->secrets[0], PEPPER_SIZE, GW_STR("cursor"), p->cursor_key,
                          sizeof(p->cursor_key), err);
}

gw_status peppers_parse(gw_str text, peppers **ret, gw_error *err)
{
    gw_auto(peppers) p = calloc(1, sizeof(*p));
    if (!p)
        return gw_fail(err, GW_ERR_NO_MEMORY, "peppers");
    gw_status rc = parse_lines(p, text, err);
    if (rc == GW_OK)
        rc = derive(p, err);
    if (rc == GW_OK)
        *ret = gw_steal(&p);
    return rc;
}

gw_status peppers_load(const char *path, peppers **ret, gw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gw_fail(err, GW_ERR_IO, "peppers file %s: %s", path, strerror(errno));
    char *text = malloc(FILE_MAX_BYTES);
    size_t len = 0;
    ssize_t n = 0;
    while (text && len < FILE_MAX_BYTES && (n = read(fd, text + len, FILE_MAX_BYTES - len)) > 0)
        len += (size_t)n;
    close(fd);
    gw_status rc = !text   ? gw_fail(err, GW_ERR_NO_MEMORY, "peppers")
                   : n < 0 ? gw_fail(err, GW_ERR_IO, "peppers file %s", path)
                   : len == FILE_MAX_BYTES
                       ? gw_fail(err, GW_ERR_INVALID_ARGUMENT, "peppers file %s is too large", path)
                       : peppers_parse(gw_str_n(text, len), ret, err);
    if (text)
        gw_secret_wipe(text, len);
    free(text);
    return rc;
}

void peppers_free(peppers *p)
{
    if (p)
        gw_secret_wipe(p, sizeof(*p));
    free(p);
}

char peppers_current(const peppers *p)
{
    return p->tag_keys[0].pepper_id;
}

bool peppers_has(const peppers *p, char id)
{
    return find(p, id) >= 0;
}

const gw_tag_key *peppers_tag_keys(const peppers *p, size_t *ret_count)
{
    *ret_count = p->count;
    return p->tag_keys;
}

bool peppers_verifier(const peppers *p, char id, gw_str key, uint8_t out[GW_SHA256_SIZE])
{
    int i = find(p, id);
    if (i < 0)
        return false;
    gw_hmac_sha256(p->secrets[i], PEPPER_SIZE, key.ptr, key.len, out);
    return true;
}

const uint8_t *peppers_cursor_key(const peppers *p)
{
    return p->cursor_key;
}

const uint8_t *peppers_audit_head_key(const peppers *p, size_t i)
{
    return i < p->count ? p->audit_head_keys[i] : NULL;
}
