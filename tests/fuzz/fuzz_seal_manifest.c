/* SPDX-License-Identifier: Apache-2.0 */
/* sealed.json: as it is, and with the MAC made right under a key of 32 bytes of 1. */
#include "fuzz.h"

#include <string.h>

#include "crypto/secret.h"
#include "seal/seal_keys.h"
#include "seal/seal_manifest.h"
#include "util/str.h"

static struct ww_secret *ones(void)
{
    struct ww_error err = {0};
    struct ww_secret *key = NULL;
    struct ww_secret *prk = NULL;
    FUZZ_CHECK(ww_secret_new(32, &key, &err) == WW_OK);
    memset(ww_secret_open(key), 1, 32);
    ww_secret_close(key);
    FUZZ_CHECK(ww_seal_root(key, &prk, &err) == WW_OK);
    ww_secret_free(key);
    return prk;
}

static void try_manifest(const struct ww_buf *text, struct ww_secret *prk)
{
    struct ww_seal_manifest m;
    struct ww_error err = {0};
    enum ww_err rc = ww_seal_manifest_read(text, prk, &m, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.code == WW_OK));
    for (size_t i = 0; !rc && i < m.n_sealed; i++) {
        FUZZ_CHECK(m.sealed[i].path && m.sealed[i].path[0] != '/');
    }
    ww_seal_manifest_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    uint8_t mac[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_secret *prk = ones();
    struct ww_buf text;
    ww_buf_init(&text, size + 256);
    FUZZ_CHECK(ww_buf_add(&text, data, size, &err) == WW_OK);
    try_manifest(&text, prk);
    /* The input as the text that the MAC is taken over: "{...}". */
    if (size > 2 && data[size - 1] == '}') {
        FUZZ_CHECK(ww_seal_manifest_mac(prk, text.data, text.len, mac, &err) == WW_OK);
        ww_hex(hex, mac, sizeof(mac));
        text.len--;
        FUZZ_CHECK(ww_buf_addf(&text, &err, ",\"mac\":\"%s\"}", hex) == WW_OK);
        try_manifest(&text, prk);
    }
    ww_buf_release(&text);
    ww_secret_free(prk);
    return 0;
}
