/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model made of another one's tensors: rows of them, one behind another, under names of
 * its own, in one file that nobody wrote. So a suspect is looked at as if its matrices
 * were stored like the base's, and a base as if its layers were stacked like a suspect's.
 */
#ifndef WW_LINEAGE_RECUT_H
#define WW_LINEAGE_RECUT_H

#include "lineage/depths.h"
#include "model/unwritten.h"
#include "weightward/model.h"

#define WW_RECUT_PARTS 3 /* queries, keys and values in one */

/** Rows of the tensors of the model that it is made of. */
struct ww_recut_part {
    uint32_t tensor;
    uint64_t first;
    uint64_t n;
};

struct ww_recut_tensor {
    const char *name; /* borrowed for the call alone */
    unsigned n_parts; /* 0: left out */
    struct ww_recut_part parts[WW_RECUT_PARTS];
};

struct ww_recut {
    struct ww_model *model;
    bool lent; /* the model is closed by somebody else, later */
    const struct ww_model *from;
    struct ww_recut_tensor *tensors; /* as in model, without names */
    struct ww_unwritten file;
};

/** from is borrowed until the recut is freed; config is taken over, also on failure.
 *  Parts of a tensor have one dtype and one width. WW_E_TENSOR when a name is there
 * twice. */
enum ww_err ww_recut_new(const struct ww_model *from,
                         const struct ww_recut_tensor *tensors, uint32_t n,
                         struct ww_config *config, struct ww_recut **out,
                         struct ww_error *err) WW_MUST_USE;
void ww_recut_free(struct ww_recut *recut);

/** A config.json with another number of layers and of words of its language model; lists
 *  of its with one value for each layer follow layers, which has n of them. NULL: as they
 *  are; words 0: as many as there are. */
enum ww_err ww_recut_config(const struct ww_config *config, const uint32_t *layers,
                            uint32_t n, uint64_t words, struct ww_config **out,
                            struct ww_error *err) WW_MUST_USE;

/** The suspect as if it were stored like the base: its names, matrices that it has fused
 *  taken apart, matrices that the base has fused put together, tensors that the base does
 *  not have left out, and the base's config. *taken: how many were taken apart or put
 *  together. */
enum ww_err ww_recut_like(const struct ww_model *suspect, const struct ww_model *base,
                          struct ww_recut **out, uint32_t *taken,
                          struct ww_error *err) WW_MUST_USE;

/** The base with layer of[j] as its layer j, n of them; WW_NONE counts as the layer
 *  before. stack is what stands in front of their numbers. */
enum ww_err ww_recut_stack(const struct ww_model *base, const char *stack,
                           const uint32_t *of, uint32_t n, struct ww_recut **out,
                           struct ww_error *err) WW_MUST_USE;

#endif
