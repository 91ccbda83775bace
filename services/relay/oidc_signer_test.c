#include "oidc_test_kit.h"

#include "testing/exhaust.h"

static EVP_PKEY *pkey, *other;

static int make_keys(void **state)
{
    (void)state;
    pkey = EVP_RSA_gen(2048);
    other = EVP_RSA_gen(2048);
    return pkey && other ? 0 : -1;
}

static int drop_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(other);
    return 0;
}

static size_t count_of(gw_str text, const char *what)
{
    size_t n = 0;
    for (const char *at = text.ptr; (at = strstr(at, what)); at++)
        n++;
    return n;
}

/* The next part of a token, decoded. */
static void take_part(gw_str *rest, gw_buf *out)
{
    gw_str part;
    assert_true(gw_str_split(rest, '.', &part));
    assert_true(gw_buf_reserve(out, part.len + 1));
    ptrdiff_t n = gw_base64_decode(part, out->data, part.len);
    assert_true(n > 0);
    out->len = (size_t)n;
    out->data[n] = '\0';
}

static void a_token_says_who_asks_where_and_until_when(void **state)
{
    (void)state;
    oidc_signer *s = signer_of(pkey, NULL, OIDC_ISSUER "/");
    gw_auto_buf token = {0};
    gw_auto_buf head = {0};
    gw_auto_buf claims = {0};
    gw_auto_buf signature = {0};
    assert_int_equal(oidc_signer_sign(s, GW_STR("anna\"1"), GW_STR("https://chat.example"),
                                      1764000000, &token, NULL),
                     GW_OK);
    gw_str rest = gw_buf_str(&token);
    take_part(&rest, &head);
    take_part(&rest, &claims);
    size_t signed_len = token.len - rest.len - 1;
    take_part(&rest, &signature);
    assert_int_equal(rest.len, 0);
    assert_string_equal(claims.data,
                        "{\"iss\":\"" OIDC_ISSUER "\",\"sub\":\"anna\\\"1\",\"aud\":"
                        "\"https://chat.example\",\"iat\":1764000000,\"exp\":1764000060}");
    /* The key that it names is the one that is shown. */
    assert_true(gw_str_starts_with(gw_buf_str(&head),
                                   GW_STR("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"")));
    gw_str kid = gw_str_slice(gw_buf_str(&head), head.len - 45, head.len - 2);
    assert_true(gw_str_contains(oidc_signer_jwks(s), kid));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestVerify(ctx, (const uint8_t *)signature.data, signature.len,
                                      (const uint8_t *)token.data, signed_len),
                     1);
    EVP_MD_CTX_free(ctx);
    oidc_signer_unref(s);
}

static void both_keys_are_shown_and_one_that_is_both_once(void **state)
{
    (void)state;
    oidc_signer *alone = signer_of(pkey, NULL, OIDC_ISSUER),
                *two = signer_of(pkey, other, OIDC_ISSUER),
                *same = signer_of(pkey, pkey, OIDC_ISSUER);
    assert_int_equal(count_of(oidc_signer_jwks(alone), "\"kid\""), 1);
    assert_int_equal(count_of(oidc_signer_jwks(two), "\"kid\""), 2);
    assert_true(gw_str_eq(oidc_signer_jwks(same), oidc_signer_jwks(alone)));
    assert_true(gw_str_starts_with(oidc_signer_jwks(two), GW_STR("{\"keys\":[{\"kty\":\"RSA\"")));
    assert_int_equal(count_of(oidc_signer_jwks(two), "\"d\""), 0); /* no private half */
    oidc_signer_unref(alone);
    oidc_signer_unref(two);
    oidc_signer_unref(same);
}

static void an_issuer_is_kept_as_librechat_keeps_it(void **state)
{
    (void)state;
    static const char *const written[] = {OIDC_ISSUER, OIDC_ISSUER "//",
                                          OIDC_ISSUER "/.well-known/openid-configuration"};
    for (size_t i = 0; i < GW_ARRAY_LEN(written); i++) {
        oidc_signer *s = signer_of(pkey, NULL, written[i]);
        assert_true(gw_str_eq_c(oidc_signer_issuer(s), OIDC_ISSUER));
        oidc_signer_unref(s);
    }
}

static void an_issuer_is_https_unless_it_is_this_machine(void **state)
{
    (void)state;
    static const struct {
        const char *issuer;
        bool is_good;
    } cases[] = {
        {"https://login.example", true},
        {"https://login.example:8443/realms/a", true},
        {"http://localhost:8080", true},
        {"http://127.0.0.1", true},
        {"http://[::1]:80", true},
        {"http://login.localhost", true},
        {"http://login.example", false},
        {"http://localhost.example", false},
        {"ftp://localhost", false},
        {"https://", false},
        {"https://user@login.example", false},
        {"https://login.example?x=1", false},
        {"login.example", false},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_error err;
        gw_status rc = oidc_issuer_check(cases[i].issuer, &err);
        if ((rc == GW_OK) != cases[i].is_good)
            fail_msg("%s", cases[i].issuer);
    }
}

static gw_status load_and_sign(void *arg)
{
    oidc_signer *s = NULL;
    gw_auto_buf token = {0};
    gw_error err;
    gw_status rc = oidc_signer_load(OIDC_ISSUER, arg, NULL, &s, &err);
    if (rc == GW_OK)
        rc = oidc_signer_sign(s, GW_STR("anna"), GW_STR("https://chat.example"), 1, &token, &err);
    oidc_signer_unref(s);
    return rc;
}

static void without_memory_there_is_no_token(void **state)
{
    (void)state;
    char path[32];
    write_key(pkey, false, path);
    gw_exhaust(load_and_sign, path);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_who_asks_where_and_until_when),
        cmocka_unit_test(both_keys_are_shown_and_one_that_is_both_once),
        cmocka_unit_test(an_issuer_is_kept_as_librechat_keeps_it),
        cmocka_unit_test(an_issuer_is_https_unless_it_is_this_machine),
        cmocka_unit_test(without_memory_there_is_no_token),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
