/* What a killed relay left behind: one statement a position, repeated until it is answered. */
#include "grant_book_internal.h"

typedef struct closing {
    gw_list node;
    int64_t row;
    ledger_statement st;
    int64_t sent_ms;
} closing;

bool grant_book_close_row(grant_book *b, const ledger_row *row, const ledger_row_sums *sums)
{
    closing *c = calloc(1, sizeof(*c));

    if (!c)
        return false;
    c->row = row->id;
    c->sent_ms = INT64_MIN / 2;
    c->st = (ledger_statement){.seq = LEDGER_SEQ_FINAL,
                               .final = true,
                               .bye = true,
                               .load = row->load,
                               .day = sums->day,
                               .spent = ledger_row_spent(row, sums),
                               .limits = {.generation = -1}};
    memcpy(c->st.subject, row->subject, sizeof(c->st.subject));
    memcpy(c->st.holder, row->holder, sizeof(c->st.holder));
    gw_list_push_back(&b->closings, &c->node);
    return true;
}

static void start_over(grant_book *b, closing *c, const ledger_reply *r)
{
    /* Usage may not have been told of all of it; counting some twice is the safe side. */
    if (r->ready && !c->st.first) {
        c->st.late = c->st.spent;
        b->figures.late_nano_usd += c->st.late.of[LEDGER_COST_MONTH];
    }
    c->st.first = true;
    c->st.load = r->load;
    c->st.spent = (ledger_amounts){0};
    c->sent_ms = INT64_MIN / 2;
}

void grant_book_answer_final(grant_book *b, const ledger_reply *r)
{
    gw_list_each_safe (node, &b->closings) {
        closing *c = GW_CONTAINER_OF(node, closing, node);
        if (strcmp(c->st.subject, r->subject) != 0 || strcmp(c->st.holder, r->holder) != 0)
            continue;
        if (r->state == LEDGER_SWITCH) {
            start_over(b, c, r);
        } else {
            b->figures.finals++;
            b->o.ops->row_close(b->o.arg, c->row);
            gw_list_remove(&c->node);
            free(c);
        }
        return;
    }
}

int64_t grant_book_advance_closings(grant_book *b, int64_t now_ms)
{
    gw_list_each (node, &b->closings) {
        closing *c = GW_CONTAINER_OF(node, closing, node);
        if (now_ms - c->sent_ms < b->o.timers.retry_ms)
            continue;
        c->sent_ms = now_ms;
        b->figures.statements++;
        b->o.ops->state(b->o.arg, &c->st);
    }
    return gw_list_is_empty(&b->closings) ? INT64_MAX : now_ms + b->o.timers.retry_ms;
}

void grant_book_free_closings(grant_book *b)
{
    for (gw_list *node; (node = gw_list_pop_front(&b->closings));)
        free(GW_CONTAINER_OF(node, closing, node));
}
