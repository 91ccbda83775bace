/*
 * Building a snapshot of the relay's configuration from messages: the settings files first, then what was configured over the
 * API, which wins by name (providers) and by pattern (routes); a price book over the API replaces the file's whole.
 *
 * Credentials are resolved here, through a seam. One that is missing makes its provider unusable and is reported; others go on.
 *
 * Thread: pure but for the seam.
 */
#pragma once

#include "provider_rules.h"
#include "relay_config.h"

/* Finds the secret behind "env:NAME" or "file:NAME". Returns NULL (with a reason in err) when there is none; malloc'ed. */
typedef struct credential_source {
    char *(*resolve)(void *self, gw_str reference, gw_error *err);
    void *self;
    bool signs_in; /* the relay has a key to sign users in with: RELAY_OIDC_ISSUER */
} credential_source;

/* Environment and files under `dir` (NULL: no file credentials); `self` is that path. Trailing newline dropped. */
char *credential_from_system(void *dir, gw_str reference, gw_error *err);

typedef struct relay_config_layer {
    provider_message *const *providers;
    size_t provider_count;
    route_message *const *routes;
    size_t route_count;
    const price_book_message *prices; /* NULL: none in this layer */
} relay_config_layer;

/* What a snapshot lacks although it could be built: logged by whoever builds. */
typedef struct config_warning {
    char text[256];
} config_warning;
typedef struct config_warnings {
    config_warning items[32];
    size_t count;
} config_warnings;

/* Layers in order, later ones win. Messages have passed provider_rules. GW_ERR_NO_MEMORY only. *ret has one reference. */
GW_CHECK gw_status relay_config_build(const relay_config_layer *layers, size_t count,
                                      credential_source credentials, config_warnings *warnings,
                                      relay_config **ret, gw_error *err);
