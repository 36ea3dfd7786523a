/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 5869 appendix A, the SHA-256 cases. */
#include "crypto_test.h"

#include "crypto/derive.h"
#include "util/str.h"

static void is_hex(const uint8_t *bytes, size_t len, const char *want)
{
    char hex[2 * 255 * 32 + 1];
    ww_hex(hex, bytes, len);
    assert_string_equal(hex, want);
}

static void check(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt,
                  size_t salt_len, const uint8_t *info, size_t info_len,
                  const char *prk_hex, const char *okm_hex)
{
    struct ww_error err = {0};
    struct ww_secret *secret = secret_of(ikm, ikm_len);
    struct ww_secret *prk = NULL;
    uint8_t okm[82];
    const size_t okm_len = strlen(okm_hex) / 2;
    OK(ww_hkdf_extract(secret, salt, salt_len, &prk, &err));
    assert_int_equal(ww_secret_len(prk), WW_PRK_BYTES);
    is_hex(ww_secret_open(prk), WW_PRK_BYTES, prk_hex);
    ww_secret_close(prk);
    OK(ww_hkdf_expand(prk, info, info_len, okm, okm_len, &err));
    is_hex(okm, okm_len, okm_hex);
    ww_secret_free(secret);
    ww_secret_free(prk);
}

static void count_up(uint8_t *out, size_t len, uint8_t first)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(first + i);
    }
}

static void hkdf_matches_rfc5869_case_1(void **state)
{
    uint8_t ikm[22];
    uint8_t salt[13];
    uint8_t info[10];
    (void)state;
    memset(ikm, 0x0b, sizeof(ikm));
    count_up(salt, sizeof(salt), 0);
    count_up(info, sizeof(info), 0xf0);
    check(ikm, 22, salt, 13, info, 10,
          "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
          "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887"
          "185865");
}

static void hkdf_matches_rfc5869_case_2(void **state)
{
    uint8_t ikm[80];
    uint8_t salt[80];
    uint8_t info[80];
    (void)state;
    count_up(ikm, 80, 0x00);
    count_up(salt, 80, 0x60);
    count_up(info, 80, 0xb0);
    check(ikm, 80, salt, 80, info, 80,
          "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
          "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
          "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
          "cc30c58179ec3e87c14c01d5c1f3434f1d87");
}

static void hkdf_matches_rfc5869_case_3(void **state)
{
    uint8_t ikm[22];
    (void)state;
    memset(ikm, 0x0b, sizeof(ikm));
    check(ikm, 22, NULL, 0, NULL, 0,
          "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
          "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b6"
          "1a96c8");
}

static void expand_ends_at_255_blocks(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *prk = secret_text("0123456789abcdef0123456789abcdef");
    uint8_t out[255 * 32 + 1];
    uint8_t again[255 * 32];
    (void)state;
    memset(out, 0xee, sizeof(out));
    OK(ww_hkdf_expand(prk, "i", 1, out, 255 * 32, &err));
    assert_int_equal(out[255 * 32], 0xee);
    /* A shorter output is the beginning of a longer one. */
    OK(ww_hkdf_expand(prk, "i", 1, again, 1000, &err));
    assert_memory_equal(out, again, 1000);
    FAILS(ww_hkdf_expand(prk, "i", 1, out, 255 * 32 + 1, &err), WW_E_USAGE);
    OK(ww_hkdf_expand(prk, "i", 1, out, 0, &err));
    ww_secret_free(prk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hkdf_matches_rfc5869_case_1),
        cmocka_unit_test(hkdf_matches_rfc5869_case_2),
        cmocka_unit_test(hkdf_matches_rfc5869_case_3),
        cmocka_unit_test(expand_ends_at_255_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
