/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/logits_image.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Answers that are enough for a draw; more only make the same p-value surer. */
#define LABELS_MOST 32
/* Below it a direction is what rounding to single precision leaves. */
#define SURE 1e-6
/* So many singular values must lie behind the step, or it is the end of the answers. */
#define BEHIND 4

void ww_image_centre_rows(double *m, size_t n, size_t v)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < v; j++) {
            sum += m[i * v + j];
        }
        for (size_t j = 0; j < v; j++) {
            m[i * v + j] -= sum / (double)v;
        }
    }
}

enum ww_err ww_image_basis(double *m, size_t v, size_t d, double *r, struct ww_error *err)
{
    double *mean = ww_calloc(d, sizeof(*mean));

    if (!mean) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    for (size_t i = 0; i < v; i++) {
        for (size_t j = 0; j < d; j++) {
            mean[j] += m[i * d + j] / (double)v;
        }
    }
    for (size_t i = 0; i < v; i++) {
        for (size_t j = 0; j < d; j++) {
            m[i * d + j] -= mean[j];
        }
    }
    ww_free(mean);
    return ww_la_qr(v, d, m, r, err);
}

/* The difference is formed: subtracting squares would lose what single precision left. */
enum ww_err ww_image_outside(const double *basis, size_t v, size_t d,
                             const double *answers, size_t n, double *square,
                             double *coefficients, struct ww_error *err)
{
    double *own = coefficients ? NULL : ww_calloc(n * d, sizeof(*own));
    double *c = coefficients ? coefficients : own;
    double *left = ww_calloc(n * v, sizeof(*left));
    enum ww_err rc = c && left ? WW_OK : WW_FAIL_MEMORY(err, "answers");

    if (!rc) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, d, v, 1, answers, v, basis, d, 0, c, d);
        memcpy(left, answers, n * v * sizeof(*left));
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, n, v, d, -1, c, d, basis, d, 1, left,
                   v);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        square[i] = 0;
        for (size_t j = 0; j < v; j++) {
            square[i] += left[i * v + j] * left[i * v + j];
        }
    }
    ww_free(own);
    ww_free(left);
    return rc;
}

/* Squared length of answers inside of the basis. */
static double inside(const double *basis, size_t v, size_t d, const double *answers,
                     size_t n, double *room)
{
    double sum = 0;

    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, d, v, 1, answers, v, basis, d, 0, room, d);
    for (size_t i = 0; i < n * d; i++) {
        sum += room[i] * room[i];
    }
    return sum;
}

static void shuffle(uint32_t *order, size_t v, uint64_t *state)
{
    for (size_t i = v - 1; i > 0; i--) {
        const size_t j = (size_t)(ww_draw(state) % (i + 1));
        const uint32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

enum ww_err ww_image_p_labels(const double *basis, size_t v, size_t d,
                              const double *answers, size_t n, uint64_t seed, double *p,
                              struct ww_error *err)
{
    const size_t use = n < LABELS_MOST ? n : LABELS_MOST;
    double *room = ww_calloc(use * d, sizeof(*room));
    double *moved = ww_calloc(use * v, sizeof(*moved));
    uint32_t *order = ww_calloc(v, sizeof(*order));
    uint64_t state = seed;
    unsigned no_worse = 0;
    enum ww_err rc = room && moved && order ? WW_OK : WW_FAIL_MEMORY(err, "answers");

    if (!rc) {
        const double seen = inside(basis, v, d, answers, use, room);
        for (size_t i = 0; i < v; i++) {
            order[i] = (uint32_t)i;
        }
        for (unsigned draw = 0; draw < WW_IMAGE_DRAWS; draw++) {
            shuffle(order, v, &state);
            for (size_t i = 0; i < use * v; i++) {
                moved[i] = answers[i - i % v + order[i % v]];
            }
            no_worse += inside(basis, v, d, moved, use, room) >= seen;
        }
        *p = (1.0 + no_worse) / (1.0 + WW_IMAGE_DRAWS);
    }
    ww_free(room);
    ww_free(moved);
    ww_free(order);
    return rc;
}

/* The largest ratio of neighbours. The first is that of the mean answer to the others
 * and says nothing; the last few may be none of the noise's bulk. */
static void find_step(const double *s, size_t r, struct ww_image_width *out)
{
    size_t best = 0;

    for (size_t i = 0; i < r; i++) {
        out->at_least += s[i] > SURE * s[0];
    }
    for (size_t i = 2; i + BEHIND <= r; i++) {
        const double ratio = s[i - 1] / (s[i] > 0 ? s[i] : 1e-300);
        if (s[i - 1] > 1e-12 * s[0] && ratio > out->gap) {
            out->gap = ratio;
            best = i;
        }
    }
    if (best > 0 && out->gap >= WW_IMAGE_GAP) {
        out->width = best;
    } else {
        out->gap = 0;
    }
}

enum ww_err ww_image_rank(const double *answers, size_t n, size_t v,
                          struct ww_image_width *out, struct ww_error *err)
{
    const size_t r = n < v ? n : v;
    double *a = ww_calloc(n * v, sizeof(*a));
    double *u = ww_calloc(n * r, sizeof(*u));
    double *s = ww_calloc(r, sizeof(*s));
    double *vt = ww_calloc(r * v, sizeof(*vt));
    enum ww_err rc = a && u && s && vt ? WW_OK : WW_FAIL_MEMORY(err, "answers");

    memset(out, 0, sizeof(*out));
    if (!rc) {
        memcpy(a, answers, n * v * sizeof(*a));
        rc = ww_la_svd(n, v, a, u, s, vt, err);
    }
    if (!rc && s[0] > 0) {
        find_step(s, r, out);
    }
    ww_free(a);
    ww_free(u);
    ww_free(s);
    ww_free(vt);
    return rc;
}
