/* SPDX-License-Identifier: Apache-2.0 */
/* Keys are random, so a plain digest of one tells nothing about it. */
#include "serve/bearer.h"

#include <string.h>
#include <strings.h>

#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SCHEME "Bearer "

static bool is_key(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return len >= WW_BEARER_MIN && len <= WW_BEARER_MAX;
}

static enum ww_err read_lines(const uint8_t *text, size_t len, struct ww_bearers *out,
                              struct ww_error *err)
{
    size_t line = 0;
    for (size_t at = 0; at < len;) {
        const uint8_t *end = memchr(text + at, '\n', len - at);
        const size_t n = end ? (size_t)(end - text) - at : len - at;
        line++;
        if (n && out->n == WW_BEARER_KEYS) {
            return WW_FAIL(err, WW_E_LIMIT,
                           "more than %d keys, of which no more are taken; remove those "
                           "that nobody uses",
                           WW_BEARER_KEYS);
        }
        if (n && !is_key(text + at, n)) {
            return WW_FAIL(err, WW_E_KEYFILE,
                           "line %zu is no key: expected %d to %d visible characters",
                           line, WW_BEARER_MIN, WW_BEARER_MAX);
        }
        if (n) {
            ww_sha256_of(text + at, n, out->digest[out->n++]);
        }
        at += n + 1;
    }
    return out->n
               ? WW_OK
               : WW_FAIL(err, WW_E_KEYFILE,
                         "no key in it, expected at least one line of %d to %d visible "
                         "characters",
                         WW_BEARER_MIN, WW_BEARER_MAX);
}

enum ww_err ww_bearers_parse(const uint8_t *text, size_t len, struct ww_bearers *out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->digest = ww_calloc(WW_BEARER_KEYS, sizeof(*out->digest));
    rc = out->digest ? read_lines(text, len, out, err) : WW_FAIL_MEMORY(err, "keys");
    if (rc) {
        ww_bearers_release(out);
    }
    return rc;
}

enum ww_err ww_bearers_read(const char *path, struct ww_bearers *out,
                            struct ww_error *err)
{
    struct ww_secret *text = NULL;
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ww_keyfile_read(path, true, &text, err);
    if (rc) {
        return rc;
    }
    rc = ww_bearers_parse(ww_secret_open(text), ww_secret_len(text), out, err);
    ww_secret_close(text);
    if (rc) {
        ww_error_context(err, "keys '%s'", path);
    }
    ww_secret_free(text);
    return rc;
}

void ww_bearers_release(struct ww_bearers *bearers)
{
    ww_free(bearers->digest);
    memset(bearers, 0, sizeof(*bearers));
}

bool ww_bearers_allow(const struct ww_bearers *bearers, const char *header)
{
    uint8_t digest[32];
    unsigned found = 0;
    if (bearers->n == 0) {
        return true;
    }
    if (!header || strncasecmp(header, SCHEME, strlen(SCHEME)) != 0) {
        return false;
    }
    const char *key = header + strlen(SCHEME);
    ww_sha256_of(key, strlen(key), digest);
    for (size_t i = 0; i < bearers->n; i++) { /* all, whichever fits */
        found |= ww_bytes_equal(digest, bearers->digest[i], sizeof(digest));
    }
    return found != 0;
}
