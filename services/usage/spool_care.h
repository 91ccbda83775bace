/*
 * Spool care: spools that fall silent with events that never came, and what is written down of them.
 *
 *     silent for silent_ms with tail > n ─▶ an alert of kind spool_silent with tail - n
 *     silent for lost_ms, or said to be lost ─▶ usage_losses; the alert ends
 *     heard again ─▶ the alert ends, the loss says so; the spool just resumes where it stands
 *
 * usage_losses: {_id: "<S>-<n>", S, host, n, tail, events, openSlots, seen, at, by, returnedAt}
 * usage_spools: lostAt, while it is taken for lost
 *
 * Thread: on a worker.
 */
#pragma once

#include "core/id.h"
#include "mongo/db.h"

typedef struct spool_care {
    int64_t silent_ms, lost_ms;
} spool_care;

typedef enum spool_news_kind { SPOOL_FELL_SILENT, SPOOL_LOST, SPOOL_RETURNED } spool_news_kind;

typedef struct spool_news {
    spool_news_kind kind;
    char id[16];
    char host[64];
    int64_t events, open_slots;
} spool_news;

#define SPOOL_NEWS_MAX 64

typedef struct spool_round {
    int64_t silent, silent_events; /* now: alerted, not yet lost */
    spool_news news[SPOOL_NEWS_MAX]; /* what is to be logged, once each */
    size_t news_count;
} spool_round;

/* One look at all spools. Any replica, any time. */
GW_CHECK gw_status spool_care_look(const gw_db *d, const spool_care *c, int64_t now_ms,
                                   spool_round *ret, gw_error *err);

/*
 * `by` (an admin; "" when time says it) takes the spool for lost. GW_ERR_NOT_FOUND; or
 * GW_ERR_FAILED_PRECONDITION when its relay was heard within SPOOL_LIVE_MS. Again: the same loss.
 */
#define SPOOL_LIVE_MS 15000
GW_CHECK gw_status spool_care_lose(const gw_db *d, const char *id, gw_str by, int64_t now_ms,
                                   gw_error *err);
void spool_loss_id(const char *spool_id, int64_t n, char out[40]);
