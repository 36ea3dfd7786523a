/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary pairs of one head, with what was added after a lock. */
#include "attack/inner.h"

#include <math.h>

#include "ww_random.h"
#include "ww_test.h"

#define WIDTH 64
#define D 2

/* Products of the rows of one side, [D][WIDTH] each. */
static void cross(const double *anchor, const double *locked, int side,
                  struct ww_cross *x)
{
    for (size_t i = 0; i < D; i++) {
        for (size_t j = 0; j < D; j++) {
            for (size_t c = 0; c < WIDTH; c++) {
                const double y = locked[j * WIDTH + c];
                x->c[side][i * D + j] += anchor[i * WIDTH + c] * y;
                x->gram[side][i * D + j] += locked[i * WIDTH + c] * y;
            }
        }
        for (size_t c = 0; c < WIDTH; c++) {
            x->own[side][i] += anchor[i * WIDTH + c] * anchor[i * WIDTH + c];
        }
    }
}

/* Sum of four uniform numbers, of variance 1. */
static double draw(uint64_t *seed)
{
    double sum = 0;

    for (int i = 0; i < 4; i++) {
        sum += (double)(fx_random(seed) >> 11) * 0x1p-53 - 0.5;
    }
    return sum * sqrt(3);
}

/* Queries were made 2^exponent times as long and keys as much shorter; then noise came.
 */
static int found(int exponent, double noise, uint64_t seed)
{
    struct ww_cross *x = NULL;
    struct ww_element e = {0};
    const struct ww_rope rope = {.style = WW_ROPE_HALF, .dims = D};
    struct ww_error err = {0};
    int out = 0;

    OK(ww_crosses_new(1, D, &x, &err));
    OK(ww_element_init(&e, D, &err));
    for (int side = 0; side < 2; side++) {
        double anchor[D * WIDTH];
        double locked[D * WIDTH];
        for (size_t i = 0; i < D * WIDTH; i++) {
            anchor[i] = draw(&seed);
            locked[i] =
                ldexp(anchor[i], side ? -exponent : exponent) + noise * draw(&seed);
        }
        cross(anchor, locked, side, x);
    }
    const struct ww_inner inner = {x, 1, D, &e};
    ww_inner_find_turns(&inner, &rope, false, true);
    assert_int_equal(e.exp[0], e.exp[1]);
    assert_int_equal(e.perm[0], 0);
    assert_false(e.neg[0] || e.neg[1]);
    out = e.exp[0];
    ww_element_release(&e);
    ww_crosses_free(x, 1);
    return out;
}

static void noise_after_a_lock_hides_no_factor_of_a_pair(void **state)
{
    (void)state;
    for (int exponent = -4; exponent <= 4; exponent++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            assert_int_equal(found(exponent, 0, seed), exponent);
            assert_int_equal(found(exponent, 0.2, seed), exponent);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_after_a_lock_hides_no_factor_of_a_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
