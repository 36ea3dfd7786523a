/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a contest share. */
#ifndef WW_LINEAGE_CONTEST_WORK_H
#define WW_LINEAGE_CONTEST_WORK_H

#include "lineage/contest.h"
#include "merge/plan.h"

#define WW_CONTEST_EVEN 0.02      /* shares that differ by less are equal */
#define WW_CONTEST_REACH 0.004    /* of a number of SLERP */
#define WW_CONTEST_AGREED 0.99    /* a match that needs no other look */
#define WW_CONTEST_ALL_BITS 0.999 /* but for accidents of rounding */
#define WW_CONTEST_SETTLED 0.9    /* no other selection needs a look */
#define WW_CONTEST_AS_GOOD 0.002  /* matches that differ by less are equal, */
#define WW_CONTEST_NEAR 0.05      /* and of recipes that do not give all bits */

/** The tensors that recipes of one method with the same models were computed on. */
struct ww_contest_kept {
    char *of;      /* method and models; NULL: there is none */
    uint64_t room; /* elements */
    bool *tensors; /* of the suspect */
};

struct ww_contesting {
    const struct ww_contest_ask *ask;
    enum ww_dtype *grids;    /* of the suspect's tensors */
    struct ww_sketch sketch; /* what all have in common */
    struct ww_contest *out;
    const char *tried[WW_CONTEST_MOST];
    double matches[WW_CONTEST_MOST];
    size_t n_tried;
    struct ww_contest_kept kept; /* the last one */
    bool narrow;                 /* the best so far rounds weights to the dtype */
    uint64_t room;               /* elements of a sample */
    bool cuts; /* every look leaves out what equal values at a cut decide */
    uint64_t *bytes_read;
};

/** Best recipe of a method so far, own. */
struct ww_trial {
    double match;
    bool elsewhere; /* as in ww_contest */
    bool narrow;    /* in the arithmetic of most bits weights are rounded */
    char *text;
    bool idle[WW_SKETCH_MOST]; /* [n] of the sources asked for: its weight is 0 */
};

/** Leaves a sample of the tensors: matrices of all depths while there is room, or the
 *  smallest one if none fits, and vectors in what is left. tensor: the suspect's place of
 *  each of the plan's, WW_NONE where it is left out. */
enum ww_err ww_contest_sample(const struct ww_contest_ask *ask, uint64_t room,
                              const struct ww_merge_plan *plan, uint32_t *tensor,
                              struct ww_error *err) WW_MUST_USE;
/** Which recipes have one sample: method and models, which the caller frees. NULL:
 * numbers run over the layers, or layers are slices, or memory is out. */
char *ww_contest_sample_of(const struct ww_sketch *sketch);
/** Is the kept sample that of these? */
bool ww_contest_has_sample(const struct ww_contesting *c, const char *of);
/** Keeps it, so that nothing else need be planned while numbers are looked for; takes
 *  `of`. tensor: as ww_contest_sample left it, n of them. */
enum ww_err ww_contest_keep_sample(struct ww_contesting *c, char *of,
                                   const uint32_t *tensor, uint32_t n,
                                   struct ww_error *err) WW_MUST_USE;
void ww_contest_drop_sample(struct ww_contesting *c);
/** One recipe against the best; one that the numbers do not go with (a density, a shape)
 *  has no match. cuts: elements that equal values at a cut decide are left out, at three
 *  times the cost. */
enum ww_err ww_contest_try(struct ww_contesting *c, const struct ww_sketch *sketch,
                           bool cuts, struct ww_trial *best,
                           struct ww_error *err) WW_MUST_USE;
/** A method is through: its best recipe against the best of all, which stays unless this
 *  one is clearly better. Takes the trial. */
void ww_contest_close(struct ww_contesting *c, const char *method, bool gradient,
                      struct ww_trial *trial);

/** One recipe of one method takes part. */
enum ww_err ww_contest_enter(struct ww_contesting *c, const struct ww_sketch *sketch,
                             struct ww_error *err) WW_MUST_USE;
/** Sums, paths and means. */
enum ww_err ww_contest_blends(struct ww_contesting *c, struct ww_error *err) WW_MUST_USE;
/** Layers of several models, as they are. */
enum ww_err ww_contest_stack(struct ww_contesting *c, struct ww_error *err) WW_MUST_USE;
/** Sums and paths whose numbers run over the layers. */
enum ww_err ww_contest_gradients(struct ww_contesting *c,
                                 struct ww_error *err) WW_MUST_USE;
/** Where none of those gives the bits: paths over the sphere of differences, sums whose
 *  weights do not make one model. */
enum ww_err ww_contest_arcs(struct ww_contesting *c, struct ww_error *err) WW_MUST_USE;
/** Where no selection does: methods that decide element by element. */
enum ww_err ww_contest_local(struct ww_contesting *c, struct ww_error *err) WW_MUST_USE;
/** Methods that select elements. */
enum ww_err ww_contest_selections(struct ww_contesting *c,
                                  struct ww_error *err) WW_MUST_USE;
/** Weights in hundredths, one after another, as long as that helps. */
enum ww_err ww_contest_refine(struct ww_contesting *c, struct ww_sketch *sketch,
                              struct ww_trial *best, struct ww_error *err) WW_MUST_USE;
/** The number of a method that has one, in tenths, then halves of them. */
enum ww_err ww_contest_search(struct ww_contesting *c, struct ww_sketch *sketch,
                              double *number, struct ww_trial *best,
                              struct ww_error *err) WW_MUST_USE;
/** The same number, if there is one, and all others of a recipe that gives many bits, in
 *  thousandths. */
enum ww_err ww_contest_settle(struct ww_contesting *c, struct ww_sketch *sketch,
                              double *number, struct ww_trial *best,
                              struct ww_error *err) WW_MUST_USE;
/** Sources by the bits alone: of those asked for and the others, one after another comes
 *  in or goes out as long as that helps. sketch: a method and its number. */
enum ww_err ww_contest_set(struct ww_contesting *c, const struct ww_sketch *sketch,
                           struct ww_error *err) WW_MUST_USE;

#endif
