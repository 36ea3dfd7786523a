/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods drop per tensor, so ranks are taken per tensor: a histogram over eighths of
 * octaves, of which the cumulated counts are the ranks. Steps of a narrow dtype make many
 * equal lengths; a bin lies where its middle is.
 */
#include "lineage/keep.h"

#include <math.h>
#include <string.h>

#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BINS 1024
#define PER_OCTAVE 8
#define LEAST_EXPONENT (-100)

#define FIRST 4 /* ranks below may round to nothing whatever was kept */
#define EVEN 0.08
#define ALL 0.97
#define TOP_DROP 0.03
#define NARROW 4 /* ranks that a step may take */
#define KEPT 0.99
#define NOTHING 0.1 /* where all that is short was dropped, no more is left than this */
#define FLOOR 2     /* ranks of a level in front of a step, */
#define ABOVE 3     /* and of the one behind it, at least */

struct histogram {
    uint64_t n[BINS];
    uint64_t kept[BINS];
    uint64_t beside; /* one step from the base */
};

struct keeping {
    const struct ww_family *family;
    const double *shares;
    unsigned n_sources;
    struct histogram *per_tensor;
    double *grams; /* per tensor: [n_sources + 1][n_sources + 1], y first, and a count */
    size_t n_gram;
};

#define CORE_FROM 1.25 /* lengths, in root mean squares of the tile */
#define CORE_TO 2.4

static unsigned bin_of(double v)
{
    int exponent = 0;
    const double mantissa = frexp(v, &exponent); /* 0.5 <= mantissa < 1 */
    const int bin = (exponent - LEAST_EXPONENT) * PER_OCTAVE +
                    (int)((mantissa - 0.5) * 2 * PER_OCTAVE);

    return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : (unsigned)bin;
}

/* Is every source that has a share in the core, on one side? */
static bool in_core(const struct keeping *k, const struct ww_moments_tile *tile,
                    const double *rms, size_t e)
{
    const double *base = tile->columns + WW_MOMENTS_TILE;
    bool plus = false;
    bool minus = false;

    for (unsigned i = 0; i < k->n_sources; i++) {
        const double x = tile->columns[(size_t)(i + 2) * WW_MOMENTS_TILE + e] - base[e];
        const double length = fabs(x);
        if (k->shares[i] != 0 &&
            (length < CORE_FROM * rms[i] || length > CORE_TO * rms[i])) {
            return false;
        }
        plus |= k->shares[i] * x > 0;
        minus |= k->shares[i] * x < 0;
    }
    return plus != minus && tile->columns[e] != base[e];
}

static void add_core(const struct keeping *k, const struct ww_moments_tile *tile,
                     size_t n, enum ww_dtype grid, double *gram)
{
    const double *base = tile->columns + WW_MOMENTS_TILE;
    const unsigned size = k->n_sources + 1;
    double rms[WW_LINEAGE_MAX_SOURCES];
    double z[WW_LINEAGE_MAX_SOURCES + 1];

    for (unsigned i = 0; i < k->n_sources; i++) {
        const double *x = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE;
        double sum = 0;
        for (size_t e = 0; e < n; e++) {
            sum += (x[e] - base[e]) * (x[e] - base[e]);
        }
        rms[i] = sqrt(sum / (double)n);
    }
    for (size_t e = 0; e < n; e++) {
        if (!in_core(k, tile, rms, e)) {
            continue;
        }
        /* Rounding of the suspect is the noise: finer steps weigh more. */
        const double weight = ldexp(
            1, -2 * ww_moments_step(fmax(fabs(tile->columns[e]), fabs(base[e])), grid));
        z[0] = tile->columns[e] - base[e];
        for (unsigned i = 0; i < k->n_sources; i++) {
            z[i + 1] = tile->columns[(size_t)(i + 2) * WW_MOMENTS_TILE + e] - base[e];
        }
        for (unsigned i = 0; i < size; i++) {
            for (unsigned j = 0; j < size; j++) {
                gram[i * size + j] += weight * z[i] * z[j];
            }
        }
    }
}

static double side_of(const struct keeping *k, unsigned source)
{
    return k->shares[source] < 0 ? -1 : 1;
}

/* Least squares over the core of all tensors, each weight on its share's side. */
static void solve_core(const struct keeping *k, uint32_t n_tensors, struct ww_keep *out)
{
    const unsigned size = k->n_sources + 1;
    double xx[WW_LINEAGE_MAX_SOURCES * WW_LINEAGE_MAX_SOURCES];
    double xy[WW_LINEAGE_MAX_SOURCES];
    bool use[WW_LINEAGE_MAX_SOURCES];
    double *sum = k->grams;

    for (uint32_t t = 1; t < n_tensors; t++) {
        for (size_t i = 0; i < k->n_gram; i++) {
            sum[i] += k->grams[t * k->n_gram + i];
        }
    }
    for (unsigned i = 0; i < k->n_sources; i++) {
        use[i] = k->shares[i] != 0;
        xy[i] = side_of(k, i) * sum[i + 1];
        for (unsigned j = 0; j < k->n_sources; j++) {
            xx[i * k->n_sources + j] =
                side_of(k, i) * side_of(k, j) * sum[(i + 1) * size + j + 1];
        }
    }
    ww_nnls(xx, k->n_sources, xy, k->n_sources, use, out->core);
    for (unsigned i = 0; i < k->n_sources; i++) {
        out->core[i] *= side_of(k, i);
    }
}

/* The next value of the grid; below a power of two that is half a step away. What lies
 * between, since the suspect's dtype is finer, was not rounded to the grid. */
static bool is_beside(double suspect, double base, enum ww_dtype grid)
{
    const double off = fabs(suspect - base);
    const double step =
        off > 0 ? ldexp(1, ww_moments_step(fmax(fabs(suspect), fabs(base)), grid)) : 0;

    return off > 0 && (off == step || off == step / 2);
}

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    const struct keeping *k = payload;
    const double *suspect = tile->columns;
    const double *base = tile->columns + WW_MOMENTS_TILE;
    const enum ww_dtype grid = k->family->tensors[tensor].grid;
    struct histogram *h = &k->per_tensor[tensor];
    (void)err;

    for (size_t e = 0; e < n; e++) {
        double longest = 0;
        for (unsigned i = 0; i < k->n_sources; i++) {
            const double *x = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE;
            const double v = fabs(k->shares[i] * (x[e] - base[e]));
            longest = v > longest ? v : longest;
        }
        if (longest > 0) {
            const unsigned b = bin_of(longest);
            h->n[b]++;
            h->kept[b] += suspect[e] != base[e];
            h->beside += is_beside(suspect[e], base[e], grid);
        }
    }
    add_core(k, tile, n, grid, k->grams + tensor * k->n_gram);
    return WW_OK;
}

/* A bin's elements are spread over the ranks that it covers. */
static void spread(const struct histogram *h, double *n, double *kept)
{
    double total = 0;
    double at = 0;

    for (unsigned b = 0; b < BINS; b++) {
        total += (double)h->n[b];
    }
    for (unsigned b = 0; b < BINS && total > 0; b++) {
        const double from = at / total * WW_KEEP_RANKS;
        const double to = (at + (double)h->n[b]) / total * WW_KEEP_RANKS;
        for (unsigned r = (unsigned)from; h->n[b] && r < WW_KEEP_RANKS && r < to; r++) {
            const double part = (fmin(to, r + 1.0) - fmax(from, (double)r)) / (to - from);
            n[r] += part * (double)h->n[b];
            kept[r] += part * (double)h->kept[b];
        }
        at += (double)h->n[b];
    }
}

static double dropped(const struct histogram *per_tensor, uint32_t n_tensors)
{
    double all = 0;
    double stayed = 0;

    for (uint32_t t = 0; t < n_tensors; t++) {
        for (unsigned b = 0; b < BINS; b++) {
            all += (double)per_tensor[t].n[b];
            stayed += (double)(per_tensor[t].n[b] - per_tensor[t].kept[b]);
        }
        stayed -= (double)per_tensor[t].beside / 2;
    }
    return all > 0 ? stayed / all : 0;
}

enum ww_err ww_keep_measure(const struct ww_family *family, const double *shares,
                            const bool *use, const struct ww_run_options *run,
                            struct ww_keep *out, uint64_t *bytes_read,
                            struct ww_error *err)
{
    const unsigned n_sources = family->n_models - WW_FAMILY_SOURCES;
    struct keeping k = {.family = family,
                        .shares = shares,
                        .n_sources = n_sources,
                        .n_gram = (size_t)(n_sources + 1) * (n_sources + 1)};
    const struct ww_sweep_ask ask = {.phase = "method", .use = use, .in_part = true};
    double n[WW_KEEP_RANKS] = {0};
    double kept[WW_KEEP_RANKS] = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    k.per_tensor = ww_calloc(family->n_tensors, sizeof(*k.per_tensor));
    k.grams = ww_calloc(family->n_tensors * k.n_gram, sizeof(*k.grams));
    if (!k.per_tensor || !k.grams) {
        rc = WW_FAIL_MEMORY(err, "keep rates");
        goto out;
    }
    rc = ww_sweep(family, &ask, run, visit, &k, bytes_read, err);
    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        spread(&k.per_tensor[t], n, kept);
    }
    for (unsigned r = 0; r < WW_KEEP_RANKS; r++) {
        out->rate[r] = n[r] > 0 ? kept[r] / n[r] : 0;
    }
    if (!rc) {
        out->dropped = dropped(k.per_tensor, family->n_tensors);
        solve_core(&k, family->n_tensors, out);
    }
out:
    ww_free(k.per_tensor);
    ww_free(k.grams);
    return rc;
}

/* A step between two levels. Who cuts by length drops what is short, whatever another
 * source adds there is of lengths that have nothing to do with it. */
static bool has_floor(const double *r)
{
    unsigned top = WW_KEEP_RANKS;
    unsigned flat = FIRST;
    double least = r[FIRST];
    double most = r[FIRST];

    while (top > FIRST && r[top - 1] >= KEPT) {
        top--;
    }
    for (; flat < top; flat++) {
        least = fmin(least, r[flat]);
        most = fmax(most, r[flat]);
        if (most - least >= EVEN) {
            break;
        }
    }
    return top + ABOVE <= WW_KEEP_RANKS && flat >= FIRST + FLOOR && top - flat <= NARROW;
}

/* Who cuts by length leaves next to nothing of the shortest. */
static enum ww_keep_shape unless_floor(const double *r, enum ww_keep_shape shape)
{
    return r[0] > NOTHING ? WW_KEEP_FLOOR : shape;
}

enum ww_keep_shape ww_keep_shape(const struct ww_keep *keep)
{
    const double *r = keep->rate;
    const unsigned last = WW_KEEP_RANKS - 1;
    double least = r[FIRST];
    double most = r[FIRST];
    unsigned between = 0;

    for (unsigned i = FIRST; i < last; i++) {
        least = fmin(least, r[i]);
        most = fmax(most, r[i]);
    }
    for (unsigned i = 0; i < last; i++) {
        between += r[i] > NOTHING && r[i] < 1 - NOTHING;
    }
    if (r[last] < r[last - 1] - TOP_DROP) {
        return unless_floor(r, WW_KEEP_BAND);
    }
    if (most - least < EVEN) {
        return least < ALL  ? WW_KEEP_FLAT
               : r[0] < 0.5 ? unless_floor(r, WW_KEEP_STEP)
                            : WW_KEEP_ALL;
    }
    if (between <= NARROW) {
        return unless_floor(r, WW_KEEP_STEP);
    }
    return has_floor(r) ? WW_KEEP_FLOOR : WW_KEEP_RAMP;
}
