/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/scaled.h"

#include <math.h>

#include "attack/solve.h"
#include "lineage/family.h"
#include "model/elements.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PART 4096      /* elements read at once */
#define LOOKED 16      /* neurons of the first look */
#define ODD_NEURONS 4  /* of them, scaled by more than ODD */
#define ODD 0.05       /* of the logarithm of a factor; training does less to a length */
#define LIKE 0.5       /* least cosine of a row with the base's */
#define BETTER 0.5     /* of the squared distance from the base may be left */
#define NEAR 0.5       /* of the base's squared length, the same */
#define INVERSE 0.5    /* of what lengths say on both sides may be left in the products */
#define SHARE_ROWS 512 /* neurons that tell the shares */
#define TURNS 12

struct side {
    uint32_t tensor;
    uint64_t first; /* element */
    uint64_t n;     /* elements */
    bool columns;   /* neurons are columns */
    double *own;    /* [neurons] squared lengths of the suspect's */
    double *base;   /* of the base's */
    double *dots;   /* [k + 1][neurons] of the suspect's with the base's and with what
                       sources moved */
};

struct fit {
    const struct ww_scaled_family *family;
    struct ww_scaled_mlp *mlp;
    unsigned k;
    uint32_t *at;    /* [n of models] the tensor of the side in each */
    double *rows;    /* [n of models][PART] */
    double *steps;   /* [PART] */
    uint8_t *bytes;  /* [PART] doubles */
    double *grams;   /* [k + 1][k + 1], of the rows that tell shares */
    double *share;   /* [k] */
    double *numbers; /* what the arrays of both sides lie in */
    struct side sides[2];
    double even; /* what makes the columns of down count as the rows of up */
};

enum ww_err ww_scaled_values(const struct ww_disguise *suspect, uint32_t tensor,
                             uint64_t first, size_t n, uint8_t *bytes, double *steps,
                             double *out, struct ww_error *err)
{
    return suspect->read
               ? ww_disguise_values(suspect, tensor, first, n, out, steps, err)
               : ww_elements_double(suspect->model, tensor, first, n, bytes, out, err);
}

/* The side's tensor in all models, floats of its shape. */
static enum ww_err find_all(struct fit *f, const struct side *side, bool *all,
                            struct ww_error *err)
{
    const struct ww_disguise *suspect = f->family->suspect;
    const struct ww_tensor *own = &suspect->model->tensors[side->tensor];
    enum ww_err rc = WW_OK;

    *all = ww_dtype_is_plain_float(own->dtype);
    f->at[WW_FAMILY_SUSPECT] = side->tensor;
    for (unsigned m = WW_FAMILY_BASE; m < f->family->n && *all && !rc; m++) {
        const struct ww_model *model = f->family->models[m];
        rc = ww_depths_index(&suspect->depths, model, own->name, &f->at[m], err);
        *all = !rc && f->at[m] != WW_NONE &&
               ww_dtype_is_plain_float(model->tensors[f->at[m]].dtype) &&
               ww_same_shape(&model->tensors[f->at[m]], own);
    }
    return rc;
}

static double *rows_of(const struct fit *f, unsigned model)
{
    return f->rows + (size_t)model * PART;
}

/* The same elements of n_models models. */
static enum ww_err read_part(const struct fit *f, unsigned n_models, uint64_t first,
                             size_t n, struct ww_error *err)
{
    enum ww_err rc =
        ww_scaled_values(f->family->suspect, f->at[WW_FAMILY_SUSPECT], first, n, f->bytes,
                         f->steps, rows_of(f, WW_FAMILY_SUSPECT), err);

    for (unsigned m = WW_FAMILY_BASE; m < n_models && !rc; m++) {
        rc = ww_elements_double(f->family->models[m], f->at[m], first, n, f->bytes,
                                rows_of(f, m), err);
    }
    return rc;
}

static size_t neuron_of(const struct fit *f, const struct side *side, uint64_t e)
{
    return (size_t)(side->columns ? e % f->mlp->n : e / f->mlp->width);
}

/* Sums over elements [at, at + n) of a side. */
static void add_part(struct fit *f, const struct side *side, uint64_t at, size_t n)
{
    const double *suspect = rows_of(f, WW_FAMILY_SUSPECT);
    const double *base = rows_of(f, WW_FAMILY_BASE);
    const size_t shares = ww_min_u64(SHARE_ROWS, f->mlp->n) * f->mlp->width;

    for (unsigned s = 0; s < f->k; s++) {
        double *source = rows_of(f, WW_FAMILY_SOURCES + s);
        for (size_t e = 0; e < n; e++) {
            source[e] -= base[e];
        }
    }
    for (size_t e = 0; e < n; e++) {
        const size_t i = neuron_of(f, side, at + e);
        side->own[i] += suspect[e] * suspect[e];
        side->base[i] += base[e] * base[e];
        for (unsigned m = 0; m <= f->k; m++) {
            side->dots[m * f->mlp->n + i] += suspect[e] * rows_of(f, 1 + m)[e];
        }
    }
    for (unsigned i = 0; i <= f->k && !side->columns; i++) {
        for (unsigned j = 0; j <= i; j++) {
            double *sum = &f->grams[i * (f->k + 1) + j];
            for (size_t e = 0; e < n && at + e < shares; e++) {
                *sum += rows_of(f, 1 + i)[e] * rows_of(f, 1 + j)[e];
            }
        }
    }
}

static enum ww_err add_side(struct fit *f, const struct side *side, bool *all,
                            struct ww_error *err)
{
    enum ww_err rc = find_all(f, side, all, err);

    for (uint64_t at = 0; at < side->n && *all && !rc; at += PART) {
        const size_t n = (size_t)ww_min_u64(PART, side->n - at);
        rc = read_part(f, f->family->n, side->first + at, n, err);
        if (!rc) {
            add_part(f, side, at, n);
        }
    }
    return rc;
}

/* Of its first rows, how many are the base's but for a factor? */
static enum ww_err look(struct fit *f, bool *odd, struct ww_error *err)
{
    const struct side *up = &f->sides[0];
    const uint64_t end = ww_min_u64(LOOKED, f->mlp->n) * f->mlp->width;
    double sums[LOOKED][3] = {{0}};
    unsigned n_odd = 0;
    enum ww_err rc = find_all(f, up, odd, err);

    for (uint64_t at = 0; at < end && *odd && !rc; at += PART) {
        const size_t n = (size_t)ww_min_u64(PART, end - at);
        rc = read_part(f, WW_FAMILY_SOURCES, up->first + at, n, err);
        for (size_t e = 0; e < n && !rc; e++) {
            double *sum = sums[neuron_of(f, up, at + e)];
            sum[0] += rows_of(f, 0)[e] * rows_of(f, 0)[e];
            sum[1] += rows_of(f, 0)[e] * rows_of(f, 1)[e];
            sum[2] += rows_of(f, 1)[e] * rows_of(f, 1)[e];
        }
    }
    for (size_t i = 0; i < LOOKED; i++) {
        const double *sum = sums[i];
        n_odd += sum[1] * sum[1] > LIKE * LIKE * sum[0] * sum[2] &&
                 fabs(log(fabs(sum[1]) / sum[0])) > ODD;
    }
    *odd = *odd && n_odd >= ODD_NEURONS;
    return rc;
}

/* The suspect's neuron times the sum that shares make. */
static double dot_of(const struct fit *f, const struct side *side, size_t i)
{
    double sum = side->dots[i];

    for (unsigned s = 0; s < f->k; s++) {
        sum += f->share[s] * side->dots[(s + 1) * f->mlp->n + i];
    }
    return sum;
}

static void solve_factors(struct fit *f)
{
    const struct side *up = &f->sides[0];
    const struct side *down = &f->sides[1];

    for (size_t i = 0; i < f->mlp->n; i++) {
        const struct ww_neuron_problem problem = {.alpha = up->own[i],
                                                  .beta = f->even * down->own[i],
                                                  .cu = dot_of(f, up, i),
                                                  .cw = f->even * dot_of(f, down, i),
                                                  .power = 1,
                                                  .positive = !f->mlp->sign_moves};
        f->mlp->factors[i] = ww_solve_neuron(&problem);
    }
}

/* Least squares of the rows that tell, one share after another. */
static void solve_shares(struct fit *f)
{
    const size_t rows = (size_t)ww_min_u64(SHARE_ROWS, f->mlp->n);
    const unsigned stride = f->k + 1;

    for (unsigned s = 0; s < f->k; s++) {
        const double *dots = f->sides[0].dots + (s + 1) * f->mlp->n;
        const double *gram = f->grams + (size_t)(s + 1) * stride;
        double sum = -gram[0];
        for (size_t i = 0; i < rows; i++) {
            sum += f->mlp->factors[i] * dots[i];
        }
        for (unsigned o = 0; o < f->k; o++) {
            const double both = o < s ? gram[o + 1] : f->grams[(o + 1) * stride + s + 1];
            sum -= o == s ? 0 : f->share[o] * both;
        }
        f->share[s] = gram[s + 1] > 0 ? sum / gram[s + 1] : 0;
    }
}

/* Squared distance from the base with its factors, or without. */
static double distance(const struct fit *f, bool factors)
{
    double sum = 0;

    for (size_t i = 0; i < f->mlp->n; i++) {
        for (int s = 0; s < 2; s++) {
            const struct side *side = &f->sides[s];
            const double t = !factors ? 1
                             : s      ? 1 / f->mlp->factors[i]
                                      : f->mlp->factors[i];
            sum += (s ? f->even : 1) *
                   (t * t * side->own[i] - 2 * t * side->dots[i] + side->base[i]);
        }
    }
    return sum;
}

static double norm_of(const struct side *side, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += side->base[i];
    }
    return sum;
}

/* Are neurons longer in front by what they are shorter behind? What was added to short
 * rows changes one side alone. */
static bool are_inverse(const struct fit *f)
{
    double both = 0;
    double each = 0;

    for (size_t i = 0; i < f->mlp->n; i++) {
        double by[2] = {0};
        for (int s = 0; s < 2; s++) {
            const struct side *side = &f->sides[s];
            by[s] = side->dots[i] != 0 && side->base[i] > 0
                        ? log(fabs(side->dots[i]) / side->base[i])
                        : 0;
        }
        both += (by[0] + by[1]) * (by[0] + by[1]);
        each += by[0] * by[0] + by[1] * by[1];
    }
    return both < INVERSE * each;
}

/* Factors, where they explain how the layer differs from the base. */
static bool solve(struct fit *f)
{
    const double up = norm_of(&f->sides[0], f->mlp->n);
    const double down = norm_of(&f->sides[1], f->mlp->n);
    double left = 0;

    f->even = up > 0 && down > 0 ? up / down : 0;
    solve_factors(f);
    left = distance(f, true);
    if (!(f->even > 0) || !are_inverse(f) || !(left < BETTER * distance(f, false)) ||
        !(left < NEAR * 2 * up)) {
        return false;
    }
    for (int i = 0; i < TURNS; i++) {
        solve_shares(f);
        solve_factors(f);
    }
    return true;
}

static enum ww_err take_room(struct fit *f, struct ww_error *err)
{
    const size_t n = f->mlp->n;
    const size_t one = (f->k + (size_t)3) * n;

    f->at = ww_calloc(f->family->n, sizeof(*f->at));
    f->rows = ww_calloc((size_t)f->family->n * PART, sizeof(*f->rows));
    f->steps = ww_calloc(PART, sizeof(*f->steps));
    f->bytes = ww_calloc(PART, sizeof(double));
    f->grams = ww_calloc((f->k + (size_t)1) * (f->k + 1), sizeof(*f->grams));
    f->share = ww_calloc(f->k + (size_t)1, sizeof(*f->share));
    f->numbers = ww_calloc(2 * one, sizeof(*f->numbers));
    f->mlp->factors = ww_calloc(n, sizeof(*f->mlp->factors));
    if (!f->at || !f->rows || !f->steps || !f->bytes || !f->grams || !f->share ||
        !f->numbers || !f->mlp->factors) {
        return WW_FAIL_MEMORY(err, "scaled neurons");
    }
    for (int s = 0; s < 2; s++) {
        f->sides[s].own = f->numbers + (size_t)s * one;
        f->sides[s].base = f->sides[s].own + n;
        f->sides[s].dots = f->sides[s].base + n;
    }
    return WW_OK;
}

enum ww_err ww_scaled_fit(const struct ww_scaled_family *family,
                          struct ww_scaled_mlp *mlp, struct ww_error *err)
{
    const uint64_t rows = (uint64_t)mlp->n * mlp->width;
    struct fit f = {
        .family = family,
        .mlp = mlp,
        .k = family->n - WW_FAMILY_SOURCES,
        .sides = {{.tensor = mlp->up, mlp->first * mlp->width, rows},
                  {.tensor = mlp->down, .n = mlp->height * mlp->n, .columns = true}}};
    bool found = false;
    enum ww_err rc = take_room(&f, err);

    rc = rc ? rc : look(&f, &found, err);
    for (int s = 0; s < 2 && found && !rc; s++) {
        rc = add_side(&f, &f.sides[s], &found, err);
    }
    found = found && !rc && solve(&f);
    if (!found) {
        ww_free(mlp->factors);
        mlp->factors = NULL;
    }
    ww_free(f.at);
    ww_free(f.rows);
    ww_free(f.steps);
    ww_free(f.bytes);
    ww_free(f.grams);
    ww_free(f.share);
    ww_free(f.numbers);
    return rc;
}
