/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over matrices, one score for each question. */
#include "lineage/whiteness_work.h"

#include <math.h>

#define BEYOND 2.0  /* standard deviations that what has to show lies above the limit */
#define ALONE 1.5   /* times that one matrix by itself has to show, of so many */
#define NOWHERE 1.0 /* share that hides where candidates lie in no directions */

bool ww_whiteness_takes_part(const struct ww_whitening *w, unsigned source)
{
    const uint32_t n = w->ask->per_tensor ? w->ask->family->n_tensors : 1;
    bool found = false;

    for (uint32_t t = 0; t < n; t++) {
        found |= ww_whiteness_shares(w, t)[source] != 0;
    }
    return found;
}

static void add_source(struct ww_whiteness_of_source *into,
                       const struct ww_whiteness_of_source *more)
{
    into->twin += more->twin;
    into->spectrum += more->spectrum;
    into->squares += more->squares;
    ww_signflip_add(&into->rows, &more->rows);
    ww_signflip_add(&into->columns, &more->columns);
    ww_signflip_add(&into->leading, &more->leading);
    ww_signflip_add(&into->longer, &more->longer);
}

static double score_of(const struct ww_whiteness_of_source *s)
{
    const double beside =
        fmax(ww_signflip_score(&s->rows), ww_signflip_score(&s->columns));
    const double along =
        fmax(fabs(ww_signflip_score(&s->leading)), fabs(ww_signflip_score(&s->longer)));

    return fmax(beside, along);
}

static double score_of_stack(const struct ww_whitening *w)
{
    const struct ww_whiteness_of_matrix *s = &w->found[w->ask->family->n_tensors];
    const double beside =
        fmax(ww_signflip_score(&s->rows), ww_signflip_score(&s->columns));

    return fmax(beside, ww_signflip_score(&s->spectrum));
}

void ww_whiteness_conclude(const struct ww_whitening *w, const uint64_t *sizes,
                           struct ww_whiteness *out)
{
    struct ww_whiteness_of_matrix all = {0};
    double width = 0; /* of the widest candidate: squares over the root of its spectrum */
    double least = HUGE_VAL; /* the smallest spectrum */
    double alone = 0;
    double twins = HUGE_VAL;

    for (uint32_t t = 0; t < w->ask->family->n_tensors; t++) {
        if (sizes[t]) {
            all.difference += w->found[t].difference;
            ww_signflip_add(&all.spectrum, &w->found[t].spectrum);
            ww_signflip_add(&all.rows, &w->found[t].rows);
            ww_signflip_add(&all.columns, &w->found[t].columns);
            alone = fmax(alone, ww_signflip_score(&w->found[t].spectrum));
        }
    }
    out->score = fmax(ww_signflip_score(&all.rows), ww_signflip_score(&all.columns));
    out->score = fmax(out->score, ww_signflip_score(&all.spectrum));
    out->score = fmax(out->score, alone / ALONE);
    out->score = fmax(out->score, score_of_stack(w));
    for (unsigned i = 0; i < w->ask->n_candidates; i++) {
        struct ww_whiteness_of_source sum = {0};
        for (uint32_t t = 0; t < w->ask->family->n_tensors; t++) {
            if (sizes[t]) {
                add_source(&sum, &w->found[t].sources[i]);
            }
        }
        if (sum.squares > 0) { /* it differs from the base */
            out->score = fmax(out->score, score_of(&sum));
            twins = ww_whiteness_takes_part(w, i)
                        ? fmin(twins, fabs(sum.twin) / sqrt(sum.leading.variance))
                        : twins;
            least = fmin(least, fmax(sum.spectrum, 0));
            width = fmax(width, sum.spectrum > 0 ? sum.squares / sqrt(sum.spectrum)
                                                 : sum.squares);
        }
    }
    out->twins = twins < HUGE_VAL ? twins : 0;
    const double deviation = sqrt(all.spectrum.variance);
    const double excess = fmax(all.spectrum.excess, 0);
    const double most =
        excess + (excess < WW_LINEAGE_NO_NOISE * deviation ? BEYOND * deviation : 0);
    out->structured =
        all.difference > 0 ? fmin(1, width * sqrt(most) / all.difference) : 0;
    out->hides = least > 0 && least < HUGE_VAL
                     ? sqrt(sqrt((WW_LINEAGE_NO_NOISE + BEYOND) * deviation / least))
                     : NOWHERE;
}
