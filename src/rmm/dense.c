/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change of a trained matrix is nearly Gaussian and of full rank, so it is rounded
 * element by element with one step for the whole tensor. Cells are even, which with
 * entropy coding is near the optimum at any rate (Gish and Pierce 1968), and each of the
 * first cells is decoded as the mean of what lies in it, which counts below two bits.
 * Means alone would shorten the change: what is left of it is not wrong but too short,
 * and a model feels that more than it feels noise. So levels are stretched until the
 * decoded change has the full length in the direction of the true one, up to WIDEST_GAIN,
 * for which the error of ever wider cells still goes to 1.
 *
 * The bound alone would give tensors with heavy tails, embeddings of rare tokens for one,
 * cells so wide that nearly all of the change is lost: a few large numbers hold its
 * length. So no cell is wider, in standard deviations, than a Gaussian's within the same
 * bound, up to 0.95. At one bit for each weight that keeps more of a fine-tune than equal
 * errors.
 */
#include "rmm/dense.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BLOCK 256
#define MAX_TRIES 16
#define NEAR_BOUND 0.99 /* from here on a larger cell would gain nothing */
#define AIM 0.997
#define WIDEST_GAIN 1.8
#define WIDEST 64.0 /* cells in standard deviations */
#define SLACK 1.01  /* of a Gaussian's cell, for samples of one */

/* Cells in standard deviations with which a Gaussian comes back, levels stretched, within
 * an error of 0, 0.05, 0.1 ... 0.95: integrals over the cells, solved for the cell. */
static const double gaussian_cells[] = {
    0,      0.1732, 0.3464, 0.5196, 0.6928, 0.866,  1.0393, 1.2126, 1.386,  1.5589,
    1.7298, 1.8956, 2.0534, 2.2017, 2.3402, 2.4694, 2.5903, 2.7039, 2.9042, 3.9312};

static double widest_cell(double bound)
{
    const double at = bound * 20;
    const size_t last = WW_LEN(gaussian_cells) - 1;
    const size_t i = at < (double)last ? (size_t)at : last;

    if (i == last) {
        return WIDEST;
    }
    return SLACK * (gaussian_cells[i] +
                    (at - (double)i) * (gaussian_cells[i + 1] - gaussian_cells[i]));
}

double ww_dense_error(const struct ww_dense_sums *sums)
{
    return sums->norm2 > 0 ? sqrt(sums->error2 / sums->norm2) : 0;
}

/* Weights and base of a block as doubles; how many. */
static size_t load(const struct ww_dense_input *in, size_t at, double *weights,
                   double *base)
{
    const size_t width = ww_dtype_bits(in->dtype) / 8;
    const size_t n = in->n - at < BLOCK ? in->n - at : BLOCK;

    ww_to_double(in->dtype, in->weights + at * width, weights, n);
    ww_to_double(in->dtype, in->base + at * width, base, n);
    return n;
}

void ww_dense_measure(const struct ww_dense_input *in,
                      const struct ww_chunk_levels *levels, struct ww_dense_sums *sums)
{
    double weights[BLOCK];
    double base[BLOCK];
    double back[BLOCK];
    uint8_t bytes[BLOCK * sizeof(double)];

    for (size_t at = 0; at < in->n; at += BLOCK) {
        const size_t n = load(in, at, weights, base);
        for (size_t i = 0; i < n; i++) {
            const int32_t q = ww_chunk_dense_cell(levels, weights[i] - base[i]);
            back[i] = q == 0 ? base[i] : base[i] + ww_chunk_dense_level(levels, q);
        }
        ww_from_double(in->dtype, back, bytes, n);
        ww_to_double(in->dtype, bytes, back, n);
        for (size_t i = 0; i < n; i++) {
            const double change = weights[i] - base[i];
            const double error = weights[i] - back[i];
            sums->norm2 += change * change;
            sums->error2 += error * error;
        }
    }
}

/* What lies in the cells of a sample. */
struct cells {
    double sums[WW_CHUNK_LEVELS];
    double counts[WW_CHUNK_LEVELS];
    double beyond; /* squares of what lies in later ones */
    double norm2;
};

static void fill_cells(const struct ww_dense_input *in,
                       const struct ww_chunk_levels *levels, struct cells *out)
{
    double weights[BLOCK];
    double base[BLOCK];

    for (size_t at = 0; at < in->n; at += BLOCK) {
        const size_t n = load(in, at, weights, base);
        for (size_t i = 0; i < n; i++) {
            const double change = weights[i] - base[i];
            const int32_t q = ww_chunk_dense_cell(levels, change);
            const uint32_t k = (uint32_t)(q < 0 ? -q : q);
            out->norm2 += change * change;
            if (k > WW_CHUNK_LEVELS) {
                out->beyond += change * change;
            } else if (k > 0) {
                out->sums[k - 1] += fabs(change);
                out->counts[k - 1]++;
            }
        }
    }
}

/* Means of the cells, stretched. */
static void set_levels(const struct ww_dense_input *in, double cell,
                       struct ww_chunk_levels *out)
{
    struct cells cells = {.beyond = 0};
    double along = 0; /* <decoded change, change> */
    double gain = 1;

    *out = (struct ww_chunk_levels){.n = WW_CHUNK_LEVELS, .step = (float)cell};
    fill_cells(in, out, &cells);
    along = cells.beyond;
    for (unsigned k = 0; k < WW_CHUNK_LEVELS; k++) {
        along +=
            cells.counts[k] > 0 ? cells.sums[k] * cells.sums[k] / cells.counts[k] : 0;
    }
    if (along > 0) {
        gain = fmin(WIDEST_GAIN, cells.norm2 / along);
    }
    for (unsigned k = 0; k < WW_CHUNK_LEVELS; k++) {
        const double even = (double)(k + 1) * (double)out->step;
        const double mean = cells.counts[k] > 0 ? cells.sums[k] / cells.counts[k] : even;
        out->levels[k] = (float)(gain * mean);
    }
    while (out->n > 1 && cells.counts[out->n - 1] == 0) {
        out->n--;
    }
}

static void try_cell(const struct ww_dense_input *in, double cell, struct ww_dense *out)
{
    struct ww_dense_sums sums = {0};

    set_levels(in, cell, &out->levels);
    ww_dense_measure(in, &out->levels, &sums);
    out->error = ww_dense_error(&sums);
}

double ww_dense_norm2(const struct ww_dense_input *in)
{
    double weights[BLOCK];
    double base[BLOCK];
    double sum = 0;

    for (size_t at = 0; at < in->n; at += BLOCK) {
        const size_t n = load(in, at, weights, base);
        for (size_t i = 0; i < n; i++) {
            sum += (weights[i] - base[i]) * (weights[i] - base[i]);
        }
    }
    return sum;
}

/* Between a cell that is fine enough and one that is not. */
enum ww_err ww_dense_fit(const struct ww_dense_input *in, double bound,
                         struct ww_dense *out, struct ww_error *err)
{
    const double sd = in->n > 0 ? sqrt(ww_dense_norm2(in) / (double)in->n) : 0;
    const double most = sd * widest_cell(bound);
    double cell = bound < 1 ? fmin(sd * bound * 3, most) : most;
    double fine = 0;
    double coarse = most;
    bool too_coarse = false; /* coarse was tried */

    memset(out, 0, sizeof(*out));
    if (!isfinite(sd)) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "the change from the base is NaN or infinite; repair the weights "
                       "of both first");
    }
    for (unsigned i = 0; i < MAX_TRIES && sd > 0 && (float)cell > 0; i++) {
        try_cell(in, cell, out);
        if (out->error <= bound) {
            fine = cell;
        } else {
            coarse = cell;
            too_coarse = true;
        }
        if (out->error <= bound && (cell >= most || out->error > NEAR_BOUND * bound)) {
            break;
        }
        cell *= out->error > 0 ? fmin(4, fmax(0.25, AIM * bound / out->error)) : 4;
        if (!too_coarse && cell >= most) {
            cell = most;
        } else if (!(cell > fine && cell < coarse)) {
            cell = fine > 0 ? 0.5 * (fine + coarse) : 0.5 * coarse;
        }
    }
    out->fits = fine > 0;
    if (out->fits) {
        try_cell(in, fine, out);
    }
    return WW_OK;
}
