/*
 * The token that signs the key's user in to a LibreChat: whoever has none is refused before anything is sent, whatever further targets the
 * route has. Nobody else's account takes the place of his.
 */
#include "relay_request_internal.h"

#include "user_key.h"

struct token_check {
    shared_wait wait;
    bool waits;
};

static void on_known(void *arg)
{
    relay_request *r = arg;

    r->token_check->waits = false;
    r->operations--;
    relay_request_wake(r);
}

static bool make_check(relay_request *r)
{
    if (r->token_check)
        return true;
    r->token_check = gw_arena_new_of(r->arena, struct token_check);
    if (!r->token_check)
        return false;
    *r->token_check = (struct token_check){.wait = {.done = on_known, .arg = r}};
    return true;
}

/* The book remembers what it told of: who was woken asks again. */
user_token_answer relay_request_find_user_token(relay_request *r, const provider_config *p,
                                                gw_str *ret)
{
    if (!r->policy->has_user_oid)
        return USER_TOKEN_IS_MISSING;
    if (!r->core->user_tokens || !make_check(r))
        return USER_TOKEN_IS_UNKNOWN;
    if (r->token_check->waits)
        return USER_TOKEN_WAITS;
    user_token_answer answer =
        user_token_book_get(r->core->user_tokens, r->policy->user_oid, p->sign_in_audience,
                            r->arena, ret, &r->token_check->wait);
    if (answer == USER_TOKEN_WAITS) {
        r->token_check->waits = true;
        r->operations++;
    }
    return answer;
}

static gw_status tell_why(const relay_request *r, user_token_answer answer, gw_error *err)
{
    static const char *const words[] = {
        [USER_TOKEN_IS_MISSING] = "LibreChat has no user of the id that this API key has as userId",
        [USER_TOKEN_IS_LOCAL] = "the LibreChat user of this API key does not sign in over OpenID, "
                                "and LibreChat lets nobody else be signed in here",
        [USER_TOKEN_IS_ELSEWHERE] = "LibreChat does not know the user of this API key by the "
                                    "issuer that the relay signs in for: he has to sign in to "
                                    "LibreChat there once",
        [USER_TOKEN_IS_AMBIGUOUS] = "LibreChat has another user of the same OpenID name as that of "
                                    "this API key, and might take one for the other",
    };

    if (answer == USER_TOKEN_IS_UNKNOWN)
        return gw_fail(err, GW_ERR_UNAVAILABLE,
                       "the LibreChat user of this API key cannot be signed in right now");
    if (!r->policy->has_user_oid)
        return gw_fail_field(err, GW_ERR_PERMISSION_DENIED, "userId",
                             "this API key names no LibreChat user to sign in as: ask an "
                             "administrator to set its userId");
    return gw_fail_field(err, GW_ERR_PERMISSION_DENIED, "userId", "%s", words[answer]);
}

bool relay_request_has_user_token(relay_request *r)
{
    const provider_config *p = r->target->provider;
    GW_UNINITIALIZED gw_error err;

    if (!user_is_signed_in(p))
        return true;
    user_token_answer answer = relay_request_find_user_token(r, p, &r->user_token);
    r->is_to_send = answer == USER_TOKEN_WAITS;
    if (answer == USER_TOKEN_IS_GIVEN)
        return true;
    if (r->is_to_send)
        return false;
    if (r->attempts > 0) {
        r->has_failed = true; /* what the attempt before failed of says more */
    } else {
        (void)tell_why(r, answer, &err);
        (void)relay_request_fail(r, &err);
    }
    return false;
}

void relay_request_leave_user_token(relay_request *r)
{
    if (!r->token_check || !r->token_check->waits)
        return;
    shared_wait_forget(&r->token_check->wait);
    r->token_check->waits = false;
    r->operations--;
}
