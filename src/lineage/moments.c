/* SPDX-License-Identifier: Apache-2.0 */
/* Accumulation: sort a tile by step, then dot products of contiguous columns in a fixed
 * order. */
#include "lineage/moments.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define LANES 8

static enum ww_err no_memory(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NOMEM, "out of memory for sums of products");
}

struct ww_moments *ww_moments_new(unsigned k)
{
    struct ww_moments *moments = ww_calloc(1, sizeof(*moments));

    if (moments) {
        moments->k = k;
    }
    return moments;
}

void ww_moments_free(struct ww_moments *moments)
{
    for (unsigned b = 0; moments && b < WW_MOMENTS_BINS; b++) {
        ww_free(moments->bins[b]);
    }
    ww_free(moments);
}

/* One block holds the bin and both of its arrays. */
static struct ww_moments_bin *bin_of(struct ww_moments *moments, unsigned b)
{
    const size_t n_z = (size_t)(moments->k + 1) * (moments->k + 1);
    struct ww_moments_bin *bin = moments->bins[b];

    if (!bin) {
        bin = ww_calloc(1, sizeof(*bin) + (n_z + moments->k) * sizeof(double));
        if (bin) {
            bin->z = (double *)(bin + 1);
            bin->q = bin->z + n_z;
            moments->bins[b] = bin;
        }
    }
    return bin;
}

enum ww_err ww_moments_add(struct ww_moments *into, const struct ww_moments *from,
                           double times, struct ww_error *err)
{
    const size_t n_z = (size_t)(into->k + 1) * (into->k + 1);

    into->pruned += (uint64_t)times * from->pruned;
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *src = from->bins[b];
        struct ww_moments_bin *dst = src ? bin_of(into, b) : NULL;
        if (!src) {
            continue;
        }
        if (!dst) {
            return no_memory(err);
        }
        dst->n += (uint64_t)times * src->n;
        dst->steps += times * src->steps;
        for (size_t i = 0; i < n_z; i++) {
            dst->z[i] += times * src->z[i];
        }
        for (unsigned i = 0; i < into->k; i++) {
            dst->q[i] += times * src->q[i];
        }
    }
    return WW_OK;
}

enum ww_err ww_moments_tile_init(struct ww_moments_tile *tile, unsigned k,
                                 struct ww_error *err)
{
    tile->columns =
        ww_alloc_aligned(64, (size_t)(k + 2) * WW_MOMENTS_TILE * sizeof(double));
    tile->sorted =
        ww_alloc_aligned(64, (size_t)(k + 1) * WW_MOMENTS_TILE * sizeof(double));
    tile->steps = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
    tile->bin = ww_calloc(WW_MOMENTS_TILE, sizeof(*tile->bin));
    tile->order = ww_calloc(WW_MOMENTS_TILE, sizeof(*tile->order));
    return tile->columns && tile->sorted && tile->steps && tile->bin && tile->order
               ? WW_OK
               : no_memory(err);
}

void ww_moments_tile_release(struct ww_moments_tile *tile)
{
    ww_free(tile->columns);
    ww_free(tile->sorted);
    ww_free(tile->steps);
    ww_free(tile->bin);
    ww_free(tile->order);
    memset(tile, 0, sizeof(*tile));
}

int ww_moments_step(double v, enum ww_dtype dtype)
{
    static const struct {
        int mantissa;
        int least;
    } formats[WW_DTYPE_COUNT] = {[WW_DTYPE_BF16] = {7, -126},
                                 [WW_DTYPE_F16] = {10, -14},
                                 [WW_DTYPE_F32] = {23, -126},
                                 [WW_DTYPE_F64] = {23, -126}};
    uint64_t bits = 0;
    int exponent = 0;

    memcpy(&bits, &v, sizeof(bits));
    exponent = (int)(bits >> 52 & 2047) - 1023;
    if (exponent < formats[dtype].least) {
        exponent = formats[dtype].least;
    }
    return exponent - formats[dtype].mantissa;
}

static inline double magnitude(double v)
{
    return v < 0 ? -v : v;
}

/* 2^e for the exponents that steps have. */
static double power(int e)
{
    const uint64_t bits = (uint64_t)(e + 1023) << 52;
    double v = 0;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static int exponent_of(double v)
{
    uint64_t bits = 0;

    memcpy(&bits, &v, sizeof(bits));
    return (int)(bits >> 52 & 2047) - 1023;
}

/* The largest value decides the grid's step, the longest task vector whether the element
 * is used. A block's step, where it is the longer one, decides the bin: what lies below
 * it was rounded away afterwards, evenly. Leaves differences in place of values. */
static uint64_t classify(struct ww_moments_tile *tile, unsigned k, size_t n,
                         enum ww_dtype dtype)
{
    uint64_t n_pruned = 0;
    double *y = tile->columns;
    const double *base = tile->columns + WW_MOMENTS_TILE;

    for (size_t e = 0; e < n; e++) {
        double largest = magnitude(base[e]);
        double longest = 0;
        double block = tile->has_steps ? tile->steps[e] : 0;
        const bool pruned = ww_moments_pruned(y[e], base[e], tile->has_steps);
        int step = 0;
        int bin = 0;
        for (unsigned i = 0; i < k; i++) {
            double *x = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE + e;
            largest = magnitude(*x) > largest ? magnitude(*x) : largest;
            *x -= base[e];
            longest = magnitude(*x) > longest ? magnitude(*x) : longest;
        }
        y[e] -= base[e];
        step = ww_moments_step(largest, dtype);
        block = block > power(step) ? block : power(step);
        bin = exponent_of(block) + WW_MOMENTS_BIN_BIAS;
        tile->steps[e] = block;
        tile->bin[e] = longest > 0 && longest >= WW_MOMENTS_STEPS * power(step) &&
                               bin > 0 && bin < WW_MOMENTS_BINS && !pruned
                           ? (uint8_t)bin
                           : 0;
        n_pruned += pruned;
    }
    return n_pruned;
}

static double dot(const double *a, const double *b, size_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) {
            lane[l] += a[i + l] * b[i + l];
        }
    }
    for (unsigned l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static double fourth(const double *a, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const double square = a[i] * a[i];
        sum += square * square;
    }
    return sum;
}

static void add_bin(struct ww_moments_bin *bin, const struct ww_moments_tile *tile,
                    unsigned k, size_t first, size_t n)
{
    const double *columns = tile->sorted + first;

    bin->n += n;
    for (size_t i = 0; i < n; i++) {
        const double step = tile->steps[tile->order[first + i]];
        bin->steps += step * step;
    }
    for (unsigned p = 0; p <= k; p++) {
        for (unsigned q = p; q <= k; q++) {
            const double sum = dot(columns + (size_t)p * WW_MOMENTS_TILE,
                                   columns + (size_t)q * WW_MOMENTS_TILE, n);
            bin->z[p * (k + 1) + q] += sum;
            if (p != q) {
                bin->z[q * (k + 1) + p] += sum;
            }
        }
        if (p > 0) {
            bin->q[p - 1] += fourth(columns + (size_t)p * WW_MOMENTS_TILE, n);
        }
    }
}

/* Counting sort, stable, so that sums run in the order of elements. */
static size_t sort(struct ww_moments_tile *tile, size_t n,
                   uint32_t first[WW_MOMENTS_BINS + 1])
{
    uint32_t count[WW_MOMENTS_BINS] = {0};
    uint32_t at = 0;

    for (size_t e = 0; e < n; e++) {
        count[tile->bin[e]]++;
    }
    count[0] = 0;
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        first[b] = at;
        at += count[b];
        count[b] = first[b];
    }
    first[WW_MOMENTS_BINS] = at;
    for (size_t e = 0; e < n; e++) {
        if (tile->bin[e]) {
            tile->order[count[tile->bin[e]]++] = (uint32_t)e;
        }
    }
    return at;
}

enum ww_err ww_moments_accumulate(struct ww_moments *moments,
                                  struct ww_moments_tile *tile, size_t n,
                                  enum ww_dtype dtype, struct ww_error *err)
{
    uint32_t first[WW_MOMENTS_BINS + 1];
    size_t used = 0;

    moments->pruned += classify(tile, moments->k, n, dtype);
    used = sort(tile, n, first);
    for (unsigned p = 0; p <= moments->k; p++) {
        /* The base's own column is not among the differences. */
        const double *from = tile->columns + (size_t)(p ? p + 1 : 0) * WW_MOMENTS_TILE;
        double *to = tile->sorted + (size_t)p * WW_MOMENTS_TILE;
        for (size_t i = 0; i < used; i++) {
            to[i] = from[tile->order[i]];
        }
    }
    for (unsigned b = 1; b < WW_MOMENTS_BINS; b++) {
        struct ww_moments_bin *bin = NULL;
        if (first[b + 1] == first[b]) {
            continue;
        }
        bin = bin_of(moments, b);
        if (!bin) {
            return no_memory(err);
        }
        add_bin(bin, tile, moments->k, first[b], first[b + 1] - first[b]);
    }
    return WW_OK;
}
