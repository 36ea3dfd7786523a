/* SPDX-License-Identifier: Apache-2.0 */
/* Circular lists of borrowed items: queues of the executor, and what it must free. */
#ifndef WW_STREAM_LIST_H
#define WW_STREAM_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A node is part of its item; a head is a node without one. */
struct ww_node {
    struct ww_node *prev;
    struct ww_node *next;
    void *item;
};

static inline void ww_list_init(struct ww_node *head)
{
    head->prev = head;
    head->next = head;
    head->item = NULL;
}

static inline void ww_list_push(struct ww_node *head, struct ww_node *node, void *item)
{
    node->item = item;
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void ww_list_remove(struct ww_node *node)
{
    if (node->next) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->prev = NULL;
        node->next = NULL;
    }
}

/** The first item, NULL when there is none. */
static inline void *ww_list_first(const struct ww_node *head)
{
    return head->next->item;
}

static inline void *ww_list_pop(struct ww_node *head)
{
    void *item = head->next->item;
    if (item) {
        ww_list_remove(head->next);
    }
    return item;
}

#endif
