/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of a locked stack. The tables show what happened to the residual stream, which
 * all layers share; in the anchor's order a few neurons of a layer find their like among
 * all of one layer of the anchor, wherever a lock put them, and no like in another.
 */
#include <math.h>
#include <string.h>

#include "attack/attack_view.h"
#include "attack/search.h"
#include "attack/slab.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE 8        /* neurons of a layer */
#define LEAST_FRAME 0.9 /* cosine of streams of relatives */

struct layers {
    struct ww_layout *layouts[3]; /* locked, alike, anchor */
    struct ww_pair pair;
    bool paired;
    uint32_t n;
    uint32_t m;
    size_t width;
    float *samples; /* [n][SAMPLE][width], of length one */
};

/* The MLP of a layer; WW_NONE: it has none of its own. */
static uint32_t mlp_of(const struct ww_layout *layout, uint32_t layer)
{
    uint32_t found = WW_NONE;

    for (uint32_t b = 0; b < layout->n_blocks && found == WW_NONE; b++) {
        const struct ww_block *block = &layout->blocks[b];
        if (block->layer == layer && block->stack == 0) {
            found = block->mlp != WW_NONE   ? block->mlp
                    : block->moe != WW_NONE ? layout->moes[block->moe].first_mlp
                                            : WW_NONE;
        }
    }
    return found;
}

static enum ww_err load(const struct ww_layout *layout, const struct ww_gauge *undo,
                        uint32_t layer, struct ww_slab *out, struct ww_error *err)
{
    const uint32_t at = mlp_of(layout, layer);

    memset(out, 0, sizeof(*out));
    if (at == WW_NONE) {
        return WW_OK;
    }
    const struct ww_mlp *mlp = &layout->mlps[at];
    const struct ww_slab_of of = {layout, undo, mlp->gated ? &mlp->gate : &mlp->up, false,
                                  mlp->neuron};
    return ww_slab_load(&of, out, err);
}

static void normalise(float *row, size_t n)
{
    const double norm = sqrt(ww_row_dot(row, row, n));

    for (size_t i = 0; i < n && norm > 0; i++) {
        row[i] = (float)((double)row[i] / norm);
    }
}

static enum ww_err take_samples(struct layers *l, bool *told, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    l->width = (size_t)l->layouts[0]->residual.width;
    l->samples = ww_calloc((size_t)l->n * SAMPLE, l->width * sizeof(*l->samples));
    if (!l->samples) {
        return WW_FAIL_MEMORY(err, "layers");
    }
    for (uint32_t j = 0; j < l->n && !rc && *told; j++) {
        struct ww_slab slab;
        rc = load(l->layouts[0], &l->pair.gauge, j, &slab, err);
        *told = !rc && slab.rows && slab.width == l->width && slab.n > 0;
        for (size_t i = 0; i < SAMPLE && *told; i++) {
            float *row = l->samples + ((size_t)j * SAMPLE + i) * l->width;
            memcpy(row, slab.rows + i * slab.n / SAMPLE * l->width,
                   l->width * sizeof(*row));
            normalise(row, l->width);
        }
        ww_slab_release(&slab);
    }
    return rc;
}

/* Of one layer of the anchor, against all samples. */
static enum ww_err score(const struct layers *l, uint32_t layer,
                         const struct ww_slab *slab, double *scores, struct ww_error *err)
{
    const size_t all = (size_t)l->n * SAMPLE;
    float *dots = ww_calloc(all, slab->n * sizeof(*dots));

    if (!dots) {
        return WW_FAIL_MEMORY(err, "layers");
    }
    for (size_t r = 0; r < slab->n; r++) {
        normalise(slab->rows + r * slab->width, slab->width);
    }
    ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, all, slab->n, l->width, 1, l->samples,
                   l->width, slab->rows, slab->width, 0, dots, slab->n);
    for (size_t s = 0; s < all; s++) {
        double most = 0;
        for (size_t r = 0; r < slab->n; r++) {
            most = fmax(most, (double)dots[s * slab->n + r]);
        }
        scores[s / SAMPLE * l->m + layer] += most / SAMPLE;
    }
    ww_free(dots);
    return WW_OK;
}

static enum ww_err score_all(const struct layers *l, double *scores, bool *told,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(scores, 0, (size_t)l->n * l->m * sizeof(*scores));
    for (uint32_t j = 0; j < l->m && !rc && *told; j++) {
        struct ww_slab slab;
        rc = load(l->layouts[2], NULL, j, &slab, err);
        *told = !rc && slab.rows && slab.width == l->width;
        rc = *told ? score(l, j, &slab, scores, err) : rc;
        ww_slab_release(&slab);
    }
    return rc;
}

static enum ww_err find_stream(struct layers *l, struct ww_error *err)
{
    enum ww_err rc = ww_la_ready(err);

    rc = rc ? rc : ww_pair_init(&l->pair, l->layouts[0], l->layouts[1], err);
    l->paired = !rc;
    return rc ? rc : ww_find_frames(&l->pair, err);
}

enum ww_err ww_attack_layers(const struct ww_model *locked, const struct ww_model *alike,
                             const struct ww_model *anchor, uint32_t n, uint32_t m,
                             double *scores, bool *told, struct ww_error *err)
{
    const struct ww_model *const models[] = {locked, alike, anchor};
    struct layers l = {.n = n, .m = m};
    struct ww_error why = {0};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(models) && !rc; i++) {
        rc = ww_layout_resolve(models[i], NULL, &l.layouts[i], &why);
    }
    rc = rc ? rc : find_stream(&l, &why);
    *told = !rc && l.pair.frame_cosine >= LEAST_FRAME;
    if (!rc && *told) {
        rc = take_samples(&l, told, &why);
    }
    if (!rc && *told) {
        rc = score_all(&l, scores, told, &why);
    }
    if (l.paired) {
        ww_pair_release(&l.pair);
    }
    for (size_t i = 0; i < WW_LEN(l.layouts); i++) {
        ww_layout_free(l.layouts[i]);
    }
    ww_free(l.samples);
    *told = *told && !rc;
    return ww_attack_is_grave(rc) ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
}
