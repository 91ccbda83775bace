/*
 * Identity: who is behind a credential of an admin or an API key. A seam: over the network it is
 * auth's IdentityService (gw_identify_by_channel), in auth itself the stores, in tests memory.
 */
#pragma once

#include "rpc/client.h"
#include "rpc/server.h"

typedef struct gw_identity {
    bool valid; /* false: unknown, wrong, expired, revoked, suspended, wrong address */
    gw_caller caller; /* ADMIN or API_KEY; its `credential` is not used */
    int64_t expires_at_ms; /* wall clock; the answer is not used from then on; 0: no known end */
} gw_identity;

typedef struct gw_identity_question {
    gw_str credential, peer_address; /* the address has no port; "" when unknown */
    bool unattended; /* no use of the credential: a session's idle time goes on */
} gw_identity_question;

/* Exactly once, on the loop. `who` (NULL unless GW_OK) lives during the call. */
typedef void (*gw_identity_done_fn)(void *arg, gw_status rc, const gw_identity *who,
                                    const gw_error *err);

typedef struct gw_identify {
    /* The question lives during the call only. */
    void (*identify)(void *self, const gw_identity_question *q, gw_identity_done_fn done,
                     void *arg);
    void *self;
} gw_identify;

/*
 * Asks auth's IdentityService over a channel (borrowed), as the service whose token is given
 * (borrowed). Trouble on the way, with the token too, is GW_ERR_UNAVAILABLE.
 */
typedef struct gw_identity_channel gw_identity_channel;
gw_identity_channel *gw_identity_channel_new(gw_rpc_channel *auth, gw_str own_token,
                                             gw_log *log); /* NULL when out of memory */
void gw_identity_channel_set_token(gw_identity_channel *c, gw_str own_token); /* from now on */
void gw_identity_channel_free(gw_identity_channel *c); /* no question is open by now */
GW_DEFINE_FREEP(gw_identity_channel)
gw_identify gw_identity_channel_seam(gw_identity_channel *c);
