/*
 * Identity: who is behind a credential, asked by CheckCredential and by this service's own access check.
 *
 * A bad credential is an answer with its reason, not an error; an error is trouble of ours.
 *
 * Thread: the loop's; `done` exactly once.
 */
#pragma once

#include "access/access.h"
#include "admin_store.h"
#include "auth.h"

#include <apirelay/auth/v1/identity_service.pb-c.h>

typedef Apirelay__Auth__V1__CheckCredentialResponse identity_answer;

/* `admin` is the admin behind a session, or an admin key's name and role; NULL for an API key. Both live
 * during the call and are NULL unless GW_OK. */
typedef void (*identity_done_fn)(void *arg, gw_status rc, const identity_answer *answer,
                                 const admin_user_view *admin, const gw_error *err);
/* What `q` views is copied. */
void identity_check(auth *a, const gw_identity_question *q, identity_done_fn done, void *arg);

/* For gw_access_options: this service asks itself. */
gw_identify identity_seam(auth *a);
