/*
 * A file that a test writes, and the configuration that is built of such files.
 */
#pragma once

#include "config_file.h"
#include "relay_config_build.h"

#include "testing/cmocka.h"

#include <stdlib.h>
#include <unistd.h>

static char config_path[] = "/tmp/config_file_test_XXXXXX";

static inline int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(config_path);
    return fd < 0 ? -1 : close(fd);
}

static inline int drop_file(void **state)
{
    (void)state;
    return unlink(config_path);
}

static inline void write_text(const char *text)
{
    FILE *f = fopen(config_path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline char *fake_credential(void *self, gw_str reference, gw_error *err)
{
    (void)self;
    if (gw_str_ends_with(reference, GW_STR("MISSING"))) {
        gw_fail(err, GW_ERR_FAILED_PRECONDITION, "not set");
        return NULL;
    }
    return gw_str_dup(GW_STR("sk-secret"));
}

static inline relay_config *build_with(credential_source credentials,
                                       const relay_config_file *files[], size_t count,
                                       const price_book_message *prices, config_warnings *warnings)
{
    relay_config_layer layers[2] = {0};
    for (size_t i = 0; i < count; i++)
        layers[i] = (relay_config_layer){.providers = files[i]->providers,
                                         .provider_count = files[i]->n_providers,
                                         .routes = files[i]->models,
                                         .route_count = files[i]->n_models,
                                         .prices = i == 0 ? prices : NULL};
    relay_config *c = NULL;
    gw_error err;
    assert_int_equal(relay_config_build(layers, count, credentials, warnings, &c, &err), GW_OK);
    return c;
}

static inline relay_config *build(const relay_config_file *files[], size_t count,
                                  const price_book_message *prices, config_warnings *warnings)
{
    return build_with((credential_source){.resolve = fake_credential}, files, count, prices,
                      warnings);
}
