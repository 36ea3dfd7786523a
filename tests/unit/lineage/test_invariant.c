/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of heads against their definition (M is formed), under random locks, and
 * shares of random heads that were blended, locked and rounded.
 * tests/bench/lineage_disguise.py is the long form, on a trained family.
 */
#include "lineage/invariant.h"

#include "model/convert.h"
#include "ww_test.h"

#define D 8
#define WIDTH 96
#define K 2 /* sources */
#define N (K + 2)
#define HEADS 12

static uint64_t state_of_draws = 7;

static double bell(void)
{
    double sum = 0;
    for (unsigned i = 0; i < 12; i++) {
        state_of_draws =
            state_of_draws * UINT64_C(6364136223846793005) + 1442695040888963407u;
        sum += (double)(state_of_draws >> 33) / (double)(UINT64_C(1) << 31) - 0.5;
    }
    return sum;
}

static float bf16(double v)
{
    uint16_t stored = 0;
    float out = 0;
    ww_from_double(WW_DTYPE_BF16, &v, &stored, 1);
    ww_to_float(WW_DTYPE_BF16, &stored, &out, 1);
    return out;
}

struct rows {
    float a[D * WIDTH];
    float c[D * WIDTH];
};

static void fill(struct rows *r)
{
    for (size_t e = 0; e < D * WIDTH; e++) {
        r->a[e] = bf16(0.02 * bell());
        r->c[e] = bf16(0.02 * bell());
    }
}

static void near(const struct rows *base, double scale, struct rows *out)
{
    for (size_t e = 0; e < D * WIDTH; e++) {
        out->a[e] = bf16((double)base->a[e] + scale * 0.02 * bell());
        out->c[e] = bf16((double)base->c[e] + scale * 0.02 * bell());
    }
}

/* t times the rows, rounded to bf16 or not. */
static void mix(float *rows, const double *t, bool round)
{
    float out[D * WIDTH];

    for (size_t i = 0; i < D; i++) {
        for (size_t e = 0; e < WIDTH; e++) {
            double sum = 0;
            for (size_t j = 0; j < D; j++) {
                sum += t[i * D + j] * (double)rows[j * WIDTH + e];
            }
            out[i * WIDTH + e] = round ? bf16(sum) : (float)sum;
        }
    }
    memcpy(rows, out, sizeof(out));
}

/* A product of shears has an inverse that is as simple. */
static void lock_dense(struct rows *r, bool round)
{
    double t[D * D] = {0};
    double inverse[D * D] = {0};

    for (size_t i = 0; i < D; i++) {
        t[i * D + i] = inverse[i * D + i] = 1;
    }
    for (unsigned step = 0; step < 40; step++) {
        const size_t i = (size_t)(fabs(bell()) * 1e6) % D;
        const size_t j = (i + 1 + (size_t)(fabs(bell()) * 1e6) % (D - 1)) % D;
        const double f = 0.4 * bell();
        for (size_t e = 0; e < D; e++) {
            t[i * D + e] += f * t[j * D + e];             /* t = (1 + f e_ij) t */
            inverse[e * D + j] -= f * inverse[e * D + i]; /* t^-1 (1 - f e_ij) */
        }
    }
    for (size_t i = 0; i < D; i++) {
        for (size_t j = 0; j < i; j++) {
            const double v = inverse[i * D + j];
            inverse[i * D + j] = inverse[j * D + i];
            inverse[j * D + i] = v;
        }
    }
    mix(r->a, t, round);
    mix(r->c, inverse, round);
}

/* Pair f of a turned by z, of c by 1 / conj z. */
static void lock_pairs(struct rows *r, enum ww_rope_style style)
{
    for (size_t f = 0; f < D / 2; f++) {
        const size_t i = style == WW_ROPE_ADJACENT ? 2 * f : f;
        const size_t j = style == WW_ROPE_ADJACENT ? 2 * f + 1 : f + D / 2;
        const double re = 1 + 0.5 * bell();
        const double im = bell();
        const double norm = re * re + im * im;
        for (size_t e = 0; e < WIDTH; e++) {
            const double ai = (double)r->a[i * WIDTH + e];
            const double aj = (double)r->a[j * WIDTH + e];
            const double ci = (double)r->c[i * WIDTH + e];
            const double cj = (double)r->c[j * WIDTH + e];
            r->a[i * WIDTH + e] = (float)(re * ai - im * aj);
            r->a[j * WIDTH + e] = (float)(im * ai + re * aj);
            r->c[i * WIDTH + e] = (float)((re * ci - im * cj) / norm);
            r->c[j * WIDTH + e] = (float)((im * ci + re * cj) / norm);
        }
    }
}

static struct ww_head_shape shape_of(enum ww_rope_style style)
{
    return (struct ww_head_shape){
        .d = D,
        .width_a = WIDTH,
        .width_c = WIDTH,
        .rope = {.style = style, .dims = style == WW_ROPE_NONE ? 0 : D}};
}

static void gram_of(struct rows *rows, unsigned n, enum ww_rope_style style, double *gram)
{
    const struct ww_head_shape shape = shape_of(style);
    struct ww_head heads[N];
    double scratch[2 * D * D];

    for (unsigned m = 0; m < n; m++) {
        heads[m] = (struct ww_head){rows[m].a, rows[m].c};
    }
    ww_invariant_gram(&shape, heads, n, gram, scratch);
}

static void gram_is_that_of_the_products(void **state)
{
    struct rows rows[2];
    double gram[4];
    double want = 0;
    (void)state;

    fill(&rows[0]);
    fill(&rows[1]);
    gram_of(rows, 2, WW_ROPE_NONE, gram);
    for (size_t p = 0; p < WIDTH; p++) {
        for (size_t q = 0; q < WIDTH; q++) {
            double m[2] = {0};
            for (unsigned k = 0; k < 2; k++) {
                for (size_t i = 0; i < D; i++) {
                    m[k] += (double)rows[k].a[i * WIDTH + p] *
                            (double)rows[k].c[i * WIDTH + q];
                }
            }
            want += m[0] * m[1];
        }
    }
    NEAR(gram[1], want, 1e-12 * gram[0]);
    NEAR(gram[2], want, 1e-12 * gram[0]);
}

static void locks_inside_of_heads_change_no_product(void **state)
{
    static const enum ww_rope_style styles[] = {WW_ROPE_NONE, WW_ROPE_HALF,
                                                WW_ROPE_ADJACENT};
    (void)state;

    for (size_t s = 0; s < 3; s++) {
        struct rows rows[2];
        double before[4];
        double after[4];
        fill(&rows[0]);
        fill(&rows[1]);
        gram_of(rows, 2, styles[s], before);
        if (styles[s] == WW_ROPE_NONE) {
            lock_dense(&rows[0], false);
        } else {
            lock_pairs(&rows[0], styles[s]);
        }
        gram_of(rows, 2, styles[s], after);
        for (unsigned i = 0; i < 4; i++) {
            NEAR(after[i], before[i], 1e-4 * before[0]);
        }
        /* A lock of another kind does change them: the test could fail. */
        if (styles[s] != WW_ROPE_NONE) {
            lock_dense(&rows[0], false);
            gram_of(rows, 2, styles[s], after);
            assert_true(fabs(after[0] - before[0]) > 0.01 * before[0]);
        }
    }
}

/* Heads of base, a source with this share and a decoy; the suspect was locked. */
static void add_head(struct ww_invariant *sums, double share, double scale)
{
    struct rows rows[N];
    double gram[N * N];
    struct ww_error err = {0};

    fill(&rows[1]);
    near(&rows[1], scale, &rows[2]);
    near(&rows[1], scale, &rows[3]);
    for (size_t e = 0; e < D * WIDTH; e++) {
        rows[0].a[e] = bf16((double)rows[1].a[e] +
                            share * ((double)rows[2].a[e] - (double)rows[1].a[e]));
        rows[0].c[e] = bf16((double)rows[1].c[e] +
                            share * ((double)rows[2].c[e] - (double)rows[1].c[e]));
    }
    lock_dense(&rows[0], true);
    gram_of(rows, N, WW_ROPE_NONE, gram);
    OK(ww_invariant_add(sums, gram, &err));
}

static void shares_of_locked_heads_come_out(void **state)
{
    static const int8_t sides[][K] = {{1, 1}, {-1, 1}};
    unsigned held = 0;
    (void)state;

    for (unsigned trial = 0; trial < 20; trial++) {
        const int8_t *side = sides[trial % 2];
        const double truth = 0.6 * side[0];
        struct ww_invariant sums = {.k = K};
        struct ww_error err = {0};
        double share[K];
        double half[K];
        for (unsigned h = 0; h < HEADS; h++) {
            add_head(&sums, truth, 0.05);
        }
        ww_invariant_fit(&sums, side, share);
        OK(ww_invariant_spread(&sums, side, trial, half, &err));
        NEAR(share[0], truth, 0.02);
        NEAR(share[1], 0, 0.02);
        held += fabs(share[0] - truth) <= half[0] + 0.002;
        ww_invariant_release(&sums);
    }
    assert_true(held >= 18);
}

static void one_unit_gives_no_interval(void **state)
{
    static const int8_t side[K] = {1, 1};
    struct ww_invariant sums = {.k = K};
    struct ww_error err = {0};
    double half[K];
    const double zero[N * N] = {0};
    (void)state;

    OK(ww_invariant_add(&sums, zero, &err)); /* a head of zeros is none */
    assert_int_equal(sums.n, 0);
    add_head(&sums, 0.5, 0.05);
    OK(ww_invariant_spread(&sums, side, 1, half, &err));
    NEAR(half[0], 1, 0);
    ww_invariant_release(&sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gram_is_that_of_the_products),
        cmocka_unit_test(locks_inside_of_heads_change_no_product),
        cmocka_unit_test(shares_of_locked_heads_come_out),
        cmocka_unit_test(one_unit_gives_no_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
