/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, certificates and base64 as text and as DER. A public key that is accepted writes
 * a text that gives the same key.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/base64.h"
#include "crypto/secret.h"
#include "crypto/signkey.h"
#include "crypto/verify.h"

static void try_pubkey(struct ww_pubkey *key)
{
    struct ww_error err = {0};
    struct ww_pubkey *again = NULL;
    struct ww_buf pem;
    char hint[2][2 * WW_SHA256_BYTES + 1];
    ww_buf_init(&pem, 1024);
    FUZZ_CHECK(ww_pubkey_pem(key, &pem, &err) == WW_OK);
    FUZZ_CHECK(ww_pubkey_from_pem(pem.data, pem.len, &again, &err) == WW_OK);
    FUZZ_CHECK(ww_pubkey_hint(key, hint[0], &err) == WW_OK);
    FUZZ_CHECK(ww_pubkey_hint(again, hint[1], &err) == WW_OK);
    FUZZ_CHECK(strcmp(hint[0], hint[1]) == 0);
    ww_buf_release(&pem);
    ww_pubkey_free(again);
    ww_pubkey_free(key);
}

static void try_certs(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_certs *certs = NULL;
    struct ww_pubkey *key = NULL;
    struct ww_buf subject;
    ww_buf_init(&subject, 4096);
    FUZZ_CHECK(ww_certs_new(&certs, &err) == WW_OK);
    (void)!ww_certs_add_pem(certs, data, size, NULL);
    (void)!ww_certs_add_der(certs, data, size, NULL);
    if (ww_certs_verify(certs, certs, 1767225600, &key, &subject, &err) == WW_OK) {
        FUZZ_CHECK(key != NULL);
        try_pubkey(key);
    }
    ww_buf_release(&subject);
    ww_certs_free(certs);
}

static void try_signkey(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_secret *text = NULL;
    struct ww_signkey *key = NULL;
    FUZZ_CHECK(ww_secret_new(size, &text, &err) == WW_OK);
    if (size) {
        memcpy(ww_secret_open(text), data, size);
        ww_secret_close(text);
    }
    (void)!ww_signkey_from_pem(text, NULL, &key, &err);
    ww_signkey_free(key);
    ww_secret_free(text);
}

static void try_base64(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_buf bytes;
    struct ww_buf text;
    ww_buf_init(&bytes, size + 3);
    ww_buf_init(&text, 2 * size + 4);
    if (ww_base64_decode(&bytes, (const char *)data, size, &err) == WW_OK) {
        FUZZ_CHECK(ww_base64_encode(&text, bytes.data, bytes.len, &err) == WW_OK);
        FUZZ_CHECK(text.len == size && (size == 0 || memcmp(text.data, data, size) == 0));
    }
    ww_buf_release(&bytes);
    ww_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = NULL;
    if (size > 65536) {
        return 0;
    }
    if (ww_pubkey_from_pem(data, size, &key, &err) == WW_OK) {
        try_pubkey(key);
    }
    ww_error_clear(&err);
    if (ww_pubkey_from_der(data, size, &key, &err) == WW_OK) {
        try_pubkey(key);
    }
    try_certs(data, size);
    try_signkey(data, size);
    try_base64(data, size);
    return 0;
}
