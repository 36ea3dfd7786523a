/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second reading. A recipe that is right gives the suspect's bits again, one that is
 * wrong does not, and what rounding the blend costs is the ceiling of any explanation.
 */
#include "lineage/replay.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"

/* Steps at least by which an element misses what narrow arithmetic makes of the sum:
 * products, weights and the sum are rounded by half a step each. */
#define FAR 3

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
 * came from: a suspect that still lies on their grid was rounded to it before, as one
 * that was rounded in blocks mostly was. */
static void round_to_grid(enum ww_dtype grid, struct ww_moments_tile *tile, size_t n)
{
    double *rounded = tile->sorted + WW_MOMENTS_TILE;

    for (size_t e = 0; e < n; e++) {
        const bool before_blocks = tile->has_steps && tile->steps[e] > 0;
        if (before_blocks || tile->columns[e] == rounded_to(grid, tile->columns[e])) {
            rounded[e] = rounded_to(grid, tile->sorted[e]);
        }
    }
}

/* The blend before rounding, and all ones where a source with a share moves it. */
WW_CLONES static void add_share(const double *base, const double *source, double share,
                                size_t n, double *blend, int64_t *moved)
{
    for (size_t e = 0; e < n; e++) {
        const double x = source[e] - base[e];
        blend[e] += share * x;
        moved[e] |= -(int64_t)(x != 0);
    }
}

/* Columns of a tile that is compared. */
struct columns {
    const double *suspect;
    const double *base;
    const double *blend;
    const double *rounded;
    const double *steps;  /* NULL: the suspect was not rounded in blocks */
    const int64_t *moved; /* all ones or 0 */
    const double *low;    /* with steps: cells of the suspect's values; NULL: not known */
    const double *high;
    double far; /* part of a value by which no arithmetic misses it */
    size_t n;
};

/* Partial sums, so that vector units add in the order that is written here. */
#define LANES 8
struct lanes {
    double base[LANES];
    double suspect[LANES];
    double both[LANES];
    double total[LANES];
    double residual[LANES];
    double floor[LANES];
    int64_t moved[LANES];
    int64_t same[LANES];
    int64_t left[LANES];
    int64_t would[LANES];
    int64_t off[LANES];
    int64_t apart[LANES];
    int64_t read[LANES];
};

/* LANES elements or fewer; a pruned one adds nothing. */
static inline __attribute__((always_inline)) void
add_lanes(struct lanes *sum, const struct columns *c, size_t at, unsigned n)
{
    for (unsigned l = 0; l < n; l++) {
        const double s = c->suspect[at + l];
        const double b = c->base[at + l];
        const double p = c->blend[at + l];
        const double r = c->rounded[at + l];
        const int64_t counts = -(int64_t)!ww_moments_pruned(s, b, false);
        const int64_t moved = c->moved[at + l] & counts;
        sum->would[l] -= moved & -(int64_t)(r != b);
        const double y = counts ? s - b : 0;
        const double miss = counts ? s - p : 0;
        const double step = counts ? r - p : 0;
        const double weight = counts ? b : 0;
        sum->base[l] += weight * weight;
        sum->suspect[l] += s * s; /* a pruned one is zero */
        sum->both[l] += s * b;
        sum->total[l] += y * y;
        sum->residual[l] += miss * miss;
        sum->floor[l] += step * step;
        sum->moved[l] -= moved;
        sum->same[l] -= moved & -(int64_t)(s == r);
        sum->left[l] -= moved & -(int64_t)(s != b);
        const int64_t far = counts & -(int64_t)(fabs(s - r) > c->far * fabs(r));
        sum->off[l] -= moved & far;
        sum->apart[l] -= ~moved & far;
        sum->read[l] -= counts;
    }
}

WW_CLONES static void add_plain(struct lanes *sum, const struct columns *c)
{
    size_t e = 0;

    for (; e + LANES <= c->n; e += LANES) {
        add_lanes(sum, c, e, LANES);
    }
    add_lanes(sum, c, e, (unsigned)(c->n - e));
}

/* Root of the mean square of the base's weights. */
static double size_of(const struct columns *c)
{
    double sum = 0;

    for (size_t e = 0; e < c->n; e++) {
        sum += c->base[e] * c->base[e];
    }
    return c->n ? sqrt(sum / (double)c->n) : 0;
}

/* What rounding the blend to the suspect's blocks leaves, squared. A blend in the cell of
 * the suspect's value would have become that value. One outside would have become another
 * of the block's, whole steps away. */
static double block_floor(const struct columns *c, size_t e)
{
    const double step = c->steps[e];
    const double miss = c->suspect[e] - c->blend[e];
    const double p = c->rounded[e];

    if (!c->low) {
        return step * step / 12;
    }
    if (p >= c->low[e] && p <= c->high[e]) {
        return miss * miss;
    }
    const double rest = miss - step * nearbyint(miss / step);
    return rest * rest;
}

/* What a block's rounding step says takes the place of the grid's; bits say nothing. A
 * step as long as weights are left nothing of them: a lock under the blocks had made them
 * shorter than those beside them. */
static void add_in_blocks(struct lanes *sum, const struct columns *c)
{
    const double longest = size_of(c);

    for (size_t e = 0; e < c->n; e++) {
        if (c->steps[e] > longest) {
            continue;
        }
        const double y = c->suspect[e] - c->base[e];
        const double miss = c->suspect[e] - c->blend[e];
        const double block = c->steps[e];
        const double step = c->rounded[e] - c->blend[e];
        sum->base[0] += c->base[e] * c->base[e];
        sum->suspect[0] += c->suspect[e] * c->suspect[e];
        sum->both[0] += c->suspect[e] * c->base[e];
        sum->total[0] += y * y;
        sum->residual[0] += miss * miss;
        sum->floor[0] += block > 0 ? block_floor(c, e) : step * step;
        sum->moved[0] -= c->moved[e];
        sum->same[0] -=
            c->moved[e] & -(int64_t)(block <= 0 && c->suspect[e] == c->rounded[e]);
        sum->left[0] -= c->moved[e] & -(int64_t)(y != 0);
        sum->would[0] -= c->moved[e];
    }
}

static void add_up(struct ww_replay *to, const struct lanes *sum, bool matrix)
{
    for (unsigned l = 0; l < LANES; l++) {
        to->base += matrix ? sum->base[l] : 0;
        to->suspect += matrix ? sum->suspect[l] : 0;
        to->both += matrix ? sum->both[l] : 0;
        to->total += sum->total[l];
        to->residual += sum->residual[l];
        to->floor += sum->floor[l];
        to->moved += (uint64_t)sum->moved[l];
        to->same += (uint64_t)sum->same[l];
        to->left += (uint64_t)sum->left[l];
        to->would += (uint64_t)sum->would[l];
        to->off += (uint64_t)sum->off[l];
        to->apart += (uint64_t)sum->apart[l];
        to->read += (uint64_t)sum->read[l];
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
    const unsigned n_sources = family->n_models - WW_FAMILY_SOURCES;
    const double *shares = r->own ? r->own + (size_t)tensor * n_sources : r->shares;
    const double *base = tile->columns + WW_MOMENTS_TILE;
    int64_t *moved = tile->moved;
    const struct columns columns = {
        tile->columns,
        base,
        tile->sorted,
        tile->sorted + WW_MOMENTS_TILE,
        tile->has_steps ? tile->steps : NULL,
        moved,
        tile->has_cells ? tile->low : NULL,
        tile->has_cells ? tile->high : NULL,
        ldexp(FAR, ww_moments_step(1, family->tensors[tensor].grid)),
        n};
    struct lanes sum = {.base = {0}};

    (void)err;
    memset(moved, 0, n * sizeof(*moved));
    memcpy(tile->sorted, base, n * sizeof(*base));
    for (unsigned i = 0; i < n_sources; i++) {
        if (shares[i] != 0) {
            add_share(base, tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE, shares[i],
                      n, tile->sorted, moved);
        }
    }
    round_to(t->dtype, tile, n);
    if (family->tensors[tensor].grid != t->dtype) {
        round_to_grid(family->tensors[tensor].grid, tile, n);
    }
    if (columns.steps) {
        add_in_blocks(&sum, &columns);
    } else {
        add_plain(&sum, &columns);
    }
    add_up(&r->per_tensor[tensor], &sum,
           t->rank >= 2 && t->n_elements > t->shape[t->rank - 1]);
    return WW_OK;
}

/* Sources without a share anywhere need not be read. */
static void find_moving(const struct replaying *r, bool moving[WW_LINEAGE_MAX_SOURCES])
{
    const unsigned n = r->family->n_models - WW_FAMILY_SOURCES;

    for (unsigned i = 0; i < n; i++) {
        moving[i] = !r->own && r->shares[i] != 0;
        for (uint32_t t = 0; r->own && t < r->family->n_tensors && !moving[i]; t++) {
            moving[i] = r->own[(size_t)t * n + i] != 0;
        }
    }
}

enum ww_err ww_replay_blend(const struct ww_family *family, const double *shares,
                            const double *per_tensor, const bool *use,
                            const struct ww_run_options *run, struct ww_replay *out,
                            struct ww_replay *each, uint64_t *bytes_read,
                            struct ww_error *err)
{
    struct replaying r = {family, shares, per_tensor,
                          ww_calloc(family->n_tensors, sizeof(struct ww_replay))};
    bool moving[WW_LINEAGE_MAX_SOURCES];
    const struct ww_sweep_ask ask = {
        .phase = "replay", .use = use, .sources = moving, .cells = true, .in_part = true};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!r.per_tensor) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    find_moving(&r, moving);
    rc = ww_sweep(family, &ask, run, visit, &r, bytes_read, err);
    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        const struct ww_replay *one = &r.per_tensor[t];
        out->moved += one->moved;
        out->same += one->same;
        out->left += one->left;
        out->would += one->would;
        out->off += one->off;
        out->apart += one->apart;
        out->read += one->read;
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
