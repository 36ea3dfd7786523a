/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "../../vectors/crypto/keystream.h"
#include "crypto/derive.h"
#include "crypto/hash.h"
#include "util/num.h"
#include "util/str.h"

static struct ww_secret *test_prk(void)
{
    struct ww_error err = {0};
    uint8_t bytes[32];
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    struct ww_secret *secret = secret_of(bytes, 32);
    struct ww_secret *prk = NULL;
    OK(ww_hkdf_extract(secret, KS_SALT, strlen(KS_SALT), &prk, &err));
    ww_secret_free(secret);
    return prk;
}

static struct ww_keystream *stream_of(const char *info)
{
    struct ww_error err = {0};
    struct ww_secret *prk = test_prk();
    struct ww_keystream *ks = NULL;
    OK(ww_keystream_new(prk, info, strlen(info), &ks, &err));
    ww_secret_free(prk); /* the stream keeps nothing of it */
    return ks;
}

static void words_match_the_frozen_vectors(void **state)
{
    struct ww_keystream *ks = stream_of(KS_INFO);
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        const uint32_t word = ww_keystream_u32(ks);
        if (i < 16) {
            assert_int_equal(word, ks_first[i]);
        }
        if (i >= 1022 && i < 1028) {
            assert_int_equal(word, ks_edge[i - 1022]);
        }
        if (i == 4999) {
            assert_int_equal(word, ks_word_4999);
        }
    }
    ww_keystream_free(ks);
    ww_keystream_free(NULL);
}

static void below_matches_the_frozen_vectors(void **state)
{
    struct ww_keystream *ks = stream_of(KS_INFO);
    const size_t n_bounds = sizeof(ks_bounds) / sizeof(ks_bounds[0]);
    (void)state;
    for (size_t i = 0; i < sizeof(ks_below) / sizeof(ks_below[0]); i++) {
        const uint32_t bound = ks_bounds[i % n_bounds];
        const uint32_t value = ww_keystream_below(ks, bound);
        assert_true(value < bound);
        assert_int_equal(value, ks_below[i]);
    }
    ww_keystream_free(ks);
}

static void perm_of_20_matches_the_frozen_vector(void **state)
{
    struct ww_keystream *ks = stream_of(KS_INFO);
    uint32_t perm[20];
    (void)state;
    ww_keystream_perm(ks, perm, 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(perm[i], ks_perm_20[i]);
    }
    ww_keystream_free(ks);
}

static void check_perm(uint32_t n, const char *want)
{
    struct ww_keystream *ks = stream_of(KS_INFO);
    uint32_t *perm = calloc(n, sizeof(*perm));
    uint8_t *bytes = calloc(n, 4);
    bool *seen = calloc(n, sizeof(*seen));
    uint8_t digest[WW_SHA256_BYTES];
    char hex[65];
    assert_true(perm && bytes && seen);
    ww_keystream_perm(ks, perm, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(perm[i] < n && !seen[perm[i]]);
        seen[perm[i]] = true;
        ww_put_u32le(bytes + 4 * (size_t)i, perm[i]);
    }
    ww_sha256_of(bytes, 4 * (size_t)n, digest);
    ww_hex(hex, digest, sizeof(digest));
    assert_string_equal(hex, want);
    free(perm);
    free(bytes);
    free(seen);
    ww_keystream_free(ks);
}

static void long_perms_match_the_frozen_vectors(void **state)
{
    (void)state;
    check_perm(5000, ks_perm_5000);
    check_perm(150000, ks_perm_150000);
}

static void perm_of_none_and_one_draws_nothing(void **state)
{
    struct ww_keystream *ks = stream_of(KS_INFO);
    uint32_t perm[2] = {77, 77};
    (void)state;
    ww_keystream_perm(ks, perm, 0);
    assert_int_equal(perm[0], 77);
    ww_keystream_perm(ks, perm, 1);
    assert_int_equal(perm[0], 0);
    assert_int_equal(perm[1], 77);
    assert_int_equal(ww_keystream_u32(ks), ks_first[0]);
    ww_keystream_free(ks);
}

static void another_info_is_another_stream(void **state)
{
    struct ww_keystream *a = stream_of("weightward/test/a/v1");
    struct ww_keystream *b = stream_of("weightward/test/b/v1");
    unsigned n_equal = 0;
    (void)state;
    for (int i = 0; i < 100; i++) {
        n_equal += ww_keystream_u32(a) == ww_keystream_u32(b);
    }
    assert_true(n_equal < 3);
    ww_keystream_free(a);
    ww_keystream_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_match_the_frozen_vectors),
        cmocka_unit_test(below_matches_the_frozen_vectors),
        cmocka_unit_test(perm_of_20_matches_the_frozen_vector),
        cmocka_unit_test(long_perms_match_the_frozen_vectors),
        cmocka_unit_test(perm_of_none_and_one_draws_nothing),
        cmocka_unit_test(another_info_is_another_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
