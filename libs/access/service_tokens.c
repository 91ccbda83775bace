#include "access/service_tokens.h"

#include "access/service_name.h"
#include "core/list.h"
#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX   (64 << 10)
#define SECRET_MIN 32
#define SECRET_MAX 200

typedef struct token {
    gw_str service, text; /* views into the file's bytes */
    uint8_t hash[GW_SHA256_SIZE];
} token;

struct gw_service_tokens {
    char *path;
    gw_buf file;
    token *tokens;
    size_t count;
    gw_service_tokens *before; /* of the last reload: texts of it may still be in use */
};

static bool is_token(gw_str s)
{
    gw_str prefix = GW_STR(GW_SERVICE_TOKEN_PREFIX);
    if (!gw_str_starts_with(s, prefix))
        return false;
    gw_str secret = gw_str_slice(s, prefix.len, s.len);
    if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
        return false;
    for (size_t i = 0; i < secret.len; i++) {
        char c = secret.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

static gw_status read_file(const char *path, gw_log *log, gw_buf *out, gw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gw_fail(err, GW_ERR_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        gw_log_warn(log, "service_tokens_exposed", gw_kv("file.path", path),
                    gw_kv("file.mode", (int64_t)(st.st_mode & 0777)));
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && out->len <= FILE_MAX)
        gw_buf_append(out, chunk, (size_t)n);
    int failure = n < 0 ? errno : 0;
    gw_secret_wipe(chunk, sizeof chunk);
    (void)close(fd);
    if (failure)
        return gw_fail(err, GW_ERR_IO, "%s: %s", path, strerror(failure));
    if (gw_buf_failed(out))
        return gw_fail(err, GW_ERR_NO_MEMORY, "%s: out of memory", path);
    if (out->len > FILE_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s: over %d bytes", path, FILE_MAX);
    return GW_OK;
}

/* `<service> <token>`, one space or more between. */
static bool parse_line(gw_str line, token *ret)
{
    gw_str rest = line, service;
    if (!gw_str_split(&rest, ' ', &service))
        return false;
    gw_str text = gw_str_trim(rest);
    if (!gw_is_service_name(service) || !is_token(text))
        return false;
    *ret = (token){.service = service, .text = text};
    gw_sha256(text.ptr, text.len, ret->hash);
    return true;
}

static gw_status parse(gw_service_tokens *t, const char *path, gw_error *err)
{
    size_t lines = 1;
    for (size_t i = 0; i < t->file.len; i++)
        lines += t->file.data[i] == '\n';
    t->tokens = calloc(lines, sizeof *t->tokens);
    if (!t->tokens)
        return gw_fail(err, GW_ERR_NO_MEMORY, "%s: out of memory", path);
    gw_auto_buf bad = {0};
    gw_str rest = gw_buf_str(&t->file), line;
    for (size_t number = 1; gw_str_split(&rest, '\n', &line); number++) {
        line = gw_str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (parse_line(line, &t->tokens[t->count]))
            t->count++;
        else
            gw_buf_appendf(&bad, "%s%zu", bad.len ? ", " : "", number);
    }
    if (bad.len > 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "%s: not `<service> " GW_SERVICE_TOKEN_PREFIX
                       "<32-200 characters>` in line %s",
                       path, bad.data);
    if (t->count == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s: has no service token", path);
    return GW_OK;
}

gw_status gw_service_tokens_load(const char *path, gw_log *log, gw_service_tokens **ret,
                                 gw_error *err)
{
    gw_auto(gw_service_tokens) t = calloc(1, sizeof *t);
    if (!t)
        return gw_fail(err, GW_ERR_NO_MEMORY, "%s: out of memory", path);
    gw_status rc = read_file(path, log, &t->file, err);
    if (rc == GW_OK)
        rc = parse(t, path, err);
    if (rc != GW_OK)
        return rc;
    t->path = gw_str_dup(gw_str_of(path));
    if (!t->path)
        return gw_fail(err, GW_ERR_NO_MEMORY, "%s: out of memory", path);
    *ret = gw_steal(&t);
    return GW_OK;
}

gw_status gw_service_tokens_reload(gw_service_tokens *t, gw_str needed, gw_log *log,
                                   bool *ret_changed, gw_error *err)
{
    gw_auto(gw_service_tokens) next = NULL;
    gw_status rc = gw_service_tokens_load(t->path, log, &next, err);
    if (rc != GW_OK)
        return rc;
    if (needed.len > 0 && gw_service_tokens_find(next, needed).len == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s: has no token of " GW_STR_FMT, t->path,
                       GW_STR_ARG(needed));
    *ret_changed = !gw_str_eq(gw_buf_str(&t->file), gw_buf_str(&next->file));
    if (!*ret_changed)
        return GW_OK;
    gw_service_tokens_free(gw_steal(&t->before));
    const gw_service_tokens now = *next;
    *next = *t;
    *t = now;
    t->before = gw_steal(&next);
    return GW_OK;
}

void gw_service_tokens_free(gw_service_tokens *t)
{
    if (!t)
        return;
    if (t->file.data)
        gw_secret_wipe(t->file.data, t->file.len);
    gw_buf_fini(&t->file);
    gw_service_tokens_free(t->before);
    free(t->tokens);
    free(t->path);
    free(t);
}

gw_str gw_service_tokens_find(const gw_service_tokens *t, gw_str service)
{
    for (size_t i = 0; t && i < t->count; i++) {
        if (gw_str_eq(t->tokens[i].service, service))
            return t->tokens[i].text;
    }
    return GW_STR("");
}

gw_str gw_service_tokens_match(const gw_service_tokens *t, gw_str token_text)
{
    uint8_t hash[GW_SHA256_SIZE];
    gw_sha256(token_text.ptr, token_text.len, hash);
    gw_str found = GW_STR("");
    for (size_t i = 0; i < t->count; i++) { /* all of them, always */
        if (gw_secret_eq(hash, sizeof hash, t->tokens[i].hash, sizeof hash))
            found = t->tokens[i].service;
    }
    return found;
}
