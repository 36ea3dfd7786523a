/* SPDX-License-Identifier: Apache-2.0 */
/* Is what is unexplained as noise would be? */
#include <math.h>

#include "lineage/sketch.h"
#include "lineage/verdict_work.h"
#include "lineage/whiteness.h"

/* Of the least share that is included: a relative with a cosine of 0.95 to a source, in
 * the place of which it stands, leaves so much of it. */
#define OF_LEAST 0.33

/* Score from which on cells say that something else went in. With all given it is reached
 * now and then, by noise before the rounding (docs/benchmarks.md, lineage_noise.py). */
#define OUTSIDE 5.0

/* Of the difference, what lies in directions: rounding before a stream was turned, and
 * gains that were rounded, leave 0.001 mostly, and 0.004 at most of small experts below
 * eight bits; a relative in the place of a source left 0.003 or more. */
#define IN_DIRECTIONS 0.002

/* The blend as it is, or rounded where that alone leaves noise. */
static enum ww_err measure(const struct ww_verdict_ask *v,
                           const struct ww_decompose_report *r, bool outside,
                           struct ww_whiteness *out, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_whiteness rounded;
    struct ww_whiteness_ask ask = {.family = v->family,
                                   .shares = shares,
                                   .per_tensor = v->per_tensor,
                                   .use = v->fitted,
                                   .outside = outside,
                                   .n_candidates = (unsigned)r->n_sources,
                                   .run = &v->options->run};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    rc = ww_whiteness_measure(&ask, out, err);
    if (rc || !out->told || out->score < WW_LINEAGE_NO_NOISE) {
        return rc;
    }
    /* Rounding of task vectors of few steps turns on the last places of a share, and
     * those that it was written with are short. */
    for (size_t i = 0; i < r->n_sources; i++) {
        const struct ww_lineage_source *one = &r->sources[i];
        shares[i] = one->recipe == 0
                        ? 0
                        : ww_sketch_shortest(one->share, (one->high - one->low) / 2);
    }
    ask.rounded = true;
    rc = ww_whiteness_measure(&ask, &rounded, err);
    if (!rc && rounded.score < out->score) {
        *out = rounded;
    }
    return rc;
}

static double least_share(const struct ww_decompose_report *r)
{
    double least = HUGE_VAL;

    for (size_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included) {
            least = fmin(least, fabs(r->sources[i].share));
        }
    }
    return least;
}

/* Noise that was added moves weights in no directions, a source does. An answer stays in
 * part where a source that is worth naming may hide in what looks like noise, and where
 * that is most of the difference: a disguise that was not undone looks like it as well.
 */
enum ww_err ww_verdict_noise(const struct ww_verdict_ask *v,
                             struct ww_decompose_report *r, struct ww_error *err)
{
    struct ww_whiteness found;
    enum ww_err rc = measure(v, r, false, &found, err);

    if (rc || !found.told) {
        return rc;
    }
    r->has_noise = true;
    r->score = found.score;
    r->structured = found.structured < r->unexplained ? found.structured : r->unexplained;
    r->hides = found.hides;
    r->copies = found.twins;
    r->noise_like = found.score < WW_LINEAGE_NO_NOISE &&
                    r->unexplained <= WW_LINEAGE_MOSTLY &&
                    found.twins >= WW_LINEAGE_COPIES &&
                    found.hides <= fmin(WW_LINEAGE_HIDES, OF_LEAST * least_share(r));
    r->incomplete = !r->noise_like;
    return WW_OK;
}

/* Of what was undone by an estimate a relative leaves directions where noise, or
 * rounding, hides how much it leaves. */
enum ww_err ww_verdict_directions(const struct ww_verdict_ask *v,
                                  struct ww_decompose_report *r, struct ww_error *err)
{
    struct ww_whiteness found;
    enum ww_err rc = measure(v, r, false, &found, err);

    if (rc) {
        return rc;
    }
    if (!found.told) {
        r->incomplete = r->unexplained > WW_VERDICT_LITTLE;
    } else if (found.hides > fmin(WW_LINEAGE_HIDES, OF_LEAST * least_share(r)) ||
               (found.score >= OUTSIDE && found.structured > IN_DIRECTIONS)) {
        rc = ww_verdict_noise(v, r, err);
        r->incomplete = true;
    }
    return rc;
}

/* Of weights that were rounded once more a source leaves little, or a relative of it that
 * stands in its place. What lies outside of the cells of their values has directions even
 * so. */
enum ww_err ww_verdict_outside(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r, struct ww_error *err)
{
    struct ww_whiteness found;
    enum ww_err rc = measure(v, r, true, &found, err);

    if (rc || !found.told || found.score < OUTSIDE) {
        return rc;
    }
    rc = ww_verdict_noise(v, r, err);
    r->score = fmax(r->score, found.score);
    r->noise_like = false;
    /* Of few bits what shares are off by has directions of its own. */
    r->incomplete = r->has_noise = r->hides <= WW_LINEAGE_HIDES;
    return rc;
}
