/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits and the residual leave open of the method. */
#ifndef WW_LINEAGE_VERDICT_H
#define WW_LINEAGE_VERDICT_H

#include "lineage/gradient.h"
#include "lineage/replay.h"

#define WW_VERDICT_PRUNED 0.001 /* share of zeros that is no accident of rounding */

struct ww_verdict_ask {
    const struct ww_family *family;
    const struct ww_decompose_options *options;
    const bool *fitted; /* which tensors may be looked at */
    const bool *half;   /* the same of the suspect's tensors; NULL: all */
    const struct ww_gradient_shares
        *over;                /* shares over the depth; NULL: they are even */
    const double *per_tensor; /* shares, [n_tensors][sources]; NULL: they are even */
    const double *lengths;    /* of the candidates' task vectors */
    double scale;             /* of the base in the suspect */
    const int8_t *side;       /* of zero, of candidates that the sums can tell apart */
    struct ww_elsewhere elsewhere;
};

/** Sets method, not_excluded and the recipe of a report whose shares and replay are in.
 */
enum ww_err ww_verdict(const struct ww_verdict_ask *ask,
                       struct ww_decompose_report *report,
                       struct ww_error *err) WW_MUST_USE;

#endif
