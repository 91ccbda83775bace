#include "loop/mailbox.h"

#include "loop/loop_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct message_queue {
    gw_message *first, *last;
} message_queue;

struct gw_mailbox {
    uv_async_t wake; /* sent only under `lock` and before `is_closed`, so never while it closes */
    gw_list node; /* in the loop's list */
    pthread_mutex_t lock;
    message_queue posted; /* under `lock` */
    bool is_closed; /* under `lock` */
    /* on the loop only; a field, because a delivery may free the mailbox */
    message_queue delivering;
    atomic_uint holders; /* the owner until the handle closed, and gw_mailbox_hold() */
};

static gw_message *pop(message_queue *q)
{
    gw_message *m = q->first;
    if (m) {
        q->first = m->next;
        if (!q->first)
            q->last = NULL;
        m->next = NULL;
    }
    return m;
}

static void destroy_all(message_queue *q)
{
    for (gw_message *m = pop(q); m; m = pop(q))
        m->destroy(m);
}

void loop_mailbox_drain(gw_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    if (box->delivering.last)
        box->delivering.last->next = box->posted.first;
    else
        box->delivering.first = box->posted.first;
    if (box->posted.last)
        box->delivering.last = box->posted.last;
    box->posted = (message_queue){0};
    pthread_mutex_unlock(&box->lock);
    for (gw_message *m = pop(&box->delivering); m; m = pop(&box->delivering))
        m->deliver(m);
}

static void on_wake(uv_async_t *h)
{
    loop_mailbox_drain(h->data);
}

gw_status gw_mailbox_new(gw_loop *l, gw_mailbox **ret, gw_error *err)
{
    gw_mailbox *box = calloc(1, sizeof(*box));
    if (!box)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a mailbox");
    int rc = uv_async_init(&l->uv, &box->wake, on_wake);
    if (rc) {
        free(box);
        return gw_fail(err, GW_ERR_IO, "cannot make a mailbox: %s", uv_strerror(rc));
    }
    box->wake.data = box;
    pthread_mutex_init(&box->lock, NULL);
    atomic_init(&box->holders, 1);
    gw_list_push_back(&l->mailboxes, &box->node);
    *ret = box;
    return GW_OK;
}

gw_mailbox *gw_mailbox_hold(gw_mailbox *box)
{
    atomic_fetch_add(&box->holders, 1);
    return box;
}

void gw_mailbox_release(gw_mailbox *box)
{
    if (atomic_fetch_sub(&box->holders, 1) != 1)
        return;
    pthread_mutex_destroy(&box->lock);
    free(box);
}

static void on_closed(uv_handle_t *h)
{
    gw_mailbox_release(h->data);
}

void gw_mailbox_free(gw_mailbox *box)
{
    if (!box)
        return;
    pthread_mutex_lock(&box->lock);
    box->is_closed = true;
    message_queue posted = box->posted;
    box->posted = (message_queue){0};
    pthread_mutex_unlock(&box->lock);
    gw_list_remove(&box->node);
    destroy_all(&box->delivering);
    destroy_all(&posted);
    uv_close((uv_handle_t *)&box->wake, on_closed);
}

void loop_mailboxes_close(gw_loop *l)
{
    for (gw_list *node = gw_list_first(&l->mailboxes); node; node = gw_list_first(&l->mailboxes))
        gw_mailbox_free(GW_CONTAINER_OF(node, gw_mailbox, node));
}

bool gw_mailbox_post(gw_mailbox *box, gw_message *m)
{
    m->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool is_open = !box->is_closed;
    if (is_open) {
        bool was_empty = !box->posted.first;
        if (was_empty)
            box->posted.first = m;
        else
            box->posted.last->next = m;
        box->posted.last = m;
        if (was_empty)
            uv_async_send(&box->wake);
    }
    pthread_mutex_unlock(&box->lock);
    if (!is_open)
        m->destroy(m);
    return is_open;
}
