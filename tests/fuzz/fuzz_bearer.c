/* SPDX-License-Identifier: Apache-2.0 */
/* Files of keys that clients show: what is a line's key lets in, and no part of it. */
#include "fuzz.h"

#include <string.h>

#include "serve/bearer.h"

#define SCHEME "Bearer "

static bool allows(const struct ww_bearers *keys, const uint8_t *key, size_t len)
{
    char header[sizeof(SCHEME) + WW_BEARER_MAX];
    FUZZ_CHECK(len <= WW_BEARER_MAX);
    memcpy(header, SCHEME, sizeof(SCHEME) - 1);
    memcpy(header + sizeof(SCHEME) - 1, key, len);
    header[sizeof(SCHEME) - 1 + len] = '\0';
    return ww_bearers_allow(keys, header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_bearers keys;
    const enum ww_err rc = ww_bearers_parse(data, size, &keys, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (keys.n > 0) && keys.n <= WW_BEARER_KEYS);
    for (size_t at = 0; rc == WW_OK && at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        const size_t n = end ? (size_t)(end - data) - at : size - at;
        FUZZ_CHECK(n == 0 || allows(&keys, data + at, n));
        FUZZ_CHECK(n != WW_BEARER_MIN || !allows(&keys, data + at, n - 1));
        at += n + 1;
    }
    FUZZ_CHECK(rc != WW_OK || !ww_bearers_allow(&keys, NULL));
    ww_bearers_release(&keys);
    return 0;
}
