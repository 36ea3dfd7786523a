/* SPDX-License-Identifier: Apache-2.0 */
/* The worked vector is a test key's; it was checked with openssl and model-signing 1.1.1.
 */
#include "crypto_test.h"

#include "crypto/base64.h"
#include "crypto/verify.h"

static const char demo_key[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzm67R5em1/59wUT3gVbQ/85u9ZNt\n"
    "wD28JczgnjPoMUI/UDhn03WWwKMUJRySUwxiClPnjijpRalLQSfP1aB9fg==\n"
    "-----END PUBLIC KEY-----\n";
static const char demo_hint[] =
    "83901cb6f94823d1d796b4de60c6337431bc51b0e7313f07d50487a10a4e8289";
static const char demo_signature[] =
    "MEQCIBwB52BXWH7ObEFwl3BfoPtwgU4foY0JXMGa5zwcrupYAiBq2UDNAOs+rznI57UgefoJC/QPRhGiFTKL"
    "1lIIoSG9BQ==";
static const char demo_message[] =
    "DSSEv1 28 application/vnd.in-toto+json 657 "
    "{\"subject\":[{\"name\":\"demo\",\"digest\":{\"sha256\":\"c21623981395433ec219"
    "ba1f0b8fda9bbc5d7ae2cc0ecef162667566c8d9e5cb\"}}],\"_type\":\"https://in-toto."
    "io/Statement/v1\",\"predicateType\":\"https://model_signing/signature/v1.0\","
    "\"predicate\":{\"resources\":[{\"name\":\"config.json\",\"digest\":\"44136fa35"
    "5b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"algorithm\":\"sha2"
    "56\"},{\"name\":\"model.safetensors\",\"digest\":\"d7e1133cd341e7d3cc71b7b5979"
    "2f107c0584c2c03448dd4eb743acb5fd85371\",\"algorithm\":\"sha256\"}],\"serializa"
    "tion\":{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false"
    ",\"ignore_paths\":[\".git\",\".gitattributes\",\".github\",\".gitignore\",\"at"
    "testations\",\"model.sig\"]}}}";

static struct ww_pubkey *demo(void)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = NULL;
    OK(ww_pubkey_from_pem((const uint8_t *)demo_key, strlen(demo_key), &key, &err));
    return key;
}

static void signature_bytes(struct ww_buf *sig)
{
    struct ww_error err = {0};
    ww_buf_init(sig, 200);
    OK(ww_base64_decode(sig, demo_signature, strlen(demo_signature), &err));
}

static void worked_vector_verifies_and_gives_its_hint(void **state)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = demo();
    char hint[65];
    struct ww_buf sig;
    struct ww_buf pem;
    (void)state;
    assert_string_equal(ww_pubkey_curve(key), "P-256");
    OK(ww_pubkey_hint(key, hint, &err));
    assert_string_equal(hint, demo_hint);
    ww_buf_init(&pem, 1000);
    OK(ww_pubkey_pem(key, &pem, &err));
    assert_string_equal(ww_buf_cstr(&pem), demo_key);
    signature_bytes(&sig);
    assert_int_equal(strlen(demo_message), 700);
    OK(ww_pubkey_verify(key, demo_message, 700, sig.data, sig.len, &err));
    OK(ww_pubkey_verify_sha256(key, demo_message, 700, sig.data, sig.len, &err));
    ww_buf_release(&sig);
    ww_buf_release(&pem);
    ww_pubkey_free(key);
    ww_pubkey_free(NULL);
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = demo();
    struct ww_buf sig;
    char *message = strdup(demo_message);
    (void)state;
    signature_bytes(&sig);
    for (size_t i = 0; i < 8 * sig.len; i++) {
        sig.data[i / 8] ^= (uint8_t)(1 << i % 8);
        FAILS(ww_pubkey_verify(key, message, 700, sig.data, sig.len, &err),
              WW_E_SIGNATURE);
        sig.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < 700; i += 23) {
        message[i] ^= 1;
        FAILS(ww_pubkey_verify(key, message, 700, sig.data, sig.len, &err),
              WW_E_SIGNATURE);
        message[i] ^= 1;
    }
    FAILS(ww_pubkey_verify(key, message, 699, sig.data, sig.len, &err), WW_E_SIGNATURE);
    free(message);
    ww_buf_release(&sig);
    ww_pubkey_free(key);
}

static void only_the_one_der_form_is_a_signature(void **state)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = demo();
    struct ww_buf sig;
    uint8_t other[300];
    (void)state;
    signature_bytes(&sig);
    for (size_t len = 0; len < sig.len; len++) {
        FAILS(ww_pubkey_verify(key, demo_message, 700, sig.data, len, &err),
              WW_E_SIGNATURE);
    }
    memset(other, 0, sizeof(other));
    memcpy(other, sig.data, sig.len);
    FAILS(ww_pubkey_verify(key, demo_message, 700, other, sig.len + 1, &err),
          WW_E_SIGNATURE);
    FAILS(ww_pubkey_verify(key, demo_message, 700, other, sizeof(other), &err),
          WW_E_SIGNATURE);
    /* The same sequence with its length in the long form: valid BER, not DER. */
    other[0] = 0x30;
    other[1] = 0x81;
    memcpy(other + 2, sig.data + 1, sig.len - 1);
    FAILS(ww_pubkey_verify(key, demo_message, 700, other, sig.len + 1, &err),
          WW_E_SIGNATURE);
    /* r with a leading zero too many. */
    memcpy(other, sig.data, 3);
    other[1]++;
    other[3] = (uint8_t)(sig.data[3] + 1);
    other[4] = 0;
    memcpy(other + 5, sig.data + 4, sig.len - 4);
    FAILS(ww_pubkey_verify(key, demo_message, 700, other, sig.len + 1, &err),
          WW_E_SIGNATURE);
    /* Raw r and s. */
    FAILS(ww_pubkey_verify(key, demo_message, 700, sig.data + 4, 64, &err),
          WW_E_SIGNATURE);
    ww_buf_release(&sig);
    ww_pubkey_free(key);
}

static void der_keys_are_read_strictly(void **state)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = NULL;
    struct ww_buf der;
    char packed[200] = "";
    (void)state;
    ww_buf_init(&der, 200);
    memcpy(packed, demo_key + 27, 64);
    memcpy(packed + 64, demo_key + 27 + 65, 60);
    OK(ww_base64_decode(&der, packed, 124, &err));
    OK(ww_pubkey_from_der(der.data, der.len, &key, &err));
    ww_pubkey_free(key);
    for (size_t len = 0; len < der.len; len++) {
        FAILS(ww_pubkey_from_der(der.data, len, &key, &err), WW_E_KEYFILE);
        assert_null(key);
    }
    OK(ww_buf_add(&der, "\0", 1, &err));
    FAILS(ww_pubkey_from_der(der.data, der.len, &key, &err), WW_E_KEYFILE);
    der.data[60] ^= 1; /* not on the curve */
    FAILS(ww_pubkey_from_der(der.data, der.len - 1, &key, &err), WW_E_KEYFILE);
    assert_null(key);
    ww_buf_release(&der);
}

/* Commands that make a public key NAME.pub of a kind that must be refused. */
static const struct {
    const char *command;
    enum ww_err want;
    const char *word; /* in the error text */
} foreign[] = {
    {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 | "
     "openssl pkey -pubout -out k.pub",
     WW_E_KEY, "secp256k1"},
    {"openssl genpkey -algorithm ED25519 | openssl pkey -pubout -out k.pub", WW_E_KEY,
     "ED25519"},
    {"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | "
     "openssl pkey -pubout -out k.pub",
     WW_E_KEY, "RSA"},
    {"openssl genpkey -algorithm X25519 | openssl pkey -pubout -out k.pub", WW_E_KEY,
     "X25519"},
    {"openssl ecparam -genkey -name prime256v1 -param_enc explicit | "
     "openssl ec -pubout -param_enc explicit -out k.pub",
     WW_E_KEY, "parameters"},
    {"openssl ecparam -genkey -name prime256v1 | "
     "openssl ec -pubout -conv_form compressed -out k.pub",
     WW_E_KEY, "compressed"},
    {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pub",
     WW_E_KEY, "private"},
    {"echo nothing > k.pub", WW_E_KEYFILE, "no public key"},
    {": > k.pub", WW_E_KEYFILE, "no public key"},
    {"head -c 70000 /dev/zero > k.pub", WW_E_LIMIT, "k.pub"},
    {"rm k.pub", WW_E_NOTFOUND, "k.pub"},
};

static void other_keys_are_refused_by_name(void **state)
{
    char *dir = ww_test_mkdir();
    (void)state;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        struct ww_error err = {0};
        struct ww_pubkey *key = NULL;
        assert_int_equal(shell_in(dir, foreign[i].command), 0);
        FAILS(ww_pubkey_load(at(dir, "k.pub"), &key, &err), foreign[i].want);
        assert_null(key);
        if (!strstr(err.text, foreign[i].word)) {
            fail_msg("case %zu: '%s' lacks '%s'", i, err.text, foreign[i].word);
        }
    }
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_vector_verifies_and_gives_its_hint),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(only_the_one_der_form_is_a_signature),
        cmocka_unit_test(der_keys_are_read_strictly),
        cmocka_unit_test(other_keys_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
