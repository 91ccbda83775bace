#include "config_file_test_kit.h"
#include "model_names.h"

static relay_config_file *read_good(const char *text)
{
    relay_config_file *f = NULL;
    gw_json_violations v = {0};
    gw_error err = {0};
    write_text(text);
    if (config_file_read(config_path, &f, &v, &err) != GW_OK)
        fail_msg("%s: %s", err.field, err.message);
    return f;
}

static const char good[] =
    "providers:\n"
    "  - {name: main, kind: openai, baseUrl: 'https://api.example.com/v1/', "
    "credential: 'env:RELAY_CREDENTIAL_X', idleTimeoutMs: 1500}\n"
    "  - {name: chat, kind: librechat, baseUrl: 'http://chat:3080'}\n"
    "models:\n"
    "  - {model: '*', targets: [{provider: main}]}\n"
    "  - {model: 'gpt-*', targets: [{provider: main}], listedModels: [gpt-b, gpt-a]}\n"
    "  - {model: 'gpt-4o', targets: [{provider: main, upstreamModel: big}], ownedBy: me}\n"
    "  - {model: 'agent_*', targets: [{provider: chat}]}\n";

static void a_good_file_becomes_a_snapshot(void **state)
{
    (void)state;
    const relay_config_file *file = read_good(good);
    config_warnings warnings = {0};
    relay_config *c = build(&file, 1, NULL, &warnings);
    assert_int_equal(warnings.count, 0);
    assert_int_equal(c->provider_count, 2);

    const model_route *r = relay_config_route(c, GW_STR("gpt-4o"));
    assert_true(gw_str_eq_c(r->targets[0].upstream_model, "big"));
    assert_true(gw_str_eq_c(r->targets[0].provider->base_path, "/v1"));
    assert_true(gw_str_eq_c(r->targets[0].provider->credential, "sk-secret"));
    assert_int_equal(r->targets[0].provider->idle_timeout_ms, 1500);
    assert_int_equal(r->default_max_output_tokens, 4096);
    assert_true(gw_str_eq_c(relay_config_route(c, GW_STR("gpt-5"))->pattern, "gpt-*"));
    assert_true(gw_str_eq_c(relay_config_route(c, GW_STR("other"))->pattern, "*"));
    r = relay_config_route(c, GW_STR("agent_x"));
    assert_int_equal(r->targets[0].provider->kind, PROVIDER_LIBRECHAT);
    assert_true(gw_str_eq_c(r->targets[0].provider->base_path, "/api/agents/v1"));

    gw_auto(gw_arena) arena = gw_arena_new();
    const listed_model *models = NULL;
    assert_int_equal(model_names(c, NULL, 0, arena, &models), 3);
    assert_true(gw_str_eq_c(models[0].id, "gpt-4o"));
    assert_true(gw_str_eq_c(models[0].owned_by, "me"));
    assert_true(gw_str_eq_c(models[1].id, "gpt-a"));
    assert_true(gw_str_eq_c(models[2].id, "gpt-b"));
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void every_kind_has_its_own_path_and_timeouts(void **state)
{
    static const struct {
        const char *model;
        provider_kind kind;
        const char *base_path;
        int64_t first_byte_ms;
    } cases[] = {
        {"a", PROVIDER_LOCAL, "/v1", 300000},      {"b", PROVIDER_ANTHROPIC, "/v1", 120000},
        {"c", PROVIDER_GOOGLE, "/v1beta", 120000}, {"d", PROVIDER_ANTHROPIC, "/proxy/v1", 120000},
        {"e", PROVIDER_OPENAI, "", 120000},
    };
    const relay_config_file *file = read_good(
        "providers:\n"
        "  - {name: local, kind: local, baseUrl: 'http://127.0.0.1:11434'}\n"
        "  - {name: anthropic, kind: anthropic, baseUrl: 'https://api.example.com/'}\n"
        "  - {name: google, kind: google, baseUrl: 'https://api.example.com'}\n"
        "  - {name: other, kind: anthropic, baseUrl: 'https://api.example.com/proxy/v1/'}\n"
        "  - {name: openai, kind: openai, baseUrl: 'https://api.example.com'}\n"
        "models:\n"
        "  - {model: a, targets: [{provider: local}], unsupportedParams: refuse}\n"
        "  - {model: b, targets: [{provider: anthropic}], unsupportedParams: drop}\n"
        "  - {model: c, targets: [{provider: google}]}\n"
        "  - {model: d, targets: [{provider: other}]}\n"
        "  - {model: e, targets: [{provider: openai}]}\n");
    relay_config *c = build(&file, 1, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const model_route *r = relay_config_route(c, gw_str_of(cases[i].model));
        assert_int_equal(r->targets[0].provider->kind, cases[i].kind);
        assert_true(gw_str_eq_c(r->targets[0].provider->base_path, cases[i].base_path));
        assert_int_equal(r->targets[0].provider->first_byte_timeout_ms, cases[i].first_byte_ms);
        assert_int_equal(r->drops_params, r->pattern.ptr[0] == 'b');
    }
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void of_overlapping_globs_the_more_special_wins(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"gpt-4o-mini", "gpt-*-mini"}, {"gpt-4o", "gpt-*"}, {"gpt-x", "gpt-?"},
        {"o3-mini", "*-mini"},         {"o3", "*"},
    };
    const relay_config_file *file =
        read_good("providers:\n"
                  "  - {name: a, kind: local, baseUrl: 'http://a'}\n"
                  "models:\n"
                  "  - {model: '*', targets: [{provider: a}]}\n"
                  "  - {model: '*-mini', targets: [{provider: a}]}\n"
                  "  - {model: 'gpt-*', targets: [{provider: a}]}\n"
                  "  - {model: 'gpt-?', targets: [{provider: a}], status: active}\n"
                  "  - {model: 'gpt-*-mini', targets: [{provider: a}]}\n");
    relay_config *c = build(&file, 1, NULL, NULL);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str found = relay_config_route(c, gw_str_of(cases[i][0]))->pattern;
        if (!gw_str_eq_c(found, cases[i][1]))
            fail_msg("%s: " GW_STR_FMT, cases[i][0], GW_STR_ARG(found));
    }
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void a_later_layer_wins_by_name(void **state)
{
    (void)state;
    const relay_config_file *files[2];
    files[0] = read_good(good);
    files[1] = read_good("providers: [{name: main, kind: openai, baseUrl: 'http://other/v1'}]\n"
                         "models: [{model: 'gpt-*', targets: [{provider: chat}]}]\n");
    relay_config *c = build(files, 2, NULL, NULL);
    assert_true(
        gw_str_eq_c(relay_config_route(c, GW_STR("gpt-5"))->targets[0].provider->name, "chat"));
    assert_true(gw_str_eq_c(
        relay_config_route(c, GW_STR("gpt-4o"))->targets[0].provider->base_url.host, "other"));
    relay_config_unref(c);
    for (size_t i = 0; i < 2; i++)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)files[i], NULL);
}

static void what_is_missing_is_reported_and_the_rest_goes_on(void **state)
{
    (void)state;
    const relay_config_file *file =
        read_good("providers:\n"
                  "  - {name: a, kind: openai, baseUrl: 'http://a/v1', credential: "
                  "'env:RELAY_CREDENTIAL_MISSING'}\n"
                  "  - {name: b, kind: openai, baseUrl: 'http://b/v1', status: disabled}\n"
                  "models:\n"
                  "  - {model: m, targets: [{provider: a}]}\n"
                  "  - {model: n, targets: [{provider: b}]}\n"
                  "  - {model: o, targets: [{provider: nobody}]}\n");
    config_warnings warnings = {0};
    relay_config *c = build(&file, 1, NULL, &warnings);
    assert_int_equal(warnings.count, 3);
    assert_non_null(relay_config_route(c, GW_STR("m"))->targets[0].provider->unusable);
    assert_null(relay_config_route(c, GW_STR("n")));
    assert_null(relay_config_route(c, GW_STR("o")));
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void users_are_signed_in_to_the_origin_of_their_provider(void **state)
{
    (void)state;
    static const char *const origins[][2] = {
        {"https://Chat.Example/sub", "https://chat.example"},
        {"https://chat.example:443", "https://chat.example"},
        {"http://chat:3080/", "http://chat:3080"},
        {"http://[FD00::1]:80", "http://[fd00::1]"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(origins); i++) {
        char text[200];
        config_warnings warnings = {0};
        (void)snprintf(text, sizeof(text),
                       "providers: [{name: a, kind: librechat, baseUrl: '%s', signInAsUser: true}]",
                       origins[i][0]);
        const relay_config_file *file = read_good(text);
        relay_config *c =
            build_with((credential_source){.resolve = fake_credential, .signs_in = true}, &file, 1,
                       NULL, &warnings);
        assert_int_equal(warnings.count, 0);
        assert_null(c->providers[0].unusable);
        if (!gw_str_eq_c(c->providers[0].sign_in_audience, origins[i][1]))
            fail_msg(GW_STR_FMT, GW_STR_ARG(c->providers[0].sign_in_audience));
        relay_config_unref(c);
        protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
    }
}

static void
without_a_key_to_sign_them_in_with_a_provider_is_reported_and_the_rest_goes_on(void **state)
{
    (void)state;
    const relay_config_file *file =
        read_good("providers:\n"
                  "  - {name: a, kind: librechat, baseUrl: 'http://a', signInAsUser: true, "
                  "credential: 'env:RELAY_CREDENTIAL_X'}\n"
                  "  - {name: b, kind: librechat, baseUrl: 'http://b'}\n");
    config_warnings warnings = {0};
    relay_config *c = build(&file, 1, NULL, &warnings);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.items[0].text, "RELAY_OIDC_ISSUER"));
    for (size_t i = 0; i < 2; i++) {
        const provider_config *p = &c->providers[i];
        assert_int_equal(gw_str_eq_c(p->name, "a"), p->unusable != NULL);
        /* It is never asked as if it had not been said. */
        assert_int_equal(gw_str_eq_c(p->name, "a"), p->sign_in_audience.len > 0);
    }
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void targets_stand_by_tier_and_have_their_providers_timeouts(void **state)
{
    (void)state;
    const relay_config_file *file =
        read_good("providers:\n"
                  "  - {name: a, kind: openai, baseUrl: 'http://a/v1', idleTimeoutMs: 7}\n"
                  "  - {name: b, kind: openai, baseUrl: 'http://b/v1', status: disabled}\n"
                  "models:\n"
                  "  - model: m\n"
                  "    targets:\n"
                  "      - {provider: a, tier: 2, upstreamModel: late}\n"
                  "      - {provider: b}\n"
                  "      - {provider: a, tier: 1, weight: 5, upstreamModel: one, maxRetries: 2}\n"
                  "      - {provider: a, tier: 1, upstreamModel: two, connectTimeoutMs: 1,\n"
                  "         firstByteTimeoutMs: 2, idleTimeoutMs: 3, totalTimeoutMs: 4}\n");
    config_warnings warnings = {0};
    relay_config *c = build(&file, 1, NULL, &warnings);
    const model_route *r = relay_config_route(c, GW_STR("m"));
    assert_int_equal(warnings.count, 1); /* of b */
    assert_int_equal(r->target_count, 3);
    assert_true(gw_str_eq_c(r->targets[0].upstream_model, "one"));
    assert_int_equal(r->targets[0].weight, 5);
    assert_int_equal(r->targets[0].max_retries, 2);
    assert_int_equal(r->targets[0].connect_timeout_ms, 5000);
    assert_int_equal(r->targets[0].idle_timeout_ms, 7);
    assert_true(gw_str_eq_c(r->targets[1].upstream_model, "two"));
    assert_int_equal(r->targets[1].weight, 1);
    assert_int_equal(r->targets[1].connect_timeout_ms, 1);
    assert_int_equal(r->targets[1].first_byte_timeout_ms, 2);
    assert_int_equal(r->targets[1].idle_timeout_ms, 3);
    assert_int_equal(r->targets[1].total_timeout_ms, 4);
    assert_true(gw_str_eq_c(r->targets[2].upstream_model, "late"));
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void a_provider_goes_on_with_the_credentials_that_are_there(void **state)
{
    (void)state;
    const relay_config_file *file = read_good(
        "providers:\n"
        "  - {name: a, kind: openai, baseUrl: 'http://a/v1', credential: "
        "'env:RELAY_CREDENTIAL_MISSING', moreCredentials: ['env:RELAY_CREDENTIAL_X', "
        "'env:RELAY_CREDENTIAL_MISSING', 'env:RELAY_CREDENTIAL_Y']}\n"
        "  - {name: b, kind: openai, baseUrl: 'http://b/v1', credential: "
        "'env:RELAY_CREDENTIAL_MISSING', moreCredentials: ['env:RELAY_CREDENTIAL_MISSING']}\n"
        "models: [{model: m, targets: [{provider: a}, {provider: b}]}]\n");
    config_warnings warnings = {0};
    relay_config *c = build(&file, 1, NULL, &warnings);
    const model_route *r = relay_config_route(c, GW_STR("m"));
    assert_int_equal(warnings.count, 4);
    const provider_config *a = r->targets[0].provider;
    assert_null(a->unusable);
    assert_int_equal(provider_credential_count(a), 2);
    for (unsigned i = 0; i < 2; i++)
        assert_true(gw_str_eq_c(provider_credential(a, i), "sk-secret"));
    assert_non_null(r->targets[1].provider->unusable);
    relay_config_unref(c);
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)file, NULL);
}

static void every_mistake_of_a_file_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
        const char *field;
    } cases[] = {
        {"providers: [{name: A, kind: gpt, baseUrl: 'ftp://x', credential: sk-1}]", 4,
         "providers[0].name"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://u:p@x/v1'}]", 1,
         "providers[0].baseUrl"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://x/v1', credential: 'env:HOME'}]", 1,
         "providers[0].credential"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://x/v1', credential: 'file:../x'}]", 1,
         "providers[0].credential"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://x/v1', idleTimeoutMs: -1}]", 1,
         "providers[0].idleTimeoutMs"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://x/v1', moreCredentials: [sk-1]}]", 2,
         "providers[0].credential"},
        {"providers: [{name: a, kind: openai, baseUrl: 'http://x/v1', credential: 'file:a', "
         "moreCredentials: ['file:a', 'file:b', 'file:c', 'file:d', 'file:e', 'file:f', 'file:g', "
         "'file:h']}]",
         1, "providers[0].moreCredentials"},
        {"models: [{model: '', targets: [{provider: a}]}]", 1, "models[0].model"},
        {"models: [{model: a}]", 1, "models[0].targets"},
        {"models: [{model: a, targets: [{provider: a, tier: 16, weight: -1}, {provider: B}]}]", 3,
         "models[0].targets[0].weight"},
        {"models: [{model: a, targets: [{provider: a, maxRetries: 6, connectTimeoutMs: -1, "
         "firstByteTimeoutMs: -1, idleTimeoutMs: -1, totalTimeoutMs: 90000000}]}]",
         5, "models[0].targets[0].maxRetries"},
        {"models: [{model: a, targets: [{provider: a}, {provider: b}, {provider: a}]}]", 1,
         "models[0].targets[2]"},
        {"modells: []", 1, "modells"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        relay_config_file *f = NULL;
        gw_json_violations v = {0};
        gw_error err = {0};
        print_message("%s\n", cases[i].text);
        write_text(cases[i].text);
        assert_int_equal(config_file_read(config_path, &f, &v, &err), GW_ERR_INVALID_ARGUMENT);
        assert_int_equal(v.count + 1, cases[i].count); /* beside the one in err */
        assert_string_equal(err.field, cases[i].field);
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    relay_config_file *f = NULL;
    gw_error err = {0};
    assert_int_equal(config_file_read("/nonexistent/relay.yaml", &f, NULL, &err), GW_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/relay.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_becomes_a_snapshot),
        cmocka_unit_test(every_kind_has_its_own_path_and_timeouts),
        cmocka_unit_test(of_overlapping_globs_the_more_special_wins),
        cmocka_unit_test(a_later_layer_wins_by_name),
        cmocka_unit_test(what_is_missing_is_reported_and_the_rest_goes_on),
        cmocka_unit_test(users_are_signed_in_to_the_origin_of_their_provider),
        cmocka_unit_test(
            without_a_key_to_sign_them_in_with_a_provider_is_reported_and_the_rest_goes_on),
        cmocka_unit_test(targets_stand_by_tier_and_have_their_providers_timeouts),
        cmocka_unit_test(a_provider_goes_on_with_the_credentials_that_are_there),
        cmocka_unit_test(every_mistake_of_a_file_is_named),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, make_file, drop_file);
}
