/*
 * Intrusive doubly linked list. The head is a gw_list; members embed a gw_list node.
 *
 *     gw_list_each(node, &pool->idle) { conn *c = GW_CONTAINER_OF(node, conn, idle_node); … }
 */
#pragma once

#include "core/macros.h"

#include <stdbool.h>

typedef struct gw_list {
    struct gw_list *prev, *next;
} gw_list;

static inline void gw_list_init(gw_list *l)
{
    l->prev = l->next = l;
}
static inline bool gw_list_is_empty(const gw_list *l)
{
    return l->next == l;
}
static inline void gw_list_insert_between(gw_list *node, gw_list *prev, gw_list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}
static inline void gw_list_push_front(gw_list *l, gw_list *node)
{
    gw_list_insert_between(node, l, l->next);
}
static inline void gw_list_push_back(gw_list *l, gw_list *node)
{
    gw_list_insert_between(node, l->prev, l);
}
/* The node is linked to itself afterwards: removing it twice is harmless. */
static inline void gw_list_remove(gw_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    gw_list_init(node);
}
static inline bool gw_list_is_linked(const gw_list *node)
{
    return node->next != node;
}
static inline gw_list *gw_list_first(const gw_list *l) /* NULL when empty */
{
    return l->next == l ? NULL : l->next;
}
static inline gw_list *gw_list_last(const gw_list *l)
{
    return l->prev == l ? NULL : l->prev;
}
static inline gw_list *gw_list_pop_front(gw_list *l)
{
    gw_list *node = gw_list_first(l);
    if (node)
        gw_list_remove(node);
    return node;
}
#define gw_list_each(node, l) for (gw_list *node = (l)->next; node != (l); node = node->next)
#define gw_list_each_safe(node, l)                                                                 \
    for (gw_list *node = (l)->next, *node##_next = node->next; node != (l);                        \
         node = node##_next, node##_next = node->next)
