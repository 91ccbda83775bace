#define _GNU_SOURCE /* getresuid */
#include "service/hardening.h"

#include "testing/cmocka.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is given away does not come back: each test is a process of its own, which says at which line it failed. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno));  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void in_a_child(void (*run)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define IN_A_CHILD(name)                                                                           \
    static void child_##name(void);                                                                \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        in_a_child(child_##name);                                                                  \
    }                                                                                              \
    static void child_##name(void)

/* A line of this thread's status in /proc. */
static bool status_has(const char *line)
{
    char text[4096];
    FILE *f = fopen("/proc/thread-self/status", "re");
    size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        (void)fclose(f);
    text[len] = '\0';
    return strstr(text, line) != NULL;
}

IN_A_CHILD(files_are_private_and_there_are_no_core_dumps_nor_new_privileges)
{
    struct rlimit core;
    struct stat st;
    char path[64];
    CHECK(gw_process_harden(false, NULL) == GW_OK);
    CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
#ifndef __SANITIZE_ADDRESS__
    CHECK(prctl(PR_GET_DUMPABLE) == 0);
#endif
    CHECK(status_has("NoNewPrivs:\t1"));
    (void)snprintf(path, sizeof(path), "/tmp/hardening_test_%d", (int)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && unlink(path) == 0);
    CHECK((st.st_mode & 0777) == 0600);
}

IN_A_CHILD(core_dumps_are_allowed_to_who_asks_for_them)
{
    struct rlimit core;
    CHECK(gw_process_harden(true, NULL) == GW_OK);
    CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == core.rlim_max);
    CHECK(prctl(PR_GET_DUMPABLE) == 1);
}

IN_A_CHILD(descriptors_are_raised_to_the_limit_and_too_few_are_refused)
{
    struct rlimit files = {.rlim_cur = 64, .rlim_max = 256};
    gw_error err = {0};
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    CHECK(gw_process_allow_descriptors(256, &err) == GW_OK);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == 256);
    CHECK(status_has("FDSize:\t256")); /* the table has grown already, and nothing is left open */
    CHECK(fcntl(255, F_GETFD) == -1 && errno == EBADF);
    CHECK(gw_process_allow_descriptors(257, &err) == GW_ERR_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "need 257 open descriptors, the limit is 256") != NULL);
}

/* ---- privileges ---- */

static bool can_bind_below_1024(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool bound = false;
    for (uint16_t port = 1023; !bound && port > 900; port--) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        a.sin_port = htons(port);
        bound = bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;
        if (!bound && errno == EACCES)
            port = 900;
        close(fd);
    }
    return bound;
}

static pthread_barrier_t dropped;

/* A thread that was there before privileges were dropped, as those of the stores are. */
static void *older_thread(void *arg)
{
    uid_t real, effective, saved;
    uid_t wanted = *(const uid_t *)arg;
    (void)pthread_barrier_wait(&dropped);
    CHECK(getresuid(&real, &effective, &saved) == 0);
    CHECK(real == wanted && effective == wanted && saved == wanted);
    CHECK(status_has("CapPrm:\t0000000000000000") && status_has("CapEff:\t0000000000000000"));
    CHECK(status_has("NoNewPrivs:\t1"));
    return NULL;
}

IN_A_CHILD(root_becomes_the_user_in_every_thread_and_there_is_no_way_back)
{
    gw_user user;
    pthread_t thread;
    char folder[] = "/tmp/hardening_test_XXXXXX", path[64];
    struct stat st;
    if (geteuid() != 0)
        return;
    CHECK(gw_user_find("nobody", &user));
    CHECK(mkdtemp(folder) && chown(folder, user.uid, user.gid) == 0);
    CHECK(gw_process_harden(false, NULL) == GW_OK);
    CHECK(gw_privileges_lower(&user, NULL) == GW_OK);

    (void)snprintf(path, sizeof(path), "%s/file", folder);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == user.uid && st.st_gid == user.gid);
    CHECK(unlink(path) == 0);
    CHECK(open("/etc/shadow", O_RDONLY) < 0 && errno == EACCES);
    CHECK(can_bind_below_1024());

    CHECK(pthread_barrier_init(&dropped, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, older_thread, &user.uid) == 0);
    CHECK(gw_privileges_drop(NULL) == GW_OK);
    CHECK(gw_process_harden(false, NULL) == GW_OK);
    (void)pthread_barrier_wait(&dropped);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(status_has("CapPrm:\t0000000000000000") && status_has("CapEff:\t0000000000000000"));
    CHECK(setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0);
    CHECK(getgid() == user.gid && getegid() == user.gid);
    CHECK(rmdir(folder) == 0);
}

IN_A_CHILD(who_is_not_root_can_only_stay_who_he_is)
{
    gw_user nobody, other;
    gw_error err = {0};
    CHECK(gw_user_find("nobody", &nobody) && gw_user_find("4711", &other));
    if (geteuid() == 0) {
        CHECK(setresgid(nobody.gid, nobody.gid, nobody.gid) == 0);
        CHECK(setresuid(nobody.uid, nobody.uid, nobody.uid) == 0);
    }
    nobody.uid = geteuid();
    CHECK(gw_privileges_lower(&nobody, &err) == GW_OK);
    CHECK(gw_privileges_drop(&err) == GW_OK);
    CHECK(gw_privileges_lower(&other, &err) == GW_ERR_PERMISSION_DENIED);
    CHECK(strstr(err.message, "only a process started as root") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_private_and_there_are_no_core_dumps_nor_new_privileges),
        cmocka_unit_test(core_dumps_are_allowed_to_who_asks_for_them),
        cmocka_unit_test(descriptors_are_raised_to_the_limit_and_too_few_are_refused),
        cmocka_unit_test(root_becomes_the_user_in_every_thread_and_there_is_no_way_back),
        cmocka_unit_test(who_is_not_root_can_only_stay_who_he_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
