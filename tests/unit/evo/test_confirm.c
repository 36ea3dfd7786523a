/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals of gains against the normal approximation, and what is not confirmed. */
#include "ww_test.h"

#include "evo/confirm.h"
#include "ww_random.h"

#define N 400
#define TOKENS 5
#define LN2 0.6931471805599453

static struct ww_item_score rule[N], single[N];

static double uniform(uint64_t *seed)
{
    return (double)((fx_random(seed) >> 11) + 1) * 0x1p-53;
}

/* Items of unlike difficulty; the rule saves gain nats per token, give or take spread. */
static void make(double gain, double spread, uint64_t seed)
{
    for (int i = 0; i < N; i++) {
        double hard = 10 * uniform(&seed);
        single[i] = (struct ww_item_score){1, hard, TOKENS, i % 3 ? TOKENS : 2};
        rule[i] = single[i];
        rule[i].nats -= TOKENS * (gain + spread * (uniform(&seed) - 0.5));
    }
}

static void an_interval_is_that_of_the_differences(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_confirm c;
    make(0.3, 1, 1);
    OK(ww_confirm(rule, single, N, 7, &c, &err));
    double mean = 0, square = 0;
    for (int i = 0; i < N; i++) {
        double d = (single[i].nats - rule[i].nats) / TOKENS / LN2;
        mean += d / N;
        square += d * d / N;
    }
    const double half = 1.96 * sqrt((square - mean * mean) / N);
    NEAR(c.bits_gain, mean, 1e-9);
    NEAR(c.bits.low, mean - half, 0.15 * half);
    NEAR(c.bits.high, mean + half, 0.15 * half);
    assert_true(c.better);
    assert_true(c.next.low == 0 && c.next.high == 0 && c.whole.low == 0);
}

static void no_gain_is_not_confirmed(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_confirm c;
    make(0.0, 1, 2);
    OK(ww_confirm(rule, single, N, 7, &c, &err));
    assert_false(c.better);
    make(1e-12, 0, 2); /* on every item, as rounding is */
    OK(ww_confirm(rule, single, N, 7, &c, &err));
    assert_true(c.bits.low > 0 && !c.better);
    make(-0.3, 1, 3);
    OK(ww_confirm(rule, single, N, 7, &c, &err));
    assert_true(!c.better && c.bits.high < 0);
    OK(ww_confirm(single, single, N, 7, &c, &err));
    assert_true(!c.better && c.bits.low == 0 && c.bits.high == 0);
}

/* Without a gain, the interval's lower end lies above zero in about one of forty. */
static void chance_is_confirmed_as_rarely_as_stated(void **state)
{
    (void)state;
    struct ww_error err = {0};
    unsigned wrong = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct ww_confirm c;
        make(0.0, 1, 1000 + i);
        OK(ww_confirm(rule, single, 60, i, &c, &err));
        wrong += c.better;
    }
    assert_true(wrong <= 4);
}

static void draws_depend_on_the_seed_alone(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_confirm a = {0}, b = {0}, other = {0};
    make(0.1, 1, 4);
    OK(ww_confirm(rule, single, N, 7, &a, &err));
    OK(ww_confirm(rule, single, N, 7, &b, &err));
    OK(ww_confirm(rule, single, N, 8, &other, &err));
    assert_true(a.bits.low == b.bits.low && a.bits.high == b.bits.high);
    assert_true(a.bits.low != other.bits.low);
}

static void few_items_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_confirm c;
    make(0.3, 1, 5);
    FAILS(ww_confirm(rule, single, WW_CONFIRM_LEAST - 1, 7, &c, &err), WW_E_USAGE);
    OK(ww_confirm(rule, single, WW_CONFIRM_LEAST, 7, &c, &err));
}

static void weights_count_in_every_mean(void **state)
{
    (void)state;
    const struct ww_item_score items[2] = {{3, 2 * LN2, 2, 2}, {1, 6 * LN2, 2, 1}};
    struct ww_score s = ww_score_mean(items, NULL, 2);
    NEAR(s.bits, (3 * 2 + 6) / (3 * 2 + 2.0), 1e-12);
    NEAR(s.next, (3 * 2 + 1) / 8.0, 1e-12);
    NEAR(s.whole, 0.75, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_is_that_of_the_differences),
        cmocka_unit_test(no_gain_is_not_confirmed),
        cmocka_unit_test(chance_is_confirmed_as_rarely_as_stated),
        cmocka_unit_test(draws_depend_on_the_seed_alone),
        cmocka_unit_test(few_items_are_refused),
        cmocka_unit_test(weights_count_in_every_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
