/* Credentials of providers, found by the names that settings give them. */
#include "relay_config_build.h"

#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CREDENTIAL_MAX_BYTES 16384

/* A copy of what a header can carry. */
static char *take(const char *what, gw_str name, gw_str text, gw_error *err)
{
    const char *wrong = NULL;

    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    if (text.len == 0)
        wrong = "is empty";
    else if (text.len > CREDENTIAL_MAX_BYTES)
        wrong = "is too long for a credential";
    else if (gw_str_has_control(text))
        wrong = "has control characters";
    if (!wrong)
        return gw_str_dup(text);
    (void)gw_fail(err, GW_ERR_FAILED_PRECONDITION, "%s " GW_STR_FMT " %s", what, GW_STR_ARG(name),
                  wrong);
    return NULL;
}

/* Links are followed: Kubernetes mounts Secrets as such, and the folder is the operator's. A pipe is not waited for. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size);
    int failure = errno;

    if (fd >= 0)
        close(fd);
    errno = failure;
    return len;
}

static char *credential_from_file(const char *dir, gw_str name, gw_error *err)
{
    char text[CREDENTIAL_MAX_BYTES + 2];
    gw_auto_buf path = {0};
    char *secret = NULL;

    if (!dir) {
        (void)gw_fail(err, GW_ERR_FAILED_PRECONDITION, "RELAY_CREDENTIALS_DIR is not set");
        return NULL;
    }
    gw_buf_appendf(&path, "%s/" GW_STR_FMT, dir, GW_STR_ARG(name));
    ssize_t len = gw_buf_failed(&path) ? -1 : read_file(path.data, text, sizeof(text));
    if (len < 0)
        (void)gw_fail(err, GW_ERR_FAILED_PRECONDITION, "file " GW_STR_FMT ": %s", GW_STR_ARG(name),
                      strerror(errno));
    else
        secret = take("file", name, gw_str_n(text, (size_t)len), err);
    gw_secret_wipe(text, sizeof(text));
    return secret;
}

char *credential_from_system(void *dir, gw_str reference, gw_error *err)
{
    gw_str kind;

    if (!gw_str_split(&reference, ':', &kind)) {
        (void)gw_fail(err, GW_ERR_FAILED_PRECONDITION, "no credential is named");
        return NULL;
    }
    if (gw_str_eq_c(kind, "file"))
        return credential_from_file(dir, reference, err);
    gw_auto_free char *name = gw_str_dup(reference);
    const char *value = name ? getenv(name) : NULL;
    if (value)
        return take("environment variable", reference, gw_str_of(value), err);
    (void)gw_fail(err, GW_ERR_FAILED_PRECONDITION, "environment variable " GW_STR_FMT " is not set",
                  GW_STR_ARG(reference));
    return NULL;
}
