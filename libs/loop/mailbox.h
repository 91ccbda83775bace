/*
 * Mailbox: how other threads hand work to a loop.
 *
 * A message is moved: after gw_mailbox_post() the sender does not touch it. Each wake drains the
 * whole queue in order (uv_async_send coalesces). Posting after close destroys the message and
 * returns false.
 */
#pragma once

#include "loop/loop.h"

/* Embedded first in the sender's own message type. */
typedef struct gw_message {
    struct gw_message *next;
    void (*deliver)(struct gw_message *m); /* on the loop; owns m from then on */
    void (*destroy)(struct gw_message *m); /* when it cannot be delivered; any thread */
} gw_message;

typedef struct gw_mailbox gw_mailbox;

GW_CHECK gw_status gw_mailbox_new(gw_loop *l, gw_mailbox **ret, gw_error *err);
/* On the loop. Messages still queued are destroyed; posts from now on return false. Memory goes
 * when no poster is inside. */
void gw_mailbox_free(gw_mailbox *box);
GW_DEFINE_FREEP(gw_mailbox)

/* A poster that may outlive the owner's gw_mailbox_free() holds the mailbox, so that its posts find memory. Any thread. */
gw_mailbox *gw_mailbox_hold(gw_mailbox *box);
void gw_mailbox_release(gw_mailbox *box);

bool gw_mailbox_post(gw_mailbox *box, gw_message *m); /* any thread while the mailbox lives */
