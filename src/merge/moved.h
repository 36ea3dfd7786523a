/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Did a merge write any number that its base has not got? Methods that select can select
 * nothing, which only the values tell; the output is then the base, and that is said. So
 * it is of a single model, where the method tells of which models it took something.
 */
#ifndef WW_MERGE_MOVED_H
#define WW_MERGE_MOVED_H

#include <stdatomic.h>

#include "merge/kernel.h"

struct ww_moved {
    atomic_bool any;   /* false as long as everything written has been the base's */
    atomic_bool *took; /* [models of the plan], from the method; NULL: nobody asks */
};

/** Is a block of doubles wanted still? NULL: nobody asks. From any thread. */
static inline bool ww_moved_asks(const struct ww_moved *moved)
{
    return moved && !atomic_load_explicit(&moved->any, memory_order_relaxed);
}

/** A block is done; after the first that is not the base's this costs nothing. From any
 *  thread. */
void ww_moved_note(struct ww_moved *moved, const struct ww_merge_job *job,
                   const struct ww_merge_block *block);

/** A method with ops->tells has taken something of the sources whose bits are set, by
 *  their place in the tensor. From any thread. */
void ww_moved_took(const struct ww_merge_job *job, uint64_t sources);

#endif
