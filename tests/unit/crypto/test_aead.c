/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk ciphers against published vectors, against libsodium, and against alteration. */
#include "crypto_test.h"

#include <sodium.h>

#include "crypto/aead.h"
#include "util/str.h"

static const enum ww_aead_cipher both[] = {WW_AEAD_AES256_GCM, WW_AEAD_CHACHA20};

static void unhex(uint8_t *out, size_t len, const char *hex)
{
    assert_true(ww_unhex(out, len, hex, strlen(hex)));
}

/* Test cases 13, 14 and 15 of McGrew and Viega, "The Galois/Counter Mode of Operation".
 */
static void gcm_gives_the_published_bytes(void **state)
{
    static const struct {
        const char *key;
        const char *nonce;
        const char *plain;
        const char *sealed;
    } cases[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "530f8afbc74536b9a963b4f1c4cb738b"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "00000000000000000000000000000000",
         "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
        {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
         "cafebabefacedbaddecaf888",
         "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
         "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
         "b094dac5d93471bdec1a502270e3cc6c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        uint8_t key[32];
        uint8_t nonce[12];
        uint8_t plain[64];
        uint8_t want[80];
        uint8_t got[80];
        const size_t n = strlen(cases[i].plain) / 2;
        unhex(key, 32, cases[i].key);
        unhex(nonce, 12, cases[i].nonce);
        unhex(plain, n, cases[i].plain);
        unhex(want, n + 16, cases[i].sealed);
        OK(ww_aead_seal(WW_AEAD_AES256_GCM, key, nonce, plain, n, got, &err));
        assert_memory_equal(got, want, n + 16);
    }
}

static void chacha_agrees_with_libsodium(void **state)
{
    struct ww_error err = {0};
    uint8_t key[32];
    uint8_t nonce[12];
    uint8_t plain[300];
    uint8_t want[316];
    uint8_t got[316];
    (void)state;
    memset(key, 3, sizeof(key));
    memset(nonce, 4, sizeof(nonce));
    for (size_t n = 0; n <= sizeof(plain); n += 75) {
        memset(plain, (int)n, sizeof(plain));
        crypto_aead_chacha20poly1305_ietf_encrypt(want, NULL, plain, n, NULL, 0, NULL,
                                                  nonce, key);
        OK(ww_aead_seal(WW_AEAD_CHACHA20, key, nonce, plain, n, got, &err));
        assert_memory_equal(got, want, n + 16);
    }
}

static void a_flipped_bit_opens_nothing(void **state)
{
    (void)state;
    for (size_t c = 0; c < 2; c++) {
        struct ww_error err = {0};
        uint8_t key[32] = {1};
        uint8_t nonce[12] = {2};
        uint8_t plain[40];
        uint8_t sealed[56];
        uint8_t back[40];
        static const uint8_t zeros[40];
        bool good = false;
        memset(plain, 9, sizeof(plain));
        OK(ww_aead_seal(both[c], key, nonce, plain, 40, sealed, &err));
        OK(ww_aead_open(both[c], key, nonce, sealed, 40, back, &good, &err));
        assert_true(good);
        assert_memory_equal(back, plain, 40);
        for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            OK(ww_aead_open(both[c], key, nonce, sealed, 40, back, &good, &err));
            assert_false(good);
            assert_memory_equal(back, zeros, 40);
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        nonce[11] ^= 1;
        OK(ww_aead_open(both[c], key, nonce, sealed, 40, back, &good, &err));
        assert_false(good);
    }
}

static void ciphers_have_names(void **state)
{
    (void)state;
    assert_string_equal(ww_aead_name(WW_AEAD_AES256_GCM), "aes-256-gcm");
    assert_string_equal(ww_aead_name(WW_AEAD_CHACHA20), "chacha20-poly1305");
    assert_null(ww_aead_name(0));
    assert_non_null(ww_aead_name((uint32_t)ww_aead_best()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_gives_the_published_bytes),
        cmocka_unit_test(chacha_agrees_with_libsodium),
        cmocka_unit_test(a_flipped_bit_opens_nothing),
        cmocka_unit_test(ciphers_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
