/* SPDX-License-Identifier: Apache-2.0 */
/* Accumulation: sort a tile by step, then dot products of contiguous columns in a fixed
 * order. */
#include "lineage/moments.h"

#include <string.h>

#include "lineage/moments_sort.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/float_bits.h"

#define LANES 8

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

static const struct {
    int mantissa;
    int least;
} formats[WW_DTYPE_COUNT] = {[WW_DTYPE_BF16] = {7, -126},
                             [WW_DTYPE_F16] = {10, -14},
                             [WW_DTYPE_F32] = {23, -126},
                             [WW_DTYPE_F64] = {23, -126}};

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

/* 2^e for the exponents that steps have. */
static double power(int e)
{
    const uint64_t bits = (uint64_t)(e + 1023) << 52;
    double v = 0;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* Magnitudes of doubles compare like their bits, and vector units compare whole numbers
 * without a branch. */
static inline int64_t magnitude(double v)
{
    int64_t bits = 0;

    memcpy(&bits, &v, sizeof(bits));
    return bits & INT64_MAX;
}

static inline int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What a block of elements has in common with no other loop: it stays in the innermost
 * cache while all columns pass. */
#define BLOCK 1024
struct block {
    int64_t largest[BLOCK]; /* bits of the largest magnitude among base and sources */
    int64_t longest[BLOCK]; /* the same of the task vectors */
};

WW_CLONES static void begin_block(struct block *b, const double *base, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        b->largest[e] = magnitude(base[e]);
        b->longest[e] = 0;
    }
}

/* Leaves differences in place of values. */
WW_CLONES static void add_source(struct block *b, const double *base, double *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        const double difference = x[e] - base[e];
        b->largest[e] = larger(b->largest[e], magnitude(x[e]));
        b->longest[e] = larger(b->longest[e], magnitude(difference));
        x[e] = difference;
    }
}

/* Of a source that does not decide. */
WW_CLONES static void subtract_base(const double *base, double *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        x[e] -= base[e];
    }
}

static bool decides(const struct ww_moments_tile *tile, unsigned source)
{
    return !tile->decides || tile->decides[source];
}

/* One loop for elements on a plain grid, of the bits alone: the step is a power of two,
 * and a task vector of eight steps is one with an exponent of three more. */
WW_CLONES static uint64_t put_in_bins(const struct block *b, const double *base,
                                      double *y, uint8_t *bin, size_t n, int64_t least,
                                      int64_t mantissa)
{
    const int64_t lowest = mantissa - WW_MOMENTS_BIN_BIAS;
    uint64_t n_pruned = 0;

    for (size_t e = 0; e < n; e++) {
        const int64_t exponent = larger((b->largest[e] >> 52) - 1023, least);
        const int64_t pruned = ww_moments_pruned(y[e], base[e], false);
        const int64_t used = (b->longest[e] >> 52) - 1023 >= exponent - mantissa + 3 &&
                             b->longest[e] != 0 && exponent > lowest &&
                             exponent < lowest + WW_MOMENTS_BINS && !pruned;
        bin[e] = (uint8_t)((exponent - lowest) & -used);
        n_pruned += (uint64_t)pruned;
        y[e] -= base[e];
    }
    return n_pruned;
}

/* A block's step, where it is the longer one, decides the bin: what lies below it was
 * rounded away afterwards, evenly. */
static void put_in_rounded_bins(const struct block *b, const double *base, double *y,
                                double *steps, uint8_t *bin, size_t n, int64_t least,
                                int64_t mantissa)
{
    for (size_t e = 0; e < n; e++) {
        const int64_t exponent = larger((b->largest[e] >> 52) - 1023, least) - mantissa;
        const double grid = power((int)exponent);
        const bool coarse = steps[e] > grid;
        const double step = coarse ? steps[e] : grid;
        const int64_t of = (magnitude(step) >> 52) - 1023 + WW_MOMENTS_BIN_BIAS;
        const bool used = (b->longest[e] >> 52) - 1023 >= exponent + 3 &&
                          b->longest[e] != 0 && of > 0 && of < WW_MOMENTS_BINS;
        bin[e] = used ? (uint8_t)of : 0;
        steps[e] = coarse ? step : -step;
        y[e] -= base[e];
    }
}

/* The largest value decides the grid's step, the longest task vector whether the element
 * is used. Leaves differences in place of values. */
static uint64_t classify(struct ww_moments_tile *tile, unsigned k, size_t n,
                         enum ww_dtype dtype)
{
    const int64_t least = formats[dtype].least;
    const int64_t mantissa = formats[dtype].mantissa;
    uint64_t n_pruned = 0;
    struct block block;

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t len = n - at < BLOCK ? n - at : BLOCK;
        double *y = tile->columns + at;
        const double *base = tile->columns + WW_MOMENTS_TILE + at;
        begin_block(&block, base, len);
        for (unsigned i = 0; i < k; i++) {
            double *x = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE + at;
            if (decides(tile, i)) {
                add_source(&block, base, x, len);
            } else {
                subtract_base(base, x, len);
            }
        }
        if (tile->has_steps) {
            put_in_rounded_bins(&block, base, y, tile->steps + at, tile->bin + at, len,
                                least, mantissa);
        } else {
            n_pruned +=
                put_in_bins(&block, base, y, tile->bin + at, len, least, mantissa);
        }
    }
    return n_pruned;
}

/* The same of BF16 as it is stored: the larger half of a float. So a difference is cut
 * off to its larger half as well, which has its exponent, and everything is 16 bits wide.
 */
struct narrow_block {
    uint16_t largest[BLOCK];
    uint16_t longest[BLOCK];
};

WW_CLONES static void begin_narrow(struct narrow_block *b, const uint16_t *base, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        b->largest[e] = base[e] & 0x7fff;
        b->longest[e] = 0;
    }
}

WW_CLONES static void add_narrow(struct narrow_block *b, const uint16_t *base,
                                 const uint16_t *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        const uint16_t length = x[e] & 0x7fff;
        b->largest[e] = b->largest[e] > length ? b->largest[e] : length;
    }
    for (size_t e = 0; e < n; e++) {
        const float difference = ww_float_of_bf16(x[e]) - ww_float_of_bf16(base[e]);
        uint32_t bits = 0;
        memcpy(&bits, &difference, sizeof(bits));
        const uint16_t half = (uint16_t)(bits >> 16 & 0x7fff);
        b->longest[e] = b->longest[e] > half ? b->longest[e] : half;
    }
}

/* All bits, or none: conditions that vector units compute without a branch. */
static inline uint16_t mask(bool condition)
{
    return condition ? 0xffff : 0;
}

/* Fields of exponents alone: a normal one is at least 1, eight steps are 2^-4 of the
 * largest value's power of two. */
WW_CLONES static uint64_t put_narrow_in_bins(const struct narrow_block *b,
                                             const uint16_t *base, const uint16_t *y,
                                             uint8_t *bin, size_t n)
{
    const uint16_t to_bin = WW_MOMENTS_BIN_BIAS - 7 - 127;
    uint16_t of[BLOCK];
    uint32_t n_pruned = 0;

    for (size_t e = 0; e < n; e++) {
        const uint16_t field = b->largest[e] >> 7;
        const uint16_t normal = field > 1 ? field : 1;
        const uint16_t length = (uint16_t)((b->longest[e] >> 7) + 4);
        const uint16_t at = (uint16_t)(normal + to_bin);
        const uint16_t pruned =
            mask((uint16_t)(y[e] << 1) == 0) & mask((uint16_t)(base[e] << 1) != 0);
        const uint16_t used = mask(length >= normal) & mask(b->longest[e] != 0) &
                              mask(at < WW_MOMENTS_BINS);
        of[e] = at & used & (uint16_t)~pruned;
        n_pruned += pruned & 1;
    }
    for (size_t e = 0; e < n; e++) {
        bin[e] = (uint8_t)of[e];
    }
    return n_pruned;
}

static uint64_t classify_stored(struct ww_moments_tile *tile, unsigned k, size_t n)
{
    uint64_t n_pruned = 0;
    struct narrow_block block;

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t len = n - at < BLOCK ? n - at : BLOCK;
        const uint16_t *base = (const uint16_t *)(const void *)tile->stored[1] + at;
        begin_narrow(&block, base, len);
        for (unsigned i = 0; i < k; i++) {
            if (decides(tile, i)) {
                add_narrow(&block, base,
                           (const uint16_t *)(const void *)tile->stored[i + 2] + at, len);
            }
        }
        n_pruned += put_narrow_in_bins(
            &block, base, (const uint16_t *)(const void *)tile->stored[0] + at,
            tile->bin + at, len);
    }
    return n_pruned;
}

/* Sums of a x b[q] for some columns at once: a is loaded once for all of them. Every sum
 * runs over LANES partial sums in the order of elements, whatever the vector unit is. */
#define AT_ONCE 4
typedef double quad __attribute__((vector_size(32)));
/* The same wherever doubles lie. */
typedef double quad_of_column __attribute__((vector_size(32), aligned(8), may_alias));

static inline __attribute__((always_inline)) void
some_dots(const double *a, const double *const b[AT_ONCE], unsigned n_b, size_t n,
          double out[AT_ONCE])
{
    /* As vectors by name: compilers left to themselves shuffle columns instead. */
    quad low[AT_ONCE] = {{0}};
    quad high[AT_ONCE] = {{0}};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned q = 0; q < n_b; q++) {
            const quad_of_column *x = (const quad_of_column *)(a + i);
            const quad_of_column *y = (const quad_of_column *)(b[q] + i);
            low[q] += x[0] * y[0];
            high[q] += x[1] * y[1];
        }
    }
    for (unsigned q = 0; q < n_b; q++) {
        out[q] = 0;
        for (unsigned l = 0; l < LANES; l++) {
            out[q] += l < 4 ? low[q][l] : high[q][l - 4];
        }
        for (size_t rest = i; rest < n; rest++) {
            out[q] += a[rest] * b[q][rest];
        }
    }
}

/* With a constant count the sums stay in registers. */
WW_CLONES static void dots(const double *a, const double *const b[AT_ONCE], unsigned n_b,
                           size_t n, double out[AT_ONCE])
{
    switch (n_b) {
    case 1:
        some_dots(a, b, 1, n, out);
        break;
    case 2:
        some_dots(a, b, 2, n, out);
        break;
    case 3:
        some_dots(a, b, 3, n, out);
        break;
    default:
        some_dots(a, b, AT_ONCE, n, out);
    }
}

WW_CLONES static double fourth(const double *a, size_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) {
            const double square = a[i + l] * a[i + l];
            lane[l] += square * square;
        }
    }
    for (unsigned l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += a[i] * a[i] * (a[i] * a[i]);
    }
    return sum;
}

static void add_steps(struct ww_moments_bin *bin, const struct ww_moments_tile *tile,
                      unsigned b, size_t first, size_t n)
{
    const double step = power((int)b - WW_MOMENTS_BIN_BIAS);
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

/* Sums of one column's products with n_b others. */
static void add_products(const double *a, const double *columns, unsigned n_b, size_t n,
                         double *out)
{
    for (unsigned q = 0; q < n_b; q += AT_ONCE) {
        const unsigned some = n_b - q < AT_ONCE ? n_b - q : AT_ONCE;
        const double *b[AT_ONCE];
        double sums[AT_ONCE];
        for (unsigned i = 0; i < some; i++) {
            b[i] = columns + (size_t)(q + i) * WW_MOMENTS_TILE;
        }
        dots(a, b, some, n, sums);
        for (unsigned i = 0; i < some; i++) {
            out[q + i] += sums[i];
        }
    }
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
        add_products(a, a, k + 1 - p, n, sums);
        for (unsigned q = p; q <= k; q++) {
            bin->z[p * (k + 1) + q] += sums[q - p];
            if (p != q) {
                bin->z[q * (k + 1) + p] += sums[q - p];
            }
        }
        if (p > 0) {
            bin->q[p - 1] += fourth(a, n);
        }
    }
    if (tile->has_steps) {
        add_products(columns + (size_t)(k + 1) * WW_MOMENTS_TILE, columns, k + 2, n,
                     bin->base);
    }
}

enum ww_err ww_moments_accumulate(struct ww_moments *moments,
                                  struct ww_moments_tile *tile, size_t n,
                                  enum ww_dtype dtype, struct ww_error *err)
{
    uint32_t first[WW_MOMENTS_BINS + 1];
    size_t used = 0;

    moments->pruned += tile->is_stored ? classify_stored(tile, moments->k, n)
                                       : classify(tile, moments->k, n, dtype);
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
