/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for a product of low rank between a tensor and its base. */
#ifndef WW_RMM_RANK_FIND_H
#define WW_RMM_RANK_FIND_H

#include "rmm/base_read.h"
#include "rmm/own.h"
#include "rmm/rank.h"

/** A tensor and its base's, m x d numbers each, lying in files. */
struct ww_rank_pair {
    int fd;
    uint64_t at;
    struct ww_base_from base; /* becomes dtype */
    const char *name;         /* for error texts */
    enum ww_dtype dtype;
    size_t m;
    size_t d;
    size_t most; /* rank that is looked for; 0: WW_RANK_SOUGHT */
};

/** What was found; rank 0: nothing that makes the tensor smaller, all else is NULL. */
struct ww_rank_found {
    struct ww_rank rank; /* as a decoder will have it */
    struct ww_own own;   /* its integers */
};

/** Ranks up to this are looked for. */
#define WW_RANK_SOUGHT 80u

/** Memory of a search: not more than this for a rank, */
uint64_t ww_rank_memory(const struct ww_rank_pair *pair, size_t rank);
#define WW_RANK_MEMORY ((uint64_t)256 << 20)
/** and the largest rank that is looked for within WW_RANK_MEMORY, 0: not even one. The
 * same on every machine, whatever memory it has, since the package depends on it. */
size_t ww_rank_most(const struct ww_rank_pair *pair);

/** + - * / sqrt in a fixed order: the same on every machine. Costs little where the
 *  difference is not of low rank, and some passes over the tensor where it is. */
enum ww_err ww_rank_find(const struct ww_rank_pair *pair, struct ww_rank_found *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_rank_found_release(struct ww_rank_found *found);

#endif
