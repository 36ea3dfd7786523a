/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/rotated.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "lineage/family.h"
#include "lineage/moments.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/shape.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define TURNS 8
#define STANDS 1e-5     /* shares that moved by less no longer move */
#define ALONG 0.8       /* cosine of a matrix turned back with the base's */
#define MOST 0.5        /* of the rows lie along in a relative */
#define ROWS_OF 64      /* rows that are looked at, in widths of the stream */
#define RIDGE 1e-9      /* of the mean square, so that models alike have shares too */
#define LEAST_GAIN 1e-4 /* of the largest: nothing can be divided by less */
#define NEAR 1e-4       /* of squares of rows: what lies nearer weighs no more */
#define AS_NEAR                                                                          \
    2.0 /* times as far from the base, squared, as when turned back: what                \
           a rotation takes up of task vectors is less */

struct fit {
    struct ww_model *const *models;
    unsigned n_models;
    unsigned k; /* sources */
    const struct ww_depths *depths;
    const struct ww_run_options *run;
    struct ww_rotation *rotation;
    uint32_t *at;   /* [n_tensors][n_models]: of the suspect's tensors on the stream */
    bool *use;      /* [n_tensors] */
    uint64_t every; /* of so many pieces one is looked at */
    enum ww_dtype grid; /* of the base's tensor */
    double *rows;       /* [n_models + 1][WW_ROTATED_ROWS][width] */
    float *weights;     /* of the rows of all tensors, by what is left of them */
    uint64_t *first;    /* [n_tensors]: a tensor's first row in weights */
    float *weight;      /* of the piece */
    uint8_t *bytes;     /* as many doubles as a model's rows have */
    double *products;   /* [k + 1][k + 1] of what the suspect moved by and the sources */
    double *sum;        /* [width][width]: sum x' t^T; or three sums of columns */
    double apart;       /* squared distance from the base, in its squared length */
    double share[WW_LINEAGE_MAX_SOURCES];
};

/* What is done with one piece of rows. */
typedef void (*piece_fn)(struct fit *f, const double *gains, size_t n, double *like);

static double *rows_of(const struct fit *f, unsigned m)
{
    return f->rows + (size_t)m * WW_ROTATED_ROWS * f->rotation->n;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* A row weighs less the more of it the sum leaves: it was rounded beside rows that a lock
 * had made longer, or something was added to it. Of rows that lie near, those that moved
 * least would weigh most, and they were rounded to one side. away: the rows, turned back,
 * less the base's. */
static void weigh(const struct fit *f, size_t n, const double *away)
{
    const size_t width = f->rotation->n;
    const double *x = rows_of(f, WW_FAMILY_SUSPECT);
    const double mean = dot(x, x, n * width) / (double)n;

    for (size_t i = 0; i < n; i++) {
        const double *row = x + i * width;
        double left = NEAR * (mean + dot(row, row, width));
        for (size_t c = i * width; c < (i + 1) * width; c++) {
            double e = away[c];
            for (unsigned s = 0; s < f->k; s++) {
                e -= f->share[s] * rows_of(f, WW_FAMILY_SOURCES + s)[c];
            }
            left += e * e;
        }
        f->weight[i] = (float)(mean > 0 ? (double)width / left : 0);
    }
}

static double weighed(const struct fit *f, const double *a, const double *b, size_t n)
{
    const size_t width = f->rotation->n;
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)f->weight[i] * dot(a + i * width, b + i * width, width);
    }
    return sum;
}

static void fold(double *rows, const double *gains, size_t n, size_t width)
{
    for (size_t i = 0; i < n * width && gains; i++) {
        rows[i] *= gains[i % width];
    }
}

static void subtract(double *x, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] -= from[i];
    }
}

/* A task vector of few steps of its grid was rounded to one side in a sum, and tells
 * another share: such elements take no part, and their places are marked. */
static void leave_short(struct fit *f, size_t n)
{
    const double *base = rows_of(f, WW_FAMILY_BASE);

    for (size_t i = 0; i < n; i++) {
        double largest = fabs(base[i]);
        double longest = 0;
        for (unsigned m = WW_FAMILY_SOURCES; m < f->n_models; m++) {
            const double moved = rows_of(f, m)[i];
            largest = fmax(largest, fabs(base[i] + moved));
            longest = fmax(longest, fabs(moved));
        }
        f->bytes[i] =
            longest < ldexp(WW_MOMENTS_STEPS, ww_moments_step(largest, f->grid));
        for (unsigned m = WW_FAMILY_SOURCES; m < f->n_models && f->bytes[i]; m++) {
            rows_of(f, m)[i] = 0;
        }
    }
}

/* Products of what the rows, turned back, and the sources are away from the base. like:
 * three sums that tell the cosine with the base. */
static void add_products(struct fit *f, const double *gains, size_t n, double *like)
{
    const size_t width = f->rotation->n;
    const size_t all = n * width;
    double *base = rows_of(f, WW_FAMILY_BASE);
    double *away = rows_of(f, f->n_models);

    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, width, width, 1,
               rows_of(f, WW_FAMILY_SUSPECT), width, f->rotation->r, width, 0, away,
               width);
    for (unsigned m = WW_FAMILY_SOURCES; m < f->n_models; m++) {
        subtract(rows_of(f, m), base, all);
    }
    leave_short(f, all);
    for (unsigned m = WW_FAMILY_BASE; m < f->n_models; m++) {
        fold(rows_of(f, m), gains, n, width);
    }
    like[0] += dot(away, base, all);
    like[1] += dot(away, away, all);
    like[2] += dot(base, base, all);
    subtract(away, base, all);
    weigh(f, n, away);
    for (size_t i = 0; i < all; i++) {
        away[i] = f->bytes[i] ? 0 : away[i];
    }
    for (unsigned i = 0; i <= f->k; i++) {
        const double *a = i ? rows_of(f, WW_FAMILY_SOURCES + i - 1) : away;
        for (unsigned j = 0; j <= i; j++) {
            const double *b = j ? rows_of(f, WW_FAMILY_SOURCES + j - 1) : away;
            f->products[i * (f->k + 1) + j] += weighed(f, a, b, n);
        }
    }
}

/* Rows of base + sum s_i (source_i - base), without gains. */
static double *target_of(const struct fit *f, size_t n)
{
    const size_t all = n * f->rotation->n;
    const double *base = rows_of(f, WW_FAMILY_BASE);
    double *target = rows_of(f, f->n_models);

    memcpy(target, base, all * sizeof(*target));
    for (unsigned s = 0; s < f->k; s++) {
        const double *source = rows_of(f, WW_FAMILY_SOURCES + s);
        for (size_t i = 0; i < all; i++) {
            target[i] += f->share[s] * (source[i] - base[i]);
        }
    }
    return target;
}

/* sum x' t^T */
static void add_turned(struct fit *f, const double *gains, size_t n, double *like)
{
    const size_t width = f->rotation->n;
    double *target = target_of(f, n);

    (void)like;
    fold(target, gains, n, width);
    for (size_t i = 0; i < n * width; i++) {
        target[i] *= (double)f->weight[i / width];
    }
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, width, width, n, 1,
               rows_of(f, WW_FAMILY_SUSPECT), width, target, width, 1, f->sum, width);
}

/* Of each column x . t, t . t and x . x. */
static void add_columns(struct fit *f, const double *gains, size_t n, double *like)
{
    const size_t width = f->rotation->n;
    const double *x = rows_of(f, WW_FAMILY_SUSPECT);
    const double *target = target_of(f, n);

    (void)gains;
    for (size_t i = 0; i < n * width; i++) {
        const double w = (double)f->weight[i / width];
        f->sum[i % width] += w * x[i] * target[i];
        f->sum[width + i % width] += w * target[i] * target[i];
        f->sum[2 * width + i % width] += w * x[i] * x[i];
    }
    like[0] += (double)n;
}

static enum ww_err read_tensor(struct fit *f, uint32_t t, piece_fn piece, double *like,
                               struct ww_error *err)
{
    const struct ww_rotated_rows rows =
        ww_rotated_rows(f->rotation, f->models[WW_FAMILY_SUSPECT], t);
    const uint32_t *at = f->at + (size_t)t * f->n_models;
    uint64_t count = t;
    struct ww_rotated_piece next = {0};
    enum ww_err rc = WW_OK;

    f->grid = f->models[WW_FAMILY_BASE]->tensors[at[WW_FAMILY_BASE]].dtype;
    for (uint64_t first = 0; first < rows.outer * rows.inner && !rc; first += next.n) {
        next = ww_rotated_piece(&rows, first);
        if (count++ % f->every) {
            continue;
        }
        for (unsigned m = 0; m < f->n_models && !rc; m++) {
            rc = ww_rotated_read(f->models[m], at[m], &rows, &next, f->bytes,
                                 rows_of(f, m), err);
        }
        if (!rc) {
            f->weight = f->weights + f->first[t] + next.first;
            piece(f, f->rotation->parts[t].gains, next.n, like);
        }
    }
    return rc;
}

/* Shares by least squares, with as little as makes them always defined. */
static enum ww_err solve_shares(struct fit *f, double *moved, struct ww_error *err)
{
    const unsigned k = f->k;
    double *xx = ww_calloc((size_t)k * k + k, sizeof(*xx));
    double *xy = xx + (size_t)k * k;
    double mean = 0;
    enum ww_err rc = xx ? WW_OK : WW_FAIL_MEMORY(err, "shares of a rotated suspect");

    for (unsigned i = 0; i < k && !rc; i++) {
        const double *row = f->products + (size_t)(i + 1) * (k + 1);
        xy[i] = row[0];
        mean += row[i + 1] / k;
        for (unsigned j = 0; j <= i; j++) {
            xx[i * k + j] = xx[j * k + i] = row[j + 1];
        }
    }
    *moved = 0;
    if (rc || !(mean > 0)) {
        ww_free(xx);
        return rc;
    }
    for (unsigned i = 0; i < k; i++) {
        xx[i * k + i] += RIDGE * mean;
    }
    rc = ww_la_cholesky(k, xx, err);
    rc = rc ? rc : ww_la_cholesky_divide(1, k, xy, xx, err);
    for (unsigned i = 0; i < k && !rc; i++) {
        *moved = fmax(*moved, fabs(xy[i] - f->share[i]));
        f->share[i] = xy[i];
    }
    ww_free(xx);
    return rc;
}

static void leave_out_least(double *gains, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs(gains[i]));
    }
    for (size_t i = 0; i < n; i++) {
        gains[i] = fabs(gains[i]) > LEAST_GAIN * most ? gains[i] : 1;
    }
}

/* Gains of the sum, in place of the base's. */
static enum ww_err sum_gains(struct fit *f, uint32_t t, struct ww_error *err)
{
    const size_t n = f->rotation->n;
    const double plus = f->rotation->parts[t].plus_one ? 1 : 0;
    double *gains = f->rotation->gains[t];
    double *one = f->rows;
    enum ww_err rc = WW_OK;

    memset(gains, 0, n * sizeof(*gains));
    for (unsigned m = WW_FAMILY_BASE; m < f->n_models && !rc; m++) {
        double share = m > WW_FAMILY_BASE ? f->share[m - WW_FAMILY_SOURCES] : 1;
        for (unsigned s = 0; s < f->k && m == WW_FAMILY_BASE; s++) {
            share -= f->share[s];
        }
        rc = ww_elements_double(f->models[m], f->at[(size_t)t * f->n_models + m], 0, n,
                                f->bytes, one, err);
        for (size_t i = 0; i < n && !rc; i++) {
            gains[i] += share * (one[i] + plus);
        }
    }
    leave_out_least(gains, n);
    return rc;
}

/* Columns of so many rows tell by which factors gains are off, relative to those, with an
 * error. As far as they differ by more than their errors they are believed. */
static void bring_nearer(const struct fit *f, double rows, double *gains)
{
    const size_t width = f->rotation->n;
    double *off = f->sum;
    double *error = f->sum + width;
    double squares = 0;
    double errors = 0;

    for (size_t c = 0; c < width; c++) {
        const double xt = f->sum[c];
        const double tt = f->sum[width + c];
        const double left = tt > 0 ? f->sum[2 * width + c] - xt * xt / tt : 0;
        const double size = tt * gains[c] * gains[c];
        const bool told = size > 0 && rows > 1;
        off[c] = told ? xt / tt / gains[c] - 1 : 0;
        error[c] = told ? fmax(left, 0) / size / (rows - 1) : 0;
        squares += off[c] * off[c];
        errors += error[c];
    }
    const double spread = fmax(squares - errors, 0) / (double)width;
    for (size_t c = 0; c < width && spread > 0; c++) {
        gains[c] *= 1 + off[c] * spread / (spread + error[c]);
    }
}

/* Gains that bring what reads a norm nearest to the sum's. Its own were rounded, and a
 * gain that is a rounding off is a column that points along the base's. */
static enum ww_err nearest_gains(struct fit *f, uint32_t t, struct ww_error *err)
{
    const size_t width = f->rotation->n;
    double *gains = f->rotation->gains[t];
    double like[3] = {0};
    enum ww_err rc = WW_OK;

    memset(f->sum, 0, 3 * width * sizeof(*f->sum));
    for (uint32_t u = 0; u < f->rotation->n_tensors && !rc; u++) {
        if (f->use[u] && f->rotation->parts[u].gains == gains) {
            rc = read_tensor(f, u, add_columns, like, err);
        }
    }
    if (!rc) {
        bring_nearer(f, like[0], gains);
        leave_out_least(gains, width);
    }
    return rc;
}

static enum ww_err each_tensor(struct fit *f, piece_fn piece, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < f->rotation->n_tensors && !rc; t++) {
        double like[3] = {0};
        rc = ww_run_progress(f->run, "rotation", t, f->rotation->n_tensors, err);
        if (!rc && f->use[t] && !f->rotation->parts[t].is_gain) {
            rc = read_tensor(f, t, piece, like, err);
        }
    }
    return rc;
}

/* Shares by the rows turned back, and gains by the shares. */
static enum ww_err share(struct fit *f, bool nearest, double *moved, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(f->products, 0, (size_t)(f->k + 1) * (f->k + 1) * sizeof(*f->products));
    rc = each_tensor(f, add_products, err);
    rc = rc ? rc : solve_shares(f, moved, err);
    for (uint32_t t = 0; t < f->rotation->n_tensors && !rc; t++) {
        if (f->use[t] && f->rotation->parts[t].is_gain) {
            rc = sum_gains(f, t, err);
            rc = rc || !nearest ? rc : nearest_gains(f, t, err);
        }
    }
    return rc;
}

static enum ww_err turn(struct fit *f, double *moved, struct ww_error *err)
{
    const size_t width = f->rotation->n;
    enum ww_err rc = share(f, false, moved, err);

    if (rc) {
        return rc;
    }
    memset(f->sum, 0, width * width * sizeof(*f->sum));
    rc = each_tensor(f, add_turned, err);
    rc = rc ? rc : ww_la_polar(width, width, f->sum, NULL, err);
    if (!rc) {
        memcpy(f->rotation->r, f->sum, width * width * sizeof(*f->sum));
    }
    return rc;
}

/* The tensor in all models, of one shape; a gain too. */
static enum ww_err find_all(struct fit *f, uint32_t t, struct ww_error *err)
{
    const struct ww_tensor *own = &f->models[WW_FAMILY_SUSPECT]->tensors[t];
    bool all = f->rotation->parts[t].on;
    enum ww_err rc = WW_OK;

    f->at[(size_t)t * f->n_models] = t;
    for (unsigned m = WW_FAMILY_BASE; m < f->n_models && all && !rc; m++) {
        uint32_t *at = &f->at[(size_t)t * f->n_models + m];
        rc = ww_depths_index(f->depths, f->models[m], own->name, at, err);
        all = !rc && *at != WW_NONE;
        if (all) {
            const struct ww_tensor *other = &f->models[m]->tensors[*at];
            all = ww_dtype_is_plain_float(other->dtype) && ww_same_shape(other, own);
        }
    }
    f->use[t] = all;
    return rc;
}

/* Which tensors all models have, and which of them lie along the base's. */
static enum ww_err choose(struct fit *f, bool *related, struct ww_error *err)
{
    const struct ww_model *model = f->models[WW_FAMILY_SUSPECT];
    uint64_t all = 0;
    uint64_t along = 0;
    double apart = 0;
    double size = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < f->rotation->n_tensors && !rc; t++) {
        rc = find_all(f, t, err);
        all += f->rotation->parts[t].on ? model->tensors[t].n_elements : 0;
    }
    f->every = ww_max_u64(1, all / f->rotation->n / (ROWS_OF * f->rotation->n));
    for (uint32_t t = 0; t < f->rotation->n_tensors && !rc; t++) {
        double like[3] = {0};
        if (!f->use[t] || f->rotation->parts[t].is_gain) {
            continue;
        }
        rc = read_tensor(f, t, add_products, like, err);
        f->use[t] = like[0] >= ALONG * sqrt(like[1]) * sqrt(like[2]);
        along += f->use[t] ? model->tensors[t].n_elements : 0;
        apart += like[1] + like[2] - 2 * like[0];
        size += like[2];
    }
    f->apart = size > 0 ? apart / size : 0;
    *related = (double)along >= MOST * (double)all;
    return rc;
}

static enum ww_err take_room(struct fit *f, struct ww_error *err)
{
    const struct ww_model *model = f->models[WW_FAMILY_SUSPECT];
    const size_t width = f->rotation->n;
    const size_t rows = WW_ROTATED_ROWS * width;
    uint64_t all = 0;

    f->first = ww_calloc(f->rotation->n_tensors, sizeof(*f->first));
    for (uint32_t t = 0; t < f->rotation->n_tensors && f->first; t++) {
        f->first[t] = all;
        all += f->rotation->parts[t].on ? model->tensors[t].n_elements / width : 0;
    }
    f->weights = ww_calloc(all + 1, sizeof(*f->weights));
    f->at = ww_calloc((size_t)f->rotation->n_tensors * f->n_models, sizeof(*f->at));
    f->use = ww_calloc(f->rotation->n_tensors, sizeof(*f->use));
    f->rows = ww_calloc(rows * (f->n_models + 1), sizeof(*f->rows));
    f->bytes = ww_calloc(rows, sizeof(double));
    f->products = ww_calloc((size_t)(f->k + 1) * (f->k + 1), sizeof(*f->products));
    f->sum = ww_calloc(width * (width + 3), sizeof(*f->sum));
    return f->first && f->weights && f->at && f->use && f->rows && f->bytes &&
                   f->products && f->sum
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a rotated suspect");
}

static struct fit fit_of(struct ww_model *const *models, unsigned n_models,
                         const struct ww_depths *depths, const struct ww_run_options *run,
                         struct ww_rotation *rotation)
{
    return (struct fit){.models = models,
                        .n_models = n_models,
                        .k = n_models - WW_FAMILY_SOURCES,
                        .depths = depths,
                        .run = run,
                        .rotation = rotation,
                        .every = 1};
}

static void release(struct fit *f)
{
    ww_free(f->first);
    ww_free(f->weights);
    ww_free(f->at);
    ww_free(f->use);
    ww_free(f->rows);
    ww_free(f->bytes);
    ww_free(f->products);
    ww_free(f->sum);
}

enum ww_err ww_rotated_fit(struct ww_model *const *models, unsigned n_models,
                           const struct ww_depths *depths,
                           const struct ww_run_options *run, struct ww_rotation *rotation,
                           bool *related, struct ww_error *err)
{
    struct fit f = fit_of(models, n_models, depths, run, rotation);
    double moved = INFINITY;
    enum ww_err rc = take_room(&f, err);

    *related = false;
    if (!rc) {
        rc = choose(&f, related, err);
    }
    for (int i = 0; i < TURNS && *related && moved > STANDS && !rc; i++) {
        rc = turn(&f, &moved, err);
    }
    release(&f);
    return rc;
}

static void set_identity(double *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r[i * n + i] = 1;
    }
}

/* Is the stream the base's as it is, beside what a rotation (NULL: there is none) would
 * make of it? f has the identity, whose gains are looked for then. */
static enum ww_err choose_still(struct fit *f, double *turned, bool *still,
                                struct ww_error *err)
{
    double *const same = f->rotation->r;
    double apart = HUGE_VAL;
    bool related = false;
    enum ww_err rc = WW_OK;

    if (turned) {
        f->rotation->r = turned;
        rc = choose(f, &related, err);
        f->rotation->r = same;
        apart = related ? f->apart : HUGE_VAL;
    }
    rc = rc ? rc : choose(f, still, err);
    *still = *still && f->apart <= AS_NEAR * apart;
    return rc;
}

enum ww_err ww_rotated_still(struct ww_model *const *models, unsigned n_models,
                             const struct ww_run_options *run,
                             struct ww_rotation *rotation, bool *still,
                             struct ww_error *err)
{
    const struct ww_depths none = {0};
    const size_t n = rotation->n;
    struct fit f = fit_of(models, n_models, &none, run, rotation);
    double *turned = rotation->r;
    double *same = ww_calloc(n * n, sizeof(*same));
    double moved = INFINITY;
    enum ww_err rc = same ? take_room(&f, err) : WW_FAIL_MEMORY(err, "a rotation");

    *still = false;
    if (!rc) {
        set_identity(same, n);
        rotation->r = same;
        rc = choose_still(&f, turned, still, err);
    }
    for (int i = 0; i < TURNS && *still && moved > STANDS && !rc; i++) {
        rc = share(&f, true, &moved, err);
    }
    rotation->r = turned;
    if (*still && turned) {
        memcpy(turned, same, n * n * sizeof(*same));
    } else if (*still) {
        rotation->r = same;
        same = NULL;
    }
    ww_free(same);
    release(&f);
    return rc;
}
