/* SPDX-License-Identifier: Apache-2.0 */
/* Bits come back whatever their probabilities were, carries included; messages are as
 * long as the entropy says, and those that no encoder wrote are told. */
#include "ww_test.h"

#include "codec/adaptive.h"
#include "util/fail.h"
#include "ww_random.h"

#define N 20000
#define MODELS 8

static bool bits[N];
static uint8_t raw[N];

/* Bits of eight chances, from certain to even, and raw ones between them: enough that
 * carries go through bytes of 255. */
static void make(uint64_t seed)
{
    for (size_t i = 0; i < N; i++) {
        bits[i] = fx_random(&seed) % 1000 <
                  (uint64_t[]){0, 1, 10, 50, 200, 500, 900, 1000}[i % MODELS];
        raw[i] = (uint8_t)fx_random(&seed);
    }
}

static void encode(size_t n, struct ww_buf *out)
{
    struct ww_bit models[MODELS] = {{0, 0}};
    struct ww_bits_out o;
    struct ww_error err = {0};

    ww_buf_clear(out);
    ww_bits_out_begin(&o, out, &err);
    for (size_t i = 0; i < n; i++) {
        ww_bits_put(&o, &models[i % MODELS], bits[i]);
        if (i % 5 == 0) {
            ww_bits_put_raw(&o, (uint32_t)raw[i] >> (8 - i % 9), (unsigned)(i % 9));
        }
    }
    OK(ww_bits_out_end(&o));
}

/* True when all of it came back and the message ended. */
static bool decode(size_t n, const uint8_t *bytes, size_t len, bool *same)
{
    struct ww_bit models[MODELS] = {{0, 0}};
    struct ww_bits_in in;

    *same = true;
    ww_bits_in_begin(&in, bytes, len);
    for (size_t i = 0; i < n; i++) {
        *same &= ww_bits_get(&in, &models[i % MODELS]) == bits[i];
        if (i % 5 == 0) {
            *same &= ww_bits_get_raw(&in, (unsigned)(i % 9)) ==
                     (uint32_t)(raw[i] >> (8 - i % 9));
        }
    }
    return ww_bits_done(&in);
}

static void bits_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 100, 1000, N};
    struct ww_buf out;
    (void)state;
    ww_buf_init(&out, 1 << 20);
    for (uint64_t seed = 1; seed < 40; seed++) {
        make(seed);
        for (size_t s = 0; s < WW_LEN(sizes) - (seed > 2); s++) {
            bool same = false;
            encode(sizes[s], &out);
            assert_true(decode(sizes[s], out.data, out.len, &same));
            assert_true(same);
        }
    }
    ww_buf_release(&out);
}

static void lengths_are_near_the_entropy(void **state)
{
    static const double chances[] = {0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 1};
    struct ww_buf out;
    double want = 0;
    (void)state;
    ww_buf_init(&out, 1 << 20);
    make(3);
    encode(N, &out);
    for (size_t i = 0; i < MODELS; i++) {
        const double p = chances[i];
        if (p > 0 && p < 1) {
            want -= N / MODELS * (p * log2(p) + (1 - p) * log2(1 - p));
        }
    }
    for (size_t i = 0; i < N; i += 5) {
        want += (double)((unsigned)(i % 9));
    }
    assert_true((double)out.len * 8 > want * 0.99);
    assert_true((double)out.len * 8 < want * 1.01 + 300); /* learning, and steps */
    ww_buf_release(&out);
}

static void other_messages_are_told(void **state)
{
    struct ww_buf out;
    struct ww_error err = {0};
    bool same = false;
    (void)state;
    ww_buf_init(&out, 1 << 20);
    make(5);
    encode(3000, &out);
    for (size_t len = 0; len < out.len; len++) {
        assert_false(decode(3000, out.data, len, &same));
    }
    for (size_t at = 0; at < out.len; at += 3) {
        out.data[at] ^= 16;
        assert_false(decode(3000, out.data, out.len, &same));
        out.data[at] ^= 16;
    }
    OK(ww_buf_add(&out, "", 1, &err));
    assert_false(decode(3000, out.data, out.len, &same));
    ww_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_come_back),
        cmocka_unit_test(lengths_are_near_the_entropy),
        cmocka_unit_test(other_messages_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
