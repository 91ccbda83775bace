/*
 * accept4() of the whole program, in place of libc's.
 *
 * gRPC 1.51 stops listening for good when accept4() fails with anything but EINTR and EAGAIN: being out
 * of descriptors for a moment would silence a server until its restart, and has no setting against it.
 * Here a connection that there is no descriptor for is taken with one held in reserve and closed at
 * once; the caller hears EAGAIN, "no connection is waiting". libuv, the other caller, is content with
 * that.
 *
 * The linker exports it to the shared libraries, because they refer to it; rpc_accept_prepare() takes it
 * into every program that has a pump.
 */
#define _GNU_SOURCE /* accept4 */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the reserve */
static int reserve = -1;

static void open_reserve(void)
{
    if (reserve < 0)
        reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void rpc_accept_prepare(void)
{
    pthread_mutex_lock(&lock);
    open_reserve();
    pthread_mutex_unlock(&lock);
}

/* libc's own does the same, and is a cancellation point; nothing here cancels threads. */
static int take(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, len, flags);
}

/* False when not even that was possible. */
static bool drop_one(int fd)
{
    pthread_mutex_lock(&lock);
    bool had_one = reserve >= 0;
    if (had_one)
        close(reserve);
    reserve = -1;
    int taken = had_one ? take(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (taken >= 0)
        close(taken);
    open_reserve();
    pthread_mutex_unlock(&lock);
    return taken >= 0;
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's own are reserved names
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    for (;;) {
        int taken = take(fd, address, len, flags);
        if (taken >= 0 || errno == EAGAIN || errno == EINTR || errno == EBADF || errno == EINVAL)
            return taken;
        bool is_full = errno == EMFILE || errno == ENFILE;
        if (errno == ECONNABORTED || errno == EPROTO || (is_full && drop_one(fd)))
            continue; /* that one is gone: the next */
        errno = EAGAIN;
        return -1;
    }
}
