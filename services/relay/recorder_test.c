#include "recorder_test_kit.h"

#include "flight_table.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EVENTS_MAX 20000

static void free_events(usage_event **events, size_t n)
{
    for (size_t i = 0; i < n; i++)
        apirelay__usage__v1__usage_event__free_unpacked(events[i], NULL);
}

static void what_is_recorded_is_in_the_spool_with_ids_of_its_own(void **state)
{
    kit *k = *state;
    usage_event *events[400];
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    for (int i = 0; i < 300; i++) {
        while (!kit_record(lane, i % 3 != 0))
            kit_wait_tail(k, kit_stats(k).tail + 1);
    }
    kit_wait_tail(k, 300);
    assert_int_equal(kit_stats(k).open_slots, 0);
    kit_close(k, 1000);
    assert_int_equal(kit_read_all(k, events, 400), 300);
    for (int i = 1; i < 300; i++)
        assert_memory_not_equal(events[i]->event_id.data, events[i - 1]->event_id.data, 12);
    assert_int_equal(events[0]->event_id.len, 12);
    assert_string_equal(events[299]->outcome, "complete");
    free_events(events, 300);
}

static void a_request_that_is_tried_again_is_open_once_and_says_whom_it_asks_now(void **state)
{
    kit *k = *state;
    usage_event *events[4];
    recorder_options o = kit_options(k);
    char second[] = "second";
    uint8_t id[12];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    flight_slot *slot = recorder_claim(lane);
    recorder_event_id(lane, id);
    usage_event e = kit_event(id, 10);
    recorder_open_event(lane, slot, &e);
    e.provider = second;
    recorder_open_event(lane, slot, &e);
    assert_int_equal(kit_stats(k).open_slots, 1);
    recorder_done(lane, slot, &e);
    kit_wait_tail(k, 1);
    assert_int_equal(kit_stats(k).open_slots, 0);
    kit_close(k, 1000);
    assert_int_equal(kit_read_all(k, events, 4), 1);
    assert_string_equal(events[0]->provider, "second");
    free_events(events, 1);
}

static void a_lane_without_a_free_slot_refuses(void **state)
{
    kit *k = *state;
    recorder_options o = kit_options(k);
    flight_slot *slots[64];
    kit_open(k, &o);
    recorder_lane *lane = recorder_lane_at(k->recorder, 0);
    for (int i = 0; i < 64; i++)
        assert_non_null(slots[i] = recorder_claim(lane));
    assert_null(recorder_claim(lane));
    recorder_release(lane, slots[7]);
    assert_ptr_equal(recorder_claim(lane), slots[7]);
    for (int i = 0; i < 64; i++)
        recorder_release(lane, slots[i]);
    kit_close(k, 0);
}

static void closing_commits_what_is_done(void **state)
{
    kit *k = *state;
    usage_event *events[8];
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    for (int i = 0; i < 5; i++)
        assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
    kit_close(k, 0);
    size_t n = kit_read_all(k, events, 8);
    assert_int_equal(n, 5);
    free_events(events, n);
}

static void a_second_recorder_on_the_directory_is_refused(void **state)
{
    kit *k = *state;
    recorder *second = NULL;
    gw_error err;
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    assert_int_equal(recorder_open(k->loop, &o, &second, &err), GW_ERR_FAILED_PRECONDITION);
    assert_null(second);
    kit_close(k, 0);
}

static void a_wrong_directory_is_an_error(void **state)
{
    kit *k = *state;
    recorder *r = NULL;
    gw_error err;
    recorder_options o = kit_options(k);
    o.dir = "/proc/relay-spool";
    assert_int_equal(recorder_open(k->loop, &o, &r, &err), GW_ERR_IO);
}

/* ---- kill -9 ---- */

static recorder *open_in_child(const recorder_options *o)
{
    gw_loop *l;
    recorder *r = NULL;
    gw_error err;
    if (gw_loop_new(&gw_system_clock, &l, &err) != GW_OK || recorder_open(l, o, &r, &err) != GW_OK)
        _exit(3);
    return r;
}

static void run_child(const recorder_options *o, void (*child)(recorder *r, unsigned arg),
                      unsigned arg)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child(open_in_child(o), arg);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void leave_one_of_each(recorder *r, unsigned arg)
{
    (void)arg;
    recorder_lane *lane = recorder_lane_at(r, 0);
    uint8_t id[12];
    (void)recorder_claim(lane); /* claimed and never opened: no event */
    flight_slot *open = recorder_claim(lane);
    recorder_event_id(lane, id);
    usage_event e = kit_event(id, 10);
    recorder_open_event(lane, open, &e);
    recorder_progress(open, 7, 77, 200, 1764000000900);
    flight_slot *unsent = recorder_claim(lane);
    recorder_event_id(lane, id);
    recorder_open_event(lane, unsent, &e);
    (void)kit_record(lane, true);
}

static void a_killed_relay_leaves_done_and_interrupted_events(void **state)
{
    kit *k = *state;
    usage_event *events[8];
    recorder_options o = kit_options(k);
    run_child(&o, leave_one_of_each, 0);
    kit_open(k, &o);
    assert_int_equal(kit_stats(k).tail, 3);
    kit_close(k, 0);
    size_t n = kit_read_all(k, events, 8), interrupted = 0;
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(events[i]->outcome, "interrupted") != 0)
            continue;
        interrupted++;
        assert_string_equal(events[i]->error, "interrupted");
        assert_int_equal(events[i]->prompt_tokens, 10);
        assert_true(events[i]->completion_tokens == 7 || events[i]->status_code == 499);
        if (events[i]->completion_tokens == 7) {
            assert_int_equal(events[i]->cost_nano_usd, 77);
            assert_int_equal(events[i]->timestamp_ms, 1764000000900);
            assert_int_equal(events[i]->duration_ms, 900);
        }
    }
    assert_int_equal(interrupted, 2);
    free_events(events, n);
}

static void *kill_after(void *arg)
{
    (void)usleep(*(unsigned *)arg);
    (void)kill(getpid(), SIGKILL);
    return NULL;
}

/* Records as fast as slots come back; how many were answered is told in a file. */
static void record_until_killed(recorder *r, unsigned delay_us)
{
    static unsigned delay;
    pthread_t thread;
    recorder_lane *lane = recorder_lane_at(r, 0);
    int fd = open("answered", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    delay = delay_us;
    (void)pthread_create(&thread, NULL, kill_after, &delay);
    for (;;) {
        uint8_t id[12];
        flight_slot *slot = recorder_claim(lane);
        if (!slot)
            continue;
        recorder_event_id(lane, id);
        usage_event e = kit_event(id, 10);
        recorder_open_event(lane, slot, &e);
        recorder_done(lane, slot, &e);
        (void)!write(fd, id, sizeof(id)); /* the client has its answer */
    }
}

static int by_id(const void *a, const void *b)
{
    const usage_event *x = *(usage_event *const *)a, *y = *(usage_event *const *)b;
    return memcmp(x->event_id.data, y->event_id.data, 12);
}

static bool has_event(usage_event **events, size_t n, const uint8_t id[12])
{
    for (size_t low = 0, high = n; low < high;) {
        size_t mid = (low + high) / 2;
        int c = memcmp(events[mid]->event_id.data, id, 12);
        if (c == 0)
            return true;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

static void no_answered_request_is_lost_or_doubled_by_kills(void **state)
{
    kit *k = *state;
    static usage_event *events[EVENTS_MAX * 10];
    recorder_options o = kit_options(k);
    char here[256];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(k->dir), 0);
    for (unsigned round = 0; round < 12; round++)
        run_child(&o, record_until_killed, 2000 + round * 1713);
    kit_open(k, &o);
    kit_close(k, 0);
    size_t n = kit_read_all(k, events, GW_ARRAY_LEN(events)), answered = 0;
    qsort(events, n, sizeof(events[0]), by_id);
    for (size_t i = 1; i < n; i++)
        assert_true(by_id(&events[i - 1], &events[i]) != 0);
    FILE *f = fopen("answered", "rb");
    uint8_t id[12];
    assert_non_null(f);
    while (fread(id, sizeof(id), 1, f) == 1) {
        assert_true(has_event(events, n, id));
        answered++;
    }
    (void)fclose(f);
    assert_true(answered > 0 && n >= answered && n <= answered + 12);
    assert_int_equal(chdir(here), 0);
    free_events(events, n);
}

/* ---- no system call ---- */

/* Ends the process at whatever this thread asks of the kernel but its end. False where that cannot be had. */
static bool forbid_system_calls(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false; /* their runtimes ask the kernel for memory of their own */
#else
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = GW_ARRAY_LEN(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#endif
}

static void wait_until_all_are_free(recorder_lane *lane)
{
    flight_slot *held[64];
    for (size_t i = 0; i < GW_ARRAY_LEN(held); i++)
        while (!(held[i] = recorder_claim(lane))) {
        }
    for (size_t i = 0; i < GW_ARRAY_LEN(held); i++)
        recorder_release(lane, held[i]);
}

enum { CHILD_DID = 7, CHILD_CANNOT = 8 };

/* A writer that sleeps is woken by one call: this one has just had work. */
static int record_without_system_calls(const recorder_options *o)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        recorder_lane *lane = recorder_lane_at(open_in_child(o), 0);
        (void)kit_record(lane, true);
        wait_until_all_are_free(lane);
        if (!forbid_system_calls())
            _exit(CHILD_CANNOT);
        for (int i = 0; i < 20; i++)
            if (!kit_record(lane, i % 2 == 0))
                _exit(0);
        _exit(CHILD_DID);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void recording_makes_no_system_call(void **state)
{
    kit *k = *state;
    recorder_options o = kit_options(k);
    int did = 0;
    for (int round = 0; round < 10 && did != CHILD_DID && did != CHILD_CANNOT; round++)
        did = record_without_system_calls(&o);
    if (did == CHILD_CANNOT)
        skip();
    assert_int_equal(did, CHILD_DID);
}

/* ---- bounds and disks ---- */

static bool is_full(kit *k)
{
    (void)kit_record(recorder_lane_at(k->recorder, 0), false);
    return kit_stats(k).full;
}

static void a_spool_at_its_bound_says_so_and_still_takes_what_is_in_flight(void **state)
{
    kit *k = *state;
    recorder_options o = kit_options(k);
    o.spool_max_bytes = 64 << 10;
    kit_open(k, &o);
    kit_run_until(k, is_full);
    int64_t tail = kit_stats(k).tail;
    while (kit_record(recorder_lane_at(k->recorder, 0), true)) {
    }
    kit_wait_tail(k, tail + 1);
    assert_false(kit_stats(k).disk_failed);
    kit_close(k, 0);
}

static bool disk_has_failed(kit *k)
{
    return kit_stats(k).disk_failed;
}

static bool disk_is_well(kit *k)
{
    return !kit_stats(k).disk_failed && kit_tail_is_wanted(k);
}

static void a_full_disk_keeps_events_in_flight_until_there_is_room(void **state)
{
    kit *k = *state;
    struct rlimit unlimited, full;
    usage_event *events[80] = {NULL};
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    full = unlimited;
    full.rlim_cur = 1024; /* of any file: of the spool's first segment that much can be written */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    int recorded = 0;
    while (kit_record(recorder_lane_at(k->recorder, 0), true))
        recorded++;
    assert_true(recorded >= 64);
    kit_run_until(k, disk_has_failed);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    k->wanted = recorded;
    kit_run_until(k, disk_is_well);
    assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
    kit_close(k, 0);
    assert_int_equal(kit_read_all(k, events, 80), recorded + 1);
    free_events(events, (size_t)recorded + 1);
}

static void an_idle_recorder_is_woken_by_one_request(void **state)
{
    kit *k = *state;
    recorder_options o = kit_options(k);
    kit_open(k, &o);
    for (int i = 1; i <= 3; i++) {
        (void)usleep(150 * 1000); /* longer than the writer stays awake */
        assert_true(kit_record(recorder_lane_at(k->recorder, 0), true));
        kit_wait_tail(k, i);
    }
    kit_close(k, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(what_is_recorded_is_in_the_spool_with_ids_of_its_own),
        TEST(a_request_that_is_tried_again_is_open_once_and_says_whom_it_asks_now),
        TEST(a_lane_without_a_free_slot_refuses),
        TEST(closing_commits_what_is_done),
        TEST(a_second_recorder_on_the_directory_is_refused),
        TEST(a_wrong_directory_is_an_error),
        TEST(a_killed_relay_leaves_done_and_interrupted_events),
        TEST(no_answered_request_is_lost_or_doubled_by_kills),
        TEST(recording_makes_no_system_call),
        TEST(a_spool_at_its_bound_says_so_and_still_takes_what_is_in_flight),
        TEST(a_full_disk_keeps_events_in_flight_until_there_is_room),
        TEST(an_idle_recorder_is_woken_by_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
