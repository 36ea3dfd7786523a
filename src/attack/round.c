/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounding to the discrete group: which signed permutation, times powers of two, is
 * nearest to a solved matrix. Columns are brought to one length first, so that a power of
 * two in one of them does not decide the order, then the order is an assignment, and each
 * entry that stays becomes the nearest power of two on a logarithmic scale. That last
 * step looks at the binary exponent itself, not at a logarithm.
 */
#include "attack/solve.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"

#define MAX_EXP 120 /* an exponent that an int8 and a float hold */

static void scores_of(size_t d, const double *t, double *score, double *lengths)
{
    for (size_t j = 0; j < d; j++) {
        lengths[j] = 0.0;
    }
    for (size_t i = 0; i < d * d; i++) {
        lengths[i % d] += t[i] * t[i];
    }
    for (size_t i = 0; i < d * d; i++) {
        const double length = sqrt(lengths[i % d]);
        score[i] = length > 0.0 ? fabs(t[i]) / length : 0.0;
    }
}

/* log2 |x| rounded to an integer. */
static int nearest_exponent(double x)
{
    int exponent = 0;
    const double part = frexp(fabs(x), &exponent);
    if (part == 0.0) {
        return 0;
    }
    exponent -= part * part < 0.5; /* part in [1/2, 1): below sqrt(1/2)? */
    return exponent < -MAX_EXP ? -MAX_EXP : (exponent > MAX_EXP ? MAX_EXP : exponent);
}

enum ww_err ww_round_signed_permutation(size_t d, const double *t, bool scale,
                                        uint32_t *perm, uint8_t *neg, int8_t *exp,
                                        double *residue, struct ww_error *err)
{
    double *score = ww_calloc(d * d, sizeof(*score));
    double *lengths = ww_calloc(d, sizeof(*lengths));
    double total = 0.0;
    double rest = 0.0;
    enum ww_err rc = WW_OK;
    if (!score || !lengths) {
        rc = WW_FAIL_MEMORY(err, "a %zu x %zu matrix", d, d);
        goto out;
    }
    scores_of(d, t, score, lengths);
    rc = ww_assign(d, score, perm, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < d; i++) {
        const double kept = t[i * d + perm[i]];
        neg[i] = kept < 0.0;
        exp[i] = (int8_t)(scale ? nearest_exponent(kept) : 0);
        for (size_t j = 0; j < d; j++) {
            const double entry = t[i * d + j];
            const double off = j == perm[i] ? fabs(entry) - ldexp(1.0, exp[i]) : entry;
            total += entry * entry;
            rest += off * off;
        }
    }
    *residue = total > 0.0 ? sqrt(rest / total) : 1.0;
out:
    ww_free(score);
    ww_free(lengths);
    return rc;
}
