/* SPDX-License-Identifier: Apache-2.0 */
/* Coding and decoding, tables that sum up, bytes that no encoder wrote. */
#include "ww_test.h"

#include "util/num.h"

#include "codec/rans.h"
#include "util/fail.h"
#include "ww_random.h"

#define N 5000

/* Symbols that halve in frequency, the last ones rare; raw bits between. */
static unsigned symbol_at(uint64_t *state)
{
    unsigned s = 0;
    while (s < 40 && fx_random(state) & 1) {
        s++;
    }
    return s;
}

static void count(uint64_t seed, uint64_t counts[64])
{
    memset(counts, 0, 64 * sizeof(*counts));
    for (size_t i = 0; i < N; i++) {
        counts[symbol_at(&seed)]++;
    }
}

static size_t message(uint64_t seed, const struct ww_rans_table *table,
                      struct ww_rans_step *steps, unsigned *symbols)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        symbols[i] = symbol_at(&seed);
        steps[n++] = ww_rans_step_of(table, symbols[i]);
        if (i % 3 == 0) {
            steps[n++] = ww_rans_raw((uint32_t)(i & 0xfff), 12);
            steps[n++] = ww_rans_raw((uint32_t)(i & 1), 1);
        }
    }
    return n;
}

static void messages_come_back(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static struct ww_rans_table table, read;
    static struct ww_rans_step steps[3 * N];
    static uint16_t scratch[3 * N];
    static unsigned symbols[N];
    for (uint64_t seed = 1; seed < 20; seed++) {
        uint64_t counts[64];
        struct ww_buf head, body;
        struct ww_rans_in in;
        size_t used = 0;
        ww_buf_init(&head, 1000);
        ww_buf_init(&body, 100000);
        count(seed, counts);
        ww_rans_table_make(&table, counts, 64);
        OK(ww_rans_table_write(&table, &head, &err));
        assert_true(ww_rans_table_read(&read, head.data, head.len, &used));
        assert_int_equal(used, head.len);
        assert_memory_equal(&read, &table, sizeof(table));
        size_t n = message(seed, &table, steps, symbols);
        OK(ww_rans_encode(steps, n, scratch, &body, &err));
        ww_rans_begin(&in, body.data, body.len);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(ww_rans_symbol(&in, &read), symbols[i]);
            if (i % 3 == 0) {
                assert_int_equal(ww_rans_bits(&in, 12), i & 0xfff);
                assert_int_equal(ww_rans_bits(&in, 1), i & 1);
            }
        }
        assert_true(ww_rans_done(&in));
        ww_buf_release(&head);
        ww_buf_release(&body);
    }
}

/* Geometric symbols carry two bits each; the code must come within 1 % of that. */
static void length_is_near_the_entropy(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static struct ww_rans_table table;
    static struct ww_rans_step steps[N];
    static uint16_t scratch[N];
    uint64_t counts[64];
    uint64_t seed = 5;
    double bits = 0;
    struct ww_buf body;
    ww_buf_init(&body, 100000);
    count(seed, counts);
    ww_rans_table_make(&table, counts, 64);
    for (size_t i = 0; i < N; i++) {
        steps[i] = ww_rans_step_of(&table, symbol_at(&seed));
    }
    for (unsigned s = 0; s < 64; s++) {
        bits -= counts[s] ? (double)counts[s] * log2((double)counts[s] / N) : 0;
    }
    OK(ww_rans_encode(steps, N, scratch, &body, &err));
    assert_true(bits / N > 1.9 && bits / N < 2.1);
    assert_true((double)body.len * 8 < bits * 1.01 + 48);
    assert_true((double)body.len * 8 >= bits);
    ww_buf_release(&body);
}

static void one_symbol_costs_nothing(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static struct ww_rans_table table;
    static struct ww_rans_step steps[N];
    static uint16_t scratch[N];
    const uint64_t counts[3] = {0, 7, 0};
    struct ww_buf body;
    struct ww_rans_in in;
    ww_buf_init(&body, 1000);
    ww_rans_table_make(&table, counts, 3);
    assert_int_equal(table.n, 2);
    for (size_t i = 0; i < N; i++) {
        steps[i] = ww_rans_step_of(&table, 1);
    }
    OK(ww_rans_encode(steps, N, scratch, &body, &err));
    assert_int_equal(body.len, 4);
    ww_rans_begin(&in, body.data, body.len);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(ww_rans_symbol(&in, &table), 1);
    }
    assert_true(ww_rans_done(&in));
    ww_buf_release(&body);
}

/* Skewed counts, and more symbols than their share of slots. */
static void tables_always_sum_up(void **state)
{
    (void)state;
    static struct ww_rans_table table;
    uint64_t counts[WW_RANS_MAX_SYMBOLS];
    uint64_t seed = 3;
    for (unsigned round = 0; round < 300; round++) {
        const unsigned n = 1 + (unsigned)(fx_random(&seed) % WW_RANS_MAX_SYMBOLS);
        unsigned sum = 0;
        for (unsigned s = 0; s < n; s++) {
            counts[s] = round % 3 ? fx_random(&seed) >> (fx_random(&seed) % 40 + 24)
                                  : (s == round % n ? UINT64_C(1) << 40 : 1);
        }
        counts[n - 1]++;
        ww_rans_table_make(&table, counts, n);
        for (unsigned s = 0; s < n; s++) {
            assert_true(counts[s] == 0 || table.freq[s] > 0);
            assert_int_equal(table.start[s], sum);
            sum += table.freq[s];
        }
        assert_int_equal(sum, WW_RANS_TOTAL);
    }
}

static void tables_that_do_not_sum_up_are_refused(void **state)
{
    (void)state;
    static struct ww_rans_table table;
    const struct {
        uint8_t bytes[8];
        size_t len;
        bool good;
    } rows[] = {
        {{2, 0x80, 16, 0x80, 16}, 5, true},  /* 2048 + 2048 */
        {{2, 0x80, 16, 0x80, 15}, 5, false}, /* too little */
        {{2, 0x80, 16, 0x81, 16}, 5, false}, /* too much */
        {{2, 0x80, 16, 0x80}, 4, false},     /* cut */
        {{2, 0x80, 32, 0}, 4, false},        /* ends with a symbol that never occurs */
        {{1, 0x80, 32}, 3, true},
        {{3, 0x80, 0, 0x80, 16, 0x80, 16}, 7, false}, /* two bytes for a small number */
        {{0}, 1, false},
        {{0}, 0, false},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        size_t used = 0;
        assert_int_equal(ww_rans_table_read(&table, rows[i].bytes, rows[i].len, &used),
                         rows[i].good);
    }
}

static void changed_messages_do_not_end_well(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static struct ww_rans_table table;
    static struct ww_rans_step steps[3 * N];
    static uint16_t scratch[3 * N];
    static unsigned symbols[N];
    uint64_t counts[64];
    struct ww_buf body;
    unsigned caught = 0;
    ww_buf_init(&body, 100000);
    count(9, counts);
    ww_rans_table_make(&table, counts, 64);
    size_t n = message(9, &table, steps, symbols);
    OK(ww_rans_encode(steps, n, scratch, &body, &err));
    for (size_t cut = 0; cut < body.len; cut += 7) {
        struct ww_rans_in in;
        ww_rans_begin(&in, body.data, cut);
        for (size_t i = 0; i < N; i++) {
            ww_rans_symbol(&in, &table);
            if (i % 3 == 0) {
                ww_rans_bits(&in, 12);
                ww_rans_bits(&in, 1);
            }
        }
        assert_false(ww_rans_done(&in));
    }
    /* A changed bit may end in raw bits and harm nothing else, so there are none here. */
    for (size_t i = 0; i < N; i++) {
        steps[i] = ww_rans_step_of(&table, symbols[i]);
    }
    ww_buf_clear(&body);
    OK(ww_rans_encode(steps, N, scratch, &body, &err));
    for (size_t at = 0; at < body.len; at += 11) {
        struct ww_rans_in in;
        body.data[at] ^= 0x40;
        ww_rans_begin(&in, body.data, body.len);
        for (size_t i = 0; i < N; i++) {
            ww_rans_symbol(&in, &table);
        }
        caught += !ww_rans_done(&in);
        body.data[at] ^= 0x40;
    }
    assert_true(caught >= (body.len / 11) * 9 / 10);
    ww_buf_release(&body);
}

/* Without divisions and without a list of steps: the same words, from the other end. */
static void pushes_give_the_message_of_steps(void **state)
{
    static const uint16_t freqs[] = {1, 2, 3, 7, 255, 1365, 2047, 2049, 4094, 4095, 4096};
    static struct ww_rans_step steps[N];
    static uint16_t scratch[N];
    static uint8_t words[2 * N + 2];
    struct ww_error err = {0};
    uint64_t seed = 11;
    (void)state;
    for (size_t f = 0; f < WW_LEN(freqs); f++) {
        uint8_t *at = words + sizeof(words);
        uint32_t x = WW_RANS_LOW;
        struct ww_buf want;
        ww_buf_init(&want, sizeof(words) + 4);
        for (size_t i = 0; i < N; i++) {
            const uint16_t start =
                (uint16_t)(fx_random(&seed) % (WW_RANS_TOTAL - freqs[f] + 1));
            const unsigned n_bits = (unsigned)(fx_random(&seed) % 13);
            const uint32_t value = (uint32_t)fx_random(&seed) & ((1u << n_bits) - 1);
            steps[i] = i % 2 ? ww_rans_raw(value, n_bits)
                             : (struct ww_rans_step){start, freqs[f]};
        }
        OK(ww_rans_encode(steps, N, scratch, &want, &err));
        for (size_t i = N; i-- > 0;) {
            const struct ww_rans_push push = ww_rans_push_of(steps[i]);
            x = ww_rans_push(x, &push, &at);
        }
        assert_int_equal(want.len, 4 + (size_t)(words + sizeof(words) - at));
        assert_int_equal(ww_get_u32le(want.data), x);
        assert_memory_equal(want.data + 4, at, want.len - 4);
        ww_buf_release(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(length_is_near_the_entropy),
        cmocka_unit_test(one_symbol_costs_nothing),
        cmocka_unit_test(tables_always_sum_up),
        cmocka_unit_test(tables_that_do_not_sum_up_are_refused),
        cmocka_unit_test(pushes_give_the_message_of_steps),
        cmocka_unit_test(changed_messages_do_not_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
