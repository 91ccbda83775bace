#include "spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

gw_status spool_io_error(gw_error *err, const char *what, const char *path)
{
    return gw_fail(err, GW_ERR_IO, "spool: cannot %s %s: %s", what, path,
                   strerror(errno ? errno : EIO));
}

bool spool_file_write(int fd, const void *bytes, size_t len, off_t at)
{
    const char *from = bytes;
    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return false;
        }
        from += n;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool spool_file_read(int fd, void *bytes, size_t len, off_t at)
{
    char *to = bytes;
    while (len > 0) {
        ssize_t n = pread(fd, to, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return false;
        }
        to += n;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool spool_file_sync(int fd)
{
    int rc;
    do
        rc = fdatasync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

static bool sync_with_size(int fd)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

bool spool_file_allocate(int fd, off_t bytes)
{
    int code;
    do
        code = posix_fallocate(fd, 0, bytes);
    while (code == EINTR);
    if (code == 0 && !sync_with_size(fd))
        code = errno;
    errno = code;
    return code == 0;
}

gw_status spool_folder_sync(const char *folder, gw_error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && sync_with_size(fd);
    int code = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = code;
    return ok ? GW_OK : spool_io_error(err, "sync", folder);
}
