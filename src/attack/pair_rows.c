/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fine-tuning moves a row by a few per cent, chance brings two rows of 256 random numbers
 * to a cosine of 0.4 at most among 10^8 pairs. So pairs that prefer each other are right,
 * and an exact assignment is only needed for the few that are left. Scores are made in
 * bands, so memory does not grow with the square of the rows.
 */
#include "attack/pair_rows.h"

#include <math.h>
#include <string.h>

#include "attack/solve.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BAND_SCORES ((size_t)4 << 20)
#define FEW_COLUMNS 256
#define SMALL_ROWS 512
#define MOST_LEFT 1000
#define WEAK 0.5F

/* Rows of unit length on chosen columns. */
static enum ww_err normalised(const float *x, size_t n, size_t width, size_t used,
                              float **out, struct ww_error *err)
{
    float *rows = ww_calloc(n, used * sizeof(*rows));

    *out = rows;
    if (!rows) {
        return WW_FAIL_MEMORY(err, "rows to compare");
    }
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        for (size_t k = 0; k < used; k++) {
            const float v = x[i * width + k * width / used];
            rows[i * used + k] = v;
            norm += (double)v * (double)v;
        }
        const float factor = norm > 0 ? (float)(1 / sqrt(norm)) : 0;
        for (size_t k = 0; k < used; k++) {
            rows[i * used + k] *= factor;
        }
    }
    return WW_OK;
}

struct best {
    uint32_t *of_a;
    uint32_t *of_b;
    float *score_b;
};

static void scan_band(const float *scores, size_t first, size_t rows, size_t n,
                      bool either, struct best *best)
{
    for (size_t r = 0; r < rows; r++) {
        const size_t i = first + r;
        const float *line = scores + r * n;
        float top = -2;
        for (size_t j = 0; j < n; j++) {
            const float s = either ? fabsf(line[j]) : line[j];
            if (s > top) {
                top = s;
                best->of_a[i] = (uint32_t)j;
            }
            if (s > best->score_b[j]) {
                best->score_b[j] = s;
                best->of_b[j] = (uint32_t)i;
            }
        }
    }
}

static enum ww_err find_best(const float *a, const float *b, size_t n, size_t width,
                             bool either, struct best *best, struct ww_error *err)
{
    size_t band = BAND_SCORES / n;
    float *scores = NULL;

    band = band < 16 ? 16 : band > n ? n : band;
    scores = ww_calloc(band, n * sizeof(*scores));
    if (!scores) {
        return WW_FAIL_MEMORY(err, "a band of scores");
    }
    for (size_t j = 0; j < n; j++) {
        best->score_b[j] = -2;
    }
    for (size_t first = 0; first < n; first += band) {
        const size_t rows = n - first < band ? n - first : band;
        ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, rows, n, width, 1,
                       a + first * width, width, b, width, 0, scores, n);
        scan_band(scores, first, rows, n, either, best);
    }
    ww_free(scores);
    return WW_OK;
}

static float cosine_of(const float *a, const float *b, size_t width)
{
    double dot = 0;
    double na = 0;
    double nb = 0;

    for (size_t k = 0; k < width; k++) {
        dot += (double)a[k] * (double)b[k];
        na += (double)a[k] * (double)a[k];
        nb += (double)b[k] * (double)b[k];
    }
    return na > 0 && nb > 0 ? (float)(dot / sqrt(na * nb)) : 0;
}

/* What is left on both sides, paired exactly; too many: in their order. */
static enum ww_err match_left(const float *a, const float *b, size_t width, bool either,
                              const uint32_t *left_a, const uint32_t *left_b, size_t n,
                              struct ww_matching *out, struct ww_error *err)
{
    double *score = NULL;
    uint32_t *match = NULL;
    enum ww_err rc = WW_OK;

    if (n > MOST_LEFT) {
        for (size_t i = 0; i < n; i++) {
            out->match[left_a[i]] = left_b[i];
        }
        return WW_OK;
    }
    score = ww_calloc(n, n * sizeof(*score));
    match = ww_calloc(n, sizeof(*match));
    if (!score || !match) {
        rc = WW_FAIL_MEMORY(err, "an assignment");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const float c =
                cosine_of(a + left_a[i] * width, b + left_b[j] * width, width);
            score[i * n + j] = (double)(either ? fabsf(c) : c);
        }
    }
    rc = ww_assign(n, score, match, err);
    for (size_t i = 0; i < n && !rc; i++) {
        out->match[left_a[i]] = left_b[match[i]];
    }
out:
    ww_free(score);
    ww_free(match);
    return rc;
}

/* Pairs that prefer each other and are alike on all columns stand; the rest is left. */
static enum ww_err settle(const float *a, const float *b, size_t width, bool either,
                          const struct best *best, struct ww_matching *out,
                          struct ww_error *err)
{
    const size_t n = out->n;
    uint32_t *left_a = ww_calloc(n, sizeof(*left_a));
    uint32_t *left_b = ww_calloc(n, sizeof(*left_b));
    uint8_t *taken = ww_calloc(n, 1);
    size_t n_a = 0;
    size_t n_b = 0;
    enum ww_err rc = WW_OK;

    if (!left_a || !left_b || !taken) {
        rc = WW_FAIL_MEMORY(err, "an assignment");
        goto out;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t j = best->of_a[i];
        const float c = cosine_of(a + i * width, b + j * width, width);
        if (best->of_b[j] == i && (either ? fabsf(c) : c) > WEAK) {
            out->match[i] = j;
            taken[j] = 1;
        } else {
            left_a[n_a++] = i;
        }
    }
    for (uint32_t j = 0; j < n; j++) {
        if (!taken[j]) {
            left_b[n_b++] = j;
        }
    }
    if (n_a > 0) {
        rc = match_left(a, b, width, either, left_a, left_b, n_a, out, err);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        out->cosine[i] = cosine_of(a + i * width, b + out->match[i] * width, width);
    }
out:
    ww_free(left_a);
    ww_free(left_b);
    ww_free(taken);
    return rc;
}

enum ww_err ww_pair_rows(const float *a, const float *b, size_t n, size_t width,
                         bool either_sign, struct ww_matching *out, struct ww_error *err)
{
    const size_t used = n > SMALL_ROWS && width > FEW_COLUMNS ? FEW_COLUMNS : width;
    struct best best = {0};
    float *unit_a = NULL;
    float *unit_b = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->n = n;
    out->match = ww_calloc(n, sizeof(*out->match));
    out->cosine = ww_calloc(n, sizeof(*out->cosine));
    best.of_a = ww_calloc(n, sizeof(*best.of_a));
    best.of_b = ww_calloc(n, sizeof(*best.of_b));
    best.score_b = ww_calloc(n, sizeof(*best.score_b));
    if (!out->match || !out->cosine || !best.of_a || !best.of_b || !best.score_b ||
        !ww_la_fits(n, width)) {
        rc = WW_FAIL_MEMORY(err, "an assignment");
        goto out;
    }
    rc = normalised(a, n, width, used, &unit_a, err);
    if (rc) {
        goto out;
    }
    rc = normalised(b, n, width, used, &unit_b, err);
    if (rc) {
        goto out;
    }
    rc = find_best(unit_a, unit_b, n, used, either_sign, &best, err);
    if (rc) {
        goto out;
    }
    rc = settle(a, b, width, either_sign, &best, out, err);
out:
    ww_free(unit_a);
    ww_free(unit_b);
    ww_free(best.of_a);
    ww_free(best.of_b);
    ww_free(best.score_b);
    if (rc) {
        ww_matching_release(out);
    }
    return rc;
}

void ww_matching_release(struct ww_matching *matching)
{
    ww_free(matching->match);
    ww_free(matching->cosine);
    memset(matching, 0, sizeof(*matching));
}

double ww_matching_mean(const struct ww_matching *matching)
{
    double sum = 0;
    for (size_t i = 0; i < matching->n; i++) {
        sum += fabs((double)matching->cosine[i]);
    }
    return matching->n ? sum / (double)matching->n : 0;
}
