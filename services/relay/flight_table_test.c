#include "recorder_test_kit.h"

#include "flight_table.h"
#include "position_table.h"

#include <sys/stat.h>

static event_figures figures; /* of the slot that was stored to last */

/* What was noted is what is there. */
static void check_figures(const flight_slot *s)
{
    event_figures there;
    assert_true(event_read_figures(flight_slot_event(s), &there));
    assert_memory_equal(&figures, &there, sizeof(there));
}

static flight_table *open_table(const kit *k, uint32_t slots, bool *renamed)
{
    flight_table *t = NULL;
    gw_error err;
    assert_int_equal(flight_table_open(k->dir, slots, &t, renamed, &err), GW_OK);
    return t;
}

/* As after kill -9: what is in the mapping is all there is. */
static flight_table *reopen(const kit *k, flight_table *t)
{
    bool renamed;
    uint32_t count = flight_table_count(t);
    flight_table_free(t);
    t = open_table(k, count, &renamed);
    assert_false(renamed);
    return t;
}

static void file_path(const kit *k, char out[96])
{
    (void)snprintf(out, 96, "%s/flight", k->dir);
}

static usage_event *unpack(const flight_slot *s)
{
    gw_str bytes = flight_slot_event(s);
    usage_event *e =
        apirelay__usage__v1__usage_event__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    assert_non_null(e);
    return e;
}

/* Their ledgers may have been built up again since they were forwarded. */
static void interrupted_ones_are_told_under_the_load_ids_that_their_positions_have_now(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 2, &renamed);
    position_table *positions = NULL;
    char path[96];
    assert_int_equal(position_table_open(k->dir, GW_STR("aa"), &positions, NULL), GW_OK);
    int64_t *const rows[] = {&e.grant_id, &e.client_grant_id, &e.owner_grant_id};
    static const char *const subjects[] = {"k:1", "c:app", "o:1"};
    for (int i = 0; i < 3; i++) {
        *rows[i] = position_table_open_row(positions, "aa.1.0", subjects[i]);
        position_table_set_load(positions, *rows[i], 100 + i);
    }
    e.key_load_id = e.client_load_id = e.owner_load_id = 7;
    flight_slot_open(flight_table_slot(t, 0), &e, &figures);
    t = reopen(k, t);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 0), 0, positions),
                     FLIGHT_FOUND_INTERRUPTED);
    usage_event *back = unpack(flight_table_slot(t, 0));
    assert_int_equal(back->key_load_id, 100);
    assert_int_equal(back->client_load_id, 101);
    assert_int_equal(back->owner_load_id, 102);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    position_table_free(positions);
    flight_table_free(t);
    (void)snprintf(path, sizeof(path), "%s/positions", k->dir);
    (void)unlink(path);
}

static void slots_survive_in_each_state(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 4, &renamed);
    flight_slot_open(flight_table_slot(t, 1), &e, &figures);
    flight_slot_progress(flight_table_slot(t, 1),
                         &(event_progress){.completion_tokens = 5, .status_code = 200});
    flight_slot_open(flight_table_slot(t, 2), &e, &figures);
    flight_slot_done(flight_table_slot(t, 2), &e, &figures);
    flight_slot_done(flight_table_slot(t, 3), &e, &figures); /* a refusal */
    check_figures(flight_table_slot(t, 3));
    flight_table_rest(t);
    assert_int_equal(flight_slot_state(flight_table_slot(t, 2)), FLIGHT_DONE);
    t = reopen(k, t);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 0), 0, NULL), FLIGHT_FOUND_NOTHING);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 1), 0, NULL),
                     FLIGHT_FOUND_INTERRUPTED);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 2), 0, NULL), FLIGHT_FOUND_DONE);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 3), 0, NULL), FLIGHT_FOUND_DONE);
    usage_event *back = unpack(flight_table_slot(t, 1));
    assert_memory_equal(back->event_id.data, id, 12);
    assert_string_equal(back->outcome, "interrupted");
    assert_int_equal(back->completion_tokens, 5);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    /* A second death before the commit finds the same. */
    t = reopen(k, t);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 1), 0, NULL), FLIGHT_FOUND_DONE);
    flight_table_free(t);
}

static void an_opened_event_is_finished_by_what_is_new(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    char complete[] = "complete", route[] = "gpt-*", long_error[EVENT_MAX_BYTES];
    usage_event e = kit_event(id, 10), rest = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    e.cost_nano_usd = 70;
    rest.outcome = complete;
    rest.cost_nano_usd = 90;
    rest.completion_tokens = 5;
    rest.route = route;
    assert_false(flight_slot_finish(s, &rest, &figures)); /* nothing is open */
    assert_true(flight_slot_open(s, &e, &figures));

    memset(long_error, 'x', sizeof(long_error) - 1);
    long_error[sizeof(long_error) - 1] = '\0';
    char *no_error = rest.error;
    rest.error = long_error;
    assert_false(flight_slot_finish(s, &rest, &figures));
    assert_int_equal(flight_slot_state(s), FLIGHT_OPEN);

    rest.error = no_error;
    assert_true(flight_slot_finish(s, &rest, &figures));
    check_figures(s);
    assert_int_equal(figures.cost_nano_usd, 90);
    assert_int_equal(figures.completion_tokens, 5);
    assert_true(gw_str_eq_c(figures.model, e.model) && gw_str_eq_c(figures.route, route));
    t = reopen(k, t);
    s = flight_table_slot(t, 0);
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_DONE);
    usage_event *back = unpack(s);
    assert_memory_equal(back->event_id.data, id, 12);
    assert_string_equal(back->outcome, complete);
    assert_int_equal(back->prompt_estimate_tokens, e.prompt_estimate_tokens);
    assert_int_equal(back->cost_nano_usd, 90);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    flight_table_free(t);
}

static void an_event_too_long_for_its_slot_is_not_opened_whole(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    char agent[FLIGHT_OPEN_MAX];
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 1, &renamed);
    memset(agent, 'x', sizeof(agent) - 1);
    agent[sizeof(agent) - 1] = '\0';
    e.user_agent = agent;
    assert_false(flight_slot_open(flight_table_slot(t, 0), &e, &figures));
    flight_table_free(t);
}

static void what_the_spool_has_is_not_taken_again(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    flight_slot_done(s, &e, &figures);
    uint64_t generation = flight_slot_generation(s);
    assert_int_equal(flight_slot_recover(s, generation - 1, NULL), FLIGHT_FOUND_DONE);
    assert_int_equal(flight_slot_recover(s, generation, NULL), FLIGHT_FOUND_COMMITTED);
    assert_int_equal(flight_slot_state(s), FLIGHT_FREE);
    /* An older page came back: the next use of the slot is still newer than what the spool knows. */
    assert_int_equal(flight_slot_recover(s, generation + 7, NULL), FLIGHT_FOUND_NOTHING);
    flight_slot_done(s, &e, &figures);
    assert_true(flight_slot_generation(s) > generation + 7);
    flight_table_free(t);
}

static void a_torn_end_leaves_the_beginning(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    flight_slot_open(s, &e, &figures);
    flight_slot_done(s, &e, &figures);
    s->bytes[s->done_at + 20] ^= 1;
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_INTERRUPTED);
    flight_slot_free(s);
    flight_slot_done(
        s, &e,
        &figures); /* never opened in this generation: what an earlier one opened does not count */
    s->bytes[s->done_at + 20] ^= 1;
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_TORN);
    assert_int_equal(flight_slot_state(s), FLIGHT_FREE);
    flight_slot_open(s, &e, &figures);
    s->bytes[3] ^= 1;
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_TORN);
    flight_slot_open(s, &e, &figures);
    s->open_len = 5000;
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_TORN);
    atomic_store(&s->state, 77);
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_TORN);
    flight_table_free(t);
}

/* What finishes an event stands behind what opened it: the end may be torn, and be written again, without the beginning. */
static void an_end_written_behind_its_beginning_is_torn_alone(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10), rest = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    rest.completion_tokens = 5;
    rest.status_code = 200;
    assert_true(flight_slot_open(s, &e, &figures));
    uint32_t opened = s->open_len;
    assert_true(flight_slot_finish(s, &rest, &figures));
    uint32_t finished = s->done_len;
    assert_true(finished > opened);
    assert_false(flight_slot_finish(s, &rest, &figures)); /* it is no longer open */
    for (uint32_t at = 0; at < finished; at++) {
        flight_slot torn = *s;
        torn.bytes[at] ^= 1;
        assert_int_equal(flight_slot_recover(&torn, 0, NULL),
                         at < opened ? FLIGHT_FOUND_TORN : FLIGHT_FOUND_INTERRUPTED);
    }
    for (uint32_t len = 0; len < finished;
         len++) { /* not even the opened part passes for all of it */
        flight_slot cut = *s;
        cut.done_len = len;
        assert_int_equal(flight_slot_recover(&cut, 0, NULL), FLIGHT_FOUND_INTERRUPTED);
    }
    for (uint32_t at = 1; at != 0; at <<= 1) {
        flight_slot moved = *s;
        moved.done_at = at;
        assert_int_equal(flight_slot_recover(&moved, 0, NULL), FLIGHT_FOUND_INTERRUPTED);
    }
    flight_slot half = *s; /* killed before the state word */
    atomic_store(&half.state, FLIGHT_OPEN);
    assert_int_equal(flight_slot_recover(&half, 0, NULL), FLIGHT_FOUND_INTERRUPTED);
    assert_int_equal(flight_slot_recover(&half, 0, NULL), FLIGHT_FOUND_DONE);
    flight_table_free(t);
}

/* Its bytes may be anything: nothing is written by them. */
static void what_is_not_open_is_not_finished_whatever_it_holds(void **state)
{
    kit *k = *state;
    bool renamed;
    usage_event rest = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    flight_table *t = open_table(k, 2, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    static const flight_slot blank;
    s->open_len = FLIGHT_SLOT_BYTES - offsetof(flight_slot, bytes);
    rest.completion_tokens = 5;
    assert_false(flight_slot_finish(s, &rest, &figures));
    assert_memory_equal(flight_table_slot(t, 1), &blank, sizeof(blank));
    flight_table_free(t);
}

static void figures_are_kept_whatever_the_texts(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    char *text = malloc(100001);
    assert_non_null(text);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    usage_event e = kit_event(id, 10);
    e.client_request_id = e.client_id = e.provider = e.error = e.model = text;
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot_done(flight_table_slot(t, 0), &e, &figures);
    check_figures(flight_table_slot(t, 0));
    usage_event *back = unpack(flight_table_slot(t, 0));
    assert_memory_equal(back->event_id.data, id, 12);
    assert_int_equal(back->cost_nano_usd, 42);
    assert_string_equal(back->key_id, "k1");
    assert_true(back->truncated);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    flight_table_free(t);
    free(text);
}

static void a_larger_table_keeps_its_slots(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 10);
    flight_table *t = open_table(k, 2, &renamed);
    flight_slot_done(flight_table_slot(t, 1), &e, &figures);
    check_figures(flight_table_slot(t, 1));
    flight_table_free(t);
    t = open_table(k, 10, &renamed);
    assert_int_equal(flight_table_count(t), 10);
    flight_slot_done(flight_table_slot(t, 9), &e, &figures);
    check_figures(flight_table_slot(t, 9));
    flight_table_free(t);
    t = open_table(k, 2, &renamed); /* fewer are wanted, none is lost */
    assert_int_equal(flight_table_count(t), 10);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 1), 0, NULL), FLIGHT_FOUND_DONE);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 9), 0, NULL), FLIGHT_FOUND_DONE);
    assert_int_equal(flight_table_index(t, flight_table_slot(t, 9)), 9);
    flight_table_free(t);
}

static void disk_space_is_allocated(void **state)
{
    kit *k = *state;
    bool renamed;
    char path[96];
    struct stat st;
    flight_table *t = open_table(k, 100, &renamed);
    file_path(k, path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 >= 100L * FLIGHT_SLOT_BYTES);
    flight_table_free(t);
}

static void another_file_is_renamed_aside(void **state)
{
    kit *k = *state;
    bool renamed = false;
    char path[96], aside[128];
    file_path(k, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 8192; i++)
        (void)fputc(i & 0x7f, f);
    (void)fclose(f);
    flight_table *t = open_table(k, 2, &renamed);
    assert_true(renamed);
    assert_int_equal(flight_slot_recover(flight_table_slot(t, 0), 0, NULL), FLIGHT_FOUND_NOTHING);
    (void)snprintf(aside, sizeof(aside), "%s.unreadable", path);
    assert_int_equal(access(aside, F_OK), 0);
    flight_table_free(t);
}

/* Slots of another layout are not read as ours. */
static void a_table_of_another_format_is_renamed_aside(void **state)
{
    kit *k = *state;
    bool renamed = false;
    char path[96];
    flight_table_free(open_table(k, 2, &renamed));
    assert_false(renamed);
    file_path(k, path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_true(fputs("relayfl2", f) >= 0);
    (void)fclose(f);
    flight_table_free(open_table(k, 2, &renamed));
    assert_true(renamed);
}

static void a_row_that_counts_survives_with_its_count(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    usage_event e = kit_event(id, 0);
    flight_table *t = open_table(k, 2, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    flight_slot_fold(s, &e, 1, &figures);
    for (int i = 0; i < 299; i++)
        assert_true(flight_slot_repeat(s));
    t = reopen(k, t);
    s = flight_table_slot(t, 0);
    for (int times = 0; times < 2; times++) { /* a death in the recovery changes nothing */
        assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_DONE);
        usage_event *back = unpack(s);
        assert_int_equal(back->repeat_count, 300);
        assert_memory_equal(back->event_id.data, id, 12);
        apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    }
    /* The slot's next event counts once, whatever is left of the count. */
    flight_slot_free(s);
    e.repeat_count = 1;
    flight_slot_done(s, &e, &figures);
    flight_slot_close_fold(s, &figures);
    check_figures(s);
    usage_event *next = unpack(s);
    assert_int_equal(next->repeat_count, 1);
    apirelay__usage__v1__usage_event__free_unpacked(next, NULL);
    flight_table_free(t);
}

static void a_row_counts_no_more_than_usage_takes(void **state)
{
    kit *k = *state;
    bool renamed;
    uint8_t id[12] = "event-000001";
    char *text = malloc(1000001);
    assert_non_null(text);
    memset(text, 'x', 1000000);
    text[1000000] = '\0';
    usage_event e = kit_event(id, 0);
    e.error = text; /* the count has its place behind the longest event */
    flight_table *t = open_table(k, 1, &renamed);
    flight_slot *s = flight_table_slot(t, 0);
    flight_slot_fold(s, &e, FLIGHT_REPEATS_MAX - 1, &figures);
    assert_true(flight_slot_repeat(s));
    assert_false(flight_slot_repeat(s));
    flight_slot_close_fold(s, &figures);
    check_figures(s);
    assert_true(flight_slot_event(s).len <= EVENT_MAX_BYTES);
    usage_event *back = unpack(s);
    assert_int_equal(back->repeat_count, FLIGHT_REPEATS_MAX);
    assert_true(back->truncated);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    assert_int_equal(flight_slot_recover(s, 0, NULL), FLIGHT_FOUND_DONE);
    flight_table_free(t);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(slots_survive_in_each_state),
        TEST(interrupted_ones_are_told_under_the_load_ids_that_their_positions_have_now),
        TEST(an_opened_event_is_finished_by_what_is_new),
        TEST(an_event_too_long_for_its_slot_is_not_opened_whole),
        TEST(what_the_spool_has_is_not_taken_again),
        TEST(a_torn_end_leaves_the_beginning),
        TEST(an_end_written_behind_its_beginning_is_torn_alone),
        TEST(what_is_not_open_is_not_finished_whatever_it_holds),
        TEST(figures_are_kept_whatever_the_texts),
        TEST(a_larger_table_keeps_its_slots),
        TEST(disk_space_is_allocated),
        TEST(another_file_is_renamed_aside),
        TEST(a_table_of_another_format_is_renamed_aside),
        TEST(a_row_that_counts_survives_with_its_count),
        TEST(a_row_counts_no_more_than_usage_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
