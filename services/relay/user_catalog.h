/*
 * User catalog: which agents the users of LibreChats may use. LibreChat lists by the rights of the user whose key it is asked with,
 * so what the provider's own credential is told is not what a user may use.
 *
 * A LibreChat is asked when a key with a LibreChat key for it, or one whose user is signed in to it, wants to know, and never by itself. What it said is told for a minute;
 * after that it is told once more, while it is asked again. An answer that fails leaves what was known, and is not asked for again for
 * some seconds. One question at a time for each list, whoever waits for it. Bounded: of more than USER_LISTS_MAX lists the one that was
 * wanted the longest ago goes, and of more than USER_AGENTS_MAX agents the others.
 *
 * Log: user_models_unread. Thread: one loop.
 */
#pragma once

#include "model_names.h"
#include "user_key.h"

#include "http/client.h"
#include "log/log.h"
#include "loop/loop.h"

#define USER_LISTS_MAX  512
#define USER_AGENTS_MAX 1000

typedef struct user_catalog user_catalog;

/* `upstreams` and `log` are borrowed; `upstreams` is closed before the catalog is freed. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status user_catalog_new(gw_loop *l, gw_http_client *upstreams, gw_log *log,
                                    user_catalog **ret, gw_error *err);
void user_catalog_free(user_catalog *c); /* NULL is fine; nobody waits */

/* Whoever waits; its owner's, from ASKED until `done` was called or user_catalog_leave(). */
typedef struct user_list_wait {
    gw_list node;
    void (*done)(void *arg);
    void *arg;
} user_list_wait;

typedef struct user_question {
    const key_policy *policy;
    const gw_master_keys *keys; /* that open its LibreChat key; may be NULL */
    relay_config *config;
    const provider_config *provider; /* of `config`; user_is_asked_for() */
    gw_str token; /* that signs the user in; "": his LibreChat key is opened */
} user_question;

typedef enum user_list_state {
    USER_LIST_KNOWN,
    USER_LIST_UNKNOWN, /* it cannot be asked, or failed a moment ago */
    USER_LIST_ASKED, /* `wait` is told when another look is worth it */
} user_list_state;

/* KNOWN: *ret, in `arena`. UNKNOWN for a catalog that is NULL. */
GW_CHECK user_list_state user_catalog_find(user_catalog *c, const user_question *q, gw_arena *arena,
                                           provider_models *ret, user_list_wait *wait);
void user_catalog_leave(user_list_wait *wait);
