/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers are stored outputs x inputs, but for some families. */
#ifndef WW_MODEL_ORIENTATION_H
#define WW_MODEL_ORIENTATION_H

#include "model/adapter.h"

/** Are the model's linear layers stored inputs x outputs, as GPT-2's are? */
bool ww_stores_inputs_first(const struct ww_model *model);
/** Is this tensor of such a model one of those layers? Heads are none. */
bool ww_lies_across(bool inputs_first, const char *name);

/** Does this adapter change a weight of the base that lies across? As PEFT has it: the
 * class of the layer decides, whatever fan_in_fan_out says. */
bool ww_adapter_lies_across(const struct ww_adapter *adapter, const struct ww_model *base,
                            const struct ww_tensor *w);
/** What the names of the base's modules begin with and those in its files do not
 * ("transformer.");
 *  "" where there is no such difference. */
const char *ww_module_root(const struct ww_model *base);

/** Where element e of a matrix of the file, rows x cols, is in its transpose. */
static inline size_t ww_across(uint64_t e, size_t rows, size_t cols)
{
    return (size_t)(e % cols) * rows + (size_t)(e / cols);
}

/** n elements of a matrix of the file, from `first` on, to their places in `matrix`. */
void ww_put_across(const double *x, uint64_t first, size_t n, size_t rows, size_t cols,
                   double *matrix);
/** And back. */
void ww_take_across(const double *matrix, uint64_t first, size_t n, size_t rows,
                    size_t cols, double *x);

#endif
