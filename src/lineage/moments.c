/* SPDX-License-Identifier: Apache-2.0 */
/* Accumulation: sort a tile by step, then dot products of contiguous columns in a fixed
 * order. */
#include "lineage/moments_work.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

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

static size_t size_of_z(unsigned k)
{
    return (size_t)(k + 1) * (k + 1);
}

/* One block holds the bin and its arrays. */
static struct ww_moments_bin *bin_of(struct ww_moments *moments, unsigned b)
{
    const size_t n_z = size_of_z(moments->k);
    const size_t n_all = n_z + moments->k + moments->k + 2;
    struct ww_moments_bin *bin = moments->bins[b];

    if (!bin) {
        bin = ww_calloc(1, sizeof(*bin) + n_all * sizeof(double));
        if (bin) {
            bin->z = (double *)(bin + 1);
            bin->q = bin->z + n_z;
            bin->base = bin->q + moments->k;
            moments->bins[b] = bin;
        }
    }
    return bin;
}

enum ww_err ww_moments_add(struct ww_moments *into, const struct ww_moments *from,
                           double times, struct ww_error *err)
{
    const size_t n_z = size_of_z(into->k);

    into->pruned += (uint64_t)times * from->pruned;
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *src = from->bins[b];
        struct ww_moments_bin *dst = src ? bin_of(into, b) : NULL;
        if (!src) {
            continue;
        }
        if (!dst) {
            return WW_FAIL_MEMORY(err, "sums of products");
        }
        dst->n += (uint64_t)times * src->n;
        dst->coarse += (uint64_t)times * src->coarse;
        dst->steps += times * src->steps;
        for (size_t i = 0; i < n_z; i++) {
            dst->z[i] += times * src->z[i];
        }
        for (unsigned i = 0; i < into->k; i++) {
            dst->q[i] += times * src->q[i];
        }
        for (unsigned i = 0; i < into->k + 2; i++) {
            dst->base[i] += times * src->base[i];
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
        ww_alloc_aligned(64, (size_t)(k + 2) * WW_MOMENTS_TILE * sizeof(double));
    tile->steps = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
    tile->low = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
    tile->high = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
    tile->stored = ww_calloc(k + (size_t)2, sizeof(*tile->stored));
    tile->bin = ww_calloc(WW_MOMENTS_TILE + 8, sizeof(*tile->bin));
    tile->order = ww_calloc(WW_MOMENTS_TILE, sizeof(*tile->order));
    tile->picked = ww_calloc(WW_MOMENTS_TILE, sizeof(*tile->picked));
    tile->place = ww_calloc(WW_MOMENTS_TILE, sizeof(*tile->place));
    tile->moved = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(*tile->moved));
    tile->decides = NULL;
    tile->beside = 0;
    return tile->columns && tile->sorted && tile->steps && tile->low && tile->high &&
                   tile->stored && tile->bin && tile->picked && tile->place &&
                   tile->order && tile->moved
               ? WW_OK
               : WW_FAIL_MEMORY(err, "sums of products");
}

void ww_moments_tile_release(struct ww_moments_tile *tile)
{
    ww_free(tile->columns);
    ww_free(tile->sorted);
    ww_free(tile->steps);
    ww_free(tile->low);
    ww_free(tile->high);
    ww_free(tile->stored);
    ww_free(tile->bin);
    ww_free(tile->picked);
    ww_free(tile->place);
    ww_free(tile->order);
    ww_free(tile->moved);
    memset(tile, 0, sizeof(*tile));
}

static const struct ww_moments_format formats[WW_DTYPE_COUNT] = {
    [WW_DTYPE_BF16] = {7, -126},
    [WW_DTYPE_F16] = {10, -14},
    [WW_DTYPE_F32] = {23, -126},
    [WW_DTYPE_F64] = {23, -126}};

struct ww_moments_format ww_moments_format(enum ww_dtype dtype)
{
    return formats[dtype];
}

int ww_moments_step(double v, enum ww_dtype dtype)
{
    uint64_t bits = 0;
    int exponent = 0;

    memcpy(&bits, &v, sizeof(bits));
    exponent = (int)(bits >> 52 & 2047) - 1023;
    if (exponent < formats[dtype].least) {
        exponent = formats[dtype].least;
    }
    return exponent - formats[dtype].mantissa;
}

static void add_steps(struct ww_moments_bin *bin, const struct ww_moments_tile *tile,
                      unsigned b, size_t first, size_t n)
{
    const double step = ww_moments_power((int)b - WW_MOMENTS_BIN_BIAS);
    double sum = 0;

    if (!tile->has_steps) {
        bin->steps += (double)n * (step * step);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const double of = tile->steps[tile->order[first + i]];
        sum += of * of;
        bin->coarse += of > 0;
    }
    bin->steps += sum;
}

static void add_bin(struct ww_moments_bin *bin, const struct ww_moments_tile *tile,
                    unsigned k, size_t first, size_t n)
{
    const double *columns = tile->sorted + first;

    bin->n += n;
    for (unsigned p = 0; p <= k; p++) {
        const double *a = columns + (size_t)p * WW_MOMENTS_TILE;
        double sums[WW_LINEAGE_MAX_SOURCES + 1];
        memset(sums, 0, (k + 1 - p) * sizeof(*sums));
        ww_moments_products(a, a, k + 1 - p, n, sums);
        for (unsigned q = p; q <= k; q++) {
            bin->z[p * (k + 1) + q] += sums[q - p];
            if (p != q) {
                bin->z[q * (k + 1) + p] += sums[q - p];
            }
        }
        if (p > 0) {
            bin->q[p - 1] += ww_moments_fourth(a, n);
        }
    }
    if (tile->has_steps) {
        ww_moments_products(columns + (size_t)(k + 1) * WW_MOMENTS_TILE, columns, k + 2,
                            n, bin->base);
    }
}

enum ww_err ww_moments_accumulate(struct ww_moments *moments,
                                  struct ww_moments_tile *tile, size_t n,
                                  enum ww_dtype dtype, struct ww_error *err)
{
    const unsigned k = moments->k + tile->beside;
    uint32_t first[WW_MOMENTS_BINS + 1];
    size_t used = 0;

    moments->pruned += tile->is_stored ? ww_moments_classify_stored(tile, k, n)
                                       : ww_moments_classify(tile, k, n, dtype);
    used = ww_moments_sort(tile, n, first);
    ww_moments_sort_columns(tile, moments->k, used);
    for (unsigned b = 1; b < WW_MOMENTS_BINS; b++) {
        struct ww_moments_bin *bin = NULL;
        if (first[b + 1] == first[b]) {
            continue;
        }
        bin = bin_of(moments, b);
        if (!bin) {
            return WW_FAIL_MEMORY(err, "sums of products");
        }
        add_steps(bin, tile, b, first[b], first[b + 1] - first[b]);
        add_bin(bin, tile, moments->k, first[b], first[b + 1] - first[b]);
    }
    return WW_OK;
}
