/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of a suspect whose heads were mixed by dense matrices, from its attentions. */
#ifndef WW_LINEAGE_ATTENTION_H
#define WW_LINEAGE_ATTENTION_H

#include "lineage/family.h"

struct ww_attention_shares {
    double share[WW_LINEAGE_MAX_SOURCES];
    double half[WW_LINEAGE_MAX_SOURCES]; /* of the 95 % interval */
    size_t n_heads; /* products that were summed; 0: none could be formed */
};

/** side: of zero, of the sources' shares (fit.h). start: shares of other weights of the
 *  suspect, or NULL. Each attention is read once per model, then three times more to see
 *  what rounding to the base's dtype does to shares of this size, which is taken off.
 *  Memory: four matrices of an attention for each model. */
enum ww_err ww_attention_shares(const struct ww_family *family, const int8_t *side,
                                const double *start, uint64_t seed,
                                struct ww_attention_shares *out,
                                struct ww_error *err) WW_MUST_USE;

/** The same into the report: shares of heads beside those of other weights, and in their
 * place for a source that changed nothing else (same, ww_fit_collinear, is WW_NONE). */
enum ww_err ww_attention_tell(const struct ww_family *family, const int8_t *side,
                              const uint32_t *same, uint64_t seed,
                              struct ww_decompose_report *r,
                              struct ww_error *err) WW_MUST_USE;

#endif
