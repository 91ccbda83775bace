#define _GNU_SOURCE /* setresuid and its kin */
#include "service/hardening.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* LeakSanitizer looks into its own process as a debugger does. */
#ifdef __SANITIZE_ADDRESS__
#define MUST_BE_DUMPABLE true
#else
#define MUST_BE_DUMPABLE false
#endif

static gw_status fail_io(gw_error *err, const char *what)
{
    return gw_fail(err, GW_ERR_IO, "%s: %s", what, strerror(errno));
}

gw_status gw_process_harden(bool core_dumps, gw_error *err)
{
    struct rlimit core = {0};
    bool dumpable = core_dumps || MUST_BE_DUMPABLE;

    (void)umask(077);
    if (core_dumps && getrlimit(RLIMIT_CORE, &core) == 0)
        core.rlim_cur = core.rlim_max;
    if (setrlimit(RLIMIT_CORE, &core) != 0)
        return fail_io(err, "limit core dumps");
    if (prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0) != 0)
        return fail_io(err, "hide the memory from other processes");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail_io(err, "refuse new privileges");
    return GW_OK;
}

/*
 * The kernel's table of descriptors doubles as they become more, and never shrinks. In a process with several threads each time takes
 * a grace period of RCU, 10 to 20 ms in which the thread that opens a descriptor stands still (expand_fdtable() in Linux's fs/file.c).
 */
static bool reserve_descriptors(uint64_t count)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int last = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, (int)GW_MIN(count, INT_MAX) - 1);

    if (last >= 0)
        (void)close(last);
    if (fd >= 0)
        (void)close(fd);
    return last >= 0;
}

gw_status gw_process_allow_descriptors(uint64_t needed, gw_error *err)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return fail_io(err, "read the limit of open descriptors");
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            return fail_io(err, "raise the limit of open descriptors");
    }
    if (files.rlim_cur < needed)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "the settings need %" PRIu64 " open descriptors, the limit is %" PRIu64
                       " (ulimit -Hn): allow more, or fewer connections",
                       needed, (uint64_t)files.rlim_cur);
    return reserve_descriptors(needed) ? GW_OK : fail_io(err, "reserve open descriptors");
}

/* ---- privileges ---- */

/* Of this thread and those it makes; libcap would be a library for two system calls. */
static bool keep_only_binding(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    const uint32_t bind_service = 1U << CAP_NET_BIND_SERVICE; /* in the first word */

    if (syscall(SYS_capget, &header, data) != 0)
        return false;
    uint32_t kept = data[0].permitted & bind_service; /* a container may have taken it away */
    memset(data, 0, sizeof(data));
    data[0].permitted = data[0].effective = kept;
    return syscall(SYS_capset, &header, data) == 0;
}

gw_status gw_privileges_lower(const gw_user *user, gw_error *err)
{
    if (geteuid() != 0)
        return geteuid() == user->uid
                   ? GW_OK
                   : gw_fail(err, GW_ERR_PERMISSION_DENIED,
                             "run_as: only a process started as root can become user %u",
                             user->uid);
    if (user->uid == 0)
        return GW_OK;
    int rc = user->name[0] ? initgroups(user->name, user->gid) : setgroups(1, &user->gid);
    if (rc != 0 || setresgid(user->gid, user->gid, user->gid) != 0)
        return fail_io(err, "run_as: change the groups");
    /* While one id is still root's the kernel leaves the permitted capabilities, from which binding is taken back. */
    if (setresuid(user->uid, user->uid, 0) != 0)
        return fail_io(err, "run_as: change the user");
    if (!keep_only_binding())
        return fail_io(err, "run_as: give up capabilities");
    return GW_OK;
}

gw_status gw_privileges_drop(gw_error *err)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) != 0)
        return fail_io(err, "run_as: read the user");
    if (effective == 0)
        return GW_OK; /* run_as is root */
    /* No id is root's now: the kernel takes what is left of capabilities. glibc does it in every thread. */
    if (setresuid(effective, effective, effective) != 0)
        return fail_io(err, "run_as: change the user for good");
    if (setresuid(-1, 0, -1) == 0)
        return gw_fail(err, GW_ERR_INTERNAL, "run_as: root can be had again");
    return GW_OK;
}
