/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A lock of a suspect whose residual stream was rotated as well. What a lock does to the
 * stream is part of the rotation; what it does to heads and neurons can be seen once the
 * stream is turned back, and undone without turning it.
 */
#ifndef WW_LINEAGE_LOCKED_TURN_H
#define WW_LINEAGE_LOCKED_TURN_H

#include "attack/attack_view.h"
#include "lineage/disguise.h"
#include "lineage/folded.h"

struct ww_locked_turn {
    struct ww_folded *floats; /* its model: the suspect without the lock, still rotated,
                                 in F32; NULL: no lock was found */
    struct ww_disguise lock;
    struct ww_attack_view *view;
    struct ww_locked_steps {
        struct ww_unwritten rotated;
        struct ww_attack_view *view;
        struct ww_weight_file file;
        struct ww_model model; /* without a file until ww_locked_turn_steps */
    } steps;
};

/** back gives bytes of the suspect's tensors in F32, turned back; it is called while this
 *  runs alone. base is borrowed until the release. *out is empty where none was found. */
enum ww_err ww_locked_turn_find(const struct ww_model *suspect,
                                const struct ww_model *base, ww_unwritten_fn back,
                                void *payload, const struct ww_run_options *run,
                                struct ww_locked_turn *out,
                                struct ww_error *err) WW_MUST_USE;
/** Where its layers lie in the base, in what is turned back; none where each lies in its
 *  own place. scratch is empty again afterwards; back may read from its floats. */
enum ww_err ww_locked_turn_depths(const struct ww_model *suspect,
                                  const struct ww_model *base, ww_unwritten_fn back,
                                  void *payload, struct ww_locked_turn *scratch,
                                  struct ww_depths *out,
                                  struct ww_error *err) WW_MUST_USE;
/** Of a lock that was found: out->steps.model is the size of something that lies in the
 *  suspect's layout, steps of its rounding, with the lock undone; signs say nothing. read
 *  gives F32, and is called until the release. */
enum ww_err ww_locked_turn_steps(ww_unwritten_fn read, void *payload,
                                 struct ww_locked_turn *out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_locked_turn_release(struct ww_locked_turn *turn);

#endif
