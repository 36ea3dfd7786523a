/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merge lineage from weights: in which shares a suspect was made of which candidates.
 *
 * A share is the coefficient of a source's task vector: S - base = sum of share x (source -
 * base). What comes out supports a lineage or does not support it; it never proves one.
 */
#ifndef WEIGHTWARD_LINEAGE_H
#define WEIGHTWARD_LINEAGE_H

#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Candidates and controls together. */
#define WW_LINEAGE_MAX_SOURCES 62

struct ww_decompose_options {
    const char *base;              /* model folder that all descend from */
    const char *const *candidates; /* possible sources; at least one */
    size_t n_candidates;
    const char *const *controls;   /* descendants of the base that are no source */
    size_t n_controls;
    uint64_t seed;                 /* of the bootstrap */
    struct ww_run_options run;
};

struct ww_lineage_source {
    char *name;       /* path as given */
    double share;
    double low, high; /* 95 %: tensors drawn anew, never narrower than 1.96 errors */
    double error;     /* standard error by rounding and noise alone */
    double n_eff;     /* elements that carry the share */
    double recipe;    /* shortest decimal that the share allows; 0 when not included */
    double p_value;   /* rank among the controls, Holm over candidates; -1: no controls */
    bool included;    /* the interval lies above WW_LINEAGE_LEAST */
    char *note;       /* why it was left out of the fit, or NULL */
};
/** A share below is not told from none. */
#define WW_LINEAGE_LEAST 0.02

struct ww_lineage_layer {
    char *name;     /* "layer 3", or "outside of layers" */
    double *shares; /* [n_sources] */
    uint64_t elements;
};

struct ww_decompose_report {
    struct ww_lineage_source *sources; /* as given */
    size_t n_sources;
    struct ww_lineage_layer *layers;
    size_t n_layers;
    uint64_t tensors;      /* compared */
    uint64_t elements;     /* compared */
    uint64_t used;         /* elements that moved far enough to carry a share */
    double noise;          /* beyond rounding: standard deviation per element */
    double r2;             /* of the whole difference from the base */
    double r2_ceiling;     /* what rounding of the exact blend would leave */
    double unexplained;    /* 1 - r2 / r2_ceiling, not below 0 */
    double replay;         /* share of moved elements whose bits the blend by the recipe
                              numbers gives, computed in double and rounded once */
    double kept;           /* share of moved elements where the suspect left the base */
    const char *method;    /* static: "linear", "blend", "masked", "none", "unclear" */
    const char *const *not_excluded; /* static, ends with NULL */
    char **warnings;
    size_t n_warnings;
    struct ww_run_report run;
};
WW_API void ww_decompose_report_release(struct ww_decompose_report *report);

/**
 * Compare the suspect with a base and candidates tensor by tensor, in two readings of all
 * files. The same numbers for any thread count. WW_E_UNRELATED when they have no tensor
 * of one shape in common; WW_E_NONFINITE; WW_E_LIMIT for too many sources. WW_OK also when
 * no candidate is included.
 */
WW_API enum ww_err ww_lineage_decompose(const char *suspect,
                                        const struct ww_decompose_options *options,
                                        struct ww_decompose_report *report,
                                        struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
