/* SPDX-License-Identifier: Apache-2.0 */
/* A collection on its way: what it knows (collect.c), and its threads. */
#ifndef WW_EVO_COLLECT_INT_H
#define WW_EVO_COLLECT_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "evo/collect.h"
#include "evo/meter.h"

struct ww_collecting {
    const struct ww_collect_options *o;
    uint32_t top;
    struct ww_members members;
    struct ww_tasks tasks;
    struct ww_answer_cache *cache;
    struct ww_member_facts *facts; /* [k] */
    bool *asked_now;               /* [k]: facts are of this run, the canary is fresh */
    atomic_bool *heard;            /* [k]: somebody listened there */
    bool asked_all;                /* about the items */
    struct ww_spending spending;
    struct ww_meter meter;
    volatile bool stopping; /* nothing new is asked */
    volatile bool cancel;   /* what is under way is given up */
    size_t *missing;        /* [n_missing] items */
    size_t n_missing;
    bool looked_up; /* n_missing counts */
    atomic_size_t next;
    atomic_size_t done;
    atomic_uint running;
    uint8_t (*keys)[32];
    size_t n_keys;
    size_t room;
    pthread_mutex_t mutex; /* for the first error */
    struct ww_error failed;
};

/** What a walk over items needs, with how its answers are had. */
struct ww_gather ww_collecting_gather(const struct ww_collecting *c, ww_fetch how,
                                      void *payload);
/** A connection to member k, unless *out is one; a call of it may take what is left of
 *  the time. */
enum ww_err ww_collecting_open(struct ww_collecting *c, uint32_t k,
                               struct ww_endpoint **out,
                               struct ww_error *err) WW_MUST_USE;
/** Ask about the items that lack something, on threads. */
enum ww_err ww_collecting_items(struct ww_collecting *c,
                                struct ww_error *err) WW_MUST_USE;
/** What all members are asked one after the other, on a thread of its own. */
enum ww_err ww_collecting_errand(struct ww_collecting *c,
                                 enum ww_err (*of)(struct ww_collecting *c,
                                                   struct ww_error *err),
                                 struct ww_error *err) WW_MUST_USE;

#endif
