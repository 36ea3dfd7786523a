/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A product is worth its bytes when the tensor is coded in fewer bits with it, factors
 * included. How finely factors are rounded, and how the merge rounded, is found by trying
 * on some of the rows.
 */
#include "rmm/rank_find.h"

#include <math.h>
#include <string.h>

#include "la/fixmath.h"
#include "rmm/rank_fit.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE ((size_t)1 << 17) /* numbers */
#define WORTH 0.97               /* of the bits without: less is not worth the time */
#define GAUSS_BITS 2.0471        /* of a Gaussian of variance one, in steps of one */
#define LN_2 0.693147180559945309

/* Errors of the rounded factors, in shares of what rounding the tensor does, and of the
 * differences where that is more: integers of 16 bits are not finer. Large matrices want
 * fine ones, small ones pay more for their factors. */
static const double shares[] = {0.004, 0.008, 0.015, 0.03, 0.055, 0.1, 0.3};
static const double finest[] = {5e-5, 5e-5, 5e-5, 1e-4, 2e-4, 4e-4, 1e-3};
#define FIRST 3 /* of them that is tried */

struct finding {
    const struct ww_rank_pair *pair;
    struct ww_rank_block rows; /* the sample */
    size_t n;
    uint64_t *at; /* its rows */
    uint8_t *prediction;
    double plain; /* bits of the sample, without a product */
    bool knows_way;
    bool product; /* then: what was rounded first */
};

static void finding_release(struct finding *f)
{
    ww_rank_block_release(&f->rows);
    ww_free(f->at);
    ww_free(f->prediction);
}

static enum ww_err finding_init(struct finding *f, struct ww_error *err)
{
    const struct ww_rank_pair *pair = f->pair;
    const size_t rows = SAMPLE / pair->d + 1;
    enum ww_err rc = WW_OK;

    f->n = rows < pair->m ? rows : pair->m;
    rc = ww_rank_block_init(&f->rows, pair->dtype, f->n, pair->d, err);
    f->at = ww_calloc(f->n, sizeof(*f->at));
    f->prediction = ww_calloc(f->n, f->rows.width * pair->d);
    if (!rc && (!f->at || !f->prediction)) {
        rc = WW_FAIL_MEMORY(err, "a sample of a tensor");
    }
    for (size_t i = 0; i < f->n && !rc; i++) {
        f->at[i] = i * pair->m / f->n;
        rc = ww_rank_block_read(&f->rows, pair, f->at[i], 0, i, 1, err);
    }
    if (!rc) {
        f->plain = ww_rank_bits(pair->dtype, f->rows.tune, f->rows.base, f->rows.base,
                                f->n * pair->d);
    }
    return rc;
}

static enum ww_err fill(const struct ww_rank_pair *pair, const struct ww_own *own,
                        uint32_t r, struct ww_rank *rank, struct ww_error *err)
{
    const struct ww_pack_rank shape = {.rank = r, .rows = pair->m};
    const enum ww_err rc = ww_rank_init(rank, &shape, pair->d, pair->dtype, err);

    for (size_t i = 0; i < pair->m * r && !rc; i++) {
        rank->b[i] = (float)own->b[i] * own->scales[i % r];
    }
    for (size_t i = 0; i < r * pair->d && !rc; i++) {
        rank->a[i] = (float)own->a[i] * own->scales[i / pair->d];
    }
    return rc;
}

static double bits_of_latent(const int16_t *q, size_t n, size_t stride)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)q[i * stride] * q[i * stride];
    }
    const double mean = sum / (double)n;
    return (double)n * (mean > 0.1 ? 0.5 * ww_fix_log(mean) / LN_2 + GAUSS_BITS : 0.4);
}

static double bits_of_factors(const struct ww_rank_pair *pair, const struct ww_own *own,
                              uint32_t r)
{
    double bits = 0;

    for (uint32_t k = 0; k < r; k++) {
        bits += bits_of_latent(own->b + k, pair->m, r);
        bits += bits_of_latent(own->a + k * pair->d, pair->d, 1);
    }
    return bits;
}

/* Bits of the sample when the merge rounded so. */
static double bits_of_way(const struct finding *f, struct ww_rank *rank, bool product)
{
    const struct ww_rank_pair *pair = f->pair;
    const size_t row = f->rows.width * pair->d;

    rank->shape.product = product;
    for (size_t i = 0; i < f->n; i++) {
        ww_rank_predict(rank, f->at[i] * row, f->rows.base + i * row,
                        f->prediction + i * row, row);
    }
    return ww_rank_bits(pair->dtype, f->rows.tune, f->prediction, f->rows.base,
                        f->n * pair->d);
}

/* Bits of the whole tensor by the sample, in the better of the two ways to round, which
 * the first factors tell. */
static double bits_of_rest(struct finding *f, struct ww_rank *rank)
{
    double bits = 0;

    if (f->knows_way || f->pair->dtype == WW_DTYPE_F32) {
        bits = bits_of_way(f, rank, f->product);
    } else {
        const double sum = bits_of_way(f, rank, false);
        bits = bits_of_way(f, rank, true);
        f->product = bits < sum;
        f->knows_way = true;
        rank->shape.product = f->product;
        bits = bits < sum ? bits : sum;
    }
    return bits * (double)f->pair->m / (double)f->n;
}

/* Round the factors within this error, and keep them when nothing cheaper was found. */
static enum ww_err try_error(struct finding *f, const struct ww_rank_fit *fit,
                             double error, double *least, struct ww_rank_found *out,
                             struct ww_error *err)
{
    const struct ww_own_factors factors = {
        .m = fit->pair->m,
        .r = fit->r,
        .d = fit->pair->d,
        .b = fit->b,
        .a = fit->a,
        .type = ww_chunk_type_of(WW_DTYPE_F32),
    };
    struct ww_rank_found now;
    enum ww_err rc = WW_OK;

    memset(&now, 0, sizeof(now));
    rc = ww_own_fit(&factors, error, &now.own, err);
    if (rc || !now.own.fits) {
        return rc;
    }
    rc = fill(f->pair, &now.own, (uint32_t)fit->r, &now.rank, err);
    if (!rc) {
        const double bits = bits_of_factors(f->pair, &now.own, (uint32_t)fit->r) +
                            bits_of_rest(f, &now.rank);
        if (bits < *least) {
            const struct ww_rank_found before = *out;
            *least = bits;
            *out = now;
            now = before;
        }
    }
    ww_rank_found_release(&now);
    return rc;
}

/* One way from the first, until it gets worse. */
static enum ww_err walk(struct finding *f, const struct ww_rank_fit *fit, int way,
                        double *least, struct ww_rank_found *out, struct ww_error *err)
{
    const double noise = sqrt(fit->noise2 / fit->delta2);
    enum ww_err rc = WW_OK;

    for (int i = FIRST + way; i >= 0 && i < (int)WW_LEN(shares) && !rc; i += way) {
        const double before = *least;
        rc = try_error(f, fit, fmax(shares[i] * noise, finest[i]), least, out, err);
        if (*least == before && out->rank.shape.rank > 0) {
            break;
        }
    }
    return rc;
}

/* Coarser factors cost less and leave more, so bits fall to a least and rise again. */
static enum ww_err try_errors(struct finding *f, const struct ww_rank_fit *fit,
                              struct ww_rank_found *out, struct ww_error *err)
{
    const double noise = sqrt(fit->noise2 / fit->delta2);
    double least = WORTH * f->plain * (double)f->pair->m / (double)f->n;
    double first = 0;
    enum ww_err rc =
        try_error(f, fit, fmax(shares[FIRST] * noise, finest[FIRST]), &least, out, err);

    first = least;
    if (!rc) {
        rc = walk(f, fit, 1, &least, out, err);
    }
    return rc || least < first ? rc : walk(f, fit, -1, &least, out, err);
}

/* Of the factors: 8 bytes a number in ww_rank_fit, and beside that the doubles of
 * ww_own_fit (16) with its integers (2) and the numbers of a decoder (4), those of the
 * best so far (6), or else less in the fit; of the rows: a block of them, and the sample.
 */
uint64_t ww_rank_memory(const struct ww_rank_pair *pair, size_t rank)
{
    const uint64_t r = rank;
    const uint64_t sides = (uint64_t)pair->m + pair->d;
    const uint64_t width = ww_dtype_bits(pair->dtype) / 8;
    const uint64_t rows = pair->d * 64 * (2 * width + 12);
    const uint64_t sample = (SAMPLE + pair->d) * (3 * width + 16);

    return 40 * r * sides + rows + sample + 128 * r * r + 8192 * r;
}

size_t ww_rank_most(const struct ww_rank_pair *pair)
{
    size_t rank = WW_RANK_SOUGHT;

    while (rank > 0 && ww_rank_memory(pair, rank) > WW_RANK_MEMORY) {
        rank--;
    }
    return rank;
}

enum ww_err ww_rank_find(const struct ww_rank_pair *pair, struct ww_rank_found *out,
                         struct ww_error *err)
{
    size_t rows[WW_RANK_SOUGHT];
    struct finding f = {.pair = pair};
    struct ww_rank_fit fit = {0};
    size_t n = 0;
    enum ww_err rc = ww_rank_probe(pair, rows, &n, err);

    memset(out, 0, sizeof(*out));
    if (rc || n == 0) {
        return rc;
    }
    rc = finding_init(&f, err);
    if (!rc) {
        rc = ww_rank_fit(pair, rows, n, &fit, err);
    }
    if (!rc && fit.r > 0) {
        rc = try_errors(&f, &fit, out, err);
    }
    ww_rank_fit_release(&fit);
    finding_release(&f);
    if (rc) {
        ww_rank_found_release(out);
    }
    return rc;
}

void ww_rank_found_release(struct ww_rank_found *found)
{
    ww_rank_release(&found->rank);
    ww_own_release(&found->own);
}
