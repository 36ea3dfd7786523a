/* SPDX-License-Identifier: Apache-2.0 */
/* The models of a comparison, and the tensors that all of them have in one shape. */
#ifndef WW_LINEAGE_FAMILY_H
#define WW_LINEAGE_FAMILY_H

#include "lineage/disguise.h"
#include "util/str.h"
#include "weightward/lineage.h"
#include "weightward/model.h"

enum { WW_FAMILY_SUSPECT, WW_FAMILY_BASE, WW_FAMILY_SOURCES };

struct ww_family_tensor {
    const char *name;
    uint64_t n_elements;
    uint32_t layer;  /* WW_NONE: outside of layers */
    uint32_t *index; /* [n_models], into each model's tensors */
    /* The coarsest grid that the weights have been on: a suspect that was stored as F32
     * may have been rounded to BF16 before, as its values or its base's dtype tell. */
    enum ww_dtype grid;
};

struct ww_family {
    struct ww_model **models;    /* suspect, base, sources */
    struct ww_disguise disguise; /* of the suspect, whose model is the first of models */
    unsigned n_models;
    struct ww_family_tensor *tensors; /* in the suspect's order */
    uint32_t n_tensors;
    uint32_t n_dense; /* of the suspect: mixed by dense matrices, not among the tensors */
    uint32_t n_strangers;  /* the same: those of ww_family_leave_strangers */
    uint32_t *indices;     /* owns the arrays of the tensors */
    uint32_t n_same_steps; /* of these: rounded to the steps of the base's own values */
    uint32_t n_same;       /* of those: with no value but the base's */
    /* of the suspect's matrices that the base has too: of another shape, or pointing
     * elsewhere in a layer. A source may have gone into these alone. */
    uint32_t n_unseen;
    bool base_decoded; /* its weights are quantised ones */
    struct ww_strlist warnings;
};

/** paths as models. run: as in ww_disguise_open. WW_E_UNRELATED when no tensor is shared.
 */
enum ww_err ww_family_open(const char *const *paths, unsigned n,
                           const struct ww_run_options *run, struct ww_family *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_family_release(struct ww_family *family);
/** WW_E_CHANGED when a file moved since it was opened. */
enum ww_err ww_family_unchanged(const struct ww_family *family,
                                struct ww_error *err) WW_MUST_USE;

#endif
