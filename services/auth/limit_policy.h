/*
 * Limit policy: the limits of a client or an owner over all its keys (limit_policies), and what a change
 * does to them.
 *
 *   limit_policies {_id: "client:<clientId>" | "owner:<userId>", clientId | userId: ObjectId, limits,
 *                   generation, version, createdAt, updatedAt}
 *
 * A document without `limits` says that none are set: they were lifted, or a reader fenced them before they
 * were written (key_changes.h). It stays, so that whoever reads it can tell how new that is.
 *
 * Thread: pure; memory from the arena.
 */
#pragma once

#include "change_subject.h"
#include "core/arena.h"
#include "core/violations.h"

#include <apirelay/auth/v1/limit_service.pb-c.h>

typedef Apirelay__Auth__V1__LimitPolicy limit_policy_view;

typedef struct limit_policy {
    change_subject subject;
    limit_policy_view *view; /* limits NULL: none are set */
    int64_t version; /* counts the writes that admins made; the etag */
    bool is_stored; /* there is a document, of a version or fenced */
} limit_policy;

/* "clients" or "users" and an id that such keys may have; else violations of "kind" and "id". */
void limit_policy_subject(const char *kind, const char *id, change_subject *ret, gw_violations *v);

/* Without limits. NULL view: out of memory. */
limit_policy limit_policy_none(gw_arena *a, const change_subject *s);

/* Sets what the view derives from the rest: kind, id, etag. */
void limit_policy_refresh_view(gw_arena *a, limit_policy *p);

/* What a change does to the policy it is given; it may run again on a fresh one. */
typedef struct limit_policy_plan limit_policy_plan;
struct limit_policy_plan {
    gw_status (*apply)(limit_policy_plan *plan, gw_arena *a, limit_policy *p, bool *ret_changed,
                       gw_error *err);
    gw_str etag; /* condition; "" for none */
    int64_t now_ms;
};

typedef struct limit_policy_update {
    limit_policy_plan plan; /* apply = limit_policy_update_apply */
    const limit_policy_view *from;
    char *const *paths;
    size_t path_count;
    gw_violations violations; /* of the last try, when it was refused for them */
} limit_policy_update;
GW_CHECK gw_status limit_policy_update_apply(limit_policy_plan *plan, gw_arena *a, limit_policy *p,
                                             bool *ret_changed, gw_error *err);
/* Lifts the limits; nothing to do when none are set. */
GW_CHECK gw_status limit_policy_lift_apply(limit_policy_plan *plan, gw_arena *a, limit_policy *p,
                                           bool *ret_changed, gw_error *err);
