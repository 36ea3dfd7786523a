/* SPDX-License-Identifier: Apache-2.0 */
/* Our SHA-256 against OpenSSL's: every length near a block, any splitting, in pairs. */
#include "crypto/sha.h"

#include "crypto/sha_blocks.h"
#include "ww_random.h"
#include "ww_test.h"

#define N 5000u

static uint8_t bytes[2 * N];

static void check(struct ww_sha *s, const uint8_t *p, size_t n)
{
    uint8_t got[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];
    ww_sha_final(s, got);
    ww_sha256_of(p, n, want);
    assert_memory_equal(got, want, WW_SHA256_BYTES);
}

static void one_message(bool fast)
{
    struct ww_error err = {0};
    struct ww_sha s;
    uint64_t seed = 1;

    OK(ww_sha_init(&s, fast, &err));
    for (size_t n = 0; n < 300; n++) {
        ww_sha_reset(&s);
        ww_sha_update(&s, bytes, n);
        check(&s, bytes, n);
    }
    for (size_t round = 0; round < 200; round++) {
        ww_sha_reset(&s);
        size_t at = 0;
        while (at < N) {
            size_t step = fx_random(&seed) % (round + 2);
            step = step < N - at ? step : N - at;
            ww_sha_update(&s, bytes + at, step);
            at += step;
        }
        check(&s, bytes, N);
    }
    ww_sha_release(&s);
    ww_sha_release(&s); /* all-zero may be released */
}

static void sha_equals_openssl(void **state)
{
    (void)state;
    one_message(false);
    if (ww_sha_fast()) {
        one_message(true);
    }
}

static void two_messages(bool fast_a, bool fast_b)
{
    struct ww_error err = {0};
    struct ww_sha a;
    struct ww_sha b;
    uint64_t seed = 2;
    const uint8_t *q = bytes + N + 3; /* another alignment */

    OK(ww_sha_init(&a, fast_a, &err));
    OK(ww_sha_init(&b, fast_b, &err));
    for (size_t round = 0; round < 300; round++) {
        size_t in_a = fx_random(&seed) % 200;
        size_t in_b = fx_random(&seed) % 200;
        ww_sha_reset(&a);
        ww_sha_reset(&b);
        ww_sha_update(&a, bytes, in_a);
        ww_sha_update(&b, q, in_b);
        for (unsigned k = 0; k < 3; k++) {
            size_t n = fx_random(&seed) % (k == 0 ? 70 : 1500);
            ww_sha_update_2(&a, bytes + in_a, &b, q + in_b, n);
            in_a += n;
            in_b += n;
        }
        check(&a, bytes, in_a);
        check(&b, q, in_b);
    }
    ww_sha_release(&a);
    ww_sha_release(&b);
}

static void sha_of_two_equals_openssl(void **state)
{
    (void)state;
    two_messages(false, false);
    if (ww_sha_fast()) {
        two_messages(true, true);
        two_messages(true, false);
        two_messages(false, true);
    }
}

/* Any number together, each from a place of its own in a block. */
static void together(unsigned k, unsigned n_fast)
{
    struct ww_error err = {0};
    struct ww_sha sha[5];
    struct ww_sha *s[5];
    const uint8_t *p[5];
    uint64_t seed = 3;

    for (unsigned m = 0; m < k; m++) {
        s[m] = &sha[m];
        OK(ww_sha_init(s[m], m < n_fast, &err));
    }
    for (size_t round = 0; round < 100; round++) {
        const size_t n = fx_random(&seed) % (round % 2 ? 70 : 1500);
        size_t before[5];
        for (unsigned m = 0; m < k; m++) {
            before[m] = fx_random(&seed) % 200;
            ww_sha_reset(s[m]);
            ww_sha_update(s[m], bytes + 900 * m, before[m]);
            p[m] = bytes + 900 * m + before[m];
        }
        ww_sha_update_all(s, p, k, n);
        for (unsigned m = 0; m < k; m++) {
            check(s[m], bytes + 900 * m, before[m] + n);
        }
    }
    for (unsigned m = 0; m < k; m++) {
        ww_sha_release(s[m]);
    }
}

static void sha_of_several_equals_openssl(void **state)
{
    (void)state;
    for (unsigned k = 0; k <= 5; k++) {
        together(k, 0);
        if (ww_sha_fast()) {
            together(k, k);
            together(k, k / 2);
        }
    }
}

static void by_quarters(struct ww_sha_quarters *q)
{
    ww_sha_quarter_1(q);
    ww_sha_quarter_2(q);
    ww_sha_quarter_3(q);
    ww_sha_quarter_4(q);
}

/* From any place in a block, any number of whole ones, and the others as ever. */
static void a_rest_by_quarters_equals_openssl(void **state)
{
    (void)state;
    const bool can = ww_sha_fast() && __builtin_cpu_supports("avx");
    struct ww_error err = {0};
    struct ww_sha s;
    uint64_t seed = 3;

    OK(ww_sha_init(&s, ww_sha_fast(), &err));
    for (size_t round = 0; can && round < 500; round++) {
        const size_t before = fx_random(&seed) % 200;
        const size_t n = fx_random(&seed) % (round % 2 ? 200 : 2000);
        struct ww_sha_rest rest = {&s, bytes + before, n};
        struct ww_sha_quarters q;
        uint64_t blocks = 0;
        ww_sha_reset(&s);
        ww_sha_update(&s, bytes, before);
        blocks = ww_sha_rest_begin(&rest, &q);
        assert_int_equal(blocks, rest.n / 64);
        for (uint64_t take = blocks ? fx_random(&seed) % (blocks + 1) : 0; take > 0;
             take--) {
            by_quarters(&q);
        }
        if (blocks > 0) {
            ww_sha_rest_end(&rest, &q);
        }
        assert_ptr_equal(rest.p + rest.n, bytes + before + n);
        ww_sha_update(&s, rest.p, rest.n);
        check(&s, bytes, before + n);
    }
    ww_sha_release(&s);
}

/* Through OpenSSL, and of less than a block. */
static void nothing_is_begun_where_nothing_can_be(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha s;
    struct ww_sha_quarters q;
    struct ww_sha_rest rest = {&s, bytes, N};

    assert_int_equal(ww_sha_rest_begin(NULL, &q), 0);
    OK(ww_sha_init(&s, false, &err));
    assert_int_equal(ww_sha_rest_begin(&rest, &q), 0);
    assert_int_equal(rest.n, N);
    ww_sha_release(&s);
    OK(ww_sha_init(&s, ww_sha_fast(), &err));
    rest.n = 63;
    assert_int_equal(ww_sha_rest_begin(&rest, &q), 0);
    assert_int_equal(rest.n, 63);
    ww_sha_release(&s);
}

/* FIPS 180-4's example, so that not both can be wrong together. */
static void sha_meets_standard(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha s;
    uint8_t got[WW_SHA256_BYTES];
    static const uint8_t want[WW_SHA256_BYTES] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};

    OK(ww_sha_init(&s, ww_sha_fast(), &err));
    ww_sha_update(&s, (const uint8_t *)"abc", 3);
    ww_sha_final(&s, got);
    assert_memory_equal(got, want, WW_SHA256_BYTES);
    ww_sha_release(&s);
}

int main(void)
{
    uint64_t seed = 99;
    fx_fill(&seed, bytes, sizeof(bytes));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha_equals_openssl),
        cmocka_unit_test(sha_of_two_equals_openssl),
        cmocka_unit_test(sha_of_several_equals_openssl),
        cmocka_unit_test(a_rest_by_quarters_equals_openssl),
        cmocka_unit_test(nothing_is_begun_where_nothing_can_be),
        cmocka_unit_test(sha_meets_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
