/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Does the attacked model still do what the locked one does? Some blocks of both are run
 * on the same random activations, the attacked ones made in memory.
 */
#ifndef WW_ATTACK_DRIFT_H
#define WW_ATTACK_DRIFT_H

#include "attack/attack_plan.h"

/** *known stays false where the reference forward pass does not serve the architecture or
 *  a block takes too much memory. *drift: largest difference of a block's output,
 * relative to what the block adds to its input. */
enum ww_err ww_attack_drift(const struct ww_attack_job *job, bool *known, double *drift,
                            struct ww_error *err) WW_MUST_USE;

#endif
