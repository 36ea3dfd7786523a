/* SPDX-License-Identifier: Apache-2.0 */
/* An adapter as plain pairs of factors: W + B A and nothing else. */
#ifndef WW_RMM_AS_FACTORS_H
#define WW_RMM_AS_FACTORS_H

#include "merge/extract_write.h"
#include "rmm/as_member.h"

struct ww_as_pair {
    const char *module;
    const struct ww_tensor *a; /* r x d */
    const struct ww_tensor *b; /* m x r */
    double scaling;
};

struct ww_as_pairs {
    struct ww_as_pair *items; /* by module */
    uint32_t n;
    uint64_t rank; /* the largest */
};

/** The weight below the factors of a module (merge/adapter_copy.h) has the base's
 *  numbers. WW_E_UNSUPPORTED. */
enum ww_err ww_as_check_copy(const struct ww_adapter_entry *e, const struct ww_as *as,
                             const char *form, struct ww_error *err) WW_MUST_USE;

/** WW_E_UNSUPPORTED when the adapter is more than pairs: DoRA, biases, whole weights,
 *  embeddings, convolutions; naming the part. The base's own weight beside the factors of
 * a module is left out. form: for the text. */
enum ww_err ww_as_pairs_find(const struct ww_as *as, const char *form,
                             struct ww_as_pairs *out, struct ww_error *err) WW_MUST_USE;
void ww_as_pairs_release(struct ww_as_pairs *pairs);

/** Factors as float32, scaling in b: a is rank x d, b m x rank, the pair's own rank. Free
 *  both. WW_E_NONFINITE also when b overflows. */
enum ww_err ww_as_pair_read(const struct ww_adapter *adapter,
                            const struct ww_as_pair *pair, float **a, float **b,
                            struct ww_error *err) WW_MUST_USE;

/** Add a pair of a module of m x d to a portable adapter in the making. */
enum ww_err ww_as_put_pair(struct ww_extracting *x, const char *module, size_t m,
                           size_t d, const struct ww_lowrank *factors,
                           struct ww_error *err) WW_MUST_USE;

#endif
