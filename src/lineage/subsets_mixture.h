/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a mixture: which values each set of sources leaves (subsets.h). */
#ifndef WW_LINEAGE_SUBSETS_MIXTURE_H
#define WW_LINEAGE_SUBSETS_MIXTURE_H

#include "lineage/subsets.h"

#define WW_MIXTURE_SETS (1u << WW_SUBSETS_MOST)

/** Where sums are divided by the weights of what was kept, a source may be scaled before
 *  (what was dropped of it is made up for) without that its weight in the divisor is. */
struct ww_mixture {
    unsigned k;
    bool divided;
    double scale[WW_SUBSETS_MOST]; /* 1 where sums are not divided */
    double weight[WW_SUBSETS_MOST];
};

/** What each set of sources would leave, and how far outside of the element's cell that
 *  may be. */
struct ww_mixture_values {
    double cell;
    double at[WW_MIXTURE_SETS];
    double slack[WW_MIXTURE_SETS];
};

void ww_mixture_list(const struct ww_mixture *m, const struct ww_subsets_element *e,
                     struct ww_mixture_values *v);
/** How far y is from the nearest value, in what it may be off, among the sets that have
 *  these bits of those. */
double ww_mixture_miss(const struct ww_mixture_values *v, unsigned n_sets, double y,
                       unsigned of, unsigned bits);
/** Did it leave the base? */
bool ww_mixture_moved(const struct ww_subsets_element *e);
/** Elements of one tensor. Rescaling by what was kept is not quite the same in every
 * tensor: each has weights of its own, near those of all. */
struct ww_mixture_group {
    const struct ww_subsets_element *elements;
    size_t n;
    struct ww_mixture m;
};
/** Sets kept, slope, longer and opposed; room: as long as the longest group. */
void ww_mixture_tell_kept(const struct ww_mixture_group *groups, size_t n_groups,
                          uint8_t *room, struct ww_subsets *out);
/** Elements of all tensors that a wrong mixture would leave without a value. */
struct ww_mixture_tries {
    size_t moved;
    size_t own;                      /* of those: have none */
    size_t off;                      /* of the others: have none a little elsewhere, */
    size_t without[WW_SUBSETS_MOST]; /* or without this source */
    bool elsewhere; /* in some tensor more have none than would a little elsewhere */
};
/** Adds elements of one tensor. */
void ww_mixture_try(const struct ww_mixture *m, const struct ww_subsets_element *elements,
                    size_t n, struct ww_mixture_tries *to);
/** Sets missed and sure, by the parts kept. */
void ww_mixture_judge(const struct ww_mixture_tries *tries, unsigned k,
                      struct ww_subsets *out);
/** Weights near the shares by which most elements have one of the values: plain sums, or
 *  divided by the weights of what was kept where that is clearly better. */
struct ww_mixture ww_mixture_find(const struct ww_subsets_element *elements, size_t n,
                                  unsigned k, const double *shares);
/** The same of a tensor, near those of all: rescaling by what was kept differs a little.
 */
struct ww_mixture ww_mixture_adjust(const struct ww_mixture *of_all,
                                    const struct ww_subsets_element *elements, size_t n);

#endif
