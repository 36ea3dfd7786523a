/* SPDX-License-Identifier: Apache-2.0 */
#include "model/f8.h"

#include "ww_test.h"

static void values_are_those_of_the_paper(void **state)
{
    (void)state;
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E4M3, 0x7e), 448, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E4M3, 0x01), 0x1p-9, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E4M3, 0x08), 0x1p-6, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E4M3, 0xb8), -1, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E5M2, 0x7b), 57344, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E5M2, 0x01), 0x1p-16, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_F8_E5M2, 0xbc), -1, 0);
    NEAR(ww_eight_bit_value(WW_DTYPE_I8, 0x80), -128, 0);
    assert_true(isnan(ww_eight_bit_value(WW_DTYPE_F8_E4M3, 0xff)));
    assert_true(isinf(ww_eight_bit_value(WW_DTYPE_F8_E5M2, 0x7c)));
    assert_true(isnan(ww_eight_bit_value(WW_DTYPE_F8_E5M2, 0x7d)));
}

static void steps_lead_to_the_next_number(void **state)
{
    static const struct {
        enum ww_dtype dtype;
        unsigned largest;
    } formats[] = {
        {WW_DTYPE_F8_E4M3, 0x7e}, {WW_DTYPE_F8_E5M2, 0x7b}, {WW_DTYPE_I8, 127}};
    (void)state;

    for (size_t f = 0; f < 3; f++) {
        for (unsigned byte = 0; byte < formats[f].largest; byte++) {
            NEAR(ww_eight_bit_value(formats[f].dtype, (uint8_t)byte) +
                     ww_eight_bit_step(formats[f].dtype, (uint8_t)byte),
                 ww_eight_bit_value(formats[f].dtype, (uint8_t)(byte + 1)), 0);
        }
    }
    assert_true(ww_is_eight_bit(WW_DTYPE_I8));
    assert_false(ww_is_eight_bit(WW_DTYPE_U8));
}

/* Cells of a format lie end to end, and the last ones have no end. */
static void cells_are_half_way_to_both_neighbours(void **state)
{
    static const struct {
        enum ww_dtype dtype;
        unsigned largest;
    } formats[] = {{WW_DTYPE_F8_E4M3, 0x7e}, {WW_DTYPE_F8_E5M2, 0x7b}};
    double low = 0;
    double high = 0;
    double before = 0;
    (void)state;

    for (size_t f = 0; f < 2; f++) {
        ww_eight_bit_cell(formats[f].dtype, 0, &low, &before);
        NEAR(low, -before, 0);
        for (unsigned byte = 1; byte <= formats[f].largest; byte++) {
            const double v = ww_eight_bit_value(formats[f].dtype, (uint8_t)byte);
            const double last = ww_eight_bit_value(formats[f].dtype, (uint8_t)(byte - 1));
            double mirrored = 0;
            double other = 0;
            ww_eight_bit_cell(formats[f].dtype, (uint8_t)byte, &low, &high);
            ww_eight_bit_cell(formats[f].dtype, (uint8_t)(byte + 128), &mirrored, &other);
            NEAR(low, (v + last) / 2, 0);
            NEAR(low, before, 0);
            NEAR(other, -low, 0);
            assert_true(-high == mirrored);
            before = high;
        }
        assert_true(isinf(high));
    }
    ww_eight_bit_cell(WW_DTYPE_I8, (uint8_t)-126, &low, &high);
    NEAR(low, -126.5, 0);
    NEAR(high, -125.5, 0);
    ww_eight_bit_cell(WW_DTYPE_I8, 127, &low, &high);
    NEAR(low, 126.5, 0);
    assert_true(isinf(high));
    ww_eight_bit_cell(WW_DTYPE_I8, (uint8_t)-127, &low, &high);
    NEAR(high, -126.5, 0);
    assert_true(isinf(low));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_paper),
        cmocka_unit_test(steps_lead_to_the_next_number),
        cmocka_unit_test(cells_are_half_way_to_both_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
