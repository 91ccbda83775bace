#include "config_snapshot.h"

#include "core/str.h"
#include "crypto/crypto.h"
#include "rpc/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOT_MAX_BYTES (64 << 20)

static gw_status fail_io(gw_error *err, const char *what, const char *path)
{
    return gw_fail(err, errno == ENOENT ? GW_ERR_NOT_FOUND : GW_ERR_IO, "%s %s: %s", what, path,
                   strerror(errno));
}

static bool write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

gw_status config_snapshot_write(const char *dir, const config_snapshot *s, gw_error *err)
{
    char path[PATH_MAX], part[PATH_MAX];
    snprintf(path, sizeof(path), "%s/config.snapshot", dir);
    snprintf(part, sizeof(part), "%s/config.snapshot.part", dir);
    size_t len = apirelay__relay__v1__relay_config_snapshot__get_packed_size(s);
    gw_auto_free uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the snapshot");
    apirelay__relay__v1__relay_config_snapshot__pack(s, bytes);
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(bytes, len, digest);

    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_io(err, "open", part);
    bool ok = write_all(fd, digest, sizeof(digest)) && write_all(fd, bytes, len) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(part, path) != 0)
        return fail_io(err, "write", path);
    return GW_OK;
}

static gw_status read_whole(const char *path, gw_buf *bytes, gw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_io(err, "open", path);
    ssize_t n = 0;
    while (bytes->len <= SNAPSHOT_MAX_BYTES && gw_buf_reserve(bytes, 65536) &&
           (n = read(fd, bytes->data + bytes->len, 65536)) > 0)
        bytes->len += (size_t)n;
    int failure = errno;
    close(fd);
    errno = failure;
    return n < 0 ? fail_io(err, "read", path) : GW_OK;
}

gw_status config_snapshot_read(const char *dir, config_snapshot **ret, gw_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/config.snapshot", dir);
    gw_auto_buf bytes = {0};
    gw_status rc = read_whole(path, &bytes, err);
    if (rc != GW_OK)
        return rc;
    uint8_t digest[GW_SHA256_SIZE];
    const uint8_t *body = (const uint8_t *)bytes.data + sizeof(digest);
    if (bytes.len < sizeof(digest))
        return gw_fail(err, GW_ERR_DATA_LOSS, "%s is cut", path);
    gw_sha256(body, bytes.len - sizeof(digest), digest);
    config_snapshot *s = NULL;
    size_t len = bytes.len - sizeof(digest);
    if (memcmp(digest, bytes.data, sizeof(digest)) == 0 &&
        gw_walk(&apirelay__relay__v1__relay_config_snapshot__descriptor, gw_str_n(body, len),
                NULL) == GW_OK)
        s = apirelay__relay__v1__relay_config_snapshot__unpack(NULL, len, body);
    if (!s)
        return gw_fail(err, GW_ERR_DATA_LOSS, "%s is damaged", path);
    *ret = s;
    return GW_OK;
}
