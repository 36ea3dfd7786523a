/* SPDX-License-Identifier: Apache-2.0 */
/* A locked model read as it was before its lock, by nothing but an anchor; no folder of
 * it is written anywhere. */
#ifndef WW_ATTACK_ATTACK_VIEW_H
#define WW_ATTACK_ATTACK_VIEW_H

#include "util/reader.h"
#include "weightward/attack.h"

struct ww_attack_view;

/** Find what a lock did to the model. Both models are borrowed until the view is freed.
 *  *out stays NULL, and WW_OK, when no layout is known for them, they do not belong
 *  together, or nothing that a lock does was found. noisy: the weights were rounded in
 *  blocks; the residual stream tells relatives then, and dense locks are not undone.
 * run: progress; NULL: nobody asks. WW_E_CANCELLED, WW_E_NOMEM, WW_E_IO and the like. */
enum ww_err ww_attack_view_open(const struct ww_model *locked,
                                const struct ww_model *anchor, bool noisy,
                                const struct ww_run_options *run,
                                struct ww_attack_view **out,
                                struct ww_error *err) WW_MUST_USE;
void ww_attack_view_free(struct ww_attack_view *view);
/** The same undoing of something else that lies in the locked model's layout, the size of
 *  an error say: readers[file] has it, and is borrowed like the first view. */
enum ww_err ww_attack_view_beside(const struct ww_attack_view *view,
                                  const struct ww_reader *const *readers,
                                  struct ww_attack_view **out,
                                  struct ww_error *err) WW_MUST_USE;
/** Which layer of the anchor each layer of a locked stack is like, in the anchor's order
 * of the residual stream: scores[j * m + l] is the mean cosine of some neurons of layer j
 *  with those of layer l that are most like them, relatives have 0.9 and more. alike is
 *  the anchor with as many layers as the stack, whichever they are: its tables tell the
 *  stream. scores has n * m numbers, and is left as it is, with *told false, where no
 *  layout is known, tables are no relatives, or layers have no neurons. */
enum ww_err ww_attack_layers(const struct ww_model *locked, const struct ww_model *alike,
                             const struct ww_model *anchor, uint32_t n, uint32_t m,
                             double *scores, bool *told,
                             struct ww_error *err) WW_MUST_USE;
/** Reads a weight file as it was before the lock: same size, same header. Borrowed. */
const struct ww_reader *ww_attack_view_reader(const struct ww_attack_view *view,
                                              uint32_t file);
/** What the lock turned out to be made of. */
const struct ww_attack_found *ww_attack_view_found(const struct ww_attack_view *view);
/** True when the tensor came back only up to a small dense error: it was mixed by
 * matrices that no rounding could make exact. */
bool ww_attack_view_is_dense(const struct ww_attack_view *view, uint32_t tensor);

#endif
