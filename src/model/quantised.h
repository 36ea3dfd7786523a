/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights of safetensors files that are decoded: eight bits, and MXFP4. */
#ifndef WW_MODEL_QUANTISED_H
#define WW_MODEL_QUANTISED_H

#include "model/eight_bit.h"
#include "model/mxfp4.h"

struct ww_quantised {
    struct ww_eight_bit eight;
    struct ww_mxfp4 *four; /* [n_tensors], of those that names has */
    char **names;          /* [n_tensors], of MXFP4's blocks: what they stand for */
    bool *left_out;        /* [n_tensors]: scales and the like */
    struct ww_mxfp4_windows *windows;
    const struct ww_model *model; /* borrowed */
    uint32_t n_tensors;
    uint32_t n_four;
    uint32_t n_decoded; /* of both kinds; 0: what follows asks nothing of this */
};

/** What of a model is decoded. Released by the caller, also after a failure; the model's
 *  tensors and files stay in their places until then. WW_E_QUANTISED for scales that do
 *  not fit, or whose meaning is not known. */
enum ww_err ww_quantised_find(const struct ww_model *model, struct ww_quantised *out,
                              struct ww_error *err) WW_MUST_USE;
void ww_quantised_release(struct ww_quantised *weights);

/** "eight-bit", "MXFP4", or both, of weights some of which are decoded. Static. */
const char *ww_quantised_kind(const struct ww_quantised *weights);

/** Is a tensor of the model decoded, or read as it is? */
bool ww_quantised_is(const struct ww_quantised *weights, uint32_t tensor);
/** What a decoded tensor stands for, as F32; its name is a borrow. */
struct ww_tensor ww_quantised_shown(const struct ww_quantised *weights, uint32_t tensor);

/** Elements [first, first + n) of a decoded tensor, as shown: values with the steps to
 * the next number of larger magnitude (WW_STEP_LOST where a scale is 0; two may be NULL),
 * or, of cells, the ends of what each was before it was rounded. From any thread.
 * WW_E_NONFINITE. */
enum ww_err ww_quantised_read(const struct ww_quantised *weights, uint32_t tensor,
                              uint64_t first, size_t n, bool cells, double *one,
                              double *two, struct ww_error *err) WW_MUST_USE;

#endif
