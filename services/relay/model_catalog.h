/*
 * Model catalog: what the providers behind routes with globs say they have, asked of each when the configuration first names it
 * and again as often as told. An answer that fails leaves what was known.
 *
 * Log: models_unread, at the first failure in a row of a provider. Thread: one loop.
 */
#pragma once

#include "model_names.h"

#include "http/client.h"
#include "log/log.h"
#include "loop/loop.h"

typedef struct model_catalog model_catalog;

typedef struct model_catalog_options {
    gw_http_client *upstreams; /* borrowed; closed before the catalog is freed */
    gw_log *log;
    int64_t refresh_ms; /* 0: providers are not asked */
} model_catalog_options;

GW_CHECK gw_status model_catalog_new(gw_loop *l, const model_catalog_options *o,
                                     model_catalog **ret, gw_error *err);
void model_catalog_stop(model_catalog *m); /* asks no more; NULL is fine */
void model_catalog_free(model_catalog *m); /* NULL is fine */

void model_catalog_set_refresh(model_catalog *m, int64_t refresh_ms);
/* The configuration that is in force from now on; the catalog takes a reference of its own. */
void model_catalog_set_config(model_catalog *m, const relay_config *config);

/* What is known; views until the loop turns again. None for NULL. */
size_t model_catalog_said(const model_catalog *m, gw_arena *arena, const provider_models **ret);
