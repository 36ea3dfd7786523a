/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second reading. A recipe that is right gives the suspect's bits again, one that is
 * wrong does not, and what rounding the blend costs is the ceiling of any explanation.
 */
#include "lineage/replay.h"

#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

struct replaying {
    const struct ww_family *family;
    const double *shares;
    const double *own; /* shares per tensor, NULL: none */
    struct ww_replay *per_tensor;
};

/* sorted[1] = sorted[0] through the suspect's dtype and back. What is narrower than a
 * double is put down in the order array in between. */
static void round_to(enum ww_dtype dtype, struct ww_moments_tile *tile, size_t n)
{
    double *rounded = tile->sorted + WW_MOMENTS_TILE;

    if (dtype == WW_DTYPE_F64) {
        memcpy(rounded, tile->sorted, n * sizeof(*rounded));
        return;
    }
    ww_from_double(dtype, tile->sorted, tile->order, n);
    ww_to_double(dtype, tile->order, rounded, n);
}

static double rounded_to(enum ww_dtype dtype, double v)
{
    uint64_t bits = 0;
    double out = v;

    if (dtype != WW_DTYPE_F64) {
        ww_from_double(dtype, &v, &bits, 1);
        ww_to_double(dtype, &bits, &out, 1);
    }
    return out;
}

/* What becomes of the blend in a suspect that was stored more finely than the weights it
 * came from: a suspect that still lies on their grid was rounded to it before. */
static void round_to_grid(enum ww_dtype grid, struct ww_moments_tile *tile, size_t n)
{
    double *rounded = tile->sorted + WW_MOMENTS_TILE;

    for (size_t e = 0; e < n; e++) {
        if (tile->columns[e] == rounded_to(grid, tile->columns[e])) {
            rounded[e] = rounded_to(grid, tile->sorted[e]);
        }
    }
}

/* The blend goes into the sorted columns: [0] before, [1] after rounding; families have
 * two columns at least, base and a source. */
static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    const struct replaying *r = payload;
    const struct ww_family *family = r->family;
    const struct ww_model *model = family->models[WW_FAMILY_SUSPECT];
    const struct ww_tensor *t =
        &model->tensors[family->tensors[tensor].index[WW_FAMILY_SUSPECT]];
    const enum ww_dtype dtype = t->dtype;
    const bool matrix = t->rank >= 2;
    struct ww_replay *sum = &r->per_tensor[tensor];
    const unsigned n_sources = family->n_models - WW_FAMILY_SOURCES;
    const double *shares = r->own ? r->own + (size_t)tensor * n_sources : r->shares;
    const double *suspect = tile->columns;
    const double *base = tile->columns + WW_MOMENTS_TILE;
    double *blend = tile->sorted;
    const double *rounded = tile->sorted + WW_MOMENTS_TILE;

    (void)err;
    memset(tile->bin, 0, n);
    memcpy(blend, base, n * sizeof(*blend));
    for (unsigned i = 0; i < n_sources; i++) {
        const double *source = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE;
        if (shares[i] <= 0) {
            continue;
        }
        for (size_t e = 0; e < n; e++) {
            const double x = source[e] - base[e];
            blend[e] += shares[i] * x;
            tile->bin[e] |= x != 0;
        }
    }
    round_to(dtype, tile, n);
    if (ww_family_grid(family, tensor) != dtype) {
        round_to_grid(ww_family_grid(family, tensor), tile, n);
    }
    for (size_t e = 0; e < n; e++) {
        const double y = suspect[e] - base[e];
        const double miss = suspect[e] - blend[e];
        const double block = tile->has_steps ? tile->steps[e] : 0;
        const double step = rounded[e] - blend[e];
        if (ww_moments_pruned(suspect[e], base[e], tile->has_steps)) {
            continue;
        }
        if (matrix) {
            sum->base += base[e] * base[e];
            sum->suspect += suspect[e] * suspect[e];
            sum->both += suspect[e] * base[e];
        }
        sum->total += y * y;
        sum->residual += miss * miss;
        sum->floor += block > 0 ? block * block / 12 : step * step;
        if (tile->bin[e]) {
            sum->moved++;
            sum->same += block == 0 && suspect[e] == rounded[e];
            sum->left += y != 0;
        }
    }
    return WW_OK;
}

enum ww_err ww_replay_blend(const struct ww_family *family, const double *shares,
                            const double *per_tensor, const bool *use,
                            const struct ww_run_options *run, struct ww_replay *out,
                            struct ww_replay *each, uint64_t *bytes_read,
                            struct ww_error *err)
{
    struct replaying r = {family, shares, per_tensor,
                          ww_calloc(family->n_tensors, sizeof(struct ww_replay))};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!r.per_tensor) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for a replay");
    }
    rc = ww_sweep(family, "replay", use, run, visit, &r, bytes_read, err);
    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        const struct ww_replay *one = &r.per_tensor[t];
        out->moved += one->moved;
        out->same += one->same;
        out->left += one->left;
        out->base += one->base;
        out->suspect += one->suspect;
        out->both += one->both;
        out->total += one->total;
        out->residual += one->residual;
        out->floor += one->floor;
        if (each) {
            each[t] = *one;
        }
    }
    ww_free(r.per_tensor);
    return rc;
}
