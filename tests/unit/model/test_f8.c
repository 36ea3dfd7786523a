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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_paper),
        cmocka_unit_test(steps_lead_to_the_next_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
