/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of one reading; every tensor keeps its own, so that layers, the whole
 * and the bootstrap cost no further one. */
#include "lineage/decompose_work.h"
#include "lineage/halves.h"
#include "lineage/sides.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    struct ww_decomposing *d = payload;

    return ww_moments_accumulate(d->moments[tensor], tile, n,
                                 d->family.tensors[tensor].grid, err);
}

/* Which half a tensor is in is decided before anything is read. */
static enum ww_err cut_in_halves(struct ww_decomposing *d, struct ww_error *err)
{
    const uint32_t n = d->family.n_tensors;
    enum ww_err rc = WW_OK;

    d->fitted = ww_calloc(n, sizeof(*d->fitted));
    d->held = d->options->halves ? ww_calloc(n, sizeof(*d->held)) : NULL;
    if (!d->fitted || (d->options->halves && !d->held)) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    if (d->held) {
        rc = ww_halves_draw(d->family.models[WW_FAMILY_SUSPECT], d->options->seed,
                            &d->half, err);
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        const uint32_t at = d->family.tensors[t].index[WW_FAMILY_SUSPECT];
        d->fitted[t] = !d->half || d->half[at];
        if (d->held) {
            d->held[t] = !d->fitted[t];
        }
        d->report->tensors_fit += d->fitted[t];
    }
    return rc;
}

static enum ww_err sum_up(struct ww_decomposing *d, const bool *decides,
                          struct ww_error *err)
{
    const struct ww_sweep_ask ask = {
        .phase = "decompose", .stored = true, .use = d->fitted, .decides = decides};
    enum ww_err rc = WW_OK;

    d->whole = ww_moments_new(d->k);
    if (!d->whole) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        ww_moments_free(d->moments[t]);
        d->moments[t] = ww_moments_new(d->k);
        if (!d->moments[t]) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
    }
    rc = ww_sweep(&d->family, &ask, &d->options->run, visit, d,
                  &d->report->run.bytes_read, err);
    for (uint32_t t = 0; t < d->family.n_tensors && !rc; t++) {
        rc = ww_moments_add(d->whole, d->moments[t], 1, err);
    }
    return rc;
}

enum ww_err ww_decompose_read(struct ww_decomposing *d, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    d->moments = ww_calloc(d->family.n_tensors, sizeof(struct ww_moments *));
    if (!d->moments) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    rc = cut_in_halves(d, err);
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        d->report->elements += d->family.tensors[t].n_elements;
    }
    d->report->tensors = d->family.n_tensors;
    d->report->strangers = d->family.n_strangers;
    return rc ? rc : sum_up(d, NULL, err);
}

/* Candidates that the sums cannot tell from the base or from each other stay out, and say
 * so: a share that could as well be another's is no finding. */
enum ww_err ww_decompose_choose(struct ww_decomposing *d, struct ww_error *err)
{
    const uint32_t *same = d->same;

    ww_fit_collinear(d->whole, d->same);
    for (size_t i = 0; i < d->options->n_candidates; i++) {
        struct ww_lineage_source *source = &d->report->sources[i];
        d->side[i] = same[i] == i ? WW_SIDE_PLUS : WW_SIDE_OUT;
        source->alike = same[i] != i;
        if (same[i] == WW_NONE) {
            source->note = ww_strdup("it does not differ from the base where it counts");
        } else if (same[i] != i) {
            source->note = ww_asprintf("it cannot be told from '%s'",
                                       d->options->candidates[same[i]]);
        }
        if (!d->side[i] && !source->note) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
    }
    return WW_OK;
}

enum ww_err ww_decompose_read_again(struct ww_decomposing *d, struct ww_error *err)
{
    const bool again = ww_fit_decides(d->whole, d->side, d->decides);

    d->ranked = again ? d->whole : NULL;
    return again ? sum_up(d, d->decides, err) : WW_OK;
}
