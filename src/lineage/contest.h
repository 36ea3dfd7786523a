/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Which method was it? Recipes that the shares allow are computed on a sample of tensors,
 * and the one that gives the suspect's bits is the answer. Methods that give the same
 * bits are not told apart, and are listed.
 */
#ifndef WW_LINEAGE_CONTEST_H
#define WW_LINEAGE_CONTEST_H

#include "lineage/sketch.h"
#include "weightward/lineage.h"

struct ww_contest_ask {
    const struct ww_model *suspect;
    struct ww_model *const
        *open; /* base and sources, [n_open], need not be opened again */
    uint32_t n_open;
    const char *base;
    const char *const *sources; /* those included */
    const double *shares;       /* as recipes would write them */
    const double *lengths;      /* of their task vectors, all in one unit */
    double scale;               /* of the base in the suspect: 1 of a merge */
    size_t n;
    const char *const *others; /* that no share shows, and that a selection may need */
    size_t n_others;
    double kept; /* which part of the weights that could move left the base */
    const double
        *core; /* weights if elements were selected (keep.h); NULL: they were not */
    const bool *half; /* of the suspect's tensors, those fitted on; NULL: all */
    const struct ww_gradient_shares
        *over;           /* shares over the depth; NULL: they are even */
    const size_t *which; /* [n] with it: a source's place among those shares */
    const struct ww_sketch_slice *slices; /* layers in other places; NULL: they are not */
    size_t n_slices;
    bool as_they_are; /* with slices: each is one model's */
    uint64_t seed;
    const struct ww_run_options *run;
};

#define WW_CONTEST_MOST 40    /* methods, some more than once */
#define WW_CONTEST_LEAST 1000 /* weights that tell of a tensor by itself */

struct ww_contest {
    char *recipe;       /* of the best, own; NULL: none could be computed */
    const char *method; /* static */
    bool gradient;      /* numbers of the recipe run over the layers */
    double match;
    bool elsewhere; /* of one tensor most weights that moved are not the recipe's */
    const char
        *equals[WW_CONTEST_MOST + 1]; /* methods that match as well; ends with NULL */
    /* A sum without the base, whose weights are no shares of a sum with it: */
    bool scaled;
    bool summed;                    /* a sum gives most bits, by these weights */
    double weights[WW_SKETCH_MOST]; /* [n] of the sources asked for, */
    double within[WW_SKETCH_MOST];  /* and to either side what gives the bits as well: of
                                       a sum what its arithmetic rounded weights by */
    bool idle[WW_SKETCH_MOST]; /* [n] of those asked for: it has a weight of nothing */
    bool has_set; /* the bits say which sources: of those asked for, then the others */
    bool set[WW_SKETCH_MOST];
};

enum ww_err ww_contest_run(const struct ww_contest_ask *ask, struct ww_contest *out,
                           uint64_t *bytes_read, struct ww_error *err) WW_MUST_USE;

#endif
