/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a verdict share. */
#ifndef WW_LINEAGE_VERDICT_WORK_H
#define WW_LINEAGE_VERDICT_WORK_H

#include "lineage/contest.h"
#include "lineage/keep.h"
#include "lineage/subsets.h"
#include "lineage/verdict.h"

#define WW_VERDICT_BITS 0.99     /* match that names a method */
#define WW_VERDICT_AS_GOOD 0.002 /* matches that differ by less are equal */
#define WW_VERDICT_NEARLY 0.9    /* match that names it where a number is a little off */
#define WW_VERDICT_LITTLE                                                                \
    0.01 /* unexplained that may be a source's twin where little                         \
            says how much rounding leaves */
#define WW_VERDICT_CEILING                                                               \
    0.99 /* r2 over its ceiling that leaves nothing unexplained                          \
          */

#define WW_VERDICT_MASKED 0.95 /* kept share below which elements were dropped */

/** Methods, and what they are not told from. */
enum ww_verdict_words {
    WW_SAY_NONE,
    WW_SAY_UNCLEAR,
    WW_SAY_BLEND,
    WW_SAY_LOW_RANK,
    WW_SAY_SELECTED,
    WW_SAY_NOISY
};
void ww_verdict_say(struct ww_decompose_report *r, enum ww_verdict_words w);
/** The same by how elements were dropped. */
void ww_verdict_say_shape(struct ww_decompose_report *r, enum ww_keep_shape shape);
/** The same where elements were dropped by chance, as single ones tell: what says that
 * the shorter ones were dropped more often, or those that are outvoted, or the contrary,
 * is four standard errors long. Where some are no sums over the sources all are listed.
 */
void ww_verdict_say_chance(struct ww_decompose_report *r, const struct ww_subsets *parts);
bool ww_verdict_is_unclear(const struct ww_decompose_report *r);

/** Do the bits name a method? Most of them do where a number is a little off, unless the
 * others are something else's. */
bool ww_verdict_is_named(const struct ww_decompose_report *r,
                         const struct ww_subsets *parts, bool masked);
/** What the bits and keep rates say when a contest is over. */
void ww_verdict_conclude(struct ww_decompose_report *r, const struct ww_contest *contest,
                         const struct ww_keep *keep, const struct ww_subsets *parts);
/** A sum leaves nothing but rounding, so that little more is something else already: a
 * twin that stands for a source which was not given leaves so little, and a near one,
 * where rounding leaves little, a part of that. */
bool ww_verdict_may_hide_twin(const struct ww_verdict_ask *v,
                              const struct ww_decompose_report *r);
/** Do elements say that something else went in? */
bool ww_verdict_lacks(const struct ww_subsets *parts);
/** A recipe is held against a sample, where a source moves the weights. Did the suspect
 * leave it in other tensors, or where none of its models differs from the base? A scaled
 * model moves all weights, and sources that the bits alone tell have no share, so that
 * where they move it is not known. */
bool ww_verdict_leaves_recipe(const struct ww_verdict_ask *v,
                              const struct ww_contest *contest);
/** Bits that come out, and elements that were dropped, explain what sums do not; unless
 * the elements themselves say that something else went in, of which little is enough: a
 * twin of a source that was not given explains most of that one. */
bool ww_verdict_in_part(const struct ww_verdict_ask *v,
                        const struct ww_decompose_report *r,
                        const struct ww_subsets *parts, bool masked);
/** What a relative leaves without being told, where bits are not the merge's own. */
double ww_verdict_unseen(const struct ww_verdict_ask *v,
                         const struct ww_decompose_report *r);
/** What places, noise and directions say beside, of what is told so far. */
enum ww_err ww_verdict_ask_further(const struct ww_verdict_ask *ask,
                                   const struct ww_contest *contest,
                                   const struct ww_subsets *parts,
                                   struct ww_decompose_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** What every contest about the suspect asks; who runs it adds sources and shares. */
struct ww_contest_ask ww_verdict_ask_of(const struct ww_verdict_ask *v);
/** Can the layers be named as slices of models? */
bool ww_verdict_can_slice(const struct ww_decompose_report *r, bool as_they_are);
/** Runs it, with the layers as slices where they lie elsewhere. */
enum ww_err ww_verdict_run(const struct ww_verdict_ask *v, struct ww_contest_ask *ask,
                           bool as_they_are, struct ww_decompose_report *r,
                           struct ww_contest *contest, struct ww_error *err) WW_MUST_USE;
/** A contest among recipes of the included sources; keep: elements may have been
 *  selected, NULL: they were not. No match where bits cannot be compared. */
enum ww_err ww_verdict_contest(const struct ww_verdict_ask *v, const struct ww_keep *keep,
                               struct ww_decompose_report *r, struct ww_contest *contest,
                               struct ww_error *err) WW_MUST_USE;
/** The bits decide which candidates are sources. */
enum ww_err ww_verdict_take_set(const struct ww_verdict_ask *v,
                                const struct ww_contest *contest,
                                struct ww_decompose_report *r,
                                struct ww_error *err) WW_MUST_USE;
/** Sources without which as many bits come out are none. */
enum ww_err ww_verdict_prune(const struct ww_verdict_ask *v, const struct ww_keep *keep,
                             struct ww_decompose_report *r, struct ww_contest *contest,
                             struct ww_error *err) WW_MUST_USE;
/** Is what is unexplained of few directions? Sets ranks, and which source is left. */
enum ww_err ww_verdict_adapter(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r,
                               struct ww_error *err) WW_MUST_USE;
/** Is each element a sum over some of the sources? */
bool ww_verdict_is_whole(const struct ww_subsets *parts);
/** Measures that, and sets parts of the report. Where weights were rounded once more, a
 *  source without which elements are such sums as well is taken out. */
enum ww_err ww_verdict_elements(const struct ww_verdict_ask *v,
                                struct ww_decompose_report *r, struct ww_subsets *parts,
                                struct ww_error *err) WW_MUST_USE;
/** Places that no source moves: takes needless sources out, and sets still, with
 *  incomplete false, where nothing else went in. */
enum ww_err ww_verdict_places(const struct ww_verdict_ask *v,
                              const struct ww_subsets *parts,
                              struct ww_decompose_report *r,
                              struct ww_error *err) WW_MUST_USE;
/** Does what is unexplained look like noise? Sets has_noise and what goes with it, and
 *  incomplete false where it does and hides little. */
enum ww_err ww_verdict_noise(const struct ww_verdict_ask *v,
                             struct ww_decompose_report *r,
                             struct ww_error *err) WW_MUST_USE;
/** The same of weights whose cells are known, where nothing else said that a source is
 *  missing: sets incomplete where what lies outside of cells is more than noise. */
enum ww_err ww_verdict_outside(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r,
                               struct ww_error *err) WW_MUST_USE;
/** Of weights that were undone by an estimate, with noise or rounding in them: sets
 *  incomplete where what is left has directions, or where more may hide in it than a
 * third of the least share. */
enum ww_err ww_verdict_directions(const struct ww_verdict_ask *v,
                                  struct ww_decompose_report *r,
                                  struct ww_error *err) WW_MUST_USE;

#endif
