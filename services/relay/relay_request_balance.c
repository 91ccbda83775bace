/*
 * LibreChat's balance of the user who is asked for, with his own key or signed in. Its Agents API would run the agent whatever is left, debit down to 0, and make a
 * balance of 0 for who has none, which locks him out of LibreChat (LIBRECHAT.md §3): so nothing is sent then.
 */
#include "relay_request_internal.h"

#include "user_key.h"

struct balance_check {
    shared_wait wait;
    bool waits;
};

static void on_balance(void *arg)
{
    relay_request *r = arg;

    r->balance->waits = false;
    r->operations--;
    relay_request_wake(r);
}

static bool is_checked(const relay_request *r)
{
    const provider_config *p = r->target->provider;

    return r->core->balances && p->checks_balance && user_is_asked_for(r->policy, p);
}

static gw_status check_user(const relay_request *r, gw_error *err)
{
    return r->policy->has_user_oid
               ? GW_OK
               : gw_fail_field(err, GW_ERR_PERMISSION_DENIED, "userId",
                               "this API key names no LibreChat user whose balance could be looked "
                               "at: ask an administrator to set its userId");
}

static gw_status check_answer(const relay_request *r, balance_answer answer, gw_error *err)
{
    if (answer == BALANCE_IS_EMPTY)
        return gw_fail(err, GW_ERR_BUDGET_EXCEEDED,
                       "the LibreChat balance of this API key's user is used up; it is LibreChat's "
                       "own, no limit of this API key");
    if (answer == BALANCE_IS_MISSING)
        return gw_fail(err, GW_ERR_BUDGET_EXCEEDED,
                       "this API key's user has no LibreChat balance yet: sign in to LibreChat "
                       "once, which makes it");
    if (answer == BALANCE_IS_UNKNOWN && r->core->refuses_unknown_balance)
        return gw_fail(err, GW_ERR_UNAVAILABLE,
                       "the LibreChat balance of this API key's user cannot be read right now");
    return GW_OK;
}

static bool refuse(relay_request *r, const gw_error *err)
{
    if (r->attempts > 0)
        r->has_failed = true; /* what the attempt before failed of says more */
    else
        (void)relay_request_fail(r, err);
    return false;
}

static gw_status make_check(relay_request *r, gw_error *err)
{
    if (r->balance)
        return GW_OK;
    r->balance = gw_arena_new_of(r->arena, struct balance_check);
    if (!r->balance)
        return relay_request_no_memory(err);
    *r->balance = (struct balance_check){.wait = {.done = on_balance, .arg = r}};
    return GW_OK;
}

/* The book remembers what it told of: who was woken asks again. */
static balance_answer look(relay_request *r)
{
    struct balance_check *c = r->balance;

    if (c->waits)
        return BALANCE_WAITS;
    balance_answer answer = balance_book_check(r->core->balances, r->policy->user_oid, &c->wait);
    if (answer == BALANCE_WAITS) {
        c->waits = true;
        r->operations++;
    }
    return answer;
}

bool relay_request_has_balance(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;

    if (!is_checked(r))
        return true;
    if (check_user(r, &err) != GW_OK || make_check(r, &err) != GW_OK)
        return refuse(r, &err);
    balance_answer answer = look(r);
    r->is_to_send = answer == BALANCE_WAITS;
    if (r->is_to_send)
        return false;
    return check_answer(r, answer, &err) == GW_OK || refuse(r, &err);
}

void relay_request_leave_balance(relay_request *r)
{
    if (!r->balance || !r->balance->waits)
        return;
    shared_wait_forget(&r->balance->wait);
    r->balance->waits = false;
    r->operations--;
}
