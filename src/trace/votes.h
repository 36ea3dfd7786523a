/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The votes of a suspect on one copy: each coordinate says whether the suspect carries
 * the sign that the copy has there. docs/trace.md shows that for a suspect made without
 * the copy every vote is a fair coin, whatever the suspect is.
 */
#ifndef WW_TRACE_VOTES_H
#define WW_TRACE_VOTES_H

#include "lock/gauge.h"
#include "model/gguf_shown.h"
#include "trace/probes.h"

/** Weights of the tensors that hold probes: read when first asked for. */
struct ww_evidence {
    const struct ww_model *model;
    const struct ww_gguf_shown *gguf; /* whose model it is; NULL: a folder's */
    uint32_t n_tensors;
    uint32_t *tensors; /* of the model, by slot */
    uint8_t **bytes;   /* whole tensors that are small enough, else NULL */
};

/** Tensors by name of the layout's model; all must be in the model with their shapes:
 *  WW_E_SHAPE. Keeps tensors of at most 64 MiB in memory, reads single elements of larger
 *  ones and of a GGUF file. */
enum ww_err ww_evidence_open(struct ww_evidence *evidence, const struct ww_places *places,
                             const struct ww_layout *layout, const struct ww_model *model,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_evidence_open_gguf(struct ww_evidence *evidence,
                                  const struct ww_places *places,
                                  const struct ww_layout *layout,
                                  const struct ww_gguf_shown *gguf,
                                  struct ww_error *err) WW_MUST_USE;
void ww_evidence_close(struct ww_evidence *evidence);

/** The samples of a model in source coordinates, [n_coords, samples]; NaN and infinity
 *  come out as 0. */
enum ww_err ww_evidence_samples(const struct ww_evidence *evidence,
                                const struct ww_places *places, double *out,
                                struct ww_error *err) WW_MUST_USE;

/** Where a copy has the samples of the source: element of the same tensor, sign, factor.
 */
struct ww_copy_place {
    uint64_t element;
    bool neg;
    int8_t exp;
};

/** The places of one copy, [n_coords, samples]. gauge is the copy's, on places' layout.
 */
enum ww_err ww_copy_places(const struct ww_gauge *gauge, const struct ww_places *places,
                           struct ww_copy_place *out, struct ww_error *err) WW_MUST_USE;

struct ww_votes {
    uint32_t n;     /* coordinates whose sum is not zero */
    uint32_t agree; /* of them, those with a positive one */
};

/** source: the samples of the source or an anchor, [n_coords, samples]. */
enum ww_err ww_votes_count(const struct ww_evidence *suspect,
                           const struct ww_places *places,
                           const struct ww_copy_place *copy, const double *source,
                           struct ww_votes *out, struct ww_error *err) WW_MUST_USE;

/** At least P(Binomial(n, 1/2) >= agree), never below 1e-300, at most 1. */
double ww_votes_chance(uint32_t n, uint32_t agree);

#endif
