#include "crypto/secret_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

gw_status secret_file_read(const char *path, const char *what, char *bytes, size_t *ret_len,
                           gw_error *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return gw_fail(err, errno == ENOENT ? GW_ERR_NOT_FOUND : GW_ERR_IO,
                       "cannot open the %s %s: %s", what, path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy of the secret in a stdio buffer */
    size_t len = fread(bytes, 1, SECRET_FILE_BYTES_MAX, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed)
        return gw_fail(err, GW_ERR_IO, "cannot read the %s %s", what, path);
    if (len == SECRET_FILE_BYTES_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the %s %s is over 64 KiB", what, path);
    *ret_len = len;
    return GW_OK;
}
