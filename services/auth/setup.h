/*
 * Setup: what auth does once MongoDB first answers: indexes, the first owner, the bootstrap key.
 *
 * It is tried again every second until it holds; auth is not ready before. Each step finds what an
 * earlier run, or another replica, has done.
 *
 * Thread: the loop's.
 */
#pragma once

#include "auth.h"

typedef struct setup setup;

typedef struct setup_options {
    /* NULL: none; checked with the settings; borrowed */
    const char *owner_username, *owner_password;
    const char *bootstrap_admin_key;
} setup_options;

GW_CHECK gw_status setup_new(auth *a, const setup_options *o, setup **ret, gw_error *err);
/* After gw_mongo_free: no step runs. */
void setup_free(setup *s);
GW_DEFINE_FREEP(setup)
bool setup_is_done(const setup *s);
/* No further try. */
void setup_stop(setup *s);
