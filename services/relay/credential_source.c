/* Credentials of providers, found by the names that settings give them. */
#include "relay_config_build.h"

#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CREDENTIAL_MAX_BYTES 16384

static char *credential_from_file(const char *dir, gw_str name, gw_error *err)
{
    if (!dir) {
        gw_fail(err, GW_ERR_FAILED_PRECONDITION, "RELAY_CREDENTIALS_DIR is not set");
        return NULL;
    }
    gw_auto_buf path = {0};
    gw_buf_appendf(&path, "%s/" GW_STR_FMT, dir, GW_STR_ARG(name));
    char text[CREDENTIAL_MAX_BYTES];
    int fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));
    int failure = errno;
    if (fd >= 0)
        close(fd);
    if (len < 0) {
        gw_fail(err, GW_ERR_FAILED_PRECONDITION, "file " GW_STR_FMT ": %s", GW_STR_ARG(name),
                strerror(failure));
        return NULL;
    }
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    char *secret = gw_str_dup(gw_str_n(text, (size_t)len));
    gw_secret_wipe(text, sizeof(text));
    return secret;
}

char *credential_from_system(void *dir, gw_str reference, gw_error *err)
{
    gw_str kind;
    if (!gw_str_split(&reference, ':', &kind)) {
        gw_fail(err, GW_ERR_FAILED_PRECONDITION, "no credential is named");
        return NULL;
    }
    if (gw_str_eq_c(kind, "file"))
        return credential_from_file(dir, reference, err);
    gw_auto_free char *name = gw_str_dup(reference);
    const char *value = name ? getenv(name) : NULL;
    if (value && *value)
        return gw_str_dup(gw_str_of(value));
    gw_fail(err, GW_ERR_FAILED_PRECONDITION, "environment variable " GW_STR_FMT " is not set",
            GW_STR_ARG(reference));
    return NULL;
}
