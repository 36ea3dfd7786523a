/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shamir, "How to share a secret" (1979), bytewise: each byte of the secret is the value
 * at zero of a polynomial of its own. Fewer shares than the threshold say nothing at all
 * about the secret. Secret bytes meet only shifts, ands and exclusive ors, never an index
 * or a branch, so nothing shows in time or in the cache; the x are public.
 */
#include "crypto/shamir.h"

#include <string.h>

#include "util/fail.h"

uint8_t ww_gf256_mul(uint8_t a, uint8_t b)
{
    unsigned x = a;
    unsigned y = b;
    unsigned product = 0;

    for (unsigned bit = 0; bit < 8; bit++) {
        product ^= x & (0u - (y & 1));
        x = (x << 1) ^ (0x11bu & (0u - (x >> 7)));
        y >>= 1;
    }
    return (uint8_t)product;
}

/* a^254, since a^255 is 1 for all but 0. */
uint8_t ww_gf256_inverse(uint8_t a)
{
    uint8_t power = a;
    uint8_t product = 1;

    for (unsigned i = 0; i < 7; i++) {
        power = ww_gf256_mul(power, power);
        product = ww_gf256_mul(product, power);
    }
    return product;
}

/* Horner, from the highest coefficient down to the secret. */
static void evaluate(const uint8_t *secret, const uint8_t *coefficients,
                     unsigned threshold, uint8_t x, uint8_t *out)
{
    memset(out, 0, WW_SHAMIR_BYTES);
    for (unsigned k = threshold; k-- > 0;) {
        const uint8_t *c = k ? coefficients + (size_t)(k - 1) * WW_SHAMIR_BYTES : secret;
        for (size_t i = 0; i < WW_SHAMIR_BYTES; i++) {
            out[i] = (uint8_t)(ww_gf256_mul(out[i], x) ^ c[i]);
        }
    }
}

static enum ww_err draw(unsigned threshold, struct ww_secret **out, struct ww_error *err)
{
    const size_t len = (size_t)(threshold - 1) * WW_SHAMIR_BYTES;
    enum ww_err rc = ww_secret_new(len, out, err);

    if (!rc) {
        ww_random(ww_secret_open(*out), len);
        ww_secret_close(*out);
    }
    return rc;
}

enum ww_err ww_shamir_split(struct ww_secret *secret, struct ww_secret *coefficients,
                            unsigned threshold, unsigned n_shares,
                            struct ww_secret **shares, struct ww_error *err)
{
    struct ww_secret *drawn = NULL;
    struct ww_secret *made = NULL;
    enum ww_err rc = WW_OK;

    *shares = NULL;
    if (threshold < 2 || threshold > n_shares || n_shares > WW_SHAMIR_MAX_SHARES) {
        return WW_FAIL(err, WW_E_USAGE,
                       "%u of %u shares: at least 2 must be needed, and at most %d made",
                       threshold, n_shares, WW_SHAMIR_MAX_SHARES);
    }
    WW_INVARIANT(ww_secret_len(secret) == WW_SHAMIR_BYTES);
    if (!coefficients) {
        rc = draw(threshold, &drawn, err);
        coefficients = drawn;
    }
    if (!rc) {
        rc = ww_secret_new((size_t)n_shares * WW_SHAMIR_BYTES, &made, err);
    }
    if (!rc) {
        const uint8_t *s = ww_secret_open(secret);
        const uint8_t *c = ww_secret_open(coefficients);
        uint8_t *out = ww_secret_open(made);
        for (unsigned x = 1; x <= n_shares; x++) {
            evaluate(s, c, threshold, (uint8_t)x,
                     out + (size_t)(x - 1) * WW_SHAMIR_BYTES);
        }
        ww_secret_close(made);
        ww_secret_close(coefficients);
        ww_secret_close(secret);
        *shares = made;
    }
    ww_secret_free(drawn);
    return rc;
}

static enum ww_err check_xs(const uint8_t *xs, size_t n, struct ww_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (xs[i] == 0) {
            return WW_FAIL(err, WW_E_SHARES, "a share with the number 0, which is none");
        }
        for (size_t j = 0; j < i; j++) {
            if (xs[j] == xs[i]) {
                return WW_FAIL(err, WW_E_SHARES, "share number %u is given twice", xs[i]);
            }
        }
    }
    return WW_OK;
}

/* Lagrange: the factor of point i at zero is the product of x_j / (x_j - x_i). */
static uint8_t factor(const uint8_t *xs, size_t n, size_t i)
{
    uint8_t product = 1;

    for (size_t j = 0; j < n; j++) {
        if (j != i) {
            const uint8_t difference = (uint8_t)(xs[j] ^ xs[i]);
            product =
                ww_gf256_mul(product, ww_gf256_mul(xs[j], ww_gf256_inverse(difference)));
        }
    }
    return product;
}

enum ww_err ww_shamir_combine(const uint8_t *xs, struct ww_secret *const *points,
                              size_t n, struct ww_secret **secret, struct ww_error *err)
{
    struct ww_secret *made = NULL;
    enum ww_err rc = check_xs(xs, n, err);

    *secret = NULL;
    if (!rc) {
        rc = ww_secret_new(WW_SHAMIR_BYTES, &made, err);
    }
    if (rc) {
        return rc;
    }
    uint8_t *out = ww_secret_open(made);
    memset(out, 0, WW_SHAMIR_BYTES);
    for (size_t i = 0; i < n; i++) {
        const uint8_t f = factor(xs, n, i);
        const uint8_t *point = ww_secret_open(points[i]);
        for (size_t b = 0; b < WW_SHAMIR_BYTES; b++) {
            out[b] = (uint8_t)(out[b] ^ ww_gf256_mul(f, point[b]));
        }
        ww_secret_close(points[i]);
    }
    ww_secret_close(made);
    *secret = made;
    return WW_OK;
}
