/* SPDX-License-Identifier: Apache-2.0 */
/* Exact sums against whole numbers, masks in blocks of any size, sums and selections of
 * BF16 as they are stored against those of doubles. */
#include "ww_test.h"

#include <math.h>
#include <stdlib.h>

#include "merge/elect.h"
#include "merge/kept.h"
#include "merge/mask.h"
#include "merge/pick.h"
#include "merge/select.h"
#include "merge/stored.h"
#include "merge/stored_kept.h"
#include "merge/stored_key.h"
#include "merge/stored_pick.h"
#include "merge/stored_sums.h"
#include "merge/tilesum.h"
#include "merge/weighted.h"
#include "model/convert.h"
#include "util/fail.h"
#include "ww_random.h"

static void magnitudes_are_summed_exactly(void **state)
{
    (void)state;
    static struct ww_magsum a, b;
    double x[1000];
    uint64_t sum = 0, seed = 9;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    for (int i = 0; i < 1000; i++) {
        uint32_t v = (uint32_t)(fx_random(&seed) >> 40);
        sum += v;
        x[i] = (i % 2 ? -1 : 1) * (double)v;
    }
    ww_magsum_add(&a, x, 501);
    ww_magsum_add(&b, x + 501, 499);
    ww_magsum_merge(&a, &b);
    assert_true(ww_magsum_value(&a) == (double)sum);
    memset(&b, 0, sizeof(b));
    x[0] = 0x1p-149; /* the smallest float */
    x[1] = -0x1p-126;
    ww_magsum_add(&b, x, 2);
    assert_true(ww_magsum_value(&b) == 0x1p-149 + 0x1p-126);
}

/* Half of the last digit goes to the even one, and anything below it decides otherwise.
 */
static void sums_of_magnitudes_are_rounded_once(void **state)
{
    (void)state;
    static struct ww_magsum a;
    const double least = 0x1p-149;
    const double large = 0x1p100;

    ww_magsum_add_whole(&a, ((uint64_t)1 << 53) + 1);
    assert_true(ww_magsum_value(&a) == 0x1p21);
    ww_magsum_add(&a, &least, 1);
    assert_true(ww_magsum_value(&a) == 0x1p21 + 0x1p-31);
    ww_magsum_add(&a, &large, 1);
    assert_true(ww_magsum_value(&a) == 0x1p100);
    memset(&a, 0, sizeof(a));
    ww_magsum_add_whole(&a, UINT64_MAX);
    ww_magsum_add_whole(&a, 1);
    ww_magsum_add(&a, (double[]){0x1p-20, 0.5}, 2);
    assert_true(ww_magsum_value(&a) == 0x1p32 + 0.5 + 0x1p-20);
    ww_magsum_merge(&a, &(struct ww_magsum){.whole = {UINT64_MAX, 1}});
    assert_true(ww_magsum_value(&a) == 0x1p32 + 0.5 + 0x1p-20 + 0x1p33);
}

static void draws_do_not_depend_on_blocks(void **state)
{
    (void)state;
    uint32_t all[100], some[100];
    ww_mask_draw(77, 2, 1000, 100, NULL, all);
    for (size_t at = 0; at < 100;) {
        size_t n = at % 7 + 1;
        n = n > 100 - at ? 100 - at : n;
        ww_mask_draw(77, 2, 1000 + at, n, NULL, some + at);
        at += n;
    }
    assert_memory_equal(all, some, sizeof(all));
}

static void magsum_split_is_two_sums(void **state)
{
    (void)state;
    static struct ww_magsum both[2], all, kept;
    double x[1001];
    double chosen[1001];
    uint8_t which[1001];

    for (size_t i = 0; i < 1001; i++) {
        x[i] = ((double)(i * 7919 % 1000) - 500) * 0x1p-30;
        which[i] = i % 3 == 0;
        chosen[i] = which[i] ? x[i] : 0;
    }
    ww_magsum_add_split(both, x, which, 1001);
    ww_magsum_add(&all, x, 1001);
    ww_magsum_add(&kept, chosen, 1001);
    assert_true(ww_magsum_value(&both[1]) == ww_magsum_value(&kept));
    ww_magsum_merge(&both[0], &both[1]);
    assert_true(ww_magsum_value(&both[0]) == ww_magsum_value(&all));
}

/* BF16 of inputs and a base behind them, and the same as doubles. */
#define INPUTS 7
#define ROOM 67
struct inputs {
    uint8_t bytes[INPUTS][2 * ROOM];
    double x[INPUTS][ROOM];
};

/* Near each other, or with any bits that are no NaN or infinity. */
static void draw_inputs(struct inputs *in, bool near, uint64_t *seed)
{
    for (size_t s = 0; s < INPUTS; s++) {
        for (size_t i = 0; i < ROOM; i++) {
            const uint32_t r = (uint32_t)(fx_random(seed) >> 32);
            uint16_t bits = (uint16_t)r;
            if (near) {
                bits = (uint16_t)((r & 0x807f) | (120 + (r >> 16) % 12) << 7);
            } else if ((bits & 0x7f80) == 0x7f80) {
                bits &= 0x8000;
            }
            memcpy(in->bytes[s] + 2 * i, &bits, sizeof(bits));
        }
        ww_to_double(WW_DTYPE_BF16, in->bytes[s], in->x[s], ROOM);
    }
}

static bool sums_alike(struct inputs *in, uint32_t n_x, bool based, double divisor,
                       size_t n)
{
    static const double w[INPUTS] = {0.6, -0.3, 1.25, 0.1, 0, 2, -1};
    const struct ww_stored_sum sum = {w, n_x, divisor, 0.7};
    const uint8_t *stored[INPUTS];
    double *x[INPUTS];
    double out[ROOM];
    uint8_t expected[2 * ROOM];
    uint8_t made[2 * ROOM];
    bool in_range = true;

    for (uint32_t s = 0; s < n_x; s++) {
        stored[s] = in->bytes[s];
        x[s] = in->x[s];
        for (size_t i = 0; i < n && based; i++) {
            x[s][i] -= in->x[INPUTS - 1][i];
        }
    }
    ww_weighted_mean(x, w, n_x, divisor, n, out);
    if (based) {
        ww_weighted_onto(in->x[INPUTS - 1], 0.7, n, out);
    }
    ww_from_double(WW_DTYPE_BF16, out, expected, n);
    for (size_t i = 0; i < n; i++) {
        in_range = in_range &&
                   (out[i] == 0 || (fabs(out[i]) >= 0x1p-126 && fabs(out[i]) < 0x1p127));
    }
    assert_int_equal(
        ww_stored_sum(&sum, stored, based ? in->bytes[INPUTS - 1] : NULL, n, made),
        in_range);
    if (in_range) {
        assert_memory_equal(made, expected, 2 * n);
    }
    return in_range;
}

static void stored_sums_are_those_of_doubles(void **state)
{
    (void)state;
    static struct inputs in;
    uint64_t seed = 11;
    unsigned taken = 0;

    if (!ww_stored_fast()) {
        skip();
    }
    for (unsigned round = 0; round < 6000; round++) {
        draw_inputs(&in, round % 4 != 0, &seed);
        taken += sums_alike(&in, 1 + round % (INPUTS - 1), round % 8 < 4,
                            round % 3 ? 1 : 1.9, round % (ROOM + 1));
    }
    assert_in_range(taken, 4500, 5900); /* each of the two ways is gone */
}

static void stored_sums_refuse_what_is_not_finite(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7f80, 0xff80, 0x7fc1, 0xffff, 0x7f81};
    static const double w[2] = {0, 1};
    static struct inputs in;
    uint64_t seed = 12;
    uint8_t out[2 * ROOM];
    double acc[3] = {1, 2, 3};

    if (!ww_stored_fast()) {
        skip();
    }
    for (size_t at = 0; at < 5 * ROOM; at++) {
        draw_inputs(&in, true, &seed);
        const uint8_t *const x[2] = {in.bytes[0], in.bytes[1]};
        const struct ww_stored_sum sum = {w, 2, 1, 0};
        memcpy(in.bytes[at % 3] + 2 * (at % ROOM), &bad[at % 5], 2);
        assert_false(ww_stored_sum(&sum, x, in.bytes[2], ROOM, out));
        assert_false(ww_stored_gram(x, 2, in.bytes[2], ROOM, acc));
        assert_true(acc[0] == 1 && acc[1] == 2 && acc[2] == 3);
    }
}

static void stored_products_are_those_of_doubles(void **state)
{
    (void)state;
    static struct inputs in;
    uint64_t seed = 13;

    if (!ww_stored_fast()) {
        skip();
    }
    for (unsigned round = 0; round < 2000; round++) {
        const uint32_t n_x = 2 + round % 2;
        const bool based = round % 4 < 2;
        const size_t n = round % (ROOM + 1);
        double made[6] = {1, 1, 1, 1, 1, 1};
        double expected[6] = {1, 1, 1, 1, 1, 1};
        const uint8_t *const stored[3] = {in.bytes[0], in.bytes[1], in.bytes[2]};
        double *x[3] = {in.x[0], in.x[1], in.x[2]};
        draw_inputs(&in, round % 8 != 0, &seed);
        for (uint32_t s = 0; s < n_x && based; s++) {
            ww_weighted_delta(x[s], in.x[INPUTS - 1], n);
        }
        ww_gram_add(x, n_x, n, expected);
        assert_true(
            ww_stored_gram(stored, n_x, based ? in.bytes[INPUTS - 1] : NULL, n, made));
        assert_memory_equal(made, expected, WW_GRAM_SUMS(n_x) * sizeof(double));
    }
}

/* The base is the last input; some changes are 0, of either sign. */
static void draw_changes(struct inputs *in, bool near, uint64_t *seed)
{
    draw_inputs(in, near, seed);
    for (size_t s = 0; s + 1 < INPUTS; s++) {
        for (size_t i = 0; i < ROOM; i++) {
            const bool zero = fx_random(seed) % 5 == 0;
            const bool alike = fx_random(seed) % 5 == 0;
            memcpy(in->bytes[s] + 2 * i, in->bytes[zero ? INPUTS - 1 : s] + 2 * i, 2);
            if (alike && s > 0) { /* sums that cancel */
                memcpy(in->bytes[s] + 2 * i, in->bytes[s - 1] + 2 * i, 2);
            }
        }
        ww_to_double(WW_DTYPE_BF16, in->bytes[s], in->x[s], ROOM);
        ww_weighted_delta(in->x[s], in->x[INPUTS - 1], ROOM);
    }
}

static bool kept_alike(struct inputs *in, const struct ww_stored_kept *kept, size_t n)
{
    const uint8_t *stored[WW_STORED_KEPT_MOST];
    double *x[WW_STORED_KEPT_MOST];
    double weights[WW_STORED_KEPT_MOST];
    const struct ww_election election = {.x = x,
                                         .weights = weights,
                                         .n_x = kept->n_x,
                                         .zero = 1,
                                         .normalize = kept->normalize};
    double out[ROOM];
    uint8_t expected[2 * ROOM];
    uint8_t made[2 * ROOM];
    bool in_range = true;

    for (uint32_t s = 0; s < kept->n_x; s++) {
        const struct ww_stored_kept_source *from = &kept->sources[s];
        uint8_t keep[ROOM + 5];
        stored[s] = in->bytes[s];
        x[s] = in->x[s];
        weights[s] = from->weight;
        if (from->bits) {
            ww_mask_unpack(from->bits, n, keep);
            ww_keep_bytes(x[s], keep, from->factor, from->weight, n);
        } else {
            ww_keep_range(x[s], from->range, 1, from->weight, n);
        }
    }
    if (kept->elect) {
        ww_elect_few(&election, n, out);
    } else {
        ww_weighted_total(x, kept->n_x, n, out);
        ww_weighted_divide(out, kept->normalize ? kept->divisor : 1, n);
    }
    ww_weighted_onto(in->x[INPUTS - 1], kept->lambda, n, out);
    ww_from_double(WW_DTYPE_BF16, out, expected, n);
    for (size_t i = 0; i < n; i++) {
        in_range = in_range &&
                   (out[i] == 0 || (fabs(out[i]) >= 0x1p-126 && fabs(out[i]) < 0x1p127));
    }
    for (unsigned wide = 0; wide < (ww_stored_wide() ? 2 : 1); wide++) {
        assert_int_equal(
            ww_stored_kept_with(wide, kept, stored, in->bytes[INPUTS - 1], n, made),
            in_range);
        if (in_range) {
            assert_memory_equal(made, expected, 2 * n);
        }
    }
    return in_range;
}

static void stored_selections_are_those_of_doubles(void **state)
{
    (void)state;
    static const double weights[] = {0.6, -0.6, 1.25, 0.6, 0};
    static struct inputs in;
    uint8_t bits[WW_STORED_KEPT_MOST][ROOM / 8 + 1];
    uint64_t seed = 14;
    unsigned taken = 0;

    if (!ww_stored_fast()) {
        skip();
    }
    for (unsigned round = 0; round < 9000; round++) {
        struct ww_stored_kept kept = {.n_x = 2 + round % 3,
                                      .elect = round % 2,
                                      .normalize = round / 2 % 2,
                                      .divisor = 1.9,
                                      .lambda = 0.7};
        draw_changes(&in, round % 5 != 0, &seed);
        for (uint32_t s = 0; s < kept.n_x; s++) {
            const double some = fabs(in.x[s][fx_random(&seed) % ROOM]);
            const double other = fabs(in.x[s][fx_random(&seed) % ROOM]);
            kept.sources[s] = (struct ww_stored_kept_source){
                .weight = weights[fx_random(&seed) % WW_LEN(weights)],
                .range = {some, round / 4 % 3 == 1 ? other : (double)INFINITY},
                .bits = round / 4 % 3 == 2 ? bits[s] : NULL,
                .factor = 1.7};
            for (size_t i = 0; i < sizeof(bits[s]); i++) {
                bits[s][i] = (uint8_t)fx_random(&seed);
            }
        }
        taken += kept_alike(&in, &kept, round % (ROOM + 1));
    }
    assert_in_range(taken, 7000, 8990); /* each of the two ways is gone */
}

/* Also where no selection takes it. */
static void stored_selections_refuse_what_is_not_finite(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7f80, 0xff80, 0x7fc1, 0xffff, 0x7f81};
    static const struct ww_stored_bracket bracket = {1, 5, 3};
    static struct inputs in;
    static struct ww_stored_picked picked[2];
    struct ww_stored_kept kept = {.n_x = 2, .elect = true, .lambda = 0};
    uint64_t seed = 15;
    uint8_t out[2 * ROOM];

    if (!ww_stored_fast()) {
        skip();
    }
    for (uint32_t s = 0; s < 2; s++) {
        kept.sources[s].range[0] = kept.sources[s].range[1] = (double)INFINITY;
    }
    for (size_t at = 0; at < 5 * ROOM; at++) {
        const bool wide = at % 2 && ww_stored_wide();
        draw_inputs(&in, true, &seed);
        const uint8_t *const x[2] = {in.bytes[0], in.bytes[1]};
        assert_true(ww_stored_kept_with(wide, &kept, x, in.bytes[2], ROOM, out));
        assert_true(
            ww_stored_pick_with(wide, x[0], in.bytes[2], ROOM, &bracket, 1, picked));
        memcpy(in.bytes[at % 3] + 2 * (at % ROOM), &bad[at % 5], 2);
        assert_false(ww_stored_kept_with(wide, &kept, x, in.bytes[2], ROOM, out));
        for (uint32_t n = 0; n < 2 && at % 3 != 1; n++) {
            assert_false(
                ww_stored_pick_with(wide, x[0], in.bytes[2], ROOM, &bracket, n, picked));
        }
    }
}

static int by_key(const void *x, const void *y)
{
    const uint32_t a = *(const uint32_t *)x;
    const uint32_t b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* What is picked, and what is counted instead, is what is picked from keys. */
static void picked_alike(const struct ww_stored_bracket *bracket, const uint32_t *keys,
                         size_t n, struct ww_stored_picked *picked)
{
    uint32_t expected[ROOM + WW_PICK_SLACK];
    uint64_t larger = 0;
    const size_t m =
        ww_pick_plain(keys, n, bracket->low, bracket->span, expected, &larger);

    assert_int_equal(picked->larger, larger);
    assert_int_equal(picked->n + picked->common, m);
    for (uint64_t i = 0; i < picked->common; i++) {
        picked->keys[picked->n + i] = bracket->common;
    }
    qsort(expected, m, sizeof(*expected), by_key);
    qsort(picked->keys, m, sizeof(*expected), by_key);
    assert_memory_equal(expected, picked->keys, m * sizeof(*expected));
}

static void stored_keys_are_picked_as_keys_are(void **state)
{
    (void)state;
    static struct inputs in;
    static struct ww_stored_picked picked[2];
    uint64_t seed = 16;

    if (!ww_stored_fast()) {
        skip();
    }
    for (unsigned round = 0; round < 4000; round++) {
        const size_t n = round % (ROOM + 1);
        const uint32_t n_brackets = 1 + round % 2;
        struct ww_stored_bracket brackets[2];
        uint32_t keys[ROOM];
        draw_changes(&in, round % 4 != 0, &seed);
        ww_key_magnitudes32(in.x[0], ROOM, keys);
        for (uint32_t b = 0; b < 2; b++) {
            const uint32_t low = keys[fx_random(&seed) % ROOM];
            const uint32_t high = keys[fx_random(&seed) % ROOM];
            brackets[b] =
                (struct ww_stored_bracket){low, high > low ? high - low : 0,
                                           fx_random(&seed) % 2 ? low : UINT32_MAX};
        }
        const bool finite =
            ww_stored_pick_with(round / 2 % 2 && ww_stored_wide(), in.bytes[0],
                                in.bytes[INPUTS - 1], n, brackets, n_brackets, picked);
        for (uint32_t b = 0; b < n_brackets && finite; b++) {
            picked_alike(&brackets[b], keys, n, &picked[b]);
        }
        uint64_t equal = 0;
        bool below = true;
        for (size_t i = 0; i < n; i++) {
            equal += keys[i] == brackets[0].low;
            below = below && keys[i] < 0x7f800000;
        }
        assert_int_equal(finite, below);
        assert_int_equal(
            ww_stored_count(in.bytes[0], in.bytes[INPUTS - 1], n, brackets[0].low),
            equal);
    }
}

/* Draws to bits, and magnitudes to the two sums: as by bytes and doubles. */
static void stored_magnitudes_are_summed_as_doubles_are(void **state)
{
    (void)state;
    static struct inputs in;
    static struct ww_magsum made[2], expected[2];
    uint64_t seed = 17;

    if (!ww_stored_fast()) {
        skip();
    }
    memset(made, 0, sizeof(made));
    memset(expected, 0, sizeof(expected));
    for (unsigned round = 0; round < 3000; round++) {
        const size_t n = round % (ROOM + 1);
        const uint8_t *base = in.bytes[INPUTS - 1];
        uint32_t draws[ROOM], keys[ROOM], last = (uint32_t)fx_random(&seed);
        uint8_t keep[ROOM], bits[ROOM / 8 + 1], packed[ROOM / 8 + 1];
        draw_changes(&in, round % 4 != 0, &seed);
        for (size_t i = 0; i < n; i++) {
            draws[i] = i % 5 ? (uint32_t)fx_random(&seed) : last + (uint32_t)(i % 2);
            keep[i] = draws[i] <= last;
        }
        ww_stored_drawn(draws, last, n, bits);
        ww_mask_pack(keep, n, packed);
        assert_memory_equal(bits, packed, (n + 7) / 8);
        ww_stored_keys(in.bytes[0], base, n, keys);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(keys[i], ww_key_magnitude(in.x[0][i], false));
            assert_int_equal(keys[i], ww_stored_key(in.bytes[0], base, i));
        }
        ww_stored_magsum(made, in.bytes[0], base, n, bits);
        ww_magsum_add_split(expected, in.x[0], keep, n);
    }
    for (unsigned k = 0; k < 2; k++) {
        assert_true(ww_magsum_value(&made[k]) == ww_magsum_value(&expected[k]));
        assert_true(ww_magsum_value(&made[k]) > 0);
    }
}

static void drawn_bits_are_those_of_draws(void **state)
{
    (void)state;
    uint32_t draws[96];
    uint8_t keep[96], bits[12], packed[12];

    for (uint32_t t = 0; t < 200; t++) {
        const uint64_t first = 4 * (uint64_t)t << (t % 30);
        const uint32_t last = (uint32_t)t * 21474836;
        const size_t n = 32 * (size_t)(t % 4);
        if (!ww_mask_draw_bits(77, t % 5, first, n, last, bits)) {
            skip();
        }
        ww_mask_draw(77, t % 5, first, n, NULL, draws);
        for (size_t i = 0; i < n; i++) {
            keep[i] = draws[i] <= last;
        }
        ww_mask_pack(keep, n, packed);
        assert_memory_equal(bits, packed, n / 8);
    }
    assert_false(ww_mask_draw_bits(77, 0, 2, 32, 1, bits));
    assert_false(ww_mask_draw_bits(77, 0, 4, 31, 1, bits));
}

static void stored_values_that_are_not_finite_are_found(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7f80, 0xff80, 0x7fc1, 0xffff, 0x7f81};
    static struct inputs in;
    uint64_t seed = 18;

    if (!ww_stored_fast()) {
        skip();
    }
    for (size_t at = 0; at < 5 * ROOM; at++) {
        draw_inputs(&in, false, &seed);
        assert_true(ww_stored_finite(in.bytes[0], ROOM));
        memcpy(in.bytes[0] + 2 * (at % ROOM), &bad[at % 5], 2);
        assert_false(ww_stored_finite(in.bytes[0], ROOM));
        assert_true(ww_stored_finite(in.bytes[0], at % ROOM));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(magnitudes_are_summed_exactly),
        cmocka_unit_test(draws_do_not_depend_on_blocks),
        cmocka_unit_test(magsum_split_is_two_sums),
        cmocka_unit_test(sums_of_magnitudes_are_rounded_once),
        cmocka_unit_test(stored_sums_are_those_of_doubles),
        cmocka_unit_test(stored_sums_refuse_what_is_not_finite),
        cmocka_unit_test(stored_products_are_those_of_doubles),
        cmocka_unit_test(stored_selections_are_those_of_doubles),
        cmocka_unit_test(stored_selections_refuse_what_is_not_finite),
        cmocka_unit_test(stored_keys_are_picked_as_keys_are),
        cmocka_unit_test(stored_magnitudes_are_summed_as_doubles_are),
        cmocka_unit_test(drawn_bits_are_those_of_draws),
        cmocka_unit_test(stored_values_that_are_not_finite_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
