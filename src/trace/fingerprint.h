/* SPDX-License-Identifier: Apache-2.0 */
/* What a ledger keeps of a source, so that a trace needs nothing else. */
#ifndef WW_TRACE_FINGERPRINT_H
#define WW_TRACE_FINGERPRINT_H

#include "trace/ledger.h"
#include "trace/votes.h"

/** Fill everything of a model entry but its files and root: tensors and samples of the
 *  layout's model. Free with ww_ledger_entry_release; tensor names are borrowed. */
enum ww_err ww_fingerprint_make(const struct ww_layout *layout,
                                struct ww_ledger_model *out,
                                struct ww_error *err) WW_MUST_USE;

/** WW_E_SHAPE, naming the tensor, unless the layout's model has the tensors of the entry,
 *  with the same places for the samples (places NULL: wherever they are). */
enum ww_err ww_fingerprint_fits(const struct ww_ledger_model *model,
                                const struct ww_places *places,
                                const struct ww_layout *layout,
                                struct ww_error *err) WW_MUST_USE;

#endif
