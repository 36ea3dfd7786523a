/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over some of the sources: weights and kept parts come out of what was dropped, and
 * what another source added is none of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "blends.h"
#include "lineage/subsets.h"

#define N 16384

static struct ww_subsets_element elements[N];

struct made {
    unsigned k;
    double weight[3]; /* of what was kept */
    double kept[3];
    enum { SUM, DIVIDED, MADE_UP } form; /* MADE_UP: for what is dropped, then divided */
    double hidden; /* weight of a source that is not told of, half of it dropped */
    double ramp;   /* by which the longest is kept more often than one in the middle */
    bool elected;  /* what points the other way than the sum is dropped as well */
};

static bool is_kept(const struct made *m, unsigned i, double x)
{
    const double rank = erf(fabs(x) / 0.002 / sqrt(2));
    return uniform() < m->kept[i] + m->ramp * (2 * rank - 1);
}

/* What is left of each source, weighed. */
static void drop(const struct made *m, const double *x, bool *kept)
{
    double sum = 0;
    for (unsigned i = 0; i < m->k; i++) {
        kept[i] = is_kept(m, i, x[i]);
        sum += kept[i] ? m->weight[i] * x[i] : 0;
    }
    for (unsigned i = 0; i < m->k && m->elected; i++) {
        kept[i] &= m->weight[i] * x[i] * sum > 0;
    }
}

/* Shares as a fit of all elements has them: weights less what was dropped. */
static void make(const struct made *m, double *shares)
{
    for (size_t e = 0; e < N; e++) {
        const double base = bf16(0.02 + 0.01 * uniform());
        double sum = uniform() < 0.5 ? m->hidden * bell(0.0015) : 0;
        double divisor = 0;
        struct ww_subsets_element *of = &elements[e];
        bool kept[3];
        memset(of, 0, sizeof(*of));
        for (unsigned i = 0; i < m->k; i++) {
            of->x[i] = bf16(base + bell(0.002)) - base;
        }
        drop(m, of->x, kept);
        for (unsigned i = 0; i < m->k; i++) {
            sum += kept[i]
                       ? m->weight[i] * of->x[i] / (m->form == MADE_UP ? m->kept[i] : 1)
                       : 0;
            divisor += kept[i] ? m->weight[i] : 0;
        }
        sum /= m->form && divisor > 0 ? divisor : 1;
        of->y = bf16(base + sum) - base;
        of->many = 1;
        of->half = ldexp(0.5, ww_moments_step(base + of->y, WW_DTYPE_BF16));
    }
    for (unsigned i = 0; i < m->k; i++) {
        shares[i] = m->weight[i] * m->kept[i];
    }
}

static void kept_parts_and_weights_come_out(void **state)
{
    (void)state;
    const struct made mixes[] = {
        {1, {2}, {0.3}, SUM, 0, 0, false},
        {2, {0.6, 0.8}, {0.9, 0.5}, SUM, 0, 0, false},
        {3, {0.5, 0.5, 0.6}, {0.9, 0.95, 0.9}, SUM, 0, 0, false},
        {2, {0.9, -0.6}, {0.6, 0.6}, SUM, 0, 0, false},
        {2, {0.6, 0.4}, {0.5, 0.7}, DIVIDED, 0, 0, false},
        {2, {0.5, 0.8}, {0.4, 0.7}, MADE_UP, 0, 0, false},
        {3, {0.5, 0.1, 0.8}, {0.45, 0.9, 0.7}, MADE_UP, 0, 0, false}};
    for (size_t m = 0; m < sizeof(mixes) / sizeof(mixes[0]); m++) {
        double shares[3];
        struct ww_subsets parts;
        make(&mixes[m], shares);
        assert_int_equal(ww_subsets_fit(elements, N, mixes[m].k, shares, &parts, NULL),
                         WW_OK);
        assert_true(parts.told && parts.explained > 0.98 && parts.left < 0.002);
        assert_true(parts.divided == (mixes[m].form != SUM));
        for (unsigned i = 0; i < mixes[m].k; i++) {
            assert_true(fabs(parts.kept[i] - mixes[m].kept[i]) < 0.03);
            assert_true(fabs(parts.slope[i]) < 0.04);
            assert_true(mixes[m].form ||
                        fabs(parts.weight[i] - mixes[m].weight[i]) < 0.01);
        }
    }
}

/* Length and signs each show where they decide, and in nothing else. */
static void what_dropping_goes_by_shows(void **state)
{
    (void)state;
    const struct made mixes[] = {
        {2, {0.6, 0.8}, {0.5, 0.5}, SUM, 0, 0, false},
        {2, {0.6, 0.8}, {0.5, 0.7}, SUM, 0, 0, true},
        {2, {0.6, 0.8}, {0.5, 0.5}, SUM, 0, 0.15, false},
        {2, {0.6, 0.8}, {0.7, 0.5}, DIVIDED, 0, 0.15, true},
        {3, {0.5, 0.9, 0.7}, {0.5, 0.6, 0.4}, SUM, 0, 0, true},
        {3, {0.5, 0.9, 0.7}, {0.5, 0.6, 0.4}, SUM, 0, 0.15, true},
    };
    for (size_t m = 0; m < sizeof(mixes) / sizeof(mixes[0]); m++) {
        double shares[3];
        struct ww_subsets parts;
        make(&mixes[m], shares);
        assert_int_equal(ww_subsets_fit(elements, N, mixes[m].k, shares, &parts, NULL),
                         WW_OK);
        assert_true(parts.told && parts.explained > 0.98);
        assert_true(parts.longer.error < 0.03 && parts.opposed.error < 0.03);
        assert_true(fabs(parts.longer.by - mixes[m].ramp) <
                    0.02 + 4 * parts.longer.error);
        assert_true((parts.opposed.by > 4 * parts.opposed.error) == mixes[m].elected);
    }
}

static void another_source_shows(void **state)
{
    (void)state;
    const struct made mixes[] = {{1, {2}, {0.5}, SUM, 1.5, 0, false},
                                 {2, {1, 1.2}, {0.5, 0.5}, SUM, 1, 0, false},
                                 {2, {0.5, 0.5}, {0.9, 0.9}, SUM, 0.5, 0, false},
                                 {2, {0.6, 0.4}, {0.5, 0.7}, MADE_UP, 1, 0, false}};
    for (size_t m = 0; m < sizeof(mixes) / sizeof(mixes[0]); m++) {
        double shares[3];
        struct ww_subsets parts;
        make(&mixes[m], shares);
        assert_int_equal(ww_subsets_fit(elements, N, mixes[m].k, shares, &parts, NULL),
                         WW_OK);
        assert_true(parts.told && parts.explained < WW_SUBSETS_LACKS);
    }
}

/* Few of the elements, but far off; or all of one tensor, of which each stands for many.
 */
static void what_few_elements_hold_is_left(void **state)
{
    (void)state;
    const struct made m = {2, {0.5, 0.4}, {1, 1}, SUM, 0, 0, false};
    for (unsigned of = 0; of < 2; of++) {
        double shares[3];
        struct ww_subsets parts;
        make(&m, shares);
        for (size_t e = 0; e < N; e++) {
            const bool other = of ? e >= N - N / 32 : e % 64 == 0;
            elements[e].tensor = of && other;
            elements[e].many = of && other ? 8 : 1;
            elements[e].y += other ? bell(of ? 0.001 : 0.006) : 0;
        }
        assert_int_equal(ww_subsets_fit(elements, N, m.k, shares, &parts, NULL), WW_OK);
        assert_true(parts.told && parts.explained > WW_LINEAGE_PARTS);
        assert_true(parts.left > WW_LINEAGE_ELSEWHERE);
    }
}

/* As numbers that are whole times a step leave it: a value between two ends. */
static void round_again(double step)
{
    for (size_t e = 0; e < N; e++) {
        struct ww_subsets_element *of = &elements[e];
        of->y = step * round(of->y / step);
        of->cell = step / 2;
        of->length = 0.0014;
    }
}

static struct ww_subsets in_cells(const double *shares, unsigned k)
{
    struct ww_subsets parts;

    assert_int_equal(ww_subsets_fit(elements, N, k, shares, &parts, NULL), WW_OK);
    return parts;
}

/* Task vectors of a source, as far off as another training of it is. */
static void train_on(unsigned source, double off)
{
    for (size_t e = 0; e < N; e++) {
        elements[e].x[source] += bell(off);
    }
}

static void cells_hold_sums_of_their_sources_alone(void **state)
{
    (void)state;
    const struct made mixes[] = {{2, {0.6, 0.8}, {0.9, 0.5}, SUM, 0, 0, false},
                                 {2, {0.6, 0.4}, {0.5, 0.7}, DIVIDED, 0, 0, false}};
    for (size_t m = 0; m < sizeof(mixes) / sizeof(mixes[0]); m++) {
        struct made hides = mixes[m];
        double shares[3];
        struct ww_subsets parts;
        make(&mixes[m], shares);
        round_again(0.0003);
        parts = in_cells(shares, mixes[m].k);
        assert_true(parts.told && parts.sure && parts.explained > 0.98);
        assert_true(parts.missed < N / 100 && !parts.shows);
        train_on(0, 0.03 * 0.002);
        parts = in_cells(shares, mixes[m].k);
        assert_true(parts.explained > WW_LINEAGE_PARTS && !parts.sure && parts.shows);
        train_on(0, 0.15 * 0.002);
        assert_false(in_cells(shares, mixes[m].k).sure);
        hides.hidden = 0.5;
        make(&hides, shares);
        round_again(0.0003);
        assert_false(in_cells(shares, mixes[m].k).sure);
    }
}

/* Cells in which most values lie, and those of one tensor that have none. */
static void cells_that_tell_nothing_are_not_sure(void **state)
{
    (void)state;
    const struct made m = {2, {0.5, 0.4}, {0.6, 0.7}, SUM, 0, 0, false};
    double shares[3];
    struct ww_subsets parts;
    make(&m, shares);
    round_again(0.01);
    assert_false(in_cells(shares, m.k).sure);
    make(&m, shares);
    for (size_t e = N - N / 64; e < N; e++) {
        elements[e].tensor = 1;
        elements[e].y += bell(0.001);
    }
    round_again(0.0003);
    parts = in_cells(shares, m.k);
    assert_true(parts.explained > WW_LINEAGE_PARTS && !parts.sure);
}

static void a_source_that_no_cell_needs_is_told(void **state)
{
    (void)state;
    const struct made m = {2, {0.6, 0.8}, {0.9, 0.5}, SUM, 0, 0, false};
    double shares[3] = {0, 0, 0.06};
    struct ww_subsets parts;
    make(&m, shares);
    round_again(0.0003);
    for (size_t e = 0; e < N; e++) {
        elements[e].x[2] = elements[e].x[0] + bell(0.0008);
    }
    parts = in_cells(shares, 3);
    assert_int_equal(ww_subsets_need(elements, N, 3, shares, &parts, NULL), WW_OK);
    assert_true(parts.needless[2] && !parts.needless[0] && !parts.needless[1]);
    assert_true(parts.sure && shares[2] == 0.06);
}

static void too_many_or_none_are_not_told(void **state)
{
    (void)state;
    const double shares[WW_SUBSETS_MOST + 1] = {1, 1, 1, 1, 1, 1, 1};
    struct ww_subsets parts;
    assert_int_equal(
        ww_subsets_fit(elements, N, WW_SUBSETS_MOST + 1, shares, &parts, NULL), WW_OK);
    assert_false(parts.told);
    assert_int_equal(ww_subsets_fit(elements, 0, 1, shares, &parts, NULL), WW_OK);
    assert_false(parts.told);
}

/* One in 50, in cells, tells that sums are divided by the weights of what was kept. */
static void what_few_elements_tell_of_the_form_counts(void **state)
{
    (void)state;
    const struct made sum = {2, {1, 1}, {1, 1}, SUM, 0, 0, false};
    double shares[3];
    make(&sum, shares);
    for (size_t e = 0; e < N; e++) {
        struct ww_subsets_element *of = &elements[e];
        const double both = (1.1 * of->x[0] + 0.1 * of->x[1]) / 1.2;
        const double base = bf16(0.02);
        of->y = bf16(base + (e % 50 == 0 ? both : of->x[e % 50 < 30 ? 0 : 1])) - base;
        of->half = ldexp(0.5, ww_moments_step(base + of->y, WW_DTYPE_BF16));
    }
    round_again(0.0004);
    shares[0] = 0.8;
    shares[1] = 0.35;
    const struct ww_subsets parts = in_cells(shares, 2);
    assert_true(parts.divided && parts.explained > 0.999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_parts_and_weights_come_out),
        cmocka_unit_test(what_dropping_goes_by_shows),
        cmocka_unit_test(another_source_shows),
        cmocka_unit_test(what_few_elements_hold_is_left),
        cmocka_unit_test(cells_hold_sums_of_their_sources_alone),
        cmocka_unit_test(cells_that_tell_nothing_are_not_sure),
        cmocka_unit_test(a_source_that_no_cell_needs_is_told),
        cmocka_unit_test(too_many_or_none_are_not_told),
        cmocka_unit_test(what_few_elements_tell_of_the_form_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
