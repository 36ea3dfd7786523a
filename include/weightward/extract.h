/* SPDX-License-Identifier: Apache-2.0 */
/** The difference of two models as a LoRA adapter. */
#ifndef WEIGHTWARD_EXTRACT_H
#define WEIGHTWARD_EXTRACT_H

#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_extract_options {
    uint64_t rank; /* largest rank; 0: 64 */
    double energy; /* in (0, 1]: the smallest rank that keeps this share of each
                      difference's squared norm, at most rank. 0: always rank */
    bool portable; /* one rank, no whole weights: what engines beside PEFT read */
    const struct ww_signer *signer; /* NULL: unsigned */
    struct ww_run_options run;
};

struct ww_extract_report {
    uint64_t matrices; /* as low-rank factors */
    uint64_t whole;    /* weights carried whole */
    uint64_t dropped;  /* portable: changed weights that the adapter leaves out */
    uint64_t unchanged;
    uint64_t rank;    /* largest used */
    double kept;      /* share of the squared norm of all differences */
    double worst;     /* the same of the matrix that fared worst */
    char *worst_name; /* NULL when there is none */
    struct ww_run_report run;
    char **warnings;
    size_t n_warnings;
};
WW_API void ww_extract_report_release(struct ww_extract_report *report);

/**
 * Write the adapter that takes base to model into a new folder, in PEFT's format: linear
 * weights as truncated singular value decompositions, other changed weights whole.
 * Through LAPACK: equal within rounding on other machines and with another number of
 * threads, not to the bit.
 * WW_E_TENSOR, WW_E_SHAPE when the models differ in names or shapes; WW_E_UNSUPPORTED
 * when nothing differs, one alone is locked or the locks are of two ways; WW_E_WRONG_KEY
 * when they are of two keys, and what a tensor statement that cannot be read fails with;
 * WW_E_NONFINITE; WW_E_LIBRARY without OpenBLAS.
 */
WW_API enum ww_err ww_extract_adapter(const char *base, const char *model,
                                      const char *out_path,
                                      const struct ww_extract_options *options,
                                      struct ww_extract_report *report,
                                      struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
