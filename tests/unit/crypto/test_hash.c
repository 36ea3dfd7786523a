/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "crypto/hash.h"
#include "util/str.h"

static const char abc_hex[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char empty_hex[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char blake2b_abc_hex[] =
    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923";

static void is_hex(const uint8_t *digest, size_t len, const char *want)
{
    char hex[2 * WW_DIGEST_MAX_BYTES + 1];
    ww_hex(hex, digest, len);
    assert_string_equal(hex, want);
}

static void sha256_of_matches_fips_vectors(void **state)
{
    uint8_t digest[WW_SHA256_BYTES];
    (void)state;
    ww_sha256_of("abc", 3, digest);
    is_hex(digest, sizeof(digest), abc_hex);
    ww_sha256_of(NULL, 0, digest);
    is_hex(digest, sizeof(digest), empty_hex);
}

static void sha256_context_is_reused_after_reset(void **state)
{
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t digest[WW_SHA256_BYTES];
    (void)state;
    OK(ww_sha256_new(&h, &err));
    ww_sha256_update(h, "garbage", 7);
    for (int i = 0; i < 3; i++) {
        ww_sha256_reset(h);
        ww_sha256_update(h, "a", 1);
        ww_sha256_update(h, NULL, 0);
        ww_sha256_update(h, "bc", 2);
        ww_sha256_final(h, digest);
        is_hex(digest, sizeof(digest), abc_hex);
    }
    ww_sha256_free(h);
    ww_sha256_free(NULL);
}

static void sha256_takes_numbers_low_byte_first(void **state)
{
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t digest[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];
    (void)state;
    OK(ww_sha256_new(&h, &err));
    ww_sha256_u32le(h, 0x64636261);
    ww_sha256_u64le(h, 0x6c6b6a6968676665);
    ww_sha256_final(h, digest);
    ww_sha256_free(h);
    ww_sha256_of("abcdefghijkl", 12, want);
    assert_memory_equal(digest, want, sizeof(want));
}

static void sha256_of_a_million_letters_matches(void **state)
{
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t digest[WW_SHA256_BYTES];
    char block[1000];
    (void)state;
    memset(block, 'a', sizeof(block));
    OK(ww_sha256_new(&h, &err));
    for (int i = 0; i < 1000; i++) {
        ww_sha256_update(h, block, sizeof(block));
    }
    ww_sha256_final(h, digest);
    is_hex(digest, sizeof(digest),
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    ww_sha256_free(h);
}

static void digest_knows_both_algorithms(void **state)
{
    static const struct {
        const char *name;
        size_t n_bytes;
        const char *abc;
    } cases[] = {{"sha256", 32, abc_hex}, {"blake2b", 64, blake2b_abc_hex}};
    struct ww_error err = {0};
    uint8_t digest[WW_DIGEST_MAX_BYTES];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ww_digest *d = NULL;
        OK(ww_digest_new(cases[i].name, &d, &err));
        ww_digest_update(d, "abcd", 4);
        ww_digest_reset(d);
        ww_digest_update(d, "abc", 3);
        assert_int_equal(ww_digest_final(d, digest), cases[i].n_bytes);
        is_hex(digest, cases[i].n_bytes, cases[i].abc);
        ww_digest_free(d);
    }
}

static void digest_refuses_other_names(void **state)
{
    static const char *const names[] = {"blake3", "SHA256", "sha2-256",
                                        "",       "sha512", "md5"};
    struct ww_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ww_digest *d = NULL;
        FAILS(ww_digest_new(names[i], &d, &err), WW_E_UNSUPPORTED);
        assert_null(d);
    }
    ww_digest_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_matches_fips_vectors),
        cmocka_unit_test(sha256_context_is_reused_after_reset),
        cmocka_unit_test(sha256_takes_numbers_low_byte_first),
        cmocka_unit_test(sha256_of_a_million_letters_matches),
        cmocka_unit_test(digest_knows_both_algorithms),
        cmocka_unit_test(digest_refuses_other_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
